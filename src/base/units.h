/* units: durations and sizes as people write them. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* "250ms", "10s", "5m", "24h" -> ms. A unit is required, save for "0". No fractions, no spaces. */
bool units_duration(struct str text, uint64_t *ms, struct err *err) MUST_CHECK;

/* "4096", "64k", "10m", "1g" -> bytes, by powers of 1024; the letter in either case. */
bool units_size(struct str text, uint64_t *bytes, struct err *err) MUST_CHECK;
