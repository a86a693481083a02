/* websocket: follows the frames of one direction of a WebSocket as they pass by, and writes a Close (RFC 6455
 * section 5).
 *
 * It keeps no byte and changes none; payloads are skipped by count. So it knows at any moment whether the
 * direction stands between two frames, the only place where another frame may be put in. */
#pragma once

#include "http/http.h"

/* Where a direction stands. The inside is the tracker's own. */
struct websocket {
    uint64_t left;      /* bytes of the masking key and the payload that are still to come */
    uint8_t state;      /* what the next byte is */
    uint8_t opcode;     /* of the frame that is passing */
    uint8_t length_due; /* bytes of an extended length that are still to come */
    bool masked;        /* frames must be; else they must not be */
    bool extended;      /* reserved bits may be set */
    bool in_message;    /* a message's last fragment has not come */
    bool closed;        /* a Close has passed, whole: nothing that follows counts */
    bool lost;          /* what came is no frame: it is not known where anything begins */
};

/* A WebSocket begins: `masked` for the client's direction, `extended` where an extension was negotiated,
 * whose business the reserved bits then are. */
void websocket_start(struct websocket *websocket, bool masked, bool extended);

/* Looks at the next bytes, up to the end of the frame that is passing, or that they begin. Returns how many
 * they are; all `count` of them while that end is not among them, and once `closed` or `lost` is set. `lost`:
 * a wrong mask bit, a reserved opcode, a reserved bit that nobody negotiated, a control frame that is
 * fragmented or longer than 125 bytes, a continuation of nothing, a message inside another, a length of 2^63
 * or more. A length in more bytes than it needs is followed: it can be read in one way only. */
size_t websocket_frame(struct websocket *websocket, const char *bytes, size_t count);

/* Looks at all the next bytes. */
void websocket_follow(struct websocket *websocket, const char *bytes, size_t count);

/* May a control frame be put in here? True between frames, also those of one message (section 5.4), until a
 * Close has passed. */
bool websocket_is_between(const struct websocket *websocket);

enum {
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_SERVICE_RESTART = 1012 /* from the registry of RFC 6455 section 11.7 */
};

#define WEBSOCKET_CLOSE_MAX 64 /* bytes */

/* Writes a Close with a code and a short reason (UTF-8, at most 48 bytes); masked with the four bytes of
 * `key`, or unmasked if it is NULL. Returns its length. */
size_t websocket_close(char out[WEBSOCKET_CLOSE_MAX], uint16_t code, struct str reason, const uint8_t *key);

/* Do these fields of a request ask for a WebSocket, among other protocols; and does a 101 with these agree to
 * one? */
bool websocket_is_asked(const struct http_fields *fields);
bool websocket_is_agreed(const struct http_fields *fields);
/* Do the fields of a 101 agree to an extension? */
bool websocket_has_extensions(const struct http_fields *fields);
