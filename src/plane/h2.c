/* A connection's turns, its streams and its limits. Invariant: a stream is in its bucket exactly while it is
 * `open`, and whoever stands on it is called, and frees it, only while no frame is being read. */
#include "plane/h2.h"

#include "base/mem.h"
#include "plane/h2_session.h"
#include "plane/worker.h"

#define READS 4                 /* of one connection in a turn; then others have theirs */
#define UNSENT_MOST (256 << 10) /* bytes that wait for a client; beyond, nothing more is read of it */
#define REFUSED_FREE 10         /* times the limit, of streams beyond it, while the peer may not know it */

const struct snapshot_http2 *h2_limits(const struct h2 *h2)
{
    return &h2->worker->settings->http2;
}

/* ---- guards ---- */

/* The header block that is read goes on and on. */
static void blame_head(struct h2 *h2)
{
    struct h2_stream *s = h2_find(h2, h2->reading.stream);
    h2->faulty = true;
    if (s != NULL && s->fault == H2_NO_FAULT)
        s->fault = H2_HEAD_TOO_LARGE;
}

void h2_calm(struct h2 *h2, enum counters_flood flood)
{
    if (h2->calm != NULL)
        return;
    if (flood == COUNTERS_HEADER_LIST || flood == COUNTERS_CONTINUATIONS)
        blame_head(h2);
    h2->calm = counters_flood_names[flood];
    counters_add(&h2->worker->cells->floods[flood], 1);
}

void h2_spend(struct h2 *h2, enum counters_flood flood)
{
    if (h2->server && !h2_guard_spend(&h2->guard, flood, h2_limits(h2), loop_ms(h2->worker->loop)))
        h2_calm(h2, flood);
}

bool h2_is_deaf(const struct h2 *h2)
{
    return h2->ended || h2->finished || h2->calm != NULL;
}

void h2_take_late_end(struct h2 *h2, enum counters_flood flood)
{
    if (h2->cut > 0)
        h2->cut--;
    else
        h2_spend(h2, flood);
}

/* Who has many requests waiting begins with more streams than it may have, and learns; who goes on does not
 * want to. */
void h2_spend_refused(struct h2 *h2)
{
    if (++h2->refused > REFUSED_FREE * h2_limits(h2)->streams)
        h2_spend(h2, COUNTERS_RESETS);
}

/* ---- streams ---- */

static struct h2_bucket *bucket_of(struct h2 *h2, uint32_t id)
{
    return &h2->open[id / 2 % H2_BUCKETS];
}

struct h2_stream *h2_find(struct h2 *h2, uint32_t id)
{
    struct h2_stream *s;
    LIST_FOREACH (s, bucket_of(h2, id), same) {
        if (s->id == id)
            return s;
    }
    return NULL;
}

/* Clients open the odd ones; nothing is pushed. */
bool h2_is_idle(const struct h2 *h2, uint32_t id)
{
    return id % 2 == 0 || (h2->server ? id > h2->last : id >= h2->next);
}

void h2_open(struct h2_stream *s, uint32_t id)
{
    struct h2 *h2 = s->h2;
    s->id = id;
    s->open = true;
    s->room = h2->peer.window;
    s->window = h2->window;
    LIST_INSERT_HEAD(bucket_of(h2, id), s, same);
    h2->open_count++;
    h2->unended++;
}

void h2_close(struct h2_stream *s, enum h2_code code)
{
    struct h2 *h2 = s->h2;
    LIST_REMOVE(s, same);
    h2->open_count--;
    h2->unended -= !s->in_ended;
    if (s->queued)
        TAILQ_REMOVE(&h2->sending, s, turn);
    s->queued = false;
    h2_stream_gone(s, code);
    h2_tell(s);
}

static bool is_peers_fault(enum h2_code code)
{
    return code == H2_PROTOCOL_ERROR || code == H2_FLOW_CONTROL_ERROR || code == H2_STREAM_CLOSED ||
           code == H2_FRAME_SIZE_ERROR || code == H2_COMPRESSION_ERROR;
}

static void blame(struct h2_stream *s)
{
    if (s->fault == H2_NO_FAULT)
        s->fault = H2_MALFORMED;
}

/* What we reset because of what the peer did is as cheap for it as if it had done it itself (CVE-2025-8671).
 */
