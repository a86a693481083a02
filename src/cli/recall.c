/* The kernel has told the daemon who asked, so the history knows. In another pid namespace than the daemon's
 * nothing is found, and nothing of another process: that is no fault, only less to be told. */
#include "cli/recall.h"

#include "base/clock.h"
#include "cli/fields.h"

#include <stdlib.h>
#include <unistd.h>

#define PAUSE_MS 100
#define SETTLE_MS \
    1000 /* what was read from the socket before the first look may take so long to be recorded */
#define NS_PER_MS 1000000

static bool is_since(const json_t *deployment, uint64_t since_ns)
{
    uint64_t created_ns;
    return clock_parse(str_of(field_text(deployment, "created", "")), &created_ns) &&
           created_ns / NS_PER_MS >= since_ns / NS_PER_MS;
}

const char *recall_own(const json_t *deployments, int64_t uid, int64_t pid, uint64_t since_ns)
{
    size_t i;
    const json_t *deployment;
    json_array_foreach (deployments, i, deployment) {
        const json_t *asker = json_object_get(deployment, "asked_by");
        if (field_number(asker, "uid", -1) == uid && field_number(asker, "pid", 0) == pid &&
            is_since(deployment, since_ns))
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

/* Looks once, for at most `ms`. *answered: the history came. */
static bool look(struct client *client, const struct recall_plan *plan, uint64_t ms, bool *answered,
                 struct client_reply *reply)
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

bool recall(struct client *client, const struct recall_plan *plan, struct client_reply *reply)
{
    bool answered;
    uint64_t now = clock_mono_ms(), until = now + (plan->most_ms < RECALL_MS ? plan->most_ms : RECALL_MS);
    for (; now < until; now = clock_mono_ms()) {
        if (look(client, plan, until - now, &answered, reply))
            return true;
        if (answered && until > now + SETTLE_MS)
            until = now + SETTLE_MS;
        if (!client_wait(client, PAUSE_MS))
            return false;
    }
    return false;
}
