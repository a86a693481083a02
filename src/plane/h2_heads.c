/* Header blocks. Invariant: every block goes through the decoder whole and in its order, whoever its stream
 * is for, or the connection ends; what is over the limit is not kept. */
#include "http/h2_list.h"
#include "plane/h2_session.h"
#include "plane/h2_tools.h"
#include "plane/worker.h"

#define LIST_MOST 8 /* times the limit: a header block that goes on beyond is an attack */

static void await(struct h2 *h2)
{
    if (h2->reading.open)
        return;
    h2->reading.open = true;
    h2->reading.since_ms = loop_ms(h2->worker->loop);
}

void h2_heads_await(struct h2 *h2, const struct h2_frame *frame)
{
    if (frame->type == H2_HEADERS)
        await(h2);
}

void h2_heads_drop(struct h2 *h2)
{
    outlet_clear(&h2->reading.fields, h2->worker->buffers);
    outlet_clear(&h2->reading.part, h2->worker->buffers);
}

/* ---- the bytes of a block ---- */

static size_t head_max(const struct h2 *h2)
{
    return h2->worker->settings->head_max;
}

/* Counts the field that was read to the block's end. False: that is an attack. */
static bool count_field(struct h2 *h2, struct h2_block *block, enum hpack_result result,
                        const uint32_t lengths[2])
{
    struct h2_reading *reading = &h2->reading;
    reading->list += (size_t)lengths[0] + lengths[1] + 32;
    reading->over |= reading->list > head_max(h2) || result == HPACK_LONG;
    if (reading->list > LIST_MOST * head_max(h2)) {
        h2_calm(h2, COUNTERS_HEADER_LIST);
        return false;
    }
    if (reading->over)
        block->size = 0;
    else
        h2_block_close(block, lengths);
    return true;
}

/* Reads fields into the block until the bytes are used up but for a part of one. False: the connection is no
 * more. */
static bool read_fields(struct h2 *h2, struct h2_block *block, struct str *bytes)
{
    const uint8_t *at = (const uint8_t *)bytes->p, *end = at + bytes->n;
    for (;;) {
        uint32_t lengths[2];
        char *to = h2_block_open(block);
        enum hpack_result result =
            hpack_decode(&h2->decoder, &at, end, to, (size_t)(block->bytes + block->room - to), lengths);
        *bytes = (struct str){(const char *)at, (size_t)(end - at)};
        switch (result) {
        case HPACK_FIELD:
        case HPACK_LONG:
            if (!count_field(h2, block, result, lengths))
                return false;
            break;
        case HPACK_BAD:
            h2_finish(h2, H2_COMPRESSION_ERROR);
            return false;
        default:
            return true;
        }
    }
}

/* ---- between two frames of a block ---- */

/* Puts bytes behind those that are kept. */
static bool keep(struct h2 *h2, struct outlet *kept, struct str bytes)
{
    if (bytes.n == 0)
        return true;
    char *to = outlet_reserve(kept, h2->worker->buffers, bytes.n);
    if (to == NULL) {
        h2->ended = true;
        return false;
    }
    memcpy(to, bytes.p, bytes.n);
    kept->end += (uint32_t)bytes.n;
    return true;
}

static struct str kept_of(const struct outlet *kept)
{
    if (kept->buffer == NULL)
        return STR("");
    return (struct str){kept->buffer->bytes, kept->end};
}

/* The fields so far. The limit may have become less since. */
static struct h2_block resume_block(struct h2 *h2)
{
    struct h2_tools *tools = h2->worker->h2_tools;
    struct h2_block block = {.bytes = tools->block, .room = tools->block_room};
    struct str fields = kept_of(&h2->reading.fields);
    h2->reading.over |= fields.n + H2_FIELD_ROOM > block.room;
    if (fields.n > 0 && !h2->reading.over) {
        memcpy(block.bytes, fields.p, fields.n);
        block.size = fields.n;
    }
    return block;
}

static void keep_block(struct h2 *h2, const struct h2_block *block, struct str part)
{
    struct h2_reading *reading = &h2->reading;
    struct outlet before = reading->part;
    reading->part = (struct outlet){.buffer = NULL};
    reading->fields.end = 0;
    if (part.n > LIST_MOST * head_max(h2))
        h2_calm(h2, COUNTERS_HEADER_LIST);
    else if (keep(h2, &reading->fields, (struct str){block->bytes, block->size}))
        keep(h2, &reading->part, part);
    outlet_clear(&before, h2->worker->buffers);
}

/* ---- whole blocks ---- */

static void take_block(struct h2_stream *s, const struct h2_block *block, bool over, bool ends)
{
    bool right;
    if (s->closed)
        right = true;
    else if (s->in_headed)
        right = ends && !over && !h2_stream_is_short(s) && h2_stream_take_trailers(s, block);
    else if (over)
        right = s->h2->role->too_large(s);
    else
        right = s->h2->role->head(s, block, ends);
    if (!right)
        h2_refuse(s);
    else if (ends)
        h2_stream_take_end(s);
}

