/* clock: the two clocks and the one way to write a time. Durations are measured with the monotonic clock
 * only. */
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

/* Writes wall time `wall_ns` after RFC 3339 in UTC with milliseconds, NUL-terminated. Returns out. */
char *clock_text(uint64_t wall_ns, char out[CLOCK_TEXT_SIZE]);

/* Reads what clock_text writes. */
bool clock_parse(struct str text, uint64_t *wall_ns);
