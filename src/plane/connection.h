/* connection: one to an instance, from its beginning to its end.
 *
 * Where instances are told of the client in a PROXY header, a connection is that client's own: it is lent
 * only to whom its header names.
 *
 * A connection is connecting, lent to one exchange, or idle. Idle ones are watched, so that one that the
 * instance closes is not lent again, and lent last in first out. A lent connection is given back exactly
 * once, by connection_release. */
#pragma once

#include "http/proxy_header.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/tls.h"
#include "plane/inlet.h"
#include "plane/upstream.h"
#include "route/publish.h"
#include "route/snapshot.h"

struct worker;

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
    bool kept;          /* has served before */
    bool h2;            /* is one stream of an HTTP/2 connection */
    uint16_t long_head; /* bytes of the next answer to read with its head; 0: it may be short (reply.c) */
    uint16_t pause_ms;  /* until a full Unix socket is asked once more; 0: it has not been full */
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

/* Speak TLS to this instance, by the contexts of the world that is viewed. False: there is no name to verify,
 * or the keyring could not be used. */
bool lending_use_tls(struct lending *lending, const struct view *view, struct str service,
                     struct str instance);

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

/* Has the instance said that it did not look at the request? Then it may be sent again. */
bool connection_was_refused(const struct connection *connection);
/* And would it hardly look at one that comes over another connection? */
bool connection_refuses_all(const struct connection *connection);

/* Closes the idle one of this instance that nobody has used for longest, or about so. False: none is idle. */
bool connection_close_oldest(struct upstream *upstream);
