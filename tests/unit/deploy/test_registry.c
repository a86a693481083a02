#include "deploy/registry.h"

#include "unit.h"

#include "walk.h"

#include <stdlib.h>

static int setup(void **state)
{
    struct registry *registry = registry_new();
    *state = registry;
    return add_pool(registry, "web-0", 2, 1, false) ? 0 : -1;
}

static int teardown(void **state)
{
    registry_free(*state);
    return 0;
}

static bool stage_and_pass(struct registry *registry, const char *name, unsigned first)
{
    return add_pool(registry, name, 2, first, true) && happen(registry, name, EVENT_READY) &&
           happen(registry, name, EVENT_GATE_PASSED);
}

static bool on_instances(struct registry *registry, enum record_type type, const char *pool, unsigned mask,
                         bool flag)
{
    struct record record;
    record_init(&record, type, pool);
    for (unsigned i = 0; i < 8; i++) {
        if (mask >> i & 1)
            record_add_instance(&record, i);
    }
    record.out = record.forced = flag;
    record.end = TEARDOWN_DONE;
    return apply(registry, &record);
}

static bool set_mode(struct registry *registry, const char *service, enum mode_kind kind, const char *message)
{
    struct record record;
    record_init(&record, RECORD_MODE, NULL);
    record.time_ns = 4000000;
    record.service = mem_dup(service);
    record.mode.kind = kind;
    record.mode.message = mem_dup(message);
    return apply(registry, &record);
}

static void a_mode_is_kept_with_its_moment_until_it_is_taken_back(void **state)
{
    struct registry *registry = *state;
    struct service *web = registry_service(registry, "web");
    assert_false(set_mode(registry, "web", MODE_SERVING, NULL));
    assert_true(set_mode(registry, "web", MODE_MAINTENANCE, "one"));
    assert_true(set_mode(registry, "web", MODE_MAINTENANCE, "two"));
    assert_int_equal(web->mode.kind, MODE_MAINTENANCE);
    assert_string_equal(web->mode.message, "two");
    assert_int_equal(web->mode.since_ns, 4000000);
    assert_true(set_mode(registry, "web", MODE_SERVING, NULL));
    assert_null(web->mode.message);
    web->mode.slot = 5;
    assert_true(set_mode(registry, "web", MODE_MAINTENANCE, NULL));
    assert_int_equal(web->mode.slot, 5); /* what waits is still counted there */
}

static void a_service_may_be_known_for_its_mode_before_its_first_pool(void **state)
{
    struct registry *registry = *state;
    assert_true(set_mode(registry, "new", MODE_MAINTENANCE, NULL));
    assert_false(registry_has_pools(registry, "new"));
    assert_true(add_pool(registry, "new-0", 1, 50, false));
    assert_true(registry_has_pools(registry, "new"));
    assert_int_equal(registry_service(registry, "new")->mode.kind, MODE_MAINTENANCE);
}

static void the_first_pool_of_the_config_is_live_without_a_deployment(void **state)
{
    struct registry *registry = *state;
    struct service *web = registry_service(registry, "web");
    assert_ptr_equal(web->live, registry_pool(registry, "web-0"));
    assert_null(web->live->deployment);
    assert_true(web->live->was_live);
}

static void a_swap_moves_live_and_sends_the_old_pool_away(void **state)
{
    struct registry *registry = *state;
    assert_true(stage_and_pass(registry, "web-1", 10));
    assert_true(happen(registry, "web-1", EVENT_CONFIRMED));
    struct pool *old = registry_pool(registry, "web-0"), *fresh = registry_pool(registry, "web-1");
    assert_ptr_equal(registry_service(registry, "web")->live, fresh);
    assert_null(registry_service(registry, "web")->running);
    assert_int_equal(old->state, POOL_DRAINING);
    assert_int_equal(old->reason, RETIRE_REPLACED);
    assert_string_equal(old->replaced_by, "web-1");
    assert_string_equal(fresh->deployment->replaces, "web-0");
    assert_int_equal(old->going_since_world, 7);
    assert_int_equal(old->drain.websockets_ms, 3);
    assert_int_equal(registry->world, 7);
}

