/* admin: the API's server: HTTP/1.1 over the Unix socket and, with a token, over TCP, on bufferevents and
 * http/'s parser, since every refusal must be application/problem+json. Nothing waits here: handlers answer
 * now or through a request object later. */
#pragma once

#include "control/conductor.h"

struct admin;

struct admin_options {
    int unix_fd;       /* listening; owned by the caller */
    int tcp_fd;        /* -1: none */
    const char *token; /* for tcp_fd; compared in constant time */
    struct conductor *conductor;
    struct event_log *events;
};

struct admin *admin_start(struct loop *loop, const struct admin_options *options);
/* Takes other sockets or another token from now on (a reload); connections stay. */
void admin_configure(struct admin *admin, const struct admin_options *options);
void admin_stop(struct admin *admin);
