#include "control/past.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static void forget(struct past *past, struct past_pool *pool)
{
    HASH_DEL(past->pools, pool);
    free(pool->service);
    free(pool->name);
    free(pool);
}

static void make_room(struct past *past, const char *service)
{
    struct past_pool *oldest = NULL;
    size_t count = 0;
    for (struct past_pool *pool = past->pools; pool != NULL; pool = pool->hh.next) {
        if (strcmp(pool->service, service) != 0)
            continue;
        if (oldest == NULL)
            oldest = pool;
        count++;
    }
    if (count == PAST_KEPT)
        forget(past, oldest);
}

void past_add(struct past *past, const char *service, const char *name, const struct counters_pool *sum)
{
    make_room(past, service);
    struct past_pool *pool = mem_aligned(_Alignof(struct past_pool), sizeof *pool);
    pool->service = mem_dup(service);
    pool->name = mem_dup(name);
    pool->sum = *sum;
    HASH_ADD_KEYPTR(hh, past->pools, pool->name, strlen(pool->name), pool);
}

const struct past_pool *past_pool(const struct past *past, const char *name)
{
    struct past_pool *pool;
    HASH_FIND_STR(past->pools, name, pool);
    return pool;
}

void past_clear(struct past *past)
{
    struct past_pool *pool, *next;
    HASH_ITER(hh, past->pools, pool, next)
    forget(past, pool);
}
