/* crowd: how many clients the whole proxy has, in all and by address. Asked and told when a connection comes
 * and goes, never in between. Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crowd;

struct crowd *crowd_new(void);
/* Nobody may be counted any more. */
void crowd_free(struct crowd *crowd);

/* One more or one less in all; returns how many there are then. */
uint32_t crowd_enter(struct crowd *crowd);
uint32_t crowd_leave(struct crowd *crowd);
uint32_t crowd_size(const struct crowd *crowd);

/* Counts one more of whoever has this 16-byte address (peer_owner), unless there are `most` of it already. */
bool crowd_admit(struct crowd *crowd, const uint8_t address[16], uint32_t most);
/* One that was admitted has gone. */
void crowd_dismiss(struct crowd *crowd, const uint8_t address[16]);

/* How many connections the descriptor limit allows, beside what so many workers and listeners have open: each
 * may need one more to an instance. */
uint32_t crowd_derived_limit(unsigned workers, size_t listeners);
/* How many connections to instances each of so many workers may keep idle. A worker cannot close what another
 * keeps, so all of it together leaves two descriptors to every client of the derived limit. */
uint32_t crowd_idle_limit(unsigned workers);
/* How many conduits each of so many workers may have: half of the tenth that is nobody's, two descriptors
 * each. */
uint32_t crowd_conduit_limit(unsigned workers);
