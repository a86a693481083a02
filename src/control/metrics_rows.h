/* metrics_rows: the metrics, one row of a table each, and what their lines are written from. */
#pragma once

#include "base/buf.h"
#include "control/conductor.h"
#include "control/tallies.h"

/* Bounds of durations that are told: every fourth of the fine buckets, an octave apart: from 0.5 ms to 34 s.
 */
#define METRICS_LE_FIRST 8
#define METRICS_LE_STEP 4
#define METRICS_LE_COUNT 17

struct counted_code {
    unsigned code;
    uint64_t count;
};

/* A pool that may have something in flight, or is gone and was counted at its end; over all workers. */
struct counted_pool {
    const char *service, *name;
    bool was_live; /* when the writing began */
    bool is_gone;
    uint64_t in_flight, queued, requests; /* `requests`: of those in flight, those that do not last */
    uint64_t lasting[COUNTERS_LASTING];
    uint64_t retries, retries_denied, forged;
    uint64_t errors[COUNTERS_ERRORS];
    uint64_t durations[METRICS_LE_COUNT]; /* up to each bound */
    uint64_t duration_count, duration_us; /* of all */
    size_t codes, code_count;             /* where they are in the page's codes */
};

/* Where lines are written. */
struct metrics_page {
    struct conductor *conductor;
    const char *name;              /* of the metric that is being written */
    struct buf labels;             /* service="...",pool="..." of the pool that is */
    struct counted_code *codes;    /* of all pools, those that are not 0 */
    char le[METRICS_LE_COUNT][16]; /* the bounds, in seconds */
    struct buf *out;
};

/* One metric. Of the functions in the middle it has one at most; it is called for each item of that kind. */
struct metrics_row {
    const char *name, *type, *help;
    void (*pool)(struct metrics_page *page, const struct counted_pool *pool);
    /* Of live pools only: an address may also be in a pool that drains, and a series must be there once. */
    void (*instance)(struct metrics_page *page, const struct pool *pool, const struct instance *instance);
    void (*service)(struct metrics_page *page, const struct service *service);
    void (*tally)(struct metrics_page *page, const struct tally *tally); /* of `family` */
    enum tally_family family;
    void (*rest)(struct metrics_page *page); /* what belongs to none; once, behind all others */
};

extern const struct metrics_row metrics_rows[];
extern const size_t metrics_row_count;
