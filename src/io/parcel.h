/* parcel: a small packet with descriptors, over a SOCK_SEQPACKET socket between processes that trust each
 * other. Inside the room io only; between roles it is link/channel.h. Makes system calls only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PARCEL_FDS_MAX = 6 };

struct parcel {
    int fds[PARCEL_FDS_MAX];
    size_t fd_count;
};

/* Never blocks; the descriptors stay the caller's. False with errno: it was not sent, not even in part. */
bool parcel_send(int socket, const void *bytes, size_t size, const struct parcel *parcel);

/* As recvmsg with `flags`: bytes of the packet, 0 at the end of the socket, -1 with errno. The descriptors,
 * closed on exec, are the caller's. If there was no room for one of them, all are closed: -1 with EMFILE, and
 * the packet is lost. */
ssize_t parcel_receive(int socket, void *bytes, size_t size, struct parcel *parcel, int flags);

/* Closes its descriptors. */
void parcel_close(struct parcel *parcel);
