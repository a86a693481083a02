#include "control/drain.h"

#include "unit.h"

#include "base/clock.h"
#include "base/mem.h"
#include "deploy/record.h"

#include <stdlib.h>
#include <unistd.h>

#define MS 1000000ULL

/* One pool of three instances that has just been replaced, in slots 1 (pool) and 1 to 3 (instances). */
struct bench {
    struct loop *loop;
    struct registry *registry;
    int fd;
    struct counters *counters;
    struct drain *drain;
    struct pool *pool;
    unsigned clean, forced; /* instances told, a bit each */
    struct deadline enough;
    uint64_t next_world; /* that unpin makes; 0: not now */
    unsigned unpins;
};

static void drained(void *arg, struct pool *pool, const size_t *instances, size_t count, bool forced)
{
    struct bench *bench = arg;
    for (size_t i = 0; i < count; i++) {
        assert_true(pool->instances[instances[i]].state == INSTANCE_UP);
        *(forced ? &bench->forced : &bench->clean) |= 1U << instances[i];
        pool->instances[instances[i]].state = INSTANCE_RETIRED;
    }
}

/* A world is made; the workers have not heard of it. */
static bool unpin(void *arg)
{
    struct bench *bench = arg;
    bench->unpins++;
    if (bench->next_world == 0)
        return false;
    assert_int_equal(drain_limits(bench->drain, bench->pool, bench->next_world).pinned_until_ms, 0);
    return true;
}

static void enough(struct deadline *deadline)
{
    loop_stop(mem_container(deadline, struct bench, enough)->loop);
}

/* Several looks, 20 ms apart. */
static void look(struct bench *bench)
{
    drain_watch(bench->drain);
    deadline_set(&bench->enough, 80);
    loop_run(bench->loop);
}

static struct pool *make_pool(void)
{
    struct pool *pool = pool_new("web-1", "", 3);
    for (uint32_t i = 0; i < 3; i++) {
        pool->instances[i].address = mem_printf("10.0.0.%u:80", i);
        pool->instances[i].resolved = mem_dup(pool->instances[i].address);
        pool->instances[i].slot = i + 1;
        pool->instances[i].state = INSTANCE_UP;
    }
    pool->slot = 1;
    pool->state = POOL_DRAINING;
    pool->was_live = true;
    pool->going_since_ns = clock_steady_ns();
    pool->going_since_world = 5;
    pool->drain = (struct drain_times){10000, 20000, 30000, 30000, 100, 0};
    return pool;
}

static int setup(void **state)
{
    static struct bench benches[16]; /* a drain lives as long as the process */
    static unsigned count;
    struct bench *bench = &benches[count++];
    struct err err;
    struct record record;
    *state = bench;
    bench->loop = loop_new();
    deadline_init(&bench->enough, bench->loop, enough);
    bench->registry = registry_new();
    bench->pool = make_pool();
    record_init(&record, RECORD_POOL, NULL);
    record.service = mem_dup("web");
    record.fresh = bench->pool;
    if (!registry_apply(bench->registry, &record, NULL, &err))
        return -1;
    record_free(&record);
    bench->fd = counters_create(2, &err);
    bench->counters = counters_map(bench->fd, &err);
    counters_worker(bench->counters, 0)->version = 5;
    counters_worker(bench->counters, 1)->version = 5;
    bench->drain = drain_new(&(struct drain_options){.loop = bench->loop,
                                                     .registry = bench->registry,
                                                     .counters = bench->counters,
                                                     .drained = drained,
                                                     .unpin = unpin,
                                                     .arg = bench});
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    counters_unmap(bench->counters);
    close(bench->fd);
    return 0;
}

/* An exchange of worker 1 on an instance; -1: it has none yet. */
static void begin_exchange(struct bench *bench, int instance)
{
    counters_add(&counters_pool(bench->counters, 1, 1)->in_flight, 1);
    if (instance >= 0)
        counters_add(&counters_instance(bench->counters, 1, bench->pool->instances[instance].slot)->in_flight,
                     1);
    else
        counters_add(&counters_pool(bench->counters, 1, 1)->choosing, 1);
}

static void instances_go_one_by_one_as_they_are_idle(void **state)
{
    struct bench *bench = *state;
    begin_exchange(bench, 1);
    look(bench);
    assert_int_equal(bench->clean, 5);
    counters_pool(bench->counters, 1, 1)->in_flight = 0;
    counters_instance(bench->counters, 1, 2)->in_flight = 0;
    look(bench);
    assert_int_equal(bench->clean, 7);
    assert_int_equal(bench->forced, 0);
}

