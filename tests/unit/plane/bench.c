/* What a worker's thread would do is done by the test. */
#include "bench.h"

#include "unit.h"

#include "base/mem.h"
#include "plane/h2_tools.h"

#include <stdlib.h>
#include <unistd.h>

#define SLOT 5 /* of the instance */

#define OWN 32 /* descriptors that one worker leaves to no connection, see crowd.c */

void bench_ready(void *arg)
{
    struct bench *bench = arg;
    bench->news++;
}

rlim_t bench_descriptors(rlim_t count)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = count;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

static void prepare_worker(struct bench *bench)
{
    struct worker *worker = &bench->worker;
    bench->settings = (struct snapshot_settings){.head_max = 32768,
                                                 .fields_max = 100,
                                                 .idle_ms = 60000,
                                                 .http2 = {.window = 65535,
                                                           .resets = 10,
                                                           .pings = 10,
                                                           .settings = 10,
                                                           .window_updates = 10,
                                                           .continuations = 8}};
    worker->loop = bench->loop;
    worker->buffers = bench->buffers;
    worker->cells = counters_worker(bench->counters, 0);
    worker->settings = &bench->settings;
    worker->limits = (struct http_limits){.head = 32768, .fields = 100};
    worker->h2_tools = h2_tools_new();
    h2_tools_resize(worker->h2_tools, 32768);
}

static void listen_as_instance(struct bench *bench)
{
    socklen_t length = sizeof bench->address;
    bench->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bench->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(bench->listening, (struct sockaddr *)&bench->address, length), 0);
    assert_int_equal(listen(bench->listening, 16), 0);
    assert_int_equal(getsockname(bench->listening, (struct sockaddr *)&bench->address, &length), 0);
    bench->instance = (struct snapshot_instance){.name = STR("one"),
                                                 .address = (struct sockaddr *)&bench->address,
                                                 .address_length = length,
                                                 .id = 7,
                                                 .slot = SLOT};
}

int bench_set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct err err;
    bench->loop = loop_new();
    bench->counters_fd = counters_create(1, &err);
    bench->counters = counters_map(bench->counters_fd, &err);
    assert_non_null(bench->counters);
    bench->buffers = buffers_new();
    balance_init(&bench->balance, 0, &bench->random);
    rlim_t before = bench_descriptors(OWN + IDLE_MOST * 10);
    bench->upstreams = upstreams_new(bench->loop, bench->counters, 0, bench->buffers, &bench->balance);
    bench_descriptors(before);
    prepare_worker(bench);
    listen_as_instance(bench);
    *state = bench;
    return 0;
}

int bench_tear_down(void **state)
{
    struct bench *bench = *state;
    upstreams_free(bench->upstreams);
    assert_int_equal(bench_cells(bench)->in_flight, 0);
    assert_int_equal(bench_cells(bench)->connections, 0);
    assert_int_equal(bench->balance.loads[5], 0);
    loop_free(bench->loop);
    h2_tools_free(bench->worker.h2_tools);
    balance_free(&bench->balance);
    buffers_free(bench->buffers);
    counters_unmap(bench->counters);
    close(bench->counters_fd);
    if (bench->listening >= 0)
        close(bench->listening);
    free(bench);
    return 0;
}

struct turn {
    struct loop_deferred deferred;
    struct loop *loop;
};

static void stop_the_loop(struct loop_deferred *deferred)
{
    loop_stop(mem_container(deferred, struct turn, deferred)->loop);
}

void bench_turn(struct bench *bench)
{
    struct turn one = {.deferred = {.run = stop_the_loop}, .loop = bench->loop};
    loop_defer(bench->loop, &one.deferred);
    loop_run(bench->loop);
}

struct counters_instance *bench_cells(struct bench *bench)
{
    return counters_instance(bench->counters, 0, SLOT);
}
