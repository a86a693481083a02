/* Asks which addresses this machine has, and not whether one could be bound, which it may be before a machine
 * has it (ip_nonlocal_bind). */
#include "base/reach.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

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

static bool is_of(const struct sockaddr *name, const uint8_t ip[16])
{
    uint8_t bytes[16];
    if (name == NULL)
        return false;
    if (name->sa_family == AF_INET6)
        return memcmp(&((const struct sockaddr_in6 *)name)->sin6_addr, ip, sizeof bytes) == 0;
    if (name->sa_family != AF_INET)
        return false;
    address_map((const uint8_t *)&((const struct sockaddr_in *)name)->sin_addr, bytes);
    return memcmp(bytes, ip, sizeof bytes) == 0;
}

/* Where the kernel does not tell, nobody is refused for it. */
static bool is_of_this_machine(const uint8_t ip[16])
{
    struct ifaddrs *all = NULL;
    bool found = is_loopback(ip);
    if (found || getifaddrs(&all) != 0)
        return found;
    for (const struct ifaddrs *one = all; one != NULL && !found; one = one->ifa_next)
        found = is_of(one->ifa_addr, ip);
    freeifaddrs(all);
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
