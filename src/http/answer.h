/* answer: the responses that upswap gives by itself, as one block of bytes. */
#pragma once

#include "http/http.h"

/* What an own answer depends on. */
struct http_answer {
    unsigned status;       /* 400 and up */
    const char *reason;    /* the word for X-Upswap, from doc/x-upswap.md */
    uint8_t client_minor;  /* HTTP/1.minor of the request; 1 where none was understood */
    bool head;             /* the request was HEAD: no body is written, its length is */
    bool json;             /* the body as JSON, else HTML */
    bool keep_alive;       /* else Connection: close */
    unsigned retry_after;  /* seconds; 0: no Retry-After */
    struct str date;       /* an HTTP date */
    struct str request_id; /* X-Request-Id; may be empty */
};

#define HTTP_ANSWER_MAX 2048 /* bytes: every answer fits */

/* Writes the whole response into out. Returns its length in bytes. */
size_t http_answer_write(const struct http_answer *answer, char out[HTTP_ANSWER_MAX]);

/* Does an Accept field prefer JSON to HTML (RFC 9110 section 12.5.1)? Where the weights are equal, the one
 * that is named more exactly is preferred. Absent or equal: no. */
bool http_accept_prefers_json(struct str accept);

#define HTTP_DATE_SIZE sizeof "Sun, 06 Nov 1994 08:49:37 GMT"

/* Writes seconds since 1970 as an HTTP date, NUL-terminated. */
void http_date_write(uint64_t seconds, char out[HTTP_DATE_SIZE]);

/* "HTTP/1.1 100 Continue" with its empty line. */
extern const struct str http_continue;
