/* promises: what holds for a registry at any time, whatever records have made it. */
#pragma once

#include "deploy/places.h"

#include <string.h>

/* Returns from a function what does not hold. */
#define PROMISE(condition)     \
    do {                       \
        if (!(condition))      \
            return #condition; \
    } while (0)

/* Promise 5, as far as records go: torn down only after retired, retired only off the live pool. */
static inline const char *broken_by_instances(const struct pool *pool)
{
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        bool gone = instance->state == INSTANCE_RETIRED || instance->state == INSTANCE_TORN_DOWN;
        PROMISE(!gone || pool->state == POOL_DRAINING || pool->state == POOL_RETIRED);
        PROMISE((instance->state == INSTANCE_TORN_DOWN) == (instance->end != TEARDOWN_NONE));
        PROMISE(pool->state != POOL_RETIRED || instance->state == INSTANCE_TORN_DOWN);
        PROMISE(pool->state != POOL_LIVE || instance->state != INSTANCE_DOWN);
    }
    return NULL;
}

static inline const char *broken_by_pool(const struct pool *pool)
{
    const struct deployment *deployment = pool->deployment;
    PROMISE(pool->instance_count > 0 || pool->state == POOL_RETIRED || deployment == NULL ||
            deployment->state == DEPLOYMENT_LAUNCHING);
    /* Promises 1 and 2. */
    PROMISE(deployment == NULL || !pool->was_live || deployment->gate_passed);
    bool runs = deployment != NULL && deployment_state_is_running(deployment->state);
    PROMISE(pool->state != POOL_STAGED || runs);
    if (!runs)
        return NULL;
    bool is_watched = deployment_state_is_watched(deployment->state);
    PROMISE(pool->state == (is_watched ? POOL_LIVE : POOL_STAGED));
    /* A watched one has a pool that can be gone back to. */
    PROMISE(!is_watched || (pool->service->armed != NULL && deployment->replaces != NULL &&
                            strcmp(deployment->replaces, pool->service->armed->name) == 0));
    /* A canary has a share of what another pool has. */
    PROMISE(!deployment_state_is_canary(deployment->state) ||
            (pool->service->live != NULL && deployment_share(deployment) > 0 &&
             deployment_share(deployment) < CANARY_WHOLE));
    return NULL;
}

static inline const char *broken_by_service(const struct service *service)
{
    unsigned live = 0, armed = 0, running = 0;
    const struct pool *pool;
    const char *broken;
    TAILQ_FOREACH (pool, &service->pools, of_service) {
        broken = broken_by_instances(pool);
        if (broken == NULL)
            broken = broken_by_pool(pool);
        if (broken != NULL)
            return broken;
        live += pool->state == POOL_LIVE;
        armed += pool->state == POOL_ARMED;
        running += pool->deployment != NULL && deployment_state_is_running(pool->deployment->state);
    }
    PROMISE(live == (service->live != NULL));
    PROMISE(service->live == NULL || service->live->state == POOL_LIVE);
    PROMISE(armed == (service->armed != NULL));
    PROMISE(running == (service->running != NULL));
    return NULL;
}

/* Each place has the instances that say so, and they all have theirs. */
static inline const char *broken_by_places(const struct registry *registry)
{
    size_t due = 0, found = 0;
    for (const struct pool *pool = registry->pools; pool != NULL; pool = pool->hh.next) {
        for (size_t i = 0; i < pool->instance_count; i++) {
            const struct instance *instance = &pool->instances[i];
            if (instance->state != INSTANCE_TORN_DOWN)
                due += strcmp(instance->address, instance->resolved) == 0 ? 1 : 2;
        }
    }
    for (const struct place *place = registry->places; place != NULL; place = place->hh.next) {
        const struct tenant *tenant;
        PROMISE(!TAILQ_EMPTY(&place->tenants));
        TAILQ_FOREACH (tenant, &place->tenants, entry) {
            const struct instance *instance = &tenant->pool->instances[tenant->index];
            PROMISE(tenant->index < tenant->pool->instance_count);
            PROMISE(instance->state != INSTANCE_TORN_DOWN);
            PROMISE(strcmp(instance->address, place->address) == 0 ||
                    strcmp(instance->resolved, place->address) == 0);
            found++;
        }
    }
    PROMISE(found == due);
    return NULL;
}

/* The lists of what goes, and of who waits for that, are whole. */
static inline const char *broken_by_lists(const struct registry *registry)
{
    size_t going = 0, finishing = 0;
    for (const struct pool *pool = registry->pools; pool != NULL; pool = pool->hh.next) {
        going += pool->state == POOL_DRAINING;
        finishing += pool->deployment != NULL && pool->deployment->state == DEPLOYMENT_DRAINING;
    }
    const struct pool *pool;
    TAILQ_FOREACH (pool, &registry->going, of_going) {
        PROMISE(pool->state == POOL_DRAINING);
        going--;
    }
    const struct deployment *deployment;
    TAILQ_FOREACH (deployment, &registry->finishing, of_finishing) {
        PROMISE(deployment->state == DEPLOYMENT_DRAINING);
        finishing--;
    }
    PROMISE(going == 0 && finishing == 0);
    return NULL;
}

/* NULL: all is kept. */
static inline const char *broken_promise(const struct registry *registry)
{
    const struct service *service, *next;
    const char *broken = broken_by_places(registry);
    if (broken == NULL)
        broken = broken_by_lists(registry);
    HASH_ITER(hh, registry->services, service, next)
    {
        if (broken == NULL)
            broken = broken_by_service(service);
    }
    return broken;
}
