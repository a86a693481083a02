/* vitals: which instances one worker's own traffic has found to fail, and so leaves alone for a while.
 *
 * A run of failures ejects an instance for a pause; after it one request goes there alone, and decides. All
 * state is one worker's own and keyed by counters slots. Time comes in as an argument. */
#pragma once

#include "link/counters.h"
#include "plane/random.h"
#include "route/snapshot.h"

enum vital_state {
    VITAL_WELL,
    VITAL_EJECTED, /* until `until_ms`; then the next request tries it */
    VITAL_TRIED    /* that request is under way */
};

struct vital {
    uint64_t id;        /* whose it is; slots are used again */
    uint64_t until_ms;  /* when the last ejection ended, or will */
    uint64_t pause_ms;  /* how long it was */
    uint64_t since_ms;  /* when it came back from the last one; 0: it never has */
    uint32_t failures;  /* in a row */
    uint32_t ejections; /* in a row: each came sooner than the one before had lasted */
    uint8_t state;      /* enum vital_state */
};

struct vitals {
    struct vital *list; /* by instance slot */
    struct random *random;
    struct counters *counters; /* where ejections are shown; NULL: nowhere */
    unsigned worker;
    uint64_t since_ms; /* the latest of theirs */
};

void vitals_init(struct vitals *vitals, unsigned worker, struct random *random);
void vitals_free(struct vitals *vitals);

/* Is it well, or is it time to try it? */
bool vitals_may_serve(const struct vitals *vitals, const struct snapshot_instance *instance, uint64_t now_ms);
/* When it came back last; 0: it was never out. */
uint64_t vitals_since_ms(const struct vitals *vitals, const struct snapshot_instance *instance);
/* A request goes to it, whatever its state; it ends with one of the next three. */
void vitals_chosen(struct vitals *vitals, const struct snapshot_instance *instance, uint64_t now_ms);
void vitals_passed(struct vitals *vitals, const struct snapshot_instance *instance, uint64_t now_ms);
/* Ejects it if the rules say so, and no more of the pool's instances in rotation than they allow. */
void vitals_failed(struct vitals *vitals, const struct snapshot_rules *rules, const struct snapshot *snapshot,
                   const struct snapshot_pool *pool, const struct snapshot_instance *instance,
                   uint64_t now_ms);
/* Nothing can be said. */
void vitals_undecided(struct vitals *vitals, const struct snapshot_instance *instance);
