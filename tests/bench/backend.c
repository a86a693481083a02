/* backend: the app of the benchmark: answers by the path, swallows what is uploaded, never closes, and costs
 * as little as it can, since it shares a core with the load. Invariant: of a connection's requests as many
 * answers leave, in their order, in as few calls as it takes. usage: backend PORT        / 13 bytes, /16k 16
 * KiB, /1m 1 MiB */
#include "net.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define EVENTS 64
#define HEAD_ROOM 8192
#define QUEUE 32 /* answers of one connection that wait; more requests are not read */

struct answer {
    const char *path;
    size_t body;
    char *bytes; /* head and body */
    size_t n;
};

/* The first whose path the request's begins with. */
static struct answer answers[] = {
    {.path = "/16k", .body = 16384}, {.path = "/1m", .body = 1 << 20}, {.path = "/", .body = 13}};

struct connection {
    int fd;
    char head[HEAD_ROOM + 1];
    size_t n;         /* bytes in head */
    uint64_t swallow; /* bytes of a body that are still to come */
    const struct answer *queue[QUEUE];
    unsigned count;
    size_t at; /* bytes of the first in the queue that have been sent */
};

static void make_answers(void)
{
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct answer *answer = &answers[i];
        answer->bytes = malloc(answer->body + 256);
        if (answer->bytes == NULL)
            net_die("malloc");
        int head = sprintf(answer->bytes,
                           "HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\n"
                           "Content-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
                           answer->body);
        memset(answer->bytes + head, 'x', answer->body);
        answer->n = (size_t)head + answer->body;
    }
}

static const struct answer *find_answer(const char *head)
{
    const char *path = strchr(head, ' ');
    const struct answer *answer = answers;
    while (path != NULL && strncmp(path + 1, answer->path, strlen(answer->path)) != 0 &&
           answer->path[1] != '\0')
        answer++;
    return answer;
}

static uint64_t body_length(const char *head)
{
    const char *field = head[0] == 'P' ? strcasestr(head, "\r\ncontent-length:") : NULL;
    return field == NULL ? 0 : strtoull(field + 17, NULL, 10);
}

/* Takes complete heads, and as much of a body as came with one. */
static void take_heads(struct connection *connection)
{
    char *at = connection->head, *end;
    if (connection->n == 0)
        return;
    connection->head[connection->n] = '\0';
    size_t left = connection->n;
    while (connection->count < QUEUE && connection->swallow == 0 && (end = strstr(at, "\r\n\r\n")) != NULL) {
        *end = '\0';
        connection->queue[connection->count++] = find_answer(at);
        connection->swallow = body_length(at);
        left -= (size_t)(end + 4 - at);
        at = end + 4;
        size_t body = connection->swallow < left ? connection->swallow : left;
        connection->swallow -= body;
        left -= body;
        at += body;
    }
    memmove(connection->head, at, left);
    connection->n = left;
}

/* An answer to an upload waits for its end. */
static void send_answers(struct connection *connection)
{
    unsigned ready = connection->swallow > 0 ? connection->count - 1 : connection->count;
    while (ready > 0) {
        struct iovec parts[QUEUE];
        for (unsigned i = 0; i < ready; i++)
            parts[i] = (struct iovec){connection->queue[i]->bytes, connection->queue[i]->n};
        parts[0].iov_base = (char *)parts[0].iov_base + connection->at;
        parts[0].iov_len -= connection->at;
        ssize_t sent = writev(connection->fd, parts, (int)ready);
        if (sent < 0)
            return;
        connection->at += (size_t)sent;
        while (ready > 0 && connection->at >= connection->queue[0]->n) {
            connection->at -= connection->queue[0]->n;
            memmove(connection->queue, connection->queue + 1,
                    --connection->count * sizeof *connection->queue);
            ready--;
        }
    }
}

/* Less than 0: there is nothing; 0: the end. What is swallowed is not even copied. */
static ssize_t receive(struct connection *connection)
{
    if (connection->swallow > 0) {
        ssize_t got = recv(connection->fd, NULL, connection->swallow, MSG_TRUNC);
        connection->swallow -= got > 0 ? (uint64_t)got : 0;
        return got;
    }
    ssize_t got = recv(connection->fd, connection->head + connection->n, HEAD_ROOM - connection->n, 0);
    connection->n += got > 0 ? (size_t)got : 0;
    return got;
}

/* False: the connection has ended. Edges come once, so it goes on until the kernel has no more, which a short
 * read of heads tells as well; that of an end may have come with the last bytes. */
static bool serve(struct connection *connection, bool ends)
{
    for (;;) {
        take_heads(connection);
        send_answers(connection);
        if (connection->count > 0 && connection->swallow == 0)
            return true; /* an edge will tell when there is room */
        size_t room = connection->swallow > 0 ? 0 : HEAD_ROOM - connection->n;
        ssize_t got = receive(connection);
        if (got <= 0)
            return got < 0 && errno == EAGAIN;
        if ((size_t)got < room && !ends) {
            take_heads(connection);
            if (connection->swallow == 0) {
                send_answers(connection);
                return true;
            }
        }
    }
}

static void serve_or_end(struct connection *connection, uint32_t events)
{
    if (serve(connection, (events & EPOLLRDHUP) != 0))
        return;
    close(connection->fd);
    free(connection);
}

static void take_connection(int epoll, int listening)
{
    int fd = net_accept(listening);
    struct connection *connection = fd < 0 ? NULL : calloc(1, sizeof *connection);
    if (connection == NULL)
        return;
    connection->fd = fd;
    net_watch(epoll, fd, connection);
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    if (argc != 2) {
        fputs("usage: backend PORT\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    make_answers();
    int listening = net_listen((uint16_t)atoi(argv[1]));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event) != 0)
        net_die("epoll");
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            events[i].data.ptr == NULL ? take_connection(epoll, listening)
                                       : serve_or_end(events[i].data.ptr, events[i].events);
    }
}
