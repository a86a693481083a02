/* Invariant: while a client is held, the run is deferred, so the loop does not sleep. */
#include "plane/cork.h"

#include "base/mem.h"
#include "plane/client.h"

#include <assert.h>

static void push_all(struct cork *cork)
{
    struct client *client;
    cork->due = false;
    while ((client = TAILQ_FIRST(&cork->clients)) != NULL) {
        cork_drop(cork, client);
        client_push(client);
    }
}

/* A turn without any event says that the worker would sleep. */
static void run(struct loop_deferred *deferred)
{
    struct cork *cork = mem_container(deferred, struct cork, running);
    bool busy = loop_was_busy(cork->loop);
    if (busy && loop_ms(cork->loop) - cork->since_ms < CORK_MS)
        loop_defer(cork->loop, &cork->running);
    else
        push_all(cork);
}

void cork_init(struct cork *cork, struct loop *loop)
{
    *cork = (struct cork){.loop = loop, .running.run = run};
    TAILQ_INIT(&cork->clients);
}

void cork_hold(struct cork *cork, struct client *client)
{
    if (client->corked)
        return;
    if (!cork->due) {
        cork->due = true;
        cork->since_ms = loop_ms(cork->loop);
        loop_defer(cork->loop, &cork->running);
    }
    client->corked = true;
    assert(!client->young); /* its place is one among those */
    TAILQ_INSERT_TAIL(&cork->clients, client, waiting);
}

void cork_drop(struct cork *cork, struct client *client)
{
    if (client->corked)
        TAILQ_REMOVE(&cork->clients, client, waiting);
    client->corked = false;
}
