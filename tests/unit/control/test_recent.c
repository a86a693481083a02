/* The record of the last 15 minutes: two services, looked at by hand. */
#include "control/recent.h"

#include "pools.h"
#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

struct bench {
    struct loop *loop;
    struct registry *registry;
    int fd;
    struct counters *counters;
    struct pool *old, *new, *other;
    struct recent *recent;
};

static struct recent_slice slices[RECENT_SLICES];

/* A clock that goes on by a microsecond each time it is looked at. */
static uint64_t now_ns = 1000000000;
uint64_t __wrap_clock_mono_ns(void);

uint64_t __wrap_clock_mono_ns(void)
{
    return now_ns += 1000;
}

static void pass(unsigned ms)
{
    now_ns += (uint64_t)ms * 1000000;
}

static struct pool *add_pool(struct bench *bench, struct service *service, const char *name, uint32_t slot)
{
    struct pool *pool = pools_add(bench->registry, service, name, slot);
    pool->state = POOL_LIVE;
    return pool;
}

static int setup(void **state)
{
    struct bench *bench = mem_zero(1, sizeof *bench);
    struct err err;
    bench->loop = loop_new();
    bench->registry = registry_new();
    bench->fd = counters_create(2, &err);
    bench->counters = counters_map(bench->fd, &err);
    struct service *web = pools_service(bench->registry, "web");
    bench->old = add_pool(bench, web, "web-1", 1);
    bench->new = add_pool(bench, web, "web-2", 1 + COUNTERS_GROUP);
    bench->other = add_pool(bench, pools_service(bench->registry, "api"), "api-1", 2 + COUNTERS_GROUP);
    bench->recent = recent_new(bench->loop, bench->registry, bench->counters);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    recent_free(bench->recent);
    registry_free(bench->registry);
    counters_unmap(bench->counters);
    close(bench->fd);
    loop_free(bench->loop);
    free(bench);
    return 0;
}

/* Of a duration in that bucket, spread over both workers. */
static void answer(struct bench *bench, const struct pool *pool, unsigned status, uint64_t count,
                   unsigned bucket)
{
    for (unsigned worker = 0; worker < 2; worker++) {
        struct counters_pool *cells = counters_pool(bench->counters, worker, pool->slot);
        uint64_t share = worker == 0 ? count / 2 : count - count / 2;
        counters_add(&cells->requests, share);
        counters_add(&cells->codes[status - COUNTERS_CODE_MIN], share);
        counters_add(&cells->buckets[bucket], share);
        counters_add(&counters_worker(bench->counters, worker)->ended[pool->slot / COUNTERS_GROUP], share);
    }
}

static const struct recent_slice *last(struct bench *bench, const char *service)
{
    size_t count = recent_read(bench->recent, service, 1, slices);
    assert_int_equal(count, 1);
    return &slices[0];
}

static void a_slice_has_the_requests_errors_and_durations_since_the_one_before(void **state)
{
    struct bench *bench = *state;
    recent_look(bench->recent);
    answer(bench, bench->old, 200, 98, 4);
    answer(bench, bench->old, 503, 2, 40);
    recent_look(bench->recent);
    const struct recent_slice *slice = last(bench, "web");
    assert_int_equal(slice->requests, 100);
    assert_int_equal(slice->errors, 2);
    assert_in_range(slice->p50_us, counters_bucket_us(3), counters_bucket_us(4));
    assert_in_range(slice->p99_us, counters_bucket_us(39), counters_bucket_us(40));
    assert_true(slice->seconds > 0);
    assert_true(slice->begun_ns > 0);
    recent_look(bench->recent);
    slice = last(bench, "web");
    assert_int_equal(slice->requests, 0);
    assert_int_equal(slice->p99_us, 0);
    assert_int_equal(recent_read(bench->recent, "web", RECENT_SLICES, slices), 2);
    assert_int_equal(slices[0].requests, 100);
}

static void what_was_counted_before_the_first_look_belongs_to_no_slice(void **state)
{
    struct bench *bench = *state;
    answer(bench, bench->old, 200, 5000, 4);
    recent_look(bench->recent);
    assert_int_equal(recent_read(bench->recent, "web", RECENT_SLICES, slices), 0);
    answer(bench, bench->old, 200, 7, 4);
    recent_look(bench->recent);
    assert_int_equal(last(bench, "web")->requests, 7);
}

static void both_pools_of_a_swap_are_in_one_slice(void **state)
{
    struct bench *bench = *state;
    recent_look(bench->recent);
    answer(bench, bench->old, 200, 30, 4);
    answer(bench, bench->new, 200, 12, 4);
    recent_look(bench->recent);
    assert_int_equal(last(bench, "web")->requests, 42);
}

