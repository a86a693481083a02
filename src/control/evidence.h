/* evidence: whether a new pool is worse than the one before it, told from what both answered, looked at again
 * and again. Pure: numbers and seconds in, a verdict and a sentence out.
 *
 * Two claims are tested by bets (bet.h): its share of errors keeps within the limit, and so does its share of
 * requests that are slower than a multiple of the old p99. A pool that is as good as the old one is called
 * worse in less than one of 25,000 watches, however long each is. See doc/internals/watch.md. */
#pragma once

#include "control/bet.h"
#include "control/yardstick.h"

/* Nothing is judged by latency in the first seconds: caches are cold, connections not yet made. */
#define EVIDENCE_SETTLES_SECONDS 2.0

enum evidence_verdict {
    EVIDENCE_MISSING, /* nothing to measure by, or too few requests */
    EVIDENCE_FINE,    /* up to now */
    EVIDENCE_WORSE    /* stays so */
};

/* A share of the new pool's requests, and the test of it. */
struct evidence_share {
    struct bet bet;
    uint64_t bad;                         /* in all */
    uint64_t recent_requests, recent_bad; /* since when it looks bad */
};

struct evidence {
    struct yardstick yardstick;
    double length;    /* seconds that the watch takes */
    uint64_t minimum; /* requests before a verdict */
    double seconds;   /* that it has been watched */
    double unasked;   /* those at the end of it without a request */
    uint64_t requests;
    double most; /* requests of a slice: what the largest had, less for the time since */
    struct evidence_share errors, slow;
    enum evidence_verdict verdict;
};

/* Begins a watch of so many seconds. */
void evidence_begin(struct evidence *evidence, const struct yardstick *yardstick, uint64_t minimum,
                    double length);

/* The record that it is measured by has grown: goes on with this one. */
void evidence_measure(struct evidence *evidence, const struct yardstick *yardstick);

/* What the new pool answered in the last `seconds`, which are a tenth or so; and what the old one did in the
 * last second or two, where it still has requests of its own (else NULL or a few): what both suffer is not
 * the new one's fault. */
enum evidence_verdict evidence_take(struct evidence *evidence, const struct answers *answers, double seconds,
                                    const struct answers *beside);

/* Why it is worse, or what was seen where it is not: "5xx: 5.1% of 812 requests, against 0.0% of 150,000
 * before the swap; limit 2.0%". To be freed. `before` says when the old one's record is from. */
char *evidence_tell(const struct evidence *evidence, const char *before);
