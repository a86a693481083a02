/* schedule: runs the uptests of each service with uptests.schedule against its live instances, again and
 * again; tells when one begins to fail and when it passes again, and with uptests.eject takes it out of
 * rotation for that long. Decides nothing about a deployment. */
#pragma once

#include "config/config.h"
#include "control/ejections.h"
#include "control/event_log.h"
#include "deploy/registry.h"
#include "io/loop.h"
#include "link/counters.h"

struct schedule;

struct schedule_options {
    struct loop *loop;
    const struct registry *registry;
    struct counters *counters;
    struct event_log *events;
    const struct ejections *ejections;
    /* The settings of a service; NULL: it is not in the config. */
    const struct config_service *(*settings)(void *arg, const char *service);
    /* Do uptests of the service run on another's behalf, or is it about to be swapped? Then a run that is due
     * waits. */
    bool (*is_busy)(void *arg, const char *service);
    /* An instance of the service is out, or back in: the next world is to say so. */
    void (*moved)(void *arg, const char *service);
    /* The proxy is to know. */
    void (*changed)(void *arg);
    void *arg;
};

/* Lives as long as the process. */
struct schedule *schedule_new(const struct schedule_options *options);

/* Pools, settings, or what the checks know of instances of the service (NULL: of any) may have changed: to be
 * called before each world that says so, at first for all, since who is out depends on all of it. A run
 * against another pool than the live one is given up. */
void schedule_watch(struct schedule *schedule, const struct service *service);
/* A gate of the service begins: a run that is under way is given up, and comes later. */
void schedule_yield(struct schedule *schedule, const char *service);
/* Gives up whatever runs, and begins nothing more. */
void schedule_stop(struct schedule *schedule);

/* Suites run against one instance each, since the process began, that passed and that failed. */
struct schedule_tally {
    uint64_t passed, failed;
};
struct schedule_tally schedule_tally(const struct schedule *schedule, const char *service);
