/* feed: the daemon's events in their order, each once, across restarts of the daemon's control process: a
 * broken stream is opened again behind the last event that was seen. Where more follow than the daemon lets,
 * the events are asked for now and then instead: they come a little later, and none is missed. */
#pragma once

#include "cli/client.h"

struct feed;

struct feed_options {
    const char *service; /* NULL: of all */
    uint64_t since;      /* only events with a higher number */
    bool follow;         /* goes on with what happens from now on */
    bool patient;        /* the daemon was there a moment ago: as long as for one that is lost on the way, and
                          * where too many follow, events are asked for instead; else that is a refusal */
};

/* `line` is the event as it came; `event` is borrowed. */
typedef void feed_fn(void *arg, struct str line, const json_t *event);

struct feed *feed_open(struct client *client, const struct feed_options *options, feed_fn *event, void *arg);
void feed_close(struct feed *feed);

enum feed_state {
    FEED_OPEN,
    FEED_ENDED, /* that was all; without follow */
    FEED_LOST,  /* the daemon has been away for too long */
    FEED_REFUSED,
    FEED_INTERRUPTED,
};

/* Waits at most so long for events and hands them on. `err` is set with LOST and REFUSED. */
enum feed_state feed_turn(struct feed *feed, uint64_t ms, struct err *err) MUST_CHECK;
