#include "rig.h"

#include "unit.h"

#include "base/clock.h"
#include "http/websocket.h"

#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
#define ASK(what) "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: " what "\r\n\r\n"
#define AGREE(what) "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: " what "\r\n\r\n"
#define EVENTS "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n"
#define CHUNKED EVENTS "Transfer-Encoding: chunked\r\n\r\n"
#define LATER 60000 /* ms: a deadline that is not meant to pass */
#define SOON 100    /* ms: one that is */

#define RESTART "\x88\x11\x03\xf4service restart" /* the Close for a client */
#define RESTART_SIZE (sizeof(RESTART) - 1)
#define AWAY_SIZE 18 /* bytes of the Close for an app */
#define KEY "\x01\x02\x03\x04"
#define ANSWER_OF_CLIENT "\x88\x82" KEY "\x02\xf6" /* a Close with 1012, masked with KEY */
#define ANSWER_OF_APP "\x88\x02\x03\xe9"

/* A connection from a client to an instance. */
struct pair {
    int client, instance;
};

static int start(void **state)
{
    *state = rig_start(2);
    return 0;
}

/* One worker, whose deadlines at one time fire in one turn. */
static int start_single(void **state)
{
    *state = rig_start(1);
    return 0;
}

static int stop(void **state)
{
    return rig_stop(*state);
}

static void close_pair(struct pair pair)
{
    close(pair.client);
    close(pair.instance);
}

static struct pair begin(struct rig *rig, const char *request, const char *answer)
{
    struct pair pair = {.client = rig_client(rig)};
    pair.instance = rig_ask(rig, pair.client, request);
    rig_say(pair.instance, answer);
    rig_head(pair.client);
    return pair;
}

static struct pair open_websocket(struct rig *rig)
{
    return begin(rig, ASK("WebSocket"), AGREE("websocket"));
}

/* Returns when the deadlines of all that lasts have passed, with a single worker: a WebSocket tells. */
static void pass_deadline(struct rig *rig)
{
    struct pair pair = open_websocket(rig);
    rig_swap(rig, LATER, 1);
    rig_bytes(pair.client, RESTART_SIZE);
    close_pair(pair);
}

static uint64_t in_flight(struct rig *rig, uint32_t pool)
{
    return counters_pool_in_flight(rig_counters(rig), pool);
}

/* Exchanges that were cut, of all instances. */
static uint64_t cut(struct rig *rig)
{
    uint64_t count = 0;
    for (uint32_t slot = 0; slot < 16; slot++) {
        struct counters_instance sum;
        counters_instance_sum(rig_counters(rig), slot, &sum);
        count += sum.cut;
    }
    return count;
}

static void assert_is_told(struct pair pair)
{
    assert_memory_equal(rig_bytes(pair.client, RESTART_SIZE), RESTART, RESTART_SIZE);
    const char *bytes = rig_bytes(pair.instance, AWAY_SIZE);
    assert_memory_equal(bytes, "\x88\x8c", 2);
    char plain[13] = "";
    for (size_t i = 0; i < 12; i++)
        plain[i] = (char)(bytes[6 + i] ^ bytes[2 + i % 4]);
    assert_memory_equal(plain, "\x03\xe9going away", 12);
}

static void answer(struct rig *rig, struct pair pair)
{
    rig_say(pair.client, ANSWER_OF_CLIENT);
    rig_say(pair.instance, ANSWER_OF_APP);
    bool reset;
    assert_string_equal(rig_rest(pair.client, &reset), "");
    assert_false(reset);
    rig_until(in_flight(rig, 1) == 0);
    assert_int_equal(cut(rig), 0);
}

