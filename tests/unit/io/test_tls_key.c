#include "io/tls_key.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

static const char *const suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                     "TLS_CHACHA20_POLY1305_SHA256"};
static unsigned char record[TLS_RECORD_MAX], text[TLS_RECORD_MAX];

/* A secret that fits the suite. */
static void fill(struct tls_secret *secret, size_t suite, uint8_t seed)
{
    memset(secret, 0, sizeof *secret);
    secret->secret_size = suite == 1 ? 48 : 32;
    secret->key_size = suite == 0 ? 16 : 32;
    secret->iv_size = TLS_IV_SIZE;
    memset(secret->secret, seed, secret->secret_size);
    memset(secret->key, seed + 1, secret->key_size);
    memset(secret->iv, seed + 2, secret->iv_size);
}

static void begin(struct tls_key *key, size_t suite, uint8_t seed)
{
    memset(key, 0, sizeof *key);
    fill(&key->secret, suite, seed);
    assert_true(tls_key_begin(key, tls_suite_find(suites[suite])));
}

static size_t seal(struct tls_key *key, const void *bytes, size_t n)
{
    memcpy(record + TLS_RECORD_HEAD, bytes, n);
    size_t size = tls_key_seal(key, record, TLS_TYPE_DATA, n);
    assert_int_equal(size, TLS_RECORD_HEAD + n + TLS_RECORD_TAIL);
    assert_int_equal(tls_record_size(record), size);
    return size;
}

static void what_one_seals_the_other_opens_in_order(void **state)
{
    (void)state;
    static unsigned char sent[TLS_RECORD_TEXT];
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (unsigned char)(i * 11);
    for (size_t suite = 0; suite < 3; suite++) {
        struct tls_key here, there;
        begin(&here, suite, 7);
        begin(&there, suite, 7);
        for (size_t n = 0; n <= sizeof sent; n = n * 3 + 1) {
            uint8_t type = 0;
            size_t size = seal(&here, sent, n);
            assert_int_equal(tls_key_open(&there, record, size, text, &type), n);
            assert_int_equal(type, TLS_TYPE_DATA);
            assert_memory_equal(text, sent, n);
        }
        uint8_t type;
        size_t size = seal(&here, sent, sizeof sent); /* the most, opened in its own place */
        assert_int_equal(tls_key_open(&there, record, size, record + TLS_RECORD_HEAD, &type), sizeof sent);
        assert_memory_equal(record + TLS_RECORD_HEAD, sent, sizeof sent);
        assert_int_equal(here.sequence, there.sequence);
        tls_key_end(&here);
        tls_key_end(&there);
    }
}

static void no_two_records_of_a_text_are_alike(void **state)
{
    (void)state;
    struct tls_key key;
    unsigned char first[64];
    begin(&key, 0, 7);
    size_t size = seal(&key, "the same", 8);
    memcpy(first, record, size);
    seal(&key, "the same", 8);
    assert_memory_not_equal(first + TLS_RECORD_HEAD, record + TLS_RECORD_HEAD, 8);
    tls_key_end(&key);
}

static void what_comes_twice_or_late_is_refused(void **state)
{
    (void)state;
    struct tls_key here, there;
    unsigned char first[64];
    uint8_t type;
    begin(&here, 0, 7);
    begin(&there, 0, 7);
    size_t size = seal(&here, "first", 5);
    memcpy(first, record, size);
    seal(&here, "other", 5);
    assert_int_equal(tls_key_open(&there, record, size, text, &type), -TLS_ALERT_BAD_MAC);
    assert_int_equal(tls_key_open(&there, first, size, text, &type), 5);
    assert_int_equal(tls_key_open(&there, first, size, text, &type), -TLS_ALERT_BAD_MAC);
    tls_key_end(&here);
    tls_key_end(&there);
}

