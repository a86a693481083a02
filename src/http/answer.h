/* answer: the responses that upswap gives by itself, as one block of bytes. */
#pragma once

#include "http/rules.h"

/* Where a redirect leads to. What came from the client is as its request was parsed. */
struct http_location {
    bool https;
    struct str host; /* IPv6 in brackets */
    struct str port; /* empty: none is written */
    struct str path, query;
};

/* What an own answer depends on. */
struct http_answer {
    unsigned status;       /* 400 and up, or 308 with a location */
    const char *reason;    /* the word for X-Upswap, from doc/x-upswap.md */
    struct str detail;     /* a sentence in place of the word's own, at most HTTP_DETAIL_MAX bytes
                              of UTF-8, escaped here; empty: none */
    uint8_t client_minor;  /* HTTP/1.minor of the request; 1 where none was understood */
    bool head;             /* the request was HEAD: no body is written, its length is */
    bool json;             /* the body as JSON, else HTML */
    bool grpc;             /* an answer to gRPC: the status and the sentence as its own, and no body */
    bool keep_alive;       /* else Connection: close */
    unsigned retry_after;  /* seconds; 0: no Retry-After */
    struct str date;       /* an HTTP date */
    struct str request_id; /* X-Request-Id; may be empty */
    const struct http_location *location; /* NULL: none */
    uint32_t hsts_s;                      /* Strict-Transport-Security's max-age; 0: none */
    /* The body in place of the built-in one, of the type that `json` says; empty: none. In it %{status},
     * %{phrase}, %{reason}, %{detail} and %{request_id} are replaced. */
    struct str page;
    struct str rules; /* for the head, as of rules.h; empty: none */
    const struct http_variable *variables;
};

#define HTTP_DETAIL_MAX 300
/* Bytes that one of the variables in a page can take. */
#define HTTP_DETAIL_ROOM (5 * HTTP_DETAIL_MAX)
#define HTTP_ANSWER_MAX 4096 /* bytes: every answer without a location, a page and rules fits */

/* Writes the whole response into `room` bytes at out. Returns its length in bytes, or 0 if it does not fit.
 */
size_t http_answer_write(const struct http_answer *answer, char *out, size_t room);

/* Does an Accept field prefer JSON to HTML (RFC 9110 section 12.5.1)? Where the weights are equal, the one
 * that is named more exactly is preferred. Absent or equal: no. */
bool http_accept_prefers_json(struct str accept);
/* The same of a head that is refused, or not whole: by the first of its lines that begins as an Accept field.
 */
bool http_head_prefers_json(struct str head);
/* Is such a head that of a call of gRPC, by the first line that begins as a Content-Type? */
bool http_head_is_grpc(struct str head);

#define HTTP_DATE_SIZE sizeof "Sun, 06 Nov 1994 08:49:37 GMT"

/* Writes seconds since 1970 as an HTTP date, NUL-terminated. */
void http_date_write(uint64_t seconds, char out[HTTP_DATE_SIZE]);

/* "HTTP/1.1 100 Continue" with its empty line. */
extern const struct str http_continue;
