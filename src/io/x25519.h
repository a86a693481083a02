/* x25519: key pairs for a key exchange (RFC 7748), made several at once, by libsodium.
 *
 * A pair costs 17 us, where OpenSSL takes 29: libsodium multiplies the base point of the Edwards curve, for
 * which it has tables, and the point is brought over to the Montgomery curve with one inversion for all that
 * are made together. doc/performance.md has the figures. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define X25519_SIZE 32 /* bytes of a key of either kind, and of what two agree on */

struct x25519_pair {
    uint8_t public[X25519_SIZE], private[X25519_SIZE];
};

/* Once before the others, from any thread, again without harm. False: libsodium cannot be used. */
bool x25519_ready(void);

/* A new pair, which nobody else gets; who asked wipes it. Each thread keeps some in advance, wiped as they
 * are given away and when it ends. False: there was nothing random to be had. */
bool x25519_new(struct x25519_pair *pair);

/* What both sides come to (section 6.1). False: the peer's key is of small order, so that would be all zeros
 * and known to everybody (RFC 8446 section 7.4.2). */
bool x25519_agree(uint8_t shared[X25519_SIZE], const uint8_t private[X25519_SIZE],
                  const uint8_t peer[X25519_SIZE]);
