/* Keeping, lending and closing connections. Invariant: a connection is among the idle ones exactly while its
 * state is IDLE, in its upstream and among what the worker keeps alike, counts in in_flight and in the
 * balance's loads exactly while it is CONNECTING or LENT, and leaves its state through one of the few
 * functions below. */
#include "plane/connection.h"

#include "base/mem.h"
#include "io/direct.h"
#include "plane/h2_back.h"
#include "plane/upstream_state.h"
#include "plane/world.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define IDLE_MAX 1024 /* kept to one instance by one worker */
#define PAUSE_MS 4    /* the first one, see dial; each next one is twice as long */
#define PAUSE_MAX_MS 64

/* ---- the idle ones ---- */

static struct connection *find_owned(const struct upstream *upstream, const struct connection_owner *owner)
{
    struct connection *found;
    HASH_FIND(hh, upstream->owned, owner, sizeof *owner, found);
    return found;
}

static void add_idle(struct connection *connection)
{
    struct upstream *upstream = connection->upstream;
    if (connection->owner.version == 0)
        TAILQ_INSERT_HEAD(&upstream->idle, connection, link);
    else
        HASH_ADD(hh, upstream->owned, owner, sizeof connection->owner, connection);
    upstream->idle_count++;
    upstreams_keep(upstream->all, &connection->idler);
}

static void remove_idle(struct connection *connection)
{
    struct upstream *upstream = connection->upstream;
    if (connection->owner.version == 0)
        TAILQ_REMOVE(&upstream->idle, connection, link);
    else
        HASH_DEL(upstream->owned, connection);
    upstream->idle_count--;
    upstreams_use(upstream->all, &connection->idler);
}

/* The one that nobody has used for longest, or about so; a hash keeps the order of coming. */
static struct connection *oldest_idle(const struct upstream *upstream)
{
    return upstream->owned != NULL ? upstream->owned : TAILQ_LAST(&upstream->idle, connection_list);
}

/* ---- closing ---- */

static void forget_tls(struct connection *connection)
{
    tls_context_free(connection->tls);
    free(connection->server_name);
    connection->tls = NULL;
    connection->server_name = NULL;
}

static void run_freeing(struct loop_deferred *deferred)
{
    free(mem_container(deferred, struct connection, freeing));
}

static void close_connection(struct connection *connection, bool reset)
{
    struct upstream *upstream = connection->upstream;
    struct upstreams *all = upstream->all;
    assert(connection->state != CONNECTION_CLOSED);
    if (connection->state == CONNECTION_IDLE)
        remove_idle(connection);
    connection->state = CONNECTION_CLOSED;
    if (connection->stream.fd >= 0)
        stream_close(&connection->stream, reset);
    forget_tls(connection);
    inlet_clear(&connection->in, all->buffers);
    deadline_clear(&connection->idle);
    upstream->connections--;
    counters_sub(&upstream->cells->connections, 1);
    connection->freeing.run = run_freeing;
    loop_defer(all->loop, &connection->freeing);
}

bool connection_close_oldest(struct upstream *upstream)
{
    struct connection *connection = oldest_idle(upstream);
    if (connection != NULL)
        close_connection(connection, false);
    return connection != NULL;
}

/* ---- TLS sessions ---- */

/* The server gives it with its first answer, or with the handshake before, or behind that. */
static void keep_session(struct connection *connection)
{
    struct upstream *upstream = connection->upstream;
    struct ssl_session_st *session = tls_session(&connection->stream);
    if (session == NULL)
        return;
    tls_session_free(upstream->session);
    tls_context_free(upstream->session_context);
    upstream->session = session;
    upstream->session_context = tls_context_ref(connection->tls);
}

/* What comes over TLS 1.3 behind the handshake need not be for us: tickets are OpenSSL's (RFC 8446
 * section 4.6.1). */
static bool was_ticket(struct connection *connection)
{
    char byte;
    struct stream *stream = &connection->stream;
    if (!tls_is_up(stream) || stream->hung_up || stream_recv(stream, &byte, 1) != STREAM_AGAIN)
        return false;
    keep_session(connection);
    return true;
}

/* ---- beginnings ---- */

/* An idle connection owes us nothing: whatever comes over it ends it. */
static void connection_ready(struct stream *stream)
{
    struct connection *connection = mem_container(stream, struct connection, stream);
    if (connection->state != CONNECTION_IDLE) {
        connection->ready(connection->arg);
    } else if ((stream->readable || stream->hung_up) && !was_ticket(connection)) {
        struct upstream *upstream = connection->upstream;
        upstream_note_loss(upstream, true);
        close_connection(connection, false);
        upstream_forget_unused(upstream);
    }
}

