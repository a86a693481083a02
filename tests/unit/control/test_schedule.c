/* The rounds of services whose live instances are tested again and again: when a run is due, what it makes of
 * an instance, and what becomes of a run that something else overtakes. Who is out is the rule of
 * test_quarantine. */
#include "control/schedule.h"

#include "pools.h"
#include "unit.h"

#include "base/clock.h"
#include "base/mem.h"
#include "control/standing.h"
#include "io/child.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVICES 8
#define LIMIT_MS 20000 /* what does not happen by then fails its test */

struct bench {
    struct loop *loop;
    struct registry *registry;
    int fd;
    struct counters *counters;
    struct event_log *events;
    struct config_service settings; /* of all services */
    struct ejections *ejections;
    struct schedule *schedule;
    char directory[64];
    char *uptests;
    struct deadline limit;
    bool busy;                 /* what is_busy says */
    uint64_t due_ms[SERVICES]; /* when is_busy was first asked about service s0, s1...; 0: it was not */
    unsigned asked;            /* how often in all */
    unsigned wanted_asked;     /* the loop is left then */
    unsigned changed, moved;
};

static const struct config_service *settings_of(void *arg, const char *service)
{
    struct bench *bench = arg;
    (void)service;
    return &bench->settings;
}

/* A run that is due asks this first. */
static bool is_busy(void *arg, const char *service)
{
    struct bench *bench = arg;
    uint64_t *due_ms = &bench->due_ms[service[1] - '0'];
    if (*due_ms == 0)
        *due_ms = clock_mono_ms();
    if (++bench->asked == bench->wanted_asked)
        loop_stop(bench->loop);
    return bench->busy;
}

static void moved(void *arg, const char *service)
{
    struct bench *bench = arg;
    assert_string_equal(service, "s0");
    bench->moved++;
}

static void changed(void *arg)
{
    struct bench *bench = arg;
    bench->changed++;
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

static void run_until_asked(struct bench *bench, unsigned times)
{
    bench->wanted_asked = times;
    if (bench->asked < times)
        run_for(bench, LIMIT_MS);
    assert_int_equal(bench->asked, times);
    bench->wanted_asked = 0;
}

/* Suites that have told, whatever they told. */
static uint64_t told(struct bench *bench)
{
    struct schedule_tally tally = schedule_tally(bench->schedule, "s0");
    return tally.passed + tally.failed;
}

static void run_until_told(struct bench *bench, uint64_t suites)
{
    uint64_t end_ms = clock_mono_ms() + LIMIT_MS;
    while (told(bench) < suites && clock_mono_ms() < end_ms)
        run_for(bench, 20);
    assert_in_range(told(bench), suites, UINT64_MAX);
}

static struct pool *add_pool(struct bench *bench, struct service *service, uint64_t number, uint32_t slot)
{
    char name[16];
    snprintf(name, sizeof name, "%s-%u", service->name, (unsigned)number);
    struct pool *pool = pools_add(bench->registry, service, name, slot);
    pool->number = number;
    return pool;
}

static void make_live(struct service *service, struct pool *pool)
{
    if (service->live != NULL)
        service->live->state = POOL_DRAINING;
    pool->state = POOL_LIVE;
    service->live = pool;
}

/* Services s0, s1 and so on, each with a live pool. */
static void add_services(struct bench *bench, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%u", i);
        struct service *service = pools_service(bench->registry, name);
        make_live(service, add_pool(bench, service, 1, i + 1));
    }
}

static struct service *service(struct bench *bench)
{
    return registry_service(bench->registry, "s0");
}

static struct standing standing(struct bench *bench, size_t index)
{
    return standing_of(bench->counters, &service(bench)->live->instances[index]);
}

/* Given "$1" for the host. A new file each time: one that is just being executed cannot be written to
 * (ETXTBSY). */
