#include "base/reach.h"

#include "unit.h"

static bool arrives(const char *target, const char *listening)
{
    struct address to, at;
    struct err err;
    assert_true(address_parse_instance(str_of(target), &to, &err));
    assert_true(address_parse_instance(str_of(listening), &at, &err));
    return reach_arrives(&to, &at);
}

static void who_listens_on_one_address_is_reached_by_it_alone(void **state)
{
    (void)state;
    assert_true(arrives("10.0.0.5:80", "10.0.0.5:80"));
    assert_true(arrives("[2001:db8:0::1]:80", "[2001:db8::1]:80"));
    assert_true(arrives("[::ffff:10.0.0.5]:80", "10.0.0.5:80"));
    assert_false(arrives("10.0.0.5:81", "10.0.0.5:80"));
    assert_false(arrives("10.0.0.6:80", "10.0.0.5:80"));
    assert_false(arrives("127.0.0.2:80", "127.0.0.1:80"));
    assert_false(arrives("[::1]:80", "127.0.0.1:80"));
}

static void who_listens_on_all_addresses_is_reached_by_those_of_this_machine(void **state)
{
    (void)state;
    assert_true(arrives("127.0.0.1:80", "0.0.0.0:80"));
    assert_true(arrives("127.9.9.9:80", "0.0.0.0:80"));
    assert_true(arrives("[::ffff:127.0.0.1]:80", "0.0.0.0:80"));
    assert_true(arrives("[::1]:80", "[::]:80"));
    assert_false(arrives("192.0.2.7:80", "0.0.0.0:80")); /* kept for documents (RFC 5737) */
    assert_false(arrives("[2001:db8::7]:80", "[::]:80"));
    assert_false(arrives("127.0.0.1:80", "[::]:80"));
    assert_false(arrives("[::1]:80", "0.0.0.0:80"));
    assert_false(arrives("127.0.0.1:81", "0.0.0.0:80"));
}

static void who_connects_to_all_addresses_comes_to_the_loopback_one(void **state)
{
    (void)state;
    assert_true(arrives("0.0.0.0:80", "127.0.0.1:80"));
    assert_true(arrives("0.0.0.0:80", "0.0.0.0:80"));
    assert_true(arrives("[::]:80", "[::1]:80"));
    assert_false(arrives("0.0.0.0:80", "10.0.0.5:80"));
}

static void a_unix_socket_is_reached_by_its_path_and_a_name_reaches_nothing(void **state)
{
    (void)state;
    assert_true(arrives("unix:/run/a.sock", "unix:/run/a.sock"));
    assert_false(arrives("unix:/run/a.sock", "unix:/run/b.sock"));
    assert_false(arrives("unix:/run/a.sock", "127.0.0.1:80"));
    assert_false(arrives("127.0.0.1:80", "unix:/run/a.sock"));
    assert_false(arrives("app.test:80", "0.0.0.0:80"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_listens_on_one_address_is_reached_by_it_alone),
        cmocka_unit_test(who_listens_on_all_addresses_is_reached_by_those_of_this_machine),
        cmocka_unit_test(who_connects_to_all_addresses_comes_to_the_loopback_one),
        cmocka_unit_test(a_unix_socket_is_reached_by_its_path_and_a_name_reaches_nothing),
    };
    return cmocka_run_group_tests_name("reach", tests, NULL, NULL);
}
