/* inlet: bytes that have been read from a stream and not been consumed yet.
 *
 * They are read into the worker's scratch; only what is left over at the end of a step is moved into a buffer
 * (inlet_settle). So a connection whose bytes are consumed as they come owns no buffer. */
#pragma once

#include "io/stream.h"
#include "plane/buffers.h"

#include <stdbool.h>

struct inlet {
    char *p; /* the first unconsumed byte */
    size_t n;
    struct buffer *buffer; /* where they are; NULL: in the scratch, or n is 0 */
    bool full;             /* the last read had no room for more, so there may be much */
};

/* Besides stream_recv's results. */
enum { INLET_FULL = -3 /* it holds `most` bytes already, or there is no memory to hold more */ };

/* Reads once. An empty inlet reads up to `most` bytes into the scratch; else more bytes are put behind those
 * that are there, up to `most` in all. Results as of stream_recv, or INLET_FULL. */
ssize_t inlet_fill(struct inlet *inlet, struct stream *stream, struct buffers *buffers, size_t most);

static inline void inlet_consume(struct inlet *inlet, size_t count)
{
    inlet->p += count;
    inlet->n -= count;
}

/* Moves what is left out of the scratch, or gives an empty inlet's buffer back. Must be called before the
 * scratch is used for another inlet. False: no memory; the bytes are lost. */
bool inlet_settle(struct inlet *inlet, struct buffers *buffers);

/* Drops what is there. */
void inlet_clear(struct inlet *inlet, struct buffers *buffers);
