/* head: what request and response heads share inside this room: byte classes, the cursor over a head's bytes,
 * field lines, and the readings of Content-Length, Transfer-Encoding and Connection. */
#pragma once

#include "http/http.h"

/* Classes of bytes, one bit each. */
enum {
    CLASS_TOKEN = 1, /* tchar, RFC 9110 section 5.6.2 */
    CLASS_VALUE = 2, /* field values: visible, space, tab, obs-text, RFC 9110 section 5.5 */
    CLASS_PATH = 4,  /* pchar and "/", RFC 3986 section 3.3; see head.c for what browsers add */
    CLASS_QUERY = 8, /* query, RFC 3986 section 3.4; see head.c */
    CLASS_HOST = 16, /* reg-name but escapes, RFC 3986 section 3.2.2 */
    CLASS_DIGIT = 32,
    CLASS_HEX = 64,
    CLASS_URI = 128,   /* visible ASCII: what may stand in any form of request target */
    CLASS_SMALL = 256, /* CLASS_TOKEN but capitals: names of HTTP/2, RFC 9113 section 8.2.1 */
};
extern const uint16_t head_classes[256];

static inline bool is_class(char byte, unsigned classes)
{
    return (head_classes[(uint8_t)byte] & classes) != 0;
}

static inline bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* The value of a hex digit. */
static inline unsigned head_hex(char digit)
{
    return digit <= '9' ? (unsigned)(digit - '0') : (unsigned)((digit | 0x20) - 'a') + 10;
}

/* Is the text one byte or more, all of the class? */
bool is_all_class(struct str text, unsigned classes);

/* A cursor over a head. Every reader moves `at` behind what it has read only when it is done. */
struct head {
    const char *at;
    const char *end;
    struct http_fault *fault;
};

/* The first byte at or behind `at` that is not of the class, or `end`. */
static inline const char *head_span(const char *at, const char *end, unsigned classes)
{
    while (at < end && is_class(*at, classes))
        at++;
    return at;
}

/* Sets the fault. Always HTTP_BAD. */
enum http_result head_refuse(struct http_fault *fault, uint16_t status, const char *reason);

/* As head_refuse with 400 for a byte that may not stand where it does; a bare LF is called so. */
enum http_result head_refuse_byte(struct head *head, const char *byte, const char *reason);

/* What stands where CRLF could: it is not there, or not whole. */
enum http_result head_no_line_end(struct head *head, const char *at, const char *reason);
/* Reads CRLF; another byte is refused with the reason, a bare CR or LF as that. */
static inline enum http_result head_line_end(struct head *head, const char *reason)
{
    if (head->end - head->at < 2 || head->at[0] != '\r' || head->at[1] != '\n')
        return head_no_line_end(head, head->at, reason);
    head->at += 2;
    return HTTP_DONE;
}

/* Reads "HTTP/1.x" and sets *minor: 0 for 1.0, 1 for every later one. */
enum http_result head_version(struct head *head, uint8_t *minor);

/* Reads field lines and the empty line behind them. With HTTP_MORE the cursor stands at the first line that
 * is not complete, and the fields are those before it. `max` is the most lines to take; more are 431
 * "too-many-fields". */
enum http_result head_fields(struct head *head, struct http_fields *fields, uint32_t max);

/* Looks for the first line that is empty, or ends with a bare LF, among `count` bytes of which `seen` have
 * been looked at before. Returns the bytes up to its end, LF included, or 0: nothing new can be told yet. */
size_t head_end(const char *bytes, size_t count, size_t seen);

/* Is it worth to read the head from its start again, after a reading of the first `seen` bytes (at least one)
 * came to HTTP_MORE? True when the first line has ended since, or head_end finds its line. Each byte of a
 * head that trickles in is so looked at a few times, not once for every byte behind it. */
bool head_may_tell(const char *bytes, size_t count, size_t seen);

/* What the fields say of the body. */
struct head_framing {
    bool has_length;
    bool chunked;
    uint64_t length; /* bytes, at most INT64_MAX */
};
enum http_result head_read_framing(const struct http_fields *fields, uint8_t minor,
                                   struct head_framing *framing, struct http_fault *fault);
static inline enum http_result head_framing(const struct http_fields *fields, uint8_t minor,
                                            struct head_framing *framing, struct http_fault *fault)
{
    const uint64_t either =
        HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_LENGTH) | HTTP_FIELD_BIT(HTTP_FIELD_TRANSFER_ENCODING);
    *framing = (struct head_framing){.has_length = false};
    return fields->present & either ? head_read_framing(fields, minor, framing, fault) : HTTP_DONE;
}

/* The Connection options that upswap knows. */
struct head_connection {
    bool close;
    bool keep_alive;
    bool upgrade;
};

/* Reads Connection and marks the fields that it lists, save those that are for all recipients (field.h). */
enum http_result head_read_connection(struct http_fields *fields, struct head_connection *connection,
                                      struct http_fault *fault);
static inline enum http_result head_connection(struct http_fields *fields, struct head_connection *connection,
                                               struct http_fault *fault)
{
    *connection = (struct head_connection){.close = false};
    return fields->present & HTTP_FIELD_BIT(HTTP_FIELD_CONNECTION)
               ? head_read_connection(fields, connection, fault)
               : HTTP_DONE;
}

/* May the connection be used again, as these options say (RFC 9112 section 9.3)? */
bool head_keeps_alive(const struct head_connection *connection, uint8_t minor);

/* Takes the next element of a comma-separated list off *rest, without white space around it; it may be empty.
 * False when there are no more. Quotes are not looked at: for lists of tokens only. */
bool head_element(struct str *rest, struct str *element);

/* Is the token an element of the comma-separated value, in any case? */
bool head_lists(struct str value, struct str token);
/* The same of all fields of this id together. */
static inline bool head_any_lists(const struct http_fields *fields, enum http_field_id id, struct str token)
{
    const struct http_field *field = http_fields_find(fields, id);
    while (field != NULL && !head_lists(field->value, token))
        field = http_fields_next(fields, field);
    return field != NULL;
}
