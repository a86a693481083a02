/* bench: one worker's connections to instances on the test's own loop, which turns only when the test says
 * so, and an instance that listens. */
#pragma once

#include "plane/worker.h"

#include <netinet/in.h>
#include <sys/resource.h>

#define KEEP 60000  /* ms */
#define IDLE_MOST 4 /* connections that the worker keeps */

struct bench {
    struct loop *loop;
    int counters_fd;
    struct counters *counters;
    struct buffers *buffers;
    struct random random;
    struct balance balance;
    struct upstreams *upstreams;
    struct snapshot_settings settings;
    struct worker worker; /* as much of it as HTTP/2 needs */
    int listening;
    struct sockaddr_in address;
    struct snapshot_instance instance;
    int news; /* calls of bench_ready */
};

/* For cmocka; *state is the bench. The second finds nothing lent, open or in use. */
int bench_set_up(void **state);
int bench_tear_down(void **state);

/* One turn that does not sleep. */
void bench_turn(struct bench *bench);
/* Borrowers are told of news here; the argument is the bench. */
void bench_ready(void *arg);
/* What is counted of the instance, as it was at first. */
struct counters_instance *bench_cells(struct bench *bench);
/* The process may have so many descriptors from now on. Returns how many it might. */
rlim_t bench_descriptors(rlim_t count);
