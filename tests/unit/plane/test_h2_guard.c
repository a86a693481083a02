#include "plane/h2_guard.h"

#include "unit.h"

static const struct snapshot_http2 limits = {.resets = 3, .pings = 2, .window_updates = 1};

static void a_limit_holds_for_a_minute(void **state)
{
    (void)state;
    struct h2_guard guard = {.until_ms = 0};
    for (int i = 0; i < 3; i++)
        assert_true(h2_guard_spend(&guard, COUNTERS_RESETS, &limits, 1000));
    assert_false(h2_guard_spend(&guard, COUNTERS_RESETS, &limits, 60999));
    assert_true(h2_guard_spend(&guard, COUNTERS_RESETS, &limits, 61000));
}

static void kinds_are_counted_apart(void **state)
{
    (void)state;
    struct h2_guard guard = {.until_ms = 0};
    assert_true(h2_guard_spend(&guard, COUNTERS_PINGS, &limits, 5));
    assert_true(h2_guard_spend(&guard, COUNTERS_PINGS, &limits, 5));
    assert_true(h2_guard_spend(&guard, COUNTERS_RESETS, &limits, 5));
    assert_false(h2_guard_spend(&guard, COUNTERS_PINGS, &limits, 5));
}

static void what_is_earned_may_be_spent(void **state)
{
    (void)state;
    struct h2_guard guard = {.until_ms = 0};
    h2_guard_earn(&guard, COUNTERS_WINDOW_UPDATES, 100); /* nothing is saved up */
    for (int i = 0; i < 10; i++) {
        assert_true(h2_guard_spend(&guard, COUNTERS_WINDOW_UPDATES, &limits, 5));
        h2_guard_earn(&guard, COUNTERS_WINDOW_UPDATES, 2);
    }
    assert_true(h2_guard_spend(&guard, COUNTERS_WINDOW_UPDATES, &limits, 5));
    assert_false(h2_guard_spend(&guard, COUNTERS_WINDOW_UPDATES, &limits, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_holds_for_a_minute),
        cmocka_unit_test(kinds_are_counted_apart),
        cmocka_unit_test(what_is_earned_may_be_spent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