/* A Unix socket whose backlog is full says so at once, and nothing tells when there is room: it is asked
 * again, until the borrower has waited long enough. False with errno: it cannot be connected to. */
static bool dial(struct connection *connection)
{
    int fd = stream_connect(connection->address, connection->address_length);
    if (fd < 0 && errno == EAGAIN && connection->address->sa_family == AF_UNIX) {
        uint16_t pause = connection->pause_ms;
        connection->pause_ms = pause == 0 ? PAUSE_MS : pause < PAUSE_MAX_MS ? 2 * pause : pause;
        deadline_set(&connection->idle, connection->pause_ms);
        return true;
    }
    if (fd >= 0 && !stream_open(&connection->stream, connection->upstream->all->loop, fd, connection_ready)) {
        fd = -1;
        errno = ENOMEM;
    }
    return fd >= 0;
}

static void time_is_over(struct deadline *deadline)
{
    struct connection *connection = mem_container(deadline, struct connection, idle);
    if (connection->state == CONNECTION_IDLE) {
        close_connection(connection, false);
    } else if (connection->state == CONNECTION_CONNECTING && !dial(connection)) {
        connection->error = errno;
        connection->ready(connection->arg);
    }
}

/* ---- lending ---- */

static void lend(struct connection *connection, const struct lending *lending)
{
    struct upstream *upstream = connection->upstream;
    connection->ready = lending->ready;
    connection->arg = lending->arg;
    if (!lending->held)
        counters_add(&upstream->cells->in_flight, 1);
    upstream->all->balance->loads[upstream->slot]++;
}

