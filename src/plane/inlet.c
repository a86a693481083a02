/* Reading ahead of what is understood. Invariant: n > 0 without a buffer only between a fill and the settle
 * of the same step. */
#include "plane/inlet.h"

#include <string.h>

static bool move(struct inlet *inlet, struct buffers *buffers, size_t size)
{
    struct buffer *buffer = buffers_take(buffers, size);
    if (buffer == NULL)
        return false;
    memcpy(buffer->bytes, inlet->p, inlet->n);
    if (inlet->buffer != NULL)
        buffers_give(buffers, inlet->buffer);
    inlet->buffer = buffer;
    inlet->p = buffer->bytes;
    return true;
}

static size_t tail_room(const struct inlet *inlet, const struct buffers *buffers)
{
    const struct buffer *buffer = inlet->buffer;
    const char *end = buffer != NULL ? buffer->bytes + buffer->size : buffers->scratch + SCRATCH_SIZE;
    return (size_t)(end - (inlet->p + inlet->n));
}

/* Room behind the last byte: in the scratch as long as there is some, then in a buffer. */
static bool make_room(struct inlet *inlet, struct buffers *buffers)
{
    if (inlet->buffer == NULL && tail_room(inlet, buffers) > 0)
        return true;
    if (inlet->buffer == NULL || inlet->n == inlet->buffer->size)
        return move(inlet, buffers, inlet->n + inlet->n / 2 + 1);
    if (tail_room(inlet, buffers) == 0) {
        memmove(inlet->buffer->bytes, inlet->p, inlet->n);
        inlet->p = inlet->buffer->bytes;
    }
    return true;
}

static ssize_t fill_behind(struct inlet *inlet, struct stream *stream, struct buffers *buffers, size_t most)
{
    if (inlet->n >= most || !make_room(inlet, buffers))
        return INLET_FULL;
    size_t room = tail_room(inlet, buffers);
    if (room > most - inlet->n)
        room = most - inlet->n;
    ssize_t count = stream_recv(stream, inlet->p + inlet->n, room);
    inlet->full = count == (ssize_t)room;
    if (count > 0)
        inlet->n += (size_t)count;
    return count;
}

ssize_t inlet_fill(struct inlet *inlet, struct stream *stream, struct buffers *buffers, size_t most)
{
    if (inlet->n > 0)
        return fill_behind(inlet, stream, buffers, most);
    inlet_clear(inlet, buffers);
    size_t room = most < SCRATCH_SIZE ? most : SCRATCH_SIZE;
    ssize_t count = stream_recv(stream, buffers->scratch, room);
    inlet->p = buffers->scratch;
    inlet->full = count == (ssize_t)room;
    inlet->n = count > 0 ? (size_t)count : 0;
    return count;
}

bool inlet_settle(struct inlet *inlet, struct buffers *buffers)
{
    if (inlet->n == 0) {
        if (inlet->buffer != NULL)
            inlet_clear(inlet, buffers);
        return true;
    }
    if (inlet->buffer != NULL || move(inlet, buffers, inlet->n))
        return true;
    inlet->n = 0;
    return false;
}

void inlet_clear(struct inlet *inlet, struct buffers *buffers)
{
    if (inlet->buffer != NULL)
        buffers_give(buffers, inlet->buffer);
    *inlet = (struct inlet){NULL, 0, NULL, false};
}
