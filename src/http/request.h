/* request: a client's request head, from bytes to one complete, valid struct (RFC 9112 sections 2, 3, 5, 6,
 * 7). */
#pragma once

#include "http/http.h"

enum http_target_form {
    HTTP_TARGET_ORIGIN,    /* /path?query */
    HTTP_TARGET_ABSOLUTE,  /* http://host/path?query */
    HTTP_TARGET_ASTERISK,  /* *, with OPTIONS only */
    HTTP_TARGET_AUTHORITY, /* host:port, with CONNECT only: refused with 501, reason "connect" */
};

/* Every str points into the parsed bytes and lives as long as they do. */
struct http_request {
    enum http_method method;
    enum http_target_form form;
    uint8_t minor; /* HTTP/1.minor: 0 or 1 */
    struct str method_text;
    struct str target; /* as it came */
    /* Begins with '/'. "*" for OPTIONS * and for OPTIONS on an absolute form without path and query (RFC 9112
     * section 3.2.4); "/" for another absolute form without a path. */
    struct str path;
    struct str query; /* with its '?'; empty where there is none */
    struct str
        authority; /* host and port as it came: of the absolute form, else of Host; empty: HTTP/1.0 without */
    struct str host; /* the authority without its port; IPv6 keeps its brackets */
    uint16_t port;   /* of the authority; 0: not given */
    enum http_framing framing;
    uint64_t content_length; /* bytes, with HTTP_BODY_LENGTH */
    bool keep_alive;         /* may the connection serve another request, as far as the client goes */
    bool expect_continue;    /* Expect: 100-continue, from HTTP/1.1 */
    bool expect_void;        /* the same from HTTP/1.0, where it says nothing: RFC 9110 section 10.1.1 */
    /* Upgrade is there and listed in Connection, from HTTP/1.1, without a body, and is not h2c. */
    bool upgrade;
    bool te_trailers; /* TE lists "trailers" */
    uint32_t length;  /* bytes of the head, the empty line included */
    struct http_fields fields;
};

/* Do the dot segments of the path lead above its beginning, in any reading that apps are known to give it
 * (RFC 3986 section 5.2.4)? Dots and slashes may be escaped, a backslash may be a slash, parameters behind a
 * ';' may be cut off, and slashes in a row may be one. */
bool http_path_climbs(struct str path);

/* Do these bytes hold a whole head, right or wrong? Looks at all of them. */
bool http_request_has_come(const char *bytes, size_t count);

/* Looks for a whole head in `count` bytes at `bytes` (which may hold more). Before the first call for a head
 * *seen must be 0; it remembers how far earlier calls have looked, so that bytes that trickle in are looked
 * at once. Up to two empty lines (CRLF) before the start line are skipped and counted into length. HTTP_DONE:
 * request is filled. HTTP_BAD: fault is set, at the earliest byte at which it is certain (so a bare LF or a
 * wrong method is refused before the head is complete where that costs nothing). More than limits->head bytes
 * without an end: 431 "head-too-large" (414 "target-too-long" while still in the start line).
 * Refused with 400: bad tokens, targets, versions' syntax, missing, repeated or bad Host (HTTP/1.1),
 * obs-fold, space before a colon, bare CR or LF, NUL and other control bytes, differing, repeated or bad
 * Content-Length, Content-Length with Transfer-Encoding, Transfer-Encoding in HTTP/1.0, a coding that is not
 * exactly one final "chunked". 501: a transfer coding before chunked, CONNECT. 505: HTTP versions other
 * than 1.x. 417 is not used: an unknown Expect is passed on. */
enum http_result http_request_parse(struct http_request *request, const char *bytes, size_t count,
                                    size_t *seen, const struct http_limits *limits, struct http_fault *fault);
