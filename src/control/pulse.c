/* One state and one run. Invariant: the run is shorter than what would change the state. */
#include "control/pulse.h"

static bool enter(struct pulse *pulse, enum pulse_state state)
{
    bool changes = state == PULSE_DOWN || pulse->state == PULSE_DOWN;
    *pulse = (struct pulse){state, 0};
    return changes;
}

bool pulse_take(struct pulse *pulse, bool passed, uint64_t rise, uint64_t fall)
{
    enum pulse_state told = passed ? PULSE_UP : PULSE_DOWN;
    if (pulse->state == PULSE_UNKNOWN)
        return enter(pulse, told);
    if (pulse->state == told) {
        pulse->against = 0;
        return false;
    }
    return ++pulse->against >= (passed ? rise : fall) && enter(pulse, told);
}
