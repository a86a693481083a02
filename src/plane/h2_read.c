/* The frames that come. Invariant: a frame other than DATA is looked at when it is whole, and stays in the
 * inlet until then; the bytes of DATA go to their stream as they come. */
#include "plane/h2_session.h"
#include "plane/worker.h"

#define UPDATES_BESIDE 2 /* updates of windows, that ride along with a frame of data (gRPC) */

static struct str front_of(const struct h2 *h2, size_t count)
{
    return (struct str){h2->in->p, count};
}

/* What the client begins with. True: it is there. */
static bool take_magic(struct h2 *h2)
{
    struct str rest = {&H2_MAGIC[h2->magic], H2_MAGIC_SIZE - h2->magic};
    if (rest.n > h2->in->n)
        rest.n = h2->in->n;
    if (memcmp(h2->in->p, rest.p, rest.n) != 0)
        h2->ended = true;
    h2->magic += (uint32_t)rest.n;
    inlet_consume(h2->in, rest.n);
    return h2->magic == H2_MAGIC_SIZE;
}

/* ---- DATA ---- */

/* The window of the connection is opened at once, so that no stream can shut it for the others, and nobody
 * can overrun it; the stream's own is opened as it is read. */
static void use_window(struct h2 *h2, uint32_t count)
{
    h2->unread += count;
    if (h2->unread < H2_CONNECTION_WINDOW / 2)
        return;
    h2_write_number(h2, H2_WINDOW_UPDATE, 0, h2->unread);
    h2->unread = 0;
}

/* The stream that the frame is for; NULL: nobody will have its bytes. */
static struct h2_stream *receiver_of(struct h2 *h2, const struct h2_frame *frame)
{
    struct h2_stream *s = h2_find(h2, frame->stream);
    if (s == NULL) {
        if ((frame->flags & H2_END_STREAM) != 0)
            h2_take_late_end(h2, COUNTERS_EMPTY_FRAMES);
        return NULL;
    }
    s->window -= frame->size;
    if (!s->in_ended && s->window >= 0)
        return s;
    h2_reset(s, s->in_ended ? H2_STREAM_CLOSED : H2_FLOW_CONTROL_ERROR);
    return NULL;
}

/* Reads what stands in front of the data. False: it is not there. */
static bool begin_data(struct h2 *h2, const struct h2_frame *frame)
{
    bool padded = (frame->flags & H2_PADDED) != 0, ends = (frame->flags & H2_END_STREAM) != 0;
    if (padded && frame->size > 0 && h2->in->n == H2_HEAD_SIZE)
        return false;
    uint32_t padding = padded && frame->size > 0 ? (uint8_t)h2->in->p[H2_HEAD_SIZE] : 0;
    uint32_t around = padding + padded;
    if (h2_is_idle(h2, frame->stream) || around > frame->size) {
        h2_finish(h2, padded && frame->size == 0 ? H2_FRAME_SIZE_ERROR : H2_PROTOCOL_ERROR);
        return true;
    }
    inlet_consume(h2->in, H2_HEAD_SIZE + padded);
    if (frame->size == around && !ends)
        h2_spend(h2, COUNTERS_EMPTY_FRAMES);
    use_window(h2, frame->size);
    struct h2_stream *s = receiver_of(h2, frame);
    if (s != NULL)
        h2_stream_open_window(s, around);
    if (s != NULL && frame->size > around)
        h2_guard_earn(&h2->guard, COUNTERS_WINDOW_UPDATES, UPDATES_BESIDE);
    h2->data = (struct h2_data){.stream = frame->stream,
                                .left = frame->size - around,
                                .padding = padding,
                                .open = true,
                                .ends = ends};
    return true;
}

static uint32_t least(size_t a, uint32_t b)
{
    return a < b ? (uint32_t)a : b;
}

