/* sixteen: as many bytes at once. The vectors are those of GCC and clang: compilers make of them what the
 * processor has (SSE2, NEON), so there is nothing to choose at run time, and one path to test.
 *
 * What compares two of them gives lanes: a byte of 0xff for each that is so, of 0 for each that is not. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SIXTEEN 16

typedef uint8_t sixteen __attribute__((vector_size(SIXTEEN)));

static inline sixteen sixteen_at(const char *at)
{
    sixteen bytes;
    memcpy(&bytes, at, sizeof bytes);
    return bytes;
}

#ifdef __SSE2__

/* A bit for each lane. */
static inline unsigned sixteen_mask(sixteen lanes)
{
    typedef char chars __attribute__((vector_size(SIXTEEN)));
    return (unsigned)__builtin_ia32_pmovmskb128((chars)lanes);
}

static inline bool sixteen_any(sixteen lanes)
{
    return sixteen_mask(lanes) != 0;
}

/* The first lane that is not 0, or SIXTEEN. */
static inline unsigned sixteen_first(sixteen lanes)
{
    return (unsigned)__builtin_ctz(1U << SIXTEEN | sixteen_mask(lanes));
}

#else

static inline bool sixteen_any(sixteen lanes)
{
    uint64_t half[2];
    memcpy(half, &lanes, sizeof half);
    return (half[0] | half[1]) != 0;
}

static inline unsigned sixteen_first(sixteen lanes)
{
    uint64_t half[2];
    memcpy(half, &lanes, sizeof half);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    half[0] = __builtin_bswap64(half[0]);
    half[1] = __builtin_bswap64(half[1]);
#endif
    if (half[0] != 0)
        return (unsigned)__builtin_ctzll(half[0]) / 8;
    return half[1] == 0 ? SIXTEEN : 8 + (unsigned)__builtin_ctzll(half[1]) / 8;
}

#endif