static bool launch(struct registry *registry, const char *name)
{
    struct record record;
    struct pool *pool = make_pool(name, 0, 1, true);
    pool->deployment->state = DEPLOYMENT_LAUNCHING;
    pool_record(&record, pool);
    return apply(registry, &record);
}

static bool print(struct registry *registry, const char *name, unsigned number)
{
    struct record record;
    added_record(&record, name, number);
    return apply(registry, &record);
}

static void a_launch_begins_without_instances_and_adds_them(void **state)
{
    struct registry *registry = *state;
    assert_true(launch(registry, "web-1"));
    const struct pool *pool = registry_pool(registry, "web-1");
    assert_true(print(registry, "web-1", 20) && print(registry, "web-1", 21));
    assert_int_equal(pool->instance_count, 2);
    assert_string_equal(pool->instances[1].address, "10.0.0.21:80");
    assert_int_equal(pool->instances[1].weight, 3);
    assert_int_equal(pool->instances[0].state, INSTANCE_DOWN);
    assert_int_equal(registry->last_instance, 21);
    assert_true(happen(registry, "web-1", EVENT_LAUNCHED) && happen(registry, "web-1", EVENT_READY));
    assert_int_equal(pool->instances[1].state, INSTANCE_UP);
}

static void a_launch_has_each_instance_once_and_none_after_its_end(void **state)
{
    struct registry *registry = *state;
    assert_true(launch(registry, "web-1") && print(registry, "web-1", 20));
    assert_false(print(registry, "web-1", 20));
    assert_false(print(registry, "web-0", 22));
    assert_false(print(registry, "web-9", 22));
    assert_true(happen(registry, "web-1", EVENT_LAUNCHED));
    assert_false(print(registry, "web-1", 21));
    assert_int_equal(registry_pool(registry, "web-1")->instance_count, 1);
}

static void a_pool_without_instances_is_a_launch_or_gone(void **state)
{
    struct registry *registry = *state;
    assert_false(add_pool(registry, "web-1", 0, 1, true));
    assert_true(launch(registry, "web-1"));
    assert_false(happen(registry, "web-1", EVENT_LAUNCHED));
    assert_true(happen(registry, "web-1", EVENT_LAUNCH_FAILED));
    const struct pool *pool = registry_pool(registry, "web-1");
    assert_int_equal(pool->state, POOL_RETIRED);
    assert_int_equal(pool->deployment->state, DEPLOYMENT_REJECTED);
    assert_null(pool->service->running);
}

static void what_a_failed_launch_has_added_is_to_be_torn_down(void **state)
{
    struct registry *registry = *state;
    assert_true(launch(registry, "web-1") && print(registry, "web-1", 20));
    assert_true(happen(registry, "web-1", EVENT_LAUNCH_FAILED));
    assert_int_equal(registry_pool(registry, "web-1")->state, POOL_DRAINING);
    assert_true(on_instances(registry, RECORD_RETIRED, "web-1", 1, false));
    assert_true(on_instances(registry, RECORD_TORN_DOWN, "web-1", 1, false));
    assert_int_equal(registry_pool(registry, "web-1")->state, POOL_RETIRED);
}

static bool stage_with(struct registry *registry, const char *name, unsigned first, uint64_t watch_ms,
                       size_t shares)
{
    struct record record;
    struct pool *pool = make_pool(name, 2, first, true);
    pool->deployment->watch_ms = watch_ms;
    pool->deployment->canary = (struct canary){.shares = {10000, 500000}, .count = shares, .step_ms = 7};
    pool_record(&record, pool);
    return apply(registry, &record) && happen(registry, name, EVENT_READY) &&
           happen(registry, name, EVENT_GATE_PASSED) && happen(registry, name, EVENT_CONFIRMED);
}

