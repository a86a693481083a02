/* The glue around nghttp2. Invariant: nghttp2's callbacks only note what has come; whoever stands on a stream
 * is called, and frees it, only while nghttp2 is not on the stack. */
#include "plane/h2.h"

#include "base/mem.h"
#include "plane/h2_memory.h"
#include "plane/h2_stream.h"
#include "plane/h2_tools.h"
#include "plane/worker.h"

#include <stdlib.h>

#define READS 4               /* of one connection in a turn; then others have theirs */
#define FRAME_MAX (16384 + 9) /* what nghttp2 gives at once, at most */
#define CONNECTION_WINDOW (1 << 20)
#define REFUSED_FREE 10 /* times the limit, of streams beyond it, while the peer may not know it */
#define TINY 64         /* bytes of a frame that a peer's window has cut short */
#define LIST_MOST 8     /* times the limit: a header block that goes on beyond is an attack */

static const struct snapshot_http2 *limits_of(const struct h2 *h2)
{
    return &h2->worker->settings->http2;
}

/* ---- guards ---- */

/* The word goes with the GOAWAY; nothing more is heard. */
static void calm(struct h2 *h2, enum counters_flood flood)
{
    if (h2->calm != NULL)
        return;
    h2->calm = counters_flood_names[flood];
    counters_add(&h2->worker->cells->floods[flood], 1);
}

static void spend(struct h2 *h2, enum counters_flood flood)
{
    if (!h2_guard_spend(&h2->guard, flood, limits_of(h2), loop_ms(h2->worker->loop)))
        calm(h2, flood);
}

static void count_continuation(struct h2 *h2, const nghttp2_frame_hd *frame)
{
    if (frame->length == 0)
        spend(h2, COUNTERS_EMPTY_FRAMES);
    if (++h2->continuations > limits_of(h2)->continuations)
        calm(h2, COUNTERS_CONTINUATIONS);
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *frame, void *arg)
{
    (void)session;
    struct h2 *h2 = arg;
    bool ends = (frame->flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->type != NGHTTP2_CONTINUATION)
        h2->block_open = false;
    switch (frame->type) {
    case NGHTTP2_DATA:
        if (frame->length == 0 && !ends)
            spend(h2, COUNTERS_EMPTY_FRAMES);
        break;
    case NGHTTP2_HEADERS:
        h2->continuations = 0;
        h2->block_open = true;
        h2->block_since_ms = loop_ms(h2->worker->loop);
        if (frame->length == 0)
            spend(h2, COUNTERS_EMPTY_FRAMES);
        break;
    case NGHTTP2_CONTINUATION:
        count_continuation(h2, frame);
        break;
    case NGHTTP2_PRIORITY:
        spend(h2, COUNTERS_PRIORITIES);
        break;
    case NGHTTP2_RST_STREAM:
        spend(h2, COUNTERS_RESETS);
        break;
    case NGHTTP2_SETTINGS:
        if (!(frame->flags & NGHTTP2_FLAG_ACK))
            spend(h2, COUNTERS_SETTINGS);
        break;
    case NGHTTP2_PING:
        if (!(frame->flags & NGHTTP2_FLAG_ACK))
            spend(h2, COUNTERS_PINGS);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        spend(h2, COUNTERS_WINDOW_UPDATES);
        break;
    default:
        break;
    }
    return h2->calm == NULL ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* ---- header blocks ---- */

static void drop_block(struct h2 *h2)
{
    if (h2->block != NULL)
        buffers_give(h2->worker->buffers, h2->block);
    h2->block = NULL;
    h2->block_size = h2->block_list = 0;
    h2->block_over = false;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h2 = arg;
    int32_t id = frame->hd.stream_id;
    drop_block(h2);
    if (nghttp2_session_get_stream_user_data(session, id) != NULL)
        return 0;
    struct h2_stream *s = h2->role->begin(h2, id);
    if (s == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    s->id = id;
    s->open = true;
    nghttp2_session_set_stream_user_data(session, id, s);
    return 0;
}

static bool make_block_room(struct h2 *h2, size_t more)
{
    struct buffers *buffers = h2->worker->buffers;
    if (h2->block != NULL && h2->block->size - h2->block_size >= more)
        return true;
    struct buffer *larger = buffers_take(buffers, 2 * h2->block_size + more);
    if (larger == NULL)
        return false;
    if (h2->block != NULL) {
        memcpy(larger->bytes, h2->block->bytes, h2->block_size);
        buffers_give(buffers, h2->block);
    }
    h2->block = larger;
    return true;
}

static struct h2_block block_of(const struct h2 *h2)
{
    return (struct h2_block){.bytes = h2->block == NULL ? NULL : h2->block->bytes,
                             .size = h2->block_size,
                             .room = h2->block == NULL ? 0 : h2->block->size};
}

/* What is over the limit is not kept, and for long not even listened to. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *arg)
{
    (void)session;
    (void)frame;
    (void)flags;
    struct h2 *h2 = arg;
    size_t most = h2->worker->settings->head_max;
    nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);
    h2->block_list += n.len + v.len + 32;
    h2->block_over |= h2->block_list > most;
    if (h2->block_list > LIST_MOST * most) {
        calm(h2, COUNTERS_HEADER_LIST);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (h2->block_over)
        return 0;
    if (!make_block_room(h2, h2_block_cost(n.len, v.len)))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    struct h2_block block = block_of(h2);
    h2_block_add(&block, (struct str){(char *)n.base, n.len}, (struct str){(char *)v.base, v.len});
    h2->block_size = block.size;
    return 0;
}

/* nghttp2 would pass over what it finds wrong with the bytes of a field. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                             nghttp2_rcbuf *value, uint8_t flags, void *arg)
{
    (void)name;
    (void)value;
    (void)flags;
    (void)arg;
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void refuse(struct h2_stream *s)
{
    nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_PROTOCOL_ERROR);
}

static void take_block(struct h2 *h2, struct h2_stream *s, bool ended)
{
    struct h2_block block = block_of(h2);
    bool right;
    if (s->closed)
        right = true;
    else if (s->in_headed)
        right = ended && !h2->block_over && h2_stream_take_trailers(s, &block);
    else if (h2->block_over)
        right = h2->role->too_large(s);
    else
        right = h2->role->head(s, &block, ended);
    drop_block(h2);
    if (!right)
        refuse(s);
    else if (ended)
        h2_stream_take_end(s);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h2 = arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    h2->block_open = false;
    if (frame->hd.type == NGHTTP2_SETTINGS)
        h2->settled = true;
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
        h2->role->answered(h2);
    if (s == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS)
        take_block(h2, s, ended);
    else if (frame->hd.type == NGHTTP2_DATA && ended)
        h2_stream_take_end(s);
    return 0;
}

/* The window of the connection is opened at once, so that no stream can shut it for the others; the stream's
 * own is opened as it is read. */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t count,
                   void *arg)
{
    (void)flags;
    (void)arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    nghttp2_session_consume_connection(session, count);
    if (s == NULL || s->closed)
        nghttp2_session_consume_stream(session, id, count);
    else if (!h2_stream_take_data(s, bytes, count))
        refuse(s);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    (void)arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (s == NULL)
        return 0;
    h2_stream_gone(s, code);
    h2_tell(s);
    return 0;
}

/* ---- sending ---- */

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t count,
                        nghttp2_data_source *source, void *arg)
{
    (void)session;
    (void)frame;
    struct h2 *h2 = arg;
    struct h2_stream *s = source->ptr;
    char *to = h2->batch + h2->batch_size;
    memcpy(to, head, 9);
    h2_stream_copy(s, to + 9, count);
    h2->batch_size += 9 + count;
    /* A window that lets through a few bytes at a time earns nothing. */
    if (count >= TINY || outlet_waiting(&s->out) == 0)
        h2_guard_earn(&h2->guard, COUNTERS_WINDOW_UPDATES, 2);
    return NGHTTP2_ERR_PAUSE; /* one frame a call: the batch has room for no more (see gather) */
}

