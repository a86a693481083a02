#include "control/slots.h"

#include "unit.h"

#define COUNT 8

static bool is_busy(void *arg, uint32_t slot)
{
    const bool *busy = arg;
    return busy[slot];
}

static int setup(void **state)
{
    *state = slots_new(COUNT);
    return 0;
}

static int teardown(void **state)
{
    slots_free(*state);
    return 0;
}

static void the_lowest_free_slot_is_given(void **state)
{
    bool busy[COUNT] = {false};
    uint32_t slot;
    slots_take(*state, 0);
    slots_take(*state, 2);
    assert_true(slots_get(*state, 0, is_busy, busy, &slot));
    assert_int_equal(slot, 1);
    assert_true(slots_get(*state, 0, is_busy, busy, &slot));
    assert_int_equal(slot, 3);
}

/* Though those below the last one given are not looked at again and again. */
static void a_low_slot_given_back_is_the_next_one(void **state)
{
    bool busy[COUNT] = {false};
    uint32_t slot;
    for (uint32_t i = 0; i < COUNT - 1; i++)
        assert_true(slots_get(*state, 0, is_busy, busy, &slot));
    slots_put(*state, 5, 0);
    slots_put(*state, 2, 0);
    assert_true(slots_get(*state, 0, is_busy, busy, &slot));
    assert_int_equal(slot, 2);
    assert_true(slots_get(*state, 0, is_busy, busy, &slot));
    assert_int_equal(slot, 5);
    assert_true(slots_get(*state, 0, is_busy, busy, &slot));
    assert_int_equal(slot, COUNT - 1);
    assert_false(slots_get(*state, 0, is_busy, busy, &slot));
}

static void a_slot_given_back_waits_for_the_world_without_it(void **state)
{
    bool busy[COUNT] = {false};
    uint32_t slot;
    slots_take(*state, 0);
    slots_put(*state, 0, 12);
    assert_true(slots_get(*state, 11, is_busy, busy, &slot));
    assert_int_equal(slot, 1);
    assert_true(slots_get(*state, 12, is_busy, busy, &slot));
    assert_int_equal(slot, 0);
}

static void a_slot_that_is_still_written_to_is_not_given(void **state)
{
    bool busy[COUNT] = {true, true};
    uint32_t slot;
    assert_true(slots_get(*state, 0, is_busy, busy, &slot));
    assert_int_equal(slot, 2);
}

static void without_a_free_slot_there_is_none(void **state)
{
    bool busy[COUNT] = {false};
    uint32_t slot;
    for (unsigned i = 0; i < COUNT; i++)
        assert_true(slots_get(*state, 0, is_busy, busy, &slot));
    assert_false(slots_get(*state, 0, is_busy, busy, &slot));
    slots_put(*state, 5, 0);
    assert_true(slots_get(*state, 0, is_busy, busy, &slot));
    assert_int_equal(slot, 5);
}

static void after_a_restart_old_slots_wait_for_the_first_world(void **state)
{
    bool busy[COUNT] = {false};
    uint32_t slot;
    slots_take(*state, 3);
    slots_distrust(*state, 7);
    assert_true(slots_get(*state, 6, is_busy, busy, &slot));
    assert_int_equal(slot, 4);
    assert_true(slots_get(*state, 7, is_busy, busy, &slot));
    assert_int_equal(slot, 0);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(the_lowest_free_slot_is_given),
        EACH(a_low_slot_given_back_is_the_next_one),
        EACH(a_slot_given_back_waits_for_the_world_without_it),
        EACH(a_slot_that_is_still_written_to_is_not_given),
        EACH(without_a_free_slot_there_is_none),
        EACH(after_a_restart_old_slots_wait_for_the_first_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
