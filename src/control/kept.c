#include "control/kept.h"

#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct one {
    char name[MESSAGE_NAME_MAX];
    int fd; /* -1: taken */
};

struct kept {
    struct channel *keeper;
    struct one *list;
    size_t room, count;
};

struct kept *kept_new(struct channel *keeper, uint32_t count)
{
    struct kept *kept = mem_zero(1, sizeof *kept);
    *kept = (struct kept){.keeper = keeper, .list = mem_zero(count, sizeof *kept->list), .room = count};
    return kept;
}

void kept_add(struct kept *kept, const struct message_name *name, int fd)
{
    assert(kept->count < kept->room);
    struct one *one = &kept->list[kept->count++];
    memcpy(one->name, name->name, sizeof one->name);
    one->fd = fd;
}

bool kept_is_whole(const struct kept *kept)
{
    return kept->count == kept->room;
}

int kept_take(struct kept *kept, const char *name)
{
    for (size_t i = 0; i < kept->count; i++) {
        struct one *one = &kept->list[i];
        if (strcmp(one->name, name) == 0) {
            int fd = one->fd;
            one->fd = -1;
            return fd;
        }
    }
    return -1;
}

void kept_give_rest(struct kept *kept, bool (*give)(void *arg, const char *name, int fd), void *arg)
{
    for (size_t i = 0; i < kept->count; i++) {
        struct one *one = &kept->list[i];
        if (one->fd >= 0 && !give(arg, one->name, one->fd)) {
            log_warn("the keeper holds \"%s\", which nobody knows; it is closed", one->name);
            close(one->fd);
        }
        one->fd = -1;
    }
}

void kept_store(struct kept *kept, const char *text, int fd)
{
    struct message_name name = {0};
    snprintf(name.name, sizeof name.name, "%s", text);
    channel_send(kept->keeper, MESSAGE_STORE, &name, sizeof name, fd);
}