static void what_a_drain_deadline_finds_unanswered_gets_503_and_what_has_begun_is_cut(void **state)
{
    struct rig *rig = *state;
    int mute = rig_client(rig), silent = rig_ask(rig, mute, GET);
    struct pair half = begin(rig, GET, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    rig_swap(rig, SOON, LATER);
    const char *head = rig_head(mute);
    assert_memory_equal(head, "HTTP/1.1 503 ", 13);
    assert_string_equal(rig_field(head, "X-Upswap"), "drain-deadline");
    assert_string_equal(rig_rest(half.client, NULL), "half");
    rig_until(in_flight(rig, 1) == 0);
    assert_int_equal(cut(rig), 2);
    close(mute);
    close(silent);
    close_pair(half);
}

static void each_class_has_a_deadline_of_its_own(void **state)
{
    struct rig *rig = *state;
    struct pair stream = begin(rig, GET, EVENTS "\r\n"), socket = open_websocket(rig);
    struct pair tunnel = begin(rig, ASK("x"), AGREE("x"));
    rig_swap(rig, 1, LATER);
    rig_world(rig)->drain.tunnels_until_ms = clock_mono_ms() + 1;
    rig_publish(rig);
    assert_string_equal(rig_rest(tunnel.client, NULL), "");
    rig_say(stream.instance, "data: 1\n\n");
    assert_string_equal(rig_bytes(stream.client, 14), "9\r\ndata: 1\n\n\r\n");
    rig_say(socket.instance, "\x81\x01x");
    assert_string_equal(rig_bytes(socket.client, 3), "\x81\x01x");
    rig_world(rig)->drain.websockets_until_ms = clock_mono_ms() + 1;
    rig_publish(rig);
    assert_is_told(socket);
    rig_say(stream.instance, "data: 2\n\n");
    assert_string_equal(rig_bytes(stream.client, 14), "9\r\ndata: 2\n\n\r\n");
    close(stream.instance);
    assert_string_equal(rig_bytes(stream.client, 5), "0\r\n\r\n");
    close(stream.client);
    close_pair(socket);
    close_pair(tunnel);
}

static uint64_t lasting(struct rig *rig, enum counters_lasting class)
{
    struct counters_pool sum;
    counters_pool_sum(rig_counters(rig), 1, &sum);
    return sum.lasting[class];
}

static void what_lasts_is_counted_by_its_class(void **state)
{
    struct rig *rig = *state;
    struct pair stream = begin(rig, GET, CHUNKED), socket = open_websocket(rig);
    struct pair tunnel = begin(rig, ASK("x"), AGREE("x")), plain = begin(rig, GET, "HTTP/1.1 200 OK\r\n\r\n");
    assert_int_equal(in_flight(rig, 1), 4);
    for (unsigned class = 0; class < COUNTERS_LASTING; class ++)
        assert_int_equal(lasting(rig, class), 1);
    close_pair(stream);
    close_pair(socket);
    close_pair(tunnel);
    close_pair(plain);
    rig_until(in_flight(rig, 1) == 0);
    for (unsigned class = 0; class < COUNTERS_LASTING; class ++)
        assert_int_equal(lasting(rig, class), 0);
}

static void what_lasts_ends_spread_over_the_time_before_its_deadline(void **state)
{
    enum { COUNT = 16, DEADLINE = 400, SPREAD = 300 };
    struct rig *rig = *state;
    struct pair pairs[COUNT];
    for (int i = 0; i < COUNT; i++)
        pairs[i] = begin(rig, ASK("x"), AGREE("x"));
    uint64_t since = clock_mono_ms();
    rig_world(rig)->drain.spread_ms = SPREAD;
    rig_swap(rig, LATER, DEADLINE);
    rig_until(in_flight(rig, 1) < COUNT);
    uint64_t first = clock_mono_ms() - since;
    assert_true(first >= DEADLINE - SPREAD);
    rig_until(in_flight(rig, 1) == 0);
    /* Sixteen draws that all fall into a third of the time: once in millions. */
    assert_true(clock_mono_ms() - since - first > SPREAD / 3);
    for (int i = 0; i < COUNT; i++)
        close_pair(pairs[i]);
}

static void a_websocket_ends_with_a_close_to_both_sides(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    rig_swap(rig, LATER, SOON);
    assert_is_told(pair);
    answer(rig, pair);
    close_pair(pair);
}

static void a_frame_that_has_begun_is_passed_on_whole_before_the_close(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    rig_say(pair.instance, "\x81\x05hal");
    rig_say(pair.client, "\x82\x83" KEY "ab");
    rig_bytes(pair.client, 5);
    rig_bytes(pair.instance, 8);
    pass_deadline(rig);
    rig_say(pair.instance, "lo\x81\x05never");
    rig_say(pair.client, "c\x82\x85" KEY "never");
    assert_string_equal(rig_bytes(pair.client, 2), "lo");
    assert_string_equal(rig_bytes(pair.instance, 1), "c");
    assert_is_told(pair);
    answer(rig, pair);
    close_pair(pair);
}

static void a_close_may_stand_between_two_fragments_of_a_message(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    rig_say(pair.instance, "\x01\x01x");
    rig_say(pair.client, "\x02\x81" KEY "y");
    rig_bytes(pair.client, 3);
    rig_bytes(pair.instance, 7);
    rig_swap(rig, LATER, SOON);
    assert_is_told(pair);
    answer(rig, pair);
    close_pair(pair);
}

static void a_close_that_is_under_way_is_left_to_the_two(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    rig_say(pair.instance, ANSWER_OF_APP);
    assert_memory_equal(rig_bytes(pair.client, 4), ANSWER_OF_APP, 4);
    pass_deadline(rig);
    rig_say(pair.client, "\x89\x81" KEY "p" ANSWER_OF_CLIENT);
    assert_memory_equal(rig_bytes(pair.instance, 7), "\x89\x81" KEY "p", 7);
    assert_memory_equal(rig_bytes(pair.instance, 8), ANSWER_OF_CLIENT, 8);
    bool reset;
    assert_string_equal(rig_rest(pair.client, &reset), "");
    assert_false(reset);
    rig_until(in_flight(rig, 1) == 0);
    assert_int_equal(cut(rig), 0);
    close_pair(pair);
}

static void a_client_that_never_answers_is_left_after_a_while_but_not_reset(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    rig_swap(rig, LATER, 1);
    assert_is_told(pair);
    rig_say(pair.instance, ANSWER_OF_APP);
    rig_say(pair.client, "\x81\x85" KEY "never");
    rig_until(in_flight(rig, 1) == 0);
    assert_int_equal(cut(rig), 0);
    rig_say(pair.client, "\x81\x85" KEY "never");
    bool reset;
    assert_string_equal(rig_rest(pair.client, &reset), "");
    assert_false(reset);
    assert_string_equal(rig_rest(pair.instance, NULL), "");
    close_pair(pair);
}

static void an_app_that_never_answers_is_cut(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    rig_swap(rig, LATER, 1);
    assert_is_told(pair);
    rig_say(pair.client, ANSWER_OF_CLIENT);
    rig_until(in_flight(rig, 1) == 0);
    assert_int_equal(cut(rig), 1);
    bool reset;
    assert_string_equal(rig_rest(pair.client, &reset), "");
    assert_false(reset);
    close_pair(pair);
}

static void a_frame_that_never_ends_is_cut(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    rig_say(pair.instance, "\x81\x05hal");
    rig_bytes(pair.client, 5);
    rig_swap(rig, LATER, 1);
    rig_bytes(pair.instance, AWAY_SIZE);
    assert_string_equal(rig_rest(pair.client, NULL), "");
    rig_until(in_flight(rig, 1) == 0);
    assert_int_equal(cut(rig), 1);
    close_pair(pair);
}

static void what_cannot_be_followed_is_passed_as_it_is_and_cut(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    rig_say(pair.client, "\x81\x01x");
    assert_string_equal(rig_bytes(pair.instance, 3), "\x81\x01x");
    rig_say(pair.instance, "nonsense");
    assert_string_equal(rig_bytes(pair.client, 8), "nonsense");
    rig_swap(rig, LATER, 1);
    assert_string_equal(rig_rest(pair.client, NULL), "");
    assert_string_equal(rig_rest(pair.instance, NULL), "");
    assert_int_equal(cut(rig), 1);
    close_pair(pair);
}

static void a_client_that_has_closed_its_side_is_told_all_the_same(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    shutdown(pair.client, SHUT_WR);
    assert_string_equal(rig_rest(pair.instance, NULL), "");
    rig_swap(rig, LATER, 1);
    assert_memory_equal(rig_bytes(pair.client, RESTART_SIZE), RESTART, RESTART_SIZE);
    rig_say(pair.instance, ANSWER_OF_APP);
    rig_until(in_flight(rig, 1) == 0);
    assert_int_equal(cut(rig), 0);
    close_pair(pair);
}

static void a_client_that_vanishes_while_it_is_told_does_not_keep_the_app_from_an_end(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    rig_swap(rig, LATER, 1);
    assert_is_told(pair);
    rig_reset(pair.client);
    rig_say(pair.instance, ANSWER_OF_APP);
    assert_string_equal(rig_rest(pair.instance, NULL), "");
    rig_until(in_flight(rig, 1) == 0);
    assert_int_equal(cut(rig), 0);
    close(pair.instance);
}

static void reserved_bits_are_for_those_who_have_agreed_to_an_extension(void **state)
{
    struct rig *rig = *state;
    struct pair plain = open_websocket(rig);
    struct pair packed = begin(rig, ASK("websocket"),
                               "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                               "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    rig_say(plain.instance, "\xc1\x01x");
    rig_say(packed.instance, "\xc1\x01x");
    rig_bytes(plain.client, 3);
    rig_bytes(packed.client, 3);
    rig_swap(rig, LATER, 1);
    assert_is_told(packed);
    assert_string_equal(rig_rest(plain.client, NULL), "");
    close_pair(plain);
    close_pair(packed);
}

static void one_that_both_have_not_called_so_is_no_websocket(void **state)
{
    struct rig *rig = *state;
    struct pair asked = begin(rig, ASK("websocket"), AGREE("x"));
    struct pair agreed = begin(rig, ASK("x"), AGREE("websocket"));
    rig_swap(rig, LATER, LATER);
    rig_world(rig)->drain.tunnels_until_ms = clock_mono_ms() + 1;
    rig_publish(rig);
    assert_string_equal(rig_rest(asked.client, NULL), "");
    assert_string_equal(rig_rest(agreed.client, NULL), "");
    close_pair(asked);
    close_pair(agreed);
}

static void a_stop_ends_websockets_and_streams_properly_too(void **state)
{
    (void)state;
    struct rig *rig = rig_start(1);
    rig_world(rig)->rules.drain_websockets_ms = rig_world(rig)->rules.drain_streams_ms = SOON;
    rig_publish(rig);
    struct pair pair = open_websocket(rig), stream = begin(rig, GET, CHUNKED);
    rig_say_stop(rig);
    assert_is_told(pair);
    answer(rig, pair);
    assert_string_equal(rig_rest(stream.client, NULL), "0\r\n\r\n");
    close_pair(pair);
    close_pair(stream);
    assert_int_equal(rig_join(rig), 0);
}

static void a_rollback_does_not_stop_an_end_that_has_begun(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    rig_swap(rig, LATER, 1);
    assert_is_told(pair);
    rig_world(rig)->pool = 1;
    rig_world(rig)->draining = SNAPSHOT_NONE;
    rig_publish(rig);
    rig_until(in_flight(rig, 1) == 0);
    assert_int_equal(cut(rig), 1);
    close_pair(pair);
}

static void a_later_world_does_not_put_off_an_end_that_has_begun(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_websocket(rig);
    rig_swap(rig, LATER, 1);
    assert_is_told(pair);
    rig_swap(rig, LATER, LATER);
    rig_until(in_flight(rig, 1) == 0);
    close_pair(pair);
}

/* Two chunks of events, of which the second is not whole; the client has read both. */
static struct pair open_stream(struct rig *rig, const char *request)
{
    struct pair pair = begin(rig, request, CHUNKED "9\r\ndata: 1\n\n\r\n");
    rig_say(pair.instance, "6\r\ndata: \r\n");
    return pair;
}

static void an_event_stream_ends_with_a_last_chunk_behind_a_whole_event(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_stream(rig, GET);
    assert_string_equal(rig_bytes(pair.client, 25), "9\r\ndata: 1\n\n\r\n6\r\ndata: \r\n");
    pass_deadline(rig);
    rig_say(pair.instance, "10\r\n2\n\ndata: never\n\n\r\n");
    assert_string_equal(rig_bytes(pair.client, 8), "3\r\n2\n\n\r\n");
    send(pair.instance, "9\r\ndata: 3\n\n\r\n", 14, MSG_NOSIGNAL);
    assert_string_equal(rig_bytes(pair.client, 5), "0\r\n\r\n");
    rig_until(in_flight(rig, 1) == 0);
    assert_int_equal(cut(rig), 0);
    /* The connection is good for the reconnect, which goes to the new pool. */
    int fresh = rig_ask(rig, pair.client, GET);
    assert_int_equal(in_flight(rig, 2), 1);
    close(fresh);
    close_pair(pair);
}

static void an_event_stream_that_rests_ends_at_once(void **state)
{
    struct rig *rig = *state;
    struct pair pair = begin(rig, GET, CHUNKED "9\r\ndata: 1\n\n\r\n");
    rig_bytes(pair.client, 14);
    rig_swap(rig, LATER, 1);
    assert_string_equal(rig_bytes(pair.client, 5), "0\r\n\r\n");
    close_pair(pair);
}

static void an_event_stream_without_chunks_ends_with_the_connection(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_stream(rig, "GET / HTTP/1.0\r\n\r\n");
    assert_string_equal(rig_bytes(pair.client, 15), "data: 1\n\ndata: ");
    pass_deadline(rig);
    rig_say(pair.instance, "10\r\n2\n\ndata: never\n\n\r\n");
    bool reset;
    assert_string_equal(rig_rest(pair.client, &reset), "2\n\n");
    assert_false(reset);
    close_pair(pair);
}

static void an_event_that_never_ends_is_cut(void **state)
{
    struct rig *rig = *state;
    struct pair pair = open_stream(rig, GET);
    assert_string_equal(rig_bytes(pair.client, 25), "9\r\ndata: 1\n\n\r\n6\r\ndata: \r\n");
    rig_swap(rig, LATER, 1);
    assert_string_equal(rig_rest(pair.client, NULL), "");
    assert_int_equal(cut(rig), 1);
    close_pair(pair);
}

static void half_a_line_end_is_enough_when_nothing_else_comes(void **state)
{
    struct rig *rig = *state;
    struct pair pair = begin(rig, GET, CHUNKED "a\r\ndata: 1\n\n\r\r\n");
    assert_string_equal(rig_bytes(pair.client, 15), "a\r\ndata: 1\n\n\r\r\n");
    rig_swap(rig, LATER, 1);
    assert_string_equal(rig_bytes(pair.client, 5), "0\r\n\r\n");
    assert_int_equal(cut(rig), 0);
    close_pair(pair);
}

static void events_that_cannot_be_read_are_cut(void **state)
{
    struct rig *rig = *state;
    struct pair pair = begin(rig, GET, EVENTS "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
    rig_swap(rig, LATER, 1);
    assert_string_equal(rig_rest(pair.client, NULL), "");
    assert_int_equal(cut(rig), 1);
    close_pair(pair);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
#define SINGLE(name) cmocka_unit_test_setup_teardown(name, start_single, stop)
    const struct CMUnitTest tests[] = {
        TEST(what_a_drain_deadline_finds_unanswered_gets_503_and_what_has_begun_is_cut),
        TEST(each_class_has_a_deadline_of_its_own),
        TEST(what_lasts_is_counted_by_its_class),
        TEST(what_lasts_ends_spread_over_the_time_before_its_deadline),
        TEST(a_websocket_ends_with_a_close_to_both_sides),
        SINGLE(a_frame_that_has_begun_is_passed_on_whole_before_the_close),
        TEST(a_close_may_stand_between_two_fragments_of_a_message),
        SINGLE(a_close_that_is_under_way_is_left_to_the_two),
        TEST(a_client_that_never_answers_is_left_after_a_while_but_not_reset),
        TEST(an_app_that_never_answers_is_cut),
        TEST(a_frame_that_never_ends_is_cut),
        TEST(what_cannot_be_followed_is_passed_as_it_is_and_cut),
        TEST(a_client_that_has_closed_its_side_is_told_all_the_same),
        TEST(a_client_that_vanishes_while_it_is_told_does_not_keep_the_app_from_an_end),
        TEST(reserved_bits_are_for_those_who_have_agreed_to_an_extension),
        TEST(one_that_both_have_not_called_so_is_no_websocket),
        TEST(a_rollback_does_not_stop_an_end_that_has_begun),
        TEST(a_later_world_does_not_put_off_an_end_that_has_begun),
        SINGLE(an_event_stream_ends_with_a_last_chunk_behind_a_whole_event),
        TEST(an_event_stream_that_rests_ends_at_once),
        SINGLE(an_event_stream_without_chunks_ends_with_the_connection),
        TEST(an_event_that_never_ends_is_cut),
        TEST(half_a_line_end_is_enough_when_nothing_else_comes),
        TEST(events_that_cannot_be_read_are_cut),
        cmocka_unit_test(a_stop_ends_websockets_and_streams_properly_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
