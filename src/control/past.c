#include "control/past.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static void forget(struct past *past, struct past_pool *pool)
{
    TAILQ_REMOVE(past, pool, entry);
    free(pool->service);
    free(pool->name);
    free(pool);
}

static void make_room(struct past *past, const char *service)
{
    struct past_pool *pool, *oldest = NULL;
    size_t count = 0;
    TAILQ_FOREACH (pool, past, entry) {
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
    TAILQ_INSERT_TAIL(past, pool, entry);
}

void past_clear(struct past *past)
{
    while (!TAILQ_EMPTY(past))
        forget(past, TAILQ_FIRST(past));
}
