/* peer: who is at the other end of a client's connection, and which listener it came by. Flat, so that it can
 * be copied. */
#pragma once

#include "base/str.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct peer {
    uint8_t address[16];         /* IPv4-mapped */
    char text[INET6_ADDRSTRLEN]; /* the same as text */
    uint8_t text_length;
    uint8_t port_length;
    char port[6];      /* the listener's, as text */
    uint32_t listener; /* id */
};

/* The 16 bytes of an IPv4 or IPv6 socket address. */
void peer_address(const struct sockaddr_storage *from, uint8_t address[16]);
/* Sets the address and writes its text. */
void peer_set_address(struct peer *peer, const uint8_t address[16]);

static inline struct str peer_text(const struct peer *peer)
{
    return (struct str){peer->text, peer->text_length};
}
static inline struct str peer_port(const struct peer *peer)
{
    return (struct str){peer->port, peer->port_length};
}
