/* A watch of one pool that has just replaced another: what it looks at, what of that is a failure, and how
 * often it tells. The statistics of a verdict are those of test_evidence. */
#include "control/watch.h"

#include "pools.h"
#include "unit.h"

#include "base/clock.h"
#include "base/mem.h"
#include "control/standing.h"
#include "io/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT_MS 20000 /* a watch that never tells fails its test */

struct bench {
    struct loop *loop;
    struct registry *registry;
    struct service *service;
    struct deployment deployment;
    int fd;
    struct counters *counters;
    struct config_service settings;
    struct archive *archive;
    struct trail *trail;
    struct health *health;
    struct ejections *ejections;
    struct watch *watch;
    struct pool *old, *new;
    char directory[64]; /* of uptests */
    struct deadline limit, flow;
    uint64_t flow_requests, flow_errors; /* that the new pool answers each time */
    /* What was told: */
    unsigned passed, failed, over, testing;
    unsigned wanted; /* to be told, before the loop is left */
    char why[1024];
    bool ends_it; /* from inside `found` */
};

static const struct config_service *settings_of(void *arg, const char *service)
{
    struct bench *bench = arg;
    assert_string_equal(service, "web");
    return &bench->settings;
}

static void testing(void *arg, const char *service)
{
    struct bench *bench = arg;
    assert_string_equal(service, "web");
    bench->testing++;
}

static unsigned told(const struct bench *bench)
{
    return bench->passed + bench->failed + bench->over;
}

static void found(void *arg, const struct pool *pool, enum watch_finding finding, const char *why)
{
    struct bench *bench = arg;
    assert_ptr_equal(pool, bench->new);
    bench->passed += finding == WATCH_PASSED;
    bench->failed += finding == WATCH_FAILED;
    bench->over += finding == WATCH_OVER;
    snprintf(bench->why, sizeof bench->why, "%s", why);
    if (bench->ends_it)
        watch_end(bench->watch, "web");
    if (told(bench) == bench->wanted)
        loop_stop(bench->loop);
}

static void limit_is_over(struct deadline *deadline)
{
    loop_stop(deadline->loop);
}

static void run_for(struct bench *bench, uint64_t ms)
{
    deadline_set(&bench->limit, ms);
    loop_run(bench->loop);
    deadline_clear(&bench->limit);
}

/* Until so much was told in all. */
static void run_until_told(struct bench *bench, unsigned wanted)
{
    bench->wanted = wanted;
    if (told(bench) < wanted)
        run_for(bench, LIMIT_MS);
    assert_int_equal(told(bench), wanted);
    bench->wanted = 0;
}

static struct pool *add_pool(struct bench *bench, const char *name, enum pool_state state, uint32_t slot)
{
    struct pool *pool = pools_add(bench->registry, bench->service, name, slot);
    pool->state = state;
    return pool;
}

static void make_service(struct bench *bench)
{
    bench->service = pools_service(bench->registry, "web");
    bench->old = add_pool(bench, "web-1", POOL_ARMED, 1);
    bench->new = add_pool(bench, "web-2", POOL_LIVE, 2);
    bench->deployment.untested = true;
    bench->new->deployment = &bench->deployment;
    bench->service->armed = bench->old;
    bench->service->live = bench->new;
}

static void answer(struct bench *bench, const struct pool *pool, uint64_t requests, uint64_t errors)
{
    struct counters_pool *cells = counters_pool(bench->counters, 0, pool->slot);
    counters_add(&cells->codes[500 - COUNTERS_CODE_MIN], errors);
    counters_add(&cells->buckets[counters_bucket(1000)], requests);
    counters_add(&cells->requests, requests);
}

#define FLOW_MS 20

static void flow_on(struct deadline *deadline)
{
    struct bench *bench = mem_container(deadline, struct bench, flow);
    answer(bench, bench->new, bench->flow_requests, bench->flow_errors);
    deadline_set(&bench->flow, FLOW_MS);
}

/* A verdict needs more than one moment. */
static void flow(struct bench *bench, uint64_t requests, uint64_t errors)
{
    bench->flow_requests = requests;
    bench->flow_errors = errors;
    deadline_set(&bench->flow, FLOW_MS);
}

