/* The server: accepts, keeps the number of connections bounded, and hands requests to the routes. */
#include "control/admin.h"

#include "base/mem.h"
#include "control/admin_client.h"
#include "control/api.h"
#include "io/listener.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

const struct admin_limits admin_limits_usual = {
    .connections = 256,
    .head = 10000,
    .body = 30000,
    .idle = 60000,
    .stall = 30000,
    .linger = 2000,
    .name = 1000,
};

/* One listening socket. */
struct door {
    struct admin *admin;
    bool tcp;
    int fd;                    /* -1: none */
    struct listener *listener; /* on it, or NULL */
};

struct admin {
    struct admin_host host;
    struct api api;
    struct door local, tcp;
};

/* What cannot be sent at once is not worth waiting for. */
static void turn_away(int fd)
{
    static const char body[] = "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
                               "\"detail\":\"too many admin connections are open; close some\"}\n";
    char answer[sizeof body + 256];
    int n = snprintf(answer, sizeof answer,
                     "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                     sizeof body - 1, body);
    ssize_t sent = send(fd, answer, (size_t)n, MSG_NOSIGNAL);
    (void)sent;
    close(fd);
}

/* Nobody has to leave for one who is not let in anyway. */
static bool make_room(struct admin_host *host, const struct admin_peer *peer)
{
    struct admin_client *spare = NULL;
    if (host->count < host->limits.connections)
        return true;
    if (peer == NULL || peer->let_in)
        spare = admin_client_spare(host, peer == NULL);
    if (spare != NULL)
        admin_client_close(spare);
    return spare != NULL;
}

/* A proxy that was taken over may have the group of the socket; it is the last that should command. */
static void ask_peer(const struct admin_host *host, struct admin_peer *peer, int fd)
{
    admin_peer_ask(peer, fd, &host->owners);
    if (host->is_proxy != NULL && host->is_proxy(host->is_proxy_arg, peer->pid))
        peer->let_in = false;
}

static void accepted(void *arg, int fd, const struct sockaddr_storage *address)
{
    (void)address;
    struct door *door = arg;
    struct admin_host *host = &door->admin->host;
    struct admin_peer known, *peer = door->tcp ? NULL : &known;
    if (peer != NULL)
        ask_peer(host, peer, fd);
    if (make_room(host, peer))
        admin_client_new(host, fd, peer);
    else
        turn_away(fd);
}

static void client_closed(void *arg)
{
    struct admin *admin = arg;
    if (admin->local.listener != NULL)
        listener_wake(admin->local.listener);
    if (admin->tcp.listener != NULL)
        listener_wake(admin->tcp.listener);
}

static void close_door(struct door *door)
{
    if (door->listener != NULL)
        listener_free(door->listener);
    door->listener = NULL;
}

static void open_door(struct door *door, int fd)
{
    close_door(door);
    door->fd = fd;
    if (fd >= 0)
        door->listener = listener_new(door->admin->host.loop, fd, accepted, door);
}

static void dispatch(void *arg, struct admin_request *request)
{
    struct admin *admin = arg;
    api_dispatch(&admin->api, request);
}

void admin_configure(struct admin *admin, const struct admin_options *options)
{
    bool tcp_stays = admin->tcp.fd == options->tcp_fd && str_is_same(admin->host.token, options->token);
    open_door(&admin->local, options->unix_fd);
    open_door(&admin->tcp, options->tcp_fd);
    admin->host.owners = options->owners;
    free(admin->host.token);
    admin->host.token = mem_dup(options->token);
    if (!tcp_stays)
        admin_client_dismiss_tcp(&admin->host);
}

struct admin *admin_start(struct loop *loop, const struct admin_options *options)
{
    struct admin *admin = mem_zero(1, sizeof *admin);
    signal(SIGPIPE, SIG_IGN); /* bufferevents write to clients that have gone */
    admin->host = (struct admin_host){
        .loop = loop,
        .is_proxy = options->is_proxy,
        .is_proxy_arg = options->arg,
        .limits = options->limits != NULL ? *options->limits : admin_limits_usual,
        .dispatch = dispatch,
        .closed = client_closed,
        .arg = admin,
    };
    admin->host.names = names_new(&(struct names_options){
        .loop = loop, .wait_ms = admin->host.limits.name, .look_up = options->look_up});
    TAILQ_INIT(&admin->host.clients);
    TAILQ_INIT(&admin->host.idle);
    admin->api = (struct api){.loop = loop,
                              .conductor = options->conductor,
                              .events = options->events,
                              .metrics = metrics_new(options->events)};
    admin->local = (struct door){.admin = admin, .fd = -1};
    admin->tcp = (struct door){.admin = admin, .tcp = true, .fd = -1};
    admin_configure(admin, options);
    return admin;
}

void admin_stop(struct admin *admin)
{
    close_door(&admin->local);
    close_door(&admin->tcp);
    while (!TAILQ_EMPTY(&admin->host.clients))
        admin_client_close(TAILQ_FIRST(&admin->host.clients));
    metrics_free(admin->api.metrics);
    names_free(admin->host.names);
    free(admin->host.token);
    free(admin);
}
