#include "plane/vitals.h"

#include "unit.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#define SIZE 4
#define FAILURES 3
#define PAUSE 1000 /* ms; a real one differs by up to a twentieth */
#define LONGEST 2500
#define T0 50000

static const struct snapshot_rules rules = {.ejection_failures = FAILURES,
                                            .ejection_pause_ms = PAUSE,
                                            .ejection_longest_ms = LONGEST,
                                            .ejection_most = 50};

/* What a worker knows of a pool of SIZE instances in slots 10 and up. */
struct ward {
    struct random random;
    struct vitals vitals;
    struct snapshot_rules rules;
    void *image;
    const struct snapshot *snapshot;
    const struct snapshot_pool *pool;
};

static void set_world(struct ward *ward, uint64_t first_id, size_t drained)
{
    const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(80)};
    static const char *path = "/";
    struct snapshot_instance_spec instances[SIZE];
    struct err err;
    size_t size;
    for (uint32_t i = 0; i < SIZE; i++)
        instances[i] = (struct snapshot_instance_spec){.name = "127.0.0.1:80",
                                                       .address = (const struct sockaddr *)&address,
                                                       .address_length = sizeof address,
                                                       .id = first_id + i,
                                                       .slot = 10 + i,
                                                       .drained = i >= SIZE - drained};
    struct snapshot_pool_spec pool = {
        .deployment = "web-1", .release = "", .slot = 3, .instances = instances, .instance_count = SIZE};
    struct snapshot_service_spec service = {.name = "web", .paths = &path, .path_count = 1};
    struct snapshot_spec spec = {
        .version = 1, .services = &service, .service_count = 1, .pools = &pool, .pool_count = 1};
    spec.settings.head_max = 4096;
    spec.settings.fields_max = 10;
    free(ward->image);
    ward->image = snapshot_freeze(&spec, &size, &err);
    assert_non_null(ward->image);
    ward->snapshot = snapshot_open(ward->image, size, &err);
    assert_non_null(ward->snapshot);
    ward->pool = snapshot_pool_at(ward->snapshot, 0);
}

static int open_ward(void **state)
{
    struct ward *ward = calloc(1, sizeof *ward);
    random_seed(&ward->random);
    vitals_init(&ward->vitals, 0, &ward->random);
    ward->rules = rules;
    set_world(ward, 100, 0);
    *state = ward;
    return 0;
}

static int close_ward(void **state)
{
    struct ward *ward = *state;
    vitals_free(&ward->vitals);
    free(ward->image);
    free(ward);
    return 0;
}

static struct snapshot_instance at(const struct ward *ward, size_t index)
{
    return snapshot_pool_instance(ward->snapshot, ward->pool, index);
}

static bool may_serve(const struct ward *ward, size_t index, uint64_t now_ms)
{
    struct snapshot_instance instance = at(ward, index);
    return vitals_may_serve(&ward->vitals, &instance, now_ms);
}

static void choose(struct ward *ward, size_t index, uint64_t now_ms)
{
    struct snapshot_instance instance = at(ward, index);
    vitals_chosen(&ward->vitals, &instance, now_ms);
}

static void pass(struct ward *ward, size_t index, uint64_t now_ms)
{
    struct snapshot_instance instance = at(ward, index);
    vitals_passed(&ward->vitals, &instance, now_ms);
}

static void fail_times(struct ward *ward, size_t index, unsigned times, uint64_t now_ms)
{
    struct snapshot_instance instance = at(ward, index);
    for (unsigned i = 0; i < times; i++)
        vitals_failed(&ward->vitals, &ward->rules, ward->snapshot, ward->pool, &instance, now_ms);
}

static void a_run_of_failures_ejects(void **state)
{
    struct ward *ward = *state;
    fail_times(ward, 0, FAILURES - 1, T0);
    assert_true(may_serve(ward, 0, T0));
    fail_times(ward, 0, 1, T0);
    assert_false(may_serve(ward, 0, T0));
    assert_true(may_serve(ward, 1, T0));
}

static void a_pass_in_between_begins_the_run_anew(void **state)
{
    struct ward *ward = *state;
    for (unsigned i = 0; i < 5; i++) {
        fail_times(ward, 0, FAILURES - 1, T0);
        pass(ward, 0, T0);
    }
    assert_true(may_serve(ward, 0, T0));
}

static void after_the_pause_one_request_tries_it(void **state)
{
    struct ward *ward = *state;
    fail_times(ward, 0, FAILURES, T0);
    assert_false(may_serve(ward, 0, T0 + PAUSE * 94 / 100));
    uint64_t later = T0 + PAUSE * 106 / 100;
    assert_true(may_serve(ward, 0, later));
    choose(ward, 0, later);
    assert_false(may_serve(ward, 0, later));
    pass(ward, 0, later);
    assert_true(may_serve(ward, 0, later));
}

