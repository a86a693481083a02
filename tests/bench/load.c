/* load: clients of HTTP/1.1 over plain connections, for what wrk cannot do: uploads, a connection per
 * request, a constant rate, and the longest gaps. At a rate a request's time runs from when it was due,
 * whether or not a connection was free for it, so a server that stalls is charged for all that it kept
 * waiting. Invariant: what is counted was answered with 200 and is complete; anything else ends the program
 * with status 1. usage: load PORT SECONDS CONNECTIONS [path=PATH] [upload=BYTES] [rate=REQUESTS-A-SECOND]
 * [window=MS] [once] once: a connection per request. window: also the longest time and the longest gap of
 * each so many ms. Prints one object of JSON; times are in ns, that of the start is of the monotonic clock.
 */
#include "histogram.h"
#include "net.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 64
#define PIECE 65536

struct client {
    int fd;
    bool busy;          /* a request is under way */
    bool leaving;       /* once: it is answered, and the server is to close */
    uint64_t since_ns;  /* from when its time runs */
    uint64_t answer_ns; /* when the last answer was complete; 0: none was */
    size_t to_send;     /* bytes of the request that are left */
    char head[4096];    /* of the answer */
    size_t n;
    uint64_t to_come; /* bytes of the body, once the head is there */
    bool has_head;
    struct client *next_free;
};

static struct {
    uint16_t port;
    const char *path;
    size_t upload;
    double rate;
    uint64_t window_ns;
    bool once;
} settings = {.path = "/"};

static int epoll;
static volatile sig_atomic_t stopped;
static char *request; /* head and body */
static size_t request_size;
static uint64_t start_ns, end_ns, due; /* due: requests that have been, at the rate */
static struct client *free_clients;
static struct histogram times;
static size_t window_count;
static uint64_t *longest_ns, *gaps_ns; /* of each window */

_Noreturn static void fail(const struct client *client, const char *what)
{
    fprintf(stderr, "load: %s: %.200s\n", what, client->head);
    exit(1);
}

/* ---- requests ---- */

static void make_request(void)
{
    request = calloc(1, settings.upload + strlen(settings.path) + 256);
    if (request == NULL)
        net_die("calloc");
    int n = sprintf(request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n", settings.upload > 0 ? "POST" : "GET",
                    settings.path, settings.port);
    if (settings.upload > 0)
        n += sprintf(request + n, "Content-Length: %zu\r\n", settings.upload);
    n += sprintf(request + n, settings.once ? "Connection: close\r\n\r\n" : "\r\n");
    request_size = (size_t)n + settings.upload;
}

static void send_request(struct client *client)
{
    while (client->to_send > 0) {
        ssize_t sent =
            send(client->fd, request + request_size - client->to_send, client->to_send, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != ENOTCONN)
            fail(client, strerror(errno));
        if (sent < 0)
            return;
        client->to_send -= (size_t)sent;
    }
}

static void connect_client(struct client *client)
{
    client->fd = net_connect(settings.port);
    net_watch(epoll, client->fd, client);
}

static void ask(struct client *client, uint64_t since_ns)
{
    client->busy = true;
    client->since_ns = since_ns;
    client->to_send = request_size;
    if (client->fd < 0)
        connect_client(client);
    send_request(client);
}

/* ---- answers ---- */

static void note(struct client *client, uint64_t now_ns)
{
    uint64_t time_ns = now_ns - client->since_ns;
    uint64_t gap_ns = client->answer_ns != 0 ? now_ns - client->answer_ns : 0;
    histogram_add(&times, time_ns);
    client->answer_ns = now_ns;
    size_t at = settings.window_ns != 0 ? (now_ns - start_ns) / settings.window_ns : window_count;
    if (at >= window_count)
        return;
    if (time_ns > longest_ns[at])
        longest_ns[at] = time_ns;
    if (gap_ns > gaps_ns[at])
        gaps_ns[at] = gap_ns;
}

static void disconnect(struct client *client)
{
    close(client->fd);
    client->fd = -1;
    client->leaving = false;
}

/* Whoever is done asks again at once, or is free for what is due next. */
static void go_on(struct client *client, uint64_t now_ns)
{
    client->busy = false;
    if (settings.rate == 0 && now_ns < end_ns)
        ask(client, now_ns);
    if (settings.rate > 0) {
        client->next_free = free_clients;
        free_clients = client;
    }
}

static void finish(struct client *client)
{
    uint64_t now_ns = net_now_ns();
    note(client, now_ns);
    client->n = 0;
    client->has_head = false;
    if (settings.once)
        client->leaving = true;
    else
        go_on(client, now_ns);
}

/* Looks for the head's end in what came; the rest of it is body. */
static void take_head(struct client *client)
{
    client->head[client->n] = '\0';
    char *end = strstr(client->head, "\r\n\r\n");
    if (end == NULL && client->n == sizeof client->head - 1)
        fail(client, "a head without an end");
    if (end == NULL)
        return;
    const char *length = strcasestr(client->head, "\r\ncontent-length:");
    if (strncmp(client->head, "HTTP/1.1 200 ", 13) != 0 || length == NULL || length > end)
        fail(client, "an answer that is none");
    size_t body = client->n - (size_t)(end + 4 - client->head);
    client->to_come = strtoull(length + 17, NULL, 10);
    client->has_head = true;
    if (body > client->to_come)
        fail(client, "more than one answer");
    client->to_come -= body;
}

