/* What is said to the peer. Invariant: frames stand in h2->out in the order in which they were made, so
 * header blocks leave in the order in which the encoder has seen them. */
#include "http/h2_list.h"
#include "plane/h2_session.h"
#include "plane/h2_tools.h"
#include "plane/worker.h"

#define BATCH_MAX (48 << 10) /* bytes that are gathered from streams before they are sent */
#define TINY 64              /* bytes of a frame that a peer's window has cut short */
#define UPDATES_EARNED 10    /* updates of windows, by a frame of data */
#define ACKS_MAX 1000        /* that wait for a peer that goes on asking and does not read */

/* Room for so many bytes, to be closed with put_end; NULL: nothing is said any more. */
static char *put_start(struct h2 *h2, size_t size)
{
    if (h2->finished || h2->ended)
        return NULL;
    char *to = outlet_reserve(h2->out, h2->worker->buffers, size);
    h2->ended = to == NULL;
    return to;
}

static void put_end(struct h2 *h2, const char *end)
{
    h2->out->end = (uint32_t)(end - h2->out->buffer->bytes);
}

void h2_write_magic(struct h2 *h2)
{
    char *to = put_start(h2, H2_MAGIC_SIZE);
    if (to == NULL)
        return;
    memcpy(to, H2_MAGIC, H2_MAGIC_SIZE);
    put_end(h2, to + H2_MAGIC_SIZE);
}

void h2_write_frame(struct h2 *h2, struct h2_frame frame, const char *payload)
{
    char *to = put_start(h2, H2_HEAD_SIZE + frame.size);
    if (to == NULL)
        return;
    to = h2_put_frame(to, frame);
    if (frame.size > 0)
        memcpy(to, payload, frame.size);
    put_end(h2, to + frame.size);
}

void h2_write_number(struct h2 *h2, enum h2_type type, uint32_t stream, uint32_t number)
{
    char payload[4];
    h2_put_u32(payload, number);
    h2_write_frame(h2, (struct h2_frame){sizeof payload, (uint8_t)type, 0, stream}, payload);
}

void h2_write_goaway(struct h2 *h2, uint32_t last, enum h2_code code, struct str word)
{
    char *to = put_start(h2, H2_HEAD_SIZE + 8 + word.n);
    if (to == NULL)
        return;
    to = h2_put_frame(to, (struct h2_frame){8 + (uint32_t)word.n, H2_GOAWAY, 0, 0});
    to = h2_put_u32(h2_put_u32(to, last), code);
    memcpy(to, word.p, word.n);
    put_end(h2, to + word.n);
}

void h2_write_ack(struct h2 *h2, enum h2_type type, struct str payload)
{
    if (++h2->acks > ACKS_MAX)
        h2_calm(h2, COUNTERS_PINGS);
    else
        h2_write_frame(h2, (struct h2_frame){(uint32_t)payload.n, (uint8_t)type, H2_ACK, 0}, payload.p);
}

/* ---- header blocks ---- */

static size_t bound_of(const struct h2_list *list)
{
    size_t bound = HPACK_BLOCK_MAX;
    for (size_t i = 0; i < list->count; i++)
        bound += list->at[i].name.n + list->at[i].value.n + HPACK_FIELD_MAX;
    return bound;
}

/* A block that is longer than a frame of the peer's may be: its later parts move behind heads of their own.
 * The frames begin at `from`. Returns their end. */
static char *split(char *from, size_t size, uint32_t most, struct h2_frame frame)
{
    char *block = from + H2_HEAD_SIZE;
    size_t last = size == 0 ? 0 : (size - 1) / most;
    char *end = block + size + last * H2_HEAD_SIZE;
    for (size_t i = last; i > 0; i--) {
        size_t at = i * most, n = i == last ? size - at : most;
        char *to = block + at + i * H2_HEAD_SIZE;
        memmove(to, block + at, n);
        uint8_t flags = i == last ? H2_END_HEADERS : 0;
        h2_put_frame(to - H2_HEAD_SIZE, (struct h2_frame){(uint32_t)n, H2_CONTINUATION, flags, frame.stream});
    }
    frame.size = last == 0 ? (uint32_t)size : most;
    frame.flags |= last == 0 ? H2_END_HEADERS : 0;
    h2_put_frame(from, frame);
    return end;
}

void h2_write_head(struct h2_stream *s, const struct h2_list *list, bool ends)
{
    struct h2 *h2 = s->h2;
    size_t bound = bound_of(list);
    uint32_t most = h2->peer.payload_max;
    char *from = put_start(h2, bound + (bound / most + 1) * H2_HEAD_SIZE);
    if (from == NULL)
        return;
    char *at = hpack_encode_block(&h2->encoder, from + H2_HEAD_SIZE);
    for (size_t i = 0; i < list->count; i++) {
        const struct h2_pair *pair = &list->at[i];
        at = hpack_encode(&h2->encoder, at, pair->name, pair->value, pair->how);
    }
    struct h2_frame frame = {.type = H2_HEADERS, .flags = ends ? H2_END_STREAM : 0, .stream = s->id};
    put_end(h2, split(from, (size_t)(at - from) - H2_HEAD_SIZE, most, frame));
    if (ends)
        h2_stream_end_sent(s);
}

