/* Time that passes when the test says so: what stands in front of the clock adds it. Link with
 * -Wl,--wrap=clock_mono_ns. */
#pragma once

#include "base/clock.h"
#include "io/loop.h"

static uint64_t passed_ns;

uint64_t __real_clock_mono_ns(void);
uint64_t __wrap_clock_mono_ns(void);
uint64_t __wrap_clock_mono_ns(void)
{
    return __real_clock_mono_ns() + passed_ns;
}

static void stop_waiting(struct deadline *deadline)
{
    loop_stop(deadline->loop);
}

/* Comes before all that is due later, so that the loop does not sleep until then. */
static void set_nudge(struct loop *loop, struct deadline *nudge)
{
    deadline_init(nudge, loop, stop_waiting);
    deadline_set(nudge, 0);
}

/* The loop turns until what is due has come. */
static void pass(struct loop *loop, uint64_t ms)
{
    struct deadline nudge;
    set_nudge(loop, &nudge);
    passed_ns += ms * 1000000;
    loop_run(loop);
}
