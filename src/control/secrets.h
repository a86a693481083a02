/* secrets: the keys of this installation, which outlive every restart: the file "secrets" in the state
 * directory, for the daemon's eyes only. The proxy gets them with the world. */
#pragma once

#include "base/err.h"
#include "route/snapshot.h"

struct secrets;

/* Reads the file, or makes it with new keys. NULL with a sentence. */
struct secrets *secrets_open(const char *directory, struct err *err) MUST_CHECK;
void secrets_free(struct secrets *secrets);

const struct snapshot_secrets *secrets_get(const struct secrets *secrets);