static void write_uptest(struct bench *bench, const char *body)
{
    char *path = mem_printf("%s/01", bench->uptests);
    unlink(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\n%s\n", body);
    fclose(file);
    chmod(path, 0755);
    free(path);
}

static int setup(void **state)
{
    struct bench *bench = mem_zero(1, sizeof *bench);
    struct err err;
    *state = bench;
    strcpy(bench->directory, "/tmp/upswap-schedule-XXXXXX");
    assert_non_null(mkdtemp(bench->directory));
    bench->uptests = mem_printf("%s/uptests", bench->directory);
    assert_int_equal(mkdir(bench->uptests, 0755), 0);
    write_uptest(bench, "exit 0");
    bench->loop = loop_new();
    deadline_init(&bench->limit, bench->loop, limit_is_over);
    bench->registry = registry_new();
    bench->fd = counters_create(1, &err);
    bench->counters = counters_map(bench->fd, &err);
    bench->events = event_log_open(bench->directory, &err);
    bench->settings.uptests = (struct config_uptests){.directory = bench->uptests,
                                                      .timeout_ms = 10000,
                                                      .total_timeout_ms = 60000,
                                                      .parallel = 8,
                                                      .required = true,
                                                      .schedule_ms = 20};
    bench->ejections = ejections_new(&(struct ejections_options){
        .loop = bench->loop, .counters = bench->counters, .settings = settings_of, .arg = bench});
    bench->schedule = schedule_new(&(struct schedule_options){.loop = bench->loop,
                                                              .registry = bench->registry,
                                                              .counters = bench->counters,
                                                              .events = bench->events,
                                                              .ejections = bench->ejections,
                                                              .settings = settings_of,
                                                              .is_busy = is_busy,
                                                              .moved = moved,
                                                              .changed = changed,
                                                              .arg = bench});
    return 0;
}

/* Runs that were given up. */
static void let_them_end(struct bench *bench)
{
    while (child_count() > 0)
        run_for(bench, 10);
}

/* A schedule lives as long as the process. Volatile, since nobody reads it but who looks for leaks. */
static struct schedule *volatile stopped[32];

static int teardown(void **state)
{
    static unsigned count;
    struct bench *bench = *state;
    stopped[count++] = bench->schedule;
    char *remove = mem_printf("rm -rf %s", bench->directory);
    for (struct service *each = bench->registry->services; each != NULL; each = each->hh.next)
        each->live = NULL;
    schedule_watch(bench->schedule, NULL); /* no round is left */
    schedule_stop(bench->schedule);
    let_them_end(bench);
    int status = system(remove);
    free(remove);
    registry_free(bench->registry);
    event_log_close(bench->events);
    counters_unmap(bench->counters);
    close(bench->fd);
    loop_free(bench->loop);
    free(bench->ejections);
    free(bench->uptests);
    free(bench);
    return status;
}

struct search {
    const char *text;
    unsigned found;
};

static bool look_for(void *arg, uint64_t seq, struct str line)
{
    struct search *search = arg;
    (void)seq;
    search->found += memmem(line.p, line.n, search->text, strlen(search->text)) != NULL;
    return true;
}

/* Events that have this text. */
static unsigned events_with(struct bench *bench, const char *text)
{
    struct search search = {text, 0};
    event_log_read(bench->events, 0, NULL, look_for, &search);
    return search.found;
}

/* ---- when ---- */

static void services_that_are_there_at_the_start_are_spread_over_the_interval(void **state)
{
    struct bench *bench = *state;
    uint64_t interval_ms = 1000, first = UINT64_MAX, last = 0, begun_ms = clock_mono_ms();
    bench->settings.uptests.schedule_ms = interval_ms;
    bench->busy = true; /* nothing is run */
    add_services(bench, SERVICES);
    schedule_watch(bench->schedule, NULL);
    for (bool all = false; !all && clock_mono_ms() < begun_ms + LIMIT_MS;) {
        run_for(bench, 100);
        all = true;
        for (size_t i = 0; i < SERVICES; i++)
            all &= bench->due_ms[i] != 0;
    }
    for (size_t i = 0; i < SERVICES; i++) {
        assert_true(bench->due_ms[i] != 0);
        first = bench->due_ms[i] < first ? bench->due_ms[i] : first;
        last = bench->due_ms[i] > last ? bench->due_ms[i] : last;
    }
    /* That eight of them gather in a tenth by chance happens once in a million times. */
    assert_true(last - first > interval_ms / 10);
}

static void a_pool_that_has_just_passed_its_gate_is_left_alone_for_an_interval(void **state)
{
    struct bench *bench = *state;
    bench->settings.uptests.schedule_ms = 500;
    bench->busy = true;
    schedule_watch(bench->schedule, NULL);
    add_services(bench, 1);
    uint64_t begun_ms = clock_mono_ms();
    schedule_watch(bench->schedule, NULL);
    run_until_asked(bench, 1);
    assert_true(clock_mono_ms() - begun_ms >= 475); /* less the jitter's half */
}

static void a_world_more_moves_no_run(void **state)
{
    struct bench *bench = *state;
    bench->settings.uptests.schedule_ms = 300;
    bench->busy = true;
    schedule_watch(bench->schedule, NULL);
    add_services(bench, 1);
    uint64_t begun_ms = clock_mono_ms();
    schedule_watch(bench->schedule, NULL);
    while (bench->asked == 0 && clock_mono_ms() < begun_ms + LIMIT_MS) {
        run_for(bench, 10);
        schedule_watch(bench->schedule, NULL);
    }
    assert_true(bench->asked > 0);
    assert_true(bench->due_ms[0] - begun_ms >= 285); /* the interval, less the jitter's half */
}

static void while_others_run_the_uptests_a_run_waits_and_then_comes(void **state)
{
    struct bench *bench = *state;
    bench->busy = true;
    add_services(bench, 1);
    schedule_watch(bench->schedule, NULL);
    run_until_asked(bench, 2);
    assert_int_equal(told(bench), 0);
    bench->busy = false;
    run_until_told(bench, 2); /* of two instances */
    assert_int_equal(standing(bench, 0).uptests, STANDING_PASSES);
    assert_int_equal(standing(bench, 1).uptests, STANDING_PASSES);
}

/* ---- what a run tells ---- */

static void who_fails_is_told_once_and_is_out_until_it_passes(void **state)
{
    struct bench *bench = *state;
    bench->settings.uptests.eject = true;
    write_uptest(bench, "echo oh; test $1 = 10.0.1.0");
    add_services(bench, 1);
    schedule_watch(bench->schedule, NULL);
    run_until_told(bench, 4);
    assert_int_equal(standing(bench, 0).uptests, STANDING_PASSES);
    assert_int_equal(standing(bench, 1).uptests, STANDING_FAILS);
    assert_true(standing(bench, 1).out && !standing(bench, 0).out);
    assert_int_equal(bench->changed, 1);
    assert_int_equal(bench->moved, 1);
    assert_int_equal(events_with(bench, "\"uptest.failed\""), 1);
    assert_int_equal(events_with(bench, "\"instance.ejected\""), 1);
    write_uptest(bench, "exit 0");
    while (standing(bench, 1).out)
        run_for(bench, 20);
    assert_int_equal(standing(bench, 1).uptests, STANDING_PASSES);
    assert_true(standing(bench, 1).since_ms > 0);
    assert_int_equal(bench->changed, 2);
    assert_int_equal(bench->moved, 2);
    assert_int_equal(events_with(bench, "\"uptest.passed\""), 1);
    assert_int_equal(events_with(bench, "\"instance.restored\""), 1);
}

static void without_eject_who_fails_is_told_and_stays(void **state)
{
    struct bench *bench = *state;
    write_uptest(bench, "test $1 = 10.0.1.0");
    add_services(bench, 1);
    schedule_watch(bench->schedule, NULL);
    run_until_told(bench, 2);
    assert_int_equal(standing(bench, 1).uptests, STANDING_FAILS);
    assert_false(standing(bench, 1).out);
    assert_int_equal(bench->changed + bench->moved, 0);
    assert_int_equal(events_with(bench, "\"uptest.failed\""), 1);
}

static void who_is_out_comes_back_when_the_other_goes_down(void **state)
{
    struct bench *bench = *state;
    bench->settings.uptests.eject = true;
    write_uptest(bench, "test $1 = 10.0.1.0");
    add_services(bench, 1);
    schedule_watch(bench->schedule, NULL);
    run_until_told(bench, 2);
    assert_true(standing(bench, 1).out);
    struct standing down = standing(bench, 0);
    down.pulse = PULSE_DOWN;
    standing_keep(bench->counters, &service(bench)->live->instances[0], &down);
    schedule_watch(bench->schedule, NULL);
    assert_false(standing(bench, 1).out);
    assert_int_equal(events_with(bench, "there is no other to serve in its place"), 1);
}

static void uptests_that_cannot_be_run_blame_nobody_and_are_told_once(void **state)
{
    struct bench *bench = *state;
    bench->settings.uptests.eject = true;
    static char nowhere[] = "/nonexistent";
    bench->settings.uptests.directory = nowhere;
    add_services(bench, 1);
    schedule_watch(bench->schedule, NULL);
    run_until_asked(bench, 4);
    assert_int_equal(told(bench), 0);
    assert_int_equal(standing(bench, 0).uptests, STANDING_UNTESTED);
    assert_int_equal(events_with(bench, "\"uptest.failed\""), 1);
    assert_int_equal(events_with(bench, "\"instance\":null"), 1);
}

static void without_a_schedule_any_more_nothing_is_held_against_an_instance(void **state)
{
    struct bench *bench = *state;
    bench->settings.uptests.eject = true;
    write_uptest(bench, "test $1 = 10.0.1.0");
    add_services(bench, 1);
    schedule_watch(bench->schedule, NULL);
    run_until_told(bench, 2);
    assert_true(standing(bench, 1).out);
    bench->settings.uptests.schedule_ms = 0;
    schedule_watch(bench->schedule, NULL);
    assert_false(standing(bench, 1).out);
    assert_int_equal(standing(bench, 1).uptests, STANDING_UNTESTED);
    unsigned asked = bench->asked;
    run_for(bench, 200);
    assert_int_equal(bench->asked, asked);
}

/* ---- what overtakes a run ---- */

/* A run that lasts until it is given up. */
static void begin_long_run(struct bench *bench)
{
    char *started = mem_printf("%s/started", bench->directory);
    char *body = mem_printf(": > %s; exec sleep 60", started);
    write_uptest(bench, body);
    add_services(bench, 1);
    schedule_watch(bench->schedule, NULL);
    while (access(started, F_OK) != 0)
        run_for(bench, 20);
    free(started);
    free(body);
}

static void a_run_against_a_pool_that_is_not_live_any_more_is_given_up(void **state)
{
    struct bench *bench = *state;
    begin_long_run(bench);
    struct pool *old = service(bench)->live;
    write_uptest(bench, "exit 0");
    make_live(service(bench), add_pool(bench, service(bench), 2, 2));
    schedule_watch(bench->schedule, NULL);
    run_until_told(bench, 2);
    assert_int_equal(standing(bench, 0).uptests, STANDING_PASSES);
    assert_int_equal(standing_of(bench->counters, &old->instances[0]).uptests, STANDING_UNTESTED);
}

static void a_run_yields_to_a_gate_and_comes_later(void **state)
{
    struct bench *bench = *state;
    begin_long_run(bench);
    write_uptest(bench, "exit 0");
    schedule_yield(bench->schedule, "s0");
    schedule_yield(bench->schedule, "unknown");
    assert_int_equal(told(bench), 0);
    run_until_told(bench, 2);
    assert_int_equal(standing(bench, 0).uptests, STANDING_PASSES);
}

static void after_a_stop_nothing_begins(void **state)
{
    struct bench *bench = *state;
    begin_long_run(bench);
    schedule_stop(bench->schedule);
    make_live(service(bench), add_pool(bench, service(bench), 2, 2));
    schedule_watch(bench->schedule, NULL);
    run_for(bench, 200);
    assert_int_equal(bench->asked, 1);
    assert_int_equal(told(bench), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(services_that_are_there_at_the_start_are_spread_over_the_interval),
        TEST(a_pool_that_has_just_passed_its_gate_is_left_alone_for_an_interval),
        TEST(a_world_more_moves_no_run),
        TEST(while_others_run_the_uptests_a_run_waits_and_then_comes),
        TEST(who_fails_is_told_once_and_is_out_until_it_passes),
        TEST(without_eject_who_fails_is_told_and_stays),
        TEST(who_is_out_comes_back_when_the_other_goes_down),
        TEST(uptests_that_cannot_be_run_blame_nobody_and_are_told_once),
        TEST(without_a_schedule_any_more_nothing_is_held_against_an_instance),
        TEST(a_run_against_a_pool_that_is_not_live_any_more_is_given_up),
        TEST(a_run_yields_to_a_gate_and_comes_later),
        TEST(after_a_stop_nothing_begins),
    };
    alarm(120); /* what never comes fails the test instead of hanging it */
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
