#include "plane/peer.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void peer_address(const struct sockaddr_storage *from, uint8_t address[16])
{
    if (from->ss_family == AF_INET6) {
        memcpy(address, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
    } else {
        memcpy(address, mapped, sizeof mapped);
        memcpy(address + sizeof mapped, &((const struct sockaddr_in *)from)->sin_addr, 4);
    }
}

void peer_set_address(struct peer *peer, const uint8_t address[16])
{
    bool v4 = memcmp(address, mapped, sizeof mapped) == 0;
    memcpy(peer->address, address, sizeof peer->address);
    inet_ntop(v4 ? AF_INET : AF_INET6, address + (v4 ? sizeof mapped : 0), peer->text, sizeof peer->text);
    peer->text_length = (uint8_t)strlen(peer->text);
}
