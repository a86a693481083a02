/* Two counters that step by odd constants, each mixed on its way out. Invariant: the pair does not repeat
 * within 2^64 steps, so no worker gives a request id twice. */
#include "plane/random.h"

#include "base/clock.h"
#include "base/sixteen.h"

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

static sixteen digits_of(sixteen nibbles)
{
    sixteen letters = (sixteen)(nibbles > 9);
    return nibbles + '0' + (letters & ('a' - '9' - 1));
}

/* 32 digits, all made at once. */
static void write_hex(uint64_t first, uint64_t second, char out[RANDOM_ID_SIZE])
{
#if __BYTE_ORDER__ != __ORDER_BIG_ENDIAN__
    first = __builtin_bswap64(first);
    second = __builtin_bswap64(second);
#endif
    uint64_t both[] = {first, second};
    sixteen bytes;
    memcpy(&bytes, both, sizeof bytes);
    sixteen high = digits_of(bytes >> 4), low = digits_of(bytes & 15);
    sixteen left = __builtin_shufflevector(high, low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    sixteen right =
        __builtin_shufflevector(high, low, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    memcpy(out, &left, sizeof left);
    memcpy(out + sizeof left, &right, sizeof right);
}

void random_id(struct random *random, char out[RANDOM_ID_SIZE])
{
    random->state[1] += 0xd1342543de82ef95ULL;
    uint64_t first = random_next(random);
    write_hex(first, mix(random->state[1]), out);
}

void random_half_id(struct random *random, char out[RANDOM_ID_SIZE / 2])
{
    char digits[RANDOM_ID_SIZE];
    write_hex(random_next(random) | 1, 0, digits);
    memcpy(out, digits, sizeof digits / 2);
}
