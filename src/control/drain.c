/* drain.c holds the one rule of when an instance may go: every worker has taken a turn after the last world
 * in which new requests could come to it, and then it is idle, or the deadline of its pool has passed.
 *
 * That world is the one before the swap; where sessions are pinned to the old pool, it is the last one that
 * still lets them. Workers look at the clock too, but a worker that has looked may be slow to act, so time
 * alone proves nothing. */
#include "control/drain.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

#define LOOK_MS 20
#define LOOK_LATER_MS 1000 /* while all there is to wait for is pinned sessions */
/* For the proxy to end what its deadlines have caught: properly, and if that does not do, by a cut. */
#define GRACE_MS (SNAPSHOT_DRAIN_GRACE_MS + 1000)
#define NS_PER_MS 1000000

/* The deadlines of a pool. */
struct limits {
    char *pool;
    struct snapshot_drain until;
    uint64_t last_ms;        /* the latest of them, and some grace */
    uint64_t unpinned_world; /* the first one that lets no pinned session in; 0: none has been made */
    UT_hash_handle hh;
};

struct drain {
    struct drain_options options;
    struct deadline look;
    struct limits *limits;
};

/* By the steady clock, since it must outlive a restart; never more than was configured. */
static uint64_t until_ms(const struct pool *pool, uint64_t more_ms, uint64_t mono_ms, uint64_t now_ns)
{
    uint64_t length_ms = pool->drain.pinned_ms + more_ms;
    uint64_t passed = now_ns > pool->going_since_ns ? (now_ns - pool->going_since_ns) / NS_PER_MS : 0;
    return mono_ms + (passed < length_ms ? length_ms - passed : 0);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t last_of(const struct snapshot_drain *until)
{
    return later(later(until->requests_until_ms, until->streams_until_ms),
                 later(until->websockets_until_ms, until->tunnels_until_ms));
}

static struct limits *limits_of(struct drain *drain, const struct pool *pool)
{
    struct limits *limits;
    HASH_FIND_STR(drain->limits, pool->name, limits);
    if (limits != NULL)
        return limits;
    uint64_t mono_ms = clock_mono_ms(), now_ns = clock_steady_ns();
    const struct drain_times *times = &pool->drain;
    limits = mem_alloc(sizeof *limits);
    *limits = (struct limits){
        .pool = mem_dup(pool->name),
        .until = {.requests_until_ms = until_ms(pool, times->requests_ms, mono_ms, now_ns),
                  .streams_until_ms = until_ms(pool, times->streams_ms, mono_ms, now_ns),
                  .websockets_until_ms = until_ms(pool, times->websockets_ms, mono_ms, now_ns),
                  .tunnels_until_ms = until_ms(pool, times->tunnels_ms, mono_ms, now_ns),
                  .spread_ms = times->spread_ms,
                  .pinned_until_ms = times->pinned_ms > 0 ? until_ms(pool, 0, mono_ms, now_ns) : 0},
    };
    limits->last_ms = GRACE_MS + last_of(&limits->until);
    HASH_ADD_KEYPTR(hh, drain->limits, limits->pool, strlen(limits->pool), limits);
    return limits;
}

static bool is_over(const struct limits *limits)
{
    return clock_mono_ms() >= limits->until.pinned_until_ms;
}

struct snapshot_drain drain_limits(struct drain *drain, const struct pool *pool, uint64_t version)
{
    if (pool->state == POOL_ARMED)
        return (struct snapshot_drain){.pinned_until_ms = UINT64_MAX};
    if (pool->state != POOL_DRAINING)
        return (struct snapshot_drain){0};
    struct limits *limits = limits_of(drain, pool);
    struct snapshot_drain until = limits->until;
    if (!is_over(limits))
        return until;
    until.pinned_until_ms = 0;
    if (limits->unpinned_world == 0)
        limits->unpinned_world = version;
    return until;
}

static void forget_past(struct drain *drain)
{
    struct limits *limits, *next;
    HASH_ITER(hh, drain->limits, limits, next)
    {
        const struct pool *pool = registry_pool(drain->options.registry, limits->pool);
        if (pool != NULL && pool->state == POOL_DRAINING)
            continue;
        HASH_DEL(drain->limits, limits);
        free(limits->pool);
        free(limits);
    }
}

/* While an exchange chooses, each instance may still get it. It chooses from its begin until it is connected,
 * and counts for its instance from before that; so once none does, and none can begin, who is idle stays
 * idle. That an instance counts one says less: it may have been tried, and be left for another. */
static bool all_have_chosen(struct counters *counters, const struct pool *pool)
{
    return counters_pool_choosing(counters, pool->slot) == 0;
}

static bool is_there(const struct instance *instance)
{
    return instance->state != INSTANCE_RETIRED && instance->state != INSTANCE_TORN_DOWN;
}

static bool was_cut(struct counters *counters, const struct instance *instance)
{
    struct counters_instance sum;
    counters_instance_sum(counters, instance->slot, &sum);
    return sum.cut > 0;
}

/* Sorts those that may go into idle and forced ones. */
struct finding {
    size_t *instances[2]; /* forced: 1 */
    size_t count[2];
};

static void look_at_instances(struct drain *drain, const struct pool *pool, struct finding *finding)
{
    struct counters *counters = drain->options.counters;
    bool chosen = all_have_chosen(counters, pool); /* read before the instances */
    bool overdue = clock_mono_ms() >= limits_of(drain, pool)->last_ms;
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        bool idle = chosen && counters_instance_in_flight(counters, instance->slot) == 0;
        if (!is_there(instance) || !(idle || overdue))
            continue;
        unsigned forced = !idle || was_cut(counters, instance);
        finding->instances[forced][finding->count[forced]++] = i;
    }
}

