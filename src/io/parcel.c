#include "io/parcel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for the descriptors, aligned as the kernel wants it. */
union space {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(PARCEL_FDS_MAX * sizeof(int))];
};

bool parcel_send(int socket, const void *bytes, size_t size, const struct parcel *parcel)
{
    struct iovec part = {(void *)bytes, size};
    union space space = {0};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (parcel->fd_count > 0) {
        size_t fds_size = parcel->fd_count * sizeof(int);
        header.msg_control = &space;
        header.msg_controllen = CMSG_SPACE(fds_size);
        space.head = (struct cmsghdr){CMSG_LEN(fds_size), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&space.head), parcel->fds, fds_size);
    }
    ssize_t n;
    do
        n = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size;
}

ssize_t parcel_receive(int socket, void *bytes, size_t size, struct parcel *parcel, int flags)
{
    struct iovec part = {bytes, size};
    union space space;
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &space, .msg_controllen = sizeof space};
    parcel->fd_count = 0;
    ssize_t n;
    do
        n = recvmsg(socket, &header, flags | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    struct cmsghdr *found = n < 0 ? NULL : CMSG_FIRSTHDR(&header);
    if (found != NULL && found->cmsg_level == SOL_SOCKET && found->cmsg_type == SCM_RIGHTS) {
        parcel->fd_count = (found->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(parcel->fds, CMSG_DATA(found), parcel->fd_count * sizeof(int));
    }
    if (n < 0 || (header.msg_flags & MSG_CTRUNC) == 0)
        return n;
    parcel_close(parcel);
    errno = EMFILE;
    return -1;
}

void parcel_close(struct parcel *parcel)
{
    for (size_t i = 0; i < parcel->fd_count; i++)
        close(parcel->fds[i]);
    parcel->fd_count = 0;
}