static void with_a_watch_the_old_pool_is_armed_and_nothing_is_taken_from_it(void **state)
{
    struct registry *registry = *state;
    struct service *web = registry_service(registry, "web");
    assert_true(stage_with(registry, "web-1", 10, 1000, 0));
    struct pool *old = registry_pool(registry, "web-0");
    assert_string_equal(web->live->name, "web-1");
    assert_ptr_equal(web->armed, old);
    assert_ptr_equal(web->running, web->live->deployment);
    assert_int_equal(old->state, POOL_ARMED);
    assert_null(old->replaced_by);
    assert_false(on_instances(registry, RECORD_RETIRED, "web-0", 1, false));
}

static void a_watch_that_passes_sends_the_armed_pool_away(void **state)
{
    struct registry *registry = *state;
    struct service *web = registry_service(registry, "web");
    assert_true(stage_with(registry, "web-1", 10, 1000, 0) && happen(registry, "web-1", EVENT_WATCH_PASSED));
    struct pool *old = registry_pool(registry, "web-0");
    assert_null(web->armed);
    assert_null(web->running);
    assert_int_equal(old->state, POOL_DRAINING);
    assert_int_equal(old->reason, RETIRE_REPLACED);
    assert_string_equal(old->replaced_by, "web-1");
    assert_int_equal(old->drain.websockets_ms, 3);
    assert_false(happen(registry, "web-1", EVENT_ROLLED_BACK));
}

static void a_rollback_makes_the_armed_pool_live_and_sends_the_new_one_away(void **state)
{
    struct registry *registry = *state;
    struct service *web = registry_service(registry, "web");
    assert_true(stage_with(registry, "web-1", 10, 1000, 0) && happen(registry, "web-1", EVENT_WATCH_FAILED));
    struct pool *pool = registry_pool(registry, "web-1");
    assert_string_equal(web->live->name, "web-0");
    assert_int_equal(web->live->state, POOL_LIVE);
    assert_null(web->armed);
    assert_null(web->running);
    assert_int_equal(pool->state, POOL_DRAINING);
    assert_int_equal(pool->reason, RETIRE_ROLLED_BACK);
    assert_string_equal(pool->replaced_by, "web-0");
    assert_int_equal(pool->going_since_world, 7);
    assert_int_equal(pool->deployment->state, DEPLOYMENT_ROLLED_BACK);
    assert_string_equal(pool->deployment->reason, "why not");
    assert_int_not_equal(pool->deployment->ended_ns, 0);
}

static void a_doubted_deployment_says_why_until_somebody_promotes_it(void **state)
{
    struct registry *registry = *state;
    assert_true(stage_with(registry, "web-1", 10, 1000, 0) && happen(registry, "web-1", EVENT_DOUBTED));
    struct pool *pool = registry_pool(registry, "web-1");
    assert_string_equal(pool->deployment->reason, "why not");
    assert_ptr_equal(pool->service->running, pool->deployment);
    assert_true(happen(registry, "web-1", EVENT_PROMOTED));
    assert_null(pool->deployment->reason);
    assert_null(pool->service->running);
}

static void a_flaw_is_known_until_its_state_or_its_share_is_over(void **state)
{
    struct registry *registry = *state;
    assert_true(stage_with(registry, "web-1", 10, 0, 2));
    const struct deployment *deployment = registry_pool(registry, "web-1")->deployment;
    uint64_t began_ns = deployment->since_ns;
    assert_true(happen(registry, "web-1", EVENT_FLAWED) && happen(registry, "web-1", EVENT_RESTARTED));
    assert_string_equal(deployment->flaw, "why not");
    assert_null(deployment->reason);
    assert_int_equal(deployment->since_ns, began_ns);
    assert_true(happen(registry, "web-1", EVENT_STEPPED));
    assert_null(deployment->flaw);
}

