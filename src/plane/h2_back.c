/* The client's side of HTTP/2. Invariant: a connection is in its upstream's list until it is closed, and
 * lent only while it is offered, which is over for good when it ends, is told to go away, or its upstream is
 * retired. */
#include "plane/h2_back.h"

#include "base/mem.h"
#include "http/h2_text.h"
#include "plane/h2_stream.h"
#include "plane/h2_tools.h"
#include "plane/upstream_state.h"
#include "plane/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define STREAMS_FIRST 100 /* before the instance has said how many */
#define STREAMS_MOST 1000
#define SILENCE_MS 10000 /* with requests in flight: until a sign of life is asked for, and must come */
#define REST_MS 330000   /* between two that are asked for of who says nothing else */

struct h2_back {
    struct h2 h2;
    struct stream wire;
    struct inlet in;
    struct outlet out;
    struct upstream *upstream;
    struct tls_context *tls; /* a reference; NULL: plain */
    char *server_name;       /* as tls_connect takes it; NULL: none */
    int error;               /* of the connecting */
    bool connected;
    bool settled;            /* the instance's settings are here */
    bool served;             /* a head has come over it */
    bool offered;            /* more requests may go over it */
    bool asked;              /* for a sign of life */
    uint64_t rests_until_ms; /* it is not asked again before, unless it has spoken */
    uint32_t leases;
    uint32_t keep_ms;
    struct deadline deadline; /* idle, or silent */
    bool idle;                /* which */
    struct idler idler;
    struct loop_deferred freeing;
    TAILQ_ENTRY(h2_back) link;
};

struct h2_back_stream {
    struct connection connection;
    struct h2_stream h2;
    struct h2_back *back; /* NULL: it is gone */
    int error;            /* why it could not be connected */
    uint32_t interim;     /* bytes of interim heads since all was read */
    bool tunnel;
    bool served; /* as its connection, which is gone */
    bool left, forgotten;
};

static struct h2_back_stream *stream_of(const struct connection *connection)
{
    return mem_container(connection, struct h2_back_stream, connection);
}

/* ---- streams ---- */

static void give_back(struct h2_back_stream *stream)
{
    buffers_give_block(stream->h2.worker->buffers, stream);
}

static void run_leaving(struct loop_deferred *deferred)
{
    struct h2_back_stream *stream = mem_container(deferred, struct h2_back_stream, connection.freeing);
    stream->left = true;
    if (stream->forgotten)
        give_back(stream);
}

static void forget(struct h2_stream *s)
{
    struct h2_back_stream *stream = mem_container(s, struct h2_back_stream, h2);
    stream->served = stream->back->served;
    stream->back = NULL;
    stream->forgotten = true;
    if (stream->left)
        give_back(stream);
}

/* Whoever has the lease learns of it now, or when it reads. */
static void lose(struct h2_stream *s)
{
    struct h2_back_stream *stream = mem_container(s, struct h2_back_stream, h2);
    bool closed = s->closed;
    stream->error = stream->back->error != 0 ? stream->back->error : ECONNRESET;
    forget(s);
    if (closed)
        return;
    s->stream->readable = s->stream->writable = true;
    s->stream->ready(s->stream);
}

static void stream_ready(struct stream *virtual)
{
    struct connection *connection = mem_container(virtual, struct connection, stream);
    connection->ready(connection->arg);
}

static struct h2_stream *begin(struct h2 *h2)
{
    (void)h2;
    return NULL; /* nothing is pushed */
}

/* What no window bounds is kept up to the first head that is too much for whoever reads it (reply.c). */
static bool take_interim(struct h2_stream *s, struct str text)
{
    struct h2_back_stream *stream = mem_container(s, struct h2_back_stream, h2);
    if (stream->interim > s->worker->limits.head)
        return true;
    stream->interim = (outlet_waiting(&s->in) == 0 ? 0 : stream->interim) + (uint32_t)text.n;
    return h2_stream_take_head(s, text);
}

