/* peer: who is at the other end of a client's connection, where it came in, and by which listener. Flat, so
 * that it can be copied. */
#pragma once

#include "base/str.h"
#include "http/proxy_header.h"
#include "route/snapshot.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct tls_identity;

struct peer {
    uint8_t address[16];         /* IPv4-mapped */
    char text[INET6_ADDRSTRLEN]; /* the same as text */
    uint8_t text_length;
    uint8_t port_length;
    bool tls;
    bool asked;                           /* for a certificate of its own */
    char port[6];                         /* that the client connected to, as text */
    const struct tls_identity *identity;  /* that it has proved; lives as long as the connection */
    const char *tls_version, *tls_cipher; /* static; NULL: none */
    uint64_t orphan_ms;                   /* since when the worlds name its listener no more, whose id may be
                                             another's now; 0: they do */
    struct snapshot_door door;            /* how its listener answers, or did when it was last named */
    uint16_t listener;                    /* id */
    uint16_t from_port;
    uint16_t local_port; /* as `port` */
    uint8_t local[16];   /* address that the client connected to, IPv4-mapped */
};

/* The 16 bytes of an IPv4 or IPv6 socket address; returns its port. */
uint16_t peer_address(const struct sockaddr_storage *from, uint8_t address[16]);
/* The same of this end of a socket. */
uint16_t peer_local(int fd, uint8_t address[16]);
/* Whom to count an address as: an IPv6 one as its /64, since one client can use all of it. */
void peer_owner(const uint8_t address[16], uint8_t owner[16]);
/* Sets the address and writes its text. */
void peer_set_address(struct peer *peer, const uint8_t address[16]);
/* Both ends of the connection as the PROXY protocol has them, and the other way round. */
struct proxy_ends peer_ends(const struct peer *peer);
void peer_set_ends(struct peer *peer, const struct proxy_ends *ends);

static inline struct str peer_text(const struct peer *peer)
{
    return (struct str){peer->text, peer->text_length};
}
static inline struct str peer_port(const struct peer *peer)
{
    return (struct str){peer->port, peer->port_length};
}
