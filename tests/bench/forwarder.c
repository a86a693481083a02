/* forwarder: the floor of the benchmark: moves bytes between clients and an app and looks at none of them, so
 * nothing that does more can cost less. Invariant: each client has one connection to the app, and bytes that
 * could not be sent are the only ones that are kept.
 * usage: forwarder PORT APP_PORT [once|splice]
 * once: for a connection per request: the first bytes from the app are taken for the whole answer; behind
 * them the client is closed, and the connection to the app is the next one's splice: moves bytes by way of a
 * pipe and never sees them, for long bodies */
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 64
#define PIECE 65536
#define PIPE_SIZE (1 << 20)

/* One direction of a pair: what came from `from` goes to `to`. */
struct way {
    size_t waiting, at; /* bytes that could not be sent: in the pipe, or in `kept` from `at` on */
    char *kept;         /* PIECE bytes; NULL: none had to be kept yet */
    int pipe[2];
};

struct pair {
    struct end {
        struct pair *pair;
        int fd; /* -1: none */
    } client, app;
    struct way out, back; /* to the app, and from it */
    struct pair *next;    /* in a list of pairs without a client */
};

static int epoll;
static uint16_t app_port;
static bool once, splices;
static struct pair *kept_pairs;  /* with a connection to the app */
static struct pair *empty_pairs; /* events of this turn may still name them, so none is freed */

static struct pair *take(struct pair **list)
{
    struct pair *pair = *list;
    if (pair != NULL)
        *list = pair->next;
    return pair;
}

static void put(struct pair **list, struct pair *pair)
{
    pair->next = *list;
    *list = pair;
}

static void open_way(struct way *way)
{
    way->waiting = 0;
    if (splices &&
        (pipe2(way->pipe, O_NONBLOCK | O_CLOEXEC) != 0 || fcntl(way->pipe[1], F_SETPIPE_SZ, PIPE_SIZE) < 0))
        net_die("pipe");
}

static void close_way(struct way *way)
{
    if (splices) {
        close(way->pipe[0]);
        close(way->pipe[1]);
    }
}

/* As upswap's own connections over loopback, and what a listener accepts: without it, where the system's
 * congestion control paces, this would be no floor for long bodies. */
static int unpaced(int fd)
{
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) != 0)
        net_die("TCP_CONGESTION");
    return fd;
}

static struct pair *make_pair(void)
{
    struct pair *pair = take(&empty_pairs);
    if (pair == NULL)
        pair = calloc(1, sizeof *pair);
    if (pair == NULL)
        net_die("calloc");
    open_way(&pair->out);
    open_way(&pair->back);
    pair->client = (struct end){pair, -1};
    pair->app = (struct end){pair, unpaced(net_connect(app_port))};
    net_watch(epoll, pair->app.fd, &pair->app);
    return pair;
}

static void close_client(struct pair *pair)
{
    close(pair->client.fd);
    pair->client.fd = -1;
}

static void close_pair(struct pair *pair)
{
    close_client(pair);
    close(pair->app.fd);
    close_way(&pair->out);
    close_way(&pair->back);
    put(&empty_pairs, pair);
}

/* ---- by a buffer ---- */

static void keep(struct way *way, const char *bytes, size_t n)
{
    if (way->kept == NULL)
        way->kept = malloc(PIECE);
    if (way->kept == NULL)
        net_die("malloc");
    memcpy(way->kept, bytes, n);
    way->waiting = n;
    way->at = 0;
}

