/* pause: requests of paused services that wait, in one worker, a line a service.
 *
 * Nobody who waits counts for any pool. A line holds until a world says otherwise or its service's time is
 * over, whatever became of control; then it is let go at a pace: all workers together less than twice the
 * rate before the pause, newcomers behind those that wait, until nobody waits in any worker. */
#pragma once

#include "io/loop.h"
#include "link/counters.h"
#include "route/snapshot.h"

#include <sys/queue.h>

struct pause_line;

/* Embedded in who waits. Zeroed: waits nowhere. */
struct pause_place {
    struct pause_line *line;
    uint32_t bytes; /* that it holds meanwhile */
    TAILQ_ENTRY(pause_place) entry;
};

struct pause {
    struct loop *loop;
    struct counters *counters;
    unsigned worker;
    /* It has left the line and goes its way. */
    void (*go)(struct pause_place *place);
    LIST_HEAD(, pause_line) lines; /* of services that are paused, or are being let go */
};

void pause_init(struct pause *pause, struct loop *loop, struct counters *counters, unsigned worker,
                void (*go)(struct pause_place *place));
/* Nobody may wait any more. */
void pause_release(struct pause *pause);

/* This is the present world. Who waits for a service that it takes out of service goes at once. */
void pause_turn(struct pause *pause, const struct snapshot *snapshot);
/* All go at once. */
void pause_stop(struct pause *pause);

/* Must a request of this service, in a world with these rules, wait? */
bool pause_holds(const struct pause *pause, struct str service, const struct snapshot_rules *rules);
/* Lets it wait, behind all others. False: the line has as many, or as many bytes, as it may, or there is no
 * memory. */
bool pause_join(struct pause *pause, struct str service, const struct snapshot_rules *rules,
                struct pause_place *place, uint32_t bytes);
void pause_leave(struct pause_place *place);
static inline bool pause_is_waiting(const struct pause_place *place)
{
    return place->line != NULL;
}

/* Where newcomers must look, without a walk: is there any line? */
static inline bool pause_is_used(const struct pause *pause)
{
    return !LIST_EMPTY(&pause->lines);
}

/* Requests a second, in thousandths, at which all workers together let a line go: by the rate before the
 * pause (0: not known) and what has come together in held_ms; for so long already. Grows in the end, so that
 * every line has one. */
uint64_t pause_pace(uint64_t rate, uint64_t waiting, uint64_t held_ms, uint64_t going_ms);
