/* Connects to each target until it has accepted once. A target has either a socket that is connecting or a
 * deadline for its next try, and its own deadline serves both. */
#include "control/probe.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "control/sockaddr.h"
#include "http/proxy_header.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_PAUSE_MS 50
#define MOST_PAUSE_MS 1000
#define TRY_MS 2000
#define NOT_NOW "does not accept a connection"

struct aim {
    struct probe *probe;
    char *name;
    unsigned proxy_protocol;
    const struct behalf *behalf;
    struct sockaddr_storage address;
    socklen_t length;
    int fd; /* -1: not connecting */
    bool accepted;
    int error;      /* errno of the last try; 0: none has ended */
    uint64_t pause; /* ms to the next try */
    struct event event;
    struct deadline deadline; /* of the try, or of the pause */
};

struct probe {
    struct loop *loop;
    uint64_t timeout_ms;
    void (*ready)(void *arg, size_t index);
    void (*done)(void *arg, bool ok, const char *reason);
    void *arg;
    struct deadline total;
    size_t count, waiting;
    bool over; /* done is due, or nobody wants to know any more */
    struct loop_deferred deferred;
    struct aim aims[];
};

static void disconnect(struct aim *aim)
{
    if (aim->fd < 0)
        return;
    event_del(&aim->event);
    close(aim->fd);
    aim->fd = -1;
}

static void stop(struct probe *probe)
{
    probe->over = true;
    deadline_clear(&probe->total);
    for (size_t i = 0; i < probe->count; i++) {
        disconnect(&probe->aims[i]);
        deadline_clear(&probe->aims[i].deadline);
    }
}

static void destroy(struct probe *probe)
{
    for (size_t i = 0; i < probe->count; i++)
        free(probe->aims[i].name);
    free(probe);
}

/* ---- the end ---- */

static const struct aim *first_that_did_not(const struct probe *probe)
{
    for (size_t i = 0; i < probe->count; i++) {
        if (!probe->aims[i].accepted)
            return &probe->aims[i];
    }
    return NULL;
}

/* `how` stands between the instance and the reason. To be freed. */
static char *describe(const struct aim *aim, const char *how)
{
    int error = aim->error != 0 ? aim->error : ETIMEDOUT;
    char *why = behalf_why(aim->behalf, (const struct sockaddr *)&aim->address, error);
    char *resolved = sockaddr_text(&aim->address), *behind = sockaddr_behind_name(aim->name, resolved);
    char *sentence = mem_printf("instance %s%s %s: %s", aim->name, behind, how, why);
    free(why);
    free(resolved);
    free(behind);
    return sentence;
}

static char *describe_end(const struct probe *probe)
{
    const struct aim *aim = first_that_did_not(probe);
    if (aim == NULL)
        return NULL;
    if (probe->timeout_ms == 0)
        return describe(aim, NOT_NOW);
    char *how = mem_printf("did not accept a connection within %g s", (double)probe->timeout_ms / 1000);
    char *sentence = describe(aim, how);
    free(how);
    return sentence;
}

static void tell(struct loop_deferred *deferred)
{
    struct probe *probe = mem_container(deferred, struct probe, deferred);
    char *reason = describe_end(probe);
    if (probe->done != NULL)
        probe->done(probe->arg, reason == NULL, reason != NULL ? reason : "");
    free(reason);
    destroy(probe);
}

/* From here on nothing but `tell` comes, and it frees. */
static void finish(struct probe *probe)
{
    if (probe->over)
        return;
    stop(probe);
    loop_defer(probe->loop, &probe->deferred);
}

static void total_is_over(struct deadline *deadline)
{
    finish(mem_container(deadline, struct probe, total));
}

/* ---- one try ---- */

static void try_failed(struct aim *aim, int error)
{
    struct probe *probe = aim->probe;
    disconnect(aim);
    aim->error = error;
    if (probe->timeout_ms == 0) {
        deadline_clear(&aim->deadline);
        if (--probe->waiting == 0)
            finish(probe);
        return;
    }
    deadline_set(&aim->deadline, aim->pause);
    aim->pause = aim->pause * 2 < MOST_PAUSE_MS ? aim->pause * 2 : MOST_PAUSE_MS;
}

/* An app that wants a PROXY header calls a connection without one a fault. Whether it hears this is nothing
 * to us: it has accepted. */
