#include "io/loopback.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>

#define UNPACED "reno"

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
    return address->sa_family == AF_INET &&
           ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

void loopback_unpace(int fd, const struct sockaddr *address)
{
    if (is_loopback(address))
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, UNPACED, sizeof UNPACED - 1);
}
