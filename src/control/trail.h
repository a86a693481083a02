/* trail: what live pools have answered lately, second by second: the record that a new one is measured by.
 * Reads shared memory once a second for each service that has a watch or a canary, and decides nothing. */
#pragma once

#include "config/config.h"
#include "control/yardstick.h"
#include "deploy/registry.h"
#include "io/loop.h"
#include "link/counters.h"

/* Seconds that are kept; and as many slices at most, one more for what came before. */
#define TRAIL_SECONDS 256
#define TRAIL_SLICES (TRAIL_SECONDS + 1)

struct trail;

struct trail_options {
    struct loop *loop;
    const struct registry *registry;
    struct counters *counters;
    /* The settings of a service; NULL: it is not in the config. */
    const struct config_service *(*settings)(void *arg, const char *service);
    void *arg;
};

/* Lives as long as the process. */
struct trail *trail_new(const struct trail_options *options);

/* Pools or settings of the service (NULL: of any) may have changed: to be called before each world that says
 * so, so that the record of a pool ends where it stops being the live one. */
void trail_watch(struct trail *trail, const struct service *service);

/* The record of a pool that is live or armed, oldest first, into slices of at most TRAIL_SLICES. What it
 * answered before it was followed (or all, where it was not: another control has done so) is one slice of
 * unknown length (0 seconds). Returns their number. */
size_t trail_read(struct trail *trail, const struct pool *pool, struct yardstick_slice *slices);
