/* Both directions of a stream between HTTP/1.1 and HTTP/2. Invariant: what is given to the reader is a
 * message of HTTP/1.1 whose framing is written here, and what is taken from the writer is understood before
 * it goes, so neither side can end a message but at its end. */
#include "plane/h2_stream.h"

#include "base/mem.h"
#include "http/h2_list.h"
#include "http/h2_text.h"
#include "plane/h2_session.h"
#include "plane/h2_tools.h"
#include "plane/worker.h"

#include <errno.h>

#define END_MS 1000 /* for the end of an answer that is complete without it */

/* ---- to the reader ---- */

static bool keep(struct h2_stream *s, const void *bytes, size_t count)
{
    char *to = outlet_reserve(&s->in, s->worker->buffers, count);
    if (to == NULL) {
        s->fault = H2_OURS;
        return false;
    }
    memcpy(to, bytes, count);
    s->in.end += (uint32_t)count;
    return true;
}

static void readable(struct h2_stream *s)
{
    if (s->closed)
        return;
    s->stream->readable = true;
    h2_tell(s);
}

/* Data waits whole behind the head; an interim head's text goes in front of a later one's. */
bool h2_stream_take_head(struct h2_stream *s, struct str text)
{
    if (!keep(s, text.p, text.n))
        return false;
    s->plain += (uint32_t)text.n;
    readable(s);
    return true;
}

bool h2_stream_take_data(struct h2_stream *s, const char *bytes, size_t count)
{
    if (!s->in_headed || s->in_framing == HTTP_BODY_NONE || (s->in_measured && count > s->in_left) ||
        !keep(s, bytes, count))
        return false;
    s->in_left -= s->in_measured ? count : 0;
    readable(s);
    return true;
}

/* Only a chunked body has a place for them. */
bool h2_stream_take_trailers(struct h2_stream *s, const struct h2_block *block)
{
    size_t room = block->size + H2_TEXT_EXTRA;
    size_t size = h2_text_trailers(block, s->worker->h2_tools->text, room);
    if (size == 0)
        return false;
    if (s->in_framing != HTTP_BODY_CHUNKED || s->tunnel)
        return true;
    if (!keep(s, "0\r\n", 3) || !keep(s, s->worker->h2_tools->text, size))
        return false;
    s->tail = (uint32_t)size + 3;
    return true;
}

bool h2_stream_is_short(const struct h2_stream *s)
{
    return s->in_measured && s->in_left > 0 && !s->closed;
}

void h2_stream_take_end(struct h2_stream *s)
{
    if (s->in_ended)
        return;
    s->in_ended = true;
    s->h2->unended -= s->open;
    if (s->in_framing == HTTP_BODY_CHUNKED && s->tail == 0 && !s->closed) {
        if (keep(s, "0\r\n\r\n", 5))
            s->tail = 5;
        else
            s->broken = true;
    }
    readable(s);
    if (s->end_sent)
        h2_close(s, H2_NO_ERROR);
}

