/* slots: which numbers of the counters' arrays are taken. A slot that was given back is given out again only
 * when no worker can still write to it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct slots;

/* Slots 0 to count - 1, all free. */
struct slots *slots_new(uint32_t count);
void slots_free(struct slots *slots);

/* Marks a slot that the journal names as taken. */
void slots_take(struct slots *slots, uint32_t slot);
/* The lowest slot that is free: given back by a world of at most `version`, and not `is_busy` (which may
 * still see it in use). False: none. */
bool slots_get(struct slots *slots, uint64_t version, bool (*is_busy)(void *arg, uint32_t slot), void *arg,
               uint32_t *slot);
/* Gives it back; the world `version` is the first one without it. */
void slots_put(struct slots *slots, uint32_t slot, uint64_t version);
/* All free slots below the highest one ever taken may still be in use by what ran before: as if given back
 * now. */
void slots_distrust(struct slots *slots, uint64_t version);