static void a_trial_that_fails_ejects_for_longer_each_time_up_to_a_bound(void **state)
{
    static const uint64_t pauses[] = {PAUSE, 2 * PAUSE, LONGEST, LONGEST};
    struct ward *ward = *state;
    uint64_t now = T0;
    fail_times(ward, 0, FAILURES, now);
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        assert_false(may_serve(ward, 0, now + pauses[i] * 94 / 100));
        now += pauses[i] * 106 / 100;
        assert_true(may_serve(ward, 0, now));
        choose(ward, 0, now);
        fail_times(ward, 0, 1, now);
    }
}

static void a_trial_that_says_nothing_makes_room_for_another(void **state)
{
    struct ward *ward = *state;
    fail_times(ward, 0, FAILURES, T0);
    uint64_t later = T0 + 2 * PAUSE;
    choose(ward, 0, later);
    struct snapshot_instance instance = at(ward, 0);
    vitals_undecided(&ward->vitals, &instance);
    assert_true(may_serve(ward, 0, later));
}

static void ejections_count_anew_after_a_time_without_any(void **state)
{
    struct ward *ward = *state;
    fail_times(ward, 0, FAILURES, T0);
    choose(ward, 0, T0 + 2 * PAUSE);
    fail_times(ward, 0, 1, T0 + 2 * PAUSE);
    choose(ward, 0, T0 + 5 * PAUSE);
    pass(ward, 0, T0 + 5 * PAUSE);
    pass(ward, 0, T0 + 10 * PAUSE);
    fail_times(ward, 0, FAILURES, T0 + 10 * PAUSE);
    assert_true(may_serve(ward, 0, T0 + 10 * PAUSE + PAUSE * 106 / 100));
}

static void what_was_under_way_does_not_end_a_pause(void **state)
{
    struct ward *ward = *state;
    fail_times(ward, 0, FAILURES, T0);
    pass(ward, 0, T0 + 1);
    assert_false(may_serve(ward, 0, T0 + 1));
    fail_times(ward, 0, FAILURES, T0 + 1); /* nor does it make it longer */
    assert_true(may_serve(ward, 0, T0 + PAUSE * 106 / 100));
}

static void no_more_are_ejected_than_the_rules_allow(void **state)
{
    struct ward *ward = *state;
    for (size_t i = 0; i < SIZE; i++)
        fail_times(ward, i, FAILURES, T0);
    unsigned serving = 0;
    for (size_t i = 0; i < SIZE; i++)
        serving += may_serve(ward, i, T0);
    assert_int_equal(serving, SIZE / 2);
}

static void drained_instances_do_not_count_among_those_that_may_be_out(void **state)
{
    struct ward *ward = *state;
    set_world(ward, 100, 3);
    fail_times(ward, 0, 10 * FAILURES, T0);
    assert_true(may_serve(ward, 0, T0)); /* the only one in rotation */
    ward->rules.ejection_most = 100;
    fail_times(ward, 0, 1, T0);
    assert_false(may_serve(ward, 0, T0));
}

static void another_instance_in_the_same_slot_begins_well(void **state)
{
    struct ward *ward = *state;
    fail_times(ward, 0, FAILURES, T0);
    set_world(ward, 200, 0);
    assert_true(may_serve(ward, 0, T0));
    fail_times(ward, 0, FAILURES - 1, T0);
    assert_true(may_serve(ward, 0, T0));
}

static void ejections_are_shown_in_the_counters(void **state)
{
    struct ward *ward = *state;
    struct err err;
    int fd = counters_create(1, &err);
    ward->vitals.counters = counters_map(fd, &err);
    close(fd);
    fail_times(ward, 0, FAILURES, T0);
    uint64_t until = counters_instance_ejected_until_ms(ward->vitals.counters, 10);
    assert_in_range(until, T0 + PAUSE * 94 / 100, T0 + PAUSE * 106 / 100);
    struct counters_instance sum;
    counters_instance_sum(ward->vitals.counters, 10, &sum);
    assert_int_equal(sum.ejections, 1);
    counters_give(ward->vitals.counters, 0, 4711); /* to a new proxy */
    assert_int_equal(counters_instance_ejected_until_ms(ward->vitals.counters, 10), 0);
    counters_unmap(ward->vitals.counters);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_ward, close_ward)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_run_of_failures_ejects),
        TEST(a_pass_in_between_begins_the_run_anew),
        TEST(after_the_pause_one_request_tries_it),
        TEST(a_trial_that_fails_ejects_for_longer_each_time_up_to_a_bound),
        TEST(a_trial_that_says_nothing_makes_room_for_another),
        TEST(ejections_count_anew_after_a_time_without_any),
        TEST(what_was_under_way_does_not_end_a_pause),
        TEST(no_more_are_ejected_than_the_rules_allow),
        TEST(drained_instances_do_not_count_among_those_that_may_be_out),
        TEST(another_instance_in_the_same_slot_begins_well),
        TEST(ejections_are_shown_in_the_counters),
    };
    return cmocka_run_group_tests_name("vitals", tests, NULL, NULL);
}
