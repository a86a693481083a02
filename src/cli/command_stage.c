#include "base/clock.h"
#include "base/endpoint.h"
#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/fields.h"
#include "cli/follow.h"

#include <stdio.h>
#include <stdlib.h>

/* HOST:PORT and its options. Whether the address is one, the daemon says. */
static json_t *instance_of(const char *text, struct err *err)
{
    struct endpoint endpoint;
    if (!endpoint_parse(str_of(text), &endpoint, err))
        return NULL;
    if (endpoint.address.n == strlen(text))
        return json_string(text);
    return json_pack("{s:s%, s:I, s:o*}", "address", endpoint.address.p, endpoint.address.n, "weight",
                     (json_int_t)endpoint.weight, "pid",
                     endpoint.pid == 0 ? NULL : json_integer(endpoint.pid));
}

/* The operands behind the service as the API's list. NULL: a usage fault. */
static json_t *instances_of(const struct arguments *arguments, struct err *err)
{
    json_t *list = json_array();
    for (size_t i = 1; i < arguments_count(arguments); i++) {
        json_t *instance = instance_of(arguments_operand(arguments, i), err);
        if (instance == NULL) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, instance);
    }
    return list;
}

static json_t *body_of(const struct arguments *arguments, struct err *err)
{
    const char *release = arguments_text(arguments, "release");
    json_t *instances = instances_of(arguments, err);
    if (instances == NULL)
        return NULL;
    json_t *body = json_pack("{s:o}", "instances", instances);
    if (release != NULL)
        json_object_set_new(body, "release", json_string(release));
    if (arguments_has(arguments, "hold"))
        json_object_set_new(body, "hold", json_true());
    if (arguments_has(arguments, "allow-untested"))
        json_object_set_new(body, "allow_untested", json_true());
    return body;
}

static int stay(const struct session *session, const struct arguments *arguments,
                const struct client_reply *reply, uint64_t start_ms)
{
    const char *deployment = field_text(reply->json, "deployment", "");
    struct follow_plan plan = {
        .service = arguments_operand(arguments, 0),
        .deployment = deployment,
        .since = (uint64_t)field_number(reply->json, "seq", 0),
        .hold = arguments_has(arguments, "hold"),
        .start_ms = start_ms,
        .timeout_ms = arguments_number(arguments, "timeout", 0),
    };
    if (deployment[0] == '\0') {
        struct err err;
        err_set(&err, "the daemon's answer names no deployment");
        return ask_fail(CLI_REFUSED, &err);
    }
    if (!arguments_has(arguments, "no-wait"))
        return follow(session, &plan);
    if (session->json)
        ask_print(reply);
    else
        printf("%s: %s is staged\n", plan.service, deployment);
    return CLI_DONE;
}

static int run(const struct session *session, const struct arguments *arguments)
{
    struct err err;
    struct client_reply reply;
    uint64_t start_ms = clock_mono_ms();
    json_t *body = body_of(arguments, &err);
    if (body == NULL)
        return ask_fail(CLI_USAGE, &err);
    char *path = client_path("/v1/services/", arguments_operand(arguments, 0), "/deployments");
    int status = ask(session, "POST", path, body, ASK_MS, &reply);
    free(path);
    json_decref(body);
    if (status != CLI_DONE)
        return status;
    status = stay(session, arguments, &reply, start_ms);
    client_reply_free(&reply);
    return status;
}

static const struct option_row options[] = {
    {"release", 0, OPTION_TEXT, "RELEASE", "its name, for %{release} and the history"},
    {"hold", 0, OPTION_FLAG, NULL, "stop before the swap until \"upswap promote\""},
    {"allow-untested", 0, OPTION_FLAG, NULL, "swap even if the suite is empty"},
    {"no-wait", 0, OPTION_FLAG, NULL, "return when it is staged"},
    {"timeout", 0, OPTION_DURATION, "DURATION", "follow no longer; the deployment goes on"},
    {"watch", 0, OPTION_OFF, "DURATION", NULL},
    {"canary", 0, OPTION_LATER, "SHARES", NULL},
    {"step", 0, OPTION_LATER, "DURATION", NULL},
    {.name = NULL},
};

const struct command command_stage = {
    .name = "stage",
    .operands = "SERVICE HOST:PORT...",
    .summary = "stage a new pool, test it, and swap live traffic to it",
    .details = "An instance may be written HOST:PORT,weight=NUMBER,pid=NUMBER: its share of the\n"
               "requests (1), and its process, for teardown.signal.\n"
               "Follows the deployment to its end. Exit status: 0 swapped (or held, with\n"
               "--hold), 3 rejected, 4 rolled back, 5 aborted, 6 --timeout reached.",
    .first = OPERAND_SERVICE,
    .least = 2,
    .most = SIZE_MAX,
    .options = options,
    .run = run,
};
