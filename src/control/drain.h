/* drain: tells which instances of the pools on their way out hold nothing any more. Reads shared memory every
 * 20 ms while there is such a pool, and decides nothing. */
#pragma once

#include "deploy/registry.h"
#include "io/loop.h"
#include "link/counters.h"
#include "route/snapshot.h"

struct drain;

struct drain_options {
    struct loop *loop;
    const struct registry *registry;
    struct counters *counters;
    /* These instances of a draining pool are to be retired: `idle` ones, or, at the pool's deadline, those
     * that are not (forced). May be told again until the registry knows. */
    void (*drained)(void *arg, struct pool *pool, const size_t *instances, size_t count, bool forced);
    /* No session is pinned to a pool any more: the world must say so, see drain_limits. False: not now; told
     * again soon. NULL: nobody is ever pinned. */
    bool (*unpin)(void *arg);
    void *arg;
};

/* Lives as long as the process. */
struct drain *drain_new(const struct drain_options *options);
/* There may be a pool to watch: looks soon, and on until there is none. */
void drain_watch(struct drain *drain);
/* A pool has been let go: another one may be next, so looks in the next turn. */
void drain_go_on(struct drain *drain);

/* Until when each class of exchange may go on in a pool, by the monotonic clock; all 0 where it does not
 * drain, save that an armed pool takes pinned sessions without an end. The same at each call, save that
 * `pinned_until_ms` is 0 from the first call on after it has passed. `version` is the world's that will say
 * so. */
struct snapshot_drain drain_limits(struct drain *drain, const struct pool *pool, uint64_t version);
