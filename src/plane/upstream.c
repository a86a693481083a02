/* Keeping, lending and closing connections. Invariant: a connection is among the idle ones exactly while its
 * state is IDLE, in its upstream and among what the worker keeps alike, counts in in_flight and in the
 * balance's loads exactly while it is CONNECTING or LENT, and leaves its state through one of the few
 * functions below. */
#include "plane/upstream.h"

#include "base/mem.h"
#include "plane/crowd.h"
#include "plane/h2_back.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define IDLE_MAX 1024 /* kept to one instance by one worker */
#define FADE_BURST 1  /* idle connections that are closed in a turn, after a swap */
#define PAUSE_MS 4    /* the first one, see dial; each next one is twice as long */
#define PAUSE_MAX_MS 64

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

static void fade(struct loop_deferred *deferred);

struct upstreams *upstreams_new(struct loop *loop, struct counters *counters, unsigned worker,
                                struct buffers *buffers, struct balance *balance)
{
    struct upstreams *all = mem_zero(1, sizeof *all);
    *all = (struct upstreams){.loop = loop, .counters = counters, .worker = worker};
    all->buffers = buffers;
    all->balance = balance;
    all->idle_most = crowd_idle_limit(counters_workers(counters));
    all->by_slot = mem_zero(COUNTERS_INSTANCES, sizeof(struct upstream *));
    TAILQ_INIT(&all->by_age);
    TAILQ_INIT(&all->list);
    TAILQ_INIT(&all->fading);
    all->fade.run = fade;
    return all;
}

/* A retired record goes with its last connection. */
static void forget_unused(struct upstream *upstream)
{
    struct upstreams *all = upstream->all;
    if (!upstream->retired || upstream->connections > 0)
        return;
    if (all->by_slot[upstream->slot] == upstream)
        all->by_slot[upstream->slot] = NULL;
    TAILQ_REMOVE(&all->list, upstream, link);
    if (upstream->fades)
        TAILQ_REMOVE(&all->fading, upstream, fading);
    tls_session_free(upstream->session);
    tls_context_free(upstream->session_context);
    free(upstream);
}

void upstream_leave(struct upstream *upstream)
{
    upstream->connections--;
    forget_unused(upstream);
}

static void run_freeing(struct loop_deferred *deferred)
{
    free(mem_container(deferred, struct connection, freeing));
}

/* ---- the idle ones ---- */

/* Gives back the descriptor of an idle connection. False: none is idle. */
static bool spare_one(struct upstreams *all)
{
    struct idler *oldest = TAILQ_FIRST(&all->by_age);
    if (oldest == NULL)
        return false;
    oldest->close(oldest);
    assert(!oldest->kept);
    return true;
}

void upstreams_keep(struct upstreams *all, struct idler *idler)
{
    assert(!idler->kept);
    idler->kept = true;
    TAILQ_INSERT_TAIL(&all->by_age, idler, age);
    all->idle_count++;
    if (all->idle_count > all->idle_most)
        spare_one(all);
}

void upstreams_use(struct upstreams *all, struct idler *idler)
{
    if (!idler->kept)
        return;
    idler->kept = false;
    TAILQ_REMOVE(&all->by_age, idler, age);
    all->idle_count--;
}

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

static void close_idle(struct upstream *upstream)
{
    struct connection *connection;
    while ((connection = oldest_idle(upstream)) != NULL)
        close_connection(connection, false);
}

static void stop_fading(struct upstream *upstream)
{
    if (upstream->fades)
        TAILQ_REMOVE(&upstream->all->fading, upstream, fading);
    upstream->fades = false;
}

/* A few a turn: after a swap all of a pool's connections end, and whoever asks meanwhile must not wait for
 * that. */
static void fade(struct loop_deferred *deferred)
{
    struct upstreams *all = mem_container(deferred, struct upstreams, fade);
    struct upstream *upstream;
    int closed = 0;
    if (all->ended) {
        free(all);
        return;
    }
    while (closed < FADE_BURST && (upstream = TAILQ_FIRST(&all->fading)) != NULL) {
        struct connection *connection = upstream->retired ? oldest_idle(upstream) : NULL;
        if (connection == NULL) {
            stop_fading(upstream);
            forget_unused(upstream);
            continue;
        }
        close_connection(connection, false);
        closed++;
    }
    all->fade_is_due = !TAILQ_EMPTY(&all->fading);
    if (all->fade_is_due)
        loop_defer(all->loop, &all->fade);
}

