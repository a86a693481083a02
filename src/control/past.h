/* past: what the pools that are gone have counted, so that a scrape which comes after a pool's end still
 * finds what happened since the scrape before. Nothing of it outlives the process. */
#pragma once

#include "link/counters.h"

#include <sys/queue.h>

/* Pools of a service that are kept: with a scrape every 15 s, as many swaps in that time. */
#define PAST_KEPT 4

struct past_pool {
    char *service, *name;
    struct counters_pool sum; /* over all workers, when it was retired */
    TAILQ_ENTRY(past_pool) entry;
};

/* Oldest first. */
TAILQ_HEAD(past, past_pool);

/* Names and sum are copied; the oldest pool of the service makes room. */
void past_add(struct past *past, const char *service, const char *name, const struct counters_pool *sum);
void past_clear(struct past *past);
