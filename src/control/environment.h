/* environment: what an uptest or a hook finds in its environment. Starts clean: of the daemon's own variables
 * only PATH, HOME, LANG and TZ are passed on. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>

struct environment;

/* With the daemon's PATH (or the system's usual one), HOME, LANG and TZ, as far as they are set. */
struct environment *environment_new(void);
struct environment *environment_copy(const struct environment *environment);
/* NULL is fine. */
void environment_free(struct environment *environment);

/* Sets a variable, in place of an older one of that name. */
void environment_set(struct environment *environment, const char *name, const char *value);
/* The same from "NAME=VALUE". */
void environment_set_pair(struct environment *environment, struct str pair);

/* Sets what a file of NAME=VALUE lines says, at most 1 MiB. Blank lines and # comments are skipped, an
 * `export ` in front, white space around the value and then one pair of quotes around it are taken off,
 * nothing is expanded. On failure the sentence names the file, or FILE:LINE, and nothing was set. */
bool environment_read(struct environment *environment, const char *path, struct err *err) MUST_CHECK;

/* As for execve: NULL-terminated, in order of names. Valid until the next change. */
const char *const *environment_list(struct environment *environment);
