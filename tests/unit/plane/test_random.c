/* Request ids as they are written. */
#include "plane/random.h"

#include "unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void an_id_is_hex_digits_of_which_the_first_half_is_the_next_number(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random);
    for (unsigned round = 0; round < 1000; round++) {
        struct random copy = random;
        char id[RANDOM_ID_SIZE], half[17];
        random_id(&random, id);
        snprintf(half, sizeof half, "%016" PRIx64, random_next(&copy));
        assert_memory_equal(id, half, 16);
        for (unsigned i = 16; i < RANDOM_ID_SIZE; i++)
            assert_non_null(memchr("0123456789abcdef", id[i], 16));
    }
}

static void no_two_ids_are_alike(void **state)
{
    (void)state;
    struct random random;
    char id[RANDOM_ID_SIZE], last[RANDOM_ID_SIZE] = "";
    random_seed(&random);
    for (unsigned round = 0; round < 1000; round++) {
        random_id(&random, id);
        assert_memory_not_equal(id, last, sizeof id);
        assert_memory_not_equal(id + 16, last + 16, 16);
        memcpy(last, id, sizeof id);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_hex_digits_of_which_the_first_half_is_the_next_number),
        cmocka_unit_test(no_two_ids_are_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
