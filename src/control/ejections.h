/* ejections: tells of the instances of live pools that the workers leave alone because requests to them
 * failed. Reads shared memory a few times a second while a service has ejection on, and decides nothing. */
#pragma once

#include "config/config.h"
#include "control/event_log.h"
#include "deploy/registry.h"
#include "io/loop.h"
#include "link/counters.h"

struct ejections;

struct ejections_options {
    struct loop *loop;
    const struct registry *registry;
    struct counters *counters;
    struct event_log *events;
    /* The settings of a service; NULL: it is not in the config. */
    const struct config_service *(*settings)(void *arg, const char *service);
    void *arg;
};

/* Lives as long as the process. */
struct ejections *ejections_new(const struct ejections_options *options);
/* Settings or pools of this service (NULL: of any) have changed: looks from now on, if there is anything to
 * look at. */
void ejections_watch(struct ejections *ejections, const struct service *service);

/* Is it out, in the eyes of any worker? */
bool ejections_is_out(const struct ejections *ejections, const struct pool *pool,
                      const struct instance *instance);