/* The end of a connection may be waiting in the same turn's events as the request that wants it. */
static bool is_alive(const struct connection *connection)
{
    char byte;
    return direct_recv(connection->stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* What a reload has changed about whom to believe holds for what was kept before, too. */
static bool may_be_lent(const struct connection *connection, const struct lending *lending)
{
    return connection->tls == lending->tls && (!lending->sure || is_alive(connection));
}

static struct connection *take_kept(struct upstream *upstream, const struct lending *lending)
{
    const struct connection_owner *owner = &lending->owner;
    struct connection *connection;
    while ((connection = owner->version == 0 ? TAILQ_FIRST(&upstream->idle) : find_owned(upstream, owner)) !=
           NULL) {
        if (!may_be_lent(connection, lending)) {
            if (connection->tls == lending->tls)
                upstream_note_loss(upstream, true);
            close_connection(connection, false);
            continue;
        }
        remove_idle(connection);
        connection->state = CONNECTION_LENT;
        return connection;
    }
    return NULL;
}

static void spare(struct idler *idler)
{
    close_connection(mem_container(idler, struct connection, idler), false);
}

static struct connection *begin(struct upstream *upstream, const struct snapshot_instance *instance,
                                const struct lending *lending)
{
    struct connection *connection = malloc(sizeof *connection);
    if (connection == NULL)
        return NULL;
    *connection = (struct connection){.stream.fd = -1,
                                      .upstream = upstream,
                                      .state = CONNECTION_CONNECTING,
                                      .address = instance->address,
                                      .address_length = instance->address_length,
                                      .idler.close = spare,
                                      .owner = lending->owner};
    if (lending->tls != NULL) {
        connection->tls = tls_context_ref(lending->tls);
        connection->server_name = lending->server_name.n > 0 ? str_dup(lending->server_name) : NULL;
    }
    deadline_init(&connection->idle, upstream->all->loop, time_is_over);
    if (!dial(connection)) {
        int error = errno;
        forget_tls(connection);
        free(connection);
        errno = error;
        return NULL;
    }
    upstream->connections++;
    counters_add(&upstream->cells->connections, 1);
    return connection;
}

static bool is_out_of_descriptors(int error)
{
    return error == EMFILE || error == ENFILE;
}

static struct connection *obtain(struct upstream *upstream, const struct snapshot_instance *instance,
                                 const struct lending *lending)
{
    if (lending->h2 != NULL)
        return h2_back_lend(upstream, instance, lending);
    return begin(upstream, instance, lending);
}

bool lending_use_tls(struct lending *lending, const struct view *view, struct str service,
                     struct str instance)
{
    const struct upstream_context *context = upstream_contexts_find(world_contexts(view), service);
    if (context == NULL)
        return false;
    lending->tls = context->tls;
    return upstream_context_name(context, instance, &lending->server_name);
}

struct connection *upstream_lend(struct upstream *upstream, const struct snapshot_instance *instance,
                                 const struct lending *lending)
{
    bool kept = !lending->fresh && lending->h2 == NULL;
    struct connection *connection = kept ? take_kept(upstream, lending) : NULL;
    if (connection == NULL)
        connection = obtain(upstream, instance, lending);
    if (connection == NULL && is_out_of_descriptors(errno) && upstreams_spare_one(upstream->all))
        connection = obtain(upstream, instance, lending);
    if (connection != NULL)
        lend(connection, lending);
    return connection;
}

/* ---- what goes before the request ---- */

/* It has all the room of a new connection, so it goes whole or not at all; the request, which comes next,
 * leaves in one packet with it. Returns 0 or errno. */
static int send_header(const struct connection *connection)
{
    const struct connection_owner *owner = &connection->owner;
    char header[PROXY_HEADER_ROOM];
    size_t n = proxy_header_write(owner->version, &owner->ends, header);
    ssize_t sent = send(connection->stream.fd, header, n, MSG_NOSIGNAL | MSG_MORE);
    if (sent < 0)
        return errno;
    return sent == (ssize_t)n ? 0 : ENOBUFS;
}

static int check_h2(struct connection *connection)
{
    int error = h2_back_check(connection);
    if (error == 0)
        connection->state = CONNECTION_LENT;
    return error;
}

/* The first step after the connection: what goes before the request. Returns 0 or errno. */
static int introduce(struct connection *connection)
{
    struct upstream *upstream = connection->upstream;
    int error = connection->owner.version != 0 ? send_header(connection) : 0;
    if (error != 0 || connection->tls == NULL)
        return error;
    if (!tls_connect(&connection->stream, connection->tls, connection->server_name))
        return ENOMEM;
    if (upstream->session != NULL && upstream->session_context == connection->tls)
        tls_resume(&connection->stream, upstream->session);
    return 0;
}

static int shake_hands(struct connection *connection)
{
    switch (tls_handshake(&connection->stream)) {
    case 0:
        return 0;
    case STREAM_AGAIN:
        return EINPROGRESS;
    default:
        upstream_note_failure(connection->upstream, &connection->stream);
        return EPROTO;
    }
}

int connection_check(struct connection *connection)
{
    struct stream *stream = &connection->stream;
    assert(connection->state == CONNECTION_CONNECTING);
    if (connection->h2)
        return check_h2(connection);
    if (stream->fd < 0)
        return connection->error != 0 ? connection->error : EINPROGRESS;
    int error = 0;
    if (!tls_is_on(stream)) {
        if ((error = stream_connected(stream)) != 0)
            return error;
        if (!stream->writable)
            return EINPROGRESS;
        error = introduce(connection);
    }
    if (error == 0 && tls_is_on(stream))
        error = shake_hands(connection);
    if (error == 0)
        connection->state = CONNECTION_LENT;
    return error;
}

/* ---- giving back ---- */

static bool may_be_kept(const struct connection *connection)
{
    const struct upstream *upstream = connection->upstream;
    return connection->state == CONNECTION_LENT && !upstream->all->stopping && connection->in.n == 0 &&
           !connection->stream.readable && !connection->stream.hung_up && upstream->idle_count < IDLE_MAX &&
           (connection->owner.version == 0 || find_owned(upstream, &connection->owner) == NULL);
}

void connection_release(struct connection *connection, uint32_t keep_ms, bool reset)
{
    struct upstream *upstream = connection->upstream;
    assert(connection->state == CONNECTION_CONNECTING || connection->state == CONNECTION_LENT);
    counters_sub(&upstream->cells->in_flight, 1);
    upstream->all->balance->loads[upstream->slot]--;
    if (connection->h2) {
        h2_back_release(connection, keep_ms, reset);
        return;
    }
    if (!connection->kept && tls_is_up(&connection->stream))
        keep_session(connection);
    if (keep_ms == 0 || !may_be_kept(connection)) {
        close_connection(connection, reset);
        upstream_forget_unused(upstream);
        return;
    }
    inlet_clear(&connection->in, upstream->all->buffers);
    connection->state = CONNECTION_IDLE;
    connection->kept = true;
    deadline_set(&connection->idle, keep_ms);
    add_idle(connection);
    if (upstream->retired)
        upstream_begin_fading(upstream);
}

bool connection_was_refused(const struct connection *connection)
{
    return connection->h2 && h2_back_was_refused(connection);
}

bool connection_refuses_all(const struct connection *connection)
{
    return connection->h2 && h2_back_refuses_all(connection);
}
