/* The registry knows what has changed, and the events, of which there may be many, what was told of it: they
 * are gone through once, for all services. */
#include "control/untold.h"

#include "base/mem.h"

#include <stdlib.h>
#include <uthash.h>

/* A change that may not have been told of. */
struct suspect {
    struct untold untold;
    bool reaches_back; /* the events do, to before it */
    UT_hash_handle hh;
};

/* What a change by this deployment has done, if it is the last one. False: it was none, or all is over. */
static bool describe(const struct pool *pool, struct untold *untold)
{
    const struct deployment *deployment = pool->deployment;
    const struct service *service = pool->service;
    const struct pool *old;
    *untold = (struct untold){.service = service, .changed = pool->name};
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

static struct suspect *suspects_of(const struct registry *registry)
{
    struct suspect *suspects = NULL;
    const struct service *service = registry->services;
    for (; service != NULL; service = service->hh.next) {
        struct untold untold;
        const struct pool *pool = last_changed(service);
        if (pool == NULL || !describe(pool, &untold))
            continue;
        struct suspect *suspect = mem_zero(1, sizeof *suspect);
        suspect->untold = untold;
        HASH_ADD_KEYPTR(hh, suspects, service->name, strlen(service->name), suspect);
    }
    return suspects;
}

static void compare(struct suspect *suspect, const char *type, const char *deployment, const char *live)
{
    struct untold *untold = &suspect->untold;
    bool is_its = str_is_same(deployment, untold->changed);
    suspect->reaches_back |= is_its && str_is_same(type, "deployment.staged");
    if (is_its && str_is_same(type, "swap.published") && str_is_same(live, untold->live))
        untold->live = NULL;
    if (str_is_same(type, "drain.started") && str_is_same(deployment, untold->leaves))
        untold->leaves = NULL;
}

/* To look into all as JSON would take a second. */
static bool may_tell(struct str line)
{
    static const char *const types[] = {"\"deployment.staged\"", "\"swap.published\"", "\"drain.started\""};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (memmem(line.p, line.n, types[i], strlen(types[i])) != NULL)
            return true;
    }
    return false;
}

static const char *text_of(const json_t *event, const char *key)
{
    return json_string_value(json_object_get(event, key));
}

static bool note(void *arg, uint64_t seq, struct str line)
{
    struct suspect *const *suspects = arg, *suspect = NULL;
    (void)seq;
    json_t *event = may_tell(line) ? json_loadb(line.p, line.n, 0, NULL) : NULL;
    const char *service = text_of(event, "service");
    if (service != NULL)
        HASH_FIND_STR(*suspects, service, suspect);
    if (suspect != NULL)
        compare(suspect, text_of(event, "type"), text_of(event, "deployment"), text_of(event, "live"));
    json_decref(event);
    return true;
}

void untold_find(struct event_log *events, const struct registry *registry,
                 void (*found)(void *arg, const struct untold *untold), void *arg)
{
    struct suspect *suspects = suspects_of(registry), *suspect, *next;
    if (suspects != NULL)
        event_log_read(events, 0, NULL, note, &suspects);
    HASH_ITER(hh, suspects, suspect, next)
    {
        if (suspect->reaches_back && (suspect->untold.live != NULL || suspect->untold.leaves != NULL))
            found(arg, &suspect->untold);
        HASH_DEL(suspects, suspect);
        free(suspect);
    }
}
