/* clock: the three clocks and the one way to write a time. Durations are measured with the monotonic clock
 * or, where they outlive a process, with the steady one; the wall clock is for what people read, and for what
 * is compared with clocks of others. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define CLOCK_TEXT_SIZE sizeof "2026-11-22T10:00:00.123Z"

/* ns since boot (CLOCK_MONOTONIC): the same in all processes of the machine, never jumps. */
uint64_t clock_mono_ns(void);

/* ms of the same clock. */
static inline uint64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000;
}

/* ns since 1970 in UTC; may jump. */
uint64_t clock_wall_ns(void);

/* ns since 1970 as the wall clock would show them if nobody had set it since the steady clock was begun: the
 * monotonic clock, and an amount that never changes. It begins with its first reading, or with what
 * clock_steady_set says; processes with one amount have one steady clock, until the machine boots again. It
 * stands while the machine sleeps, as everything that is measured within a process does. */
uint64_t clock_steady_ns(void);
/* That amount, in ns. */
uint64_t clock_steady_ahead_ns(void);
void clock_steady_set(uint64_t ahead_ns);

/* By how much the wall clock has been set meanwhile: it is so far ahead of the steady one; negative: behind.
 * ns, whole ms; 100 ms and less are none, since they may come from the two readings. */
int64_t clock_set_by_ns(void);

#ifdef FAULT_POINTS
/* Here a test may set this process's wall clock, by a day: the points clock.forward and clock.back. */
void clock_may_be_set(void);
#else
#define clock_may_be_set() ((void)0)
#endif

/* Writes wall time `wall_ns` after RFC 3339 in UTC with milliseconds, NUL-terminated. Returns out. */
char *clock_text(uint64_t wall_ns, char out[CLOCK_TEXT_SIZE]);

/* Reads what clock_text writes. */
bool clock_parse(struct str text, uint64_t *wall_ns);
