/* queue: requests of one worker that wait until an instance of their pool has room, a line a pool, first come
 * first served.
 *
 * A line is asked again when a place is given back, by this worker or another, and every QUEUE_LOOK_MS, for
 * what no one tells of. How many wait stands in the counters; so workers take turns. */
#pragma once

#include "io/loop.h"
#include "link/counters.h"

#include <sys/queue.h>

#define QUEUE_LOOK_MS 20

struct queue_line;

/* Embedded in who waits. Zeroed: waits nowhere. */
struct queue_place {
    struct queue_line *line;
    TAILQ_ENTRY(queue_place) entry;
};

struct queue;

struct queue_options {
    struct loop *loop;
    struct counters *counters;
    unsigned worker;
    /* It is first in line: is there room for it? True: it has left the line, and may be gone. */
    bool (*serve)(struct queue_place *place);
    /* Tell that worker to call queue_serve for this pool. */
    void (*wake)(void *arg, unsigned worker, uint32_t slot);
    void *arg;
};

struct queue *queue_new(const struct queue_options *options);
/* Nobody may wait any more. */
void queue_free(struct queue *queue);

/* Puts it last in the line of the pool in that slot. False: `most` wait there already, or no memory. */
bool queue_join(struct queue *queue, uint32_t slot, struct queue_place *place, uint32_t most);
void queue_leave(struct queue_place *place);
static inline bool queue_is_waiting(const struct queue_place *place)
{
    return place->line != NULL;
}

/* Does anybody wait for this pool, in any worker? Who comes now goes behind them. */
bool queue_is_used(const struct queue *queue, uint32_t slot);
/* A place was given back: the line of one worker is served soon, those of others before this one's own. */
void queue_returned(struct queue *queue, uint32_t slot);
/* Serves the line after this turn. */
void queue_serve(struct queue *queue, uint32_t slot);
