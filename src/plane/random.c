/* Two counters that step by odd constants, each mixed on its way out. Invariant: the pair does not repeat
 * within 2^64 steps, so no worker gives a request id twice. */
#include "plane/random.h"

#include "base/clock.h"

#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ULL;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ULL;
    return x ^ (x >> 32);
}

void random_seed(struct random *random)
{
    if (getrandom(random->state, sizeof random->state, 0) == (ssize_t)sizeof random->state)
        return;
    random->state[0] = mix(clock_mono_ns()) ^ (uintptr_t)random;
    random->state[1] = mix(clock_wall_ns() + (uint64_t)getpid());
}

uint64_t random_next(struct random *random)
{
    random->state[0] += 0x9e3779b97f4a7c15ULL;
    return mix(random->state[0]);
}

uint32_t random_below(struct random *random, uint32_t below)
{
    return (uint32_t)(((random_next(random) >> 32) * below) >> 32);
}

/* Eight digits, the first one in the lowest byte; all are made at once, a byte each. */
static uint64_t hex_of(uint32_t bits)
{
    const uint64_t ones = 0x0101010101010101;
    uint64_t x = __builtin_bswap32(bits);
    x = (x | x << 16) & 0x0000ffff0000ffff;
    x = (x | x << 8) & 0x00ff00ff00ff00ff;
    x = (x >> 4 | x << 8) & 0x0f0f0f0f0f0f0f0f;
    uint64_t is_letter = (x + 6 * ones) >> 4 & ones;
    return x + '0' * ones + is_letter * ('a' - '9' - 1);
}

static void write_hex(uint64_t bits, char out[16])
{
    for (unsigned half = 0; half < 2; half++) {
        uint64_t digits = hex_of((uint32_t)(bits >> (half == 0 ? 32 : 0)));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        digits = __builtin_bswap64(digits);
#endif
        memcpy(out + 8 * half, &digits, sizeof digits);
    }
}

void random_id(struct random *random, char out[RANDOM_ID_SIZE])
{
    random->state[1] += 0xd1342543de82ef95ULL;
    write_hex(random_next(random), out);
    write_hex(mix(random->state[1]), out + 16);
}

void random_half_id(struct random *random, char out[RANDOM_ID_SIZE / 2])
{
    write_hex(random_next(random) | 1, out);
}
