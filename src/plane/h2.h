/* h2: one HTTP/2 connection, of a client or to an instance, over a stream that its owner has.
 *
 * Each of its streams is a virtual byte stream that speaks HTTP/1.1 (h2_stream.h), so what stands on it knows
 * nothing of HTTP/2. What comes is read at once; what goes is gathered from all streams and written at the
 * end of the turn. Nobody is called from inside nghttp2: streams with news are listed, and told when it is
 * left. */
#pragma once

#include "io/loop.h"
#include "io/stream.h"
#include "plane/h2_guard.h"
#include "plane/inlet.h"
#include "plane/outlet.h"

#include <nghttp2/nghttp2.h>
#include <sys/queue.h>

struct worker;
struct h2;
struct h2_stream;
struct h2_block;

/* What differs between the two sides. */
struct h2_role {
    /* A header block begins that opens a stream: the stream, or NULL: it is refused. */
    struct h2_stream *(*begin)(struct h2 *h2, int32_t id);
    /* A header block that is no trailer section is whole. False: it is malformed. */
    bool (*head)(struct h2_stream *stream, const struct h2_block *block, bool ended);
    /* A header block was over the limit. False: malformed. */
    bool (*too_large)(struct h2_stream *stream);
    /* The stream is with neither nghttp2 nor whoever stood on it. */
    void (*forget)(struct h2_stream *stream);
    /* The connection is gone, and the stream does not know it any more. */
    void (*lose)(struct h2_stream *stream);
    /* Something has changed: which deadline holds now? */
    void (*changed)(struct h2 *h2);
    /* The peer has answered the ping of h2_probe. */
    void (*answered)(struct h2 *h2);
    /* Nothing more can be said or heard; the owner calls h2_free now or later. */
    void (*over)(struct h2 *h2);
};

struct h2 {
    struct worker *worker;
    const struct h2_role *role;
    nghttp2_session *session;
    struct stream *wire; /* the owner's, as the next two */
    struct inlet *in;
    struct outlet *out;
    TAILQ_HEAD(h2_streams, h2_stream) streams;
    TAILQ_HEAD(h2_news, h2_stream) news; /* to be told */
    uint32_t stream_count;
    struct h2_guard guard;
    uint32_t refused; /* streams beyond the limit */
    const char *calm; /* why the peer is told to be calm; NULL: it need not be */
    bool again;       /* waits in the loop's deferred list */
    bool calm_said;
    bool ended;   /* the peer has sent its end, or the wire is broken */
    bool settled; /* the peer's settings have come */
    bool busy;    /* it or nghttp2 is on the stack */
    bool held;    /* the owner's: nothing goes over the wire yet */
    bool over;    /* role->over has been called */
    bool noticed; /* the notice is on its way */
    struct loop_deferred running;
    /* The header block that is being read. */
    struct buffer *block;
    size_t block_size; /* of `block` in use */
    size_t block_list; /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
    bool block_over;   /* it is over the limit */
    bool block_open;   /* it is not whole */
    unsigned continuations;
    uint64_t block_since_ms;
    /* Where frames are gathered while nghttp2 is asked for them. */
    char *batch;
    size_t batch_size;
};

/* Begins; `server` tells the side. Sends our settings at the end of the turn. False: no memory. */
bool h2_start(struct h2 *h2, struct worker *worker, const struct h2_role *role, bool server,
              struct stream *wire, struct inlet *in, struct outlet *out);
/* Ends: every stream is broken, and lost. What h2 stands in must live until what is deferred now has run. */
void h2_free(struct h2 *h2);

/* The wire has news. */
void h2_ready(struct h2 *h2);
/* Something is to be sent. */
void h2_wake(struct h2 *h2);
/* The stream's readable or writable has become true: tells whoever stands on it. */
void h2_tell(struct h2_stream *stream);

/* Asks for a sign of life. */
void h2_probe(struct h2 *h2);
/* Says that no new streams should come, in a GOAWAY that names all there may be, and asks for a sign of life
 * behind it: with the answer the peer has seen it (RFC 9113 section 6.8). */
void h2_give_notice(struct h2 *h2);
