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

static void write_hex(uint64_t bits, char out[16])
{
    for (unsigned i = 0; i < 16; i++)
        out[i] = "0123456789abcdef"[bits >> (60 - 4 * i) & 15];
}

void random_id(struct random *random, char out[RANDOM_ID_SIZE])
{
    random->state[1] += 0xd1342543de82ef95ULL;
    write_hex(random_next(random), out);
    write_hex(mix(random->state[1]), out + 16);
}
