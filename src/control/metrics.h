/* metrics: the Prometheus text of GET /metrics. It is written piece by piece, so that control does its other
 * work in between: with 10,000 services it has 40 MB. */
#pragma once

#include "base/buf.h"
#include "control/conductor.h"

struct metrics;

struct metrics *metrics_new(struct event_log *events);
void metrics_free(struct metrics *metrics);

/* One writing of the whole text, exposition format 0.0.4, of the pools and services that there are now. What
 * a pool has counted is read once, before the first line is written; what else is told, with its line. Who
 * goes meanwhile may be in some lines and not in others. Both arguments must outlive it, but for its free. */
struct metrics_text;
struct metrics_text *metrics_text_new(struct metrics *metrics, struct conductor *conductor);
/* Appends the next piece, of a bounded number of lines; it may be empty. False: it was the last one. */
bool metrics_text_step(struct metrics_text *text, struct buf *out) MUST_CHECK;
void metrics_text_free(struct metrics_text *text);
