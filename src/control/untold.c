/* The registry knows what has changed, and the events what was told of it. */
#include "control/untold.h"

#include "base/str.h"

/* What a change by this deployment has done, if it is the last one. False: it was none, or all is over. */
static bool describe(const struct pool *pool, struct untold *untold)
{
    const struct deployment *deployment = pool->deployment;
    const struct service *service = pool->service;
    const struct pool *old;
    *untold = (struct untold){.changed = pool->name};
    if (deployment_state_is_watched(deployment->state) || deployment->state == DEPLOYMENT_DRAINING) {
        TAILQ_FOREACH (old, &service->pools, of_service) {
            if (old->state == POOL_DRAINING && str_is_same(old->name, deployment->replaces))
                untold->leaves = old->name;
        }
        untold->live = pool->name;
        return true;
    }
    if (pool->state != POOL_DRAINING)
        return false;
    /* Taken back: a canary's share only, or all that it had. */
    bool was_swapped =
        deployment->timeline_count > 1 &&
        deployment_state_is_watched(deployment->timeline[deployment->timeline_count - 2].state);
    untold->live = was_swapped && service->live != NULL ? service->live->name : NULL;
    untold->leaves = pool->name;
    return true;
}

/* A canary's steps are told of when they are recorded. */
static const struct pool *last_changed(const struct service *service)
{
    const struct pool *pool;
    TAILQ_FOREACH_REVERSE(pool, &service->pools, pools, of_service)
    {
        if (pool->was_live && pool->deployment != NULL &&
            !deployment_state_is_canary(pool->deployment->state))
            return pool;
    }
    return NULL;
}

struct telling {
    struct untold *untold;
    bool reaches_back; /* to before the change */
};

static bool note(void *arg, uint64_t seq, struct str line)
{
    struct telling *telling = arg;
    struct untold *untold = telling->untold;
    (void)seq;
    json_t *event = json_loadb(line.p, line.n, 0, NULL);
    const char *type = json_string_value(json_object_get(event, "type"));
    const char *deployment = json_string_value(json_object_get(event, "deployment"));
    bool is_its = str_is_same(deployment, untold->changed);
    telling->reaches_back |= is_its && str_is_same(type, "deployment.staged");
    if (is_its && str_is_same(type, "swap.published") &&
        str_is_same(json_string_value(json_object_get(event, "live")), untold->live))
        untold->live = NULL;
    if (str_is_same(type, "drain.started") && str_is_same(deployment, untold->leaves))
        untold->leaves = NULL;
    json_decref(event);
    return true;
}

bool untold_find(struct event_log *events, const struct service *service, struct untold *untold)
{
    const struct pool *pool = last_changed(service);
    struct telling telling = {.untold = untold};
    if (pool == NULL || !describe(pool, untold))
        return false;
    event_log_read(events, 0, service->name, note, &telling);
    return telling.reaches_back && (untold->live != NULL || untold->leaves != NULL);
}
