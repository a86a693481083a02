/* budget: how many requests a worker may send to another instance, as a part of those that a pool has had: so
 * an ailing pool is not hit by a storm of retries as well. Time comes in as an argument. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Retries that are in any budget, so that a little traffic can have them too. */
#define BUDGET_PER_SECOND 10
/* Retries that may come at once. */
#define BUDGET_MOST 100

struct budget {
    uint64_t requests; /* that the pool had had when a retry was asked for last */
    uint64_t asked_ms; /* when that was; 0: never */
    uint64_t left;     /* millionths of a retry */
};

/* Takes a retry out of the budget. `requests`: that the pool has had by now; `share`: millionths of a retry
 * that each of them allows. False: the budget is used up. */
bool budget_take(struct budget *budget, uint64_t requests, uint32_t share, uint64_t now_ms);
