#include "control/shadow_verdict.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

static const struct shadow_limits limits = {.minimum = 200, .share = 0.05, .differ = 0.01, .latency = 3};

static char why[1024];

static bool judge(const struct shadow_sum *sum, const struct shadow_limits *by)
{
    char *text;
    bool passed = shadow_judge(sum, by, &text);
    snprintf(why, sizeof why, "%s", text);
    free(text);
    return passed;
}

/* `count` answers of equal class, that took so long. */
static void add_times(struct shadow_sum *sum, uint64_t count, uint64_t live_us, uint64_t staged_us)
{
    sum->compared += count;
    sum->live[counters_bucket(live_us)] += count;
    sum->staged[counters_bucket(staged_us)] += count;
}

static void add_differing(struct shadow_sum *sum, const char *path, unsigned staged, uint64_t count)
{
    struct shadow_finding *finding = &sum->findings[SHADOW_DIFFERS][sum->finding_count[SHADOW_DIFFERS]++];
    snprintf(finding->path, sizeof finding->path, "%s", path);
    finding->live = 2;
    finding->staged = staged;
    finding->count = count;
    sum->compared += count;
    sum->differing += count;
}

static void as_many_differences_as_are_allowed_pass(void **state)
{
    (void)state;
    struct shadow_sum sum = {0};
    add_times(&sum, 396, 1000, 1000);
    add_differing(&sum, "/x", 5, 4);
    assert_true(judge(&sum, &limits));
    assert_string_equal(why, "shadow: 4 of 400 requests were answered differently (1.0%; limit 1.0%)");
}

static void one_more_fails_and_the_worst_paths_are_named(void **state)
{
    (void)state;
    struct shadow_sum sum = {0};
    add_times(&sum, 380, 1000, 1000);
    add_differing(&sum, "/a", 5, 16);
    add_differing(&sum, "/b", SHADOW_NO_ANSWER, 2);
    add_differing(&sum, "/c", 4, 1);
    add_differing(&sum, "/d", 3, 1);
    assert_false(judge(&sum, &limits));
    assert_string_equal(
        why, "shadow: 20 of 400 requests were answered differently (5.0%; limit 1.0%): /a 16 times "
             "(2xx live, 5xx staged), /b 2 times (2xx live, none staged), /c 1 time (2xx live, 4xx "
             "staged)");
}

static void too_few_are_not_judged(void **state)
{
    (void)state;
    struct shadow_sum sum = {0};
    add_times(&sum, 40, 1000, 900000);
    add_differing(&sum, "/x", 5, 2);
    assert_true(judge(&sum, &limits));
    assert_string_equal(why, "shadow: 42 of 200 requests were compared: not judged");
}

/* Whatever had come after, it would have been too much. */
static void too_few_fail_where_the_rest_could_not_have_mended_it(void **state)
{
    (void)state;
    struct shadow_sum sum = {0};
    add_times(&sum, 40, 1000, 1000);
    add_differing(&sum, "/x", SHADOW_NO_ANSWER, 3);
    assert_false(judge(&sum, &limits));
    assert_string_equal(
        why, "shadow: 3 of 43 requests were answered differently (7.0%; limit 1.0% of 200): /x 3 times "
             "(2xx live, none staged)");
}

static void nothing_compared_is_not_judged_even_if_nothing_may_differ(void **state)
{
    (void)state;
    struct shadow_sum sum = {0};
    const struct shadow_limits strict = {.minimum = 1};
    assert_true(judge(&sum, &strict));
    assert_string_equal(why, "shadow: 0 of 1 requests were compared: not judged");
    add_differing(&sum, "/x", 5, 1);
    assert_false(judge(&sum, &strict));
}

static void a_release_that_is_slower_in_the_middle_fails(void **state)
{
    (void)state;
    struct shadow_sum sum = {0};
    add_times(&sum, 400, 20000, 100000);
    assert_false(judge(&sum, &limits));
    assert_non_null(strstr(why, "shadow: half of 400 requests took more than "));
    assert_non_null(strstr(why, " of the live pool (limit 3 times)"));
}

static void a_release_of_which_a_tenth_is_slower_fails_and_a_hundredth_passes(void **state)
{
    (void)state;
    struct shadow_sum tenth = {0}, hundredth = {0};
    add_times(&tenth, 360, 20000, 20000);
    add_times(&tenth, 40, 20000, 300000);
    add_times(&hundredth, 396, 20000, 20000);
    add_times(&hundredth, 4, 20000, 300000);
    assert_false(judge(&tenth, &limits));
    assert_non_null(strstr(why, "1 of 20 of 400 requests"));
    assert_true(judge(&hundredth, &limits));
}

static void what_is_slower_by_a_few_ms_only_passes(void **state)
{
    (void)state;
    struct shadow_sum sum = {0};
    add_times(&sum, 400, 500, 8000);
    assert_true(judge(&sum, &limits));
}

static void with_latency_0_nothing_is_too_slow(void **state)
{
    (void)state;
    struct shadow_sum sum = {0};
    struct shadow_limits off = limits;
    off.latency = 0;
    add_times(&sum, 400, 20000, 900000);
    assert_true(judge(&sum, &off));
}

static void the_report_lists_what_was_seen(void **state)
{
    (void)state;
    struct shadow_sum sum = {.slower = 7, .dropped = 9};
    add_times(&sum, 380, 1000, 1000);
    add_differing(&sum, "/a", 5, 20);
    json_t *json = shadow_json(&sum, &limits);
    assert_int_equal(json_integer_value(json_object_get(json, "compared")), 400);
    assert_int_equal(json_integer_value(json_object_get(json, "differing")), 20);
    assert_int_equal(json_integer_value(json_object_get(json, "dropped")), 9);
    const json_t *worst = json_array_get(json_object_get(json, "worst"), 0);
    assert_string_equal(json_string_value(json_object_get(worst, "path")), "/a");
    assert_string_equal(json_string_value(json_object_get(worst, "staged")), "5xx");
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_differences_as_are_allowed_pass),
        cmocka_unit_test(one_more_fails_and_the_worst_paths_are_named),
        cmocka_unit_test(too_few_are_not_judged),
        cmocka_unit_test(too_few_fail_where_the_rest_could_not_have_mended_it),
        cmocka_unit_test(nothing_compared_is_not_judged_even_if_nothing_may_differ),
        cmocka_unit_test(a_release_that_is_slower_in_the_middle_fails),
        cmocka_unit_test(a_release_of_which_a_tenth_is_slower_fails_and_a_hundredth_passes),
        cmocka_unit_test(what_is_slower_by_a_few_ms_only_passes),
        cmocka_unit_test(with_latency_0_nothing_is_too_slow),
        cmocka_unit_test(the_report_lists_what_was_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
