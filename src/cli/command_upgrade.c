/* The daemon says that the new program is good, goes on as it, and tells of the end by an event: in between
 * there is nobody who could answer. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/ask.h"
#include "cli/feed.h"
#include "cli/fields.h"

#define UPGRADE_MS 60000 /* the keeper gives the new program 30 s */
#define TURN_MS 1000

struct watching {
    const struct session *session;
    int status; /* -1: not known yet */
};

/* Is it the end of an upgrade that had begun? Whoever asks for another meanwhile is refused, which names
 * them.
 */
static bool is_refusal(const json_t *event)
{
    return field_is(event, "type", "daemon.upgrade_refused") && json_object_get(event, "asked_by") == NULL;
}

static void take_event(void *arg, struct str line, const json_t *event)
{
    struct watching *watching = arg;
    struct err err;
    bool done = field_is(event, "type", "daemon.upgraded");
    if (watching->status >= 0 || !(done || is_refusal(event)))
        return;
    watching->status = done ? CLI_DONE : CLI_REFUSED;
    if (watching->session->json)
        printf("%.*s\n", STR_ARG(line));
    else if (done)
        printf("upgraded from version %s to %s\n", field_text(event, "from", "?"),
               field_text(event, "version", "?"));
    if (done)
        return;
    err_set(&err, "%s", field_text(event, "reason", "the new program did not come up"));
    watching->status = ask_fail(CLI_REFUSED, &err);
}

/* A feed gives up sooner than a new program that hangs has had its time, so it is opened again. */
static enum feed_state follow(struct watching *watching, uint64_t since, struct err *err)
{
    uint64_t end_ms = clock_mono_ms() + UPGRADE_MS;
    const struct feed_options options = {.since = since, .follow = true, .patient = true};
    enum feed_state state = FEED_LOST;
    while (state == FEED_LOST && clock_mono_ms() < end_ms) {
        struct feed *feed = feed_open(watching->session->client, &options, take_event, watching);
        state = FEED_OPEN;
        while (watching->status < 0 && state == FEED_OPEN && clock_mono_ms() < end_ms)
            state = feed_turn(feed, TURN_MS, err);
        feed_close(feed);
    }
    return state;
}

static int watch(const struct session *session, uint64_t since)
{
    struct watching watching = {session, -1};
    struct err err;
    enum feed_state state = follow(&watching, since, &err);
    if (watching.status >= 0)
        return watching.status;
    if (state == FEED_OPEN)
        err_set(&err, "the upgrade has not ended within %d s; `upswap events` tells of it",
                UPGRADE_MS / 1000);
    if (state == FEED_INTERRUPTED) {
        err_set(&err, "interrupted; the upgrade goes on: \"upswap events\" tells how it ends");
        return ask_fail(CLI_INTERRUPTED, &err);
    }
    return ask_fail(state == FEED_REFUSED ? CLI_REFUSED : CLI_UNREACHABLE, &err);
}

static int run(const struct session *session, const struct arguments *arguments)
{
    (void)arguments;
    struct client_reply reply;
    json_t *body = json_object();
    int status = ask_change(session, "/v1/upgrade", body, ASK_CHANGE_MS, &reply);
    json_decref(body);
    if (status != CLI_DONE)
        return status;
    uint64_t since = (uint64_t)field_number(reply.json, "since", 0);
    client_reply_free(&reply);
    return watch(session, since);
}

const struct command command_upgrade = {
    .name = "upgrade",
    .operands = "",
    .summary = "go on as the program that is installed now",
    .run = run,
};
