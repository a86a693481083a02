/* pausing: the pause of a deployment that has a command to run in one: the service is paused, and when it is
 * quiet, the command runs. Ends in an event for the state table; the pause itself lasts until the swap or the
 * deployment's end. For the conductor's own files. */
#pragma once

#include "deploy/registry.h"

#include <jansson.h>

struct course;
struct pausing;

/* What is said where nobody knows what the command has done. */
#define PAUSING_RESTARTED                                                                                   \
    "the daemon was started again while the service was paused: the command of the pause may have run, in " \
    "part or to its end; look what it has done before you stage again"

/* Never NULL. */
struct pausing *pausing_start(struct course *course, const struct pool *pool);
/* The mode of the service has changed, in the world of that version, and its pause is or was a deployment's.
 */
void pausing_follow(struct course *course, uint64_t version);
/* Has the command been started? NULL: no. */
bool pausing_has_begun(const struct pausing *pausing);
/* For GET /v1/deployments/D: argv, state (waiting, running, passed, failed), exit, signal, timed_out, seconds
 * and the last 64 KiB of the command's output. */
json_t *pausing_json(const struct pausing *pausing);
/* Its deployment was given up, since `words`: as launching_give_up. False: the command does not run. */
bool pausing_give_up(struct pausing *pausing, const char *words);
/* The pool's, until its command is gone where it was given up. NULL: there is none. */
const struct pausing *pausing_find(const struct course *course, const char *pool);
/* Stops what runs; no event comes any more. NULL is fine. */
void pausing_free(struct pausing *pausing);
