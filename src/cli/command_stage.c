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

/* "1,10,50", with or without percent signs, as a list of numbers. */
static json_t *shares_of(const char *text, struct err *err)
{
    json_t *list = json_array();
    struct str rest = str_of(text), part;
    while (str_split(&rest, ',', &part)) {
        char *end, *number = str_dup(part);
        double share = strtod(number, &end);
        bool is_number = end != number && (end[0] == '\0' || strcmp(end, "%") == 0);
        free(number);
        if (!is_number) {
            json_decref(list);
            err_set(err, "--canary takes shares in percent, such as 1,10,50, not \"%s\"", text);
            return NULL;
        }
        json_array_append_new(list, json_real(share));
    }
    return list;
}

static bool add_canary(json_t *body, const struct arguments *arguments, struct err *err)
{
    const char *text = arguments_text(arguments, "canary");
    json_t *shares = text == NULL ? NULL : shares_of(text, err);
    if (text != NULL && shares == NULL)
        return false;
    if (text != NULL)
        json_object_set_new(body, "canary", shares);
    return true;
}

static void add_text(json_t *body, const struct arguments *arguments, const char *name)
{
    const char *text = arguments_text(arguments, name);
    if (text != NULL)
        json_object_set_new(body, name, json_string(text));
}

static json_t *body_of(const struct arguments *arguments, struct err *err)
{
    json_t *instances = instances_of(arguments, err);
    if (instances == NULL)
        return NULL;
    json_t *body = json_pack("{s:o}", "instances", instances);
    if (!add_canary(body, arguments, err)) {
        json_decref(body);
        return NULL;
    }
    add_text(body, arguments, "release");
    add_text(body, arguments, "watch");
    add_text(body, arguments, "step");
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
    {"watch", 0, OPTION_DURATION, "DURATION", "how long the old pool stays armed after the swap"},
    {"canary", 0, OPTION_TEXT, "PCT,PCT,...", "shares of the new sessions before the swap"},
    {"step", 0, OPTION_DURATION, "DURATION", "how long each share is watched (60s)"},
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
