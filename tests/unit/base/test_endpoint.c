#include "base/endpoint.h"

#include "unit.h"

static void an_address_alone_weighs_one(void **state)
{
    (void)state;
    struct endpoint endpoint;
    struct err err;
    assert_true(endpoint_parse(STR("[::1]:80"), &endpoint, &err));
    assert_str_equal(endpoint.address, "[::1]:80");
    assert_int_equal(endpoint.weight, 1);
    assert_int_equal(endpoint.pid, 0);
}

static void options_stand_in_any_order(void **state)
{
    static const char *const texts[] = {"a:1,weight=256,pid=2147483647", "a:1,pid=2147483647,weight=256"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct endpoint endpoint;
        struct err err;
        assert_true(endpoint_parse(str_of(texts[i]), &endpoint, &err));
        assert_str_equal(endpoint.address, "a:1");
        assert_int_equal(endpoint.weight, 256);
        assert_int_equal(endpoint.pid, INT32_MAX);
    }
}

static void what_is_no_option_is_refused_with_its_reason(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"a:1,", "\"\" is no option"},
        {"a:1,weight", "\"weight\" is no option"},
        {"a:1,weigth=1", "\"weigth=1\" is no option"},
        {"a:1,weight=", "must be a number, not \"\""},
        {"a:1,weight=-1", "must be a number, not \"-1\""},
        {"a:1,weight=1.5", "must be a number"},
        {"a:1,weight=99999999999999999999", "must be a number"},
        {"a:1,weight=0", "to give an instance no requests, drain it"},
        {"a:1,weight=257", "the weight 257 is not from 1 to 256"},
        {"a:1,weight=1,weight=1", "weight is written twice"},
        {"a:1,pid=1,weight=2,pid=1", "pid is written twice"},
        {"a:1,pid=0", "not 0"},
        {"a:1,pid=2147483648", "must be a number"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct endpoint endpoint;
        struct err err;
        assert_false(endpoint_parse(str_of(rows[i].text), &endpoint, &err));
        if (strstr(err.text, rows[i].says) == NULL)
            fail_msg("%s: %s", rows[i].text, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_alone_weighs_one),
        cmocka_unit_test(options_stand_in_any_order),
        cmocka_unit_test(what_is_no_option_is_refused_with_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