/* ---- data ---- */

static uint32_t least(size_t a, size_t b)
{
    return (uint32_t)(a < b ? a : b);
}

/* Bytes of a stream that may go in one frame. */
static uint32_t frame_most(const struct h2_stream *s)
{
    int64_t room = s->room < s->h2->room ? s->room : s->h2->room;
    return room <= 0 ? 0 : least((size_t)room, least(s->h2->peer.payload_max, H2_PAYLOAD_MAX));
}

/* Begins a frame of DATA, whose bytes go where it returns; NULL: nothing is said any more. */
static char *start_data(struct h2_stream *s, uint32_t count, bool ends)
{
    struct h2 *h2 = s->h2;
    char *to = put_start(h2, H2_HEAD_SIZE + count);
    if (to == NULL)
        return NULL;
    h2->room -= count;
    s->room -= count;
    return h2_put_frame(to, (struct h2_frame){count, H2_DATA, ends ? H2_END_STREAM : 0, s->id});
}

/* Data is answered by updates of the windows: of the stream's and the connection's, and where many messages
 * went as one frame, with whatever the peer says to each (gRPC). And some measure the way by a ping for each
 * frame, one after the other (gRPC too). */
static void earn(struct h2 *h2, uint32_t updates)
{
    h2_guard_earn(&h2->guard, COUNTERS_WINDOW_UPDATES, updates);
    h2_guard_earn(&h2->guard, COUNTERS_PINGS, updates > 0);
}

/* A window that lets through a few bytes at a time earns nothing, and none pays for more updates than one for
 * each TINY / 2 bytes; else those of one byte could live on a larger one now and then. */
static uint32_t updates_for(const struct h2_stream *s, uint32_t count)
{
    return h2_stream_has_data(s) ? least(UPDATES_EARNED, 2 * (count / TINY)) : UPDATES_EARNED;
}

static void write_data(struct h2_stream *s, uint32_t count, bool ends)
{
    struct h2 *h2 = s->h2;
    char *to = start_data(s, count, ends);
    if (to == NULL)
        return;
    h2_stream_copy(s, to, count);
    put_end(h2, to + count);
    earn(h2, updates_for(s, count));
}

static void write_trailers(struct h2_stream *s)
{
    const struct h2_list *list = h2_stream_trailers(s);
    if (list == NULL)
        h2_reset(s, H2_INTERNAL_ERROR);
    else
        h2_write_head(s, list, true);
}

/* The turn of one stream. True: it has more, and its window is open. */
static bool write_turn(struct h2_stream *s)
{
    bool ended, trailers = s->out_trailers > 0;
    uint32_t count = h2_stream_offer(s, frame_most(s), &ended);
    if (count > 0 || (ended && !trailers))
        write_data(s, count, ended && !trailers);
    if (ended && trailers)
        write_trailers(s);
    else if (ended)
        h2_stream_end_sent(s);
    return s->open && s->room > 0 && h2_stream_has_data(s);
}

static void queue(struct h2_stream *s)
{
    s->queued = true;
    TAILQ_INSERT_TAIL(&s->h2->sending, s, turn);
}

void h2_write_data(struct h2 *h2)
{
    struct h2_stream *s;
    while ((s = TAILQ_FIRST(&h2->sending)) != NULL && outlet_waiting(h2->out) < BATCH_MAX && !h2->ended) {
        if (h2->room <= 0 && h2_stream_has_data(s))
            break;
        TAILQ_REMOVE(&h2->sending, s, turn);
        s->queued = false;
        if (write_turn(s))
            queue(s);
    }
}

bool h2_write_last(struct h2_stream *s, struct str data)
{
    struct h2 *h2 = s->h2;
    if (!TAILQ_EMPTY(&h2->sending) || data.n > frame_most(s) || outlet_waiting(h2->out) >= BATCH_MAX)
        return false;
    char *to = start_data(s, (uint32_t)data.n, true);
    if (to == NULL)
        return false;
    if (data.n > 0)
        memcpy(to, data.p, data.n);
    put_end(h2, to + data.n);
    earn(h2, UPDATES_EARNED);
    h2_stream_end_sent(s);
    return true;
}

void h2_write_soon(struct h2_stream *s)
{
    if (s->queued || !s->open || !s->out_headed || s->end_sent || s->h2->over)
        return;
    s->queued = true;
    if (h2_stream_has_data(s))
        TAILQ_INSERT_TAIL(&s->h2->sending, s, turn);
    else /* its end needs no window, so it does not wait behind who does */
        TAILQ_INSERT_HEAD(&s->h2->sending, s, turn);
    h2_wake(s->h2);
}