/* nghttp2 refuses streams beyond the limit, which then have none of ours, until the peer has acknowledged it.
 * Who has many requests waiting begins so, and learns; who goes on does not want to. */
static bool is_refused_too_often(struct h2 *h2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h2->session, id) == NULL &&
           ++h2->refused > REFUSED_FREE * limits_of(h2)->streams;
}

/* What we reset because of what the peer did is as cheap for it as if it had done it itself (CVE-2025-8671).
 */
static bool is_peers_fault(struct h2 *h2, int32_t id, uint32_t code)
{
    switch (code) {
    case NGHTTP2_PROTOCOL_ERROR:
    case NGHTTP2_FLOW_CONTROL_ERROR:
    case NGHTTP2_STREAM_CLOSED:
    case NGHTTP2_FRAME_SIZE_ERROR:
        return true;
    case NGHTTP2_REFUSED_STREAM:
        return is_refused_too_often(h2, id);
    default:
        return false;
    }
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h2 = arg;
    if (frame->hd.type == NGHTTP2_RST_STREAM &&
        is_peers_fault(h2, frame->hd.stream_id, frame->rst_stream.error_code))
        spend(h2, COUNTERS_RESETS);
    if (frame->hd.type == NGHTTP2_GOAWAY && h2->noticed) {
        h2->noticed = false;
        nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, NULL);
    }
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        h2_stream_end_sent(s);
    return 0;
}

/* Fills the batch. False: nghttp2 has given up. */
static bool gather(struct h2 *h2)
{
    h2->batch = h2->worker->buffers->scratch;
    h2->batch_size = 0;
    while (h2->batch_size + FRAME_MAX <= SCRATCH_SIZE) {
        const uint8_t *bytes;
        size_t before = h2->batch_size;
        ssize_t count = nghttp2_session_mem_send(h2->session, &bytes);
        if (count < 0)
            return false;
        if (count > 0) /* else there are no bytes to point at */
            memcpy(h2->batch + h2->batch_size, bytes, (size_t)count);
        h2->batch_size += (size_t)count;
        if (h2->batch_size == before)
            break;
    }
    return true;
}

