/* event_log: the numbered events that users follow. Kept in memory (the last EVENT_LOG_KEPT) and in a file of
 * the state directory, so that numbers only grow across restarts. Not the journal: nothing is decided by it.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

#include <jansson.h>
#include <stdint.h>

#define EVENT_LOG_KEPT 10000

struct event_log;

/* Opens (or makes) DIRECTORY/events.jsonl and reads its end. The file is rotated once (to events.jsonl.1) at
 * 32 MiB. */
struct event_log *event_log_open(const char *directory, struct err *err) MUST_CHECK;
/* From now on the last number is kept in *last too, which outlives this process: where the file could not be
 * written, it is ahead of the file, and numbers go on above it. */
void event_log_carry(struct event_log *log, uint64_t *last);
void event_log_close(struct event_log *log);

/* What the metrics read from events: of uptest.finished "uptest" (text), "passed" (bool) and "seconds"
 * (number); of swap.published "nanoseconds" (integer). That event has "written_nanoseconds" too: how many of
 * these passed until the record was on disk. */

/* Adds an event of one of CONTRACT's types; service and deployment may be NULL; `more` (may be NULL) is an
 * object whose members are added, and is released. Returns its sequence number. An unknown type stops the
 * process. */
uint64_t event_log_add(struct event_log *log, const char *type, const char *service, const char *deployment,
                       json_t *more);

/* The end of a text that may be long, such as what a program has written, as a member of an event. */
json_t *event_log_tail(struct str text);

/* Calls `each` with every kept event above `since` (of `service`, unless NULL), oldest first, until it
 * returns false; line is one JSON object without line end. Where numbers above `since` (0: above the oldest
 * that is kept) are gone, a line "events.missed" with the "first" and the "last" of them stands in their
 * place, and has the number of the last. Returns the number up to which all was read. */
uint64_t event_log_read(struct event_log *log, uint64_t since, const char *service,
                        bool (*each)(void *arg, uint64_t seq, struct str line), void *arg);

/* Tells of each event as it is added. Embedded in its owner. `added` may unsubscribe its own subscription, no
 * other, and adds no event. */
struct event_subscription {
    void (*added)(struct event_subscription *subscription, uint64_t seq, const char *service,
                  struct str line);
    struct event_subscription *next, **link; /* the log's own */
};
void event_log_subscribe(struct event_log *log, struct event_subscription *subscription);
void event_log_unsubscribe(struct event_subscription *subscription);

uint64_t event_log_last(const struct event_log *log);
