/* publish: makes a snapshot the world for all workers with one store, and knows when an old one is no longer
 * read.
 *
 * Workers pay one load and a plain add for a request. A view is freed when every worker has moved on from it
 * and its last exchange has ended. */
#pragma once

#include "route/snapshot.h"

struct publisher;

/* A snapshot that was or will be published. */
struct view {
    const struct snapshot *snapshot;
    void *arg; /* of publisher_publish */
    /* the rest is the publisher's own */
    struct view *next;
    void (*dispose)(struct view *view);
    uint64_t number;         /* in the order of publication, from 1 */
    struct view_cell *cells; /* per worker: exchanges that keep it; each cell has a cache line */
};

struct publisher *publisher_new(unsigned workers);
/* When no worker runs any more; disposes of what is left. */
void publisher_free(struct publisher *publisher);

/* Publishes (from the one thread that publishes): the store after which every request that begins sees it.
 * Returns when that was (monotonic ns). `dispose(view)` is called on that thread by publisher_reap when
 * nobody reads it any more; view->arg is `arg`. The caller then wakes every worker, which calls
 * publisher_turn. */
uint64_t publisher_publish(struct publisher *publisher, const struct snapshot *snapshot,
                           void (*dispose)(struct view *view), void *arg);

/* Disposes of views that nobody reads any more; from the publishing thread, now and then. Is any left but the
 * present one? */
bool publisher_reap(struct publisher *publisher);

/* The present view (NULL before the first), kept until view_release by the same worker. */
struct view *publisher_take(struct publisher *publisher, unsigned worker);
void view_release(struct view *view, unsigned worker);

/* A worker has taken a turn: from now on it takes only the present view or later ones. Returns the present
 * view, not kept (valid until the worker's next publisher_turn). */
const struct view *publisher_turn(struct publisher *publisher, unsigned worker);
