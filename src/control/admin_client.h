/* admin_client: one connection of the admin API: reads requests, one after the other, hands each to the
 * server's dispatcher and writes the answers in order. */
#pragma once

#include "control/admin.h"
#include "control/admin_request.h"

#include <sys/queue.h>

/* Bytes: no more is put behind answers that nobody has read yet. */
#define ADMIN_OUTPUT_MAX ((size_t)256 * 1024)

TAILQ_HEAD(admin_clients, admin_client);

/* What all connections share. Embedded in the server. */
struct admin_host {
    struct loop *loop;
    struct admin_limits limits;
    struct admin_owners owners;
    struct names *names;                    /* of users */
    bool (*is_proxy)(void *arg, pid_t pid); /* NULL: none is */
    void *is_proxy_arg;
    char *token; /* what clients over TCP must show; NULL: nobody is let in there */
    struct admin_clients clients;
    struct admin_clients idle; /* of them: those between two requests, the longest idle first */
    size_t count;
    void (*dispatch)(void *arg, struct admin_request *request); /* takes the request over */
    void (*closed)(void *arg);                                  /* a descriptor was returned */
    void *arg;
};

/* Takes over an accepted socket. `peer` is NULL for one that came by TCP. */
void admin_client_new(struct admin_host *host, int fd, const struct admin_peer *peer);
/* The one whose end costs least: the longest idle, else the oldest that has no request under way. Whoever
 * came by TCP, where a client need not be known to connect, costs only others that did (`tcp`). NULL: there
 * is none. */
struct admin_client *admin_client_spare(const struct admin_host *host, bool tcp);
/* Those who came by TCP have to come again: what they were let in by counts no more. Whose answer may never
 * end is cut; others whose request is with its handler are answered first. */
void admin_client_dismiss_tcp(struct admin_host *host);
/* Closes it; it is freed after the event turn. */
void admin_client_close(struct admin_client *client);

/* For admin_request.c: where answers are written, and that one is complete. The client may be closed by that.
 */
struct evbuffer *admin_client_output(const struct admin_client *client);
void admin_client_answered(struct admin_client *client, bool keep_alive);
void admin_request_free(struct admin_request *request);
