/* slots.c keeps a mark for each slot: taken, or the version of the first world without it. */
#include "control/slots.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define TAKEN UINT64_MAX

struct slots {
    uint32_t count;
    uint32_t used;  /* slots at and above it were never taken */
    uint32_t first; /* slots below it are taken: else a start with many would look at each again and again */
    uint64_t *free; /* TAKEN, or free from this version on */
};

struct slots *slots_new(uint32_t count)
{
    struct slots *slots = mem_alloc(sizeof *slots);
    *slots = (struct slots){.count = count, .free = mem_zero(count, sizeof *slots->free)};
    return slots;
}

void slots_free(struct slots *slots)
{
    free(slots->free);
    free(slots);
}

void slots_take(struct slots *slots, uint32_t slot)
{
    assert(slot < slots->count);
    slots->free[slot] = TAKEN;
    if (slot >= slots->used)
        slots->used = slot + 1;
}

bool slots_get(struct slots *slots, uint64_t version, bool (*is_busy)(void *arg, uint32_t slot), void *arg,
               uint32_t *slot)
{
    while (slots->first < slots->count && slots->free[slots->first] == TAKEN)
        slots->first++;
    for (uint32_t i = slots->first; i < slots->count; i++) {
        if (slots->free[i] == TAKEN || slots->free[i] > version || is_busy(arg, i))
            continue;
        slots_take(slots, i);
        *slot = i;
        return true;
    }
    return false;
}

void slots_put(struct slots *slots, uint32_t slot, uint64_t version)
{
    assert(slot < slots->count && slots->free[slot] == TAKEN);
    slots->free[slot] = version;
    if (slot < slots->first)
        slots->first = slot;
}

void slots_distrust(struct slots *slots, uint64_t version)
{
    for (uint32_t i = 0; i < slots->used; i++) {
        if (slots->free[i] != TAKEN)
            slots->free[i] = version;
    }
}