void h2_reset_id(struct h2 *h2, uint32_t id, enum h2_code code)
{
    if (is_peers_fault(code))
        h2_spend(h2, COUNTERS_RESETS);
    else if (code == H2_REFUSED_STREAM)
        h2_spend_refused(h2);
    h2_write_number(h2, H2_RST_STREAM, id, code);
    h2_wake(h2);
}

void h2_reset(struct h2_stream *s, enum h2_code code)
{
    s->h2->cut += !s->in_ended;
    if (is_peers_fault(code))
        blame(s);
    h2_reset_id(s->h2, s->id, code);
    h2_close(s, code);
}

void h2_refuse(struct h2_stream *s)
{
    h2_reset(s, s->fault == H2_OURS ? H2_INTERNAL_ERROR : H2_PROTOCOL_ERROR);
}

/* ---- turns ---- */

/* One batch. True: there is more to send, and the wire takes it. */
static bool send_batch(struct h2 *h2)
{
    if (h2->held)
        return false;
    if (h2->wire->writable && !h2->finished)
        h2_write_data(h2);
    if (outlet_waiting(h2->out) == 0)
        return false;
    enum outlet_result result = outlet_flush(h2->out, h2->worker->buffers, h2->wire);
    if (result == OUTLET_FAILED)
        h2->ended = true;
    if (result != OUTLET_EMPTY)
        return false;
    h2->acks = 0;
    const struct h2_stream *next = TAILQ_FIRST(&h2->sending);
    return next != NULL && (h2->room > 0 || !h2_stream_has_data(next));
}

void h2_tell(struct h2_stream *s)
{
    if (s->told || s->h2 == NULL || s->h2->over)
        return;
    s->told = true;
    TAILQ_INSERT_TAIL(&s->h2->news, s, news);
    h2_wake(s->h2);
}

static void forget(struct h2_stream *s)
{
    struct h2 *h2 = s->h2;
    TAILQ_REMOVE(&h2->streams, s, link);
    h2->stream_count--;
    if (s->told)
        TAILQ_REMOVE(&h2->news, s, news);
    s->told = false;
    s->h2 = NULL;
    h2->role->forget(s);
}

/* One that is told is called, or has nobody left. */
static void tell_all(struct h2 *h2)
{
    struct h2_stream *s;
    for (uint32_t left = h2->stream_count; left > 0 && (s = TAILQ_FIRST(&h2->news)) != NULL; left--) {
        TAILQ_REMOVE(&h2->news, s, news);
        s->told = false;
        if (!s->closed)
            s->stream->ready(s->stream);
        if (s->closed && !s->open && !s->told)
            forget(s);
    }
    if (!TAILQ_EMPTY(&h2->news))
        h2_wake(h2);
}

static void end(struct h2 *h2)
{
    if (h2->over)
        return;
    h2->over = true;
    h2->role->over(h2);
}

static bool is_over(const struct h2 *h2)
{
    return h2_is_deaf(h2) || ((h2->leaving || h2->left) && h2->open_count == 0);
}

static void say_calm(struct h2 *h2)
{
    if (h2->calm_said)
        return;
    h2->calm_said = true;
    h2_write_goaway(h2, h2->last_seen, H2_ENHANCE_YOUR_CALM, str_of(h2->calm));
    h2->finished = true;
    send_batch(h2);
}

/* Does a client ask and not read? An answer that is a head alone ends its stream at once, so streams are no
 * bound for what waits (CVE-2019-9517). */
static bool is_stuffed(const struct h2 *h2)
{
    return h2->server && !h2->wire->writable && outlet_waiting(h2->out) > UNSENT_MOST;
}

static void run(struct loop_deferred *deferred)
{
    struct h2 *h2 = mem_container(deferred, struct h2, running);
    h2->again = false;
    if (h2->over)
        return;
    h2->busy = true;
    if (send_batch(h2))
        h2_wake(h2);
    if (h2->calm != NULL)
        say_calm(h2);
    tell_all(h2);
    h2->busy = false;
    h2->role->changed(h2);
    if (is_over(h2))
        end(h2);
    else if (h2->wire->readable && !h2->held && !is_stuffed(h2))
        h2->wire->ready(h2->wire); /* a turn took its part, and no edge tells of the rest */
}

void h2_wake(struct h2 *h2)
{
    if (h2->again || h2->over)
        return;
    h2->again = true;
    loop_defer(h2->worker->loop, &h2->running);
}

