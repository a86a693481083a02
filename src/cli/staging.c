/* The options of a deployment, and what follows once it is staged. */
#include "cli/staging.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/fields.h"
#include "cli/follow.h"
#include "cli/recall.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Digits, with or without a point: what strtod takes besides is no share. */
static bool is_number(const char *text, char **end)
{
    size_t n = strspn(text, "0123456789.");
    return n > 0 && isfinite(strtod(text, end)) && *end == text + n;
}

/* "1,10,50", with or without percent signs, as a list of numbers. */
static json_t *shares_of(const char *text, struct err *err)
{
    char quote[UTF8_QUOTE_SIZE];
    json_t *list = json_array();
    struct str rest = str_of(text), part;
    while (str_split(&rest, ',', &part)) {
        char *end, *number = str_dup(part);
        bool is_share = is_number(number, &end) && (end[0] == '\0' || strcmp(end, "%") == 0);
        double share = is_share ? strtod(number, NULL) : 0;
        free(number);
        if (!is_share) {
            json_decref(list);
            err_set(err, "--canary takes shares in percent, such as 1,10,50, not \"%s\"",
                    utf8_quote(str_of(text), quote));
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

/* The daemon takes words; here the shell makes them. */
static void add_pause(json_t *body, const struct arguments *arguments)
{
    const char *command = arguments_text(arguments, "pause-with"),
               *most = arguments_text(arguments, "pause-max");
    if (command != NULL)
        json_object_set_new(body, "pause_with", json_pack("[s, s, s]", "/bin/sh", "-c", command));
    if (most != NULL)
        json_object_set_new(body, "pause_max", json_string(most));
}

bool staging_add(json_t *body, const struct arguments *arguments, struct err *err)
{
    if (!add_canary(body, arguments, err))
        return false;
    add_pause(body, arguments);
    add_text(body, arguments, "watch");
    add_text(body, arguments, "step");
    if (arguments_has(arguments, "hold"))
        json_object_set_new(body, "hold", json_true());
    if (arguments_has(arguments, "allow-untested"))
        json_object_set_new(body, "allow_untested", json_true());
    return true;
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

/* How long the daemon may take to answer: --timeout bounds it too. */
static uint64_t answer_ms(uint64_t timeout_ms)
{
    return timeout_ms != 0 && timeout_ms < ASK_MS ? timeout_ms : ASK_MS;
}

/* Asks for the deployment. Where the answer is lost, it is looked for, for as long as --timeout leaves. */
static enum client_result stage(const struct session *session, const char *service, const json_t *body,
                                uint64_t timeout_ms, struct client_reply *reply, struct err *err)
{
    uint64_t start_ms = clock_mono_ms();
    struct recall_plan plan = {.service = service, .since_ns = clock_wall_ns()};
    char *path = client_path("/v1/services/", service, "/deployments");
    enum client_result result =
        client_request(session->client, "POST", path, body, answer_ms(timeout_ms), reply, err);
    free(path);
    if (result != CLIENT_UNANSWERED)
        return result;
    uint64_t gone = clock_mono_ms() - start_ms;
    plan.most_ms = timeout_ms == 0 ? RECALL_MS : timeout_ms > gone ? timeout_ms - gone : 0;
    return recall(session->client, &plan, reply) ? CLIENT_ANSWERED : CLIENT_UNANSWERED;
}

/* The answer stays lost. */
static int leave(const char *service, bool is_late, struct err *err)
{
    char *tells = mem_printf("\"upswap history %s\" tells", service);
    ask_doubt(err, tells);
    free(tells);
    return ask_fail(is_late ? CLI_TIMEOUT : CLI_UNREACHABLE, err);
}

int staging_run(const struct session *session, const struct arguments *arguments, const json_t *body)
{
    struct err err;
    struct client_reply reply;
    const char *service = arguments_operand(arguments, 0);
    uint64_t start_ms = clock_mono_ms(), timeout_ms = arguments_number(arguments, "timeout", 0);
    enum client_result result = stage(session, service, body, timeout_ms, &reply, &err);
    if (result == CLIENT_UNANSWERED)
        return leave(service, timeout_ms != 0 && clock_mono_ms() - start_ms >= timeout_ms, &err);
    int status = ask_end(result, &reply, &err);
    if (status != CLI_DONE)
        return status;
    status = stay(session, arguments, &reply, start_ms);
    client_reply_free(&reply);
    return status;
}
