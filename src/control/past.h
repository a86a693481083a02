/* past: what the pools that are gone have counted, so that a scrape which comes after a pool's end still
 * finds what happened since the scrape before. Nothing of it outlives the process. */
#pragma once

#include "link/counters.h"

#include <uthash.h>

/* Pools of a service that are kept: with a scrape every 15 s, as many swaps in that time. */
#define PAST_KEPT 4

struct past_pool {
    char *service, *name;
    struct counters_pool sum; /* over all workers, when it was retired */
    UT_hash_handle hh;        /* past->pools by name, oldest first */
};

struct past {
    struct past_pool *pools;
};

/* Names and sum are copied; the oldest pool of the service makes room. */
void past_add(struct past *past, const char *service, const char *name, const struct counters_pool *sum);
/* NULL: it is not gone, or was made room for. */
const struct past_pool *past_pool(const struct past *past, const char *name);
void past_clear(struct past *past);