static int setup(void **state)
{
    struct bench *bench = mem_zero(1, sizeof *bench);
    struct err err;
    *state = bench;
    bench->loop = loop_new();
    deadline_init(&bench->limit, bench->loop, limit_is_over);
    deadline_init(&bench->flow, bench->loop, flow_on);
    bench->registry = registry_new();
    bench->fd = counters_create(1, &err);
    bench->counters = counters_map(bench->fd, &err);
    bench->settings.watch =
        (struct config_watch){.duration_ms = 60000, .errors = 20000, .latency = 3000000, .minimum = 100};
    bench->settings.uptests = (struct config_uptests){
        .timeout_ms = 10000, .total_timeout_ms = 60000, .parallel = 8, .required = true};
    bench->settings.ejection.failures = 5;
    strcpy(bench->directory, "/tmp/upswap-watch-XXXXXX");
    assert_non_null(mkdtemp(bench->directory));
    make_service(bench);
    char *state_directory = mem_printf("%s.state", bench->directory);
    bench->archive = file_make_directory(state_directory, 0700, &err)
                         ? archive_open(bench->loop, state_directory, &err)
                         : NULL;
    assert_non_null(bench->archive);
    free(state_directory);
    bench->trail =
        trail_new(&(struct trail_options){bench->loop, bench->registry, bench->counters, settings_of, bench});
    bench->health = health_new(&(struct health_options){.loop = bench->loop,
                                                        .registry = bench->registry,
                                                        .counters = bench->counters,
                                                        .settings = settings_of,
                                                        .arg = bench});
    bench->ejections = ejections_new(&(struct ejections_options){
        .loop = bench->loop, .counters = bench->counters, .settings = settings_of, .arg = bench});
    bench->watch = watch_new(&(struct watch_options){.loop = bench->loop,
                                                     .registry = bench->registry,
                                                     .counters = bench->counters,
                                                     .archive = bench->archive,
                                                     .trail = bench->trail,
                                                     .health = bench->health,
                                                     .ejections = bench->ejections,
                                                     .settings = settings_of,
                                                     .testing = testing,
                                                     .found = found,
                                                     .arg = bench});
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    char *remove = mem_printf("rm -rf %s %s.state", bench->directory, bench->directory);
    watch_end(bench->watch, "web");
    archive_close(bench->archive);
    int status = system(remove);
    free(remove);
    bench->service->live = bench->service->armed = NULL;
    bench->settings.watch.duration_ms = 0;
    trail_watch(bench->trail, NULL); /* which forgets all */
    bench->new->deployment = NULL;
    registry_free(bench->registry);
    counters_unmap(bench->counters);
    close(bench->fd);
    loop_free(bench->loop);
    free(bench->watch);
    free(bench->ejections);
    free(bench->health);
    free(bench->trail);
    free(bench);
    return status;
}

/* The record of the old pool is what it has answered until now. */
static void begin(struct bench *bench, uint64_t length_ms)
{
    trail_watch(bench->trail, NULL);
    watch_begin(bench->watch, bench->new, length_ms, length_ms);
}

static void take_down(struct bench *bench, const struct pool *pool, size_t index)
{
    struct standing down = {.pulse = PULSE_DOWN};
    standing_keep(bench->counters, &pool->instances[index], &down);
}

