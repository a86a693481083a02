/* pulse: whether an instance is up, by the results of its checks. Pure: results in, a state out. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum pulse_state {
    PULSE_UNKNOWN, /* no check has told; counts as up */
    PULSE_UP,
    PULSE_DOWN
};

struct pulse {
    enum pulse_state state;
    uint64_t against; /* results in a row that speak against the state */
};

/* Takes the result of a check. An unknown state is decided by the first one, a known one by `fall` failures
 * or `rise` passes in a row. True: the instance has gone down, or has come back up; not when an unknown one
 * turns out to be up. */
bool pulse_take(struct pulse *pulse, bool passed, uint64_t rise, uint64_t fall);
