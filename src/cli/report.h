/* report: what happens to a deployment, event by event, as lines for a person. */
#pragma once

#include "cli/terminal.h"

#include <jansson.h>
#include <stdint.h>

/* One event. `elapsed_ms`: since the deployment was staged; it stands in front of the line. */
void report_event(struct terminal *terminal, uint64_t elapsed_ms, const json_t *event);

/* How an uptest ended, from a cell or an event: "passed", "timed out", "exited with 1", "ended by signal 9",
 * "failed". Returns out. */
#define REPORT_VERDICT_MAX 64
char *report_verdict(const json_t *cell, char out[REPORT_VERDICT_MAX]);
/* The same, from a result of a run by hand. */
char *report_verdict_by_hand(const json_t *result, char out[REPORT_VERDICT_MAX]);
