/* launch: runs a service's launch.command for a release, and tells each instance as it is printed. Knows
 * nothing of deployments. */
#pragma once

#include "base/endpoint.h"
#include "base/err.h"
#include "config/config.h"
#include "io/loop.h"

#include <jansson.h>

struct launch;

struct launch_callbacks {
    /* It has printed an instance; the address is valid during the call. False with a sentence: it is of no
     * use, and the launch has failed. */
    bool (*found)(void *arg, const struct endpoint *endpoint, struct err *err);
    /* Once, when the command has ended. NULL: with status 0, and there are instances; else a sentence. The
     * launch stays until launch_free. */
    void (*done)(void *arg, const char *failure);
};

/* What is launched; all of it must stay valid until launch_start returns. */
struct launch_plan {
    const struct config_launch *settings;
    const char *service, *release, *deployment;
    size_t count; /* instances that are wanted */
};

/* Runs launch.command RELEASE. Never NULL: what cannot be started is told through done. No callback comes
 * from inside this call; launch_free may be called from inside each. */
struct launch *launch_start(struct loop *loop, const struct launch_plan *plan,
                            const struct launch_callbacks *callbacks, void *arg);
/* It has failed for a reason that the command does not know of: it gets TERM, KILL 2 s later, and `done`
 * comes when it is gone, with this sentence. */
void launch_fail(struct launch *launch, const char *sentence);
/* For GET /v1/deployments/D: argv, state (running, passed, failed), exit, signal, timed_out, seconds and the
 * last 64 KiB of its stderr as output. */
json_t *launch_json(const struct launch *launch);
/* Stops what runs and frees when it is gone; no callback comes any more. NULL is fine. */
void launch_free(struct launch *launch);
