/* http: words that requests and responses share: methods, limits, faults, fields, body framing.
 *
 * This room takes bytes and gives events. It knows no descriptor, no loop and no time of day, allocates
 * nothing, and refuses every ambiguity (RFC 9112): what it accepts has one reading only. */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_method {
    HTTP_OTHER, /* a valid token that is none of these; the text tells */
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_TRACE,
    HTTP_CONNECT,
    HTTP_PATCH,
};

/* The method of that name (case matters, RFC 9110 section 9.1), or HTTP_OTHER. */
enum http_method http_method_of(struct str text);

/* GET, HEAD, OPTIONS, TRACE, PUT and DELETE (RFC 9110 section 9.2.2): may be sent again. */
static inline bool http_method_is_idempotent(enum http_method method)
{
    const unsigned idempotent = 1U << HTTP_GET | 1U << HTTP_HEAD | 1U << HTTP_OPTIONS | 1U << HTTP_TRACE |
                                1U << HTTP_PUT | 1U << HTTP_DELETE;
    return (idempotent >> method) & 1;
}

/* How a message's body ends (RFC 9112 section 6.3). */
enum http_framing {
    HTTP_BODY_NONE,    /* there is none */
    HTTP_BODY_LENGTH,  /* content_length bytes */
    HTTP_BODY_CHUNKED, /* chunks, then trailers */
    HTTP_BODY_CLOSE,   /* until the connection closes; responses only */
};

struct http_limits {
    uint32_t head;   /* bytes of a head, its start line and the empty line included */
    uint32_t fields; /* field lines in a head or a trailer section */
};

/* At most this many field lines, whatever the limits say: heads are parsed into fixed room. */
#define HTTP_FIELDS_MAX 256

/* Why a message is refused: the status to answer a client with (an upstream's fault is always a 502) and a
 * fixed word for X-Upswap and the access log. Both are static. The full list of words is in doc/x-upswap.md.
 */
struct http_fault {
    uint16_t status;    /* 400, 414, 431, 501 or 505 */
    const char *reason; /* such as "bad-field-name" */
};

enum http_result {
    HTTP_MORE, /* not all there yet */
    HTTP_DONE, /* complete and valid */
    HTTP_BAD,  /* refused: the fault is set, nothing else may be used */
};

/* Fields that some rule looks at; everything else is HTTP_FIELD_OTHER. */
enum http_field_id {
    HTTP_FIELD_OTHER,
    HTTP_FIELD_ACCEPT,
    HTTP_FIELD_CLIENT_CERT,
    HTTP_FIELD_CLIENT_CERT_CHAIN,
    HTTP_FIELD_CONNECTION,
    HTTP_FIELD_CONTENT_LENGTH,
    HTTP_FIELD_CONTENT_TYPE,
    HTTP_FIELD_COOKIE,
    HTTP_FIELD_DATE,
    HTTP_FIELD_EXPECT,
    HTTP_FIELD_FORWARDED,
    HTTP_FIELD_HOST,
    HTTP_FIELD_HTTP2_SETTINGS,
    HTTP_FIELD_KEEP_ALIVE,
    HTTP_FIELD_PROXY_AUTHENTICATE,
    HTTP_FIELD_PROXY_AUTHENTICATION_INFO,
    HTTP_FIELD_PROXY_AUTHORIZATION,
    HTTP_FIELD_PROXY_CONNECTION,
    HTTP_FIELD_REFERER,
    HTTP_FIELD_TE,
    HTTP_FIELD_TRACEPARENT,
    HTTP_FIELD_TRACESTATE,
    HTTP_FIELD_TRAILER,
    HTTP_FIELD_TRANSFER_ENCODING,
    HTTP_FIELD_UPGRADE,
    HTTP_FIELD_USER_AGENT,
    HTTP_FIELD_VIA,
    HTTP_FIELD_X_CLIENT_FINGERPRINT,
    HTTP_FIELD_X_CLIENT_SUBJECT,
    HTTP_FIELD_X_CLIENT_VERIFY,
    HTTP_FIELD_X_FORWARDED_FOR,
    HTTP_FIELD_X_FORWARDED_HOST,
    HTTP_FIELD_X_FORWARDED_PORT,
    HTTP_FIELD_X_FORWARDED_PROTO,
    HTTP_FIELD_X_REQUEST_ID,
    HTTP_FIELD_X_UPSWAP,
    HTTP_FIELD_X_UPSWAP_SHADOW,
    HTTP_FIELD_COUNT
};

/* One field line; points into the bytes that were parsed. The value is without white space around it. */
struct http_field {
    struct str name;
    struct str value;
    enum http_field_id id;
    /* Must not be passed on: a Connection option names it (RFC 9110 section 7.6.1) and it is not for all
     * recipients, or it stands in a trailer section and may not. */
    bool listed;
    bool usual; /* it is known to stand there as "name: value CRLF", its name of letters, digits and '-' */
};

/* A field id as a bit of a set. */
#define HTTP_FIELD_BIT(id) (UINT64_C(1) << (id))
_Static_assert(HTTP_FIELD_COUNT <= 64, "a set of field ids is a uint64_t");

struct http_fields {
    uint32_t count;
    uint64_t present;                 /* the set of ids among them */
    uint64_t repeated;                /* the set of ids that stand there more than once */
    uint16_t first[HTTP_FIELD_COUNT]; /* where the first of each id is that is present; else undefined */
    struct http_field at[HTTP_FIELDS_MAX];
};

/* The first field with this id, or NULL. */
static inline const struct http_field *http_fields_find(const struct http_fields *fields,
                                                        enum http_field_id id)
{
    return fields->present & HTTP_FIELD_BIT(id) ? &fields->at[fields->first[id]] : NULL;
}
/* The next field with the id of this one, or NULL. */
const struct http_field *http_fields_next(const struct http_fields *fields, const struct http_field *field);
/* The first field with this name (any case), or NULL. */
const struct http_field *http_fields_named(const struct http_fields *fields, struct str name);
/* The value of the first of this id; empty: there is none. */
static inline struct str http_fields_value(const struct http_fields *fields, enum http_field_id id)
{
    const struct http_field *field = http_fields_find(fields, id);
    return field == NULL ? (struct str){NULL, 0} : field->value;
}

/* The reason phrase of a status code that this program sends itself, or "". */
const char *http_status_phrase(unsigned status);