/* Long before the next look by the clock. */
static void who_goes_on_looks_in_the_next_turn(void **state)
{
    struct bench *bench = *state;
    drain_watch(bench->drain);
    drain_go_on(bench->drain);
    deadline_set(&bench->enough, 10);
    loop_run(bench->loop);
    assert_int_equal(bench->clean, 7);
}

static void nothing_goes_before_every_worker_has_turned(void **state)
{
    struct bench *bench = *state;
    counters_worker(bench->counters, 1)->version = 4;
    look(bench);
    assert_int_equal(bench->clean | bench->forced, 0);
    counters_worker(bench->counters, 1)->version = 5;
    look(bench);
    assert_int_equal(bench->clean, 7);
}

static void no_worker_turned_is_no_drain_even_past_the_deadline(void **state)
{
    struct bench *bench = *state;
    bench->pool->going_since_ns = clock_steady_ns() - 100000 * MS;
    counters_worker(bench->counters, 1)->version = 4;
    begin_exchange(bench, 0);
    look(bench);
    assert_int_equal(bench->clean | bench->forced, 0);
}

static void an_exchange_without_instance_keeps_them_all(void **state)
{
    struct bench *bench = *state;
    begin_exchange(bench, -1);
    look(bench);
    assert_int_equal(bench->clean | bench->forced, 0);
}

/* It counts where it tries, and may yet be left for another: refused, or no room. */
static void an_exchange_that_only_tries_an_instance_keeps_them_all(void **state)
{
    struct bench *bench = *state;
    begin_exchange(bench, 1);
    counters_add(&counters_pool(bench->counters, 1, 1)->choosing, 1);
    look(bench);
    assert_int_equal(bench->clean | bench->forced, 0);
    counters_sub(&counters_pool(bench->counters, 1, 1)->choosing, 1);
    look(bench);
    assert_int_equal(bench->clean, 5);
}

static void a_busy_instance_goes_by_force_at_the_last_deadline(void **state)
{
    struct bench *bench = *state;
    bench->pool->going_since_ns = clock_steady_ns() - 32000 * MS;
    bench->pool->drain = (struct drain_times){100, 100, 100, 100, 0, 0};
    begin_exchange(bench, 2);
    look(bench); /* the deadline has passed, its grace not yet */
    assert_int_equal(bench->forced, 0);
    assert_int_equal(bench->clean, 3);
    deadline_set(&bench->enough, SNAPSHOT_DRAIN_GRACE_MS + 1200);
    loop_run(bench->loop);
    assert_int_equal(bench->forced, 4);
}

static void an_instance_that_was_cut_goes_by_force_when_it_is_idle(void **state)
{
    struct bench *bench = *state;
    counters_instance(bench->counters, 0, 2)->cut = 1;
    look(bench);
    assert_int_equal(bench->clean, 5);
    assert_int_equal(bench->forced, 2);
}

/* It may have been looked at by a preview. */
static void a_pool_that_was_never_live_goes_when_every_worker_has_turned_too(void **state)
{
    struct bench *bench = *state;
    uint64_t version = counters_worker(bench->counters, 1)->version;
    bench->pool->was_live = false;
    counters_worker(bench->counters, 1)->version = 0;
    look(bench);
    assert_int_equal(bench->clean, 0);
    counters_worker(bench->counters, 1)->version = version;
    look(bench);
    assert_int_equal(bench->clean, 7);
}

static void the_limits_of_a_pool_are_the_same_at_each_call(void **state)
{
    struct bench *bench = *state;
    bench->pool->going_since_ns = clock_steady_ns() - 4000 * MS;
    uint64_t now = clock_mono_ms();
    struct snapshot_drain first = drain_limits(bench->drain, bench->pool, 5);
    assert_true(first.requests_until_ms >= now + 5900 && first.requests_until_ms <= now + 6100);
    assert_true(first.websockets_until_ms >= now + 25900 && first.websockets_until_ms <= now + 26100);
    bench->pool->going_since_ns -= 1000 * MS;
    struct snapshot_drain second = drain_limits(bench->drain, bench->pool, 6);
    assert_memory_equal(&first, &second, sizeof first);
}

