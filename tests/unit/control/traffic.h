/* Made-up traffic for tests of the statistics: what a pool of some kind answers, slice by slice. The same
 * seed makes the same traffic. */
#pragma once

#include "control/answers.h"

#include <stdbool.h>

struct traffic {
    double rate;          /* requests a second, on average */
    double errors;        /* share of them that fail in quiet times */
    double burst_every;   /* seconds between bursts, on average; 0: there are none */
    double burst_seconds; /* how long one lasts, on average */
    double burst_errors;  /* share of the requests that fail in it */
    double burst_slows;   /* durations in it, times this; 0: as ever */
    double surge_every;   /* seconds between surges, on average; 0: there are none */
    double surge;         /* requests that come at once in one, besides the others */
    double surge_errors;  /* share of them that fail */
    double median_ms;     /* of the durations, which are log-normal: */
    double spread;        /* standard deviation of their natural logarithm */
    double drift;         /* durations grow by this factor from the first second to the 300th, then no more */
    double swing;         /* the rate goes up and down by this part of it */
    double warms_up;      /* seconds from the begin in which durations are ten times as long */
};

struct source_shares {
    double times; /* the durations are so many times as long */
    double shares[COUNTERS_BUCKETS];
};

/* A pool that answers such traffic. */
struct source {
    struct traffic traffic;
    uint64_t random;
    double seconds; /* that have passed */
    bool bursts;    /* now */
    struct source_shares kept[2];
};

void source_begin(struct source *source, const struct traffic *traffic, uint64_t seed);
/* What comes in so many tenths of a second. */
void source_next(struct source *source, unsigned ticks, struct answers *answers);
