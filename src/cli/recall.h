/* recall: finds the deployment that this process has asked for, or let go on, where the daemon's answer to
 * that was lost: its control process died behind the journal's write, or was silent for too long. */
#pragma once

#include "cli/client.h"

#define RECALL_MS 15000 /* a control process that starts again needs less */

struct recall_plan {
    const char *service;
    uint64_t since_ns; /* by the wall clock: before it was asked for */
    uint64_t most_ms;  /* how long the daemon is looked for; RECALL_MS at most */
};

/* True: it was taken, and the reply, to be freed, is GET /v1/deployments/D. False: nobody can tell. */
typedef bool recall_fn(struct client *client, const struct recall_plan *plan, struct client_reply *reply);

/* One that was staged. */
recall_fn recall_staged MUST_CHECK;
/* One that was promoted; the reply's "seq" is the number of the event before that. */
recall_fn recall_promoted MUST_CHECK;

/* The name of the one of `deployments`, newest first, that the process asked for since `since_ns`, or NULL.
 * Borrowed. The time tells it from one of an earlier process with the same number. */
const char *recall_own(const json_t *deployments, int64_t uid, int64_t pid, uint64_t since_ns);
