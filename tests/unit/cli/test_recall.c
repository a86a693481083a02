#include "cli/recall.h"

#include "unit.h"

#include "base/clock.h"

#define ROW(name, uid, pid, created) \
    "{\"deployment\":\"" name "\",\"asked_by\":{\"uid\":" uid ",\"pid\":" pid "},\"created\":" created "}"

/* The name that is found for uid 1, pid 7 and what was asked at 10:00:00.1239. */
static void assert_own(const char *rows, const char *expected)
{
    uint64_t since_ns;
    json_t *list = json_loads(rows, 0, NULL);
    assert_non_null(list);
    assert_true(clock_parse(STR("2026-11-22T10:00:00.123Z"), &since_ns));
    const char *own = recall_own(list, 1, 7, since_ns + 900000);
    if (expected == NULL)
        assert_null(own);
    else
        assert_string_equal(own, expected);
    json_decref(list);
}

static void the_own_one_is_found_among_others(void **state)
{
    (void)state;
    assert_own("[" ROW("web-4", "1", "8", "\"2026-11-22T10:00:02.000Z\"") "," ROW(
                   "web-3", "1", "7", "\"2026-11-22T10:00:00.123Z\"") "]",
               "web-3");
}

static void one_of_an_earlier_process_with_the_same_number_is_not_it(void **state)
{
    (void)state;
    assert_own("[" ROW("web-3", "1", "7", "\"2026-11-22T10:00:00.122Z\"") "]", NULL);
}

static void one_of_another_user_or_of_nobody_known_is_not_it(void **state)
{
    (void)state;
    assert_own("[" ROW("web-3", "2", "7", "\"2026-11-22T10:00:01.000Z\"") "]", NULL);
    assert_own("[" ROW("web-3", "null", "null", "\"2026-11-22T10:00:01.000Z\"") "]", NULL);
    assert_own("[" ROW("web-3", "1", "7", "null") ",{},7]", NULL);
    assert_own("[]", NULL);
    assert_own("{}", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_own_one_is_found_among_others),
        cmocka_unit_test(one_of_an_earlier_process_with_the_same_number_is_not_it),
        cmocka_unit_test(one_of_another_user_or_of_nobody_known_is_not_it),
    };
    return cmocka_run_group_tests_name("recall", tests, NULL, NULL);
}
