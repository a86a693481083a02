/* shadow_verdict: what the comparison of a staged pool's answers with the live pool's comes to. Pure. */
#pragma once

#include "link/shadow.h"

#include <jansson.h>

struct shadow_limits {
    uint64_t minimum; /* requests compared; with fewer only what is certain is judged */
    double share;     /* of the live requests, that were to be repeated */
    double differ;    /* share of the compared that may be answered differently */
    double latency;   /* how many times as slow is too slow; 0: nothing is */
};

/* May it go on? *why (to be freed) says what was seen, and names the worst paths where it may not. It may not
 * if more answers differ than is allowed of as many as were compared, or of the minimum if that is more; and
 * if, among at least the minimum of answers of equal class, the median or the 95th percentile of the
 * durations is above `latency` times that of the live pool and 10 ms more than it. */
bool shadow_judge(const struct shadow_sum *sum, const struct shadow_limits *limits, char **why);

/* "shadow" of a deployment, as CONTRACT.md has it. */
json_t *shadow_json(const struct shadow_sum *sum, const struct shadow_limits *limits);
