/* response: an upstream's response head, as strict as a request's (RFC 9112 sections 4, 5, 6). */
#pragma once

#include "http/http.h"

struct http_response {
    uint16_t status; /* 100 to 599 */
    uint8_t minor;   /* HTTP/1.minor: 0 or 1 */
    struct str phrase;
    enum http_framing framing;
    uint64_t content_length; /* bytes, with HTTP_BODY_LENGTH; for HEAD and 304 what the field says, else 0 */
    bool has_content_length; /* the field is there (a HEAD answer has it with HTTP_BODY_NONE) */
    bool keep_alive;         /* may the upstream connection be used again after this response */
    bool upgrade;            /* 101 */
    uint32_t length;         /* bytes of the head, the empty line included */
    struct http_fields fields;
};

/* As http_request_parse. The method of the request decides on the body (HEAD has none). 1xx, 204 and 304 have
 * none; a 1xx or 204 with Transfer-Encoding or a non-zero Content-Length is refused. fault->status is always
 * 502. */
enum http_result http_response_parse(struct http_response *response, enum http_method method,
                                     const char *bytes, size_t count, size_t *seen,
                                     const struct http_limits *limits, struct http_fault *fault);
