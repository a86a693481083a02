/* span: how far a run of bytes goes that a head may hold in some place, sixteen bytes at a time where there
 * are as many. Each gives what head_span gives for its class, to the byte.
 *
 * The vectors are those of GCC and clang: compilers make of them what the processor has (SSE2, NEON), so
 * there is nothing to choose at run time, and one path to test. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The first byte at or behind `at` that is no CLASS_TOKEN, or `end`. Fast over letters, digits and '-'. */
const char *span_token(const char *at, const char *end);
/* The same of CLASS_SMALL. */
const char *span_small(const char *at, const char *end);
/* The same of CLASS_VALUE. Fast over all but tabs. */
const char *span_value(const char *at, const char *end);
/* The same of CLASS_URI. */
const char *span_uri(const char *at, const char *end);

/* ---- sixteen bytes ---- */

#define SPAN_SIZE 16

typedef uint8_t span_bytes __attribute__((vector_size(16)));
typedef char span_chars __attribute__((vector_size(16)));

/* The first lane that is not 0, or 16. Lanes are 0 or 0xff. */
static inline unsigned span_first(span_bytes lanes)
{
#ifdef __SSE2__
    return (unsigned)__builtin_ctz(1U << 16 | (unsigned)__builtin_ia32_pmovmskb128((span_chars)lanes));
#else
    uint64_t half[2];
    memcpy(half, &lanes, sizeof half);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    half[0] = __builtin_bswap64(half[0]);
    half[1] = __builtin_bswap64(half[1]);
#endif
    if (half[0] != 0)
        return (unsigned)__builtin_ctzll(half[0]) / 8;
    return half[1] == 0 ? 16 : 8 + (unsigned)__builtin_ctzll(half[1]) / 8;
#endif
}

static inline span_bytes span_not_names(span_bytes bytes)
{
    span_bytes letters = ((bytes | 0x20) - 'a') < 26, digits = (bytes - '0') < 10;
    return ~(letters | digits | (span_bytes)(bytes == '-'));
}

static inline span_bytes span_not_values(span_bytes bytes)
{
    return (span_bytes)(bytes < ' ') | (span_bytes)(bytes == 0x7f);
}

static inline bool span_any(span_bytes lanes)
{
#ifdef __SSE2__
    return __builtin_ia32_pmovmskb128((span_chars)lanes) != 0;
#else
    uint64_t half[2];
    memcpy(half, &lanes, sizeof half);
    return (half[0] | half[1]) != 0;
#endif
}

/* The first byte at or behind `at` where `stops` has a lane; there is one more behind it. NULL: none is found
 * by whole vectors. */
static inline const char *span_by_vectors(const char *at, const char *end,
                                          span_bytes (*stops)(span_bytes bytes))
{
    for (; end - at > SPAN_SIZE; at += SPAN_SIZE) {
        span_bytes bytes;
        memcpy(&bytes, at, sizeof bytes);
        span_bytes lanes = stops(bytes);
        if (span_any(lanes))
            return at + span_first(lanes);
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
