/* Writing with back-pressure. Invariant: 0 <= sent <= end <= buffer->size, and a buffer is kept only while
 * something waits or is held. */
#include "plane/outlet.h"

#include <assert.h>
#include <string.h>

static bool grow(struct outlet *outlet, struct buffers *buffers, size_t size)
{
    /* Beyond the largest class each is as large as is asked for, and what grows would be copied each time. */
    struct buffer *buffer = buffers_take(buffers, size > SCRATCH_SIZE ? size + size / 2 : size);
    if (buffer == NULL)
        return false;
    if (outlet->buffer != NULL) {
        memcpy(buffer->bytes, outlet->buffer->bytes, outlet->end);
        buffers_give(buffers, outlet->buffer);
    }
    outlet->buffer = buffer;
    return true;
}

/* Moves what is not sent to the front, be it held back or not. */
static void compact(struct outlet *outlet)
{
    memmove(outlet->buffer->bytes, outlet->buffer->bytes + outlet->sent, outlet->end - outlet->sent);
    outlet->end -= outlet->sent;
    outlet->sent = 0;
}

char *outlet_reserve(struct outlet *outlet, struct buffers *buffers, size_t size)
{
    if (outlet->buffer != NULL && !outlet->hold && outlet->sent > 0)
        compact(outlet);
    if ((outlet->buffer == NULL || outlet->buffer->size - outlet->end < size) &&
        !grow(outlet, buffers, outlet->end + size))
        return NULL;
    return outlet->buffer->bytes + outlet->end;
}

/* Keeps the parts but their first `skip` bytes. */
static bool append(struct outlet *outlet, struct buffers *buffers, const struct iovec *parts, int count,
                   size_t total, size_t skip)
{
    char *to = outlet_reserve(outlet, buffers, total - skip);
    if (to == NULL)
        return false;
    for (int i = 0; i < count; i++) {
        if (skip >= parts[i].iov_len) {
            skip -= parts[i].iov_len;
            continue;
        }
        size_t n = parts[i].iov_len - skip;
        memcpy(to, (const char *)parts[i].iov_base + skip, n);
        to += n;
        skip = 0;
    }
    outlet->end = (uint32_t)(to - outlet->buffer->bytes);
    return true;
}

enum outlet_result outlet_flush(struct outlet *outlet, struct buffers *buffers, struct stream *stream)
{
    outlet->corked = false;
    while (outlet_waiting(outlet) > 0) {
        if (stream == NULL || !stream->writable)
            return OUTLET_WAITING;
        struct iovec part = {outlet->buffer->bytes + outlet->sent, outlet_waiting(outlet)};
        ssize_t sent = stream_send(stream, &part, 1);
        if (sent == STREAM_FAILED)
            return OUTLET_FAILED;
        if (sent == STREAM_AGAIN)
            return OUTLET_WAITING;
        outlet->sent += (uint32_t)sent;
    }
    if (outlet->buffer != NULL && !outlet->hold)
        outlet_clear(outlet, buffers);
    return OUTLET_EMPTY;
}

static size_t sum(const struct iovec *parts, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    return total;
}

enum outlet_result outlet_send(struct outlet *outlet, struct buffers *buffers, struct stream *stream,
                               const struct iovec *parts, int count)
{
    size_t total = sum(parts, count), skip = 0;
    outlet->corked = false;
    if (outlet->hold && outlet->end + total > OUTLET_HOLD_MAX)
        outlet->hold = false;
    bool direct = !outlet->hold && outlet_waiting(outlet) == 0;
    if (direct && total > 0 && stream != NULL && stream->writable) {
        ssize_t sent = stream_send(stream, parts, count);
        if (sent == STREAM_FAILED)
            return OUTLET_FAILED;
        skip = sent > 0 ? (size_t)sent : 0;
    }
    if (skip < total && !append(outlet, buffers, parts, count, total, skip))
        return OUTLET_NO_MEMORY;
    return outlet_flush(outlet, buffers, stream);
}

enum outlet_result outlet_cork(struct outlet *outlet, struct buffers *buffers, struct stream *stream,
                               const struct iovec *parts, int count, size_t most)
{
    size_t total = sum(parts, count), room = outlet_cork_room(outlet, most);
    if (room == 0 || total > room)
        return outlet_send(outlet, buffers, stream, parts, count);
    outlet->corked = false;
    bool kept = append(outlet, buffers, parts, count, total, 0);
    outlet->corked = outlet_waiting(outlet) > 0;
    return kept ? OUTLET_EMPTY : OUTLET_NO_MEMORY;
}

void outlet_rewind(struct outlet *outlet)
{
    assert(outlet->hold);
    outlet->sent = 0;
}

void outlet_release(struct outlet *outlet, struct buffers *buffers)
{
    outlet->hold = false;
    if (outlet->buffer != NULL && outlet_waiting(outlet) == 0)
        outlet_clear(outlet, buffers);
}

void outlet_clear(struct outlet *outlet, struct buffers *buffers)
{
    if (outlet->buffer != NULL)
        buffers_give(buffers, outlet->buffer);
    *outlet = (struct outlet){0};
}