/* What is only counted is not copied. False: there is no more for now. */
static bool receive(struct client *client)
{
    bool counts = client->has_head;
    size_t room = counts ? client->to_come : sizeof client->head - 1 - client->n;
    ssize_t got = counts ? recv(client->fd, NULL, room, MSG_TRUNC)
                         : recv(client->fd, client->head + client->n, room, 0);
    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0)
        fail(client, got == 0 ? "cut" : strerror(errno));
    if (counts)
        client->to_come -= (uint64_t)got;
    else
        client->n += (size_t)got;
    if (!counts)
        take_head(client);
    return true;
}

/* The end of a connection that is for one request: whoever waited for it may ask again. */
static bool has_left(struct client *client)
{
    char byte;
    if (!client->leaving || recv(client->fd, &byte, 1, 0) != 0)
        return false;
    disconnect(client);
    go_on(client, net_now_ns());
    return true;
}

static void serve(struct client *client)
{
    if (client->busy && client->to_send > 0)
        send_request(client);
    while (client->busy && !client->leaving && receive(client)) {
        if (client->has_head && client->to_come == 0)
            finish(client);
    }
    if (client->leaving)
        has_left(client);
}

/* ---- time ---- */

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

/* Sends all that is due as far as there are clients; returns ns until something is. */
static uint64_t send_due(void)
{
    uint64_t now_ns = net_now_ns(), next_ns;
    for (;;) {
        next_ns = start_ns + (uint64_t)((double)due * 1e9 / settings.rate);
        if (next_ns > now_ns || next_ns >= end_ns || free_clients == NULL)
            break;
        struct client *client = free_clients;
        free_clients = client->next_free;
        due++;
        ask(client, next_ns);
    }
    return next_ns > now_ns ? next_ns - now_ns : end_ns - now_ns;
}

static bool turn(void)
{
    struct epoll_event events[EVENTS];
    uint64_t wait_ns = settings.rate > 0 ? send_due() : UINT64_MAX, now_ns = net_now_ns();
    if (now_ns >= end_ns || stopped)
        return false;
    if (wait_ns > end_ns - now_ns)
        wait_ns = end_ns - now_ns;
    struct timespec wait = {(time_t)(wait_ns / 1000000000), (long)(wait_ns % 1000000000)};
    int count = epoll_pwait2(epoll, events, EVENTS, &wait, NULL);
    for (int i = 0; i < count; i++)
        serve(events[i].data.ptr);
    return true;
}

static void print_windows(const char *name, const uint64_t *values)
{
    printf(", \"%s\": [", name);
    for (size_t i = 0; i < window_count; i++)
        printf("%s%llu", i > 0 ? ", " : "", (unsigned long long)values[i]);
    printf("]");
}

static void print(double seconds)
{
    if (settings.window_ns != 0 && (double)window_count > seconds * 1e9 / (double)settings.window_ns)
        window_count = (size_t)(seconds * 1e9 / (double)settings.window_ns);
    printf("{\"requests\": %llu, \"seconds\": %.3f, \"start\": %llu, \"p50\": %llu, \"p99\": %llu, "
           "\"p99.9\": %llu, \"longest\": %llu",
           (unsigned long long)times.count, seconds, (unsigned long long)start_ns,
           (unsigned long long)histogram_quantile(&times, 0.5),
           (unsigned long long)histogram_quantile(&times, 0.99),
           (unsigned long long)histogram_quantile(&times, 0.999), (unsigned long long)times.longest);
    if (window_count > 0) {
        print_windows("times", longest_ns);
        print_windows("gaps", gaps_ns);
    }
    printf("}\n");
}

static bool set(const char *word)
{
    const char *value = strchr(word, '=');
    settings.once |= strcmp(word, "once") == 0;
    if (value == NULL)
        return strcmp(word, "once") == 0;
    value++;
    if (strncmp(word, "path=", 5) == 0)
        settings.path = value;
    else if (strncmp(word, "upload=", 7) == 0)
        settings.upload = strtoul(value, NULL, 10);
    else if (strncmp(word, "rate=", 5) == 0)
        settings.rate = strtod(value, NULL);
    else if (strncmp(word, "window=", 7) == 0)
        settings.window_ns = strtoull(value, NULL, 10) * 1000000;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    bool good = argc > 3;
    for (int i = 4; i < argc; i++)
        good = good && set(argv[i]);
    if (!good) {
        fputs("usage: load PORT SECONDS CONNECTIONS [path=PATH] [upload=BYTES] [rate=REQUESTS-A-SECOND] "
              "[window=MS] [once]\n",
              stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, stop);
    prctl(PR_SET_TIMERSLACK, 1UL); /* ns */
    settings.port = (uint16_t)atoi(argv[1]);
    double seconds = strtod(argv[2], NULL);
    unsigned long count = strtoul(argv[3], NULL, 10);
    make_request();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    window_count = settings.window_ns != 0 ? (size_t)(seconds * 1e9 / (double)settings.window_ns) : 0;
    longest_ns = calloc(2 * window_count + 1, sizeof *longest_ns);
    gaps_ns = longest_ns + window_count;
    struct client *clients = calloc(count, sizeof *clients);
    if (epoll < 0 || longest_ns == NULL || clients == NULL)
        net_die("load");
    start_ns = net_now_ns();
    end_ns = start_ns + (uint64_t)(seconds * 1e9);
    for (unsigned long i = 0; i < count; i++) {
        clients[i].fd = -1;
        go_on(&clients[i], start_ns);
    }
    while (turn())
        ;
    print((double)(net_now_ns() - start_ns) / 1e9);
    free(clients);
    return 0;
}