static void give_data(struct h2 *h2, struct h2_stream *s, uint32_t count)
{
    if (s == NULL)
        return;
    bool is_surplus = !h2->server && !s->tunnel && s->end_sent; /* it is waited for its end alone */
    if (s->closed && !is_surplus)
        h2_stream_open_window(s, count);
    else if (s->closed || !h2_stream_take_data(s, h2->in->p, count))
        h2_refuse(s);
}

static void end_data(struct h2 *h2, struct h2_stream *s)
{
    h2->data.open = false;
    if (s == NULL || !h2->data.ends)
        return;
    if (h2_stream_is_short(s))
        h2_reset(s, H2_PROTOCOL_ERROR);
    else
        h2_stream_take_end(s);
}

/* What is there of the frame's data and padding. False: there is nothing. */
static bool go_on_with_data(struct h2 *h2)
{
    struct h2_data *data = &h2->data;
    uint32_t count = least(h2->in->n, data->left);
    if (count > 0)
        give_data(h2, h2_find(h2, data->stream), count);
    data->left -= count;
    inlet_consume(h2->in, count);
    uint32_t padding = data->left > 0 ? 0 : least(h2->in->n, data->padding);
    data->padding -= padding;
    inlet_consume(h2->in, padding);
    if (data->left == 0 && data->padding == 0)
        end_data(h2, h2_find(h2, data->stream));
    return !data->open || count + padding > 0;
}

/* ---- the others ---- */

static void take_reset(struct h2 *h2, const struct h2_frame *frame, struct str payload)
{
    h2_spend(h2, COUNTERS_RESETS);
    if (frame->size != 4 || h2_is_idle(h2, frame->stream)) {
        h2_finish(h2, frame->size != 4 ? H2_FRAME_SIZE_ERROR : H2_PROTOCOL_ERROR);
        return;
    }
    struct h2_stream *s = h2_find(h2, frame->stream);
    if (s != NULL)
        h2_close(s, h2_get_u32(payload.p));
}

static void take_ping(struct h2 *h2, const struct h2_frame *frame, struct str payload)
{
    bool answer = (frame->flags & H2_ACK) != 0;
    if (answer && h2->pings > 0)
        h2->pings--;
    else
        h2_spend(h2, COUNTERS_PINGS);
    if (frame->size != 8 || frame->stream != 0)
        h2_finish(h2, frame->size != 8 ? H2_FRAME_SIZE_ERROR : H2_PROTOCOL_ERROR);
    else if (answer)
        h2->role->answered(h2);
    else
        h2_write_ack(h2, H2_PING, payload);
}

/* Which of our streams it has not looked at may be sent again. */
static void take_goaway(struct h2 *h2, const struct h2_frame *frame, struct str payload)
{
    struct h2_stream *s, *next;
    if (frame->size < 8 || frame->stream != 0) {
        h2_finish(h2, frame->size < 8 ? H2_FRAME_SIZE_ERROR : H2_PROTOCOL_ERROR);
        return;
    }
    h2->left = true;
    uint32_t last = h2_get_u32(payload.p) & H2_STREAM_MAX;
    for (s = TAILQ_FIRST(&h2->streams); s != NULL && !h2->server; s = next) {
        next = TAILQ_NEXT(s, link);
        if (s->open && s->id > last)
            h2_close(s, H2_REFUSED_STREAM);
    }
}

static void open_connection(struct h2 *h2, uint32_t more)
{
    h2->room += more;
    if (more == 0 || h2->room > H2_WINDOW_MAX)
        h2_finish(h2, more == 0 ? H2_PROTOCOL_ERROR : H2_FLOW_CONTROL_ERROR);
}

