/* Invariant: an open client whose stream is not watched is a newcomer. */
#include "plane/newcomers.h"

#include "base/mem.h"
#include "plane/client.h"

/* ms; 0: its time has come. Who is not watched has had no second head, so the first one's time is that of its
 * accept. */
static uint64_t time_left(const struct client *client, uint64_t now_ms)
{
    uint64_t until_ms = client->head_since_ms + NEWCOMERS_MS;
    return client->stream.fresh && until_ms > now_ms ? until_ms - now_ms : 0;
}

/* Who cannot be watched, for lack of memory, is tried again. */
static void look(struct deadline *due)
{
    struct newcomers *newcomers = mem_container(due, struct newcomers, due);
    uint64_t now_ms = loop_ms(due->loop);
    struct client *client;
    while ((client = TAILQ_FIRST(&newcomers->clients)) != NULL) {
        uint64_t left_ms = time_left(client, now_ms);
        if (left_ms > 0 || !stream_watch(&client->stream)) {
            deadline_set(due, left_ms > 0 ? left_ms : NEWCOMERS_MS);
            return;
        }
        newcomers_leave(newcomers, client);
    }
}

void newcomers_init(struct newcomers *newcomers, struct loop *loop)
{
    TAILQ_INIT(&newcomers->clients);
    deadline_init(&newcomers->due, loop, look);
}

void newcomers_enter(struct newcomers *newcomers, struct client *client)
{
    if (!deadline_is_set(&newcomers->due))
        deadline_set(&newcomers->due, NEWCOMERS_MS);
    client->young = true;
    TAILQ_INSERT_TAIL(&newcomers->clients, client, waiting);
}

void newcomers_leave(struct newcomers *newcomers, struct client *client)
{
    if (client->young)
        TAILQ_REMOVE(&newcomers->clients, client, waiting);
    client->young = false;
}
