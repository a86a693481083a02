/* warm: connections to the instances of a pool that is about to take over, made before it does. So the first
 * requests after a swap find what they would have found without one, and nobody waits for connections.
 *
 * As many as the live pool's instances have had in use within the last second are made, spread evenly, a few
 * a turn. What cannot be made is no error: the request that wants it will make it, and tell. */
#pragma once

#include "io/loop.h"

#include <sys/queue.h>

struct worker;
struct warm;

struct warms {
    struct worker *worker;
    TAILQ_HEAD(, warm) wanted; /* pools, with connections that are still to be begun */
    TAILQ_HEAD(, warming) begun;
    struct loop_deferred running;
    bool due;        /* that is deferred */
    uint64_t ground; /* version of the last one that was gone through */
};

void warms_init(struct warms *warms, struct worker *worker);
/* A new world: begins what it asks for, and what the one before asked for no more. */
void warms_turn(struct warms *warms);
/* Ends all that is under way. */
void warms_stop(struct warms *warms);
