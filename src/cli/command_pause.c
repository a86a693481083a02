#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/fields.h"

#include <stdio.h>
#include <stdlib.h>

#define USUAL_MS 30000

/* Whatever else is to happen in the pause must not, while something is in flight. */
static int tell(const struct session *session, const char *service, const struct client_reply *reply)
{
    struct err err;
    long long in_flight = field_number(reply->json, "in_flight", 0),
              lasting = field_number(reply->json, "lasting", 0);
    bool quiet = field_true(reply->json, "quiet");
    if (session->json)
        ask_print(reply);
    else if (quiet && lasting > 0)
        printf("%s: paused and quiet, but for %lld event streams or tunnels\n", service, lasting);
    else if (quiet)
        printf("%s: paused and quiet\n", service);
    if (quiet)
        return CLI_DONE;
    err_set(&err, "%s is paused, but %lld request%s still in flight; the pause goes on", service, in_flight,
            in_flight == 1 ? " is" : "s are");
    return ask_fail(CLI_TIMEOUT, &err);
}

static int run(const struct session *session, const struct arguments *arguments)
{
    struct client_reply reply;
    const char *service = arguments_operand(arguments, 0);
    json_t *body = json_pack("{s:s*, s:s*}", "max", arguments_text(arguments, "max"), "wait",
                             arguments_text(arguments, "wait"));
    char *path = client_path("/v1/services/", service, "/pause");
    uint64_t wait_ms = arguments_number(arguments, "max", USUAL_MS) + ASK_MS;
    int status = ask_change(session, path, body, wait_ms, &reply);
    free(path);
    json_decref(body);
    if (status != CLI_DONE)
        return status;
    status = tell(session, service, &reply);
    client_reply_free(&reply);
    return status;
}

static const struct option_row options[] = {
    {"max", 0, OPTION_DURATION, "DURATION", "let them go after so long in any case (30s)"},
    {"wait", 0, OPTION_DURATION, "DURATION", "for what is in flight (half of --max)"},
    {.name = NULL},
};

const struct command command_pause = {
    .name = "pause",
    .operands = "SERVICE",
    .summary = "let new requests wait, and return when none is in flight",
    .details = "Event streams, WebSockets and other tunnels go on and are not waited for.\n"
               "Exit status: 0 quiet, 6 paused, but something is still in flight.",
    .first = OPERAND_SERVICE,
    .least = 1,
    .most = 1,
    .options = options,
    .run = run,
};
