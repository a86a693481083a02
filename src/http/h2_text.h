/* h2_text: from a header block of HTTP/2 to the head of an HTTP/1.1 message, which is then read as any other.
 *
 * A block is malformed (RFC 9113 sections 8.2, 8.3; RFC 8441) or it gives a text in which nothing of the
 * block ends a line, names a field that frames, or stands in the start line as anything but what it is. What
 * the text says beyond that (a bad host, too many fields) is for the parser of HTTP/1.1 to refuse, with an
 * answer. */
#pragma once

#include "http/h2_block.h"
#include "http/http.h"

struct h2_text {
    bool ended;           /* the block ends its stream: no body follows */
    bool head;            /* the request is HEAD: given for a response, filled in for a request */
    struct str websocket; /* of a request: the Sec-WebSocket-Key of an extended CONNECT; of a response: the
                             Sec-WebSocket-Accept, where the request was one; else empty */
    /* Filled in. */
    enum http_framing framing; /* of the body, as the text says it */
    bool measured;   /* the body has this length: with HTTP_BODY_LENGTH, or chunked for its trailers */
    uint64_t length; /* bytes, if `measured` */
    bool tunnel;     /* no message follows but bytes: an extended CONNECT, or its acceptance */
    uint16_t status; /* of a response */
};

#define H2_TEXT_EXTRA 256 /* bytes that a text may be longer than its block */

/* Writes the head of the request (as "name: value", with Transfer-Encoding: chunked for a body without a
 * length, or in place of the length where Trailer says that trailers follow, for which HTTP/1.1 has no other
 * place; cookies in one line) into `room` bytes at out
 * (the block's size + H2_TEXT_EXTRA + twice the websocket key are enough). An extended CONNECT for
 * "websocket" becomes a GET with Upgrade; any other CONNECT stays one, for the parser to refuse. Returns its
 * length; 0: the block is malformed. */
size_t h2_text_request(const struct h2_block *block, struct h2_text *how, char *out, size_t room);

/* The same for a response. A final one without a length that has no body gets Content-Length: 0. The 2xx that
 * accepts an extended CONNECT becomes a 101. */
size_t h2_text_response(const struct h2_block *block, struct h2_text *how, char *out, size_t room);

/* Writes a trailer section with its empty line: 2 bytes where there is no field. 0: malformed. */
size_t h2_text_trailers(const struct h2_block *block, char *out, size_t room);
