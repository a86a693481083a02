/* newcomers: clients that were accepted and that the loop does not watch yet, since most of those that ask
 * once are answered and gone before that would be of use.
 *
 * A client that is waited for is watched at once (io/stream.h). One that waits itself, for its answer, is
 * watched when it has done so for NEWCOMERS_MS, so that its end is seen while it is served. */
#pragma once

#include "io/loop.h"

#include <sys/queue.h>

struct client;

#define NEWCOMERS_MS 20

struct newcomers {
    TAILQ_HEAD(, client) clients; /* as they came; some are watched already */
    struct deadline due;          /* set while there may be one */
};

void newcomers_init(struct newcomers *newcomers, struct loop *loop);

/* The client has just been accepted. */
void newcomers_enter(struct newcomers *newcomers, struct client *client);
/* The client is closed; allowed whether or not it is one of them. */
void newcomers_leave(struct newcomers *newcomers, struct client *client);
