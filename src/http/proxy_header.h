/* proxy_header: what a proxy in front says first on a connection: whom it speaks for (HAProxy's PROXY
 * protocol, versions 1 and 2: proxy-protocol.txt). Reading takes whatever the document allows and refuses all
 * else; writing is for connections to instances. */
#pragma once

#include "http/http.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes of one that is read: addresses need 232 at most, the rest is room for TLVs. A longer one is refused.
 */
#define PROXY_HEADER_MAX 4096
/* Bytes of one that is written. */
#define PROXY_HEADER_ROOM 107

/* Both ends of a client's connection; IPv4 as IPv4-mapped IPv6, ports in host order. */
struct proxy_ends {
    uint8_t source[16], destination[16];
    uint16_t source_port, destination_port;
};

struct proxy_header {
    size_t length; /* bytes; what follows is the client's */
    bool known;    /* false: the connection's own ends hold (LOCAL, UNKNOWN, or a family besides IP) */
    struct proxy_ends ends; /* where known */
};

/* Reads the header at the front of what has come so far: HTTP_MORE until it is whole. Refused are a first
 * byte that begins no header, another version, command or family, a length that cannot be, and a checksum
 * (the TLV CRC32C) that is wrong; other TLVs are passed over. */
enum http_result proxy_header_read(struct proxy_header *header, const void *bytes, size_t count);

/* Writes one of version 1 or 2, of the whole PROXY_HEADER_ROOM at most. `ends` NULL: upswap speaks for itself
 * (LOCAL; UNKNOWN in version 1). Returns its length. */
size_t proxy_header_write(unsigned version, const struct proxy_ends *ends, char out[PROXY_HEADER_ROOM]);
