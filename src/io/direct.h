/* direct: the system calls that a worker makes for what goes through it, straight to the kernel. The C
 * library makes cancellation points of these, which in a program with threads are two atomic operations a
 * call. No thread here is ever cancelled. Each is what the function without `direct_` is: same arguments,
 * result and errno.
 */
#pragma once

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* A sanitizer looks at what the C library's functions read and write. GCC and clang tell of it differently.
 */
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define DIRECT_IS_WATCHED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(DIRECT_IS_WATCHED)
#define DIRECT(by_number, by_name) by_name
#else
#define DIRECT(by_number, by_name) by_number
#endif

static inline ssize_t direct_recv(int fd, void *bytes, size_t room, int flags)
{
    return DIRECT(syscall(SYS_recvfrom, fd, bytes, room, flags, NULL, NULL), recv(fd, bytes, room, flags));
}

static inline ssize_t direct_send(int fd, const void *bytes, size_t count, int flags)
{
    return DIRECT(syscall(SYS_sendto, fd, bytes, count, flags, NULL, 0), send(fd, bytes, count, flags));
}

static inline ssize_t direct_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return DIRECT(syscall(SYS_sendmsg, fd, message, flags), sendmsg(fd, message, flags));
}

/* At no offsets. */
static inline ssize_t direct_splice(int from, int to, size_t count, unsigned flags)
{
    return DIRECT(syscall(SYS_splice, from, NULL, to, NULL, count, flags),
                  splice(from, NULL, to, NULL, count, flags));
}

static inline int direct_epoll_wait(int fd, struct epoll_event *events, int most, int wait_ms)
{
    return DIRECT((int)syscall(SYS_epoll_pwait, fd, events, most, wait_ms, NULL, 0),
                  epoll_wait(fd, events, most, wait_ms));
}
