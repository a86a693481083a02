/* The trail of one service, whose looks are those that a world brings with it. */
#include "control/trail.h"

#include "unit.h"

#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

struct bench {
    struct loop *loop;
    struct registry *registry;
    struct service *service;
    int fd;
    struct counters *counters;
    struct config_service settings;
    struct trail *trail;
    struct pool *old, *new;
};

static struct yardstick_slice slices[TRAIL_SLICES];

static const struct config_service *settings(void *arg, const char *service)
{
    struct bench *bench = arg;
    assert_true(strcmp(service, "web") == 0 || strcmp(service, "api") == 0);
    return &bench->settings;
}

static struct pool *add_pool(struct bench *bench, const char *name, enum pool_state state, uint32_t slot)
{
    struct pool *pool = pool_new(name, "", 1);
    pool->instances[0].address = mem_dup("10.0.0.1:80");
    pool->instances[0].resolved = mem_dup("10.0.0.1:80");
    pool->state = state;
    pool->slot = slot;
    pool->service = bench->service;
    TAILQ_INSERT_TAIL(&bench->service->pools, pool, of_service);
    HASH_ADD_KEYPTR(hh, bench->registry->pools, pool->name, strlen(pool->name), pool);
    return pool;
}

static int setup(void **state)
{
    struct bench *bench = mem_zero(1, sizeof *bench);
    struct err err;
    bench->loop = loop_new();
    bench->registry = registry_new();
    bench->fd = counters_create(1, &err);
    bench->counters = counters_map(bench->fd, &err);
    bench->settings.watch.duration_ms = 60000;
    bench->service = mem_zero(1, sizeof *bench->service);
    bench->service->name = mem_dup("web");
    TAILQ_INIT(&bench->service->pools);
    HASH_ADD_KEYPTR(hh, bench->registry->services, bench->service->name, 3, bench->service);
    bench->old = bench->service->live = add_pool(bench, "web-1", POOL_LIVE, 1);
    bench->new = add_pool(bench, "web-2", POOL_STAGED, 2);
    bench->trail =
        trail_new(&(struct trail_options){bench->loop, bench->registry, bench->counters, settings, bench});
    *state = bench;
    return 0;
}

/* A trail lives as long as its process. */
static int teardown(void **state)
{
    struct bench *bench = *state;
    bench->service->live = bench->service->armed = NULL;
    bench->settings.watch.duration_ms = 0;
    trail_watch(bench->trail, NULL);
    registry_free(bench->registry);
    counters_unmap(bench->counters);
    close(bench->fd);
    loop_free(bench->loop); /* where its deadline is */
    free(bench->trail);
    free(bench);
    return 0;
}

static void answer(struct bench *bench, const struct pool *pool, uint64_t requests, unsigned bucket)
{
    struct counters_pool *cells = counters_pool(bench->counters, 0, pool->slot);
    counters_add(&cells->requests, requests);
    counters_add(&cells->buckets[bucket], requests);
}

static void swap(struct bench *bench)
{
    bench->service->armed = bench->old;
    bench->service->live = bench->new;
    bench->old->state = POOL_ARMED;
    bench->new->state = POOL_LIVE;
    trail_watch(bench->trail, bench->service);
}

static void what_came_before_it_was_followed_is_a_slice_of_unknown_length(void **state)
{
    struct bench *bench = *state;
    answer(bench, bench->old, 700, 9);
    trail_watch(bench->trail, NULL);
    assert_int_equal(trail_read(bench->trail, bench->old, slices), 1);
    assert_int_equal(slices[0].answers.requests, 700);
    assert_int_equal(slices[0].answers.buckets[9], 700);
    assert_true(slices[0].seconds == 0);
}

static void the_record_ends_with_the_swap(void **state)
{
    struct bench *bench = *state;
    trail_watch(bench->trail, NULL);
    answer(bench, bench->old, 30, 9);
    answer(bench, bench->old, 3, 40);
    swap(bench);
    answer(bench, bench->old, 5000, 80);
    trail_watch(bench->trail, NULL);
    assert_int_equal(trail_read(bench->trail, bench->old, slices), 1);
    assert_int_equal(slices[0].answers.requests, 33);
    assert_int_equal(slices[0].answers.buckets[9], 30);
    assert_int_equal(slices[0].answers.buckets[40], 3);
    assert_int_equal(slices[0].answers.buckets[80], 0);
    assert_true(slices[0].seconds > 0);
}

static void after_a_rollback_it_goes_on_without_what_came_between(void **state)
{
    struct bench *bench = *state;
    trail_watch(bench->trail, NULL);
    answer(bench, bench->old, 30, 9);
    swap(bench);
    answer(bench, bench->old, 5000, 80);
    bench->service->live = bench->old;
    bench->service->armed = NULL;
    bench->old->state = POOL_LIVE;
    bench->new->state = POOL_DRAINING;
    trail_watch(bench->trail, NULL);
    answer(bench, bench->old, 7, 9);
    bench->new->state = POOL_STAGED;
    swap(bench);
    assert_int_equal(trail_read(bench->trail, bench->old, slices), 2);
    assert_int_equal(slices[0].answers.requests, 30);
    assert_int_equal(slices[1].answers.requests, 7);
}

static void a_service_without_a_watch_costs_nothing_and_has_its_totals(void **state)
{
    struct bench *bench = *state;
    bench->settings.watch.duration_ms = 0;
    trail_watch(bench->trail, NULL);
    answer(bench, bench->old, 30, 9);
    assert_int_equal(trail_read(bench->trail, bench->old, slices), 1);
    assert_int_equal(slices[0].answers.requests, 30);
    assert_true(slices[0].seconds == 0);
}

static void a_look_at_one_service_forgets_its_own_alone(void **state)
{
    struct bench *bench = *state;
    struct service *web = bench->service, *api = mem_zero(1, sizeof *api);
    api->name = mem_dup("api");
    TAILQ_INIT(&api->pools);
    HASH_ADD_KEYPTR(hh, bench->registry->services, api->name, 3, api);
    bench->service = api;
    api->live = add_pool(bench, "api-1", POOL_LIVE, 3);
    bench->service = web;
    trail_watch(bench->trail, NULL);
    answer(bench, bench->old, 30, 9);
    answer(bench, api->live, 40, 9);
    web->live = NULL;
    web->armed = bench->old;
    trail_watch(bench->trail, web);
    web->armed = NULL;
    trail_watch(bench->trail, web);
    answer(bench, bench->old, 1, 9);
    answer(bench, api->live, 1, 9);
    trail_watch(bench->trail, api);
    struct pool *kept = api->live;
    api->live = NULL;
    api->armed = kept;
    trail_watch(bench->trail, api); /* a look at what it has answered till now */
    assert_int_equal(trail_read(bench->trail, kept, slices), 1);
    assert_int_equal(slices[0].answers.requests, 41);
    assert_true(slices[0].seconds > 0); /* it was followed all the time */
    assert_int_equal(trail_read(bench->trail, bench->old, slices), 1);
    assert_int_equal(slices[0].answers.requests, 31);
    assert_true(slices[0].seconds == 0); /* its record was forgotten: these are all there ever were */
    api->armed = NULL;
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(a_look_at_one_service_forgets_its_own_alone),
        EACH(what_came_before_it_was_followed_is_a_slice_of_unknown_length),
        EACH(the_record_ends_with_the_swap),
        EACH(after_a_rollback_it_goes_on_without_what_came_between),
        EACH(a_service_without_a_watch_costs_nothing_and_has_its_totals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
