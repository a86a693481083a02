/* upstream: what one worker has of the instances: which of them the world sends requests to, and what is kept
 * of connections to them (plane/connection.h). A worker keeps no more idle ones than its share of the
 * descriptors (crowd_idle_limit); the one kept for longest goes first. */
#pragma once

#include "io/loop.h"
#include "io/stream.h"
#include "io/tls.h"
#include "link/counters.h"
#include "plane/balance.h"
#include "route/snapshot.h"

#include <stdlib.h>
#include <sys/queue.h>

#define uthash_fatal(message) abort()
#include <uthash.h>

struct buffers;
struct connection;
struct h2_back;
struct upstreams; /* all of a worker */

TAILQ_HEAD(connection_list, connection);

/* Stands in whatever has a descriptor to an instance without a request: see upstreams_keep. */
struct idler {
    bool kept;
    void (*close)(struct idler *idler); /* closes what it stands in, which then is not kept any more */
    TAILQ_ENTRY(idler) age;             /* among all that its worker keeps */
};

/* Why the instance could not be spoken to by TLS, for people. */
struct upstream_tls_failure {
    bool unverified; /* it is not who it should be */
    char why[160];
};

/* What it has of one instance. */
struct upstream {
    struct upstreams *all;
    uint64_t id;
    uint32_t slot;
    uint32_t connections; /* in every state */
    uint32_t idle_count;
    bool retired;        /* no request of the present world comes here: nothing is kept idle */
    uint32_t streams;    /* that a connection of HTTP/2 takes, as it last said; 0: it has not */
    uint64_t lost_ms;    /* when the instance last closed a kept connection, or refused one; 0: never */
    uint64_t spurned_ms; /* when it last closed a new one without a word, or one within an answer; 0: never */
    uint32_t losses;     /* connections that it has closed in these ways */
    uint64_t seen;       /* version of the last image that routes to it */
    uint64_t overruled;  /* of the last snapshot that amends its service */
    struct counters_instance *cells;
    struct connection_list idle;         /* the one used last comes first */
    struct connection *owned;            /* uthash by owner: idle ones of one client each */
    TAILQ_HEAD(, h2_back) backs;         /* that speak HTTP/2: see h2_back.h */
    struct ssl_session_st *session;      /* of TLS, the last one, to be resumed; NULL: none */
    struct tls_context *session_context; /* that it belongs to; a reference */
    struct upstream_tls_failure failure; /* the last one */
    bool fades;                          /* is among those whose idle connections are being closed */
    TAILQ_ENTRY(upstream) link, fading;
};

/* `buffers` and `balance` (whose loads are kept here) are the worker's. */
struct upstreams *upstreams_new(struct loop *loop, struct counters *counters, unsigned worker,
                                struct buffers *buffers, struct balance *balance);
/* Closes what is idle. Nothing may be lent. */
void upstreams_free(struct upstreams *upstreams);

/* A new world: closes idle connections to instances that it sends no new requests to. */
void upstreams_turn(struct upstreams *upstreams, const struct snapshot *snapshot);
/* It is idle from now on. If the worker has more of them than its share, the one kept for longest is closed;
 * never this one. */
void upstreams_keep(struct upstreams *upstreams, struct idler *idler);
/* It is not, if it was. */
void upstreams_use(struct upstreams *upstreams, struct idler *idler);
/* Closes all that is idle, and keeps none from now on. */
void upstreams_stop(struct upstreams *upstreams);

/* The record of an instance, made if need be. NULL: no memory. */
struct upstream *upstream_of(struct upstreams *upstreams, const struct snapshot_instance *instance);

/* Connections to the instance, in every state. */
uint32_t upstream_connections(const struct upstreams *upstreams, const struct snapshot_instance *instance);
/* Those that are lent or connecting, and idle ones whose time to be kept ends at that time (monotonic ms) or
 * later.
 */
uint32_t upstream_connections_until(const struct upstreams *upstreams,
                                    const struct snapshot_instance *instance, uint64_t until_ms);

/* A connection that was counted in `connections` has gone: forgets a retired record with its last one. */
void upstream_leave(struct upstream *upstream);
/* The instance has closed a connection that was `kept`, or has refused one; or else a new one without a word,
 * or one within its answer. */
void upstream_note_loss(struct upstream *upstream, bool kept);
/* For whoever shakes hands with an instance: keeps why that, or what came after it, has failed. */
void upstream_note_failure(struct upstream *upstream, const struct stream *stream);
