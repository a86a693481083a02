/* claims: things that only one may have. Each is a text and where it was written. */
#pragma once

#include "base/err.h"
#include "config/places.h"

struct claims;

struct claims *claims_new(void);
void claims_free(struct claims *claims);

/* `key` becomes the claims' own; `owner` is borrowed: the service that claims it, or NULL. `line` is used
 * where the field was not written itself. */
void claims_add(struct claims *claims, char *key, const char *owner, const void *field, unsigned line);

/* False when two have the same key: "PATH:LINE: WHAT "KEY" is already taken on line N; REMEDY", with the
 * owners where there are such. Names the first repetition in the order of adding. */
bool claims_check(struct claims *claims, const struct config_places *places, const char *path,
                  const char *what, const char *remedy, struct err *err) MUST_CHECK;
