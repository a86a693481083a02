/* derive: what the config's struct holds besides the values as they were written: addresses and networks as
 * numbers, routes in one form, weights beside instances, services by name. */
#pragma once

#include "config/config.h"

/* Once, on a struct that the tables have filled. config_free frees what it makes. */
void config_derive(struct config *config);
