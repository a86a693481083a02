/* listener: sockets that accept. Opening (control) and accepting (workers) are apart, since descriptors
 * travel. */
#pragma once

#include "base/address.h"
#include "io/loop.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#define LISTENER_BACKLOG 4096

/* Opens `count` TCP sockets on one IP address with SO_REUSEPORT (one a worker), non-blocking, close-on-exec,
 * listening; IPv6 sockets are v6 only. Port 0: one free port for all. fds gets the descriptors; *address gets
 * the port. On failure none is left open. */
bool listener_open(struct address *address, unsigned count, int *fds, struct err *err) MUST_CHECK;

/* Opens a Unix socket at `path` with `mode` (and group gid, or -1), replacing a socket file that nobody
 * listens on; refuses if another process answers there or the file is no socket. Returns the descriptor or
 * -1. */
int listener_open_unix(const char *path, mode_t mode, gid_t group, struct err *err) MUST_CHECK;
/* Is there a socket at `path` that a process listens on? One that may not be asked counts. */
bool listener_is_answered(const char *path);

struct listener;

/* Accepts on fd (which stays the caller's) in `loop`, at most 64 a turn; each accepted descriptor is
 * non-blocking, close-on-exec, TCP_NODELAY, not paced if fd is bound to loopback (io/loopback.h), and the
 * callee's. Out of descriptors or memory is a normal state:
 * accepting pauses for up to 100 ms, or until listener_wake. */
struct listener *listener_new(struct loop *loop, int fd,
                              void (*accepted)(void *arg, int fd, const struct sockaddr_storage *peer),
                              void *arg);
/* What comes first over an accepted connection is acknowledged by the answer to it, not by a packet of its
 * own. Who accepts it sees to clients that wait for that with the rest (stream_acknowledge). */
void listener_answers_first(struct listener *listener);
/* Stops accepting; does not close fd. */
void listener_free(struct listener *listener);
/* A descriptor was returned: try again now if paused for lack of one. */
void listener_wake(struct listener *listener);
/* Accepts all that the kernel still holds (at most `most` connections), for the moment before a socket
 * closes. */
void listener_drain(struct listener *listener, unsigned most);