static void a_canary_takes_its_shares_one_after_the_other_and_then_goes_live(void **state)
{
    struct registry *registry = *state;
    struct service *web = registry_service(registry, "web");
    assert_true(stage_with(registry, "web-1", 10, 0, 2));
    struct deployment *deployment = registry_pool(registry, "web-1")->deployment;
    assert_string_equal(web->live->name, "web-0");
    assert_int_equal(deployment_share(deployment), 10000);
    assert_true(deployment->pool->was_live);
    assert_true(happen(registry, "web-1", EVENT_STEPPED));
    assert_int_equal(deployment_share(deployment), 500000);
    assert_true(happen(registry, "web-1", EVENT_STEPPED));
    assert_int_equal(deployment->state, DEPLOYMENT_CANARY_CONFIRMING);
    assert_int_equal(deployment_share(deployment), 500000);
    assert_true(happen(registry, "web-1", EVENT_CONFIRMED));
    assert_string_equal(web->live->name, "web-1");
    assert_int_equal(deployment_share(deployment), 0);
}

static void a_canary_that_is_taken_back_drains_and_the_live_pool_stays(void **state)
{
    struct registry *registry = *state;
    struct service *web = registry_service(registry, "web");
    assert_true(stage_with(registry, "web-1", 10, 0, 2) && happen(registry, "web-1", EVENT_ROLLED_BACK));
    struct pool *pool = registry_pool(registry, "web-1");
    assert_string_equal(web->live->name, "web-0");
    assert_int_equal(pool->state, POOL_DRAINING);
    assert_int_equal(pool->reason, RETIRE_ROLLED_BACK);
    assert_string_equal(pool->replaced_by, "web-0");
    assert_int_equal(deployment_share(pool->deployment), 0);
}

static void the_first_pool_of_a_service_is_neither_a_canary_nor_watched(void **state)
{
    struct registry *registry = *state;
    assert_true(stage_with(registry, "api-1", 10, 1000, 2));
    assert_int_equal(registry_pool(registry, "api-1")->deployment->state, DEPLOYMENT_DRAINING);
    assert_string_equal(registry_service(registry, "api")->live->name, "api-1");
}

static void the_timeline_says_who_asked(void **state)
{
    struct registry *registry = *state;
    struct record record;
    assert_true(add_pool(registry, "web-1", 1, 10, true));
    event_record(&record, registry_pool(registry, "web-1"), EVENT_ABORTED);
    snprintf(record.asker.user, sizeof record.asker.user, "alice");
    assert_true(apply(registry, &record));
    const struct deployment *deployment = registry_pool(registry, "web-1")->deployment;
    assert_null(deployment->timeline[0].by);
    assert_string_equal(deployment->timeline[1].by, "alice");
}

/* Lengths go by the steady clock, what people read by that on the wall. */
static void a_clock_that_was_set_moves_no_beginning(void **state)
{
    struct registry *registry = *state;
    struct record record;
    record_init(&record, RECORD_MODE, NULL);
    record.time_ns = 4000000;
    record.steady_ns = 7000000;
    record.service = mem_dup("web");
    record.mode.kind = MODE_MAINTENANCE;
    assert_true(apply(registry, &record));
    assert_int_equal(registry_service(registry, "web")->mode.since_ns, 7000000);
    assert_true(stage_with(registry, "web-1", 10, 1000, 0));
    const struct pool *pool = registry_pool(registry, "web-1");
    event_record(&record, pool, EVENT_WATCH_FAILED);
    record.time_ns = 4000000;
    record.steady_ns = 8000000;
    assert_true(apply(registry, &record));
    assert_int_equal(pool->going_since_ns, 8000000);
    assert_int_equal(pool->deployment->since_ns, 8000000);
    assert_int_equal(pool->deployment->ended_ns, 4000000);
    assert_int_equal(pool->deployment->timeline[pool->deployment->timeline_count - 1].time_ns, 4000000);
}

