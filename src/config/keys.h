/* keys: every key of upswapd.conf, as rows. */
#pragma once

#include "config/section.h"

/* The whole file, into a struct config. */
extern const struct section keys_file;
