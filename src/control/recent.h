/* recent: what each service has answered in the last 15 minutes, slice by slice, for plots, and at which rate
 * of late, for who pauses it. Reads shared memory once a slice, and when it is asked for a rate. Nothing of
 * it outlives the process.
 *
 * A service without requests costs nothing. One that has had any keeps 0.7 KB for the next difference,
 * and 2.8 KB of slices until it has had none for 15 minutes: less than one worker's counters of its pool. */
#pragma once

#include "deploy/registry.h"
#include "io/loop.h"
#include "link/counters.h"

#define RECENT_SLICE_MS 5000
#define RECENT_SLICES 180

struct recent;

struct recent_slice {
    uint64_t begun_ns;       /* wall */
    double seconds;          /* RECENT_SLICE_MS, and what the timer was late */
    uint32_t requests;       /* that have ended */
    uint32_t errors;         /* those among them that went wrong: see answers.h */
    uint32_t p50_us, p99_us; /* 0 without requests */
};

/* Looks from now on. */
struct recent *recent_new(struct loop *loop, const struct registry *registry, struct counters *counters);
void recent_free(struct recent *recent);
/* A pool has counted its last, `sum`, and the registry has it as retired: what it has counted since the last
 * look is not lost. */
void recent_gone(struct recent *recent, const char *service, const struct counters_pool *sum);
/* The last slices of a service, `most` at most, oldest first, into `slices`. Returns their number, which is
 * that of the looks where the service has had no requests. */
size_t recent_read(const struct recent *recent, const char *service, size_t most,
                   struct recent_slice *slices);
/* Requests a second that have begun in the last slice and since then, in thousandths; 0: not known. Of a
 * service that had none in these 15 minutes, those that have ended. */
uint32_t recent_rate(const struct recent *recent, const struct service *service);
/* Has the service had requests in these 15 minutes? */
bool recent_is_known(const struct recent *recent, const char *service);
/* Ends the slice. Its own timer calls it, and tests. */
void recent_look(struct recent *recent);
