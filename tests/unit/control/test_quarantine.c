/* Who is taken out of rotation by its uptests. */
#include "control/quarantine.h"

#include "unit.h"

#include <string.h>

/* A case a letter: w well, f fails, o fails and is out, d fails its checks, x fails both, h was taken out by
 * hand, g was and fails. */
static struct quarantine_case case_of(char letter)
{
    return (struct quarantine_case){
        .rotates = letter != 'h' && letter != 'g',
        .up = letter != 'd' && letter != 'x',
        .fails = strchr("foxg", letter) != NULL,
        .out = letter == 'o',
    };
}

/* Decides, and tells who is out: '-' or 'o' for each. */
static const char *decide(const char *letters)
{
    static char result[16];
    struct quarantine_case cases[16];
    size_t count = strlen(letters);
    for (size_t i = 0; i < count; i++)
        cases[i] = case_of(letters[i]);
    quarantine_decide(cases, count);
    for (size_t i = 0; i < count; i++)
        result[i] = cases[i].out ? 'o' : '-';
    result[count] = '\0';
    return result;
}

static void one_that_fails_is_out_while_another_serves(void **state)
{
    (void)state;
    assert_string_equal(decide("wf"), "-o");
    assert_string_equal(decide("ffw"), "oo-");
    assert_string_equal(decide("wo"), "-o");
    assert_string_equal(decide("ww"), "--");
}

static void the_last_one_that_serves_stays(void **state)
{
    (void)state;
    assert_string_equal(decide("f"), "-");
    assert_string_equal(decide("of"), "o-");
    assert_string_equal(decide("fo"), "-o");
    assert_string_equal(decide("fff"), "-oo");
    assert_string_equal(decide("oof"), "oo-");
}

static void who_is_down_or_taken_out_by_hand_does_not_serve(void **state)
{
    (void)state;
    assert_string_equal(decide("fd"), "--");
    assert_string_equal(decide("fh"), "--");
    assert_string_equal(decide("ofh"), "o--");
    assert_string_equal(decide("odh"), "---");
    assert_string_equal(decide("fdw"), "o--");
}

static void where_all_are_out_one_comes_back(void **state)
{
    (void)state;
    assert_string_equal(decide("oo"), "-o");
    assert_string_equal(decide("ooh"), "-o-");
    assert_string_equal(decide("xo"), "o-");
}

static void where_none_is_up_all_are_in(void **state)
{
    (void)state;
    assert_string_equal(decide("xd"), "--");
    assert_string_equal(decide("xx"), "--");
    assert_string_equal(decide("xh"), "--");
    assert_string_equal(decide(""), "");
}

static void who_is_taken_out_by_hand_and_fails_stays_out_when_it_is_enabled(void **state)
{
    (void)state;
    assert_string_equal(decide("wg"), "-o");
}

/* Whatever is known of the instances: one that could serve does. */
static void no_pool_is_ever_emptied(void **state)
{
    (void)state;
    static const char letters[] = "wfodxhg";
    char text[5] = "";
    for (unsigned number = 0; number < 7 * 7 * 7 * 7; number++) {
        bool could = false, does = false;
        for (unsigned i = 0, rest = number; i < 4; i++, rest /= 7)
            text[i] = letters[rest % 7];
        const char *out = decide(text);
        for (unsigned i = 0; i < 4; i++) {
            struct quarantine_case one = case_of(text[i]);
            could |= one.rotates && one.up;
            does |= one.rotates && one.up && out[i] == '-';
        }
        if (could != does)
            fail_msg("%s becomes %s", text, out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_fails_is_out_while_another_serves),
        cmocka_unit_test(the_last_one_that_serves_stays),
        cmocka_unit_test(who_is_down_or_taken_out_by_hand_does_not_serve),
        cmocka_unit_test(where_all_are_out_one_comes_back),
        cmocka_unit_test(where_none_is_up_all_are_in),
        cmocka_unit_test(who_is_taken_out_by_hand_and_fails_stays_out_when_it_is_enabled),
        cmocka_unit_test(no_pool_is_ever_emptied),
    };
    return cmocka_run_group_tests_name("quarantine", tests, NULL, NULL);
}
