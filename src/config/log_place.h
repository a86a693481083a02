/* log_place: is the access log written where nothing else is? */
#pragma once

#include "config/config.h"

/* False, with "PATH:LINE: sentence", where access_log.path leads into state_directory, or to a file that the
 * config names as something else, or to the config itself; by whatever links. After pages_load. */
bool log_place_is_free(const struct config *config, struct err *err) MUST_CHECK;
