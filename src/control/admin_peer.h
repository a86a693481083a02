/* admin_peer: who is at the other end of the admin socket, as the kernel noted it when they connected. */
#pragma once

#include "deploy/registry.h" /* struct asker */

#include <sys/types.h>

/* Whom the socket is for, besides root, whatever the mode of its file lets through. */
struct admin_owners {
    uid_t user;
    gid_t group; /* with those that have it besides their own */
};

struct admin_peer {
    bool known;  /* false: the kernel does not say */
    bool let_in; /* root, the user, or in the group; who is not known is not */
    pid_t pid;
    uid_t uid;
};

/* Of a connected Unix socket. */
void admin_peer_ask(struct admin_peer *peer, int fd, const struct admin_owners *owners);
/* As events and records tell it, by that name. */
void admin_peer_name(const struct admin_peer *peer, const char *name, struct asker *asker);
