#include "base/siphash.h"

#include "unit.h"

#include <stdlib.h>

/* From the paper and its reference implementation: key 00 01 .. 0f, message 00 01 .. of so many bytes. */
static void the_published_values_come_out(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        uint64_t hash;
    } rows[] = {
        {0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd}, {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5}};
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    uint8_t bytes[16];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(siphash(key, bytes, rows[i].count), rows[i].hash);
}

static void another_key_gives_another_hash(void **state)
{
    (void)state;
    const uint64_t one[2] = {1, 2}, other[2] = {1, 3};
    assert_int_not_equal(siphash(one, "abc", 3), siphash(other, "abc", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_values_come_out),
        cmocka_unit_test(another_key_gives_another_hash),
    };
    return cmocka_run_group_tests_name("siphash", tests, NULL, NULL);
}
