/* untold: the last change of who has a service's clients, where the control before this one recorded it and
 * was gone before it could tell of it (swap.published, drain.started). */
#pragma once

#include "control/event_log.h"
#include "deploy/registry.h"

/* Names belong to the registry. */
struct untold {
    const struct service *service;
    const char *changed; /* the deployment */
    const char *live;    /* the pool that is live since; NULL: none has become it, or that is told */
    const char *leaves;  /* the pool that drains since; NULL: none, or that is told */
};

/* Tells of those of all services. Of one whose events are gone that say whether it was told, nothing is. */
void untold_find(struct event_log *events, const struct registry *registry,
                 void (*found)(void *arg, const struct untold *untold), void *arg);