static size_t take(struct h2_stream *s, char *to, size_t count)
{
    memcpy(to, s->in.buffer->bytes + s->in.sent, count);
    s->in.sent += (uint32_t)count;
    return count;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t data_waiting(const struct h2_stream *s)
{
    return outlet_waiting(&s->in) - s->plain - s->tail;
}

static void frame(struct h2_stream *s, const char *bytes, size_t count)
{
    memcpy(s->frame, bytes, count);
    s->frame_at = 0;
    s->frame_end = (uint8_t)count;
}

/* Data, as one chunk where it is chunked. */
static size_t give_data(struct h2_stream *s, char *to, size_t room)
{
    if (s->in_framing != HTTP_BODY_CHUNKED)
        return take(s, to, least(room, data_waiting(s)));
    if (s->chunk == 0) {
        char head[HTTP_CHUNK_HEAD_MAX];
        s->chunk = (uint32_t)data_waiting(s);
        frame(s, head, http_chunk_head(head, s->chunk));
        return 0;
    }
    size_t count = take(s, to, least(room, s->chunk));
    s->chunk -= (uint32_t)count;
    if (s->chunk == 0)
        frame(s, "\r\n", 2);
    return count;
}

/* One step. False: there is nothing more. */
static bool give(struct h2_stream *s, char *to, size_t room, size_t *given, size_t *data)
{
    if (s->frame_at < s->frame_end) {
        *given = least(room, (size_t)(s->frame_end - s->frame_at));
        memcpy(to, s->frame + s->frame_at, *given);
        s->frame_at += (uint8_t)*given;
    } else if (s->plain > 0) {
        *given = take(s, to, least(room, s->plain));
        s->plain -= (uint32_t)*given;
    } else if (data_waiting(s) > 0) {
        *given = give_data(s, to, room);
        *data += *given;
    } else if (s->tail > 0) {
        s->plain = s->tail;
        s->tail = 0;
    } else {
        return false;
    }
    return true;
}

static ssize_t fail(struct h2_stream *s)
{
    s->stream->error = ECONNRESET;
    s->stream->readable = true;
    return STREAM_FAILED;
}

void h2_stream_open_window(struct h2_stream *s, size_t count)
{
    s->unread += (uint32_t)count;
    if (!s->open || s->in_ended || s->unread == 0 || s->unread < s->h2->window / 2)
        return;
    h2_write_number(s->h2, H2_WINDOW_UPDATE, s->id, s->unread);
    h2_wake(s->h2);
    s->window += s->unread;
    s->unread = 0;
}

static ssize_t virtual_recv(struct stream *stream, void *bytes, size_t room)
{
    struct h2_stream *s = h2_stream_of(stream);
    size_t count = 0, data = 0;
    bool more = true;
    while (count < room && more) {
        size_t given = 0;
        more = give(s, (char *)bytes + count, room - count, &given, &data);
        count += given;
    }
    if (outlet_waiting(&s->in) == 0)
        outlet_clear(&s->in, s->worker->buffers);
    h2_stream_open_window(s, data);
    stream->readable = more || s->broken || (s->tunnel && s->in_ended);
    if (count > 0)
        return (ssize_t)count;
    if (s->broken)
        return fail(s);
    return s->tunnel && s->in_ended ? 0 : STREAM_AGAIN;
}

/* ---- from the writer ---- */

static size_t body_waiting(const struct h2_stream *s)
{
    return outlet_waiting(&s->out) - s->out_trailers;
}

static bool put(struct h2_stream *s, struct str bytes)
{
    char *to = outlet_reserve(&s->out, s->worker->buffers, bytes.n);
    if (to == NULL)
        return false;
    memcpy(to, bytes.p, bytes.n);
    s->out.end += (uint32_t)bytes.n;
    return true;
}

/* A span of the body, or its end. Sets *used to 0 where no more is taken now. False: it may not be. */
static bool put_body(struct h2_stream *s, const char *p, size_t n, size_t *used)
{
    struct str data, trailers;
    struct http_fault fault;
    size_t room = H2_OUT_MAX > body_waiting(s) ? H2_OUT_MAX - body_waiting(s) : 0;
    const struct http_limits *limits = &s->worker->limits;
    *used = 0;
    if (s->body.done)
        return false;
    if (room == 0)
        return true;
    enum http_result result =
        http_body_step(&s->body, p, least(n, room), limits, used, &data, &trailers, &fault);
    /* Trailers are taken whole. */
    if (result == HTTP_MORE && *used == 0 && n > room)
        result = http_body_step(&s->body, p, n, limits, used, &data, &trailers, &fault);
    if (result == HTTP_BAD)
        return false;
    s->out_ended = s->body.done;
    if (s->out_ended && trailers.n == 0 && outlet_waiting(&s->out) == 0 && h2_write_last(s, data))
        return true;
    if (!put(s, data))
        return false;
    if (!s->out_ended)
        return true;
    s->out_trailers = (uint32_t)trailers.n;
    return trailers.n == 0 || put(s, trailers);
}

/* One part. Returns what was taken of it, or STREAM_FAILED. */
static ssize_t put_part(struct h2_stream *s, const char *p, size_t n)
{
    size_t taken = 0, used = 1;
    while (taken < n && used > 0) {
        if (!s->out_headed)
            used =
                s->server ? h2_tools_respond(s, p + taken, n - taken) : h2_tools_ask(s, p + taken, n - taken);
        else if (!put_body(s, p + taken, n - taken, &used))
            return STREAM_FAILED;
        if (used == 0 && !s->out_headed)
            return STREAM_FAILED;
        taken += used;
    }
    return (ssize_t)taken;
}

static ssize_t virtual_send(struct stream *stream, const struct iovec *parts, int count)
{
    struct h2_stream *s = h2_stream_of(stream);
    size_t sent = 0;
    bool whole = true;
    if (s->broken || s->h2 == NULL || (!s->open && s->out_headed))
        return fail(s);
    for (int i = 0; i < count && whole; i++) {
        ssize_t taken = put_part(s, parts[i].iov_base, parts[i].iov_len);
        if (taken < 0) {
            s->broken = true;
            return fail(s);
        }
        sent += (size_t)taken;
        whole = (size_t)taken == parts[i].iov_len;
    }
    h2_write_soon(s);
    h2_wake(s->h2);
    stream->writable = whole;
    return sent > 0 ? (ssize_t)sent : STREAM_AGAIN;
}

/* A message ends where its framing says so; only a tunnel needs to be told. */
static void virtual_shut(struct stream *stream)
{
    struct h2_stream *s = h2_stream_of(stream);
    if (!s->tunnel || s->out_ended || !s->open)
        return;
    s->out_ended = true;
    h2_write_soon(s);
}

static enum h2_code cut_code(const struct h2_stream *s)
{
    return s->server && !s->tunnel ? H2_INTERNAL_ERROR : H2_CANCEL;
}

/* Has an instance answered all that it announced, so that nothing but the frame that ends it can come? Many
 * send that by itself, and would take a reset for a client that has gone. */
static bool lacks_only_end(const struct h2_stream *s)
{
    bool is_whole = s->in_framing == HTTP_BODY_NONE || (s->in_framing == HTTP_BODY_LENGTH && s->in_left == 0);
    return !s->server && !s->tunnel && !s->in_ended && s->in_headed && s->end_sent && is_whole;
}

/* What is in `out` still goes, if it is a whole message. */
static void virtual_close(struct stream *stream, bool abort)
{
    struct h2_stream *s = h2_stream_of(stream);
    if (s->closed)
        return;
    /* As a close of TCP: what was sent still arrives, then the end (RFC 8441 section 5). */
    if (!abort)
        virtual_shut(stream);
    s->closed = true;
    stream->readable = stream->writable = false;
    outlet_clear(&s->in, s->worker->buffers);
    s->plain = s->tail = 0;
    if (!s->open)
        outlet_clear(&s->out, s->worker->buffers);
    else if (!abort && lacks_only_end(s))
        worker_deadline(&s->flush, END_MS);
    else if (abort || !s->out_ended || (!s->server && !s->in_ended && !s->tunnel))
        h2_reset(s, cut_code(s));
    else if (s->end_sent)
        h2_stream_end_sent(s);
    else
        worker_deadline(&s->flush, s->worker->settings->idle_ms);
    if (!s->open && s->h2 != NULL)
        h2_tell(s);
}

static const struct stream_ops virtual_ops = {virtual_recv, virtual_send, virtual_shut, virtual_close};

static void took_too_long(struct deadline *deadline)
{
    struct h2_stream *s = mem_container(deadline, struct h2_stream, flush);
    if (s->open)
        h2_reset(s, H2_CANCEL);
}

struct h2_stream *h2_stream_of(struct stream *stream)
{
    return stream->virtual;
}

void h2_stream_start(struct h2_stream *s, struct h2 *h2, struct stream *stream, bool server)
{
    *s = (struct h2_stream){.h2 = h2, .worker = h2->worker, .stream = stream, .server = server};
    deadline_init(&s->flush, h2->worker->loop, took_too_long);
    stream->ops = &virtual_ops;
    stream->virtual = s;
    stream->fd = -1;
    stream->error = 0;
    stream->readable = stream->hung_up = stream->unsure = false;
    stream->writable = true;
    TAILQ_INSERT_TAIL(&h2->streams, s, link);
    h2->stream_count++;
}

/* ---- for the session ---- */

static void writable(struct h2_stream *s)
{
    if (s->closed || s->stream->writable)
        return;
    s->stream->writable = true;
    h2_tell(s);
}

bool h2_stream_get_room(struct h2_stream *s, uint32_t more)
{
    s->room += more;
    h2_write_soon(s);
    return more > 0 && s->room <= H2_WINDOW_MAX;
}

bool h2_stream_has_data(const struct h2_stream *s)
{
    return body_waiting(s) > 0;
}

uint32_t h2_stream_offer(const struct h2_stream *s, uint32_t most, bool *ended)
{
    size_t waiting = body_waiting(s), count = least(most, waiting);
    *ended = s->out_ended && count == waiting;
    return (uint32_t)count;
}

const struct h2_list *h2_stream_trailers(struct h2_stream *s)
{
    struct str text = {s->out.buffer->bytes + s->out.sent, s->out_trailers};
    const struct h2_list *list = h2_tools_trailers(s, text);
    s->out.end -= s->out_trailers;
    s->out_trailers = 0;
    return list;
}

void h2_stream_copy(struct h2_stream *s, char *to, size_t count)
{
    if (count > 0)
        memcpy(to, s->out.buffer->bytes + s->out.sent, count);
    s->out.sent += (uint32_t)count;
    if (outlet_waiting(&s->out) == 0)
        outlet_clear(&s->out, s->worker->buffers);
    if (deadline_is_set(&s->flush))
        worker_deadline(&s->flush, s->worker->settings->idle_ms);
    if (body_waiting(s) <= H2_OUT_MAX / 2 && !s->out_ended)
        writable(s);
}

/* Where whoever stood on it has gone, what the peer still sends is for nobody (RFC 9113 section 8.1). */
void h2_stream_end_sent(struct h2_stream *s)
{
    s->end_sent = true;
    if (s->in_ended)
        h2_close(s, H2_NO_ERROR);
    else if (s->closed)
        h2_reset(s, s->server ? H2_NO_ERROR : H2_CANCEL);
}

static void break_off(struct h2_stream *s)
{
    s->broken = true;
    if (s->closed)
        return;
    s->stream->writable = true;
    readable(s);
}

void h2_stream_gone(struct h2_stream *s, enum h2_code code)
{
    s->open = false;
    s->refused = code == H2_REFUSED_STREAM;
    outlet_clear(&s->out, s->worker->buffers);
    s->out_trailers = 0;
    deadline_clear(&s->flush);
    if (!s->in_ended || (!s->out_ended && !s->closed) || (code != H2_NO_ERROR && s->tunnel))
        break_off(s);
}

void h2_stream_lose(struct h2_stream *s)
{
    if (s->h2->faulty && s->fault == H2_NO_FAULT)
        s->fault = H2_FAULT_BESIDE;
    s->h2 = NULL;
    s->open = s->told = s->queued = false;
    outlet_clear(&s->out, s->worker->buffers);
    s->out_trailers = 0;
    deadline_clear(&s->flush);
    if (!s->in_ended || !s->out_ended || s->tunnel)
        s->broken = true;
}
