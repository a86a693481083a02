/* Opens listening sockets, and accepts on them. Invariant of accepting: `paused` is true exactly while the
 * event is not registered and the deadline is set to register it again.
 */
#include "io/listener.h"

#include "base/fault.h"
#include "base/mem.h"
#include "io/loopback.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 64
#define PAUSE_MS 100

union name {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

static const char *remedy(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "; another program listens there: stop it, or choose another port";
    case EADDRNOTAVAIL:
        return "; no interface of this machine has this address";
    case EACCES:
        return "; ports below 1024 need root or CAP_NET_BIND_SERVICE";
    case EMFILE:
    case ENFILE:
        return "; raise the limit of open files";
    default:
        return "";
    }
}

static socklen_t name_of(const struct address *address, union name *name)
{
    memset(name, 0, sizeof *name);
    if (address->kind == ADDRESS_IPV4) {
        name->v4.sin_family = AF_INET;
        name->v4.sin_port = htons(address->port);
        inet_pton(AF_INET, address->host, &name->v4.sin_addr);
        return sizeof name->v4;
    }
    name->v6.sin6_family = AF_INET6;
    name->v6.sin6_port = htons(address->port);
    inet_pton(AF_INET6, address->host, &name->v6.sin6_addr);
    return sizeof name->v6;
}

static bool set(int fd, int level, int option)
{
    return setsockopt(fd, level, option, &(int){1}, sizeof(int)) == 0;
}

