#include "io/mac.h"

#include "unit.h"

static void sums_are_those_of_rfc_4231(void **state)
{
    (void)state;
    static const struct {
        uint8_t key_byte;
        unsigned key_bytes;
        const char *text, *sum;
    } rows[] = {
        /* Test cases 1 and 2: their keys, shorter than 32 bytes, are filled up with zeros by HMAC itself. */
        {0x0b, 20, "Hi There", "\xb0\x34\x4c\x61\xd8\xdb\x38\x53\x5c\xa8\xaf\xce\xaf\x0b\xf1\x2b"},
        {0, 0, "what do ya want for nothing?",
         "\x5b\xdc\xc1\x46\xbf\x60\x75\x4e\x6a\x04\x24\x26\x08\x95\x75\xc7"},
    };
    struct mac *mac = mac_new();
    for (size_t i = 0; i < 4; i++) { /* twice, in turn: the context keeps nothing */
        uint8_t key[MAC_KEY_SIZE] = {0}, sum[MAC_SIZE];
        memset(key, rows[i % 2].key_byte, rows[i % 2].key_bytes);
        if (i % 2 == 1)
            memcpy(key, "Jefe", 4);
        mac_sum(mac, key, rows[i % 2].text, strlen(rows[i % 2].text), sum);
        assert_memory_equal(sum, rows[i % 2].sum, 16);
    }
    mac_free(mac);
    mac_free(NULL);
}

static void equal_is_equal_to_the_last_byte(void **state)
{
    (void)state;
    assert_true(mac_is_equal("abcd", "abcd", 4));
    assert_false(mac_is_equal("abcd", "abce", 4));
    assert_false(mac_is_equal("abcd", "bbcd", 4));
    assert_true(mac_is_equal("abcd", "abce", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_rfc_4231),
        cmocka_unit_test(equal_is_equal_to_the_last_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
