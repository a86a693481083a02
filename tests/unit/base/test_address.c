#include "base/address.h"

#include "unit.h"

#include <arpa/inet.h>

static void addresses_are_taken_apart_and_written_back(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        enum address_kind kind;
        uint16_t port;
    } rows[] = {
        {"10.0.0.5:8001", "10.0.0.5", ADDRESS_IPV4, 8001},
        {"[::1]:80", "::1", ADDRESS_IPV6, 80},
        {"app-1.internal:65535", "app-1.internal", ADDRESS_NAME, 65535},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct address address;
        struct err err;
        char text[ADDRESS_TEXT_MAX];
        assert_true(address_parse(str_of(rows[i].text), false, &address, &err));
        assert_string_equal(address.host, rows[i].host);
        assert_int_equal(address.kind, rows[i].kind);
        assert_int_equal(address.port, rows[i].port);
        assert_string_equal(address_text(&address, text), rows[i].text);
    }
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",       "host",        ":80",       "host:",    "host:0",       "host:65536", "host:8x",
        "::1:80", "[::1]",       "[nope]:80", "1.2.3:80", "1.2.3.256:80", "-a:80",      "a..b:80",
        "a b:80", "http://a:80", "a/b:80",    "host:-1",  "[::1]x:80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct address address;
        struct err err;
        if (address_parse(str_of(bad[i]), false, &address, &err))
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void a_unix_socket_is_an_address_of_instances_only(void **state)
{
    (void)state;
    struct address address;
    struct err err;
    char text[ADDRESS_TEXT_MAX], longest[5 + 107 + 2] = "unix:/";
    assert_true(address_parse_instance(STR("unix:/run/app.sock"), &address, &err));
    assert_int_equal(address.kind, ADDRESS_UNIX);
    assert_string_equal(address.host, "unix:/run/app.sock");
    assert_string_equal(address_path(&address), "/run/app.sock");
    assert_int_equal(address.port, 0);
    assert_string_equal(address_text(&address, text), "unix:/run/app.sock");
    assert_false(address_parse(STR("unix:/run/app.sock"), true, &address, &err));
    assert_true(address_parse_instance(STR("[::1]:80"), &address, &err));
    memset(longest + 6, 'x', 106);
    assert_true(address_parse_instance(str_of(longest), &address, &err));
    longest[5 + 107] = 'x';
    assert_false(address_parse_instance(str_of(longest), &address, &err));
    assert_non_null(strstr(err.text, "its path has 108 bytes, and that of a Unix socket at most 107"));
}

static void a_unix_socket_is_written_in_one_way(void **state)
{
    (void)state;
    static const char *const bad[] = {"unix:",          "unix:run/app", "unix:@name",   "unix:/",
                                      "unix://run/app", "unix:/run/",   "unix:/a/../b", "unix:/./a",
                                      "unix:/a b",      "unix:/a,b",    "unix:/a\nb",   "unix:/a\x7f",
                                      "unix:/a/b/..",   "unix:/a//b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct address address;
        struct err err;
        if (address_parse_instance(str_of(bad[i]), &address, &err))
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(err.text, "is not an address: "));
    }
}

static void a_scope_is_refused_with_its_reason(void **state)
{
    (void)state;
    struct address address;
    struct err err;
    assert_false(address_parse_instance(STR("[fe80::1%eth0]:80"), &address, &err));
    assert_non_null(strstr(err.text, "link-local addresses with a scope (%) are not taken"));
    assert_true(address_parse_instance(STR("[fe80::1]:80"), &address, &err));
}

static void port_0_is_for_listening_sockets_only(void **state)
{
    (void)state;
    struct address address;
    struct err err;
    assert_true(address_parse(STR("127.0.0.1:0"), true, &address, &err));
    assert_false(address_parse(STR("127.0.0.1:0"), false, &address, &err));
}

static bool covers(const char *prefix_text, const char *ip)
{
    struct address_prefix prefix;
    struct err err;
    uint8_t bytes[16] = {0};
    assert_true(address_prefix_parse(str_of(prefix_text), &prefix, &err));
    if (inet_pton(AF_INET6, ip, bytes) != 1) {
        memset(bytes + 10, 0xff, 2);
        assert_int_equal(inet_pton(AF_INET, ip, bytes + 12), 1);
    }
    return address_prefix_covers(&prefix, bytes);
}

static void prefixes_cover_their_addresses_and_no_others(void **state)
{
    (void)state;
    assert_true(covers("10.0.0.0/8", "10.255.0.1"));
    assert_false(covers("10.0.0.0/8", "11.0.0.0"));
    assert_true(covers("192.168.4.0/22", "192.168.7.255"));
    assert_false(covers("192.168.4.0/22", "192.168.8.0"));
    assert_true(covers("127.0.0.1", "127.0.0.1"));
    assert_false(covers("127.0.0.1", "127.0.0.2"));
    assert_true(covers("::1/128", "::1"));
    assert_true(covers("0.0.0.0/0", "8.8.8.8"));
    assert_false(covers("0.0.0.0/0", "2001:db8::1"));
}

static void prefixes_with_host_bits_or_nonsense_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"10.0.0.1/8",   "10.0.0.0/33", "::/129", "10.0.0.0/",
                                      "10.0.0.0/8/8", "x",           ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct address_prefix prefix;
        struct err err;
        assert_false(address_prefix_parse(str_of(bad[i]), &prefix, &err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_taken_apart_and_written_back),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_unix_socket_is_an_address_of_instances_only),
        cmocka_unit_test(a_unix_socket_is_written_in_one_way),
        cmocka_unit_test(a_scope_is_refused_with_its_reason),
        cmocka_unit_test(port_0_is_for_listening_sockets_only),
        cmocka_unit_test(prefixes_cover_their_addresses_and_no_others),
        cmocka_unit_test(prefixes_with_host_bits_or_nonsense_are_refused),
    };
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
