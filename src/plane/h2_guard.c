/* Counts by the minute. Invariant: within one minute no more of a kind pass than its limit and what was
 * earned. */
#include "plane/h2_guard.h"

#define MINUTE_MS 60000

static uint32_t limit_of(const struct snapshot_http2 *limits, enum counters_flood flood)
{
    switch (flood) {
    case COUNTERS_RESETS:
        return limits->resets;
    case COUNTERS_PINGS:
        return limits->pings;
    case COUNTERS_SETTINGS:
        return limits->settings;
    case COUNTERS_PRIORITIES:
        return limits->priorities;
    case COUNTERS_EMPTY_FRAMES:
        return limits->empty_frames;
    case COUNTERS_WINDOW_UPDATES:
        return limits->window_updates;
    default:
        return 0;
    }
}

bool h2_guard_spend(struct h2_guard *guard, enum counters_flood flood, const struct snapshot_http2 *limits,
                    uint64_t now_ms)
{
    if (now_ms >= guard->until_ms)
        *guard = (struct h2_guard){.until_ms = now_ms + MINUTE_MS};
    return ++guard->spent[flood] <= limit_of(limits, flood);
}

void h2_guard_earn(struct h2_guard *guard, enum counters_flood flood, uint32_t count)
{
    uint32_t *spent = &guard->spent[flood];
    *spent -= count < *spent ? count : *spent;
}
