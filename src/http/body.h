/* body: finds a body's data and its end in a stream of bytes, and writes chunk framing (RFC 9112 sections 6,
 * 7). */
#pragma once

#include "http/http.h"

/* A body that is being read. The inside is the decoder's own. */
struct http_body {
    enum http_framing framing;
    uint8_t state;
    uint8_t digits;        /* hex digits of the chunk size seen so far */
    uint16_t extensions;   /* bytes of chunk extensions so far, of all chunks */
    bool done;             /* the last byte of the message has been read */
    uint64_t left;         /* bytes to come: of the body, or of the chunk */
    uint32_t trailer_size; /* bytes of the trailer section so far, then its length */
};

/* Starts a body. `length` counts for HTTP_BODY_LENGTH only. Framing NONE or length 0 is done at once. */
void http_body_start(struct http_body *body, enum http_framing framing, uint64_t length);

/* One step over `count` bytes. Sets *used to the bytes consumed (framing and data) and *data to the payload
 * among them: a span of `bytes` (empty where this step met only framing). Call again while *used > 0 and
 * !body->done. HTTP_DONE: body->done (this step may still have given data); bytes behind *used belong to the
 * next message. HTTP_MORE: go on (with *used == 0: bytes are missing). HTTP_BAD: fault is set (400
 * "bad-chunk", "bad-trailer", "trailers-too-large"). Chunk sizes have at most 16 hex digits; chunk extensions
 * are checked against their grammar, limited to 4096 bytes a body in all, and dropped. The trailer section is
 * consumed only when it is complete, so the caller must be able to hold limits->head bytes of it; *trailers
 * is then its text, field lines with their CRLF (empty where there are none), to be given to
 * http_trailers_parse. */
enum http_result http_body_step(struct http_body *body, const char *bytes, size_t count,
                                const struct http_limits *limits, size_t *used, struct str *data,
                                struct str *trailers, struct http_fault *fault);

/* So many bytes of payload, which are there, go past the decoder. Only of HTTP_BODY_LENGTH, and no more than
 * body->left. */
void http_body_skip(struct http_body *body, size_t count);

/* May the connection's end be this body's end? True for HTTP_BODY_CLOSE and for a body that is done. */
bool http_body_may_end(const struct http_body *body);

/* Parses a trailer section. Fields that no trailer may carry (framing, routing, Connection, Host, most of
 * Content-*, authentication and the like: RFC 9110 section 6.5.1) are marked `listed` and must be
 * dropped. */
enum http_result http_trailers_parse(struct http_fields *fields, struct str trailers,
                                     const struct http_limits *limits, struct http_fault *fault);

#define HTTP_CHUNK_HEAD_MAX 18 /* 16 hex digits and CRLF */

/* Writes "SIZE CRLF" of a chunk of `size` bytes (never 0). Returns the bytes written. The data and CRLF
 * follow. */
size_t http_chunk_head(char out[HTTP_CHUNK_HEAD_MAX], uint64_t size);
