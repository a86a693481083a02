#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/explain.h"
#include "cli/feed.h"
#include "cli/fields.h"

#include <stdlib.h>

#define TURN_MS 10000

/* Events are in their order, so what is left is the last reason of each. */
static void note_reason(void *arg, struct str line, const json_t *event)
{
    json_t *reasons = arg;
    (void)line;
    if (field_is(event, "type", "instance.ejected"))
        json_object_set_new(reasons, field_text(event, "instance", ""),
                            json_string(field_text(event, "reason", "")));
}

/* Why instances of the service went out of rotation, as far as the event log reaches. */
static json_t *read_reasons(const struct session *session, const char *service)
{
    struct err ignored;
    struct feed_options options = {.service = service};
    json_t *reasons = json_object();
    struct feed *feed = feed_open(session->client, &options, note_reason, reasons);
    while (feed_turn(feed, TURN_MS, &ignored) == FEED_OPEN)
        continue;
    feed_close(feed);
    return reasons;
}

static void show(const struct session *session, const json_t *service, const json_t *sentences)
{
    size_t i;
    const json_t *sentence;
    struct terminal terminal = terminal_open(stdout);
    if (session->json) {
        json_t *answer = json_pack("{s:s, s:s, s:O}", "service", field_text(service, "service", "?"), "state",
                                   field_text(service, "state", "?"), "why", sentences);
        json_dumpf(answer, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(answer);
        return;
    }
    json_array_foreach (sentences, i, sentence)
        terminal_text(&terminal, TONE_PLAIN, "", json_string_value(sentence));
}

static void tell(const struct session *session, const json_t *service, const json_t *history)
{
    const char *name = field_text(service, "service", "");
    json_t *reasons = explain_asks_for_reasons(service) ? read_reasons(session, name) : NULL;
    json_t *sentences = explain(service, json_object_get(history, "deployments"), reasons);
    show(session, service, sentences);
    json_decref(sentences);
    json_decref(reasons);
}

static int get(const struct session *session, const char *service, const char *after,
               struct client_reply *reply)
{
    char *path = client_path("/v1/services/", service, after);
    int status = ask(session, "GET", path, NULL, ASK_MS, reply);
    free(path);
    return status;
}

static int run(const struct session *session, const struct arguments *arguments)
{
    struct client_reply service, history;
    const char *name = arguments_operand(arguments, 0);
    int status = get(session, name, "", &service);
    if (status != CLI_DONE)
        return status;
    status = get(session, name, "/deployments?limit=1", &history);
    if (status == CLI_DONE) {
        tell(session, service.json, history.json);
        client_reply_free(&history);
    }
    client_reply_free(&service);
    return status;
}

const struct command command_why = {
    .name = "why",
    .operands = "SERVICE",
    .summary = "say why a service is as it is, and what would change it",
    .first = OPERAND_SERVICE,
    .least = 1,
    .most = 1,
    .run = run,
};
