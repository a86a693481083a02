#include "base/endpoint.h"
#include "base/utf8.h"
#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/staging.h"

/* HOST:PORT and its options. Whether the address is one, the daemon says. */
static json_t *instance_of(const char *text, struct err *err)
{
    struct endpoint endpoint;
    char quote[UTF8_QUOTE_SIZE];
    if (!endpoint_parse(str_of(text), &endpoint, err)) {
        err_prefix(err, "\"%s\"", utf8_quote(str_of(text), quote));
        return NULL;
    }
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
    json_t *body = json_pack("{s:o, s:s*}", "instances", instances, "release", release);
    if (staging_add(body, arguments, err))
        return body;
    json_decref(body);
    return NULL;
}

static int run(const struct session *session, const struct arguments *arguments)
{
    struct err err;
    json_t *body = body_of(arguments, &err);
    if (body == NULL)
        return ask_fail(CLI_USAGE, &err);
    int status = staging_run(session, arguments, body);
    json_decref(body);
    return status;
}

static const struct option_row options[] = {
    {"release", 0, OPTION_NAME, "RELEASE", "its name, for %{release} and the history"},
    STAGING_OPTIONS,
    {.name = NULL},
};

const struct command command_stage = {
    .name = "stage",
    .operands = "SERVICE HOST:PORT...",
    .summary = "stage a new pool, test it, and swap live traffic to it",
    .details = "An instance may be written HOST:PORT,weight=NUMBER,pid=NUMBER: its share of the\n"
               "requests (1), and its process, for teardown.signal.\n" STAGING_EXITS(
                   "swapped (or\nheld, with --hold)"),
    .first = OPERAND_SERVICE,
    .least = 2,
    .most = SIZE_MAX,
    .options = options,
    .run = run,
};
