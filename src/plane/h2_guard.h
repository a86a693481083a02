/* h2_guard: how many frames that cost the peer nothing one HTTP/2 connection may send in a minute: resets
 * (CVE-2023-44487) and heads on streams that are over, pings, settings, priorities, empty frames
 * (CVE-2019-9512 to 9518), window updates for nothing, continuations of one header block (CVE-2024-27316). */
#pragma once

#include "link/counters.h"
#include "route/snapshot.h"

#include <stdbool.h>
#include <stdint.h>

struct h2_guard {
    uint64_t until_ms; /* of this minute */
    uint32_t spent[COUNTERS_FLOODS];
};

/* One more. False: it is one too many. */
bool h2_guard_spend(struct h2_guard *guard, enum counters_flood flood, const struct snapshot_http2 *limits,
                    uint64_t now_ms);
/* One that was earned. */
void h2_guard_earn(struct h2_guard *guard, enum counters_flood flood, uint32_t count);
