#include "control/pulse.h"

#include "unit.h"

#define RISE 2
#define FALL 3

/* Gives results one by one ('+' passes, '-' fails); writes what came of each: '.', or 'D' and 'U' for a
 * change.
 */
static const char *take(struct pulse *pulse, const char *results)
{
    static char told[32];
    size_t n = 0;
    for (; results[n] != '\0'; n++) {
        bool changed = pulse_take(pulse, results[n] == '+', RISE, FALL);
        told[n] = changed ? (pulse->state == PULSE_DOWN ? 'D' : 'U') : '.';
    }
    told[n] = '\0';
    return told;
}

static void an_instance_that_is_up_goes_down_after_fall_failures_in_a_row(void **state)
{
    (void)state;
    struct pulse pulse = {.state = PULSE_UP};
    assert_string_equal(take(&pulse, "--+--+---"), "........D");
    assert_int_equal(pulse.state, PULSE_DOWN);
}

static void one_that_is_down_comes_back_after_rise_passes_in_a_row(void **state)
{
    (void)state;
    struct pulse pulse = {.state = PULSE_DOWN};
    assert_string_equal(take(&pulse, "+-+-++"), ".....U");
    assert_int_equal(pulse.state, PULSE_UP);
}

static void the_first_result_decides_for_one_that_is_unknown(void **state)
{
    (void)state;
    struct pulse pulse = {.state = PULSE_UNKNOWN};
    assert_string_equal(take(&pulse, "-"), "D");
    pulse = (struct pulse){.state = PULSE_UNKNOWN};
    assert_string_equal(take(&pulse, "+--"), "...");
    assert_int_equal(pulse.state, PULSE_UP);
}

static void each_change_is_told_once(void **state)
{
    (void)state;
    struct pulse pulse = {.state = PULSE_UP};
    assert_string_equal(take(&pulse, "------++++---"), "..D....U....D");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_instance_that_is_up_goes_down_after_fall_failures_in_a_row),
        cmocka_unit_test(one_that_is_down_comes_back_after_rise_passes_in_a_row),
        cmocka_unit_test(the_first_result_decides_for_one_that_is_unknown),
        cmocka_unit_test(each_change_is_told_once),
    };
    return cmocka_run_group_tests_name("pulse", tests, NULL, NULL);
}
