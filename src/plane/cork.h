/* cork: answers of a pipeline that wait for the next ones, so that one send takes several.
 *
 * A client that has asked again before it is answered has its answers held back (outlet_cork) while the
 * worker has other things to do, CORK_MS at most; what is held counts as sent for everyone else. Before the
 * worker sleeps, all of it goes out. */
#pragma once

#include "io/loop.h"

#include <stdbool.h>
#include <sys/queue.h>

struct client;

#define CORK_MS 2

struct cork {
    struct loop *loop;
    TAILQ_HEAD(, client) clients; /* whose outlets are corked, or were */
    struct loop_deferred running;
    bool due;          /* the run is deferred */
    uint64_t since_ms; /* when it was, for the first of them */
};

void cork_init(struct cork *cork, struct loop *loop);

/* The client's outlet has just been corked. */
void cork_hold(struct cork *cork, struct client *client);
/* It is held no longer; allowed whether or not it was. */
void cork_drop(struct cork *cork, struct client *client);
