/* unknown: what is said of a key that its section does not have. */
#pragma once

#include "config/section.h"

/* Says where in the file a key of that name belongs, below the section or elsewhere; if nowhere, which key of
 * the section it may be meant for. `root` is the section of the whole file. Returns false. */
bool unknown_key(const struct section *root, const struct section *section, const char *name,
                 struct err *err);
