#include "base/reach.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct address_prefix loopback4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127}, 104};

/* Returns false where it is not an IP address. */
static bool ip_of(const struct address *address, uint8_t bytes[16])
{
    uint8_t ip4[4];
    if (address->kind == ADDRESS_IPV6)
        return inet_pton(AF_INET6, address->host, bytes) == 1;
    if (address->kind != ADDRESS_IPV4 || inet_pton(AF_INET, address->host, ip4) != 1)
        return false;
    address_map(ip4, bytes);
    return true;
}

static bool is_any(const uint8_t ip[16])
{
    static const uint8_t any6[16], any4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(ip, any6, sizeof any6) == 0 || memcmp(ip, any4, sizeof any4) == 0;
}

/* The kernel takes who connects to all addresses to the loopback one. */
static void bring_home(uint8_t ip[16])
{
    static const uint8_t home4[4] = {127, 0, 0, 1};
    if (!is_any(ip))
        return;
    if (address_is_mapped(ip))
        address_map(home4, ip);
    else
        memcpy(ip, &in6addr_loopback, 16);
}

static bool is_loopback(const uint8_t ip[16])
{
    return address_prefix_covers(&loopback4, ip) || memcmp(ip, &in6addr_loopback, 16) == 0;
}

struct name {
    union {
        struct sockaddr any;
        struct sockaddr_in ip4;
        struct sockaddr_in6 ip6;
    };
    socklen_t length;
};

static struct name name_of(const uint8_t ip[16])
{
    struct name name = {.length = sizeof name.ip6};
    if (address_is_mapped(ip)) {
        name.ip4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(9)};
        memcpy(&name.ip4.sin_addr, ip + 12, 4);
        name.length = sizeof name.ip4;
    } else {
        name.ip6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(9)};
        memcpy(&name.ip6.sin6_addr, ip, 16);
    }
    return name;
}

static bool is_same(const struct name *a, const struct name *b)
{
    if (a->any.sa_family == AF_INET)
        return memcmp(&a->ip4.sin_addr, &b->ip4.sin_addr, sizeof a->ip4.sin_addr) == 0;
    return memcmp(&a->ip6.sin6_addr, &b->ip6.sin6_addr, sizeof a->ip6.sin6_addr) == 0;
}

/* To an address of its own a machine sends from that very address. Nothing is sent to find out; and it is not
 * asked whether one could be bound, which it may be before the machine has it (ip_nonlocal_bind). Where the
 * kernel does not tell, nobody is refused for it. */
static bool is_of_this_machine(const uint8_t ip[16])
{
    struct name to = name_of(ip), from = to;
    if (is_loopback(ip))
        return true;
    int fd = socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool found = fd >= 0 && connect(fd, &to.any, to.length) == 0 &&
                 getsockname(fd, &from.any, &from.length) == 0 && is_same(&to, &from);
    if (fd >= 0)
        close(fd);
    return found;
}

bool reach_arrives(const struct address *target, const struct address *listening)
{
    uint8_t to[16], at[16];
    if (target->kind == ADDRESS_UNIX || listening->kind == ADDRESS_UNIX)
        return strcmp(target->host, listening->host) == 0;
    if (target->port != listening->port || !ip_of(target, to) || !ip_of(listening, at) ||
        address_is_mapped(to) != address_is_mapped(at))
        return false;
    bring_home(to);
    return is_any(at) ? is_of_this_machine(to) : memcmp(to, at, sizeof to) == 0;
}
