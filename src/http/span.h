/* span: how far a run of bytes goes that a head may hold in some place, sixteen bytes at a time where there
 * are as many (base/sixteen.h). Each gives what head_span gives for its class, to the byte. */
#pragma once

#include "base/sixteen.h"

/* The first byte at or behind `at` that is no CLASS_TOKEN, or `end`. Fast over letters, digits and '-'. */
const char *span_token(const char *at, const char *end);
/* The same of CLASS_SMALL. */
const char *span_small(const char *at, const char *end);
/* The same of CLASS_VALUE. Fast over all but tabs. */
const char *span_value(const char *at, const char *end);
/* The same of CLASS_URI. */
const char *span_uri(const char *at, const char *end);

/* ---- sixteen bytes ---- */

static inline sixteen span_not_names(sixteen bytes)
{
    sixteen letters = ((bytes | 0x20) - 'a') < 26, digits = (bytes - '0') < 10;
    return ~(letters | digits | (sixteen)(bytes == '-'));
}

static inline sixteen span_not_values(sixteen bytes)
{
    return (sixteen)(bytes < ' ') | (sixteen)(bytes == 0x7f);
}

/* The first byte at or behind `at` where `stops` has a lane; there is one more behind it. NULL: none is found
 * by whole vectors. */
static inline const char *span_by_vectors(const char *at, const char *end, sixteen (*stops)(sixteen bytes))
{
    for (; end - at > SIXTEEN; at += SIXTEEN) {
        sixteen lanes = stops(sixteen_at(at));
        if (sixteen_any(lanes))
            return at + sixteen_first(lanes);
    }
    return NULL;
}

/* The first byte that is no letter, digit or '-', so found. */
static inline const char *span_name(const char *at, const char *end)
{
    return span_by_vectors(at, end, span_not_names);
}

/* The first that may not stand in a value, or is a tab. */
static inline const char *span_plain_value(const char *at, const char *end)
{
    return span_by_vectors(at, end, span_not_values);
}
