#include "route/snapshot.h"

#include "world.h"

#include <stdio.h>
#include <time.h>

static const struct world_service rows[] = {
    {"site", {"example.com", "WWW.Example.com"}, {"/"}},
    {"api", {"example.com"}, {"/api/"}},
    {"api2", {"example.com"}, {"/api/v2", "/api/v2/beta/"}},
    {"sub", {"*.example.com"}, {"/"}},
    {"deep", {"*.a.example.com"}, {"/deep"}},
    {"shop", {"shop.example.com."}, {"/shop"}},
    {"static", {NULL}, {"/static"}},
    {"v6", {"[::1]"}, {"/"}},
};

static int open_rows(void **state)
{
    size_t size;
    struct err err;
    void *image = world_freeze(rows, sizeof rows / sizeof *rows, &size, &err);
    assert_non_null(image);
    assert_non_null(snapshot_open(image, size, &err));
    *state = image;
    return 0;
}

static int free_rows(void **state)
{
    free(*state);
    return 0;
}

struct ask {
    const char *host, *path, *service;
    uint32_t prefix;
};

static void assert_asks(const struct snapshot *snapshot, const struct ask *asks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t prefix = 99;
        struct str name = world_match(snapshot, asks[i].host, asks[i].path, &prefix);
        if (name.n != strlen(asks[i].service) || prefix != asks[i].prefix)
            print_error("%s%s went to %.*s\n", asks[i].host, asks[i].path, STR_ARG(name));
        assert_str_equal(name, asks[i].service);
        assert_int_equal(prefix, asks[i].prefix);
    }
}

static void the_longest_prefix_wins_at_segment_boundaries(void **state)
{
    static const struct ask asks[] = {
        {"example.com", "/", "site", 0},
        {"example.com", "", "site", 0},
        {"example.com", "*", "site", 0},
        {"example.com", "/api", "api", 4},
        {"example.com", "/api/", "api", 4},
        {"example.com", "/api/x", "api", 4},
        {"example.com", "/apix", "site", 0},
        {"example.com", "/API", "site", 0},
        {"example.com", "/api/v2", "api2", 7},
        {"example.com", "/api/v2/x", "api2", 7},
        {"example.com", "/api/v2/beta/x", "api2", 12},
        {"example.com", "/api/v2/betas", "api2", 7},
        {"example.com", "/api/v", "api", 4},
        {"example.com", "//api", "site", 0},
    };
    assert_asks(*state, asks, sizeof asks / sizeof *asks);
}

static void an_exact_host_beats_a_wildcard_and_a_wildcard_beats_any(void **state)
{
    static const struct ask asks[] = {
        {"www.example.com", "/static", "site", 0},
        {"shop.example.com", "/shop/1", "shop", 5},
        {"x.example.com", "/static", "sub", 0},
        {"x.y.example.com", "/", "sub", 0},
        {"a.example.com", "/deep", "sub", 0},
        {"b.a.example.com", "/deep/1", "deep", 5},
        {"other.org", "/static/x", "static", 7},
        {"", "/static", "static", 7},
        {"[::1]", "/", "v6", 0},
    };
    assert_asks(*state, asks, sizeof asks / sizeof *asks);
}

static void a_host_without_a_prefix_for_the_path_leaves_it_to_the_next(void **state)
{
    static const struct ask asks[] = {
        {"shop.example.com", "/cart", "sub", 0},
        {"b.a.example.com", "/static", "sub", 0},
        {"[::1]", "/static", "v6", 0},
    };
    assert_asks(*state, asks, sizeof asks / sizeof *asks);
}

static void hosts_are_compared_without_case_and_without_a_trailing_dot(void **state)
{
    static const struct ask asks[] = {
        {"EXAMPLE.com", "/api", "api", 4},
        {"www.example.COM.", "/", "site", 0},
        {"SHOP.Example.com", "/shop", "shop", 5},
        {"X.EXAMPLE.COM", "/", "sub", 0},
    };
    assert_asks(*state, asks, sizeof asks / sizeof *asks);
}

static void what_no_service_takes_matches_nothing(void **state)
{
    static const struct ask asks[] = {
        {"other.org", "/", "", 0},
        {"other.org", "/stati", "", 0},
        {"example.com.evil.org", "/", "", 0},
        {"notexample.com", "/", "", 0},
        {".example.com", "/", "", 0},
        {"", "/", "", 0},
        {".", "/", "", 0},
        {"example.com..", "/", "", 0},
    };
    assert_asks(*state, asks, sizeof asks / sizeof *asks);
}

static void a_host_longer_than_any_name_matches_nothing(void **state)
{
    char host[400];
    uint32_t prefix;
    memset(host, 'x', sizeof host);
    memcpy(host + 255 - 12, ".example.com", 13);
    assert_str_equal(world_match(*state, host, "/", &prefix), "sub");
    memset(host, 'x', sizeof host);
    memcpy(host + 256 - 12, ".example.com", 13);
    assert_str_equal(world_match(*state, host, "/static", &prefix), "");
}

