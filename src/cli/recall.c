/* The kernel has told the daemon who asked, so the history and the event log know. In another pid namespace
 * than the daemon's nothing is found, and nothing of another process: that is no fault, only less to be told.
 */
#include "cli/recall.h"

#include "base/clock.h"
#include "cli/feed.h"
#include "cli/fields.h"

#include <stdlib.h>
#include <unistd.h>

#define PAUSE_MS 100
#define SETTLE_MS \
    1000 /* what was read from the socket before the first look may take so long to be recorded */
#define NS_PER_MS 1000000

static bool is_since(const char *time, uint64_t since_ns)
{
    uint64_t time_ns;
    return clock_parse(str_of(time), &time_ns) && time_ns / NS_PER_MS >= since_ns / NS_PER_MS;
}

static bool is_asked_by(const json_t *object, int64_t uid, int64_t pid)
{
    const json_t *asker = json_object_get(object, "asked_by");
    return field_number(asker, "uid", -1) == uid && field_number(asker, "pid", 0) == pid;
}

const char *recall_own(const json_t *deployments, int64_t uid, int64_t pid, uint64_t since_ns)
{
    size_t i;
    const json_t *deployment;
    json_array_foreach (deployments, i, deployment) {
        if (is_asked_by(deployment, uid, pid) && is_since(field_text(deployment, "created", ""), since_ns))
            return field_text(deployment, "deployment", NULL);
    }
    return NULL;
}

/* False: there is no answer within so long, or a refusal. */
static bool get(struct client *client, char *path, uint64_t ms, struct client_reply *reply)
{
    struct err ignored;
    enum client_result result = client_request(client, "GET", path, NULL, ms, reply, &ignored);
    free(path);
    if (result == CLIENT_ANSWERED && reply->status != 200)
        client_reply_free(reply);
    return result == CLIENT_ANSWERED && reply->status == 200;
}

/* Looks once, for at most `ms`. *answered: all that is known came. */
typedef bool look_fn(struct client *client, const struct recall_plan *plan, uint64_t ms, bool *answered,
                     struct client_reply *reply);

static bool look(struct client *client, const struct recall_plan *plan, look_fn *once,
                 struct client_reply *reply)
{
    bool answered;
    uint64_t now = clock_mono_ms(), until = now + (plan->most_ms < RECALL_MS ? plan->most_ms : RECALL_MS);
    for (; now < until; now = clock_mono_ms()) {
        if (once(client, plan, until - now, &answered, reply))
            return true;
        if (answered && until > now + SETTLE_MS)
            until = now + SETTLE_MS;
        if (!client_wait(client, PAUSE_MS))
            return false;
    }
    return false;
}

/* ---- staged ---- */

static bool look_at_history(struct client *client, const struct recall_plan *plan, uint64_t ms,
                            bool *answered, struct client_reply *reply)
{
    struct client_reply history;
    *answered =
        get(client, client_path("/v1/services/", plan->service, "/deployments?limit=20"), ms, &history);
    if (!*answered)
        return false;
    const char *own =
        recall_own(json_object_get(history.json, "deployments"), geteuid(), getpid(), plan->since_ns);
    bool found = own != NULL && get(client, client_path("/v1/deployments/", own, ""), ms, reply);
    client_reply_free(&history);
    return found;
}

bool recall_staged(struct client *client, const struct recall_plan *plan, struct client_reply *reply)
{
    return look(client, plan, look_at_history, reply);
}

/* ---- promoted ---- */

struct promotion {
    const struct recall_plan *plan;
    json_t *event; /* NULL: not found */
};

static void note_promoted(void *arg, struct str line, const json_t *event)
{
    struct promotion *promotion = arg;
    (void)line;
    if (promotion->event == NULL && field_is(event, "type", "deployment.promoted") &&
        is_asked_by(event, geteuid(), getpid()) &&
        is_since(field_text(event, "time", ""), promotion->plan->since_ns))
        promotion->event = json_incref((json_t *)event);
}

static bool look_at_events(struct client *client, const struct recall_plan *plan, uint64_t ms, bool *answered,
                           struct client_reply *reply)
{
    struct err ignored;
    struct promotion promotion = {.plan = plan};
    struct feed_options options = {.service = plan->service};
    uint64_t now = clock_mono_ms(), until = now + ms;
    struct feed *feed = feed_open(client, &options, note_promoted, &promotion);
    enum feed_state state = FEED_OPEN;
    for (; state == FEED_OPEN && now < until; now = clock_mono_ms())
        state = feed_turn(feed, until - now, &ignored);
    feed_close(feed);
    *answered = state == FEED_ENDED;
    const char *own = field_text(promotion.event, "deployment", NULL);
    bool found = own != NULL && get(client, client_path("/v1/deployments/", own, ""), ms, reply);
    if (found)
        json_object_set_new(reply->json, "seq", json_integer(field_number(promotion.event, "seq", 1) - 1));
    json_decref(promotion.event);
    return found;
}

bool recall_promoted(struct client *client, const struct recall_plan *plan, struct client_reply *reply)
{
    return look(client, plan, look_at_events, reply);
}
