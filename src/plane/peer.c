#include "plane/peer.h"

#include "base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define MAPPED 12 /* bytes before an IPv4 address in its mapped form */

uint16_t peer_address(const struct sockaddr_storage *from, uint8_t address[16])
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)from;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
    if (from->ss_family == AF_INET6) {
        memcpy(address, &in6->sin6_addr, 16);
        return ntohs(in6->sin6_port);
    }
    address_map((const uint8_t *)&in->sin_addr, address);
    return ntohs(in->sin_port); /* NOLINT: of no family it is all zeros */
}

uint16_t peer_local(int fd, uint8_t address[16])
{
    struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
    getsockname(fd, (struct sockaddr *)&name, &(socklen_t){sizeof name});
    return peer_address(&name, address);
}

void peer_owner(const uint8_t address[16], uint8_t owner[16])
{
    memcpy(owner, address, 16);
    if (!address_is_mapped(address))
        memset(owner + 8, 0, 8);
}

void peer_set_address(struct peer *peer, const uint8_t address[16])
{
    bool v4 = address_is_mapped(address);
    memcpy(peer->address, address, sizeof peer->address);
    inet_ntop(v4 ? AF_INET : AF_INET6, address + (v4 ? MAPPED : 0), peer->text, sizeof peer->text);
    peer->text_length = (uint8_t)strlen(peer->text);
}

struct proxy_ends peer_ends(const struct peer *peer)
{
    struct proxy_ends ends = {.source_port = peer->from_port, .destination_port = peer->local_port};
    memcpy(ends.source, peer->address, sizeof ends.source);
    memcpy(ends.destination, peer->local, sizeof ends.destination);
    return ends;
}

void peer_set_ends(struct peer *peer, const struct proxy_ends *ends)
{
    peer_set_address(peer, ends->source);
    peer->from_port = ends->source_port;
    memcpy(peer->local, ends->destination, sizeof peer->local);
    peer->local_port = ends->destination_port;
    peer->port_length = (uint8_t)snprintf(peer->port, sizeof peer->port, "%u", ends->destination_port);
}