static void end_block(struct h2 *h2, const struct h2_block *block)
{
    struct h2_stream *s = h2_find(h2, h2->reading.stream);
    h2->reading.stream = 0;
    h2->reading.open = false;
    h2_heads_drop(h2);
    if (s != NULL)
        take_block(s, block, h2->reading.over, h2->reading.ends);
}

static void take_fragment(struct h2 *h2, struct str bytes, bool whole)
{
    struct h2_reading *reading = &h2->reading;
    if (reading->part.buffer != NULL) {
        if (!keep(h2, &reading->part, bytes))
            return;
        bytes = kept_of(&reading->part);
    }
    struct h2_block block = resume_block(h2);
    if (!read_fields(h2, &block, &bytes))
        return;
    if (!whole)
        keep_block(h2, &block, bytes);
    else if (bytes.n > 0)
        h2_finish(h2, H2_COMPRESSION_ERROR);
    else
        end_block(h2, &block);
}

/* ---- HEADERS and CONTINUATION ---- */

/* As many as the peer has agreed to; before that it is told stream by stream. */
static void refuse_stream(struct h2 *h2, uint32_t id)
{
    if (h2->agreed)
        h2_finish(h2, H2_PROTOCOL_ERROR);
    else
        h2_reset_id(h2, id, H2_REFUSED_STREAM);
}

/* True: it is one of those that are served. */
static bool open_stream(struct h2 *h2, uint32_t id)
{
    if (h2->leaving) { /* the GOAWAY refuses it */
        h2_spend_refused(h2);
        return false;
    }
    if (h2->open_count >= h2->most) {
        refuse_stream(h2, id);
        return false;
    }
    struct h2_stream *s = h2->role->begin(h2);
    h2->last_seen = id;
    if (s == NULL)
        h2_reset_id(h2, id, H2_INTERNAL_ERROR);
    else
        h2_open(s, id);
    return s != NULL;
}

/* A request pays for two frames of no use: some put as many beside each, so that nobody forgets to pass over
 * what he does not know (as RFC 8701 does in TLS). */
static void begin_stream(struct h2 *h2, uint32_t id)
{
    h2->last = id;
    h2_guard_earn(&h2->guard, COUNTERS_EMPTY_FRAMES, 2);
    if (!open_stream(h2, id) && !h2->reading.ends)
        h2->cut++;
}

/* Finds, or begins, the stream of a block. What comes on one that is over is passed over: the peer may not
 * know it yet. */
static void begin_block(struct h2 *h2, const struct h2_frame *frame)
{
    const struct h2_stream *s = h2_find(h2, frame->stream);
    h2->reading.stream = frame->stream;
    h2->reading.ends = (frame->flags & H2_END_STREAM) != 0;
    h2->reading.over = false;
    h2->reading.list = 0;
    h2->reading.frames = 0;
    if (s != NULL && s->in_ended)
        h2_finish(h2, H2_STREAM_CLOSED);
    else if (s == NULL && h2->server && frame->stream % 2 != 0 && frame->stream > h2->last)
        begin_stream(h2, frame->stream);
    else if (s == NULL && h2_is_idle(h2, frame->stream))
        h2_finish(h2, H2_PROTOCOL_ERROR);
    else if (s == NULL)
        h2_take_late_end(h2, COUNTERS_RESETS);
    hpack_decode_block(&h2->decoder);
}

/* Takes off what stands around a block: padding, and the priority that is of no use. False: there is less
 * than it says. */
static bool unwrap(const struct h2_frame *frame, struct str *payload)
{
    bool padded = (frame->flags & H2_PADDED) != 0;
    size_t before = (padded ? 1 : 0) + ((frame->flags & H2_WITH_PRIORITY) != 0 ? 5U : 0);
    size_t padding = padded && payload->n > 0 ? (uint8_t)payload->p[0] : 0;
    if (before + padding > payload->n)
        return false;
    *payload = (struct str){payload->p + before, payload->n - before - padding};
    return true;
}

void h2_heads_take(struct h2 *h2, const struct h2_frame *frame, struct str payload)
{
    bool whole = (frame->flags & H2_END_HEADERS) != 0;
    if (frame->size == 0 && (frame->flags & H2_END_STREAM) == 0)
        h2_spend(h2, COUNTERS_EMPTY_FRAMES);
    if (!unwrap(frame, &payload)) {
        h2_finish(h2, H2_PROTOCOL_ERROR);
        return;
    }
    if (!whole)
        await(h2);
    begin_block(h2, frame);
    if (!h2_is_deaf(h2))
        take_fragment(h2, payload, whole);
}

void h2_heads_continue(struct h2 *h2, const struct h2_frame *frame, struct str payload)
{
    if (frame->size == 0)
        h2_spend(h2, COUNTERS_EMPTY_FRAMES);
    if (++h2->reading.frames > h2_limits(h2)->continuations)
        h2_calm(h2, COUNTERS_CONTINUATIONS);
    if (!h2_is_deaf(h2))
        take_fragment(h2, payload, (frame->flags & H2_END_HEADERS) != 0);
}
