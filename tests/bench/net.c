#include "net.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

_Noreturn void net_die(const char *what)
{
    perror(what);
    exit(1);
}

uint64_t net_now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int open_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) != 0)
        net_die("socket");
    return fd;
}

int net_listen(uint16_t port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = open_socket();
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) != 0 ||
        bind(fd, (struct sockaddr *)&name, sizeof name) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&name, &(socklen_t){sizeof name}) != 0)
        net_die("listen");
    if (port == 0 && (printf("%u\n", ntohs(name.sin_port)) < 0 || fflush(stdout) != 0))
        net_die("stdout");
    return fd;
}

/* What has been set on a listening socket holds for its connections. */
int net_accept(int listening)
{
    int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED)
        net_die("accept");
    return fd;
}

int net_connect(uint16_t port)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = open_socket();
    if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0 && errno != EINPROGRESS)
        net_die("connect");
    return fd;
}

void net_watch(int epoll, int fd, void *thing)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = thing};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        net_die("epoll_ctl");
}