static void restarts_in_a_row_are_one_moment_of_the_timeline(void **state)
{
    struct registry *registry = *state;
    assert_true(stage_with(registry, "web-1", 10, 1000, 0));
    const struct deployment *deployment = registry_pool(registry, "web-1")->deployment;
    assert_true(happen(registry, "web-1", EVENT_RESTARTED));
    size_t moments = deployment->timeline_count;
    for (unsigned i = 0; i < 5; i++) {
        struct record record;
        event_record(&record, deployment->pool, EVENT_RESTARTED);
        record.time_ns = 9000000 + i;
        free(record.why);
        record.why = mem_dup(i < 4 ? "why not" : "another reason");
        assert_true(apply(registry, &record));
    }
    assert_int_equal(deployment->timeline_count, moments + 1);
    assert_int_equal(deployment->timeline[moments - 1].time_ns, 9000003);
}

static void a_restart_does_not_begin_a_watch_anew(void **state)
{
    struct registry *registry = *state;
    struct record record;
    assert_true(stage_with(registry, "web-1", 10, 1000, 0));
    struct pool *pool = registry_pool(registry, "web-1");
    event_record(&record, pool, EVENT_RESTARTED);
    record.time_ns = 9000000;
    assert_true(apply(registry, &record));
    assert_int_equal(pool->deployment->since_ns, 3000000);
}

static void nothing_swaps_without_a_recorded_pass(void **state)
{
    struct registry *registry = *state;
    assert_true(stage_and_pass(registry, "web-1", 10));
    registry_pool(registry, "web-1")->deployment->gate_passed = false;
    assert_false(happen(registry, "web-1", EVENT_CONFIRMED));
    assert_string_equal(registry_service(registry, "web")->live->name, "web-0");
}

static void nothing_swaps_with_an_instance_that_is_not_up(void **state)
{
    struct registry *registry = *state;
    assert_true(stage_and_pass(registry, "web-1", 10));
    registry_pool(registry, "web-1")->instances[1].state = INSTANCE_DOWN;
    assert_false(happen(registry, "web-1", EVENT_CONFIRMED));
}

static void a_rejected_pool_goes_and_the_live_one_stays(void **state)
{
    struct registry *registry = *state;
    assert_true(add_pool(registry, "web-1", 2, 10, true));
    assert_true(happen(registry, "web-1", EVENT_NOT_READY));
    struct pool *pool = registry_pool(registry, "web-1");
    assert_int_equal(pool->state, POOL_DRAINING);
    assert_int_equal(pool->reason, RETIRE_REJECTED);
    assert_string_equal(pool->deployment->reason, "why not");
    assert_int_equal(pool->deployment->ended_ns, 3000000);
    assert_string_equal(registry_service(registry, "web")->live->name, "web-0");
    assert_null(registry_service(registry, "web")->running);
}

static void a_second_running_deployment_is_refused(void **state)
{
    struct registry *registry = *state;
    assert_true(add_pool(registry, "web-1", 1, 10, true));
    assert_false(add_pool(registry, "web-2", 1, 20, true));
    assert_true(add_pool(registry, "api-1", 1, 20, true));
}

static void a_second_live_pool_is_refused(void **state)
{
    assert_false(add_pool(*state, "web-1", 1, 10, false));
}

static void a_pool_number_is_never_used_again(void **state)
{
    assert_false(add_pool(*state, "web-0", 1, 10, true));
}

static void a_pool_without_instances_is_refused(void **state)
{
    assert_false(add_pool(*state, "web-1", 0, 10, true));
}

static void a_launch_adds_no_instance_that_is_gone(void **state)
{
    struct registry *registry = *state;
    struct record record;
    pool_record(&record, make_pool("api-1", 0, 1, true));
    record.fresh->deployment->state = DEPLOYMENT_LAUNCHING;
    assert_true(apply(registry, &record));
    added_record(&record, "api-1", 50);
    record.added->state = INSTANCE_TORN_DOWN;
    assert_false(apply(registry, &record));
    assert_int_equal(registry_pool(registry, "api-1")->instance_count, 0);
}

