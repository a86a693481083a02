/* behalf: connects to Unix sockets on behalf of another process, with no more rights than that one has. So
 * who looks whether a socket can be connected to finds what that one will find. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#define BEHALF_NAME_MAX 64 /* bytes with the NUL; a longer one is cut */

/* A process without capabilities. */
struct behalf {
    bool is_other; /* of uid and gid, and of no further group; else of this process's own */
    uid_t uid;
    gid_t gid;
    char name[BEHALF_NAME_MAX]; /* of the user, for messages */
};

/* As connect(2), with the rights of that process where it is a Unix socket that is connected to; NULL: with
 * one's own. This process, its signals and its other threads do not change. */
int behalf_connect(const struct behalf *behalf, int fd, const struct sockaddr *address, socklen_t length);

/* The half sentence for an error of such a connection, made at once or found later: strerror's, or what would
 * mend a socket that only that process may not connect to. To be freed. */
char *behalf_why(const struct behalf *behalf, const struct sockaddr *address, int error);
