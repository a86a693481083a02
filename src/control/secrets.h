/* secrets: the keys of this installation, which outlive every restart: the file "secrets" in the state
 * directory, for the daemon's eyes only. The proxy gets them with the world. Their age is measured with the
 * steady clock, in seconds. */
#pragma once

#include "base/err.h"
#include "route/snapshot.h"

struct secrets;

/* A key signs cookies for so long, and is believed for as long again. */
#define SECRETS_TURN_S (30 * 86400)

/* Reads the file, or makes it with new keys. NULL with a sentence. */
struct secrets *secrets_open(const char *directory, uint64_t now_s, struct err *err) MUST_CHECK;
void secrets_free(struct secrets *secrets);

/* A new key for cookies where the present one has had its time. True: there is one now, and it is in the
 * file; the world must say so. */
bool secrets_turn(struct secrets *secrets, uint64_t now_s);

const struct snapshot_secrets *secrets_get(const struct secrets *secrets);