static void begin_fading(struct upstream *upstream)
{
    struct upstreams *all = upstream->all;
    if (upstream->idle_count == 0 || upstream->fades)
        return;
    upstream->fades = true;
    TAILQ_INSERT_TAIL(&all->fading, upstream, fading);
    if (!all->fade_is_due)
        loop_defer(all->loop, &all->fade);
    all->fade_is_due = true;
}

static void retire(struct upstream *upstream)
{
    upstream->retired = true;
    if (upstream->all->stopping)
        close_idle(upstream);
    else
        begin_fading(upstream);
    upstream->connections++; /* so that it is not forgotten in between */
    h2_back_retire(upstream);
    upstream->connections--;
    forget_unused(upstream);
}

void upstreams_stop(struct upstreams *all)
{
    struct upstream *next;
    all->stopping = true;
    for (struct upstream *upstream = TAILQ_FIRST(&all->list); upstream != NULL; upstream = next) {
        next = TAILQ_NEXT(upstream, link);
        retire(upstream);
    }
}

void upstreams_free(struct upstreams *all)
{
    upstreams_stop(all);
    assert(TAILQ_EMPTY(&all->list));
    free(all->by_slot);
    all->ended = true;
    if (!all->fade_is_due)
        free(all);
}

static struct upstream *known(const struct upstreams *all, const struct snapshot_instance *instance)
{
    struct upstream *upstream = all->by_slot[instance->slot];
    return upstream != NULL && upstream->id == instance->id ? upstream : NULL;
}

/* All pools of the snapshot's own image. */
static void mark(struct upstreams *all, const struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot_pool_count(snapshot); i++) {
        const struct snapshot_pool *pool = snapshot_pool_at(snapshot, i);
        for (size_t k = 0; k < snapshot_pool_size(pool); k++) {
            struct snapshot_instance instance = snapshot_pool_instance(snapshot, pool, k);
            struct upstream *upstream = known(all, &instance);
            if (upstream != NULL && instance.routed_by != 0)
                upstream->seen = instance.routed_by;
        }
    }
}

/* What the ground says of this service does not count. */
static void overrule(struct upstreams *all, const struct snapshot *snapshot, uint32_t service)
{
    const struct snapshot *ground = snapshot_ground(snapshot);
    const struct snapshot_service *before = snapshot_service_at(ground, service);
    for (size_t i = 0; i < snapshot_service_pool_count(before); i++) {
        const struct snapshot_pool *pool = snapshot_service_pool_at(ground, before, i);
        for (size_t k = 0; k < snapshot_pool_size(pool); k++) {
            struct snapshot_instance instance = snapshot_pool_instance(ground, pool, k);
            struct upstream *upstream = known(all, &instance);
            if (upstream != NULL)
                upstream->overruled = snapshot_version(snapshot);
        }
    }
}

/* A ground is gone through once: what has been made since then knows by itself which image routes to it. */
static void mark_all(struct upstreams *all, const struct snapshot *snapshot)
{
    const struct snapshot *ground = snapshot_ground(snapshot);
    if (all->ground != snapshot_version(ground))
        mark(all, ground);
    all->ground = snapshot_version(ground);
    for (size_t i = 0; i < snapshot_amended_count(snapshot); i++)
        overrule(all, snapshot, snapshot_amended_at(snapshot, i));
    if (ground != snapshot)
        mark(all, snapshot);
}

static bool is_routed(const struct upstream *upstream, const struct snapshot *snapshot)
{
    uint64_t version = snapshot_version(snapshot);
    return upstream->seen == version ||
           (upstream->seen == upstream->all->ground && upstream->overruled != version);
}

/* Slots may be re-used, and instances may come back into rotation: both are told by id and version. */
void upstreams_turn(struct upstreams *all, const struct snapshot *snapshot)
{
    struct upstream *next;
    mark_all(all, snapshot);
    for (struct upstream *upstream = TAILQ_FIRST(&all->list); upstream != NULL; upstream = next) {
        next = TAILQ_NEXT(upstream, link);
        upstream->retired = all->stopping || !is_routed(upstream, snapshot);
        if (upstream->retired)
            retire(upstream);
    }
}