static void say_hello(const struct aim *aim)
{
    char header[PROXY_HEADER_ROOM];
    if (aim->proxy_protocol == 0)
        return;
    size_t n = proxy_header_write(aim->proxy_protocol, NULL, header);
    (void)!send(aim->fd, header, n, MSG_NOSIGNAL);
}

static void try_succeeded(struct aim *aim)
{
    struct probe *probe = aim->probe;
    say_hello(aim);
    disconnect(aim);
    deadline_clear(&aim->deadline);
    aim->accepted = true;
    probe->waiting--;
    if (probe->ready != NULL)
        probe->ready(probe->arg, (size_t)(aim - probe->aims));
    if (probe->waiting == 0)
        finish(probe);
}

/* Linux connects a socket to itself when its own port, picked from the ephemeral range, is the one that it
 * asks for: nobody listens there. */
static bool is_itself(int fd)
{
    struct sockaddr_storage own = {0}, peer = {0};
    socklen_t own_length = sizeof own, peer_length = sizeof peer;
    return getsockname(fd, (struct sockaddr *)&own, &own_length) == 0 &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_length) == 0 && own_length == peer_length &&
           memcmp(&own, &peer, own_length) == 0;
}

static void connected(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct aim *aim = arg;
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    if (error == 0 && is_itself(fd))
        error = ECONNREFUSED;
    if (error == 0)
        try_succeeded(aim);
    else
        try_failed(aim, error);
}

/* Returns 0 while it connects, else errno. */
static int begin_try(struct aim *aim)
{
    aim->fd = FAULTY("probe.socket", EMFILE,
                     socket(aim->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (aim->fd < 0)
        return errno;
    int error = 0;
    if (FAULTY("probe.connect", ENOBUFS,
               behalf_connect(aim->behalf, aim->fd, (struct sockaddr *)&aim->address, aim->length)) != 0 &&
        errno != EINPROGRESS)
        error = errno;
    event_assign(&aim->event, loop_base(aim->probe->loop), aim->fd, EV_WRITE, connected, aim);
    if (error == 0 && event_add(&aim->event, NULL) != 0)
        error = ENOMEM;
    return error;
}

static void attempt(struct aim *aim)
{
    int error = begin_try(aim);
    if (error != 0)
        try_failed(aim, error);
    else
        deadline_set(&aim->deadline, TRY_MS);
}

static void aim_is_due(struct deadline *deadline)
{
    struct aim *aim = mem_container(deadline, struct aim, deadline);
    if (aim->fd >= 0)
        try_failed(aim, ETIMEDOUT);
    else
        attempt(aim);
}

/* ---- the outside ---- */

struct probe *probe_start(struct loop *loop, const struct probe_target *targets, size_t count,
                          uint64_t timeout_ms, void (*ready)(void *arg, size_t index),
                          void (*done)(void *arg, bool ok, const char *reason), void *arg)
{
    struct probe *probe = mem_zero(1, sizeof *probe + count * sizeof *probe->aims);
    *probe = (struct probe){.loop = loop,
                            .timeout_ms = timeout_ms,
                            .ready = ready,
                            .done = done,
                            .arg = arg,
                            .count = count,
                            .waiting = count,
                            .deferred.run = tell};
    deadline_init(&probe->total, loop, total_is_over);
    if (timeout_ms > 0)
        deadline_set(&probe->total, timeout_ms);
    for (size_t i = 0; i < count; i++) {
        struct aim *aim = &probe->aims[i];
        *aim = (struct aim){.probe = probe,
                            .name = mem_dup(targets[i].name),
                            .proxy_protocol = targets[i].proxy_protocol,
                            .behalf = targets[i].behalf,
                            .address = targets[i].address,
                            .length = targets[i].length,
                            .fd = -1,
                            .pause = FIRST_PAUSE_MS};
        deadline_init(&aim->deadline, loop, aim_is_due);
    }
    for (size_t i = 0; i < count && !probe->over; i++)
        attempt(&probe->aims[i]);
    if (count == 0)
        finish(probe);
    return probe;
}

char *probe_why(const struct probe *probe)
{
    for (size_t i = 0; i < probe->count; i++) {
        if (!probe->aims[i].accepted && probe->aims[i].error != 0)
            return describe(&probe->aims[i], NOT_NOW);
    }
    return NULL;
}

void probe_cancel(struct probe *probe)
{
    if (probe == NULL)
        return;
    probe->done = NULL;
    finish(probe);
}