static bool head(struct h2_stream *s, const struct h2_block *block, bool ended)
{
    struct h2_tools *tools = s->worker->h2_tools;
    struct h2_text how = {.ended = ended, .head = s->head};
    mem_container(s->h2, struct h2_back, h2)->served = true;
    if (s->has_websocket)
        how.websocket = (struct str){s->websocket, sizeof s->websocket};
    size_t size = h2_text_response(block, &how, tools->text, tools->text_room);
    if (size == 0)
        return false;
    s->in_headed = how.status >= 200;
    s->in_framing = (uint8_t)how.framing;
    s->in_measured = how.measured;
    s->in_left = how.length;
    s->tunnel = how.tunnel;
    struct str text = {tools->text, size};
    return s->in_headed ? h2_stream_take_head(s, text) : take_interim(s, text);
}

static bool too_large(struct h2_stream *s)
{
    s->fault = H2_HEAD_TOO_LARGE;
    return false;
}

/* ---- connections ---- */

static void withdraw(struct h2_back *back)
{
    upstreams_use(back->upstream->all, &back->idler);
    back->offered = false;
}

static void run_freeing(struct loop_deferred *deferred)
{
    free(mem_container(deferred, struct h2_back, freeing));
}

static void close_back(struct h2_back *back)
{
    struct upstream *upstream = back->upstream;
    struct worker *worker = back->h2.worker;
    withdraw(back);
    TAILQ_REMOVE(&upstream->backs, back, link);
    deadline_clear(&back->deadline);
    stream_close(&back->wire, false);
    h2_free(&back->h2);
    inlet_clear(&back->in, worker->buffers);
    outlet_clear(&back->out, worker->buffers);
    tls_context_free(back->tls);
    free(back->server_name);
    counters_sub(&upstream->cells->connections, 1);
    back->freeing.run = run_freeing;
    loop_defer(worker->loop, &back->freeing);
    upstream_leave(upstream);
}

static void over(struct h2 *h2)
{
    close_back(mem_container(h2, struct h2_back, h2));
}

static void spare(struct idler *idler)
{
    close_back(mem_container(idler, struct h2_back, idler));
}

static bool is_going(struct h2_back *back)
{
    return !back->offered || (back->connected && !h2_takes_requests(&back->h2));
}

static void wait_idle(struct h2_back *back)
{
    if (back->idle && back->keep_ms != 0)
        return;
    back->idle = true;
    deadline_set(&back->deadline, back->connected ? back->keep_ms : 0);
    if (back->offered && back->connected && back->keep_ms != 0)
        upstreams_keep(back->upstream->all, &back->idler);
}

static void wait_for_life(struct h2_back *back)
{
    if (!back->idle && deadline_is_set(&back->deadline))
        return;
    back->idle = false;
    upstreams_use(back->upstream->all, &back->idler);
    deadline_set(&back->deadline, SILENCE_MS);
}

static void changed(struct h2 *h2)
{
    struct h2_back *back = mem_container(h2, struct h2_back, h2);
    if (is_going(back)) {
        withdraw(back);
        back->keep_ms = 0;
    }
    if (h2->stream_count > 0)
        wait_for_life(back);
    else
        wait_idle(back);
}

/* What was said before the answer was, in the peer's eyes, said before the question. While it is not asked
 * again the kernel sees whether its host is there: by probes, and by whether it takes what it is sent. */
static void answered(struct h2 *h2)
{
    h2->spoke = false;
    stream_keep_watch(h2->wire, 2 * SILENCE_MS / 1000);
}

static const struct h2_role role = {begin, head, too_large, forget, lose, changed, answered, over};

/* Servers of gRPC take who asks again within five minutes, while they have sent neither a head nor data, for
 * an attacker: the third time they end the connection (too_many_pings), with all requests. */
static void ask(struct h2_back *back, uint64_t now)
{
    back->asked = true;
    back->rests_until_ms = now + REST_MS;
    back->h2.spoke = false;
    h2_probe(&back->h2);
    deadline_set(&back->deadline, SILENCE_MS);
}

static void timed_out(struct deadline *deadline)
{
    struct h2_back *back = mem_container(deadline, struct h2_back, deadline);
    uint64_t now = loop_ms(back->h2.worker->loop);
    if (back->asked || back->idle)
        close_back(back);
    else if (back->h2.spoke || now >= back->rests_until_ms)
        ask(back, now);
    else
        deadline_set(&back->deadline, back->rests_until_ms - now);
}