static struct upstream *make(struct upstreams *all, const struct snapshot_instance *instance)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (upstream == NULL)
        return NULL;
    upstream->all = all;
    upstream->id = instance->id;
    upstream->slot = instance->slot;
    upstream->seen = instance->routed_by;
    upstream->retired = all->stopping;
    upstream->cells = counters_instance(all->counters, all->worker, instance->slot);
    TAILQ_INIT(&upstream->idle);
    TAILQ_INIT(&upstream->backs);
    TAILQ_INSERT_TAIL(&all->list, upstream, link);
    all->by_slot[instance->slot] = upstream;
    return upstream;
}

struct upstream *upstream_of(struct upstreams *all, const struct snapshot_instance *instance)
{
    struct upstream *upstream = known(all, instance);
    if (upstream != NULL)
        return upstream;
    upstream = all->by_slot[instance->slot];
    if (upstream != NULL) {
        all->by_slot[instance->slot] = NULL;
        close_idle(upstream); /* its cells are another's from now on */
        retire(upstream);
    }
    return make(all, instance);
}

uint32_t upstream_connections(const struct upstreams *upstreams, const struct snapshot_instance *instance)
{
    const struct upstream *upstream = known(upstreams, instance);
    return upstream == NULL ? 0 : upstream->connections;
}

uint32_t upstream_connections_until(const struct upstreams *upstreams,
                                    const struct snapshot_instance *instance, uint64_t until_ms)
{
    const struct upstream *upstream = known(upstreams, instance);
    const struct connection *idle;
    if (upstream == NULL)
        return 0;
    uint32_t count = upstream->connections - upstream->idle_count;
    TAILQ_FOREACH (idle, &upstream->idle, link) {
        if (idle->idle.at_ms < until_ms)
            break;
        count++;
    }
    return count;
}

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

/* An idle connection owes us nothing: whatever comes over it ends it. */
static void connection_ready(struct stream *stream)
{
    struct connection *connection = mem_container(stream, struct connection, stream);
    if (connection->state != CONNECTION_IDLE) {
        connection->ready(connection->arg);
    } else if ((stream->readable || stream->hung_up) && !was_ticket(connection)) {
        struct upstream *upstream = connection->upstream;
        upstream->lost_ms = loop_ms(upstream->all->loop);
        close_connection(connection, false);
        forget_unused(upstream);
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
    return recv(connection->stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
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
            upstream->lost_ms = loop_ms(upstream->all->loop);
            close_connection(connection, false);
            continue;
        }
        remove_idle(connection);
        connection->state = CONNECTION_LENT;
        connection->stream.unsure = false; /* the last message was whole */
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

struct connection *upstream_lend(struct upstream *upstream, const struct snapshot_instance *instance,
                                 const struct lending *lending)
{
    bool kept = !lending->fresh && lending->h2 == NULL;
    struct connection *connection = kept ? take_kept(upstream, lending) : NULL;
    if (connection == NULL)
        connection = obtain(upstream, instance, lending);
    if (connection == NULL && is_out_of_descriptors(errno) && spare_one(upstream->all))
        connection = obtain(upstream, instance, lending);
    if (connection != NULL)
        lend(connection, lending);
    return connection;
}

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

bool connection_was_refused(const struct connection *connection)
{
    return connection->h2 && h2_back_was_refused(connection);
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

void upstream_note_failure(struct upstream *upstream, const struct stream *stream)
{
    struct err err;
    (void)tls_why(stream, &err);
    upstream->failure.unverified = tls_is_unverified(stream);
    snprintf(upstream->failure.why, sizeof upstream->failure.why, "%.*s",
             (int)sizeof upstream->failure.why - 1, err.text);
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
        forget_unused(upstream);
        return;
    }
    inlet_clear(&connection->in, upstream->all->buffers);
    connection->state = CONNECTION_IDLE;
    connection->kept = true;
    deadline_set(&connection->idle, keep_ms);
    add_idle(connection);
    if (upstream->retired)
        begin_fading(upstream);
}
