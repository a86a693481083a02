/* One word: two bits for the pulse, two for the uptests, one for being out, and above them the time. */
#include "control/standing.h"

#define PULSE_MASK 3U
#define UPTESTS_AT 2
#define UPTESTS_MASK 3U
#define OUT_AT 4
#define SINCE_AT 5

static uint64_t *cell_of(struct counters *counters, const struct instance *instance)
{
    return &counters_instance(counters, 0, instance->slot)->standing;
}

struct standing standing_of(struct counters *counters, const struct instance *instance)
{
    uint64_t cell = counters_read(cell_of(counters, instance));
    return (struct standing){
        .pulse = (enum pulse_state)(cell & PULSE_MASK),
        .uptests = (enum standing_uptests)(cell >> UPTESTS_AT & UPTESTS_MASK),
        .out = (cell >> OUT_AT & 1) != 0,
        .since_ms = cell >> SINCE_AT,
    };
}

void standing_keep(struct counters *counters, const struct instance *instance,
                   const struct standing *standing)
{
    uint64_t cell = standing->since_ms << SINCE_AT | (uint64_t)standing->out << OUT_AT |
                    (uint64_t)standing->uptests << UPTESTS_AT | (uint64_t)standing->pulse;
    __atomic_store_n(cell_of(counters, instance), cell, __ATOMIC_RELEASE);
}
