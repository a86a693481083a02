/* whole: what the values of a config must be to each other: no address, name or route twice, and nothing that
 * does nothing without another. What each must be by itself is told by its row (keys.h). */
#pragma once

#include "config/config.h"

/* Of a struct that config_derive has been through. False: err is a sentence that says where. */
bool config_check_whole(const struct config *config, struct err *err);
