/* metrics: the Prometheus text of GET /metrics, one row of a table a metric. */
#pragma once

#include "base/buf.h"
#include "control/conductor.h"

struct metrics;

struct metrics *metrics_new(struct event_log *events);
void metrics_free(struct metrics *metrics);
/* Appends the whole text, exposition format 0.0.4. */
void metrics_write(struct metrics *metrics, struct conductor *conductor, struct buf *out);
