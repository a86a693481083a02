/* traffic: what a service's pools and instances do at this time, from two answers of
 * GET /v1/status?figures=1 and the seconds between them. Pure. */
#pragma once

#include "cli/screen.h"

#include <jansson.h>

/* {"seconds":S,"pools":[{"service","pool","state","in_flight","requests_per_second","errors_per_second",
 * "p50","p99","instances":[...]}]}; p50 and p99 are seconds, and null where nothing was answered. Of
 * `service` alone, unless that is NULL. A total that runs backwards (a restart) counts as nothing. To be
 * released. */
json_t *traffic_between(const json_t *before, const json_t *now, double seconds, const char *service);

void traffic_draw(const json_t *traffic, struct screen *screen);
