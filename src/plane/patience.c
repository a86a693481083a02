/* Who reads a body as soon as its next packet is there pays for a wake-up and two splices a packet, and has
 * time for that only because the worker is not busy. So the kernel is told to speak of large pieces, where
 * the last one was large. The last piece of a body, which ends the wait of both sides, is never waited for.
 * Invariant: while a stream of the exchange awaits a piece, its patience is set, and is not moved; so nothing
 * is kept waiting for longer than that. */
#include "plane/exchange.h"

#define PIECE (256 * 1024) /* bytes */
#define FAST (64 * 1024)   /* bytes in one read */
#define PATIENCE_MS 1      /* a deadline may be 20 ms late */

void patience_read(struct exchange *x, const struct relay *relay, struct stream *source, size_t count)
{
    if (relay->body.left < PIECE)
        stream_await(source, 0);
    else if (count >= FAST)
        stream_await(source, PIECE);
    if (source->awaited > 0 && !deadline_is_set(&x->patience))
        deadline_set(&x->patience, PATIENCE_MS);
}

void patience_end(struct exchange *x)
{
    if (x->client->stream.awaited > 0)
        stream_await(&x->client->stream, 0);
    if (x->lease != NULL && x->lease->stream.awaited > 0)
        stream_await(&x->lease->stream, 0);
    deadline_clear(&x->patience);
}
