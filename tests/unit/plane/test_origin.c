#include "plane/origin.h"

#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

static struct http_request request;
static void *image;
static const struct snapshot *snapshot;

/* 10.0.0.0/8 and fd00::/8 are trusted. */
static int start(void **state)
{
    (void)state;
    struct address_prefix trusted[2];
    struct err err;
    size_t size;
    assert_true(address_prefix_parse(STR("10.0.0.0/8"), &trusted[0], &err));
    assert_true(address_prefix_parse(STR("fd00::/8"), &trusted[1], &err));
    struct snapshot_spec spec = {.version = 1, .trusted = trusted, .trusted_count = 2};
    image = snapshot_freeze(&spec, &size, &err);
    assert_non_null(image);
    snapshot = snapshot_open(image, size, &err);
    assert_non_null(snapshot);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    free(image);
    return 0;
}

static struct peer peer_at(const char *text)
{
    struct peer peer = {.listener = 7};
    uint8_t address[16] = {[10] = 0xff, [11] = 0xff};
    if (inet_pton(AF_INET, text, address + 12) != 1)
        assert_int_equal(inet_pton(AF_INET6, text, address), 1);
    peer_set_address(&peer, address);
    return peer;
}

/* The client of a request with these X-Forwarded-For lines that came from this address. */
static const char *client(const char *from, const char *first, const char *second)
{
    static struct peer room;
    static char text[512], answer[INET6_ADDRSTRLEN];
    const struct http_limits limits = {.head = 4096, .fields = 10};
    struct http_fault fault;
    size_t seen = 0;
    int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s%s%s%s%s%s\r\n",
                     first != NULL ? "X-Forwarded-For:" : "", first != NULL ? first : "",
                     first != NULL ? "\r\n" : "", second != NULL ? "X-Forwarded-For: " : "",
                     second != NULL ? second : "", second != NULL ? "\r\n" : "");
    assert_int_equal(http_request_parse(&request, text, (size_t)n, &seen, &limits, &fault), HTTP_DONE);
    struct peer peer = peer_at(from);
    const struct peer *found = origin_of(snapshot, &request, &peer, &room);
    assert_int_equal(found->listener, 7);
    snprintf(answer, sizeof answer, "%.*s", STR_ARG(peer_text(found)));
    return answer;
}

static void a_stranger_is_not_believed(void **state)
{
    (void)state;
    assert_string_equal(client("192.0.2.1", NULL, NULL), "192.0.2.1");
    assert_string_equal(client("192.0.2.1", " 198.51.100.7", NULL), "192.0.2.1");
    assert_string_equal(client("2001:db8::1", " 198.51.100.7", NULL), "2001:db8::1");
}

static void a_trusted_proxy_tells_its_client(void **state)
{
    (void)state;
    assert_string_equal(client("10.0.0.1", NULL, NULL), "10.0.0.1");
    assert_string_equal(client("10.0.0.1", " 198.51.100.7", NULL), "198.51.100.7");
    assert_string_equal(client("fd00::1", " 2001:db8::9", NULL), "2001:db8::9");
}

static void what_the_client_wrote_itself_is_not_believed(void **state)
{
    (void)state;
    assert_string_equal(client("10.0.0.1", " 203.0.113.1, 198.51.100.7", NULL), "198.51.100.7");
    assert_string_equal(client("10.0.0.1", " 10.9.9.9, 198.51.100.7", NULL), "198.51.100.7");
    assert_string_equal(client("10.0.0.1", " 203.0.113.1", "198.51.100.7"), "198.51.100.7");
    assert_string_equal(client("10.0.0.1", " 203.0.113.1,198.51.100.7 , 10.0.0.2,fd00::3", NULL),
                        "198.51.100.7");
    assert_string_equal(client("10.0.0.1", " 203.0.113.1, 198.51.100.7", "10.0.0.2"), "198.51.100.7");
}

static void a_chain_that_is_trusted_to_its_end_begins_there(void **state)
{
    (void)state;
    assert_string_equal(client("10.0.0.1", " 10.0.0.3, 10.0.0.2", NULL), "10.0.0.3");
}

static void what_is_no_address_ends_the_chain(void **state)
{
    (void)state;
    static const char *const broken[] = {
        " unknown", " _hidden",   "",     " ,",           " 1.2.3",   " 1.2.3.4.5",   " [::1",
        " ::1]:80", " 1.2.3.4::", " a:b", " 010.1.1.256", " \"::1\"", " fe80::1%eth0"};
    for (unsigned i = 0; i < sizeof broken / sizeof *broken; i++)
        assert_string_equal(client("10.0.0.1", broken[i], NULL), "10.0.0.1");
    assert_string_equal(client("10.0.0.1", " 203.0.113.1, unknown, 10.0.0.2", NULL), "10.0.0.2");
}

static void ports_and_brackets_are_no_part_of_an_address(void **state)
{
    (void)state;
    assert_string_equal(client("10.0.0.1", " 198.51.100.7:4711", NULL), "198.51.100.7");
    assert_string_equal(client("10.0.0.1", " [2001:db8::9]:4711", NULL), "2001:db8::9");
    assert_string_equal(client("10.0.0.1", " [2001:db8::9]", NULL), "2001:db8::9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stranger_is_not_believed),
        cmocka_unit_test(a_trusted_proxy_tells_its_client),
        cmocka_unit_test(what_the_client_wrote_itself_is_not_believed),
        cmocka_unit_test(a_chain_that_is_trusted_to_its_end_begins_there),
        cmocka_unit_test(what_is_no_address_ends_the_chain),
        cmocka_unit_test(ports_and_brackets_are_no_part_of_an_address),
    };
    return cmocka_run_group_tests_name("origin", tests, start, stop);
}
