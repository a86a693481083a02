/* upstream_state: the inside of upstreams, for plane/upstream.c and plane/connection.c. */
#pragma once

#include "plane/upstream.h"

struct upstreams {
    struct loop *loop;
    struct counters *counters;
    unsigned worker;
    struct buffers *buffers;
    struct balance *balance;
    bool stopping;
    uint32_t idle_count, idle_most; /* of all instances */
    TAILQ_HEAD(, idler) by_age;     /* the idle ones; the one kept for longest comes first */
    uint64_t ground;                /* version of the last one that was gone through */
    struct upstream **by_slot;
    TAILQ_HEAD(, upstream) list;
    TAILQ_HEAD(, upstream) fading; /* retired ones that have idle connections, or had */
    struct loop_deferred fade;
    bool fade_is_due; /* is deferred */
    bool ended;       /* it is freed with the deferred run */
};

/* Gives back the descriptor of an idle connection. False: none is idle. */
bool upstreams_spare_one(struct upstreams *upstreams);

/* Forgets a retired record that has no connection. */
void upstream_forget_unused(struct upstream *upstream);

/* Its idle connections are closed, a few a turn. */
void upstream_begin_fading(struct upstream *upstream);