static void a_deployment_that_tells_no_moment_began_when_it_was_made(void **state)
{
    struct registry *registry = *state;
    struct record record;
    pool_record(&record, make_pool("api-1", 1, 50, true));
    free(record.fresh->deployment->timeline[0].why);
    record.fresh->deployment->timeline_count = 0;
    assert_true(apply(registry, &record));
    assert_int_equal(registry_pool(registry, "api-1")->deployment->since_ns, 1000000);
}

static void a_restart_takes_readiness_back(void **state)
{
    struct registry *registry = *state;
    assert_true(add_pool(registry, "web-1", 2, 10, true));
    assert_true(happen(registry, "web-1", EVENT_READY));
    assert_true(happen(registry, "web-1", EVENT_RESTARTED));
    struct pool *pool = registry_pool(registry, "web-1");
    assert_int_equal(pool->deployment->state, DEPLOYMENT_STAGED);
    assert_int_equal(pool->instances[0].state, INSTANCE_DOWN);
}

static void the_first_pool_takes_no_event(void **state)
{
    assert_false(happen(*state, "web-0", EVENT_ABORTED));
}

static void the_last_instance_in_rotation_stays(void **state)
{
    struct registry *registry = *state;
    assert_true(on_instances(registry, RECORD_ROTATED, "web-0", 1, true));
    assert_int_equal(registry_pool(registry, "web-0")->instances[0].state, INSTANCE_DRAINED);
    assert_false(on_instances(registry, RECORD_ROTATED, "web-0", 2, true));
    assert_false(on_instances(registry, RECORD_ROTATED, "web-0", 1, true));
    assert_true(on_instances(registry, RECORD_ROTATED, "web-0", 1, false));
    assert_int_equal(registry_pool(registry, "web-0")->instances[0].state, INSTANCE_UP);
}

static void an_instance_is_torn_down_after_it_is_retired_and_the_pool_with_its_last(void **state)
{
    struct registry *registry = *state;
    assert_true(stage_and_pass(registry, "web-1", 10) && happen(registry, "web-1", EVENT_CONFIRMED));
    assert_false(on_instances(registry, RECORD_TORN_DOWN, "web-0", 1, false));
    assert_true(on_instances(registry, RECORD_RETIRED, "web-0", 3, true));
    assert_true(registry_pool(registry, "web-0")->instances[1].forced);
    assert_false(on_instances(registry, RECORD_RETIRED, "web-0", 1, true));
    assert_true(on_instances(registry, RECORD_TORN_DOWN, "web-0", 1, false));
    assert_false(happen(registry, "web-1", EVENT_OLD_RETIRED));
    assert_true(on_instances(registry, RECORD_TORN_DOWN, "web-0", 2, false));
    assert_int_equal(registry_pool(registry, "web-0")->state, POOL_RETIRED);
    assert_true(happen(registry, "web-1", EVENT_OLD_RETIRED));
    assert_int_equal(registry_pool(registry, "web-1")->deployment->state, DEPLOYMENT_DONE);
}

static void an_instance_that_is_left_alone_needs_no_teardown(void **state)
{
    struct registry *registry = *state;
    struct record record;
    assert_true(stage_and_pass(registry, "web-1", 10) && happen(registry, "web-1", EVENT_CONFIRMED));
    record_init(&record, RECORD_RETIRED, "web-0");
    record_add_instance(&record, 0);
    record_add_instance(&record, 1);
    record.left = true;
    assert_true(apply(registry, &record));
    assert_int_equal(registry_pool(registry, "web-0")->state, POOL_RETIRED);
    assert_int_equal(registry_pool(registry, "web-0")->instances[0].end, TEARDOWN_LEFT);
}

static void a_first_swap_waits_for_no_older_pool(void **state)
{
    struct registry *registry = *state;
    assert_true(stage_and_pass(registry, "api-1", 10) && happen(registry, "api-1", EVENT_CONFIRMED));
    assert_null(registry_pool(registry, "api-1")->deployment->replaces);
    assert_true(happen(registry, "api-1", EVENT_OLD_RETIRED));
}

