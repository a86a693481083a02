/* rate: how many requests a client address may send a second, over all workers.
 *
 * A token bucket an address and scope, kept as the one number that it needs: the time at which it will be
 * full again. They lie in a table of fixed size; an address whose bucket is full needs no place in it.
 * Addresses count as their owners (peer_owner). Thread-safe, without a lock. */
#pragma once

#include "route/snapshot.h"

#include <stdint.h>

struct rate;

struct rate *rate_new(void);
void rate_free(struct rate *rate);

#define RATE_SCOPE_MAX 64

/* Takes one of the address's requests in this scope (at most RATE_SCOPE_MAX bytes of it count). `now_ns` is
 * monotonic, the limit not 0 a second. 0: it may go on; else the seconds until the next one may, at least 1,
 * and nothing was taken. */
uint32_t rate_take(struct rate *rate, const uint8_t address[16], struct str scope,
                   const struct snapshot_rate *limit, uint64_t now_ns);