/* False: the other side takes no more for now. */
static bool send_kept(struct way *way, int to)
{
    while (way->waiting > 0) {
        ssize_t sent = send(to, way->kept + way->at, way->waiting, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        way->at += (size_t)sent;
        way->waiting -= (size_t)sent;
    }
    return true;
}

/* Bytes that came; 0: the end, or less than 0: none. A read that did not fill the room has taken all. */
static ssize_t copy(struct way *way, int from, int to)
{
    static char bytes[PIECE];
    ssize_t got, sum = 0;
    do {
        got = recv(from, bytes, sizeof bytes, 0);
        if (got <= 0)
            return sum > 0 && got < 0 ? sum : got;
        ssize_t sent = send(to, bytes, (size_t)got, MSG_NOSIGNAL);
        if (sent < got)
            keep(way, bytes + (sent > 0 ? sent : 0), (size_t)(got - (sent > 0 ? sent : 0)));
        sum += got;
    } while (got == sizeof bytes && way->waiting == 0);
    return sum;
}

/* ---- by a pipe ---- */

static bool send_piped(struct way *way, int to)
{
    while (way->waiting > 0) {
        ssize_t sent = splice(way->pipe[0], NULL, to, NULL, way->waiting, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (sent < 0)
            return false;
        way->waiting -= (size_t)sent;
    }
    return true;
}

static ssize_t pass(struct way *way, int from, int to)
{
    ssize_t got, sum = 0;
    do {
        got = splice(from, NULL, way->pipe[1], NULL, PIPE_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (got <= 0)
            return sum > 0 && got < 0 ? sum : got;
        way->waiting += (size_t)got;
        sum += got;
    } while (send_piped(way, to));
    return sum;
}

/* ---- events ---- */

/* As copy; what waited goes first. */
static ssize_t move(struct way *way, int from, int to)
{
    if (!(splices ? send_piped(way, to) : send_kept(way, to))) {
        errno = EAGAIN;
        return -1;
    }
    return splices ? pass(way, from, to) : copy(way, from, to);
}

static void read_client(struct pair *pair)
{
    ssize_t got = move(&pair->out, pair->client.fd, pair->app.fd);
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        close_pair(pair);
}

static void read_app(struct pair *pair)
{
    ssize_t got = move(&pair->back, pair->app.fd, pair->client.fd);
    if (got == 0)
        close_pair(pair);
    if (once && got > 0 && pair->back.waiting == 0) {
        close_client(pair);
        put(&kept_pairs, pair);
    }
}

static void take_client(int listening)
{
    int fd = net_accept(listening);
    if (fd < 0)
        return;
    struct pair *pair = take(&kept_pairs);
    if (pair == NULL)
        pair = make_pair();
    pair->client.fd = fd;
    if (once) /* its request is there: see main */
        read_client(pair);
    else
        net_watch(epoll, fd, &pair->client);
}

/* A connection to the app that is still being made sends nothing: what waits goes when it is there. */
static void serve(struct end *end, uint32_t events)
{
    struct pair *pair = end->pair;
    bool is_client = end == &pair->client;
    if (pair->client.fd < 0)
        return;
    if ((events & EPOLLIN) != 0)
        is_client ? read_client(pair) : read_app(pair);
    struct way *other = is_client ? &pair->back : &pair->out;
    if (pair->client.fd >= 0 && other->waiting > 0)
        is_client ? read_app(pair) : read_client(pair);
    if (is_client && pair->client.fd >= 0 && (events & EPOLLRDHUP) != 0)
        close_pair(pair); /* its end came with its last bytes: no edge will tell */
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    const char *mode = argc == 4 ? argv[3] : "";
    once = strcmp(mode, "once") == 0;
    splices = strcmp(mode, "splice") == 0;
    if (argc < 3 || argc > 4 || (argc == 4 && !once && !splices)) {
        fputs("usage: forwarder PORT APP_PORT [once|splice]\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    app_port = (uint16_t)atoi(argv[2]);
    int listening = unpaced(net_listen((uint16_t)atoi(argv[1])));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    /* A client that is accepted with its request needs no watching. */
    if (once && setsockopt(listening, IPPROTO_TCP, TCP_DEFER_ACCEPT, &(int){10}, sizeof(int)) != 0)
        net_die("TCP_DEFER_ACCEPT");
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event) != 0)
        net_die("epoll");
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            events[i].data.ptr == NULL ? take_client(listening) : serve(events[i].data.ptr, events[i].events);
    }
}
