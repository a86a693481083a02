#include "cli/errand.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/fields.h"
#include "cli/follow.h"

#include <stdio.h>
#include <stdlib.h>

static int stay(const struct session *session, const struct arguments *arguments, const struct errand *errand,
                const struct client_reply *reply, uint64_t start_ms)
{
    const char *deployment = field_text(reply->json, "deployment", "");
    struct follow_plan plan = {
        .service = errand->service,
        .deployment = deployment,
        .since = (uint64_t)field_number(reply->json, "seq", 0),
        .until = errand->until,
        .gate_passed = errand->gate_passed,
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
        printf("%s: %s is %s\n", plan.service, deployment, errand->done);
    return CLI_DONE;
}

/* How long the daemon may take to answer: --timeout bounds it too. */
static uint64_t answer_ms(uint64_t timeout_ms)
{
    return timeout_ms != 0 && timeout_ms < ASK_CHANGE_MS ? timeout_ms : ASK_CHANGE_MS;
}

/* Where the answer is lost, the deployment is looked for, for as long as --timeout leaves. */
static enum client_result send(const struct session *session, const struct errand *errand,
                               uint64_t timeout_ms, struct client_reply *reply, struct err *err)
{
    uint64_t start_ms = clock_mono_ms();
    struct recall_plan plan = {.service = errand->service, .since_ns = clock_wall_ns()};
    char *path = client_path("/v1/services/", errand->service, errand->verb);
    enum client_result result =
        client_request(session->client, "POST", path, errand->body, answer_ms(timeout_ms), reply, err);
    free(path);
    if (result != CLIENT_UNANSWERED)
        return result;
    uint64_t gone = clock_mono_ms() - start_ms;
    plan.most_ms = timeout_ms == 0 ? RECALL_MS : timeout_ms > gone ? timeout_ms - gone : 0;
    if (errand->recall(session->client, &plan, reply))
        return CLIENT_ANSWERED;
    return client_wait(session->client, 0) ? CLIENT_UNANSWERED : CLIENT_ABANDONED;
}

/* The answer stays lost. */
static int leave(const char *service, int status, struct err *err)
{
    char *tells = mem_printf("\"upswap history %s\" tells", service);
    ask_doubt(err, tells);
    free(tells);
    return ask_fail(status, err);
}

int errand_run(const struct session *session, const struct arguments *arguments, const struct errand *errand)
{
    struct err err;
    struct client_reply reply;
    uint64_t start_ms = clock_mono_ms(), timeout_ms = arguments_number(arguments, "timeout", 0);
    client_catch_interrupt(session->client);
    enum client_result result = send(session, errand, timeout_ms, &reply, &err);
    bool is_late = timeout_ms != 0 && clock_mono_ms() - start_ms >= timeout_ms;
    if (result == CLIENT_ABANDONED)
        return leave(errand->service, CLI_INTERRUPTED, &err);
    if (result == CLIENT_UNANSWERED)
        return leave(errand->service, is_late ? CLI_TIMEOUT : CLI_UNREACHABLE, &err);
    int status = ask_end(result, &reply, &err);
    if (status != CLI_DONE)
        return status;
    status = stay(session, arguments, errand, &reply, start_ms);
    client_reply_free(&reply);
    return status;
}
