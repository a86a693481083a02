#include "base/clock.h"
#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/fields.h"

#include <stdio.h>
#include <stdlib.h>

#define USUAL_MS 30000
#define NS_PER_MS 1000000
#define LATE_NS 1000000000 /* so much later than it was asked for the daemon may have begun it */

/* ", until 2026-11-22 10:00:30 UTC", where an earlier pause lasts longer than what was asked for; else "". */
struct until {
    char text[FIELD_TIME_SIZE + sizeof ", until  UTC"];
};

static struct until until_of(const struct client_reply *reply, uint64_t asked_ns)
{
    struct until until = {""};
    char time[FIELD_TIME_SIZE], asked[CLOCK_TEXT_SIZE];
    const json_t *mode = json_object_get(reply->json, "mode");
    clock_text(asked_ns + LATE_NS, asked);
    if (strcmp(field_text(mode, "until", ""), asked) > 0)
        snprintf(until.text, sizeof until.text, ", until %s UTC", field_time(mode, "until", time));
    return until;
}

/* Whatever else is to happen in the pause must not, while something is in flight. */
static int tell(const struct session *session, const char *service, uint64_t asked_ns,
                const struct client_reply *reply)
{
    struct err err;
    const struct until until = until_of(reply, asked_ns);
    long long in_flight = field_number(reply->json, "in_flight", 0),
              lasting = field_number(reply->json, "lasting", 0);
    bool quiet = field_true(reply->json, "quiet");
    if (session->json)
        ask_print(reply);
    else if (quiet && lasting > 0)
        printf("%s: paused and quiet, but for %lld streams or tunnels%s\n", service, lasting, until.text);
    else if (quiet)
        printf("%s: paused and quiet%s\n", service, until.text);
    if (quiet)
        return CLI_DONE;
    err_set(&err, "%s is paused, but %lld request%s still in flight; the pause goes on%s", service, in_flight,
            in_flight == 1 ? " is" : "s are", until.text);
    return ask_fail(CLI_TIMEOUT, &err);
}

/* Nobody waits any more for the service to be quiet. A pause that was there already may last longer. */
static int leave(const char *service, uint64_t until_ns)
{
    struct err err;
    char until[CLOCK_TEXT_SIZE];
    clock_text(until_ns, until);
    err_set(
        &err,
        "interrupted; %s is or will be paused until %.8s UTC or later, and \"upswap resume %s\" ends that",
        service, until + strlen("2026-11-22T"), service);
    return ask_fail(CLI_INTERRUPTED, &err);
}

/* until_ns: by the wall clock, when what is asked for ends. */
static int ask_pause(const struct session *session, const char *service, const json_t *body, uint64_t max_ms,
                     uint64_t until_ns, struct client_reply *reply)
{
    struct err err;
    char *path = client_path("/v1/services/", service, "/pause");
    client_catch_interrupt(session->client);
    enum client_result result =
        client_request(session->client, "POST", path, body, max_ms + ASK_CHANGE_MS, reply, &err);
    free(path);
    if (result == CLIENT_ABANDONED)
        return leave(service, until_ns);
    if (result == CLIENT_UNANSWERED)
        ask_doubt(&err, ASK_TELLS);
    return ask_end(result, reply, &err);
}

static int run(const struct session *session, const struct arguments *arguments)
{
    struct client_reply reply;
    uint64_t max_ms = arguments_number(arguments, "max", USUAL_MS);
    const char *service = arguments_operand(arguments, 0);
    json_t *body = json_pack("{s:s*, s:s*}", "max", arguments_text(arguments, "max"), "wait",
                             arguments_text(arguments, "wait"));
    uint64_t until_ns = clock_wall_ns() + max_ms * NS_PER_MS;
    int status = ask_pause(session, service, body, max_ms, until_ns, &reply);
    json_decref(body);
    if (status != CLI_DONE)
        return status;
    status = tell(session, service, until_ns, &reply);
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
    .details = "Event streams, gRPC answers, WebSockets and other tunnels go on and are not\n"
               "waited for.\n"
               "Exit status: 0 quiet, 6 paused, but something is still in flight.",
    .first = OPERAND_SERVICE,
    .least = 1,
    .most = 1,
    .options = options,
    .run = run,
};