static void a_bit_that_was_changed_anywhere_is_found(void **state)
{
    (void)state;
    for (size_t suite = 0; suite < 3; suite++) {
        for (size_t bit = 0; bit < 8 * (TLS_RECORD_HEAD + 5 + TLS_RECORD_TAIL); bit++) {
            struct tls_key here, there;
            uint8_t type;
            begin(&here, suite, 7);
            begin(&there, suite, 7);
            size_t size = seal(&here, "hello", 5);
            record[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_int_equal(tls_key_open(&there, record, size, text, &type), -TLS_ALERT_BAD_MAC);
            tls_key_end(&here);
            tls_key_end(&there);
        }
    }
}

static void heads_that_no_record_can_have_are_refused(void **state)
{
    (void)state;
    unsigned char head[] = {23, 3, 3, 0x41, 0x00}; /* 16,640 bytes, the most */
    assert_int_equal(tls_record_size(head), TLS_RECORD_MAX);
    head[4] = 1;
    assert_int_equal(tls_record_size(head), -TLS_ALERT_OVERFLOW);
    head[3] = 0;
    head[4] = TLS_RECORD_TAIL;
    assert_int_equal(tls_record_size(head), TLS_RECORD_HEAD + TLS_RECORD_TAIL);
    head[4]--;
    assert_int_equal(tls_record_size(head), -TLS_ALERT_BAD_MAC);
    head[4] = 100;
    for (unsigned type = 0; type < 256; type++) {
        head[0] = (unsigned char)type;
        assert_int_equal(tls_record_size(head), type == 23 ? 105 : -TLS_ALERT_UNEXPECTED);
    }
    head[0] = 23;
    head[2] = 4;
    assert_int_equal(tls_record_size(head), -TLS_ALERT_UNEXPECTED);
}

static void who_updates_his_key_is_understood_by_who_does_too(void **state)
{
    (void)state;
    for (size_t suite = 0; suite < 3; suite++) {
        struct tls_key here, there;
        uint8_t type;
        begin(&here, suite, 7);
        begin(&there, suite, 7);
        seal(&here, "with the old", 12);
        assert_true(tls_key_update(&here));
        assert_int_equal(here.sequence, 0);
        size_t size = seal(&here, "with the new", 12);
        assert_int_equal(tls_key_open(&there, record, size, text, &type), -TLS_ALERT_BAD_MAC);
        assert_true(tls_key_update(&there));
        assert_int_equal(tls_key_open(&there, record, size, text, &type), 12);
        tls_key_end(&here);
        tls_key_end(&there);
    }
}

/* Keys in turn, more than may have a cipher at once. */
static void any_number_of_keys_is_used_in_turn(void **state)
{
    (void)state;
    enum { KEYS = TLS_KEYS_READY + 50 };
    struct tls_key *here = calloc(KEYS, sizeof *here), *there = calloc(KEYS, sizeof *there);
    unsigned ready = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        begin(&here[i], i % 3, (uint8_t)i);
        begin(&there[i], i % 3, (uint8_t)i);
    }
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            uint8_t type;
            size_t size = seal(&here[i], &i, sizeof i);
            assert_int_equal(tls_key_open(&there[i], record, size, text, &type), sizeof i);
            assert_memory_equal(text, &i, sizeof i);
        }
        for (unsigned i = 0; i < KEYS; i += 7) { /* some leave, and others come */
            tls_key_end(&here[i]);
            tls_key_end(&there[i]);
            begin(&here[i], i % 3, (uint8_t)(i + round));
            begin(&there[i], i % 3, (uint8_t)(i + round));
        }
    }
    for (unsigned i = 0; i < KEYS; i++)
        ready += (here[i].cipher != NULL) + (there[i].cipher != NULL);
    assert_in_range(ready, 1, TLS_KEYS_READY);
    for (unsigned i = 0; i < KEYS; i++) {
        tls_key_end(&here[i]);
        tls_key_end(&there[i]);
        assert_null(here[i].cipher);
    }
    free(here);
    free(there);
}

static void a_key_that_has_ended_holds_no_secret(void **state)
{
    (void)state;
    struct tls_key key;
    static const struct tls_secret none;
    begin(&key, 1, 7);
    seal(&key, "hello", 5);
    tls_key_end(&key);
    assert_memory_equal(&key.secret, &none, sizeof none);
    assert_null(key.cipher);
}

static void a_secret_that_is_not_whole_makes_no_key(void **state)
{
    (void)state;
    struct tls_key key = {.suite = NULL};
    const struct tls_suite *suite = tls_suite_find(suites[0]);
    assert_false(tls_key_begin(&key, suite));
    fill(&key.secret, 0, 7);
    assert_true(tls_key_begin(&key, suite));
    assert_false(tls_key_begin(&key, tls_suite_find(suites[1])));
    key.secret.iv_size = 0;
    assert_false(tls_key_begin(&key, suite));
    fill(&key.secret, 0, 7);
    key.secret.key_size = 0;
    assert_false(tls_key_begin(&key, suite));
    assert_null(tls_suite_find("ECDHE-RSA-AES128-GCM-SHA256"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_seals_the_other_opens_in_order),
        cmocka_unit_test(no_two_records_of_a_text_are_alike),
        cmocka_unit_test(what_comes_twice_or_late_is_refused),
        cmocka_unit_test(a_bit_that_was_changed_anywhere_is_found),
        cmocka_unit_test(heads_that_no_record_can_have_are_refused),
        cmocka_unit_test(who_updates_his_key_is_understood_by_who_does_too),
        cmocka_unit_test(any_number_of_keys_is_used_in_turn),
        cmocka_unit_test(a_key_that_has_ended_holds_no_secret),
        cmocka_unit_test(a_secret_that_is_not_whole_makes_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
