/* Clients that keep something moving, too slowly: cut where they alone are waited for, and nowhere else. */
#include "rig.h"

#include "unit.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define STALL 150        /* ms */
#define SPAN (2 * STALL) /* ms, that a client is looked at for */
#define SPANS (4 * SPAN)
#define EVERY (1U << 30) /* bytes a second: no test is that fast */
#define FEW 100

#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static int start(void **state)
{
    *state = rig_start(1);
    return 0;
}

static int stop(void **state)
{
    return rig_stop(*state);
}

static void expect_rate(struct rig *rig, uint32_t minimum)
{
    rig_world(rig)->rules.stall_ms = STALL;
    rig_world(rig)->rules.minimum_rate = minimum;
    rig_publish(rig);
}

/* Sends a chunk of one byte and waits until the instance has it. False: it never gets it. */
static bool dribble(int client, int instance)
{
    static const char chunk[] = "1\r\nx\r\n";
    char got[sizeof chunk - 1];
    rig_say(client, chunk);
    return recv(instance, got, sizeof got, MSG_WAITALL) == (ssize_t)sizeof got;
}

static void dribble_for(int client, int instance, uint64_t ms)
{
    for (uint64_t end = clock_mono_ms() + ms; clock_mono_ms() < end;)
        assert_true(dribble(client, instance));
}

static void finish(int client, int instance)
{
    rig_say(client, "0\r\n\r\n");
    assert_string_equal(rig_bytes(instance, 5), "0\r\n\r\n");
    rig_say(instance, OK);
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    assert_string_equal(rig_bytes(client, 2), "ok");
    close(client);
    close(instance);
}

static void assert_silent(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK), -1);
    assert_int_equal(errno, EAGAIN);
}

static void a_body_that_dribbles_in_gets_408_though_it_never_stands_still(void **state)
{
    struct rig *rig = *state;
    expect_rate(rig, EVERY);
    int client = rig_client(rig), instance = rig_ask(rig, client, CHUNKED);
    while (dribble(client, instance)) {
    }
    const char *head = rig_head(client);
    assert_memory_equal(head, "HTTP/1.1 408 ", 13);
    assert_string_equal(rig_field(head, "X-Upswap"), "body-too-slow");
    close(client);
    close(instance);
}

static void trailers_that_dribble_in_are_no_way_around(void **state)
{
    struct rig *rig = *state;
    expect_rate(rig, FEW);
    int client = rig_client(rig), instance = rig_ask(rig, client, CHUNKED);
    rig_say(client, "0\r\nA: ");
    for (struct pollfd news = {.fd = client, .events = POLLIN}; poll(&news, 1, STALL / 10) == 0;)
        rig_say(client, "x");
    assert_string_equal(rig_field(rig_head(client), "X-Upswap"), "body-too-slow");
    close(client);
    close(instance);
}

static void a_slow_client_that_is_fast_enough_is_served(void **state)
{
    struct rig *rig = *state;
    expect_rate(rig, FEW);
    int client = rig_client(rig), instance = rig_ask(rig, client, CHUNKED);
    dribble_for(client, instance, SPANS);
    finish(client, instance);
}

static void without_a_minimum_every_rate_is_taken(void **state)
{
    struct rig *rig = *state;
    expect_rate(rig, 0);
    int client = rig_client(rig), instance = rig_ask(rig, client, CHUNKED);
    dribble_for(client, instance, SPANS);
    finish(client, instance);
}

static void a_client_is_not_blamed_for_a_slow_instance(void **state)
{
    struct rig *rig = *state;
    static char bytes[65536];
    expect_rate(rig, EVERY);
    int client = rig_client(rig);
    int instance =
        rig_ask(rig, client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000000000\r\n\r\n");
    for (uint64_t end = clock_mono_ms() + SPANS; clock_mono_ms() < end;) {
        send(client, bytes, sizeof bytes, MSG_DONTWAIT);
        assert_true(recv(instance, bytes, 4096, 0) > 0);
    }
    assert_silent(client);
    close(client);
    close(instance);
}

static void a_client_that_waits_for_100_is_waited_for_by_nobody(void **state)
{
    struct rig *rig = *state;
    expect_rate(rig, EVERY);
    int client = rig_client(rig);
    int instance = rig_ask(rig, client,
                           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                           "Expect: 100-continue\r\n\r\n");
    struct pollfd news = {.fd = client, .events = POLLIN};
    assert_int_equal(poll(&news, 1, SPANS), 0);
    rig_say(instance, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_memory_equal(rig_head(client), "HTTP/1.1 100 ", 13);
    finish(client, instance);
}

static void once_the_app_answers_the_two_may_talk_slowly(void **state)
{
    struct rig *rig = *state;
    expect_rate(rig, EVERY);
    int client = rig_client(rig), instance = rig_ask(rig, client, CHUNKED);
    rig_say(instance, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    rig_head(client);
    dribble_for(client, instance, SPANS);
    rig_say(client, "0\r\n\r\n");
    assert_string_equal(rig_bytes(instance, 5), "0\r\n\r\n");
    rig_say(instance, "ok");
    assert_string_equal(rig_bytes(client, 2), "ok");
    close(client);
    close(instance);
}

static void a_reader_that_takes_all_there_is_may_be_given_little(void **state)
{
    struct rig *rig = *state;
    expect_rate(rig, EVERY);
    int client = rig_client(rig), instance = rig_ask(rig, client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    rig_say(instance, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    rig_head(client);
    for (uint64_t end = clock_mono_ms() + SPANS; clock_mono_ms() < end;) {
        rig_say(instance, "1\r\nx\r\n");
        rig_bytes(client, 6);
    }
    rig_say(instance, "0\r\n\r\n");
    assert_string_equal(rig_bytes(client, 5), "0\r\n\r\n");
    close(client);
    close(instance);
}

#define PLANE_TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(a_body_that_dribbles_in_gets_408_though_it_never_stands_still),
        PLANE_TEST(trailers_that_dribble_in_are_no_way_around),
        PLANE_TEST(a_slow_client_that_is_fast_enough_is_served),
        PLANE_TEST(without_a_minimum_every_rate_is_taken),
        PLANE_TEST(a_client_is_not_blamed_for_a_slow_instance),
        PLANE_TEST(a_client_that_waits_for_100_is_waited_for_by_nobody),
        PLANE_TEST(once_the_app_answers_the_two_may_talk_slowly),
        PLANE_TEST(a_reader_that_takes_all_there_is_may_be_given_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
