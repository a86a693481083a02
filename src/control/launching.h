/* launching: the launch of a deployment that begins with one: each instance that the command prints is
 * resolved, recorded, and awaited while the command goes on. Ends in an event for the state table. For the
 * conductor's own files. */
#pragma once

#include "config/config.h"
#include "deploy/registry.h"

#include <jansson.h>

struct course;
struct launching;
struct step;

/* Runs launch.command for the pool, which has no instances yet. Never NULL. */
struct launching *launching_start(struct course *course, const struct pool *pool,
                                  const struct config_service *settings);
/* Its record of an instance (RECORD_ADDED) is on disk. */
void launching_follow(struct step *step);
/* For GET /v1/deployments/D, while it runs, given up or not. */
json_t *launching_json(const struct launching *launching);
/* Its deployment was given up, since `words`: the command is stopped, and what it has written is told and
 * kept when it is gone. It is not the caller's any more. False: its end was told of before, and it still is.
 */
bool launching_give_up(struct launching *launching, const char *words);
/* The pool's, until then where it was given up. NULL: there is none. */
const struct launching *launching_find(const struct course *course, const char *pool);
/* Stops what runs; no event comes any more. NULL is fine. */
void launching_free(struct launching *launching);
