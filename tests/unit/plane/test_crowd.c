#include "plane/crowd.h"

#include "unit.h"

#include "base/address.h"

#include <arpa/inet.h>
#include <sys/resource.h>

static const uint8_t *address(const char *text)
{
    static uint8_t bytes[16];
    uint8_t v4[4];
    if (inet_pton(AF_INET, text, v4) == 1)
        address_map(v4, bytes);
    else
        assert_int_equal(inet_pton(AF_INET6, text, bytes), 1);
    return bytes;
}

static void everybody_counts_in_the_whole(void **state)
{
    (void)state;
    struct crowd *crowd = crowd_new();
    assert_int_equal(crowd_enter(crowd), 1);
    assert_int_equal(crowd_enter(crowd), 2);
    assert_int_equal(crowd_leave(crowd), 1);
    assert_int_equal(crowd_size(crowd), 1);
    crowd_free(crowd);
}

static void an_address_gets_its_places_and_gives_them_back(void **state)
{
    (void)state;
    struct crowd *crowd = crowd_new();
    assert_true(crowd_admit(crowd, address("192.0.2.1"), 2));
    assert_true(crowd_admit(crowd, address("192.0.2.1"), 2));
    assert_false(crowd_admit(crowd, address("192.0.2.1"), 2));
    assert_true(crowd_admit(crowd, address("192.0.2.2"), 2));
    crowd_dismiss(crowd, address("192.0.2.1"));
    assert_true(crowd_admit(crowd, address("192.0.2.1"), 2));
    crowd_dismiss(crowd, address("192.0.2.1"));
    crowd_dismiss(crowd, address("192.0.2.1"));
    crowd_dismiss(crowd, address("192.0.2.2"));
    crowd_free(crowd); /* which looks that nobody is left */
}

/* A limit that a reload lowers drives nobody out. */
static void a_lower_limit_lets_nobody_in_until_enough_have_left(void **state)
{
    (void)state;
    struct crowd *crowd = crowd_new();
    for (int i = 0; i < 3; i++)
        assert_true(crowd_admit(crowd, address("192.0.2.1"), 3));
    assert_false(crowd_admit(crowd, address("192.0.2.1"), 1));
    for (int i = 0; i < 3; i++)
        crowd_dismiss(crowd, address("192.0.2.1"));
    assert_true(crowd_admit(crowd, address("192.0.2.1"), 1));
    crowd_dismiss(crowd, address("192.0.2.1"));
    crowd_free(crowd);
}

static void an_ipv6_address_counts_by_its_first_64_bits(void **state)
{
    (void)state;
    struct crowd *crowd = crowd_new();
    assert_true(crowd_admit(crowd, address("2001:db8:0:1::1"), 1));
    assert_false(crowd_admit(crowd, address("2001:db8:0:1:ffff:ffff:ffff:ffff"), 1));
    assert_true(crowd_admit(crowd, address("2001:db8:0:2::1"), 1));
    crowd_dismiss(crowd, address("2001:db8:0:1:8000::7"));
    crowd_dismiss(crowd, address("2001:db8:0:2::"));
    crowd_free(crowd);
}

/* Clients, their requests, what is kept idle, and conduits, together. */
static void the_shares_leave_descriptors_for_the_rest(void **state)
{
    (void)state;
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (rlim_t count = 50; count <= before.rlim_cur && count <= 1000; count++) {
        limit = (struct rlimit){.rlim_cur = count, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        unsigned workers = (unsigned)count % 2 + 1;
        assert_true(crowd_derived_limit(workers, 1) > 0 && crowd_idle_limit(workers) > 0);
        uint32_t connections = 2 * crowd_derived_limit(workers, 1) + workers * crowd_idle_limit(workers);
        assert_true(connections <= count * 9 / 10);
        assert_true(connections + 2 * workers * crowd_conduit_limit(workers) <= count * 95 / 100);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(crowd_idle_limit(UINT32_MAX), 1);
    assert_int_equal(crowd_conduit_limit(UINT32_MAX), 0);
}

/* As seen in /proc: 22 descriptors, and a worker's loop, mailbox and listeners. All workers but one may take
 * a client too many. */
static void what_the_proxy_itself_has_open_is_left_to_it(void **state)
{
    (void)state;
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    static const struct {
        unsigned descriptors, workers, listeners;
    } cases[] = {{64, 2, 1}, {128, 2, 8}, {1024, 64, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned workers = cases[i].workers, own = 22 + workers * (2 + cases[i].listeners);
        limit = (struct rlimit){.rlim_cur = cases[i].descriptors, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        uint32_t clients = crowd_derived_limit(workers, cases[i].listeners) + workers - 1;
        uint32_t kept = workers * (crowd_idle_limit(workers) + 2 * crowd_conduit_limit(workers));
        assert_true(own + 2 * clients + kept <= cases[i].descriptors);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_counts_in_the_whole),
        cmocka_unit_test(an_address_gets_its_places_and_gives_them_back),
        cmocka_unit_test(a_lower_limit_lets_nobody_in_until_enough_have_left),
        cmocka_unit_test(an_ipv6_address_counts_by_its_first_64_bits),
        cmocka_unit_test(the_shares_leave_descriptors_for_the_rest),
        cmocka_unit_test(what_the_proxy_itself_has_open_is_left_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
