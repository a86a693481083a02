/* answers: what a pool has answered in some stretch of time, in numbers: how many requests, how many of them
 * badly, how long they took. Pure. */
#pragma once

#include "link/counters.h"

#include <stdint.h>

struct answers {
    uint64_t requests;                  /* ended */
    uint64_t errors;                    /* those among them that went wrong */
    uint64_t buckets[COUNTERS_BUCKETS]; /* by duration, as counters.h has it */
};

/* All that a pool's counters tell since the slot was cleared. Wrong is an answer of 5xx, and an exchange with
 * the instance that failed, also when another instance has answered after all. */
void answers_read(struct answers *answers, const struct counters_pool *sum);

/* What came between two readings. A cell that runs backwards (the slot was cleared) counts as nothing. */
void answers_between(struct answers *answers, const struct answers *before, const struct answers *after);

void answers_add(struct answers *sum, const struct answers *more);

/* Requests whose duration was in this bucket or a later one. */
uint64_t answers_from_bucket(const struct answers *answers, unsigned bucket);

/* The duration that all but this share of the requests stay below, in us: interpolated inside the bucket, so
 * it is never above the bucket's bound. 0: there are no requests. */
double answers_quantile_us(const struct answers *answers, double above);