/* Is it due to look once more? Of what is not registered yet, also behind half a frame (see stream_recv). */
static bool may_give(const struct h2 *h2)
{
    bool whole = h2->unended == 0 && h2->in->n == 0 && !h2->reading.open && h2->settled;
    return whole ? h2->wire->readable : stream_may_give(h2->wire);
}

/* True: more may have come. */
static bool read_wire(struct h2 *h2)
{
    if (!may_give(h2) || h2_is_deaf(h2) || is_stuffed(h2))
        return false;
    ssize_t count = inlet_fill(h2->in, h2->wire, h2->worker->buffers, SCRATCH_SIZE);
    if (count == STREAM_AGAIN)
        return false;
    if (count <= 0) {
        h2->ended = true;
        return false;
    }
    return true;
}

static void take_bytes(struct h2 *h2)
{
    h2_read(h2);
    if (h2_is_deaf(h2))
        inlet_consume(h2->in, h2->in->n);
    if (h2->calm != NULL)
        say_calm(h2);
}

void h2_ready(struct h2 *h2)
{
    unsigned reads = 0;
    if (h2->over)
        return;
    h2->busy = true;
    do {
        if (h2->in->n > 0)
            take_bytes(h2);
    } while (reads++ < READS && read_wire(h2));
    if (h2->in->n > 0)
        take_bytes(h2);
    if (!inlet_settle(h2->in, h2->worker->buffers))
        h2->ended = true;
    tell_all(h2);
    h2->busy = false;
    h2_wake(h2);
}

/* ---- what the owner asks for ---- */

bool h2_takes_requests(const struct h2 *h2)
{
    return !h2_is_deaf(h2) && !h2->leaving && !h2->left && h2->next <= H2_STREAM_MAX;
}

static const char ping[8];

void h2_probe(struct h2 *h2)
{
    h2->pings++;
    h2_write_frame(h2, (struct h2_frame){sizeof ping, H2_PING, 0, 0}, ping);
    h2_wake(h2);
}

void h2_give_notice(struct h2 *h2)
{
    h2_write_goaway(h2, H2_STREAM_MAX, H2_NO_ERROR, STR(""));
    h2_probe(h2);
}

void h2_leave(struct h2 *h2)
{
    if (h2->leaving || h2->finished)
        return;
    h2->leaving = true;
    h2_write_goaway(h2, h2->last_seen, H2_NO_ERROR, STR(""));
    h2_wake(h2);
}

void h2_finish(struct h2 *h2, enum h2_code code)
{
    if (h2->finished)
        return;
    h2->faulty = is_peers_fault(code);
    struct h2_stream *guilty = h2->faulty ? h2_find(h2, h2->at) : NULL;
    if (guilty != NULL)
        blame(guilty);
    h2_write_goaway(h2, h2->last_seen, code, STR(""));
    h2->finished = true;
    h2_wake(h2);
}

/* ---- beginning and end ---- */

bool h2_start(struct h2 *h2, struct worker *worker, const struct h2_role *role, bool server,
              struct stream *wire, struct inlet *in, struct outlet *out)
{
    memset(h2, 0, offsetof(struct h2, decoder));
    h2->worker = worker;
    h2->role = role;
    h2->wire = wire;
    h2->in = in;
    h2->out = out;
    TAILQ_INIT(&h2->streams);
    TAILQ_INIT(&h2->news);
    TAILQ_INIT(&h2->sending);
    h2->running.run = run;
    h2->server = server;
    h2->peer = (struct h2_peer){UINT32_MAX, H2_WINDOW, H2_PAYLOAD_MAX, false};
    h2->next = 1;
    h2->window = H2_WINDOW;
    h2->room = H2_WINDOW;
    hpack_decoder_start(&h2->decoder);
    hpack_encoder_start(&h2->encoder);
    h2_settings_say(h2);
    if (h2->ended)
        return false;
    h2_wake(h2);
    return true;
}

void h2_free(struct h2 *h2)
{
    struct h2_stream *s;
    h2->over = true;
    TAILQ_INIT(&h2->news); /* nobody is told, and what is lost below may be freed while it is listed */
    TAILQ_INIT(&h2->sending);
    TAILQ_FOREACH (s, &h2->streams, link)
        s->told = s->queued = false;
    while ((s = TAILQ_FIRST(&h2->streams)) != NULL) {
        TAILQ_REMOVE(&h2->streams, s, link);
        h2_stream_lose(s);
        h2->role->lose(s);
    }
    h2_heads_drop(h2);
}
