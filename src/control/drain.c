/* drain.c holds the one rule of when an instance may go: every worker has taken a turn after the swap, and
 * then it is idle, or the deadline of its pool has passed. */
#include "control/drain.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

#define LOOK_MS 20
#define GRACE_MS 1000 /* for the proxy to end what its deadlines have caught */
#define NS_PER_MS 1000000

struct drain {
    struct drain_options options;
    struct deadline look;
};

static uint64_t left_ms(const struct pool *pool, uint64_t length_ms, uint64_t wall_ns)
{
    uint64_t passed = wall_ns > pool->going_since_ns ? (wall_ns - pool->going_since_ns) / NS_PER_MS : 0;
    return passed < length_ms ? length_ms - passed : 0;
}

struct snapshot_drain drain_limits(const struct pool *pool, uint64_t mono_ms, uint64_t wall_ns)
{
    if (pool->state != POOL_DRAINING)
        return (struct snapshot_drain){0};
    return (struct snapshot_drain){
        .requests_until_ms = mono_ms + left_ms(pool, pool->drain.requests_ms, wall_ns),
        .streams_until_ms = mono_ms + left_ms(pool, pool->drain.streams_ms, wall_ns),
        .websockets_until_ms = mono_ms + left_ms(pool, pool->drain.websockets_ms, wall_ns),
        .spread_ms = pool->drain.spread_ms,
    };
}

static bool is_overdue(const struct pool *pool, uint64_t wall_ns)
{
    const struct drain_times *times = &pool->drain;
    uint64_t longest = times->requests_ms;
    longest = times->streams_ms > longest ? times->streams_ms : longest;
    longest = times->websockets_ms > longest ? times->websockets_ms : longest;
    return left_ms(pool, longest + GRACE_MS, wall_ns) == 0;
}

/* An exchange counts for its pool from its begin, and for an instance once it has one. While some have none,
 * each instance may still get one. The instances are read first: an exchange that begins meanwhile makes the
 * pool's sum the greater one. */
static bool all_are_placed(struct counters *counters, const struct pool *pool)
{
    uint64_t placed = 0;
    for (size_t i = 0; i < pool->instance_count; i++)
        placed += counters_instance_in_flight(counters, pool->instances[i].slot);
    return counters_pool_in_flight(counters, pool->slot) <= placed;
}

static bool is_there(const struct instance *instance)
{
    return instance->state != INSTANCE_RETIRED && instance->state != INSTANCE_TORN_DOWN;
}

static bool may_go(struct drain *drain, const struct pool *pool, size_t index, bool placed)
{
    struct counters *counters = drain->options.counters;
    return !pool->was_live ||
           (placed && counters_instance_in_flight(counters, pool->instances[index].slot) == 0);
}

/* Has the proxy ended something on it, because the deadline had come? */
static bool was_cut(struct counters *counters, const struct pool *pool, size_t index)
{
    struct counters_instance sum;
    counters_instance_sum(counters, pool->instances[index].slot, &sum);
    return sum.cut > 0;
}

static void look_at(struct drain *drain, struct pool *pool, uint64_t wall_ns)
{
    struct counters *counters = drain->options.counters;
    if (pool->was_live && counters_version(counters) < pool->going_since_world)
        return;
    bool placed = all_are_placed(counters, pool), overdue = pool->was_live && is_overdue(pool, wall_ns);
    size_t *clean = mem_zero(pool->instance_count, sizeof *clean), clean_count = 0;
    size_t *forced = mem_zero(pool->instance_count, sizeof *forced), forced_count = 0;
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (!is_there(&pool->instances[i]))
            continue;
        bool idle = may_go(drain, pool, i, placed);
        if (idle && !was_cut(counters, pool, i))
            clean[clean_count++] = i;
        else if (idle || overdue)
            forced[forced_count++] = i;
    }
    if (clean_count > 0)
        drain->options.drained(drain->options.arg, pool, clean, clean_count, false);
    if (forced_count > 0)
        drain->options.drained(drain->options.arg, pool, forced, forced_count, true);
    free(clean);
    free(forced);
}

static bool is_waited_for(const struct pool *pool)
{
    if (pool->state != POOL_DRAINING)
        return false;
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (is_there(&pool->instances[i]))
            return true;
    }
    return false;
}

static void look(struct deadline *deadline)
{
    struct drain *drain = mem_container(deadline, struct drain, look);
    uint64_t wall_ns = clock_wall_ns();
    bool again = false;
    struct pool *pool, *next;
    HASH_ITER(hh, drain->options.registry->pools, pool, next)
    {
        if (!is_waited_for(pool))
            continue;
        look_at(drain, pool, wall_ns);
        again = true;
    }
    if (again)
        deadline_set(&drain->look, LOOK_MS);
}

struct drain *drain_new(const struct drain_options *options)
{
    struct drain *drain = mem_zero(1, sizeof *drain);
    drain->options = *options;
    deadline_init(&drain->look, options->loop, look);
    return drain;
}

void drain_watch(struct drain *drain)
{
    if (!deadline_is_set(&drain->look))
        deadline_set(&drain->look, 0);
}
