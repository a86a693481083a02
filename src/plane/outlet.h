/* outlet: bytes on their way into a stream.
 *
 * Everything is offered to the kernel first; only what it does not take waits in a buffer. A holding outlet
 * keeps also what it has sent, so that it can be sent again from the beginning over another stream. */
#pragma once

#include "io/stream.h"
#include "plane/buffers.h"

#include <stdbool.h>

#define OUTLET_HOLD_MAX 65536 /* bytes; beyond, an outlet holds no longer */
#define OUTLET_CORK_MAX 16384 /* bytes that are held back for what follows */
#define OUTLET_BATCH_MAX 2048 /* the same, for what others send */

struct outlet {
    struct buffer *buffer; /* NULL: nothing waits and nothing is held */
    uint32_t sent, end;    /* bytes[sent..end) of the buffer wait */
    bool hold;             /* bytes[0..end) are all that was ever put in */
    bool corked;           /* bytes[sent..end) count as sent: see outlet_cork */
};

enum outlet_result {
    OUTLET_EMPTY,    /* all is sent */
    OUTLET_WAITING,  /* the rest goes when the stream is writable */
    OUTLET_FAILED,   /* the stream is broken */
    OUTLET_NO_MEMORY /* what the kernel did not take could not be kept */
};

static inline size_t outlet_waiting(const struct outlet *outlet)
{
    return outlet->corked ? 0 : outlet->end - outlet->sent;
}

/* Room for `size` bytes behind the last one; the caller writes them and adds to outlet->end. NULL: no memory.
 */
char *outlet_reserve(struct outlet *outlet, struct buffers *buffers, size_t size);

/* Puts the parts behind what waits and sends what can be sent. A NULL stream takes nothing. */
enum outlet_result outlet_send(struct outlet *outlet, struct buffers *buffers, struct stream *stream,
                               const struct iovec *parts, int count);

/* As outlet_send, but up to `most` bytes are held back and count as sent, until the next outlet_send or
 * outlet_flush, which somebody has to see to. Where others wait already, or there are more, it is
 * outlet_send. */
enum outlet_result outlet_cork(struct outlet *outlet, struct buffers *buffers, struct stream *stream,
                               const struct iovec *parts, int count, size_t most);

/* How much more of `most` may be held back; 0: nothing. */
static inline size_t outlet_cork_room(const struct outlet *outlet, size_t most)
{
    size_t held = outlet->end - outlet->sent;
    return outlet->hold || outlet_waiting(outlet) > 0 || held > most ? 0 : most - held;
}
/* `count` bytes were written where outlet_reserve gave room, no more than outlet_cork_room: they are held
 * back. */
static inline void outlet_cork_reserved(struct outlet *outlet, size_t count)
{
    outlet->end += (uint32_t)count;
    outlet->corked = true;
}

/* Sends what waits. */
enum outlet_result outlet_flush(struct outlet *outlet, struct buffers *buffers, struct stream *stream);

/* All again from the beginning; only while it holds. */
void outlet_rewind(struct outlet *outlet);
/* What is sent need not be kept any more. */
void outlet_release(struct outlet *outlet, struct buffers *buffers);
/* Drops everything. */
void outlet_clear(struct outlet *outlet, struct buffers *buffers);
