/* slotting: gives new pools their places in the counters and instances their ids. */
#include "base/mem.h"
#include "control/conduct.h"

_Static_assert(CONFIG_POOLS_MAX == COUNTERS_POOLS && CONFIG_INSTANCES_MAX == COUNTERS_INSTANCES, "");

static bool pool_is_busy(void *arg, uint32_t slot)
{
    return counters_pool_is_busy(arg, slot);
}

static bool instance_is_busy(void *arg, uint32_t slot)
{
    return counters_instance_is_busy(arg, slot);
}

static void put_instances(struct conductor *conductor, const struct pool *pool, size_t count,
                          uint64_t version)
{
    for (size_t i = 0; i < count; i++)
        slots_put(conductor->instance_slots, pool->instances[i].slot, version);
}

bool slotting_give_instance(struct conductor *conductor, struct instance *instance, struct err *err)
{
    struct counters *counters = conductor->options.counters;
    if (!slots_get(conductor->instance_slots, counters_version(counters), instance_is_busy, counters,
                   &instance->slot))
        return err_set(
            err,
            "there is no room for another instance beside %d, those that drain included; try again "
            "when some are retired, or divide the services among several daemons",
            COUNTERS_INSTANCES);
    counters_clear_instance(counters, instance->slot);
    instance->id = ++conductor->last_instance;
    return true;
}

bool slotting_give(struct conductor *conductor, struct pool *pool, struct err *err)
{
    struct counters *counters = conductor->options.counters;
    uint64_t version = counters_version(counters);
    if (!slots_get(conductor->pool_slots, version, pool_is_busy, counters, &pool->slot))
        return err_set(
            err,
            "there is no room for another pool beside %d, those that drain included; try again when "
            "some are retired, or divide the services among several daemons",
            COUNTERS_POOLS);
    counters_clear_pool(counters, pool->slot);
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (slotting_give_instance(conductor, &pool->instances[i], err))
            continue;
        put_instances(conductor, pool, i, 0);
        slots_put(conductor->pool_slots, pool->slot, 0);
        return false;
    }
    return true;
}

void slotting_take_back(struct conductor *conductor, const struct pool *pool, uint64_t version)
{
    put_instances(conductor, pool, pool->instance_count, version);
    slots_put(conductor->pool_slots, pool->slot, version);
}

void slotting_restore(struct conductor *conductor)
{
    struct pool *pool, *next;
    HASH_ITER(hh, conductor->options.registry->pools, pool, next)
    {
        if (pool->state == POOL_RETIRED)
            continue;
        slots_take(conductor->pool_slots, pool->slot);
        for (size_t i = 0; i < pool->instance_count; i++)
            slots_take(conductor->instance_slots, pool->instances[i].slot);
    }
    conductor->last_instance = conductor->options.registry->last_instance;
}
