/* One level of slots, each a list of the deadlines of one tick. A deadline beyond the last slot stands in the
 * last one and is put further when that comes. Invariant: every linked deadline stands in a tick from
 * `cursor` to cursor + SLOTS - 2, so a slot never holds two ticks, and not the tick that is being fired.
 */
#include "io/wheel.h"

#include "base/mem.h"

#include <stdlib.h>

#define TICK_MS 8
#define SLOTS 8192 /* 65 s: the usual timeouts are looked at once */
#define WORD_BITS 64

struct wheel {
    uint64_t cursor; /* the first tick that was not fired yet */
    uint64_t next;   /* no tick before it is occupied; WHEEL_NEVER: none is at all */
    uint64_t occupied[SLOTS / WORD_BITS];
    struct deadline *slots[SLOTS];
};

/* The tick at whose time `ms` is over. */
static uint64_t tick_of(uint64_t ms)
{
    return ms / TICK_MS + (ms % TICK_MS != 0);
}

static void set_occupied(struct wheel *wheel, uint64_t tick, bool occupied)
{
    uint64_t slot = tick % SLOTS, bit = UINT64_C(1) << (slot % WORD_BITS);
    if (occupied)
        wheel->occupied[slot / WORD_BITS] |= bit;
    else
        wheel->occupied[slot / WORD_BITS] &= ~bit;
}

/* The word in which the scan begins is looked at twice: its upper part first, its lower part last. */
static uint64_t first_occupied(const struct wheel *wheel)
{
    uint64_t start = wheel->cursor % SLOTS;
    for (uint64_t ahead = 0; ahead < SLOTS;) {
        uint64_t slot = (start + ahead) % SLOTS;
        uint64_t word = wheel->occupied[slot / WORD_BITS] >> (slot % WORD_BITS);
        if (word != 0)
            return wheel->cursor + ahead + (uint64_t)__builtin_ctzll(word);
        ahead += WORD_BITS - slot % WORD_BITS;
    }
    return WHEEL_NEVER;
}

static void link_deadline(struct wheel *wheel, struct deadline *deadline, uint64_t now_ms)
{
    if (wheel->next == WHEEL_NEVER)
        wheel->cursor = now_ms / TICK_MS;
    uint64_t tick = tick_of(deadline->at_ms);
    if (tick < wheel->cursor)
        tick = wheel->cursor;
    if (tick > wheel->cursor + SLOTS - 2)
        tick = wheel->cursor + SLOTS - 2;
    struct deadline **head = &wheel->slots[tick % SLOTS];
    deadline->slot_ms = tick * TICK_MS;
    deadline->next = *head;
    deadline->link = head;
    if (deadline->next != NULL)
        deadline->next->link = &deadline->next;
    *head = deadline;
    set_occupied(wheel, tick, true);
    if (tick < wheel->next)
        wheel->next = tick;
}

static void unlink_deadline(struct wheel *wheel, struct deadline *deadline)
{
    uint64_t tick = deadline->slot_ms / TICK_MS;
    *deadline->link = deadline->next;
    if (deadline->next != NULL)
        deadline->next->link = deadline->link;
    deadline->next = NULL;
    deadline->link = NULL;
    if (wheel->slots[tick % SLOTS] == NULL)
        set_occupied(wheel, tick, false);
}

struct wheel *wheel_new(void)
{
    struct wheel *wheel = mem_zero(1, sizeof *wheel);
    wheel->next = WHEEL_NEVER;
    return wheel;
}

void wheel_free(struct wheel *wheel)
{
    for (size_t i = 0; i < SLOTS; i++) {
        while (wheel->slots[i] != NULL)
            deadline_clear(wheel->slots[i]);
    }
    free(wheel);
}

uint64_t wheel_next_ms(const struct wheel *wheel)
{
    return wheel->next == WHEEL_NEVER ? WHEEL_NEVER : wheel->next * TICK_MS;
}

static void fire_tick(struct wheel *wheel, uint64_t tick, uint64_t now_ms)
{
    struct deadline *deadline;
    while ((deadline = wheel->slots[tick % SLOTS]) != NULL) {
        unlink_deadline(wheel, deadline);
        if (deadline->at_ms > now_ms) {
            link_deadline(wheel, deadline, now_ms);
        } else {
            deadline->at_ms = 0;
            deadline->fire(deadline);
        }
    }
}

void wheel_turn(struct wheel *wheel, uint64_t now_ms)
{
    uint64_t last = now_ms / TICK_MS;
    uint64_t tick;
    while ((tick = first_occupied(wheel)) <= last) {
        wheel->next = tick;
        wheel->cursor = tick + 1;
        fire_tick(wheel, tick, now_ms);
    }
    wheel->next = tick;
    if (wheel->cursor <= last)
        wheel->cursor = last + 1;
}

void deadline_init(struct deadline *deadline, struct loop *loop, void (*fire)(struct deadline *deadline))
{
    *deadline = (struct deadline){.loop = loop, .fire = fire};
}

void deadline_set(struct deadline *deadline, uint64_t ms)
{
    uint64_t now_ms = loop_ms(deadline->loop);
    /* Half the range is some million years: no sum can wrap, and 0 keeps its meaning. */
    deadline->at_ms = now_ms + (ms < UINT64_MAX / 2 ? ms : UINT64_MAX / 2);
    if (deadline->link != NULL) {
        if (tick_of(deadline->at_ms) * TICK_MS >= deadline->slot_ms)
            return;
        unlink_deadline(loop_wheel(deadline->loop), deadline);
    }
    link_deadline(loop_wheel(deadline->loop), deadline, now_ms);
}

void deadline_clear(struct deadline *deadline)
{
    deadline->at_ms = 0;
    if (deadline->link != NULL)
        unlink_deadline(loop_wheel(deadline->loop), deadline);
}
