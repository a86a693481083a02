#include "plane/token.h"

#include "unit.h"

static struct mac *mac;
static struct snapshot_secrets secrets;
static const struct token sample = {.number = 0x0123456789abcdef, .issued_s = 1800000000};

static int setup(void **state)
{
    (void)state;
    mac = mac_new();
    memset(secrets.cookie[0], 1, sizeof secrets.cookie[0]);
    memset(secrets.cookie[1], 2, sizeof secrets.cookie[1]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mac_free(mac);
    return 0;
}

static void write_sample(char text[TOKEN_SIZE])
{
    token_write(mac, &secrets, TOKEN_INSTANCE, STR("web"), &sample, text);
}

static bool reads(const char *text, size_t n)
{
    struct token token;
    return token_open(mac, &secrets, TOKEN_INSTANCE, STR("web"), (struct str){text, n}, &token);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    char text[TOKEN_SIZE];
    struct token token;
    write_sample(text);
    assert_true(
        token_open(mac, &secrets, TOKEN_INSTANCE, STR("web"), (struct str){text, TOKEN_SIZE}, &token));
    assert_int_equal(token.number, sample.number);
    assert_int_equal(token.issued_s, sample.issued_s);
    assert_false(token.is_old);
    for (size_t i = 0; i < TOKEN_SIZE; i++) /* what a cookie's value may hold without quotes */
        assert_non_null(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", text[i]));
}

static void no_other_text_is_a_token(void **state)
{
    (void)state;
    char text[TOKEN_SIZE + 1] = "";
    write_sample(text);
    for (size_t i = 0; i < TOKEN_SIZE; i++) {
        char right = text[i];
        for (unsigned byte = 0; byte < 256; byte++) {
            text[i] = (char)byte;
            assert_int_equal(reads(text, TOKEN_SIZE), (char)byte == right);
        }
        text[i] = right;
    }
    for (size_t n = 0; n < TOKEN_SIZE; n++)
        assert_false(reads(text, n));
    text[TOKEN_SIZE] = '=';
    assert_false(reads(text, TOKEN_SIZE + 1));
}

static void a_token_is_good_for_its_kind_and_service_only(void **state)
{
    (void)state;
    char text[TOKEN_SIZE];
    struct token token;
    struct str all = {text, TOKEN_SIZE};
    write_sample(text);
    assert_false(token_open(mac, &secrets, TOKEN_POOL, STR("web"), all, &token));
    assert_false(token_open(mac, &secrets, TOKEN_INSTANCE, STR("web2"), all, &token));
    assert_false(token_open(mac, &secrets, TOKEN_INSTANCE, STR("we"), all, &token));
    assert_false(token_open(mac, &secrets, TOKEN_INSTANCE, STR(""), all, &token));
}

static void the_key_before_is_believed_and_the_one_before_that_is_not(void **state)
{
    (void)state;
    char text[TOKEN_SIZE];
    struct token token;
    write_sample(text);
    struct snapshot_secrets next = secrets;
    memcpy(next.cookie[1], secrets.cookie[0], sizeof next.cookie[1]);
    memset(next.cookie[0], 3, sizeof next.cookie[0]);
    assert_true(token_open(mac, &next, TOKEN_INSTANCE, STR("web"), (struct str){text, TOKEN_SIZE}, &token));
    assert_true(token.is_old);
    assert_int_equal(token.number, sample.number);
    memcpy(next.cookie[1], next.cookie[0], sizeof next.cookie[1]);
    assert_false(token_open(mac, &next, TOKEN_INSTANCE, STR("web"), (struct str){text, TOKEN_SIZE}, &token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(no_other_text_is_a_token),
        cmocka_unit_test(a_token_is_good_for_its_kind_and_service_only),
        cmocka_unit_test(the_key_before_is_believed_and_the_one_before_that_is_not),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