static void tell_leases(struct h2_back *back)
{
    struct h2_stream *s;
    TAILQ_FOREACH (s, &back->h2.streams, link)
        h2_tell(s);
}

/* HTTP/2 is spoken only with who has agreed to it (RFC 9113 section 3.3). */
static int agree(struct h2_back *back)
{
    if (str_equal(tls_alpn(&back->wire), STR("h2")))
        return 0;
    back->upstream->failure =
        (struct upstream_tls_failure){.why = "it does not offer HTTP/2 (by ALPN), and upstream is \"h2\""};
    return EPROTO;
}

static int shake_hands(struct h2_back *back)
{
    switch (tls_handshake(&back->wire)) {
    case 0:
        return agree(back);
    case STREAM_AGAIN:
        return EINPROGRESS;
    default:
        upstream_note_failure(back->upstream, &back->wire);
        return EPROTO;
    }
}

/* Returns 0, EINPROGRESS, or why it failed. */
static int go_on_connecting(struct h2_back *back)
{
    if (!tls_is_on(&back->wire)) {
        int error = stream_connected(&back->wire);
        if (error != 0 || !back->wire.writable)
            return error != 0 ? error : EINPROGRESS;
        if (back->tls != NULL && !tls_connect(&back->wire, back->tls, back->server_name))
            return ENOMEM;
    }
    return back->tls == NULL ? 0 : shake_hands(back);
}

/* True: it is made. */
static bool connect_is_done(struct h2_back *back)
{
    int error = go_on_connecting(back);
    if (error == EINPROGRESS)
        return false;
    if (error != 0) {
        back->error = error;
        close_back(back);
        return false;
    }
    back->connected = true;
    back->h2.held = false;
    h2_wake(&back->h2);
    tell_leases(back);
    return true;
}

static void wire_ready(struct stream *wire)
{
    struct h2_back *back = mem_container(wire, struct h2_back, wire);
    if (!back->connected && !connect_is_done(back))
        return;
    if (wire->readable) {
        back->asked = false;
        if (!back->idle)
            deadline_set(&back->deadline, SILENCE_MS);
    }
    h2_ready(&back->h2);
    if (!back->settled && back->h2.settled) {
        back->settled = true;
        back->upstream->streams = back->h2.peer.streams;
        tell_leases(back);
    }
}

static struct h2_back *make(struct upstream *upstream, const struct snapshot_instance *instance,
                            const struct lending *lending)
{
    struct worker *worker = lending->h2;
    struct h2_back *back = calloc(1, sizeof *back);
    int fd = back == NULL ? -1 : stream_connect(instance->address, instance->address_length);
    if (fd < 0 || !stream_open(&back->wire, worker->loop, fd, wire_ready)) {
        int error = fd < 0 ? errno : ENOMEM;
        free(back);
        errno = error;
        return NULL;
    }
    if (!h2_start(&back->h2, worker, &role, false, &back->wire, &back->in, &back->out)) {
        stream_close(&back->wire, false);
        free(back);
        errno = ENOMEM;
        return NULL;
    }
    back->h2.held = true;
    back->upstream = upstream;
    back->idler.close = spare;
    if (lending->tls != NULL) {
        back->tls = tls_context_ref(lending->tls);
        back->server_name = lending->server_name.n > 0 ? str_dup(lending->server_name) : NULL;
    }
    back->offered = !upstream->retired;
    deadline_init(&back->deadline, worker->loop, timed_out);
    TAILQ_INSERT_HEAD(&upstream->backs, back, link);
    upstream->connections++;
    counters_add(&upstream->cells->connections, 1);
    return back;
}

/* ---- lending ---- */

static uint32_t streams_most(const struct h2_back *back)
{
    uint32_t known = back->upstream->streams, first = known > 0 ? known : STREAMS_FIRST;
    uint32_t said = back->settled ? back->h2.peer.streams : first;
    return said < STREAMS_MOST ? said : STREAMS_MOST;
}

