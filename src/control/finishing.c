/* One channel each. What they say back is of no use: counters tell how far they are, the keeper when they
 * end. */
#include "control/finishing.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

struct elder {
    struct message_finishing who;
    struct channel *channel; /* NULL: broken */
    LIST_ENTRY(elder) link;
};

struct finishing {
    struct loop *loop;
    struct counters *counters;
    LIST_HEAD(, elder) elders;
};

struct finishing *finishing_new(struct loop *loop, struct counters *counters, uint32_t present, unsigned own)
{
    struct finishing *finishing = mem_zero(1, sizeof *finishing);
    finishing->loop = loop;
    finishing->counters = counters;
    LIST_INIT(&finishing->elders);
    for (unsigned generation = 0; generation < COUNTERS_GENERATIONS; generation++) {
        if (generation != own && (present >> generation & 1) == 0)
            counters_end(counters, generation);
    }
    return finishing;
}

static void received(void *arg, const struct message *message)
{
    const struct elder *elder = arg;
    const struct message_refused *refused = message->payload;
    if (message->type == MESSAGE_REFUSED)
        log_info("proxy %d, which finishes, keeps the world that it has: %s", (int)elder->who.pid,
                 refused->sentence);
    if (message->fd >= 0)
        close(message->fd);
}

static void closed(void *arg, const char *why)
{
    struct elder *elder = arg;
    log_debug("the channel to proxy %d, which finishes, is closed: %s", (int)elder->who.pid, why);
    channel_close(elder->channel);
    elder->channel = NULL;
}

void finishing_add(struct finishing *finishing, const struct message_finishing *who, int fd)
{
    static const struct channel_callbacks callbacks = {received, closed};
    struct elder *elder = mem_zero(1, sizeof *elder);
    elder->who = *who;
    elder->channel = channel_open(finishing->loop, fd, &callbacks, elder);
    LIST_INSERT_HEAD(&finishing->elders, elder, link);
}

void finishing_end(struct finishing *finishing, const struct message_finishing *who)
{
    struct elder *elder, *next;
    for (elder = LIST_FIRST(&finishing->elders); elder != NULL; elder = next) {
        next = LIST_NEXT(elder, link);
        if (elder->who.pid != who->pid)
            continue;
        LIST_REMOVE(elder, link);
        channel_close(elder->channel);
        free(elder);
    }
    if (who->generation < COUNTERS_GENERATIONS)
        counters_end(finishing->counters, who->generation);
}

void finishing_tell(struct finishing *finishing, enum message_type type, const void *payload, size_t size,
                    int fd)
{
    struct elder *elder;
    LIST_FOREACH (elder, &finishing->elders, link) {
        if (elder->channel != NULL)
            channel_send(elder->channel, type, payload, size, fd);
    }
}

bool finishing_has(const struct finishing *finishing, int32_t pid)
{
    const struct elder *elder;
    LIST_FOREACH (elder, &finishing->elders, link) {
        if (elder->who.pid == pid)
            return true;
    }
    return false;
}

bool finishing_is_empty(const struct finishing *finishing)
{
    return LIST_EMPTY(&finishing->elders);
}

json_t *finishing_pids(const struct finishing *finishing)
{
    const struct elder *elder;
    json_t *pids = json_array();
    LIST_FOREACH (elder, &finishing->elders, link)
        json_array_append_new(pids, json_integer(elder->who.pid));
    return pids;
}