/* Can no request that begins from now on come to the pool? */
static bool is_closed(struct drain *drain, const struct pool *pool)
{
    uint64_t world = pool->going_since_world;
    if (pool->drain.pinned_ms > 0) {
        const struct limits *limits = limits_of(drain, pool);
        if (limits->unpinned_world == 0 && (!is_over(limits) || !drain->options.unpin(drain->options.arg)))
            return false;
        if (limits->unpinned_world == 0)
            return false;
        world = later(world, limits->unpinned_world);
    }
    return counters_version(drain->options.counters) >= world;
}

static void look_at(struct drain *drain, struct pool *pool)
{
    struct finding finding = {{NULL, NULL}, {0, 0}};
    if (!is_closed(drain, pool))
        return;
    for (unsigned forced = 0; forced < 2; forced++)
        finding.instances[forced] = mem_zero(pool->instance_count, sizeof **finding.instances);
    look_at_instances(drain, pool, &finding);
    for (unsigned forced = 0; forced < 2; forced++) {
        if (finding.count[forced] > 0)
            drain->options.drained(drain->options.arg, pool, finding.instances[forced], finding.count[forced],
                                   forced == 1);
        free(finding.instances[forced]);
    }
}

static bool is_waited_for(const struct pool *pool)
{
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (is_there(&pool->instances[i]))
            return true;
    }
    return false;
}

/* How long nothing can happen to the pool. */
static uint64_t rest_ms(struct drain *drain, const struct pool *pool)
{
    uint64_t now_ms = clock_mono_ms(), until = limits_of(drain, pool)->until.pinned_until_ms;
    if (until <= now_ms + LOOK_MS)
        return LOOK_MS;
    return until - now_ms < LOOK_LATER_MS ? until - now_ms : LOOK_LATER_MS;
}

static void look(struct deadline *deadline)
{
    struct drain *drain = mem_container(deadline, struct drain, look);
    uint64_t again_ms = UINT64_MAX;
    struct pool *pool;
    TAILQ_FOREACH (pool, &drain->options.registry->going, of_going) {
        if (!is_waited_for(pool))
            continue;
        look_at(drain, pool);
        uint64_t ms = rest_ms(drain, pool);
        again_ms = ms < again_ms ? ms : again_ms;
    }
    forget_past(drain);
    if (again_ms != UINT64_MAX)
        deadline_set(&drain->look, again_ms);
}

struct drain *drain_new(const struct drain_options *options)
{
    struct drain *drain = mem_zero(1, sizeof *drain);
    drain->options = *options;
    deadline_init(&drain->look, options->loop, look);
    return drain;
}

/* Not at once: what a swap takes of the processors that serve is spread, so that who asks just then does not
 * wait for the end of the old pool, too. */
void drain_watch(struct drain *drain)
{
    bool is_soon =
        deadline_is_set(&drain->look) && drain->look.at_ms <= loop_ms(drain->options.loop) + LOOK_MS;
    if (!is_soon)
        deadline_set(&drain->look, LOOK_MS);
}

void drain_go_on(struct drain *drain)
{
    deadline_set(&drain->look, 0);
}
