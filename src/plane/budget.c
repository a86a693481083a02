/* A bucket that is filled by requests and by time, both looked at only when a retry is asked for: a request
 * that needs none costs nothing. Invariant: it never holds more than BUDGET_MOST retries. */
#include "plane/budget.h"

#define ONE 1000000ULL /* retry, in millionths */
#define FULL (BUDGET_MOST * ONE)

static uint64_t at_most(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

/* Both are bounded before they are multiplied. A pool's counters may begin anew in the same slot. */
static uint64_t gained(const struct budget *budget, uint64_t requests, uint32_t share, uint64_t now_ms)
{
    uint64_t more = requests >= budget->requests ? requests - budget->requests : requests;
    uint64_t ms = now_ms - budget->asked_ms;
    return at_most(at_most(more, FULL) * share, FULL) + at_most(ms, FULL) * BUDGET_PER_SECOND * (ONE / 1000);
}

bool budget_take(struct budget *budget, uint64_t requests, uint32_t share, uint64_t now_ms)
{
    budget->left =
        budget->asked_ms == 0 ? FULL : at_most(budget->left + gained(budget, requests, share, now_ms), FULL);
    budget->requests = requests;
    budget->asked_ms = now_ms;
    if (budget->left < ONE)
        return false;
    budget->left -= ONE;
    return true;
}