/* A new file each time: one that is just being executed cannot be written to (ETXTBSY). */
static void write_uptest(struct bench *bench, const char *body)
{
    char *path = mem_printf("%s/01", bench->directory);
    unlink(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\n%s\n", body);
    fclose(file);
    chmod(path, 0755);
    free(path);
    bench->settings.uptests.directory = bench->directory;
    bench->deployment.untested = false;
}

/* ---- what was answered ---- */

static void a_pool_that_answers_as_the_one_before_passes_when_its_time_is_over(void **state)
{
    struct bench *bench = *state;
    answer(bench, bench->old, 100000, 10);
    uint64_t begun_ms = clock_mono_ms();
    begin(bench, 400);
    answer(bench, bench->new, 1000, 0);
    run_until_told(bench, 1);
    assert_int_equal(bench->passed, 1);
    assert_true(clock_mono_ms() - begun_ms >= 400);
    assert_non_null(strstr(bench->why, "watched for 0."));
    assert_non_null(strstr(bench->why, "of 1,000 requests"));
    run_for(bench, 300);
    assert_int_equal(told(bench), 1);
}

static void more_errors_than_before_are_told_once_and_again_when_the_time_is_over(void **state)
{
    struct bench *bench = *state;
    char failure[sizeof bench->why];
    answer(bench, bench->old, 100000, 10);
    begin(bench, 3000);
    flow(bench, 50, 25);
    run_until_told(bench, 1);
    assert_int_equal(bench->failed, 1);
    assert_non_null(strstr(bench->why, "5xx: 50.0% of "));
    assert_non_null(strstr(bench->why, "before the swap"));
    strcpy(failure, bench->why);
    flow(bench, 50, 50);
    run_until_told(bench, 2);
    assert_int_equal(bench->over, 1);
    assert_string_equal(bench->why, failure);
}

/* As they are when the daemon is started again. */
static void lose_counters(struct bench *bench)
{
    watch_end(bench->watch, "web");
    bench->settings.watch.duration_ms = 0;
    trail_watch(bench->trail, NULL); /* which forgets all */
    bench->settings.watch.duration_ms = 60000;
    counters_clear_pool(bench->counters, bench->old->slot);
    counters_clear_pool(bench->counters, bench->new->slot);
}

static void without_its_counters_it_begins_anew_by_the_record_that_was_kept(void **state)
{
    struct bench *bench = *state;
    answer(bench, bench->old, 100000, 10);
    begin(bench, 60000);
    run_for(bench, 300);
    lose_counters(bench);
    watch_begin(bench->watch, bench->new, 60000, 1);
    flow(bench, 50, 25);
    run_until_told(bench, 1);
    assert_int_equal(bench->failed, 1);
    assert_non_null(strstr(bench->why, "against 0.0% of 100,000 before the swap"));
}

static void below_the_minimum_of_requests_errors_are_no_failure(void **state)
{
    struct bench *bench = *state;
    answer(bench, bench->old, 100000, 10);
    begin(bench, 400);
    answer(bench, bench->new, bench->settings.watch.minimum - 1, bench->settings.watch.minimum - 1);
    run_until_told(bench, 1);
    assert_int_equal(bench->passed, 1);
}

static void errors_of_before_the_watch_are_not_counted(void **state)
{
    struct bench *bench = *state;
    answer(bench, bench->old, 100000, 10);
    answer(bench, bench->new, 1000, 1000);
    begin(bench, 400);
    answer(bench, bench->new, 1000, 0);
    run_until_told(bench, 1);
    assert_int_equal(bench->passed, 1);
}

static void a_canary_is_compared_with_the_live_pool(void **state)
{
    struct bench *bench = *state;
    bench->service->armed = NULL;
    bench->service->live = bench->old;
    bench->old->state = POOL_LIVE;
    bench->new->state = POOL_STAGED;
    bench->deployment.state = DEPLOYMENT_CANARY;
    answer(bench, bench->old, 100000, 10);
    begin(bench, 60000);
    flow(bench, 50, 25);
    run_until_told(bench, 1);
    assert_int_equal(bench->failed, 1);
    assert_non_null(strstr(bench->why, "of the live pool"));
}

static void a_pool_that_falls_silent_while_requests_wait_has_failed(void **state)
{
    struct bench *bench = *state;
    answer(bench, bench->old, 100000, 10);
    begin(bench, 60000);
    counters_pool(bench->counters, 0, bench->new->slot)->in_flight = bench->settings.watch.minimum - 1;
    run_for(bench, 5200); /* as long as a silence is */
    assert_int_equal(told(bench), 0);
    counters_pool(bench->counters, 0, bench->new->slot)->in_flight = bench->settings.watch.minimum;
    run_until_told(bench, 1);
    assert_int_equal(bench->failed, 1);
    assert_non_null(strstr(bench->why, "while 100 requests wait"));
}

/* ---- its instances ---- */

static void an_instance_that_is_down_is_a_failure(void **state)
{
    struct bench *bench = *state;
    begin(bench, 60000);
    take_down(bench, bench->new, 1);
    run_until_told(bench, 1);
    assert_int_equal(bench->failed, 1);
    assert_string_equal(bench->why, "instance 10.0.2.1:80 is down (1 of 2), while of web-1 0 of 2 are");
}

static void an_instance_that_the_workers_leave_alone_is_a_failure(void **state)
{
    struct bench *bench = *state;
    begin(bench, 60000);
    counters_instance(bench->counters, 0, bench->new->instances[0].slot)->ejected_until_ms =
        clock_mono_ms() + 60000;
    run_until_told(bench, 1);
    assert_int_equal(bench->failed, 1);
    assert_non_null(strstr(bench->why, "instance 10.0.2.0:80 is ejected (1 of 2)"));
}

static void what_both_pools_suffer_is_no_failure(void **state)
{
    struct bench *bench = *state;
    begin(bench, 400);
    take_down(bench, bench->old, 0);
    take_down(bench, bench->new, 0);
    run_until_told(bench, 1);
    assert_int_equal(bench->passed, 1);
}

static void a_larger_part_than_of_the_other_pool_is_a_failure(void **state)
{
    struct bench *bench = *state;
    begin(bench, 60000);
    take_down(bench, bench->old, 0);
    take_down(bench, bench->new, 0);
    take_down(bench, bench->new, 1);
    run_until_told(bench, 1);
    assert_int_equal(bench->failed, 1);
    assert_non_null(strstr(bench->why, "(2 of 2), while of web-1 1 of 2 are"));
}

static void who_was_taken_out_by_hand_is_not_looked_at(void **state)
{
    struct bench *bench = *state;
    begin(bench, 400);
    bench->new->instances[0].state = INSTANCE_DRAINED;
    take_down(bench, bench->new, 0);
    run_until_told(bench, 1);
    assert_int_equal(bench->passed, 1);
}

/* ---- its uptests ---- */

static void where_requests_tell_nothing_the_uptests_are_run_before_it_is_over(void **state)
{
    struct bench *bench = *state;
    write_uptest(bench, "exit 0");
    bench->settings.watch.uptests_ms = 3600000;
    begin(bench, 200);
    run_until_told(bench, 1);
    assert_int_equal(bench->passed, 1);
    assert_int_equal(bench->testing, 1);
    assert_non_null(strstr(bench->why, "The uptests passed 1 time"));
}

static void an_uptest_that_fails_is_a_failure_and_stands_in_the_view(void **state)
{
    struct bench *bench = *state;
    write_uptest(bench, "echo no; test \"$1:$2\" = 10.0.2.0:80");
    bench->settings.watch.uptests_ms = 10;
    begin(bench, 60000);
    run_until_told(bench, 1);
    assert_int_equal(bench->failed, 1);
    assert_non_null(strstr(bench->why, "10.0.2.1:80"));
    json_t *view = watch_view(bench->watch, bench->new);
    json_t *uptest = json_object_get(view, "uptest");
    assert_string_equal(json_string_value(json_object_get(uptest, "instance")), "10.0.2.1:80");
    assert_string_equal(json_string_value(json_object_get(uptest, "output")), "no\n");
    /* The archive writes a view in a thread of its own, so no part of it may be anybody else's. */
    assert_int_equal(uptest->refcount, 1);
    json_decref(view);
}

/* Each look would find one under way. */
static void uptests_that_are_run_without_rest_do_not_keep_it_from_its_end(void **state)
{
    struct bench *bench = *state;
    write_uptest(bench, "sleep 0.15");
    bench->settings.watch.uptests_ms = 1;
    begin(bench, 400);
    run_until_told(bench, 1);
    assert_int_equal(bench->passed, 1);
    assert_in_range(bench->testing, 1, 4);
}

static char nowhere[] = "/nonexistent";

static void uptests_that_could_not_be_run_are_no_failure_where_requests_tell(void **state)
{
    struct bench *bench = *state;
    write_uptest(bench, "exit 0");
    bench->settings.watch.uptests_ms = 100;
    bench->settings.uptests.directory = nowhere;
    answer(bench, bench->old, 100000, 10);
    begin(bench, 400);
    answer(bench, bench->new, 1000, 0);
    run_until_told(bench, 1);
    assert_int_equal(bench->passed, 1);
    assert_true(bench->testing > 0);
    assert_null(strstr(bench->why, "uptests"));
}

static void a_watch_fails_where_neither_requests_nor_uptests_tell_till_its_end(void **state)
{
    struct bench *bench = *state;
    write_uptest(bench, "exit 0");
    bench->settings.watch.uptests_ms = 100;
    bench->settings.uptests.directory = nowhere;
    uint64_t begun_ms = clock_mono_ms();
    begin(bench, 400);
    run_until_told(bench, 1);
    assert_int_equal(bench->failed, 1);
    assert_true(clock_mono_ms() - begun_ms >= 400);
    assert_true(bench->testing > 1);
    assert_non_null(strstr(bench->why, "its uptests could not be run: "));
    assert_non_null(strstr(bench->why, nowhere));
}

static void uptests_that_can_be_run_again_at_the_end_are_enough(void **state)
{
    struct bench *bench = *state;
    write_uptest(bench, "exit 0");
    bench->settings.watch.uptests_ms = 600;
    bench->settings.uptests.directory = nowhere;
    begin(bench, 1000);
    while (bench->testing == 0)
        run_for(bench, 10);
    run_for(bench, 50);
    bench->settings.uptests.directory = bench->directory;
    run_until_told(bench, 1);
    assert_int_equal(bench->passed, 1);
    assert_int_equal(bench->testing, 2);
}

/* ---- its life ---- */

static void it_may_be_ended_by_who_is_told(void **state)
{
    struct bench *bench = *state;
    bench->ends_it = true;
    begin(bench, 60000);
    take_down(bench, bench->new, 0);
    run_until_told(bench, 1);
    assert_null(watch_view(bench->watch, bench->new));
    run_for(bench, 300);
    assert_int_equal(told(bench), 1);
}

static void what_is_left_of_its_time_counts_and_not_its_length(void **state)
{
    struct bench *bench = *state;
    trail_watch(bench->trail, NULL);
    watch_begin(bench->watch, bench->new, 3600000, 0);
    run_until_told(bench, 1);
    assert_int_equal(bench->passed, 1);
}

static void another_one_takes_its_place(void **state)
{
    struct bench *bench = *state;
    begin(bench, 100);
    begin(bench, 3600000);
    run_for(bench, 500);
    assert_int_equal(told(bench), 0);
    json_t *view = watch_view(bench->watch, bench->new);
    assert_non_null(view);
    json_decref(view);
    assert_null(watch_view(bench->watch, bench->old));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pool_that_answers_as_the_one_before_passes_when_its_time_is_over),
        TEST(more_errors_than_before_are_told_once_and_again_when_the_time_is_over),
        TEST(without_its_counters_it_begins_anew_by_the_record_that_was_kept),
        TEST(below_the_minimum_of_requests_errors_are_no_failure),
        TEST(errors_of_before_the_watch_are_not_counted),
        TEST(a_canary_is_compared_with_the_live_pool),
        TEST(a_pool_that_falls_silent_while_requests_wait_has_failed),
        TEST(an_instance_that_is_down_is_a_failure),
        TEST(an_instance_that_the_workers_leave_alone_is_a_failure),
        TEST(what_both_pools_suffer_is_no_failure),
        TEST(a_larger_part_than_of_the_other_pool_is_a_failure),
        TEST(who_was_taken_out_by_hand_is_not_looked_at),
        TEST(where_requests_tell_nothing_the_uptests_are_run_before_it_is_over),
        TEST(an_uptest_that_fails_is_a_failure_and_stands_in_the_view),
        TEST(uptests_that_are_run_without_rest_do_not_keep_it_from_its_end),
        TEST(uptests_that_could_not_be_run_are_no_failure_where_requests_tell),
        TEST(a_watch_fails_where_neither_requests_nor_uptests_tell_till_its_end),
        TEST(uptests_that_can_be_run_again_at_the_end_are_enough),
        TEST(it_may_be_ended_by_who_is_told),
        TEST(what_is_left_of_its_time_counts_and_not_its_length),
        TEST(another_one_takes_its_place),
    };
    alarm(120); /* what never comes fails the test instead of hanging it */
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
