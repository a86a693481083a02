/* shadow: what workers find out about a staged pool that is sent copies of live requests: how its answers
 * differ from the live pool's, how long both took, and on which paths it is worst.
 *
 * A record for each worker and pool slot, in the counters' memory. The worker alone writes it; it belongs to
 * one run of the shadow gate, and begins anew with another. Whatever stands there is what the proxy claims:
 * who reads it believes no length, no class and no byte of a path. */
#pragma once

#include "base/str.h"
#include "link/counters.h"

#include <stdbool.h>

#define SHADOW_PATH_WORDS 13
#define SHADOW_PATH_MAX (8 * SHADOW_PATH_WORDS) /* bytes of a path that are kept */
#define SHADOW_PLACES 16                        /* paths of a kind that a worker keeps */
#define SHADOW_NO_ANSWER 0                      /* as a class of answers, the others of which are 1 to 5 */

/* What is found wrong with an answer. */
enum shadow_kind { SHADOW_DIFFERS, SHADOW_SLOWER, SHADOW_KINDS };

struct shadow_place {
    uint64_t weight;  /* what decides which place is given to another path: never below `seen` */
    uint64_t seen;    /* how often, since the place is this path's; 0: nobody's, or just being written */
    uint64_t answers; /* the live class * 8 + the staged class */
    uint64_t length;  /* of the path, in bytes; above SHADOW_PATH_MAX: the rest is not kept */
    uint64_t path[SHADOW_PATH_WORDS];
};

struct shadow_cells {
    uint64_t run; /* that the rest is of; 0: none */
    uint64_t compared;
    uint64_t differing; /* among them, by class */
    uint64_t slower;    /* among the others, by more than the limit */
    uint64_t dropped; /* drawn, and not compared: there was no room or no time, or nothing to compare with */
    uint64_t live[COUNTERS_BUCKETS], staged[COUNTERS_BUCKETS]; /* how long it took, where the classes agree */
    struct shadow_place places[SHADOW_KINDS][SHADOW_PLACES];
} __attribute__((aligned(64)));

/* Two answers to one request. */
struct shadow_pair {
    struct str path;
    unsigned live, staged; /* classes */
    uint64_t live_us, staged_us;
};

/* The class of a status. 304 is of 2xx: whoever has the representation already is well served by either. */
unsigned shadow_class(unsigned status);

/* ---- the worker ---- */

/* From now on the record is of this run; what is there of another is cleared. */
void shadow_begin(struct shadow_cells *cells, uint64_t run);
/* Counts a pair. `latency`: how many times as slow is too slow, in millionths; 0: nothing is. */
void shadow_note(struct shadow_cells *cells, const struct shadow_pair *pair, uint32_t latency);

/* ---- control ---- */

#define SHADOW_FINDINGS 64 /* of a kind, over all workers */

struct shadow_finding {
    char path[SHADOW_PATH_MAX + 4]; /* visible ASCII; with "..." where it was cut */
    unsigned live, staged;          /* classes */
    uint64_t count;
};

struct shadow_sum {
    uint64_t compared, differing, slower, dropped;
    uint64_t live[COUNTERS_BUCKETS], staged[COUNTERS_BUCKETS];
    struct shadow_finding findings[SHADOW_KINDS][SHADOW_FINDINGS]; /* the most frequent come first */
    size_t finding_count[SHADOW_KINDS];
};

/* What all workers have of this run. */
void shadow_sum(struct counters *counters, uint32_t slot, uint64_t run, struct shadow_sum *sum);
