/* upstream: one worker's connections to the instances.
 *
 * Where instances are told of the client in a PROXY header, a connection is that client's own: it is lent
 * only to whom its header names.
 *
 * A connection is connecting, lent to one exchange, or idle. Idle ones are watched, so that one that the
 * instance closes is not lent again, and lent last in first out. A worker keeps no more of them than its
 * share of the descriptors (crowd_idle_limit); the one kept for longest goes first. A lent connection is
 * given back exactly once, by connection_release. */
#pragma once

#include "http/proxy_header.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/tls.h"
#include "link/counters.h"
#include "plane/balance.h"
#include "plane/inlet.h"
#include "route/snapshot.h"

#include <stdlib.h>
#include <sys/queue.h>

#define uthash_fatal(message) abort()
#include <uthash.h>

struct worker;
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
    bool retired;       /* no request of the present world comes here: nothing is kept idle */
    uint64_t lost_ms;   /* when the instance last closed a kept connection; 0: never */
    uint64_t seen;      /* version of the last image that routes to it */
    uint64_t overruled; /* of the last snapshot that amends its service */
    struct counters_instance *cells;
    struct connection_list idle;         /* the one used last comes first */
    struct connection *owned;            /* uthash by owner: idle ones of one client each */
    TAILQ_HEAD(, h2_back) backs;         /* that speak HTTP/2 and take requests: see h2_back.h */
    struct ssl_session_st *session;      /* of TLS, the last one, to be resumed; NULL: none */
    struct tls_context *session_context; /* that it belongs to; a reference */
    struct upstream_tls_failure failure; /* the last one */
    bool fades;                          /* is among those whose idle connections are being closed */
    TAILQ_ENTRY(upstream) link, fading;
};

enum connection_state { CONNECTION_CONNECTING, CONNECTION_LENT, CONNECTION_IDLE, CONNECTION_CLOSED };

/* Of version 0: whose connection it is does not matter. A key, so without padding. */
struct connection_owner {
    struct proxy_ends ends;
    uint32_t version; /* of the PROXY protocol */
};

struct connection {
    struct stream stream;
    struct inlet in;
    struct upstream *upstream;
    enum connection_state state;
    bool kept;                /* has served before */
    bool h2;                  /* is one stream of an HTTP/2 connection */
    uint16_t pause_ms;        /* until a full Unix socket is asked once more; 0: it has not been full */
    void (*ready)(void *arg); /* while connecting or lent */
    void *arg;
    const struct sockaddr *address; /* while connecting: its borrower's */
    socklen_t address_length;
    int error;               /* of a connection that could not be begun, errno */
    struct tls_context *tls; /* a reference; NULL: plain */
    char *server_name;       /* of TLS, until its handshake begins; NULL: none */
    struct deadline idle;    /* how long it is kept, while idle; the pause, while connecting */
    struct loop_deferred freeing;
    TAILQ_ENTRY(connection) link;
    struct idler idler;
    struct connection_owner owner;
    UT_hash_handle hh; /* of upstream.owned */
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

struct lending {
    bool fresh;  /* no kept connection: it must not have been closed meanwhile */
    bool sure;   /* look once more, by a system call, whether a kept one is alive */
    bool tunnel; /* the request asks for one, which over HTTP/2 must be offered */
    bool held;   /* it counts in the instance's in_flight already; where nothing is lent it still does */
    struct worker *h2; /* speak HTTP/2, in this worker; NULL: HTTP/1.1 */
    struct connection_owner owner;
    struct tls_context *tls; /* NULL: plain; a kept connection of another context is not lent */
    struct str server_name;  /* as tls_connect takes it; empty: none */
    void (*ready)(void *arg);
    void *arg;
};

/* Lends a kept connection or begins a new one (state tells); the instance's address is looked at until it is
 * connected. NULL with errno: none could be begun. */
struct connection *upstream_lend(struct upstream *upstream, const struct snapshot_instance *instance,
                                 const struct lending *lending);

/* After `ready` while connecting: 0 connected, its PROXY header sent and its TLS handshake done (lent now),
 * EINPROGRESS not yet, else the error; EPROTO: TLS has failed, and upstream->failure says why. */
int connection_check(struct connection *connection);

/* Gives a connection back. It is kept for `keep_ms` if that is not 0, nothing unread has come, and the
 * instance is still wanted; else closed, with a reset if asked. */
void connection_release(struct connection *connection, uint32_t keep_ms, bool reset);

/* A connection that was counted in `connections` has gone: forgets a retired record with its last one. */
void upstream_leave(struct upstream *upstream);
/* Has the instance said that it did not look at the request? Then it may be sent again. */
bool connection_was_refused(const struct connection *connection);

/* For whoever shakes hands with an instance: keeps why that, or what came after it, has failed. */
void upstream_note_failure(struct upstream *upstream, const struct stream *stream);