static void instances_of_the_live_pool_are_never_retired(void **state)
{
    assert_false(on_instances(*state, RECORD_RETIRED, "web-0", 1, false));
}

static void records_that_name_what_is_not_there_are_refused(void **state)
{
    assert_false(on_instances(*state, RECORD_ROTATED, "web-0", 4, true));
    assert_false(on_instances(*state, RECORD_ROTATED, "web-9", 1, true));
    assert_false(on_instances(*state, RECORD_ROTATED, "web-0", 0, true));
}

static bool any_counts(void *arg, const struct pool *pool)
{
    (void)arg;
    (void)pool;
    return true;
}

static bool shares(const struct registry *registry, const struct instance *instance)
{
    return registry_shares_address(registry, instance, any_counts, NULL);
}

static void an_address_is_shared_until_the_other_one_is_torn_down(void **state)
{
    struct registry *registry = *state;
    const struct instance *live = registry_pool(registry, "web-0")->instances;
    assert_false(shares(registry, &live[0]));
    assert_true(stage_and_pass(registry, "api-1", 2) && happen(registry, "api-1", EVENT_ABORTED));
    assert_false(shares(registry, &live[0]));
    assert_true(shares(registry, &live[1]));
    assert_true(shares(registry, &registry_pool(registry, "api-1")->instances[0]));
    assert_true(on_instances(registry, RECORD_RETIRED, "api-1", 1, false));
    assert_true(shares(registry, &live[1]));
    assert_true(on_instances(registry, RECORD_TORN_DOWN, "api-1", 1, false));
    assert_false(shares(registry, &live[1]));
}

static void names_that_resolve_to_one_address_share_it(void **state)
{
    struct registry *registry = *state;
    const struct instance *live = registry_pool(registry, "web-0")->instances;
    struct record record;
    pool_record(&record, make_pool("api-1", 1, 50, true));
    free(record.fresh->instances[0].address);
    free(record.fresh->instances[0].resolved);
    record.fresh->instances[0].address = mem_dup("localhost:80");
    record.fresh->instances[0].resolved = mem_dup("10.0.0.2:80");
    assert_true(apply(registry, &record));
    assert_false(shares(registry, &live[0]));
    assert_true(shares(registry, &live[1]));
    assert_true(shares(registry, &registry_pool(registry, "api-1")->instances[0]));
    assert_true(happen(registry, "api-1", EVENT_ABORTED));
    assert_true(on_instances(registry, RECORD_RETIRED, "api-1", 1, false));
    assert_true(on_instances(registry, RECORD_TORN_DOWN, "api-1", 1, false));
    assert_false(shares(registry, &live[1]));
}

static void an_instance_that_a_launch_adds_shares_its_address(void **state)
{
    struct registry *registry = *state;
    const struct instance *live = registry_pool(registry, "web-0")->instances;
    struct record record;
    pool_record(&record, make_pool("api-1", 0, 1, true));
    record.fresh->deployment->state = DEPLOYMENT_LAUNCHING;
    assert_true(apply(registry, &record));
    for (unsigned number = 1; number <= 2; number++) {
        assert_int_equal(shares(registry, &live[1]), false);
        added_record(&record, "api-1", number);
        assert_true(apply(registry, &record));
        assert_true(shares(registry, &live[number - 1]));
    }
}

static void a_going_address_is_found_until_it_is_torn_down(void **state)
{
    struct registry *registry = *state;
    const struct pool *going = NULL;
    char name[] = "localhost:80", resolved[] = "10.0.0.1:80";
    const struct instance asked = {.address = name, .resolved = resolved};
    assert_null(registry_going(registry, &asked, &going));
    assert_true(stage_and_pass(registry, "web-1", 10) && happen(registry, "web-1", EVENT_CONFIRMED));
    assert_non_null(registry_going(registry, &asked, &going));
    assert_string_equal(going->name, "web-0");
    assert_true(on_instances(registry, RECORD_RETIRED, "web-0", 1, false));
    assert_non_null(registry_going(registry, &asked, &going));
    assert_true(on_instances(registry, RECORD_TORN_DOWN, "web-0", 1, false));
    assert_null(registry_going(registry, &asked, &going));
}