/* A bound socket; shared: others may be bound beside it. -1 with errno. */
static int bound(const union name *name, socklen_t length, bool shared)
{
    int fd = FAULTY("listener.socket", EMFILE,
                    socket(name->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (fd < 0)
        return -1;
    if (set(fd, SOL_SOCKET, SO_REUSEADDR) && (!shared || set(fd, SOL_SOCKET, SO_REUSEPORT)) &&
        (name->any.sa_family != AF_INET6 || set(fd, IPPROTO_IPV6, IPV6_V6ONLY)) &&
        FAULTY("listener.bind", EADDRINUSE, bind(fd, &name->any, length)) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* SO_REUSEPORT would let us share the port with a stranger who set it too, each getting a part of the
 * traffic. One bind without it tells. */
static bool is_free(const union name *name, socklen_t length)
{
    int fd = bound(name, length, false);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool learn_port(int fd, struct address *address, union name *name)
{
    socklen_t length = sizeof *name;
    if (getsockname(fd, &name->any, &length) != 0)
        return false;
    address->port = ntohs(name->any.sa_family == AF_INET ? name->v4.sin_port : name->v6.sin6_port);
    return true;
}

/* Returns how many were opened; short of `count` with errno. */
static unsigned open_all(struct address *address, unsigned count, int *fds)
{
    union name name;
    socklen_t length = name_of(address, &name);
    if (address->port != 0 && !is_free(&name, length))
        return 0;
    for (unsigned i = 0; i < count; i++) {
        fds[i] = bound(&name, length, true);
        if (fds[i] < 0)
            return i;
        if ((address->port == 0 && !learn_port(fds[i], address, &name)) ||
            FAULTY("listener.listen", EADDRINUSE, listen(fds[i], LISTENER_BACKLOG)) != 0)
            return i + 1;
    }
    errno = 0;
    return count;
}

bool listener_open(struct address *address, unsigned count, int *fds, struct err *err)
{
    char text[ADDRESS_TEXT_MAX];
    if (address->kind == ADDRESS_NAME)
        return err_set(err, "cannot listen on %s: write an IP address, such as 0.0.0.0 for all",
                       address_text(address, text));
    struct address asked = *address;
    unsigned opened = open_all(address, count, fds);
    int error = errno;
    if (opened == count && error == 0)
        return true;
    while (opened > 0)
        close(fds[--opened]);
    *address = asked;
    return err_set(err, "cannot listen on %s: %s%s", address_text(address, text), strerror(error),
                   remedy(error));
}

/* Who answers at a socket file. */
enum answerer { NOBODY, SOMEBODY, NOT_TO_BE_ASKED };

static enum answerer ask(const union name *name, socklen_t length)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return SOMEBODY;
    int error = connect(fd, &name->any, length) == 0 ? 0 : errno;
    close(fd);
    return error == ECONNREFUSED ? NOBODY : error == EACCES ? NOT_TO_BE_ASKED : SOMEBODY;
}

static bool name_path(const char *path, union name *name)
{
    *name = (union name){.un = {.sun_family = AF_UNIX}};
    bool fits = strlen(path) < sizeof name->un.sun_path;
    if (fits)
        memcpy(name->un.sun_path, path, strlen(path));
    return fits;
}

bool listener_is_answered(const char *path)
{
    union name name;
    struct stat found;
    return name_path(path, &name) && lstat(path, &found) == 0 && S_ISSOCK(found.st_mode) &&
           ask(&name, sizeof name.un) != NOBODY;
}

static bool clear_the_way(const char *path, const union name *name, socklen_t length, struct err *err)
{
    struct stat found;
    if (lstat(path, &found) != 0)
        return errno == ENOENT || err_set(err, "cannot look at %s: %s", path, strerror(errno));
    if (!S_ISSOCK(found.st_mode))
        return err_set(err, "%s is there and no socket; remove it, or choose another path", path);
    switch (ask(name, length)) {
    case SOMEBODY:
        return err_set(err, "another process answers at %s; stop it, or choose another path", path);
    case NOT_TO_BE_ASKED:
        return err_set(err,
                       "%s is another user's, and may not be asked whether a process answers there; if none "
                       "does, remove it or give it to this user",
                       path);
    case NOBODY:
        break;
    }
    return unlink(path) == 0 || err_set(err, "cannot remove the old socket %s: %s", path, strerror(errno));
}

/* Nobody can connect before listen, so the mode that bind gives is never in force. */
static bool listen_unix(int fd, const char *path, const union name *name, socklen_t length, mode_t mode,
                        gid_t group)
{
    if (FAULTY("listener.bind_local", ENOSPC, bind(fd, &name->any, length)) != 0)
        return false;
    if ((group == (gid_t)-1 || chown(path, (uid_t)-1, group) == 0) && chmod(path, mode) == 0 &&
        listen(fd, LISTENER_BACKLOG) == 0)
        return true;
    int error = errno;
    unlink(path);
    errno = error;
    return false;
}

static const char *remedy_of_path(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return "; make its folder, or choose another path";
    case EACCES:
        return "; let this user write to its folder, or choose another path";
    case EMFILE:
    case ENFILE:
        return "; raise the limit of open files";
    default:
        return "";
    }
}

int listener_open_unix(const char *path, mode_t mode, gid_t group, struct err *err)
{
    union name name;
    if (!name_path(path, &name)) {
        err_set(err, "the socket path %s is longer than %zu bytes", path, sizeof name.un.sun_path - 1);
        return -1;
    }
    if (!clear_the_way(path, &name, sizeof name.un, err))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && listen_unix(fd, path, &name, sizeof name.un, mode, group))
        return fd;
    err_set(err, "cannot listen on %s: %s%s", path, strerror(errno), remedy_of_path(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

struct listener {
    struct loop *loop;
    int fd; /* the caller's; -1: freed, and waiting for the end of the turn */
    void (*accepted)(void *arg, int fd, const struct sockaddr_storage *peer);
    void *arg;
    struct loop_watch watch;
    struct deadline resume;
    bool paused;
    struct loop_deferred freeing;
};

static void pause_accepting(struct listener *listener)
{
    if (listener->paused)
        return;
    listener->paused = true;
    loop_unwatch(listener->loop, &listener->watch, listener->fd);
    deadline_set(&listener->resume, PAUSE_MS);
}

void listener_wake(struct listener *listener)
{
    if (!listener->paused)
        return;
    listener->paused = false;
    deadline_clear(&listener->resume);
    if (!loop_watch(listener->loop, &listener->watch, listener->fd, EPOLLIN))
        pause_accepting(listener);
}

static void resume_accepting(struct deadline *deadline)
{
    listener_wake(mem_container(deadline, struct listener, resume));
}

/* Is this the fault of the connection that was to be accepted (accept(2), "Error handling")? Then the next
 * one may be well. */
static bool concerns_one_connection(int error)
{
    switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPERM:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
        return true;
    default:
        return false;
    }
}

/* The listener may be freed by its callback; then fd is -1. */
static void accept_some(struct listener *listener, unsigned most)
{
    for (unsigned i = 0; i < most && listener->fd >= 0; i++) {
        struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
        int fd = FAULTY("listener.accept", EMFILE,
                        accept4(listener->fd, (struct sockaddr *)&peer, &(socklen_t){sizeof peer},
                                SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (fd >= 0) {
            listener->accepted(listener->arg, fd, &peer);
        } else if (errno == EAGAIN) {
            return;
        } else if (!concerns_one_connection(errno)) {
            pause_accepting(listener);
            return;
        }
    }
}

/* How many the kernel holds, one at least. To ask costs an eighth of an accept that finds none, for which the
 * kernel makes a socket and a file before it looks. A Unix socket does not tell. */
static unsigned held_by_kernel(int fd)
{
    struct tcp_info info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof info}) != 0)
        return UINT_MAX;
    return info.tcpi_unacked > 0 ? info.tcpi_unacked : 1; /* of a listening socket: its queue */
}

static void has_connections(struct loop_watch *watch, uint32_t events)
{
    struct listener *listener = mem_container(watch, struct listener, watch);
    unsigned held = held_by_kernel(listener->fd);
    (void)events;
    accept_some(listener, held < ACCEPTS_A_TURN ? held : ACCEPTS_A_TURN);
}

/* Accepted sockets inherit it. A Unix socket has no such options. */
static void set_for_accepted(int fd)
{
    union name name = {.any.sa_family = AF_UNSPEC};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (getsockname(fd, &name.any, &(socklen_t){sizeof name}) == 0)
        loopback_unpace(fd, &name.any);
}

struct listener *listener_new(struct loop *loop, int fd,
                              void (*accepted)(void *arg, int fd, const struct sockaddr_storage *peer),
                              void *arg)
{
    struct listener *listener = mem_zero(1, sizeof *listener);
    *listener = (struct listener){.loop = loop, .fd = fd, .accepted = accepted, .arg = arg, .paused = true};
    deadline_init(&listener->resume, loop, resume_accepting);
    set_for_accepted(fd);
    listener->watch.ready = has_connections;
    listener_wake(listener);
    return listener;
}

void listener_answers_first(struct listener *listener)
{
    setsockopt(listener->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){0}, sizeof(int));
}

static void run_freeing(struct loop_deferred *deferred)
{
    free(mem_container(deferred, struct listener, freeing));
}

void listener_free(struct listener *listener)
{
    loop_unwatch(listener->loop, &listener->watch, listener->fd);
    deadline_clear(&listener->resume);
    listener->fd = -1;
    listener->freeing.run = run_freeing;
    loop_defer(listener->loop, &listener->freeing);
}

void listener_drain(struct listener *listener, unsigned most)
{
    accept_some(listener, most);
}
