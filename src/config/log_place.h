/* log_place: is the access log written where nothing else is? */
#pragma once

#include "config/config.h"

/* False, with "PATH:LINE: sentence", where access_log.path leads to a file of upswap's own in
 * state_directory, by whatever links. */
bool log_place_is_free(const struct config *config, struct err *err) MUST_CHECK;
