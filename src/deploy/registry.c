/* registry.c makes, finds and frees the objects; apply.c is where they change. A pool belongs to the registry
 * from the record that brought it until it is forgotten, and its deployment lives and dies with it. */
#include "deploy/registry.h"

#include "base/mem.h"
#include "deploy/places.h"

#include <stdlib.h>

const char *const mode_names[MODE_KINDS] = {"serving", "paused", "maintenance"};
const char *const pool_state_names[POOL_STATES] = {"staged", "live", "armed", "draining", "retired"};
const char *const retire_reason_names[RETIRE_REASONS] = {"", "replaced", "rejected", "aborted",
                                                         "rolled_back"};
const char *const teardown_end_names[TEARDOWN_ENDS] = {"", "done", "failed", "left"};
const char *const instance_state_names[INSTANCE_STATES] = {"down", "up", "drained", "retired", "torn_down"};

const char *instance_state_shown(enum instance_state state)
{
    return state == INSTANCE_RETIRED ? "drained" : instance_state_names[state];
}

struct registry *registry_new(void)
{
    struct registry *registry = mem_zero(1, sizeof *registry);
    TAILQ_INIT(&registry->going);
    TAILQ_INIT(&registry->finishing);
    return registry;
}

struct service *registry_service(const struct registry *registry, const char *name)
{
    struct service *service;
    HASH_FIND_STR(registry->services, name, service);
    return service;
}

struct pool *registry_pool(const struct registry *registry, const char *name)
{
    struct pool *pool;
    HASH_FIND_STR(registry->pools, name, pool);
    return pool;
}

bool registry_has_pools(const struct registry *registry, const char *name)
{
    const struct service *service = registry_service(registry, name);
    return service != NULL && !TAILQ_EMPTY(&service->pools);
}

struct pool *pool_new(const char *name, const char *release, size_t instance_count)
{
    struct pool *pool = mem_zero(1, sizeof *pool);
    pool->name = mem_dup(name);
    pool->release = mem_dup(release);
    pool->instances = mem_zero(instance_count, sizeof *pool->instances);
    pool->instance_count = instance_count;
    for (size_t i = 0; i < instance_count; i++)
        pool->instances[i].weight = 1;
    return pool;
}

struct deployment *pool_deploy(struct pool *pool)
{
    struct deployment *deployment = mem_zero(1, sizeof *deployment);
    deployment->pool = pool;
    deployment->asker.uid = -1;
    pool->deployment = deployment;
    return deployment;
}

void deployment_mark(struct deployment *deployment, uint64_t time_ns, const char *why, const char *by)
{
    size_t count = deployment->timeline_count;
    deployment->timeline = mem_resize(deployment->timeline, count + 1, sizeof *deployment->timeline);
    deployment->timeline[count] = (struct moment){
        .time_ns = time_ns, .state = deployment->state, .why = mem_dup(why), .by = mem_dup(by)};
    deployment->timeline_count = count + 1;
}

void deployment_pause_with(struct deployment *deployment, const char *const *argv, size_t count,
                           uint64_t pause_ms)
{
    deployment->pause_with = mem_zero(count, sizeof *deployment->pause_with);
    deployment->pause_with_count = count;
    deployment->pause_ms = pause_ms;
    for (size_t i = 0; i < count; i++)
        deployment->pause_with[i] = mem_dup(argv[i]);
}

bool deployment_pauses(const struct deployment *deployment)
{
    enum deployment_state state = deployment->state;
    return deployment->pause_with_count > 0 &&
           (state == DEPLOYMENT_PAUSING || state == DEPLOYMENT_TESTING || state == DEPLOYMENT_CONFIRMING);
}

struct deployment_facts deployment_facts(const struct deployment *deployment)
{
    const struct pool *live = deployment->pool->service->live;
    bool has_other = live != NULL && live != deployment->pool;
    const struct canary *canary = &deployment->canary;
    return (struct deployment_facts){.hold = deployment->hold,
                                     .shadow = has_other && deployment->shadow_ms > 0 &&
                                               deployment->state == DEPLOYMENT_TESTING,
                                     .canary = has_other && canary->taken < canary->count,
                                     .watch = has_other && deployment->watch_ms > 0,
                                     .pause = deployment->pause_with_count > 0};
}

