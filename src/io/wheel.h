/* wheel: the deadlines of one loop, in slots of WHEEL_TICK_MS. Inside the room io only. */
#pragma once

#include "io/loop.h"

#define WHEEL_NEVER UINT64_MAX

struct wheel;

struct wheel *wheel_new(void);
/* Forgets every deadline that is still set. */
void wheel_free(struct wheel *wheel);

/* When the wheel wants to be turned again (monotonic ms), or WHEEL_NEVER. May be too early, never too late.
 */
uint64_t wheel_next_ms(const struct wheel *wheel);

/* Fires what is due at now_ms. */
void wheel_turn(struct wheel *wheel, uint64_t now_ms);

/* The wheel of a loop. */
struct wheel *loop_wheel(struct loop *loop);
