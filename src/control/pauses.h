/* pauses: when the pauses of services are over, by the monotonic clock, and whether a paused service is
 * quiet. The proxy lets its requests go at that moment by itself; here it is told, and recorded. */
#pragma once

#include "deploy/registry.h"
#include "io/loop.h"
#include "link/counters.h"

struct pauses;

struct pauses_options {
    struct loop *loop;
    const struct registry *registry;
    struct counters *counters;
    /* The service's time is over; once for each pause. */
    void (*over)(void *arg, const struct service *service);
    void *arg;
};

/* Lives as long as the process. */
struct pauses *pauses_new(const struct pauses_options *options);
/* A pause of the service (NULL: of any) may have begun or ended: to be called before each world that says so.
 */
void pauses_watch(struct pauses *pauses, const struct service *service);
/* Monotonic; 0: it is not paused. The same in each world. */
uint64_t pauses_until_ms(const struct pauses *pauses, const struct service *service);

/* A slot of the counters for a pause of this service: its own, or one that nobody waits in. 0: there is none.
 */
uint32_t pauses_slot(const struct pauses *pauses, const struct service *service);
/* Requests of the service that wait. */
uint64_t pauses_waiting(const struct pauses *pauses, const struct service *service);

/* What a service still has in flight. Quiet: `begun` is false, and no requests. */
struct pauses_rest {
    bool begun;        /* some worker has not heard of `version` yet */
    uint64_t requests; /* they end by themselves, and are waited for */
    uint64_t lasting;  /* streams, WebSockets and tunnels: they are not */
};
struct pauses_rest pauses_rest(const struct pauses *pauses, const struct service *service, uint64_t version);
