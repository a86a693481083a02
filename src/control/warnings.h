/* warnings: what somebody who has edited the file may take for done, and a reload does not do. Pure. */
#pragma once

#include "config/config.h"
#include "deploy/registry.h"

#include <jansson.h>

/* The most that are told one by one. */
#define WARNINGS_MAX 20

/* Of a config that takes the place of another one: a list of sentences, with one more for how many are left
 * out. Empty: there is nothing to warn of. The registry has the first pools of new services already. A new
 * reference. */
json_t *warnings_of(const struct config *config, const struct config *old, const struct registry *registry);
