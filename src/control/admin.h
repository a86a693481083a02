/* admin: the API's server: HTTP/1.1 over the Unix socket and, with a token, over TCP, on bufferevents and
 * http/'s parser, since every refusal must be application/problem+json. Nothing waits here: handlers answer
 * now or through a request object later. */
#pragma once

#include "control/admin_peer.h"
#include "control/conductor.h"
#include "control/names.h"

struct admin;

/* Times in ms. */
struct admin_limits {
    /* Where there is no room, one makes it that has no request under way: the longest idle, else the oldest.
     * A newcomer who gets none that way is told with a 503. */
    size_t connections;
    uint64_t head, body, idle, stall; /* stall: an answer that is not read */
    uint64_t linger;                  /* reading on, after the last answer, so that it is not lost */
    uint64_t name;                    /* to find out what a user is called; then the number has to do */
};
extern const struct admin_limits admin_limits_usual;

struct admin_options {
    int unix_fd;                /* listening; owned by the caller */
    struct admin_owners owners; /* who is let in by unix_fd; others are told with a 403 */
    int tcp_fd;                 /* -1: none */
    const char *token;          /* for tcp_fd; compared in constant time. Copied */
    /* Is this process a proxy? It is never let in, whatever its user and group. NULL: there are none. */
    bool (*is_proxy)(void *arg, pid_t pid);
    void *arg; /* for is_proxy */
    struct conductor *conductor;
    struct event_log *events;
    const struct admin_limits *limits; /* NULL: the usual ones */
    names_look_up *look_up;            /* what users are called; NULL: as the system does */
};

/* From here on the process ignores SIGPIPE. */
struct admin *admin_start(struct loop *loop, const struct admin_options *options);
/* Takes other sockets or another token from now on (a reload). Connections stay, but those over TCP where its
 * socket or the token is another one: they end, and who is being answered is answered first. The old sockets
 * must still be open; conductor, events and limits are not looked at. */
void admin_configure(struct admin *admin, const struct admin_options *options);
void admin_stop(struct admin *admin);