const struct transition *pool_transition(const struct pool *pool, enum deployment_event event)
{
    if (pool->deployment == NULL)
        return NULL;
    struct deployment_facts facts = deployment_facts(pool->deployment);
    return table_find(pool->deployment->state, event, &facts);
}

bool deployment_takes_over(const struct deployment *deployment)
{
    const struct pool *live = deployment->pool->service->live;
    bool confirms = deployment->state == DEPLOYMENT_CANARY_CONFIRMING ||
                    (deployment->state == DEPLOYMENT_CONFIRMING && !deployment_facts(deployment).canary);
    return confirms && live != NULL && live != deployment->pool;
}

uint32_t deployment_share(const struct deployment *deployment)
{
    const struct canary *canary = &deployment->canary;
    return deployment_state_is_canary(deployment->state) ? canary->shares[canary->taken - 1] : 0;
}

static void deployment_free(struct deployment *deployment)
{
    if (deployment == NULL)
        return;
    for (size_t i = 0; i < deployment->timeline_count; i++) {
        free(deployment->timeline[i].why);
        free(deployment->timeline[i].by);
    }
    free(deployment->timeline);
    for (size_t i = 0; i < deployment->pause_with_count; i++)
        free(deployment->pause_with[i]);
    free(deployment->pause_with);
    free(deployment->reason);
    free(deployment->flaw);
    free(deployment->replaces);
    free(deployment);
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    for (size_t i = 0; i < pool->instance_count; i++) {
        free(pool->instances[i].address);
        free(pool->instances[i].resolved);
    }
    free(pool->instances);
    deployment_free(pool->deployment);
    free(pool->replaced_by);
    free(pool->release);
    free(pool->name);
    free(pool);
}

void mode_free(struct mode *mode)
{
    free(mode->message);
    free(mode->deployment);
    mode->message = mode->deployment = NULL;
}

static void drop_pool(struct registry *registry, struct pool *pool)
{
    for (size_t i = 0; i < pool->instance_count; i++)
        places_leave(registry, pool, i);
    TAILQ_REMOVE(&pool->service->pools, pool, of_service);
    HASH_DEL(registry->pools, pool);
    pool_free(pool);
}

void registry_free(struct registry *registry)
{
    if (registry == NULL)
        return;
    struct service *service, *next;
    HASH_ITER(hh, registry->services, service, next)
    {
        while (!TAILQ_EMPTY(&service->pools))
            drop_pool(registry, TAILQ_FIRST(&service->pools));
        HASH_DEL(registry->services, service); /* NOLINT: it is in the table */
        mode_free(&service->mode);
        free(service->name);
        free(service);
    }
    free(registry);
}

/* Nothing happens to it any more, and nothing refers to it. */
static bool is_past(const struct pool *pool)
{
    return pool->state == POOL_RETIRED &&
           (pool->deployment == NULL || deployment_state_is_end(pool->deployment->state));
}

char *registry_forget(struct registry *registry, struct service *service, size_t most)
{
    struct pool *pool, *oldest = NULL;
    size_t past = 0;
    TAILQ_FOREACH (pool, &service->pools, of_service) {
        if (!is_past(pool))
            continue;
        if (oldest == NULL)
            oldest = pool;
        past++;
    }
    if (oldest == NULL || past <= most)
        return NULL;
    char *name = mem_dup(oldest->name);
    drop_pool(registry, oldest);
    return name;
}

bool registry_shares_address(const struct registry *registry, const struct instance *instance,
                             bool (*counts)(void *arg, const struct pool *pool), void *arg)
{
    return places_other(registry, instance, counts, arg) != NULL;
}

static bool drains(void *arg, const struct pool *pool)
{
    (void)arg;
    return pool->state == POOL_DRAINING;
}

const struct instance *registry_going(const struct registry *registry, const struct instance *instance,
                                      const struct pool **going)
{
    const struct tenant *tenant = places_other(registry, instance, drains, NULL);
    if (tenant == NULL)
        return NULL;
    *going = tenant->pool;
    return &tenant->pool->instances[tenant->index];
}

struct instance *pool_instance(const struct pool *pool, const char *address)
{
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (strcmp(pool->instances[i].address, address) == 0)
            return &pool->instances[i];
    }
    return NULL;
}