static void take_window_update(struct h2 *h2, const struct h2_frame *frame, struct str payload)
{
    h2_spend(h2, COUNTERS_WINDOW_UPDATES);
    if (frame->size != 4 || (frame->stream != 0 && h2_is_idle(h2, frame->stream))) {
        h2_finish(h2, frame->size != 4 ? H2_FRAME_SIZE_ERROR : H2_PROTOCOL_ERROR);
        return;
    }
    uint32_t more = h2_get_u32(payload.p) & H2_WINDOW_MAX;
    struct h2_stream *s = frame->stream == 0 ? NULL : h2_find(h2, frame->stream);
    if (frame->stream == 0)
        open_connection(h2, more);
    else if (s != NULL && !h2_stream_get_room(s, more))
        h2_reset(s, more == 0 ? H2_PROTOCOL_ERROR : H2_FLOW_CONTROL_ERROR);
}

/* Of no use (RFC 9113 section 5.3.2). */
static void take_priority(struct h2 *h2, const struct h2_frame *frame)
{
    h2_spend(h2, COUNTERS_PRIORITIES);
    if (frame->size != 5 || frame->stream == 0)
        h2_finish(h2, frame->size != 5 ? H2_FRAME_SIZE_ERROR : H2_PROTOCOL_ERROR);
}

static void take_frame(struct h2 *h2, const struct h2_frame *frame, struct str payload)
{
    switch (frame->type) {
    case H2_HEADERS:
        h2_heads_take(h2, frame, payload);
        break;
    case H2_CONTINUATION:
        h2_heads_continue(h2, frame, payload);
        break;
    case H2_PRIORITY:
        take_priority(h2, frame);
        break;
    case H2_RST_STREAM:
        take_reset(h2, frame, payload);
        break;
    case H2_SETTINGS:
        h2_settings_take(h2, frame, payload);
        break;
    case H2_PUSH_PROMISE:
        h2_finish(h2, H2_PROTOCOL_ERROR);
        break;
    case H2_PING:
        take_ping(h2, frame, payload);
        break;
    case H2_GOAWAY:
        take_goaway(h2, frame, payload);
        break;
    case H2_WINDOW_UPDATE:
        take_window_update(h2, frame, payload);
        break;
    default: /* of an extension (section 5.5) */
        if (frame->size == 0)
            h2_spend(h2, COUNTERS_EMPTY_FRAMES);
        break;
    }
}

/* May a frame like this come now (sections 3.4, 4.2, 4.3)? */
static enum h2_code fault_of(const struct h2 *h2, const struct h2_frame *frame)
{
    bool continues = frame->type == H2_CONTINUATION && frame->stream == h2->reading.stream;
    if (frame->size > H2_PAYLOAD_MAX)
        return H2_FRAME_SIZE_ERROR;
    if (!h2->settled && (frame->type != H2_SETTINGS || (frame->flags & H2_ACK) != 0))
        return H2_PROTOCOL_ERROR;
    if ((h2->reading.stream != 0 || frame->type == H2_CONTINUATION) && !(continues && frame->stream != 0))
        return H2_PROTOCOL_ERROR;
    return H2_NO_ERROR;
}

/* False: nothing more can be done with what is there. */
static bool step(struct h2 *h2)
{
    if (h2->server && h2->magic < H2_MAGIC_SIZE)
        return take_magic(h2);
    if (h2->data.open)
        return go_on_with_data(h2);
    if (h2->in->n < H2_HEAD_SIZE)
        return false;
    struct h2_frame frame = h2_get_frame(h2->in->p);
    h2->at = frame.stream;
    enum h2_code fault = fault_of(h2, &frame);
    if (fault != H2_NO_ERROR) {
        h2_finish(h2, fault);
        return false;
    }
    h2->spoke |= frame.type == H2_DATA || frame.type == H2_HEADERS;
    if (frame.type == H2_DATA)
        return begin_data(h2, &frame);
    if (h2->in->n < H2_HEAD_SIZE + frame.size) {
        h2_heads_await(h2, &frame);
        return false;
    }
    inlet_consume(h2->in, H2_HEAD_SIZE);
    take_frame(h2, &frame, front_of(h2, frame.size));
    inlet_consume(h2->in, frame.size);
    return true;
}

void h2_read(struct h2 *h2)
{
    while (!h2_is_deaf(h2) && step(h2))
        ;
}
