/* untold: what the control before this one recorded, and was gone before it could tell of it: of each service
 * the last change of who has its clients (swap.published, drain.started), and how deployments have ended. */
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

struct untold_listener {
    void (*changed)(void *arg, const struct untold *untold);
    /* An event of this type was to tell of the deployment's end; each once, in their order. May add it. */
    void (*ended)(void *arg, const struct pool *pool, const char *type);
    void *arg;
};

/* Tells of those of all services. Of what the events do not reach back to, so that nobody knows whether it
 * was told, nothing is; nor of an end that is old news. */
void untold_find(struct event_log *events, const struct registry *registry,
                 const struct untold_listener *listener);
