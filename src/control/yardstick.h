/* yardstick: what a new pool is measured by: the record of the one before it, and how far the new one may
 * fall behind. Pure. */
#pragma once

#include "control/answers.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* How much worse than the old pool a new one may be, as configured. */
struct yardstick_limits {
    double errors;  /* that much may the share of errors be above the old one's */
    double latency; /* that many times the old p99 may the new one be */
};

/* A stretch of the old pool's record. */
struct yardstick_slice {
    struct answers answers;
    double seconds;
};

/* The claim that is put to the test: of the new pool's requests at most the share `limit` is bad. */
struct yardstick_claim {
    double limit;
    double clump; /* slices of the new record that hang together in bursts, from 1 */
};

struct yardstick {
    struct yardstick_limits limits;
    struct answers old; /* the whole record; without requests there is nothing to measure by */
    struct yardstick_claim errors;
    struct yardstick_claim slow; /* "slower than slow_us" */
    unsigned slow_bucket;        /* those from this one on are slower */
    double p99_us, slow_us;      /* of the old record; the bound of what is slow */
};

/* Of the record of the old pool, oldest slice first. What that record does not tell well, since it is short
 * or its errors come in bursts, makes the limits wider: so a pool that is as good as the old one really is
 * keeps within them, but for a chance of one in 100,000 for each. */
void yardstick_make(struct yardstick *yardstick, const struct yardstick_limits *limits,
                    const struct yardstick_slice *slices, size_t count);

/* Requests of these answers that were slow. */
uint64_t yardstick_slow(const struct yardstick *yardstick, const struct answers *answers);

/* As JSON, to be kept for a process to come; a new reference. */
json_t *yardstick_pack(const struct yardstick *yardstick);
/* False: that is none, or one of a program with other buckets; the yardstick is as it was. */
bool yardstick_unpack(const json_t *packed, struct yardstick *yardstick);