static void go(struct bench *bench, struct pool *pool)
{
    struct counters_pool sum;
    counters_pool_sum(bench->counters, pool->slot, &sum);
    pool->state = POOL_RETIRED;
    recent_gone(bench->recent, pool->service->name, &sum);
}

static void what_a_pool_that_goes_has_counted_last_is_not_lost(void **state)
{
    struct bench *bench = *state;
    recent_look(bench->recent);
    answer(bench, bench->old, 200, 1000, 4);
    recent_look(bench->recent);
    answer(bench, bench->old, 500, 8, 4);
    go(bench, bench->old);
    answer(bench, bench->new, 200, 5, 4);
    recent_look(bench->recent);
    assert_int_equal(last(bench, "web")->requests, 13);
    assert_int_equal(last(bench, "web")->errors, 8);
    recent_look(bench->recent);
    assert_int_equal(last(bench, "web")->requests, 0);
}

static void nor_is_that_of_a_pool_which_was_never_looked_at(void **state)
{
    struct bench *bench = *state;
    recent_look(bench->recent);
    answer(bench, bench->old, 200, 9, 4);
    go(bench, bench->old);
    recent_look(bench->recent);
    assert_int_equal(last(bench, "web")->requests, 9);
    assert_in_range(last(bench, "web")->p50_us, counters_bucket_us(3), counters_bucket_us(4));
}

/* As when a slot is cleared under its feet: a plot with 2^64 requests would be worse than one without. */
static void what_runs_backwards_counts_as_nothing(void **state)
{
    struct bench *bench = *state;
    recent_look(bench->recent);
    answer(bench, bench->old, 200, 50, 4);
    recent_look(bench->recent);
    counters_clear_pool(bench->counters, bench->old->slot);
    recent_look(bench->recent);
    assert_int_equal(last(bench, "web")->requests, 0);
    answer(bench, bench->old, 200, 3, 4);
    recent_look(bench->recent);
    assert_int_equal(last(bench, "web")->requests, 3);
}

static void it_keeps_fifteen_minutes_and_the_newest_of_them(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(RECENT_SLICES * RECENT_SLICE_MS, 15 * 60 * 1000);
    recent_look(bench->recent);
    for (unsigned i = 1; i <= RECENT_SLICES + 3; i++) {
        answer(bench, bench->old, 200, i, 4);
        recent_look(bench->recent);
    }
    assert_int_equal(recent_read(bench->recent, "web", RECENT_SLICES, slices), RECENT_SLICES);
    assert_int_equal(slices[0].requests, 4);
    assert_int_equal(slices[RECENT_SLICES - 1].requests, RECENT_SLICES + 3);
    assert_int_equal(recent_read(bench->recent, "web", 3, slices), 3);
    assert_int_equal(slices[0].requests, RECENT_SLICES + 1);
}

static void a_service_is_known_while_it_has_had_requests_in_that_time(void **state)
{
    struct bench *bench = *state;
    recent_look(bench->recent);
    assert_false(recent_is_known(bench->recent, "web"));
    answer(bench, bench->old, 200, 1, 4);
    recent_look(bench->recent);
    assert_true(recent_is_known(bench->recent, "web"));
    assert_false(recent_is_known(bench->recent, "api"));
    for (unsigned i = 1; i < RECENT_SLICES; i++)
        recent_look(bench->recent);
    assert_true(recent_is_known(bench->recent, "web"));
    recent_look(bench->recent);
    assert_false(recent_is_known(bench->recent, "web"));
    assert_int_equal(recent_read(bench->recent, "web", RECENT_SLICES, slices), RECENT_SLICES);
    assert_int_equal(slices[0].requests, 0);
    answer(bench, bench->old, 200, 2, 4);
    recent_look(bench->recent);
    assert_int_equal(last(bench, "web")->requests, 2);
}

/* Thousandths a second. */
static void expect_rate(struct bench *bench, const struct pool *pool, uint32_t rate)
{
    assert_in_range(recent_rate(bench->recent, pool->service), rate - rate / 1000, rate);
}

