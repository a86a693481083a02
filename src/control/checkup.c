/* Connects, and asks where there is something to ask. Invariant: the result is told once, by `tell`, which
 * runs after the event turn and frees; from `finish` on nothing else comes. */
#include "control/checkup.h"

#include "base/buf.h"
#include "base/mem.h"
#include "http/proxy_header.h"
#include "http/response.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <unistd.h>

#define HEAD_MAX 16384 /* bytes of a response's head */
#define BODY_MAX 65536 /* bytes that are read so that an end, and no reset, meets the instance */

enum state { CONNECTING, ASKING, HEARING, OVER };

struct checkup {
    struct loop *loop;
    struct checkup_order order;
    enum state state;
    int fd; /* -1: none */
    struct event event;
    struct deadline timeout;
    char *path;
    struct buf out, in; /* what is still to be sent; what came of a head */
    size_t seen;        /* bytes of a partial head */
    enum checkup_result result;
    char *why;
    struct loop_deferred telling;
};

/* ---- the end ---- */

static void tell(struct loop_deferred *deferred)
{
    struct checkup *checkup = mem_container(deferred, struct checkup, telling);
    if (checkup->order.done != NULL)
        checkup->order.done(checkup->order.arg, checkup->result, checkup->why != NULL ? checkup->why : "");
    buf_free(&checkup->out);
    buf_free(&checkup->in);
    free(checkup->path);
    free(checkup->why);
    free(checkup);
}

/* `why` is owned; NULL for a pass. */
static void finish(struct checkup *checkup, enum checkup_result result, char *why)
{
    if (checkup->fd >= 0) {
        event_del(&checkup->event);
        close(checkup->fd);
        checkup->fd = -1;
    }
    deadline_clear(&checkup->timeout);
    checkup->state = OVER;
    checkup->result = result;
    checkup->why = why;
    loop_defer(checkup->loop, &checkup->telling);
}

static bool is_our_own(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
           error == EADDRNOTAVAIL || error == EAGAIN;
}

static void broken(struct checkup *checkup, int error)
{
    const char *what = checkup->state == CONNECTING ? "does not accept a connection" : "broke the connection";
    finish(checkup, is_our_own(error) ? CHECKUP_UNDECIDED : CHECKUP_FAILED,
           mem_printf("%s: %s", what, strerror(error)));
}

static void timed_out(struct deadline *deadline)
{
    struct checkup *checkup = mem_container(deadline, struct checkup, timeout);
    double seconds = (double)checkup->order.timeout_ms / 1000;
    char *why = checkup->state == CONNECTING
                    ? mem_printf("did not accept a connection within %g s", seconds)
                    : mem_printf("did not answer GET %s within %g s", checkup->path, seconds);
    finish(checkup, CHECKUP_FAILED, why);
}

/* ---- its steps ---- */

/* `seen` is the parser's. A 1xx is followed by more. */
static enum http_result parse(struct checkup *checkup, uint16_t *status, const char **fault_reason)
{
    static const struct http_limits limits = {.head = HEAD_MAX, .fields = HTTP_FIELDS_MAX};
    struct http_response response;
    struct http_fault fault;
    enum http_result result;
    for (;;) {
        result = http_response_parse(&response, HTTP_GET, checkup->in.p, checkup->in.n, &checkup->seen,
                                     &limits, &fault);
        if (result != HTTP_DONE || response.status >= 200 || response.status == 101)
            break;
        buf_drop(&checkup->in, response.length);
        checkup->seen = 0;
        if (checkup->in.n == 0)
            return HTTP_MORE;
    }
    if (result == HTTP_DONE)
        *status = response.status;
    else if (result == HTTP_BAD)
        *fault_reason = fault.reason;
    return result;
}

/* Takes what is there of the body off the socket: unread bytes would make the close a reset. */
static void drop_body(struct checkup *checkup)
{
    char scratch[4096];
    size_t dropped = 0;
    ssize_t n;
    while (dropped < BODY_MAX && (n = recv(checkup->fd, scratch, sizeof scratch, 0)) > 0)
        dropped += (size_t)n;
}

/* True: a head may still come. */
static bool look(struct checkup *checkup)
{
    uint16_t status = 0;
    const char *fault = NULL;
    switch (parse(checkup, &status, &fault)) {
    case HTTP_MORE:
        return true;
    case HTTP_BAD:
        finish(checkup, CHECKUP_FAILED,
               mem_printf("gave no valid answer to GET %s: %s", checkup->path, fault));
        return false;
    case HTTP_DONE:
        break;
    }
    drop_body(checkup);
    bool passed = status >= 200 && status < 400;
    finish(checkup, passed ? CHECKUP_PASSED : CHECKUP_FAILED,
           passed ? NULL : mem_printf("answered GET %s with %u", checkup->path, status));
    return false;
}