static void a_drain_goes_by_the_clock_that_nobody_sets(void **state)
{
    struct bench *bench = *state;
    uint64_t ahead_ns = clock_steady_ahead_ns();
    clock_steady_set(ahead_ns - 86400000 * MS); /* seen from here the wall clock was set forward by a day */
    bench->pool->going_since_ns = clock_steady_ns() - 4000 * MS;
    uint64_t now = clock_mono_ms();
    assert_in_range(drain_limits(bench->drain, bench->pool, 5).requests_until_ms, now + 5900, now + 6100);
    clock_steady_set(ahead_ns);
}

/* A moment of another boot may be one to come. */
static void what_began_in_the_future_has_its_whole_length_and_no_more(void **state)
{
    struct bench *bench = *state;
    bench->pool->going_since_ns = clock_steady_ns() + 3600000 * MS;
    uint64_t now = clock_mono_ms();
    assert_true(drain_limits(bench->drain, bench->pool, 5).requests_until_ms <= now + 10100);
}

static void set_versions(struct bench *bench, uint64_t version)
{
    for (unsigned i = 0; i < 2; i++)
        counters_worker(bench->counters, i)->version = version;
}

static void a_pool_with_pinned_sessions_stays_though_it_is_idle(void **state)
{
    struct bench *bench = *state;
    bench->pool->drain.pinned_ms = 60000;
    bench->next_world = 9;
    look(bench);
    set_versions(bench, 100);
    look(bench);
    assert_int_equal(bench->clean | bench->forced, 0);
    assert_int_equal(bench->unpins, 0);
    struct snapshot_drain until = drain_limits(bench->drain, bench->pool, 6);
    uint64_t now = clock_mono_ms();
    assert_in_range(until.pinned_until_ms, now + 58000, now + 60000);
    assert_in_range(until.requests_until_ms, now + 68000, now + 70000); /* the drain proper comes after */
    assert_in_range(until.websockets_until_ms, now + 88000, now + 90000);
}

/* That their time is over proves nothing: a slow worker may still send one there. */
static void a_pinned_pool_goes_when_all_workers_know_that_nobody_is(void **state)
{
    struct bench *bench = *state;
    bench->pool->drain.pinned_ms = 100;
    bench->pool->going_since_ns = clock_steady_ns() - 200 * MS;
    look(bench); /* a world cannot be made now */
    assert_true(bench->unpins >= 1);
    assert_int_equal(bench->clean | bench->forced, 0);
    bench->next_world = 9;
    look(bench);
    unsigned asked = bench->unpins;
    set_versions(bench, 8);
    look(bench);
    assert_int_equal(bench->clean | bench->forced, 0);
    counters_worker(bench->counters, 0)->version = 9;
    look(bench);
    assert_int_equal(bench->clean | bench->forced, 0);
    counters_worker(bench->counters, 1)->version = 10;
    begin_exchange(bench, 1);
    look(bench);
    assert_int_equal(bench->clean, 5);
    assert_int_equal(bench->unpins, asked); /* one world is enough */
}

/* Any world that is made after the time says so, whoever made it. */
static void a_world_that_comes_anyway_ends_the_pins(void **state)
{
    struct bench *bench = *state;
    bench->pool->drain.pinned_ms = 100;
    bench->pool->going_since_ns = clock_steady_ns() - 200 * MS;
    assert_int_equal(drain_limits(bench->drain, bench->pool, 7).pinned_until_ms, 0);
    assert_int_equal(drain_limits(bench->drain, bench->pool, 8).pinned_until_ms, 0);
    set_versions(bench, 7);
    look(bench);
    assert_int_equal(bench->unpins, 0);
    assert_int_equal(bench->clean, 7);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(instances_go_one_by_one_as_they_are_idle),
        EACH(who_goes_on_looks_in_the_next_turn),
        EACH(nothing_goes_before_every_worker_has_turned),
        EACH(no_worker_turned_is_no_drain_even_past_the_deadline),
        EACH(an_exchange_without_instance_keeps_them_all),
        EACH(an_exchange_that_only_tries_an_instance_keeps_them_all),
        EACH(a_busy_instance_goes_by_force_at_the_last_deadline),
        EACH(an_instance_that_was_cut_goes_by_force_when_it_is_idle),
        EACH(a_pool_that_was_never_live_goes_when_every_worker_has_turned_too),
        EACH(the_limits_of_a_pool_are_the_same_at_each_call),
        EACH(a_pool_with_pinned_sessions_stays_though_it_is_idle),
        EACH(a_pinned_pool_goes_when_all_workers_know_that_nobody_is),
        EACH(a_world_that_comes_anyway_ends_the_pins),
        EACH(a_drain_goes_by_the_clock_that_nobody_sets),
        EACH(what_began_in_the_future_has_its_whole_length_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
