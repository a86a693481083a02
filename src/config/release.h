/* release: names of releases, and the %{release} in texts. */
#pragma once

#include "base/str.h"

#include <stdbool.h>

/* Is there a %{name} that is not %{release}? *name is the first of them (what stands in the braces). */
bool release_unknown_name(struct str text, struct str *name);