/* The end of a connection may be waiting in the same turn's events as the request that wants it. */
static bool has_ended(const struct h2_back *back)
{
    char byte;
    return back->connected && recv(back->wire.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static bool may_lend(struct h2_back *back, const struct lending *lending)
{
    return back->tls == lending->tls && !back->h2.over && !back->h2.ended && !is_going(back) &&
           back->h2.stream_count < streams_most(back) && (!lending->sure || !has_ended(back));
}

static bool offers_tunnels(const struct h2_back *back)
{
    return back->h2.peer.connects;
}

static struct h2_back *find(struct upstream *upstream, const struct lending *lending)
{
    struct h2_back *back;
    TAILQ_FOREACH (back, &upstream->backs, link) {
        if ((!lending->fresh || !back->connected) && may_lend(back, lending))
            return back;
    }
    return NULL;
}

static bool is_ready(const struct h2_back_stream *stream)
{
    const struct h2_back *back = stream->back;
    bool guessed = !stream->tunnel && back->upstream->streams > 0;
    return back->connected && (back->settled || guessed);
}

struct connection *h2_back_lend(struct upstream *upstream, const struct snapshot_instance *instance,
                                const struct lending *lending)
{
    struct h2_back *back = find(upstream, lending);
    if (back == NULL)
        back = make(upstream, instance, lending);
    if (back != NULL && lending->tunnel && back->settled && !offers_tunnels(back)) {
        errno = EPROTONOSUPPORT;
        return NULL;
    }
    struct buffers *buffers = lending->h2->buffers;
    struct h2_back_stream *stream = back == NULL ? NULL : buffers_take_block(buffers, sizeof *stream);
    if (stream == NULL)
        return NULL;
    *stream = (struct h2_back_stream){.back = back, .tunnel = lending->tunnel};
    struct connection *connection = &stream->connection;
    connection->upstream = upstream;
    connection->stream.ready = stream_ready;
    connection->kept = back->connected;
    connection->h2 = true;
    h2_stream_start(&stream->h2, &back->h2, &connection->stream, false);
    connection->state = is_ready(stream) ? CONNECTION_LENT : CONNECTION_CONNECTING;
    back->leases++;
    wait_for_life(back);
    upstream->connections++;
    return connection;
}

int h2_back_check(const struct connection *connection)
{
    const struct h2_back_stream *stream = stream_of(connection);
    if (stream->back == NULL)
        return stream->error;
    if (!is_ready(stream))
        return EINPROGRESS;
    return stream->tunnel && !offers_tunnels(stream->back) ? EPROTONOSUPPORT : 0;
}

bool h2_back_was_refused(const struct connection *connection)
{
    return stream_of(connection)->h2.refused;
}

/* Was it not even asked, since others came first while nobody knew how many it takes? */
static bool was_full(const struct h2_stream *s)
{
    return s->id == 0 && s->h2 != NULL && h2_takes_requests(s->h2) && s->h2->peer.streams > 0;
}

bool h2_back_refuses_all(const struct connection *connection)
{
    const struct h2_back_stream *stream = stream_of(connection);
    bool served = stream->back != NULL ? stream->back->served : stream->served;
    return stream->h2.refused && !served && !was_full(&stream->h2);
}

enum h2_fault h2_back_fault(const struct connection *connection)
{
    return stream_of(connection)->h2.fault;
}

void h2_back_release(struct connection *connection, uint32_t keep_ms, bool reset)
{
    struct h2_back_stream *stream = stream_of(connection);
    struct upstream *upstream = connection->upstream;
    struct worker *worker = stream->h2.worker;
    if (stream->back != NULL) {
        stream->back->leases--;
        stream->back->keep_ms = keep_ms != 0 ? keep_ms : stream->back->keep_ms;
    }
    connection->state = CONNECTION_CLOSED;
    stream_close(&connection->stream, reset);
    inlet_clear(&connection->in, worker->buffers);
    connection->freeing.run = run_leaving;
    loop_defer(worker->loop, &connection->freeing);
    upstream_leave(upstream);
}

void h2_back_retire(struct upstream *upstream)
{
    struct h2_back *back, *next;
    for (back = TAILQ_FIRST(&upstream->backs); back != NULL; back = next) {
        next = TAILQ_NEXT(back, link);
        withdraw(back);
        bool is_done = back->h2.stream_count == 0 || upstream->all->stopping;
        if (back->leases == 0 && is_done && !back->h2.busy)
            close_back(back);
        else
            h2_wake(&back->h2);
    }
}