static void hear(struct checkup *checkup)
{
    ssize_t n;
    do {
        n = recv(checkup->fd, buf_reserve(&checkup->in, 4096), 4096, 0);
        if (n > 0)
            checkup->in.n += (size_t)n;
    } while (n > 0 && look(checkup));
    if (checkup->state == OVER)
        return;
    if (n == 0)
        finish(checkup, CHECKUP_FAILED,
               mem_printf("closed the connection before it had answered GET %s", checkup->path));
    else if (errno != EAGAIN && errno != EINTR)
        broken(checkup, errno);
}

static void await(struct checkup *checkup, short what);

static void ask(struct checkup *checkup)
{
    ssize_t n = send(checkup->fd, checkup->out.p, checkup->out.n, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        broken(checkup, errno);
        return;
    }
    buf_drop(&checkup->out, n > 0 ? (size_t)n : 0);
    if (checkup->out.n > 0)
        return;
    checkup->state = HEARING;
    await(checkup, EV_READ | EV_PERSIST);
}

/* Linux connects a socket to itself when its own port, picked from the ephemeral range, is the one that it
 * asks for: nobody listens there. */
static bool is_itself(int fd)
{
    struct sockaddr_storage own = {0}, peer = {0};
    socklen_t own_length = sizeof own, peer_length = sizeof peer;
    return getsockname(fd, (struct sockaddr *)&own, &own_length) == 0 && own.ss_family != AF_UNIX &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_length) == 0 && own_length == peer_length &&
           memcmp(&own, &peer, own_length) == 0;
}

static void connected(struct checkup *checkup)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(checkup->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    if (error == 0 && is_itself(checkup->fd))
        error = ECONNREFUSED;
    if (error != 0) {
        broken(checkup, error);
    } else if (checkup->path[0] == '\0') {
        (void)!send(checkup->fd, checkup->out.p, checkup->out.n,
                    MSG_NOSIGNAL); /* it has accepted: that is all */
        finish(checkup, CHECKUP_PASSED, NULL);
    } else {
        checkup->state = ASKING;
        ask(checkup);
    }
}

static void ready(evutil_socket_t fd, short what, void *arg)
{
    struct checkup *checkup = arg;
    (void)fd;
    (void)what;
    if (checkup->state == CONNECTING)
        connected(checkup);
    else if (checkup->state == ASKING)
        ask(checkup);
    else
        hear(checkup);
}

/* Ends the check where events cannot be had. */
static void await(struct checkup *checkup, short what)
{
    if (event_initialized(&checkup->event))
        event_del(&checkup->event);
    event_assign(&checkup->event, loop_base(checkup->loop), checkup->fd, what, ready, checkup);
    if (event_add(&checkup->event, NULL) != 0)
        broken(checkup, ENOMEM);
}

/* Returns 0 while it connects, else errno. */
static int begin(struct checkup *checkup)
{
    const struct checkup_order *order = &checkup->order;
    checkup->fd = socket(order->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (checkup->fd < 0)
        return errno;
    event_assign(&checkup->event, loop_base(checkup->loop), checkup->fd, EV_WRITE | EV_PERSIST, ready,
                 checkup);
    if (connect(checkup->fd, (const struct sockaddr *)&order->address, order->length) != 0 &&
        errno != EINPROGRESS)
        return errno;
    return 0;
}

struct checkup *checkup_start(struct loop *loop, const struct checkup_order *order)
{
    struct checkup *checkup = mem_zero(1, sizeof *checkup);
    checkup->loop = loop;
    checkup->order = *order;
    checkup->path = mem_dup(order->path);
    checkup->telling.run = tell;
    if (order->proxy_protocol != 0)
        checkup->out.n =
            proxy_header_write(order->proxy_protocol, NULL, buf_reserve(&checkup->out, PROXY_HEADER_ROOM));
    if (order->path[0] != '\0')
        buf_printf(&checkup->out,
                   "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: upswap-health/" PACKAGE_VERSION
                   "\r\nAccept: */*\r\nX-Forwarded-Proto: http\r\nConnection: close\r\n\r\n",
                   order->path, order->host);
    deadline_init(&checkup->timeout, loop, timed_out);
    int error = begin(checkup);
    if (error != 0) {
        broken(checkup, error);
        return checkup;
    }
    deadline_set(&checkup->timeout, order->timeout_ms);
    await(checkup, EV_WRITE | EV_PERSIST);
    return checkup;
}

void checkup_cancel(struct checkup *checkup)
{
    checkup->order.done = NULL;
    if (checkup->state != OVER)
        finish(checkup, CHECKUP_UNDECIDED, NULL);
}
