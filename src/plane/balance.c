/* The three ways to choose. Invariant: an instance that is drained or was tried is never chosen, and every
 * other one of the pool can be. */
#include "plane/balance.h"

#include "base/mem.h"
#include "link/counters.h"

#include <stdlib.h>

/* Indexed by slot; the kernel gives pages only for what is touched. */
void balance_init(struct balance *balance, unsigned worker, struct random *random)
{
    *balance = (struct balance){.worker = worker, .random = random};
    balance->cursors = mem_zero(COUNTERS_POOLS, sizeof *balance->cursors);
    balance->loads = mem_zero(COUNTERS_INSTANCES, sizeof *balance->loads);
}

void balance_free(struct balance *balance)
{
    free(balance->cursors);
    free(balance->loads);
}

bool balance_exclude(struct balance_tried *tried, uint32_t slot)
{
    if (tried->count == BALANCE_TRIED_MAX)
        return false;
    tried->slots[tried->count++] = slot;
    return tried->count < BALANCE_TRIED_MAX;
}

static bool may_serve(const struct snapshot_instance *instance, const struct balance_tried *tried)
{
    if (instance->drained || instance->down)
        return false;
    for (uint32_t i = 0; i < tried->count; i++) {
        if (tried->slots[i] == instance->slot)
            return false;
    }
    return true;
}

/* The first that may serve, going round from `from`. Its index, or `size`. */
static size_t next_from(const struct snapshot *snapshot, const struct snapshot_pool *pool, size_t from,
                        const struct balance_tried *tried, struct snapshot_instance *instance)
{
    size_t size = snapshot_pool_size(pool);
    for (size_t i = 0; i < size; i++) {
        size_t index = from + i < size ? from + i : from + i - size;
        *instance = snapshot_pool_instance(snapshot, pool, index);
        if (may_serve(instance, tried))
            return index;
    }
    return size;
}

/* The one with the least load, going round from `from`, so that ties take turns. */
static size_t least_from(const struct balance *balance, const struct snapshot *snapshot,
                         const struct snapshot_pool *pool, size_t from, const struct balance_tried *tried,
                         struct snapshot_instance *instance)
{
    size_t size = snapshot_pool_size(pool), found = size;
    uint32_t least = UINT32_MAX;
    for (size_t i = 0; i < size && least > 0; i++) {
        size_t index = from + i < size ? from + i : from + i - size;
        struct snapshot_instance one = snapshot_pool_instance(snapshot, pool, index);
        if (may_serve(&one, tried) && balance->loads[one.slot] < least) {
            least = balance->loads[one.slot];
            found = index;
            *instance = one;
        }
    }
    return found;
}

bool balance_pick(struct balance *balance, const struct snapshot *snapshot, const struct snapshot_pool *pool,
                  enum snapshot_balance how, const struct balance_tried *tried,
                  struct snapshot_instance *instance)
{
    size_t size = snapshot_pool_size(pool), index;
    if (size == 0)
        return false;
    uint32_t *cursor = &balance->cursors[snapshot_pool_slot(pool)];
    size_t from = (*cursor == 0 ? balance->worker : *cursor - 1) % size;
    switch (how) {
    case SNAPSHOT_LEAST_REQUESTS:
        index = least_from(balance, snapshot, pool, from, tried, instance);
        break;
    case SNAPSHOT_RANDOM:
        index = next_from(snapshot, pool, random_below(balance->random, (uint32_t)size), tried, instance);
        break;
    case SNAPSHOT_ROUND_ROBIN:
    default:
        index = next_from(snapshot, pool, from, tried, instance);
        break;
    }
    if (index == size)
        return false;
    *cursor = (uint32_t)index + 2;
    return true;
}
