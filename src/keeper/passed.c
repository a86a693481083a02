/* Its own few lines instead of libsystemd's, so that every build has them. Invariant: the variables are read
 * once, since after an upgrade this same process has the sockets in its store. */
#include "keeper/passed.h"

#include "base/str.h"
#include "link/message.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_FD 3

static bool number_of(const char *variable, uint64_t *number)
{
    const char *text = getenv(variable);
    return text != NULL && str_to_u64(str_of(text), number);
}

static bool take_one(struct store *store, uint64_t index, struct str name, struct err *err)
{
    char stored[MESSAGE_NAME_MAX];
    int fd = index <= INT32_MAX - FIRST_FD ? FIRST_FD + (int)index : -1;
    if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return err_set(err, "LISTEN_FDS promises %" PRIu64 " sockets or more, but descriptor %d is not open",
                       index + 1, fd);
    snprintf(stored, sizeof stored, "passed %d %.*s", (int)index, STR_ARG(name));
    store_put(store, stored, fd);
    return true;
}

static bool take_all(struct store *store, struct err *err)
{
    uint64_t count;
    const char *names = getenv("LISTEN_FDNAMES");
    struct str rest = str_of(names == NULL ? "" : names), name;
    if (!number_of("LISTEN_FDS", &count))
        return err_set(err, "LISTEN_PID names this process, but LISTEN_FDS is not the number of its sockets");
    for (uint64_t i = 0; i < count; i++) {
        if (!str_split(&rest, ':', &name))
            name = STR("");
        if (!take_one(store, i, name, err))
            return false;
    }
    return true;
}

bool passed_take(struct store *store, struct err *err)
{
    uint64_t pid;
    bool ok = !number_of("LISTEN_PID", &pid) || pid != (uint64_t)getpid() || take_all(store, err);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return ok;
}
