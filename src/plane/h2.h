/* h2: one HTTP/2 connection (RFC 9113), of a client or to an instance, over a stream that its owner has.
 *
 * Each of its streams is a virtual byte stream that speaks HTTP/1.1 (h2_stream.h), so what stands on it knows
 * nothing of HTTP/2. What comes is read at once; what goes is gathered from all streams and written at the
 * end of the turn. While frames are read nobody is called: streams with news are listed, and told behind. */
#pragma once

#include "http/h2_frame.h"
#include "http/hpack.h"
#include "io/loop.h"
#include "io/stream.h"
#include "plane/h2_guard.h"
#include "plane/inlet.h"
#include "plane/outlet.h"

#include <sys/queue.h>

#define H2_BUCKETS 32

struct worker;
struct h2;
struct h2_stream;
struct h2_block;
struct h2_list;

/* What differs between the two sides. */
struct h2_role {
    /* A header block begins that opens a stream: the stream, or NULL: it is refused. */
    struct h2_stream *(*begin)(struct h2 *h2);
    /* A header block that is no trailer section is whole. False: it is malformed. */
    bool (*head)(struct h2_stream *stream, const struct h2_block *block, bool ended);
    /* A header block was over the limit. False: malformed. */
    bool (*too_large)(struct h2_stream *stream);
    /* The stream is over, and whoever stood on it has left. */
    void (*forget)(struct h2_stream *stream);
    /* The connection is gone, and the stream does not know it any more. */
    void (*lose)(struct h2_stream *stream);
    /* Something has changed: which deadline holds now? */
    void (*changed)(struct h2 *h2);
    /* The peer has answered a ping. */
    void (*answered)(struct h2 *h2);
    /* Nothing more can be said or heard; the owner calls h2_free now or later. */
    void (*over)(struct h2 *h2);
};

/* What the peer has said in its SETTINGS, or what holds until it does. */
struct h2_peer {
    uint32_t streams;     /* at a time, that we may open */
    uint32_t window;      /* bytes, of a stream that begins */
    uint32_t payload_max; /* bytes of a frame */
    bool connects;        /* takes an extended CONNECT */
};

/* The frame of DATA that is being read, behind its head. */
struct h2_data {
    uint32_t stream;
    uint32_t left;    /* bytes of data that are still to come */
    uint32_t padding; /* and then of padding */
    bool open;
    bool ends; /* its stream */
};

/* The header block that is being read. */
struct h2_reading {
    uint32_t stream;      /* 0: none */
    bool ends;            /* the stream */
    bool open;            /* a frame of it has begun to come, and it is not whole */
    bool over;            /* it is over the limit */
    unsigned frames;      /* CONTINUATION so far */
    size_t list;          /* bytes, as SETTINGS_MAX_HEADER_LIST_SIZE counts */
    uint64_t since_ms;    /* when it began to come */
    struct outlet fields; /* those so far, as struct h2_block has them, between two of its frames */
    struct outlet part;   /* the start of a field that is not whole, likewise */
};

struct h2 {
    struct worker *worker;
    const struct h2_role *role;
    struct stream *wire; /* the owner's, as the next two */
    struct inlet *in;
    struct outlet *out;
    TAILQ_HEAD(h2_streams, h2_stream) streams;
    TAILQ_HEAD(h2_news, h2_stream) news;       /* to be told */
    TAILQ_HEAD(h2_sending, h2_stream) sending; /* with data for the wire, in the order of their turns */
    LIST_HEAD(h2_bucket, h2_stream) open[H2_BUCKETS]; /* those that are open, by their numbers */
    uint32_t stream_count;
    uint32_t open_count;
    uint32_t unended; /* open ones that the peer has not ended */
    struct h2_guard guard;
    uint32_t refused; /* streams beyond the limit, or behind the last one */
    uint32_t cut;     /* streams that we closed before the peer had ended them, and their ends did not come */
    uint32_t pings;   /* of ours, that are not answered */
    uint32_t acks;    /* written since all was sent */
    const char *calm; /* why the peer is told to be calm; NULL: it need not be */
    bool server;
    bool again; /* waits in the loop's deferred list */
    bool calm_said;
    bool ended;    /* the peer has sent its end, or the wire is broken, or there is no memory */
    bool spoke;    /* a head or data has come since the owner has cleared this */
    bool settled;  /* the peer's settings have come */
    bool agreed;   /* it has acknowledged ours */
    bool leaving;  /* we have told it the last stream that is served */
    bool left;     /* it has told us so */
    bool faulty;   /* the peer has sent what ends the connection */
    bool finished; /* no stream is served any more: a GOAWAY has said why */
    bool busy;     /* it is on the stack */
    bool held;     /* the owner's: nothing goes over the wire yet */
    bool over;     /* role->over has been called */
    struct loop_deferred running;

    struct h2_peer peer;
    uint32_t magic;     /* bytes of the client's magic that have come */
    uint32_t at;        /* stream of the frame that is being read, or was last */
    uint32_t last;      /* stream that the peer has opened */
    uint32_t last_seen; /* of these, that was begun */
    uint32_t next;      /* number of the stream that we open */
    uint32_t window;    /* bytes that the peer may send over a stream that begins, and has agreed to */
    uint32_t said;      /* what we have said that shall be */
    uint32_t most;      /* streams that it may have open, likewise */
    uint32_t unread;    /* bytes of the connection's window that the peer has used and we not given back */
    int64_t room;       /* bytes of data that the connection's window lets us send */
    struct h2_data data;
    struct h2_reading reading;
    /* Large, and not cleared. */
    struct hpack_decoder decoder;
    struct hpack_encoder encoder;
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

/* May a request be sent over it? */
bool h2_takes_requests(const struct h2 *h2);
/* Asks for a sign of life. */
void h2_probe(struct h2 *h2);
/* Says that no new streams should come, in a GOAWAY that names all there may be, and asks for a sign of life
 * behind it: with the answer the peer has seen it (RFC 9113 section 6.8). */
void h2_give_notice(struct h2 *h2);
/* Says which stream is the last one; the connection is over when none is left. */
void h2_leave(struct h2 *h2);
/* Says that it is over, with this code; it is when that is on its way. Where the code tells of a fault, that
 * was in the frame that is being read. */
void h2_finish(struct h2 *h2, enum h2_code code);
