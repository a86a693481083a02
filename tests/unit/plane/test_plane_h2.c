#include "h2_rig.h"

#include "unit.h"

#include "base/clock.h"
#include "plane/outlet.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LAST_OF_ALL 0x7fffffff
#define GET "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nhi"

static int stop(void **state)
{
    return *state == NULL ? 0 : rig_stop(*state);
}

/* ---- of clients ---- */

static void a_stream_reaches_an_instance_as_a_request_and_its_answer_the_stream(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    h2_end_say(client, 1, NGHTTP2_FLAG_END_STREAM, H2_GET "x-a: b\n");
    int instance = rig_accept(rig, 0);
    const char *head = rig_head(instance);
    assert_memory_equal(head, "GET / HTTP/1.1\r\n", 16);
    assert_string_equal(rig_field(head, "Host"), "app.test");
    assert_string_equal(rig_field(head, "x-a"), "b");
    assert_int_equal(counters_pool_in_flight(rig_counters(rig), 1), 1);
    rig_say(instance, OK);
    h2_rig_expect_answer(client, 1);
    rig_until(counters_pool_in_flight(rig_counters(rig), 1) == 0);
    assert_int_equal(client->settings[NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS], 100);
    assert_int_equal(client->settings[NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE], 65535);
    assert_int_equal(client->settings[NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE], 32768);
    assert_int_equal(client->settings[NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL], 1);
    h2_end_free(client);
    close(instance);
}

