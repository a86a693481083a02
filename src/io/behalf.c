/* The kernel looks at the user for files and at the capabilities, and each thread has its own: a thread takes
 * them on for the one call and ends. So nothing has to be given back, and the signal that ends this process
 * with its parent, which a change of user clears, stays with the thread that asked for it. Not the other user
 * ids: by those this process could be sent signals. */
#include "io/behalf.h"

#include "base/mem.h"
#include "io/capabilities.h"
#include "io/thread.h"

#include <errno.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct call {
    const struct behalf *behalf;
    int fd;
    const struct sockaddr *address;
    socklen_t length;
    int error; /* 0: none */
};

/* A raw call, since that of libc would make all threads follow. What was asked for is read back. */
static bool become(const struct behalf *behalf)
{
    if (syscall(SYS_setgroups, 0, NULL) != 0 && (geteuid() != behalf->uid || getegid() != behalf->gid))
        return false; /* else it keeps its groups, and so does that process */
    setfsgid(behalf->gid);
    setfsuid(behalf->uid);
    errno = EPERM;
    return (gid_t)setfsgid((gid_t)-1) == behalf->gid && (uid_t)setfsuid((uid_t)-1) == behalf->uid;
}

static void *connect_as(void *arg)
{
    struct call *call = arg;
    int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    bool ready = (!call->behalf->is_other || become(call->behalf)) && capabilities_limit(0, false);
    int error = errno;
    /* Whether there may be a core is the whole process's, and goes with a change of user. */
    prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
    if (!ready)
        call->error = error;
    else if (connect(call->fd, call->address, call->length) != 0)
        call->error = errno;
    return NULL;
}

int behalf_connect(const struct behalf *behalf, int fd, const struct sockaddr *address, socklen_t length)
{
    if (behalf == NULL || address->sa_family != AF_UNIX)
        return connect(fd, address, length);
    struct call call = {behalf, fd, address, length, 0};
    pthread_t thread;
    int error = thread_begin(&thread, connect_as, &call);
    if (error == 0) {
        pthread_join(thread, NULL);
        error = call.error;
    }
    errno = error;
    return error == 0 ? 0 : -1;
}

char *behalf_why(const struct behalf *behalf, const struct sockaddr *address, int error)
{
    if (behalf == NULL || address->sa_family != AF_UNIX || error != EACCES)
        return mem_dup(strerror(error));
    return mem_printf(
        "the proxy's user \"%s\" may not connect to the socket (%s); let it write to the socket, "
        "and look into the folders above, by their mode, owner or group",
        behalf->name, strerror(error));
}
