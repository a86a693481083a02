#include "base/units.h"

#include "unit.h"

static void durations_are_read_in_each_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {{"0", 0},       {"0s", 0},         {"250ms", 250},   {"10s", 10000},
                {"5m", 300000}, {"24h", 86400000}, {"2d", 172800000}};
    struct err err;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t ms = 1;
        assert_true(units_duration(str_of(rows[i].text), &ms, &err));
        assert_int_equal(ms, rows[i].ms);
    }
}

static void what_is_no_duration_is_refused_and_named(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "10", "s", "1.5s", "-1s", "1 s", "10 parsecs", "99999999999999999999s", "18446744073709551s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err;
        uint64_t ms;
        assert_false(units_duration(str_of(bad[i]), &ms, &err));
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void sizes_are_powers_of_1024(void **state)
{
    (void)state;
    struct err err;
    uint64_t bytes;
    assert_true(units_size(STR("4096"), &bytes, &err));
    assert_int_equal(bytes, 4096);
    assert_true(units_size(STR("64k"), &bytes, &err));
    assert_int_equal(bytes, 65536);
    assert_true(units_size(STR("3G"), &bytes, &err));
    assert_int_equal(bytes, 3ULL << 30);
    assert_false(units_size(STR("64kb"), &bytes, &err));
    assert_false(units_size(STR("k"), &bytes, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read_in_each_unit),
        cmocka_unit_test(what_is_no_duration_is_refused_and_named),
        cmocka_unit_test(sizes_are_powers_of_1024),
    };
    return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
