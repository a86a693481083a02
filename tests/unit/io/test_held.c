#include "io/held.h"

#include "unit.h"

static void what_is_held_is_taken_in_parts_and_in_order(void **state)
{
    (void)state;
    char got[8];
    struct held *held = held_new("abcdef", 6);
    assert_non_null(held);
    assert_int_equal(held_take(&held, got, 2), 2);
    assert_memory_equal(got, "ab", 2);
    assert_int_equal(held_count(held), 4);
    assert_memory_equal(held_bytes(held), "cdef", 4);
    assert_int_equal(held_take(&held, NULL, 1), 1); /* dropped */
    assert_int_equal(held_take(&held, got, sizeof got), 3);
    assert_memory_equal(got, "def", 3);
}

static void with_the_last_byte_goes_what_held_it(void **state)
{
    (void)state;
    char got[2];
    struct held *held = held_new("ab", 2);
    assert_int_equal(held_take(&held, got, sizeof got), 2);
    assert_null(held);
    assert_int_equal(held_count(held), 0);
    assert_int_equal(held_take(&held, got, sizeof got), 0);
    held_free(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_held_is_taken_in_parts_and_in_order),
        cmocka_unit_test(with_the_last_byte_goes_what_held_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
