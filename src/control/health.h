/* health: checks the instances of the live pools, and of those that have passed their gate, again and again,
 * and knows which are down.
 *
 * What it knows of an instance outlives the process: see standing.h. Decides nothing about a deployment. */
#pragma once

#include "config/config.h"
#include "control/event_log.h"
#include "deploy/registry.h"
#include "io/behalf.h"
#include "io/loop.h"
#include "link/counters.h"

struct health;

struct health_options {
    struct loop *loop;
    const struct registry *registry;
    struct counters *counters;
    struct event_log *events;
    const struct behalf *proxy; /* with whose rights instances are connected to; NULL: one's own */
    /* The settings of a service; NULL: it is not in the config. */
    const struct config_service *(*settings)(void *arg, const char *service);
    /* What its clients speak: is it https? */
    bool (*https)(void *arg, const struct config_service *service);
    /* What is known of an instance of the service has changed: the next world is to say so. */
    void (*moved)(void *arg, const char *service);
    /* The proxy is to know: told once for all that has changed in a moment, and not more than four times a
     * second. False: not now; told again soon. */
    bool (*publish)(void *arg);
    void *arg;
};

/* Lives as long as the process. */
struct health *health_new(const struct health_options *options);

/* These pools or settings of the service (NULL: of any) may have changed: to be called before each world that
 * says so, at first for all. Instances that come with a pool after the first call count as up (their gate has
 * passed) until `fall` checks have failed; those that are there at the first call are unknown, unless the
 * counters tell, and the first check decides. */
void health_watch(struct health *health, const struct service *service);

/* What services with TLS to their instances need has changed: a sealed memfd, which stays the caller's. */
void health_keyring(struct health *health, int fd);

/* Is it down by its checks? */
bool health_is_down(const struct health *health, const struct instance *instance);
/* Are all instances of the pool that are in rotation down? Then they are tried as if they were up. */
bool health_is_hopeless(const struct health *health, const struct pool *pool);
/* May the first checks since the daemon's start, which are under way, still show that it is hopeless? Not for
 * longer than HEALTH_SETTLE_MS. */
#define HEALTH_SETTLE_MS 10000
bool health_is_unsure(const struct health *health, const struct pool *pool);
/* Does it get no requests because its uptests fail? See schedule.h, which decides about it. */
bool health_is_held_out(const struct health *health, const struct instance *instance);
/* It was put back into rotation by hand. */
void health_enabled(struct health *health, const struct instance *instance);
/* When it came back (monotonic ms); 0: it was never away. */
uint64_t health_since_ms(const struct health *health, const struct instance *instance);
/* The proxy is to know something that somebody else has found out about an instance: it is told with the
 * next of what health finds out, as soon as that may be. */
void health_tell(struct health *health);