static void the_rate_is_that_of_the_last_slice_and_of_what_came_since(void **state)
{
    struct bench *bench = *state;
    answer(bench, bench->old, 200, 5000, 4); /* nobody knows in which time */
    recent_look(bench->recent);
    pass(2000);
    answer(bench, bench->old, 200, 60, 4);
    answer(bench, bench->new, 200, 40, 4);
    expect_rate(bench, bench->old, 50000);
    recent_look(bench->recent);
    expect_rate(bench, bench->old, 50000);
    pass(3000);
    answer(bench, bench->old, 200, 15, 4);
    go(bench, bench->old);
    answer(bench, bench->new, 200, 5, 4);
    expect_rate(bench, bench->new, 24000);
    recent_look(bench->recent);
    pass(1000);
    expect_rate(bench, bench->new, 5000);
    assert_int_equal(recent_rate(bench->recent, bench->other->service), 0);
    recent_look(bench->recent);
    assert_int_equal(recent_rate(bench->recent, bench->new->service), 0);
}

static void begin(struct bench *bench, const struct pool *pool, uint64_t count)
{
    counters_add(&counters_pool(bench->counters, 0, pool->slot)->in_flight, count);
}

static void end(struct bench *bench, const struct pool *pool, uint64_t count)
{
    counters_sub(&counters_pool(bench->counters, 0, pool->slot)->in_flight, count);
    answer(bench, pool, 200, count, 4);
}

/* A thousand WebSockets that a drain cuts are no requests, and an app that hangs has them. */
static void the_rate_counts_requests_where_they_begin(void **state)
{
    struct bench *bench = *state;
    begin(bench, bench->old, 1000);
    recent_look(bench->recent);
    answer(bench, bench->old, 200, 50, 4);
    pass(5000);
    recent_look(bench->recent);
    expect_rate(bench, bench->old, 10000);
    pass(5000);
    end(bench, bench->old, 1000);
    expect_rate(bench, bench->old, 5000);
    recent_look(bench->recent);
    pass(5000);
    begin(bench, bench->old, 30);
    expect_rate(bench, bench->old, 3000);
    end(bench, bench->old, 20);
    expect_rate(bench, bench->old, 3000);
    end(bench, bench->old, 10);
    recent_look(bench->recent);
    pass(1000);
    expect_rate(bench, bench->old, 5000);
    begin(bench, bench->old, 30);
    recent_look(bench->recent);
    recent_look(bench->recent);
    pass(1000);
    counters_sub(&counters_pool(bench->counters, 0, bench->old->slot)->in_flight, 30); /* it went elsewhere */
    assert_int_equal(recent_rate(bench->recent, bench->old->service), 0);
}

/* The counters of its pools are left alone. */
static void a_service_without_requests_in_that_time_is_told_by_its_group(void **state)
{
    struct bench *bench = *state;
    recent_look(bench->recent);
    answer(bench, bench->old, 200, 10, 4);
    for (unsigned i = 0; i <= RECENT_SLICES; i++)
        recent_look(bench->recent);
    assert_false(recent_is_known(bench->recent, "web"));
    go(bench, bench->old);
    recent_look(bench->recent);
    counters_add(&counters_pool(bench->counters, 0, bench->new->slot)->requests, 7);
    recent_look(bench->recent);
    assert_false(recent_is_known(bench->recent, "web"));
    answer(bench, bench->other, 200, 1, 4); /* of the same group */
    recent_look(bench->recent);
    assert_true(recent_is_known(bench->recent, "web"));
    assert_int_equal(last(bench, "web")->requests, 7);
}

static void no_rate_is_known_of_less_than_a_moment(void **state)
{
    struct bench *bench = *state;
    answer(bench, bench->old, 200, 5000, 4);
    pass(2000);
    assert_int_equal(recent_rate(bench->recent, bench->old->service), 0);
    recent_look(bench->recent);
    answer(bench, bench->old, 200, 100, 4);
    assert_int_equal(recent_rate(bench->recent, bench->old->service), 0);
    pass(1000);
    expect_rate(bench, bench->old, 100000);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(a_slice_has_the_requests_errors_and_durations_since_the_one_before),
        EACH(what_was_counted_before_the_first_look_belongs_to_no_slice),
        EACH(both_pools_of_a_swap_are_in_one_slice),
        EACH(what_a_pool_that_goes_has_counted_last_is_not_lost),
        EACH(nor_is_that_of_a_pool_which_was_never_looked_at),
        EACH(what_runs_backwards_counts_as_nothing),
        EACH(it_keeps_fifteen_minutes_and_the_newest_of_them),
        EACH(a_service_is_known_while_it_has_had_requests_in_that_time),
        EACH(the_rate_is_that_of_the_last_slice_and_of_what_came_since),
        EACH(the_rate_counts_requests_where_they_begin),
        EACH(a_service_without_requests_in_that_time_is_told_by_its_group),
        EACH(no_rate_is_known_of_less_than_a_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
