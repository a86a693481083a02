/* 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01: version, trace, span of the parent, flags. */
#include "http/trace.h"

#include <string.h>

enum {
    TRACE_AT = 3,
    SPAN_AT = TRACE_AT + HTTP_TRACE_ID_SIZE + 1,
    FLAGS_AT = SPAN_AT + HTTP_SPAN_ID_SIZE + 1
};

static bool is_hex(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
    }
    return true;
}

/* An id of zeros is none. */
static bool is_id(struct str text)
{
    static const char zeros[] = "00000000000000000000000000000000";
    return is_hex(text) && memcmp(text.p, zeros, text.n) != 0;
}

static struct str part(struct str text, size_t at, size_t n)
{
    return (struct str){text.p + at, n};
}

static bool is_valid(struct str parent)
{
    if (parent.n < HTTP_TRACEPARENT_SIZE || parent.p[TRACE_AT - 1] != '-' || parent.p[SPAN_AT - 1] != '-' ||
        parent.p[FLAGS_AT - 1] != '-')
        return false;
    struct str version = part(parent, 0, 2);
    if (parent.n > HTTP_TRACEPARENT_SIZE &&
        (str_equal(version, STR("00")) || parent.p[HTTP_TRACEPARENT_SIZE] != '-'))
        return false;
    return is_hex(version) && !str_equal(version, STR("ff")) &&
           is_id(part(parent, TRACE_AT, HTTP_TRACE_ID_SIZE)) &&
           is_id(part(parent, SPAN_AT, HTTP_SPAN_ID_SIZE)) && is_hex(part(parent, FLAGS_AT, 2));
}

struct str http_trace_id(const struct http_fields *fields)
{
    const uint64_t bit = HTTP_FIELD_BIT(HTTP_FIELD_TRACEPARENT);
    if (!(fields->present & bit) || (fields->repeated & bit))
        return STR("");
    struct str parent = http_fields_find(fields, HTTP_FIELD_TRACEPARENT)->value;
    return is_valid(parent) ? part(parent, TRACE_AT, HTTP_TRACE_ID_SIZE) : STR("");
}

struct str http_trace_begin(const char *trace, const char *span, char out[HTTP_TRACEPARENT_SIZE])
{
    memcpy(out, "00-", 3);
    memcpy(out + TRACE_AT, trace, HTTP_TRACE_ID_SIZE);
    out[SPAN_AT - 1] = '-';
    memcpy(out + SPAN_AT, span, HTTP_SPAN_ID_SIZE);
    memcpy(out + FLAGS_AT - 1, "-01", 3);
    return (struct str){out, HTTP_TRACEPARENT_SIZE};
}
