/* tallies: counts of what happens in control (gates, deployments), fed by the event log as it happens, so
 * nobody has to remember to count, and they begin at 0 with each start of control. */
#pragma once

#include "base/buf.h"
#include "control/event_log.h"

#include <stdint.h>
#include <uthash.h>

enum tally_family {
    TALLY_DEPLOYMENTS,
    TALLY_WATCHES,
    TALLY_SWAPS,
    TALLY_UPTEST_SECONDS,
    TALLY_UPTESTS,
    TALLY_TEARDOWNS,
    TALLY_PROXY_RESTARTS,
    TALLY_FAMILIES
};

struct tally {
    char *labels; /* with the braces around them; "" where there are none */
    uint64_t count;
    double sum;
    UT_hash_handle hh; /* its next */
};

struct tallies;

struct tallies *tallies_new(struct event_log *events);
void tallies_free(struct tallies *tallies);
/* Everything that may happen to the service is there from now on, with 0: who asks how much a count has grown
 * sees the first time only if there was a 0 before. NULL: what happens to none. */
void tallies_expect(struct tallies *tallies, const char *service);
/* NULL: nothing of it has happened, or is expected. */
const struct tally *tallies_first(const struct tallies *tallies, enum tally_family family);

/* Adds NAME="VALUE", with a comma before it unless it is the first; \, " and line ends are escaped. */
void tallies_label(struct buf *out, const char *name, const char *value);
