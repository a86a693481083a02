/* rates: how many requests a second each service has had of late. Reads shared memory every two seconds, of
 * many services in parts. */
#pragma once

#include "deploy/registry.h"
#include "io/loop.h"
#include "link/counters.h"

struct rates;

/* Lives as long as the process, and looks from now on. */
struct rates *rates_new(struct loop *loop, const struct registry *registry, struct counters *counters);
/* Requests a second in thousandths over the last seconds, RATES_SECONDS at most; 0: not known. */
#define RATES_SECONDS 10
uint32_t rates_of(struct rates *rates, const struct service *service);
