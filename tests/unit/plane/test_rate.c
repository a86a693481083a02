#include "plane/rate.h"

#include "unit.h"

#include <pthread.h>
#include <stdlib.h>

#define SECOND 1000000000ULL
#define NOW (1000 * SECOND)

static int start(void **state)
{
    *state = rate_new();
    return 0;
}

static int stop(void **state)
{
    rate_free(*state);
    return 0;
}

/* IPv4 10.x.x.x */
static const uint8_t *v4(uint32_t number)
{
    static uint8_t address[16];
    memset(address, 0, 10);
    memset(address + 10, 0xff, 2);
    address[12] = 10;
    address[13] = (uint8_t)(number >> 16);
    address[14] = (uint8_t)(number >> 8);
    address[15] = (uint8_t)number;
    return address;
}

static const struct snapshot_rate five = {.per_second = 5, .burst = 10};

static uint32_t take(struct rate *rate, uint32_t number, uint64_t now_ns)
{
    return rate_take(rate, v4(number), STR(""), &five, now_ns);
}

/* How many of `asked` may go on. */
static unsigned grants(struct rate *rate, uint32_t number, uint64_t now_ns, unsigned asked)
{
    unsigned granted = 0;
    while (asked-- > 0)
        granted += take(rate, number, now_ns) == 0;
    return granted;
}

static void a_burst_may_go_on_and_then_the_rate(void **state)
{
    assert_int_equal(grants(*state, 1, NOW, 100), 10);
    assert_int_equal(grants(*state, 1, NOW + SECOND / 10, 100), 0);
    assert_int_equal(grants(*state, 1, NOW + SECOND / 5, 100), 1);
    assert_int_equal(grants(*state, 1, NOW + SECOND, 100), 4);
    assert_int_equal(grants(*state, 1, NOW + 100 * SECOND, 100), 10);
}

static void over_years_no_bucket_leaks_or_sticks(void **state)
{
    uint64_t now = NOW;
    for (unsigned week = 0; week < 200; week++, now += 7 * 86400 * SECOND + 12345)
        assert_int_equal(grants(*state, week % 3, now, 12), 10);
}

static void the_wait_that_is_told_is_enough_and_at_least_a_second(void **state)
{
    const struct snapshot_rate slow = {.per_second = 1, .burst = 3};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(rate_take(*state, v4(1), STR(""), &slow, NOW), 0);
    uint32_t wait = rate_take(*state, v4(1), STR(""), &slow, NOW);
    assert_int_equal(wait, 1);
    assert_int_equal(rate_take(*state, v4(1), STR(""), &slow, NOW + wait * SECOND), 0);
    assert_int_equal(grants(*state, 2, NOW, 10), 10);
    assert_int_equal(take(*state, 2, NOW), 1);
}

static void a_refused_request_costs_nothing(void **state)
{
    assert_int_equal(grants(*state, 1, NOW, 10), 10);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_not_equal(take(*state, 1, NOW), 0);
    assert_int_equal(grants(*state, 1, NOW + SECOND, 100), 5);
}

static void addresses_and_scopes_do_not_share(void **state)
{
    assert_int_equal(grants(*state, 1, NOW, 100), 10);
    assert_int_equal(grants(*state, 2, NOW, 100), 10);
    assert_int_equal(rate_take(*state, v4(1), STR("web"), &five, NOW), 0);
    assert_int_not_equal(rate_take(*state, v4(1), STR(""), &five, NOW), 0);
}

static void an_ipv6_client_cannot_escape_within_its_64_bits(void **state)
{
    uint8_t address[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1};
    unsigned granted = 0;
    for (unsigned i = 0; i < 1000; i++) {
        address[15] = (uint8_t)i;
        address[8] = (uint8_t)(i >> 8);
        granted += rate_take(*state, address, STR(""), &five, NOW) == 0;
    }
    assert_int_equal(granted, 10);
    address[7] = 2;
    assert_int_equal(rate_take(*state, address, STR(""), &five, NOW), 0);
}

/* A million other addresses at the same moment are more than the table can hold; who has used its burst up is
 * still known. */
static void a_crowd_of_addresses_does_not_free_the_one_that_is_over_its_limit(void **state)
{
    assert_int_equal(grants(*state, 0xffffff, NOW, 100), 10);
    unsigned freed = 0, others = 0;
    for (uint32_t i = 0; i < 1000000; i++) {
        others += take(*state, i, NOW) == 0;
        if (i % 1000 == 0)
            freed += take(*state, 0xffffff, NOW) == 0;
    }
    assert_int_equal(freed, 0);
    assert_in_range(others, 990000, 1000000); /* and the others are served, but for tags that are equal */
}

struct racer {
    struct rate *rate;
    pthread_t thread;
    unsigned granted;
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    const struct snapshot_rate limit = {.per_second = 1000, .burst = 5000};
    uint8_t address[16] = {0xfd};
    for (unsigned i = 0; i < 20000; i++)
        racer->granted += rate_take(racer->rate, address, STR(""), &limit, NOW) == 0;
    return NULL;
}

static void workers_share_one_bucket(void **state)
{
    struct racer racers[4];
    unsigned granted = 0;
    for (unsigned i = 0; i < 4; i++) {
        racers[i] = (struct racer){.rate = *state};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(racers[i].thread, NULL);
        granted += racers[i].granted;
    }
    assert_in_range(granted, 5000, 5050); /* lost races may let a few go on */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_burst_may_go_on_and_then_the_rate, start, stop),
        cmocka_unit_test_setup_teardown(over_years_no_bucket_leaks_or_sticks, start, stop),
        cmocka_unit_test_setup_teardown(the_wait_that_is_told_is_enough_and_at_least_a_second, start, stop),
        cmocka_unit_test_setup_teardown(a_refused_request_costs_nothing, start, stop),
        cmocka_unit_test_setup_teardown(addresses_and_scopes_do_not_share, start, stop),
        cmocka_unit_test_setup_teardown(an_ipv6_client_cannot_escape_within_its_64_bits, start, stop),
        cmocka_unit_test_setup_teardown(a_crowd_of_addresses_does_not_free_the_one_that_is_over_its_limit,
                                        start, stop),
        cmocka_unit_test_setup_teardown(workers_share_one_bucket, start, stop),
    };
    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