static void the_oldest_past_pool_is_forgotten_and_no_other(void **state)
{
    struct registry *registry = *state;
    struct service *web = registry_service(registry, "web");
    for (unsigned i = 1; i <= 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "web-%u", i);
        assert_true(add_pool(registry, name, 1, 10 * i, true) && happen(registry, name, EVENT_ABORTED));
        assert_null(registry_forget(registry, web, i - 1));
        assert_true(on_instances(registry, RECORD_RETIRED, name, 1, false) &&
                    on_instances(registry, RECORD_TORN_DOWN, name, 1, false));
    }
    char *name = registry_forget(registry, web, 2);
    assert_string_equal(name, "web-1");
    free(name);
    assert_null(registry_forget(registry, web, 2));
    assert_null(registry_pool(registry, "web-1"));
    assert_int_equal(web->last_number, 3);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(a_mode_is_kept_with_its_moment_until_it_is_taken_back),
        EACH(a_clock_that_was_set_moves_no_beginning),
        EACH(a_service_may_be_known_for_its_mode_before_its_first_pool),
        EACH(the_first_pool_of_the_config_is_live_without_a_deployment),
        EACH(a_swap_moves_live_and_sends_the_old_pool_away),
        EACH(a_launch_begins_without_instances_and_adds_them),
        EACH(a_launch_has_each_instance_once_and_none_after_its_end),
        EACH(a_pool_without_instances_is_a_launch_or_gone),
        EACH(what_a_failed_launch_has_added_is_to_be_torn_down),
        EACH(with_a_watch_the_old_pool_is_armed_and_nothing_is_taken_from_it),
        EACH(a_watch_that_passes_sends_the_armed_pool_away),
        EACH(a_rollback_makes_the_armed_pool_live_and_sends_the_new_one_away),
        EACH(a_doubted_deployment_says_why_until_somebody_promotes_it),
        EACH(a_flaw_is_known_until_its_state_or_its_share_is_over),
        EACH(a_canary_takes_its_shares_one_after_the_other_and_then_goes_live),
        EACH(a_canary_that_is_taken_back_drains_and_the_live_pool_stays),
        EACH(the_first_pool_of_a_service_is_neither_a_canary_nor_watched),
        EACH(the_timeline_says_who_asked),
        EACH(restarts_in_a_row_are_one_moment_of_the_timeline),
        EACH(a_restart_does_not_begin_a_watch_anew),
        EACH(nothing_swaps_without_a_recorded_pass),
        EACH(nothing_swaps_with_an_instance_that_is_not_up),
        EACH(a_rejected_pool_goes_and_the_live_one_stays),
        EACH(a_second_running_deployment_is_refused),
        EACH(a_second_live_pool_is_refused),
        EACH(a_pool_number_is_never_used_again),
        EACH(a_pool_without_instances_is_refused),
        EACH(a_launch_adds_no_instance_that_is_gone),
        EACH(a_deployment_that_tells_no_moment_began_when_it_was_made),
        EACH(a_restart_takes_readiness_back),
        EACH(the_first_pool_takes_no_event),
        EACH(the_last_instance_in_rotation_stays),
        EACH(an_instance_is_torn_down_after_it_is_retired_and_the_pool_with_its_last),
        EACH(an_instance_that_is_left_alone_needs_no_teardown),
        EACH(a_first_swap_waits_for_no_older_pool),
        EACH(instances_of_the_live_pool_are_never_retired),
        EACH(records_that_name_what_is_not_there_are_refused),
        EACH(an_address_is_shared_until_the_other_one_is_torn_down),
        EACH(names_that_resolve_to_one_address_share_it),
        EACH(an_instance_that_a_launch_adds_shares_its_address),
        EACH(a_going_address_is_found_until_it_is_torn_down),
        EACH(the_oldest_past_pool_is_forgotten_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
