/* rerun: the suite once more, against those instances of a pool with clients that are in rotation. */
#pragma once

#include "config/config.h"
#include "control/gate.h"
#include "deploy/registry.h"

/* As gate_start; those that were taken out by hand are left in peace. */
struct gate *rerun_start(struct loop *loop, const struct pool *pool, const struct config_service *settings,
                         bool required, const struct gate_callbacks *callbacks, void *arg);
