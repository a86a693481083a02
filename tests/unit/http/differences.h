/* differences: what ours accepts and llhttp, in its strict mode, does not read alike. All of them are listed,
 * with their reasons, in doc/internals/fuzzing.md; what is not there is a fault. */
#pragma once

#include "http/http.h"

/* Is there a tab in the value, or in the white space between it and its CRLF? */
static inline bool has_tab(struct str value)
{
    const char *end = value.p + value.n;
    if (value.n > 0 && memchr(value.p, '\t', value.n) != NULL)
        return true;
    while (*end == ' ')
        end++;
    return *end == '\t';
}

/* Of a head: an unknown minor version, or a tab as white space in a field that llhttp reads. `version`: where
 * "HTTP/1.x" begins. */
static inline bool is_beyond_oracle(const char *version, const struct http_fields *fields)
{
    const uint64_t read = HTTP_FIELD_BIT(HTTP_FIELD_CONNECTION) | HTTP_FIELD_BIT(HTTP_FIELD_CONTENT_LENGTH) |
                          HTTP_FIELD_BIT(HTTP_FIELD_TRANSFER_ENCODING);
    if (version[strlen("HTTP/1.")] > '1')
        return true;
    for (uint32_t i = 0; i < fields->count; i++) {
        if ((read & HTTP_FIELD_BIT(fields->at[i].id)) && has_tab(fields->at[i].value))
            return true;
    }
    return false;
}

/* Of a chunk's framing: white space, a quoted pair, or an extension behind one with a value. */
static inline bool framing_is_beyond_oracle(const char *at, const char *end)
{
    int semicolons = 0;
    for (; at < end; at++) {
        semicolons += *at == ';';
        if (*at == ' ' || *at == '\t' || *at == '\\' || semicolons > 1)
            return true;
    }
    return false;
}
