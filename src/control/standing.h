/* standing: what control has found out about an instance: by its checks, and by its scheduled uptests.
 *
 * It stands in a cell of the counters, so that another control process, which finds the counters with the
 * keeper, goes on with it. Nobody but control reads it; the proxy gets what follows from it with the world.
 */
#pragma once

#include "control/pulse.h"
#include "deploy/registry.h"
#include "link/counters.h"

enum standing_uptests {
    STANDING_UNTESTED, /* no scheduled run has told */
    STANDING_PASSES,
    STANDING_FAILS
};

struct standing {
    enum pulse_state pulse;        /* by its checks: health.c's */
    enum standing_uptests uptests; /* by the last run that told: schedule.c's */
    bool out;                      /* gets no requests because of them: schedule.c's */
    uint64_t since_ms;             /* when it came back, monotonic; 0: it was never away */
};

struct standing standing_of(struct counters *counters, const struct instance *instance);
void standing_keep(struct counters *counters, const struct instance *instance,
                   const struct standing *standing);
