/* Invariant: a vector's test only ever stops too early; what it has stopped at is judged by the class. */
#include "http/span.h"

#include "http/head.h"

typedef uint8_t sixteen __attribute__((vector_size(16)));
typedef char char_16 __attribute__((vector_size(16)));

/* The first lane that is not 0, or 16. Lanes are 0 or 0xff. */
static inline unsigned first_lane(sixteen lanes)
{
#ifdef __SSE2__
    return (unsigned)__builtin_ctz(1U << 16 | (unsigned)__builtin_ia32_pmovmskb128((char_16)lanes));
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

static inline sixteen not_in_names(sixteen bytes)
{
    sixteen letters = ((bytes | 0x20) - 'a') < 26, digits = (bytes - '0') < 10;
    return ~(letters | digits | (sixteen)(bytes == '-'));
}

static inline sixteen not_in_small_names(sixteen bytes)
{
    sixteen letters = (bytes - 'a') < 26, digits = (bytes - '0') < 10;
    return ~(letters | digits | (sixteen)(bytes == '-'));
}

static inline sixteen not_in_values(sixteen bytes)
{
    return (sixteen)(bytes < ' ') | (sixteen)(bytes == 0x7f);
}

static inline sixteen not_in_targets(sixteen bytes)
{
    return (sixteen)((bytes - '!') > '~' - '!');
}

/* One function a class, once `stops` is in its place. `usual` is not of the class, and most often what comes
 * behind it: for that the table of classes, which may be far, need not be looked at. */
static inline const char *span(const char *at, const char *end, sixteen (*stops)(sixteen bytes),
                               unsigned class, char usual)
{
    while (end - at >= 16) {
        sixteen bytes;
        memcpy(&bytes, at, sizeof bytes);
        unsigned n = first_lane(stops(bytes));
        at += n;
        if (n == 16)
            continue;
        if (*at == usual || !is_class(*at, class))
            return at;
        at++;
    }
    return head_span(at, end, class);
}

const char *span_token(const char *at, const char *end)
{
    return span(at, end, not_in_names, CLASS_TOKEN, ':');
}

const char *span_small(const char *at, const char *end)
{
    return span(at, end, not_in_small_names, CLASS_SMALL, ':');
}

const char *span_value(const char *at, const char *end)
{
    return span(at, end, not_in_values, CLASS_VALUE, '\r');
}

const char *span_uri(const char *at, const char *end)
{
    return span(at, end, not_in_targets, CLASS_URI, ' ');
}