/* One batch. True: there is more to send, and the wire takes it. */
static bool send_batch(struct h2 *h2)
{
    struct buffers *buffers = h2->worker->buffers;
    if (h2->held)
        return false;
    enum outlet_result result = outlet_flush(h2->out, buffers, h2->wire);
    if (result == OUTLET_EMPTY) {
        if (!gather(h2))
            h2->ended = true;
        if (h2->batch_size == 0)
            return false;
        struct iovec part = {h2->batch, h2->batch_size};
        result = outlet_send(h2->out, buffers, h2->wire, &part, 1);
    }
    if (result == OUTLET_FAILED || result == OUTLET_NO_MEMORY)
        h2->ended = true;
    return result == OUTLET_EMPTY;
}

/* ---- turns ---- */

void h2_tell(struct h2_stream *s)
{
    if (s->told || s->h2 == NULL)
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
    return h2->ended || h2->calm != NULL ||
           (!nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session));
}

static void say_calm(struct h2 *h2)
{
    if (h2->calm_said)
        return;
    h2->calm_said = true;
    int32_t last = nghttp2_session_get_last_proc_stream_id(h2->session);
    nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_ENHANCE_YOUR_CALM,
                          (const uint8_t *)h2->calm, strlen(h2->calm));
    send_batch(h2);
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
    else if (h2->wire->readable && !h2->held)
        h2->wire->ready(h2->wire); /* a turn took its part, and no edge tells of the rest */
}

void h2_wake(struct h2 *h2)
{
    if (h2->again || h2->over)
        return;
    h2->again = true;
    loop_defer(h2->worker->loop, &h2->running);
}

/* True: more may have come. */
static bool read_wire(struct h2 *h2)
{
    if (!stream_may_give(h2->wire) || h2->ended || h2->calm != NULL)
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
    ssize_t taken = nghttp2_session_mem_recv(h2->session, (const uint8_t *)h2->in->p, h2->in->n);
    inlet_consume(h2->in, h2->in->n);
    if (taken == NGHTTP2_ERR_FLOODED)
        calm(h2, COUNTERS_PINGS);
#if HAVE_DECL_NGHTTP2_OPTION_SET_MAX_CONTINUATIONS
    if (taken == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS)
        calm(h2, COUNTERS_CONTINUATIONS);
#endif
    if (h2->calm != NULL)
        say_calm(h2);
    else if (taken < 0)
        h2->ended = true;
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
    inlet_settle(h2->in, h2->worker->buffers);
    tell_all(h2);
    h2->busy = false;
    h2_wake(h2);
}

void h2_probe(struct h2 *h2)
{
    nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
    h2_wake(h2);
}

/* nghttp2 would send the ping first, and its answer would prove nothing: see on_frame_send. */
void h2_give_notice(struct h2 *h2)
{
    h2->noticed = true;
    nghttp2_submit_shutdown_notice(h2->session);
    h2_wake(h2);
}

/* ---- beginning and end ---- */

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    return callbacks;
}

static nghttp2_session *session_new(struct h2 *h2, bool server)
{
    nghttp2_session *session = NULL;
    nghttp2_option *option = NULL;
    nghttp2_mem memory = h2_memory_of(h2->worker->buffers);
    nghttp2_session_callbacks *callbacks = callbacks_new();
    if (callbacks != NULL && nghttp2_option_new(&option) == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
#if HAVE_DECL_NGHTTP2_OPTION_SET_MAX_CONTINUATIONS
        nghttp2_option_set_max_continuations(option, limits_of(h2)->continuations);
#endif
        if (server)
            nghttp2_session_server_new3(&session, callbacks, h2, option, &memory);
        else
            nghttp2_session_client_new3(&session, callbacks, h2, option, &memory);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

static bool say_settings(struct h2 *h2, bool server)
{
    const struct snapshot_http2 *limits = limits_of(h2);
    nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits->window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, h2->worker->settings->head_max},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, server ? limits->streams : 0},
        {server ? NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL : NGHTTP2_SETTINGS_ENABLE_PUSH, server},
    };
    return nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, entries,
                                   sizeof entries / sizeof *entries) == 0 &&
           nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) == 0;
}

bool h2_start(struct h2 *h2, struct worker *worker, const struct h2_role *role, bool server,
              struct stream *wire, struct inlet *in, struct outlet *out)
{
    *h2 = (struct h2){.worker = worker, .role = role, .wire = wire, .in = in, .out = out};
    TAILQ_INIT(&h2->streams);
    TAILQ_INIT(&h2->news);
    h2->running.run = run;
    h2->session = session_new(h2, server);
    if (h2->session == NULL)
        return false;
    if (!say_settings(h2, server)) {
        nghttp2_session_del(h2->session);
        return false;
    }
    h2_wake(h2);
    return true;
}

void h2_free(struct h2 *h2)
{
    struct h2_stream *s;
    h2->over = true;
    while ((s = TAILQ_FIRST(&h2->streams)) != NULL) {
        TAILQ_REMOVE(&h2->streams, s, link);
        h2_stream_lose(s);
        h2->role->lose(s);
    }
    drop_block(h2);
    nghttp2_session_del(h2->session);
}
