#include "plane/budget.h"

#include "unit.h"

#define SHARE 200000 /* a fifth */
#define T0 5000

/* How many retries can be had at once, up to `most`. */
static unsigned take_all(struct budget *budget, uint64_t requests, uint64_t now_ms, unsigned most)
{
    unsigned taken = 0;
    while (taken < most && budget_take(budget, requests, SHARE, now_ms))
        taken++;
    return taken;
}

static void at_first_there_are_as_many_as_may_come_at_once(void **state)
{
    (void)state;
    struct budget budget = {0};
    assert_int_equal(take_all(&budget, 0, T0, 1000), BUDGET_MOST);
}

static void requests_fill_it_by_their_share(void **state)
{
    (void)state;
    struct budget budget = {0};
    take_all(&budget, 1000, T0, 1000);
    assert_int_equal(take_all(&budget, 1004, T0, 1000), 0);
    assert_int_equal(take_all(&budget, 1005, T0, 1000), 1);
    assert_int_equal(take_all(&budget, 1105, T0, 1000), 20);
}

static void time_fills_it_a_little(void **state)
{
    (void)state;
    struct budget budget = {0};
    take_all(&budget, 0, T0, 1000);
    assert_int_equal(take_all(&budget, 0, T0 + 99, 1000), 0);
    assert_int_equal(take_all(&budget, 0, T0 + 100, 1000), 1);
    assert_int_equal(take_all(&budget, 0, T0 + 1100, 1000), BUDGET_PER_SECOND);
}

static void no_more_is_saved_up_than_may_come_at_once(void **state)
{
    (void)state;
    struct budget budget = {0};
    take_all(&budget, 0, T0, 1000);
    assert_int_equal(take_all(&budget, UINT64_MAX, UINT64_MAX / 2, 1000), BUDGET_MOST);
}

static void without_a_share_only_time_fills_it(void **state)
{
    (void)state;
    struct budget budget = {0};
    take_all(&budget, 0, T0, 1000);
    assert_false(budget_take(&budget, 1000000, 0, T0));
    assert_true(budget_take(&budget, 1000000, 0, T0 + 100));
}

static void counters_that_begin_anew_are_no_flood(void **state)
{
    (void)state;
    struct budget budget = {0};
    take_all(&budget, 1000, T0, 1000);
    assert_int_equal(take_all(&budget, 10, T0, 1000), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_first_there_are_as_many_as_may_come_at_once),
        cmocka_unit_test(requests_fill_it_by_their_share),
        cmocka_unit_test(time_fills_it_a_little),
        cmocka_unit_test(no_more_is_saved_up_than_may_come_at_once),
        cmocka_unit_test(without_a_share_only_time_fills_it),
        cmocka_unit_test(counters_that_begin_anew_are_no_flood),
    };
    return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
