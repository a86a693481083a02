/* teardown: tells the world that an instance may be stopped: the hook, until it succeeds, then the signal.
 * Does not know why, nor the journal: the conductor records before it orders and after it hears of the end.
 */
#pragma once

#include "config/config.h"
#include "control/event_log.h"
#include "control/process.h"
#include "deploy/registry.h"
#include "io/loop.h"

/* Hooks that run at the same time. */
#define TEARDOWN_PARALLEL 16

struct teardown;

struct teardown_options {
    struct loop *loop;
    struct event_log *events;
    struct processes *processes;
    /* The settings of a service now; NULL: it is not configured any more, so nobody knows what to call. */
    const struct config_service *(*settings)(void *arg, const char *service);
    /* Does another pool have the instance's address by now? It was not so when the teardown was ordered. */
    bool (*held)(void *arg, const char *pool, size_t instance);
    /* Once for each order: TEARDOWN_DONE or TEARDOWN_FAILED. Never from inside teardown_order. `event`: what
     * is to be told of it when the end is on record; the callee's. */
    void (*ended)(void *arg, const char *pool, size_t instance, enum teardown_end end, json_t *event);
    void *arg;
};

/* Lives as long as the process: hooks die with it and are run again by the next one. */
struct teardown *teardown_new(const struct teardown_options *options);

/* Tears down an instance of a pool (copied). */
void teardown_order(struct teardown *teardown, const struct pool *pool, size_t instance);
