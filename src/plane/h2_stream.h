/* h2_stream: one stream of an HTTP/2 connection as a byte stream that speaks HTTP/1.1. Its owner embeds it
 * beside the `struct stream` that it serves.
 *
 * What comes is kept until it is read, within the stream's window; the window opens as it is read. What is
 * sent is taken up to H2_OUT_MAX bytes of body, and goes as the peer's window allows. */
#pragma once

#include "http/body.h"
#include "http/h2_block.h"
#include "io/digest.h"
#include "plane/h2.h"

#define H2_OUT_MAX 16000 /* bytes of one stream's body that wait for the peer */

/* What was wrong with what the peer sent, or with us when it came. */
enum h2_fault {
    H2_NO_FAULT,
    H2_FAULT_BESIDE, /* the connection has ended for something, which may have been of another stream */
    H2_MALFORMED,    /* from here on: something has come on this stream */
    H2_HEAD_TOO_LARGE,
    H2_OURS /* there was no memory for it */
};

struct h2_stream {
    struct h2 *h2; /* NULL: the connection is gone */
    struct worker *worker;
    struct stream *stream; /* the virtual one */
    uint32_t id;
    bool server;   /* we answer */
    bool open;     /* frames of it may come and go */
    bool closed;   /* whoever stood on it has left */
    bool broken;   /* it was reset, or its connection was lost, before it had ended */
    bool refused;  /* the peer has not looked at it: it may be sent again */
    uint8_t fault; /* enum h2_fault; it was reset for this, or lost with its connection */
    bool head;     /* the request is HEAD */
    bool tunnel;   /* bytes both ways, after an extended CONNECT */
    bool told;     /* is listed in h2->news */
    bool has_websocket;
    char websocket[DIGEST_SHA1_BASE64]; /* the Sec-WebSocket-Accept of a tunnel that is asked for */

    /* From the peer: `plain` bytes as they are, then data, then `tail` bytes as they are. */
    struct outlet in;
    uint32_t plain, tail;
    uint32_t chunk; /* bytes of the present chunk that are still to be given */
    char frame[20]; /* framing on its way: frame[frame_at..frame_end) */
    uint8_t frame_at, frame_end;
    uint8_t in_framing; /* enum http_framing */
    bool in_measured;   /* so many bytes of data are still to come: */
    uint64_t in_left;
    int64_t window;  /* bytes of data that the peer may send */
    uint32_t unread; /* of its window, that may be given back to it */
    bool in_headed;  /* its (final) head has come */
    bool in_ended;   /* all of it has */

    /* To the peer: data, then `out_trailers` bytes of a trailer section. */
    struct outlet out;
    uint32_t out_trailers;
    int64_t room; /* bytes of data that the peer takes */
    struct http_body body;
    bool out_headed;
    bool out_ended; /* all of it is in `out`, or gone */
    bool end_sent;  /* and the end is with the wire */
    bool queued;    /* is in h2->sending */

    struct deadline flush; /* once closed: until the peer must have taken something */
    TAILQ_ENTRY(h2_stream) link, news, turn;
    LIST_ENTRY(h2_stream) same; /* bucket */
};

/* Begins for the virtual stream, whose ops are set: `ready` is the owner's. */
void h2_stream_start(struct h2_stream *s, struct h2 *h2, struct stream *stream, bool server);

/* The stream of a virtual byte stream. */
struct h2_stream *h2_stream_of(struct stream *stream);

/* From the session. False: no memory (H2_OURS), or there may be no such thing. */
bool h2_stream_take_head(struct h2_stream *s, struct str text);
bool h2_stream_take_data(struct h2_stream *s, const char *bytes, size_t count);
bool h2_stream_take_trailers(struct h2_stream *s, const struct h2_block *block);
void h2_stream_take_end(struct h2_stream *s);
/* Has less come than was announced? */
bool h2_stream_is_short(const struct h2_stream *s);
/* So many bytes of its window are free again; the peer is told, now or later. */
void h2_stream_open_window(struct h2_stream *s, size_t count);
/* The peer takes more. False: it may not say so. */
bool h2_stream_get_room(struct h2_stream *s, uint32_t more);
/* It is closed, with this code. */
void h2_stream_gone(struct h2_stream *s, enum h2_code code);
/* The connection is gone. */
void h2_stream_lose(struct h2_stream *s);
/* A frame of it that ends it has been written. */
void h2_stream_end_sent(struct h2_stream *s);

/* Does data of it wait? */
bool h2_stream_has_data(const struct h2_stream *s);
/* Bytes of the body that may go now, up to `most`; and are these all that will ever be? */
uint32_t h2_stream_offer(const struct h2_stream *s, uint32_t most, bool *ended);
/* Takes them. */
void h2_stream_copy(struct h2_stream *s, char *to, size_t count);
/* Takes the trailers, as h2_tools_trailers does. */
const struct h2_list *h2_stream_trailers(struct h2_stream *s);