static void a_preface_may_come_in_pieces(void **state)
{
    struct rig *rig = *state;
    int fd = rig_client(rig);
    rig_say(fd, "PRI * HT");
    rig_until(counters_worker(rig_counters(rig), 0)->connections[1] == 1);
    rig_say(fd, "TP/2.0\r\n\r\nSM\r\n\r\n");
    struct h2_end *client = h2_end_of(fd);
    h2_end_send(client, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    int instance = h2_rig_ask(rig, client, 1);
    rig_say(instance, OK);
    h2_rig_expect_answer(client, 1);
    h2_end_free(client);
    close(instance);
}

static void what_only_begins_as_a_preface_is_no_request(void **state)
{
    struct rig *rig = *state;
    int fd = rig_client(rig);
    rig_say(fd, "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n");
    assert_memory_equal(rig_head(fd), "HTTP/1.1 ", 9);
    close(fd);
}

static void a_stream_above_the_limit_is_refused_and_the_others_go_on(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->settings.http2.streams = 1;
    rig_publish(rig);
    struct h2_end *client = h2_end_client(rig_client(rig));
    int instance = h2_rig_ask(rig, client, 1);
    h2_end_say(client, 3, NGHTTP2_FLAG_END_STREAM, H2_GET);
    h2_end_read(client, NGHTTP2_RST_STREAM);
    assert_int_equal(client->stream, 3);
    assert_int_equal(h2_end_number(client, 0), NGHTTP2_REFUSED_STREAM);
    rig_say(instance, OK);
    h2_rig_expect_answer(client, 1);
    h2_end_free(client);
    close(instance);
}

static void a_reset_of_a_stream_ends_its_request_alone(void **state)
{
    struct rig *rig = *state;
    static const uint8_t cancel[4] = {0, 0, 0, NGHTTP2_CANCEL};
    struct h2_end *client = h2_end_client(rig_client(rig));
    int first = h2_rig_ask(rig, client, 1), second = h2_rig_ask(rig, client, 3);
    h2_end_send(client, NGHTTP2_RST_STREAM, 0, 1, cancel, sizeof cancel);
    rig_rest(first, NULL);
    rig_say(second, OK);
    h2_rig_expect_answer(client, 3);
    h2_end_free(client);
    close(first);
    close(second);
}

/* The first GOAWAY names every stream, so that what is on its way is still served; the second comes when the
 * client has seen the first. */
static void a_stop_says_goaway_twice_and_finishes_what_has_come_in_between(void **state)
{
    struct rig *rig = *state;
    struct h2_end *client = h2_end_client(rig_client(rig));
    int first = h2_rig_ask(rig, client, 1);
    rig_say_stop(rig);
    h2_end_read(client, NGHTTP2_GOAWAY);
    assert_int_equal(h2_end_number(client, 0), LAST_OF_ALL);
    h2_end_read(client, NGHTTP2_PING);
    int second = h2_rig_ask(rig, client, 3);
    h2_end_send(client, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, client->payload, 8);
    h2_end_read(client, NGHTTP2_GOAWAY);
    assert_int_equal(h2_end_number(client, 0), 3);
    assert_int_equal(h2_end_number(client, 4), NGHTTP2_NO_ERROR);
    rig_say(first, OK);
    h2_rig_expect_answer(client, 1);
    rig_say(second, OK);
    h2_rig_expect_answer(client, 3);
    h2_end_expect_close(client);
    h2_end_free(client);
    close(first);
    close(second);
    assert_int_equal(rig_join(rig), 0);
    *state = NULL;
}

/* As many as may not have heard of it change nothing. */
static void who_goes_on_with_new_streams_behind_the_last_one_is_told_to_be_calm(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->settings.http2.streams = 2;
    rig_world(rig)->settings.http2.resets = 3;
    rig_publish(rig);
    struct h2_end *client = h2_end_client(rig_client(rig));
    int instance = h2_rig_ask(rig, client, 1);
    rig_say_stop(rig);
    h2_end_read(client, NGHTTP2_GOAWAY);
    h2_end_read(client, NGHTTP2_PING);
    h2_end_send(client, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, client->payload, 8);
    h2_end_read(client, NGHTTP2_GOAWAY);
    int32_t stream = 3;
    for (unsigned i = 0; i < 10 * 2 + 3; i++, stream += 2) {
        h2_end_say(client, stream, 0, H2_GET);
        h2_end_say(client, stream, NGHTTP2_FLAG_END_STREAM, "late: yes\n");
    }
    h2_end_send(client, NGHTTP2_PING, 0, 0, "settled?", 8);
    h2_end_read(client, NGHTTP2_PING);
    h2_end_say(client, stream, NGHTTP2_FLAG_END_STREAM, H2_GET);
    h2_end_read(client, NGHTTP2_GOAWAY);
    assert_int_equal(h2_end_number(client, 4), NGHTTP2_ENHANCE_YOUR_CALM);
    h2_end_free(client);
    close(instance);
    assert_int_equal(rig_join(rig), 0);
    *state = NULL;
}

static void expect_goodbye(struct h2_end *client)
{
    h2_end_read(client, NGHTTP2_GOAWAY);
    assert_int_equal(h2_end_number(client, 4), NGHTTP2_NO_ERROR);
    h2_end_expect_close(client);
    h2_end_free(client);
}

static void a_head_that_does_not_end_has_a_deadline(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->settings.head_ms = 50;
    rig_publish(rig);
    struct h2_end *client = h2_end_client(rig_client(rig));
    h2_end_send(client, NGHTTP2_PING, 0, 0, "settings", 8); /* nothing may come between the parts of a head */
    h2_end_read(client, NGHTTP2_PING);
    h2_end_send(client, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, "\x82", 1);
    expect_goodbye(client);
}

static void a_connection_without_streams_has_a_deadline(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->settings.idle_ms = 50;
    rig_publish(rig);
    expect_goodbye(h2_end_client(rig_client(rig)));
}

/* ---- of instances ---- */

static struct h2_end *accept_h2(struct rig *rig)
{
    struct h2_end *end = h2_end_server(rig_accept(rig, 0), 100);
    h2_end_read(end, NGHTTP2_HEADERS);
    h2_end_expect_field(end, ":method: POST\n");
    return end;
}

/* The client asks with what may not be repeated; an instance that speaks HTTP/2 has it. */
static struct h2_end *post(struct rig *rig, int *client)
{
    rig_world(rig)->rules.h2 = true;
    rig_publish(rig);
    *client = rig_client(rig);
    rig_say(*client, POST);
    return accept_h2(rig);
}

static void expect_served(struct h2_end *instance, int client)
{
    h2_end_read(instance, NGHTTP2_DATA);
    assert_int_equal(instance->size, 2);
    assert_memory_equal(instance->payload, "hi", 2);
    h2_end_say(instance, instance->stream, NGHTTP2_FLAG_END_STREAM, ":status: 204\n");
    assert_memory_equal(rig_head(client), "HTTP/1.1 204", 12);
    h2_end_free(instance);
    close(client);
}

static void what_a_goaway_leaves_out_is_sent_again_whatever_its_method(void **state)
{
    struct rig *rig = *state;
    int client;
    struct h2_end *first = post(rig, &client);
    h2_end_goaway(first, 0);
    expect_served(accept_h2(rig), client);
    h2_end_free(first);
}

static void what_a_goaway_names_is_not_sent_again(void **state)
{
    struct rig *rig = *state;
    int client;
    struct h2_end *first = post(rig, &client);
    h2_end_goaway(first, 1);
    h2_end_free(first);
    assert_memory_equal(rig_head(client), "HTTP/1.1 502", 12);
    assert_false(rig_is_called(rig, 0));
    close(client);
}

static void a_refused_stream_is_sent_again_over_the_same_connection(void **state)
{
    struct rig *rig = *state;
    static const uint8_t refused[4] = {0, 0, 0, NGHTTP2_REFUSED_STREAM};
    int client;
    struct h2_end *instance = post(rig, &client);
    h2_end_read(instance, NGHTTP2_DATA);
    h2_end_send(instance, NGHTTP2_RST_STREAM, 0, 1, refused, sizeof refused);
    h2_end_read(instance, NGHTTP2_HEADERS);
    assert_int_equal(instance->stream, 3);
    expect_served(instance, client);
}

/* The next room that is asked for as much as MUCH is not there: for the answer's head, whose fields are
 * shorter as they come. */
#define MUCH 2200
static bool starves;

char *__real_outlet_reserve(struct outlet *outlet, struct buffers *buffers, size_t size);
char *__wrap_outlet_reserve(struct outlet *outlet, struct buffers *buffers, size_t size);

char *__wrap_outlet_reserve(struct outlet *outlet, struct buffers *buffers, size_t size)
{
    if (size >= MUCH && __atomic_exchange_n(&starves, false, __ATOMIC_RELAXED))
        return NULL;
    return __real_outlet_reserve(outlet, buffers, size);
}

/* Over a kept connection, and with a method that may be sent again. */
static void an_answer_there_is_no_memory_for_is_our_fault_and_is_not_asked_for_again(void **state)
{
    struct rig *rig = *state;
    int client;
    struct h2_end *instance = post(rig, &client);
    h2_end_read(instance, NGHTTP2_DATA);
    h2_end_say(instance, 1, NGHTTP2_FLAG_END_STREAM, ":status: 204\n");
    assert_memory_equal(rig_head(client), "HTTP/1.1 204", 12);
    rig_say(client, GET);
    h2_end_read(instance, NGHTTP2_HEADERS);
    char fields[2 * MUCH] = ":status: 200\n";
    for (size_t i = 0, size = strlen(fields); i < MUCH / 110; i++)
        size += (size_t)snprintf(fields + size, sizeof fields - size, "x-long: %0100d\n", 0);
    __atomic_store_n(&starves, true, __ATOMIC_RELAXED);
    h2_end_say(instance, 3, NGHTTP2_FLAG_END_STREAM, fields);
    h2_end_read(instance, NGHTTP2_RST_STREAM);
    assert_int_equal(h2_end_number(instance, 0), NGHTTP2_INTERNAL_ERROR);
    const char *head = rig_head(client);
    assert_memory_equal(head, "HTTP/1.1 503", 12);
    assert_string_equal(rig_field(head, "X-Upswap"), "overloaded");
    struct counters_pool sum;
    rig_until((counters_pool_sum(rig_counters(rig), 1, &sum), sum.requests == 2));
    for (unsigned i = 0; i < COUNTERS_ERRORS; i++)
        assert_int_equal(sum.errors[i], 0);
    h2_end_send(instance, NGHTTP2_PING, 0, 0, "settled?", 8);
    h2_end_read(instance, NGHTTP2_PING); /* and no HEADERS before it */
    h2_end_free(instance);
    close(client);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, h2_rig_start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_stream_reaches_an_instance_as_a_request_and_its_answer_the_stream),
        TEST(a_preface_may_come_in_pieces),
        TEST(what_only_begins_as_a_preface_is_no_request),
        TEST(a_stream_above_the_limit_is_refused_and_the_others_go_on),
        TEST(a_reset_of_a_stream_ends_its_request_alone),
        TEST(a_stop_says_goaway_twice_and_finishes_what_has_come_in_between),
        TEST(who_goes_on_with_new_streams_behind_the_last_one_is_told_to_be_calm),
        TEST(a_head_that_does_not_end_has_a_deadline),
        TEST(a_connection_without_streams_has_a_deadline),
        TEST(what_a_goaway_leaves_out_is_sent_again_whatever_its_method),
        TEST(what_a_goaway_names_is_not_sent_again),
        TEST(a_refused_stream_is_sent_again_over_the_same_connection),
        TEST(an_answer_there_is_no_memory_for_is_our_fault_and_is_not_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