static void an_empty_world_matches_nothing(void **state)
{
    (void)state;
    size_t size;
    struct err err;
    uint32_t prefix;
    void *image = world_freeze(NULL, 0, &size, &err);
    assert_non_null(image);
    assert_str_equal(world_match(image, "example.com", "/", &prefix), "");
    assert_str_equal(world_match(image, "", "/", &prefix), "");
    free(image);
}

#define LENGTHS 253 /* the most that a name may have */

/* A service for each length, its host that many bytes; the even ones are wildcards. */
static void a_host_of_any_length_is_found(void **state)
{
    (void)state;
    static char names[LENGTHS][8], hosts[LENGTHS][LENGTHS + 4];
    static struct world_service one_each[LENGTHS];
    size_t size;
    struct err err;
    uint32_t prefix;
    for (int i = 0; i < LENGTHS; i++) {
        snprintf(names[i], sizeof names[i], "s%d", i);
        snprintf(hosts[i], sizeof hosts[i], "%s%0*d", i % 2 == 0 ? "*." : "", i + 1, 0);
        one_each[i] = (struct world_service){names[i], {hosts[i]}, {"/"}};
    }
    void *image = world_freeze(one_each, LENGTHS, &size, &err);
    assert_non_null(image);
    assert_non_null(snapshot_open(image, size, &err));
    for (int i = 0; i < LENGTHS; i++) {
        char host[LENGTHS + 4];
        bool wildcard = i % 2 == 0;
        snprintf(host, sizeof host, "%s%s", wildcard ? "a." : "", hosts[i] + (wildcard ? 2 : 0));
        struct str found = world_match(image, host, "/", &prefix);
        assert_str_equal(found, names[i]);
        if (wildcard)
            assert_str_equal(world_match(image, hosts[i] + 2, "/", &prefix), "");
    }
    free(image);
}

#define MANY 10000

/* Half of the services have a host each, half share any host and differ by path. */
static void *freeze_many(size_t *size)
{
    static char names[MANY][24], texts[MANY][64];
    static struct world_service many[MANY];
    memset(many, 0, sizeof many);
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "s%d", i);
        many[i].name = names[i];
        snprintf(texts[i], sizeof texts[i], i % 2 == 0 ? "app%d.example.com" : "/tenants/%d/app", i);
        many[i].hosts[0] = i % 2 == 0 ? texts[i] : NULL;
        many[i].paths[0] = i % 2 == 0 ? "/" : texts[i];
    }
    struct err err;
    void *image = world_freeze(many, MANY, size, &err);
    assert_non_null(image);
    return image;
}

/* Bounds for a loaded machine and sanitizers, far below what a search through all services would need. */
/* What this thread has had of the CPU: a busy machine is not what is measured. */
static uint64_t spent_ns(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return (uint64_t)spent.tv_sec * 1000000000 + (uint64_t)spent.tv_nsec;
}

static void ten_thousand_services_freeze_and_match_fast(void **state)
{
    (void)state;
    size_t size;
    struct err err;
    uint64_t start = spent_ns();
    void *image = freeze_many(&size);
    assert_in_range((spent_ns() - start) / 1000000, 0, 500);
    const struct snapshot *snapshot = snapshot_open(image, size, &err);
    assert_non_null(snapshot);
    start = spent_ns();
    for (int i = 0; i < MANY; i++) {
        char host[64], path[64], name[24];
        uint32_t prefix;
        snprintf(name, sizeof name, "s%d", i);
        snprintf(host, sizeof host, i % 2 == 0 ? "app%d.example.com" : "tenant%d.org", i);
        snprintf(path, sizeof path, "/tenants/%d/app/x/y", i);
        struct str found = world_match(snapshot, host, path, &prefix);
        assert_true(str_equal(found, str_of(name)));
    }
    assert_in_range((spent_ns() - start) / MANY, 0, 20000);
    free(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_prefix_wins_at_segment_boundaries),
        cmocka_unit_test(an_exact_host_beats_a_wildcard_and_a_wildcard_beats_any),
        cmocka_unit_test(a_host_without_a_prefix_for_the_path_leaves_it_to_the_next),
        cmocka_unit_test(hosts_are_compared_without_case_and_without_a_trailing_dot),
        cmocka_unit_test(what_no_service_takes_matches_nothing),
        cmocka_unit_test(a_host_longer_than_any_name_matches_nothing),
        cmocka_unit_test(an_empty_world_matches_nothing),
        cmocka_unit_test(a_host_of_any_length_is_found),
        cmocka_unit_test(ten_thousand_services_freeze_and_match_fast),
    };
    return cmocka_run_group_tests_name("match", tests, open_rows, free_rows);
}
