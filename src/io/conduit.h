/* conduit: a way for bytes from one plain stream to another that does not lead through this process: a pipe,
 * which the kernel fills from the one socket and empties into the other by handing over pages (splice(2)).
 *
 * A conduit is filled only when it is empty. Who has drained it gives it back, so that few serve many. */
#pragma once

#include "io/stream.h"

#define CONDUIT_ROOM (1024 * 1024) /* bytes that it may hold; it may be full before */

struct conduit;
struct conduits; /* those of one thread */

/* A store that makes `most` of them, when they are asked for. */
struct conduits *conduits_new(unsigned most);
/* All have been given back. */
void conduits_free(struct conduits *conduits);

/* An empty one, or NULL: all are taken, or the system gives no pipe that is worth it. */
struct conduit *conduits_take(struct conduits *conduits);
/* Takes it back. Bytes that it still holds are dropped. */
void conduits_give(struct conduits *conduits, struct conduit *conduit);

/* Bytes that it holds. */
size_t conduit_holds(const struct conduit *conduit);

/* Takes up to `most` bytes (not 0) from a plain stream that may give some. Results as of stream_recv. */
ssize_t conduit_fill(struct conduit *conduit, struct stream *source, size_t most);
/* The same, of a source that is registered and may not say anything behind those bytes. If they have all
 * come, its `readable` tells whether it has done so, or has been told to have ended: then it must not be read
 * from again. What comes later makes an edge. Seen is what has come in fewer than some hundred packets, so it
 * is for bytes that came just now. */
ssize_t conduit_fill_last(struct conduit *conduit, struct stream *source, size_t most);
/* Sends what it holds over a plain stream, as much as the kernel takes. Results as of stream_send. The
 * process must ignore SIGPIPE. */
ssize_t conduit_drain(struct conduit *conduit, struct stream *sink);
/* Takes all that it holds out of it, to where there is room for that. */
void conduit_read(struct conduit *conduit, char *to);
