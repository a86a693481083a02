#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/render.h"

#include <stdlib.h>

static json_t *body_of(const struct arguments *arguments)
{
    json_t *body = json_object(), *instances = json_array();
    const char *release = arguments_text(arguments, "release");
    for (size_t i = 1; i < arguments_count(arguments); i++)
        json_array_append_new(instances, json_string(arguments_operand(arguments, i)));
    if (json_array_size(instances) > 0)
        json_object_set(body, "instances", instances);
    if (release != NULL)
        json_object_set_new(body, "release", json_string(release));
    json_decref(instances);
    return body;
}

static bool all_passed(const json_t *results)
{
    size_t i;
    const json_t *result;
    json_array_foreach (results, i, result) {
        if (!json_is_true(json_object_get(result, "Passed")))
            return false;
    }
    return json_array_size(results) > 0;
}

static int run(const struct session *session, const struct arguments *arguments)
{
    struct client_reply reply;
    json_t *body = body_of(arguments);
    char *path = client_path("/v1/services/", arguments_operand(arguments, 0), "/uptest");
    int status = ask(session, "POST", path, body, CLIENT_FOREVER, &reply);
    free(path);
    json_decref(body);
    if (status != CLI_DONE)
        return status;
    struct terminal terminal = terminal_open(stdout);
    if (session->json)
        ask_print(&reply);
    else
        render_results(&terminal, reply.json);
    status = all_passed(reply.json) ? CLI_DONE : CLI_REJECTED;
    client_reply_free(&reply);
    return status;
}

static const struct option_row options[] = {
    {"release", 0, OPTION_NAME, "RELEASE", "whose suite to run; the live release's unless told"},
    {.name = NULL},
};

const struct command command_uptest = {
    .name = "uptest",
    .operands = "SERVICE [HOST:PORT...]",
    .summary = "run the uptests now; changes nothing",
    .details = "Against the live instances where none is named. Exit status 3 if one failed.",
    .first = OPERAND_SERVICE,
    .least = 1,
    .most = SIZE_MAX,
    .options = options,
    .run = run,
};
