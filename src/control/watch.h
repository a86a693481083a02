/* watch: looks after a pool that has just got clients: the one that a swap has made live, while the one
 * before it is armed, or a canary. Its answers are compared with the record of the other pool (evidence.h),
 * its instances must stay up, and its uptests are run again. Tells what it finds, and decides nothing. */
#pragma once

#include "config/config.h"
#include "control/archive.h"
#include "control/ejections.h"
#include "control/health.h"
#include "control/trail.h"
#include "deploy/registry.h"
#include "io/loop.h"
#include "link/counters.h"

#include <jansson.h>

enum watch_finding {
    WATCH_PASSED, /* the time is over */
    WATCH_FAILED, /* told once; it goes on, for whoever lets it */
    WATCH_OVER    /* the time is over, and it has failed before */
};

struct watch;

struct watch_options {
    struct loop *loop;
    const struct registry *registry;
    struct counters *counters;
    struct archive *archive;
    struct trail *trail;
    const struct health *health;
    const struct ejections *ejections;
    /* The settings of a service; NULL: it is not in the config. */
    const struct config_service *(*settings)(void *arg, const char *service);
    /* Uptests of the service are about to be run: nobody else is to run them now. */
    void (*testing)(void *arg, const char *service);
    /* `why` is a sentence with figures. watch_end may be called from inside. */
    void (*found)(void *arg, const struct pool *pool, enum watch_finding finding, const char *why);
    void *arg;
};

/* Lives as long as the process. */
struct watch *watch_new(const struct watch_options *options);

/* Watches the pool of the service's running deployment, in place of what is watched of that service; for
 * length_ms, of which left_ms are left. Where the counters have gone since it began, as they do with the
 * daemon, what was seen of it has gone with them, and it begins anew, measured by the record that was kept.
 * Where that is damaged, which is logged, the watch of a live pool fails at its end at the latest.
 * One that has a flaw has failed already, and that is not told again. */
void watch_begin(struct watch *watch, const struct pool *pool, uint64_t length_ms, uint64_t left_ms);
/* Ends it, if there is one. */
void watch_end(struct watch *watch, const char *service);
/* Do its uptests run? */
bool watch_is_testing(const struct watch *watch, const char *service);

/* How it stands, with all figures, as the API shows it; NULL: the pool is not watched. A new
 * reference, to what nobody else has a part of. */
json_t *watch_view(const struct watch *watch, const struct pool *pool);
