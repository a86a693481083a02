/* address: HOST:PORT, or the path of a Unix socket, as text taken apart, and network prefixes. Names are not
 * resolved here. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#define ADDRESS_HOST_MAX 254 /* bytes with the NUL: a DNS name has at most 253 */
#define ADDRESS_TEXT_MAX (ADDRESS_HOST_MAX + 8)

enum address_kind { ADDRESS_IPV4, ADDRESS_IPV6, ADDRESS_NAME, ADDRESS_UNIX };

struct address {
    enum address_kind kind;
    char host[ADDRESS_HOST_MAX]; /* as given, without the brackets of IPv6; of ADDRESS_UNIX the whole text */
    uint16_t port;               /* of ADDRESS_UNIX 0 */
};

/* Reads "10.0.0.5:8001", "[::1]:80" or "app-1.internal:8001". Port 0 is refused unless `any_port` is set (a
 * listening socket may ask for any free port). */
bool address_parse(struct str text, bool any_port, struct address *address, struct err *err) MUST_CHECK;

/* The same for an instance, which may also be "unix:/run/app.sock": an absolute path in its one spelling that
 * fits into a socket's address. */
bool address_parse_instance(struct str text, struct address *address, struct err *err) MUST_CHECK;
/* The path of an ADDRESS_UNIX. */
const char *address_path(const struct address *address);

/* The one way an address is written: IPv6 in brackets. Returns out, NUL-terminated. */
char *address_text(const struct address *address, char out[ADDRESS_TEXT_MAX]);

/* The 16 bytes in which every IP address is kept: IPv4 as IPv4-mapped IPv6, so that one comparison serves
 * both.
 */
bool address_is_mapped(const uint8_t bytes[16]);
void address_map(const uint8_t ip4[4], uint8_t bytes[16]);

/* An IP prefix such as 10.0.0.0/8. */
struct address_prefix {
    uint8_t bytes[16]; /* network order */
    uint8_t bits;      /* 0 to 128, of the mapped form */
};

/* Reads "10.0.0.0/8", "::1/128" or a bare address. Host bits must be zero. */
bool address_prefix_parse(struct str text, struct address_prefix *prefix, struct err *err) MUST_CHECK;

/* Does the 16-byte (mapped) address lie in the prefix? */
bool address_prefix_covers(const struct address_prefix *prefix, const uint8_t address[16]);
