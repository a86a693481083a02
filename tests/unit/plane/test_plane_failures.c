#include "rig.h"

#include "unit.h"

#include "base/clock.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nhi"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define SOON 100 /* ms: a timeout that is meant to pass */

static int start(void **state)
{
    *state = rig_start(1);
    return 0;
}

static int stop(void **state)
{
    return rig_stop(*state);
}

static void instances(struct rig *rig, uint32_t count)
{
    rig_world(rig)->instances = count;
    rig_publish(rig);
}

static struct counters_pool sum_of(struct rig *rig)
{
    struct counters_pool sum;
    counters_pool_sum(rig_counters(rig), 1, &sum);
    return sum;
}

/* The client gets this status and word, complete, and nothing else. */
static void expect_refusal(int client, unsigned status, const char *word)
{
    const char *head = rig_head(client);
    assert_int_equal(atoi(head + strlen("HTTP/1.1 ")), status);
    assert_string_equal(rig_field(head, "X-Upswap"), word);
    rig_bytes(client, (size_t)atoi(rig_field(head, "Content-Length")));
}

static void expect_ok(int client)
{
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    assert_string_equal(rig_bytes(client, 2), "ok");
}

/* Serves one GET over a kept pair of connections. Returns the instance's. */
static int serve_once(struct rig *rig, int client)
{
    rig_say(client, GET);
    int instance = rig_accept(rig, 0);
    rig_head(instance);
    rig_say(instance, OK);
    expect_ok(client);
    return instance;
}

static int accept_wherever(struct rig *rig)
{
    rig_until(rig_is_called(rig, 0) || rig_is_called(rig, 1));
    return rig_accept(rig, rig_is_called(rig, 0) ? 0 : 1);
}

/* A kept connection is lost, and then the one that has taken its place; the other instance is full. */
static void a_request_that_leaves_a_dying_instance_waits_for_room_at_another(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->rules.concurrency_per_instance = 1;
    rig_world(rig)->rules.queue_most = 1;
    rig_world(rig)->rules.queue_timeout_ms = RIG_SECONDS * 1000;
    instances(rig, 2);
    int client = rig_client(rig), other = rig_client(rig);
    int dying = rig_ask(rig, client, GET), full = rig_ask(rig, other, GET);
    rig_say(dying, OK);
    expect_ok(client);
    rig_say(client, GET);
    rig_head(dying);
    close(dying);
    dying = accept_wherever(rig);
    rig_head(dying);
    close(dying);
    rig_until(counters_pool_choosing(rig_counters(rig), 1) == 1);
    rig_say(full, OK);
    expect_ok(other);
    rig_head(full);
    rig_say(full, OK);
    expect_ok(client);
    close(client);
    close(other);
    close(full);
}

static void each_instance_that_closes_without_a_word_is_blamed(void **state)
{
    struct rig *rig = *state;
    instances(rig, 1);
    int client = rig_client(rig), instance = serve_once(rig, client);
    instances(rig, 2);
    rig_say(client, GET);
    rig_head(instance);
    close(instance);
    for (unsigned i = 0; i < 2; i++) { /* asked anew, and then the other one */
        instance = rig_accept(rig, i);
        rig_head(instance);
        close(instance);
    }
    expect_refusal(client, 502, "closed-early");
    rig_until(sum_of(rig).errors[COUNTERS_CLOSED_EARLY] == 2);
    close(client);
}

static void lose(struct rig *rig, int client)
{
    close(rig_ask(rig, client, GET));
}

/* That the instance may be going is awaited for a moment; the last one's worker ends meanwhile. */
static void who_has_lost_its_connection_may_leave_before_that_is_understood(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig), other = rig_client(rig), last = rig_client(rig);
    lose(rig, client);
    rig_reset(client);
    lose(rig, other);
    expect_refusal(other, 502, "closed-early");
    rig_until(sum_of(rig).requests == 2);
    close(other);
    lose(rig, last);
    close(last);
}

static void a_refused_connection_goes_to_another_instance_with_the_body(void **state)
{
    struct rig *rig = *state;
    rig_refuse(rig, 0);
    int client = rig_client(rig);
    rig_say(client, POST);
    int instance = rig_accept(rig, 1);
    rig_head(instance);
    assert_string_equal(rig_bytes(instance, 2), "hi");
    rig_say(instance, OK);
    expect_ok(client);
    struct counters_pool sum = sum_of(rig);
    assert_int_equal(sum.retries, 1);
    assert_int_equal(sum.errors[COUNTERS_CONNECT_REFUSED], 1);
    close(client);
    close(instance);
}

static void where_every_instance_refuses_each_is_asked_once_and_the_client_gets_502(void **state)
{
    struct rig *rig = *state;
    for (unsigned i = 0; i < RIG_INSTANCES; i++)
        rig_refuse(rig, i);
    int client = rig_client(rig);
    rig_say(client, GET GET);
    expect_refusal(client, 502, "connect-refused");
    expect_refusal(client, 502, "connect-refused");
    rig_until(sum_of(rig).requests == 2);
    assert_int_equal(sum_of(rig).errors[COUNTERS_CONNECT_REFUSED], 2 * RIG_INSTANCES);
    assert_int_equal(sum_of(rig).retries, 2 * (RIG_INSTANCES - 1));
    close(client);
}

static void an_idempotent_request_survives_a_kept_connection_that_closes(void **state)
{
    struct rig *rig = *state;
    instances(rig, 1);
    int client = rig_client(rig), instance = serve_once(rig, client);
    rig_say(client, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    rig_head(instance);
    assert_string_equal(rig_bytes(instance, 2), "hi");
    close(instance);
    instance = rig_accept(rig, 0);
    rig_head(instance);
    assert_string_equal(rig_bytes(instance, 2), "hi");
    rig_say(instance, OK);
    expect_ok(client);
    assert_int_equal(sum_of(rig).retries, 1);
    close(client);
    close(instance);
}

static void a_post_is_not_sent_twice(void **state)
{
    struct rig *rig = *state;
    instances(rig, 1);
    int client = rig_client(rig), instance = serve_once(rig, client);
    rig_say(client, POST);
    rig_head(instance);
    rig_bytes(instance, 2);
    close(instance);
    expect_refusal(client, 502, "closed-early");
    assert_false(rig_is_called(rig, 0));
    close(client);
}

static void a_post_does_not_meet_a_connection_that_closed_while_idle(void **state)
{
    struct rig *rig = *state;
    instances(rig, 1);
    int client = rig_client(rig), instance = serve_once(rig, client);
    close(instance);
    rig_say(client, POST);
    instance = rig_accept(rig, 0);
    rig_head(instance);
    rig_bytes(instance, 2);
    rig_say(instance, OK);
    expect_ok(client);
    close(client);
    close(instance);
}

static void a_fresh_connection_that_closes_without_a_word_is_not_tried_again(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig);
    rig_say(client, GET);
    int instance = rig_accept(rig, 0);
    rig_head(instance);
    close(instance);
    expect_refusal(client, 502, "closed-early");
    rig_until(sum_of(rig).errors[COUNTERS_CLOSED_EARLY] == 1);
    for (unsigned i = 0; i < RIG_INSTANCES; i++)
        assert_false(rig_is_called(rig, i));
    close(client);
}

static void an_instance_that_speaks_out_of_turn_is_not_believed(void **state)
{
    struct rig *rig = *state;
    instances(rig, 1);
    int client = rig_client(rig);
    rig_say(client, GET);
    int instance = rig_accept(rig, 0);
    rig_head(instance);
    rig_say(instance, OK "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    expect_ok(client);
    assert_string_equal(rig_rest(instance, NULL), "");
    close(instance);
    instance = serve_once(rig, client);
    close(client);
    close(instance);
}

static void no_live_pool_and_no_instance_are_503(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig);
    for (unsigned i = 0; i < RIG_INSTANCES; i++)
        rig_world(rig)->drained[i] = true;
    rig_publish(rig);
    rig_say(client, GET);
    expect_refusal(client, 503, "no-instance");
    rig_world(rig)->pool = SNAPSHOT_NONE;
    rig_publish(rig);
    rig_say(client, GET);
    expect_refusal(client, 503, "no-live-pool");
    close(client);
}

static void an_instance_that_does_not_answer_is_a_504(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->rules.first_byte_ms = SOON;
    rig_publish(rig);
    int client = rig_client(rig);
    rig_say(client, GET);
    int instance = rig_accept(rig, 0);
    expect_refusal(client, 504, "first-byte-timeout");
    rig_until(sum_of(rig).errors[COUNTERS_FIRST_BYTE_TIMEOUT] == 1);
    close(client);
    close(instance);
}

static void a_client_that_stops_in_its_body_gets_408_and_the_instance_no_end(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->rules.stall_ms = SOON;
    rig_publish(rig);
    int client = rig_client(rig);
    rig_say(client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
    int instance = rig_accept(rig, 0);
    expect_refusal(client, 408, "body-timeout");
    rig_head(instance);
    assert_string_equal(rig_rest(instance, NULL), "2\r\nhi\r\n");
    close(client);
    close(instance);
}

static void an_instance_that_stops_in_its_answer_is_cut(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->rules.stall_ms = SOON;
    rig_publish(rig);
    int client = rig_client(rig);
    rig_say(client, GET);
    int instance = rig_accept(rig, 0);
    rig_say(instance, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    rig_head(client);
    assert_string_equal(rig_rest(client, NULL), "half");
    rig_until(sum_of(rig).errors[COUNTERS_STALL] == 1);
    close(client);
    close(instance);
}

static void an_instance_that_resets_behind_half_an_answer_is_noticed_at_once(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 20; i++) {
        int client = rig_client(rig);
        rig_say(client, GET);
        int instance = rig_accept(rig, (unsigned)i % RIG_INSTANCES);
        rig_head(instance);
        rig_say(instance, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
        rig_reset(instance);
        rig_rest(client, NULL);
        close(client);
    }
}

static void a_head_has_its_time_from_the_first_byte_and_silence_is_closed_without_a_word(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->settings.head_ms = SOON;
    rig_publish(rig);
    int client = rig_client(rig);
    assert_string_equal(rig_rest(client, NULL), "");
    close(client);
    client = rig_client(rig);
    rig_say(client, "GET / HT");
    expect_refusal(client, 408, "head-timeout");
    close(client);
}

static void a_client_between_requests_is_closed_after_its_time(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->settings.idle_ms = SOON;
    rig_publish(rig);
    int client = rig_client(rig), instance = serve_once(rig, client);
    assert_string_equal(rig_rest(client, NULL), "");
    close(client);
    close(instance);
}

static void a_body_that_its_client_ends_early_is_refused(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig);
    rig_say(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
    int instance = rig_accept(rig, 0);
    shutdown(client, SHUT_WR);
    expect_refusal(client, 400, "incomplete-body");
    close(client);
    close(instance);
}

static void an_idle_connection_to_an_instance_is_closed_after_its_time(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->rules.upstream_idle_ms = SOON;
    rig_publish(rig);
    int client = rig_client(rig), instance = serve_once(rig, client);
    assert_string_equal(rig_rest(instance, NULL), "");
    rig_until(counters_instance(rig_counters(rig), 0, 1)->connections == 0);
    close(client);
    close(instance);
}

static void clients_of_one_address_over_the_limit_are_closed(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->settings.connections_per_address = 1;
    rig_publish(rig);
    int client = rig_client(rig), instance = serve_once(rig, client);
    int other = rig_client(rig);
    assert_string_equal(rig_rest(other, NULL), "");
    close(other);
    close(client);
    rig_until(counters_worker(rig_counters(rig), 0)->connections[1] == 0);
    client = rig_client(rig);
    rig_say(client, GET);
    int next = rig_accept(rig, 1);
    rig_head(next);
    rig_say(next, OK);
    expect_ok(client);
    close(client);
    close(instance);
    close(next);
}

static void a_full_house_lets_others_wait_outside(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->settings.connections_max = 1;
    instances(rig, 1);
    int client = rig_client(rig), instance = serve_once(rig, client);
    int other = rig_client(rig);
    rig_say(other, GET);
    rig_say(client, GET);
    rig_head(instance);
    rig_say(instance, OK);
    expect_ok(client);
    assert_int_equal(counters_worker(rig_counters(rig), 0)->accepted[1], 1);
    close(client);
    rig_head(instance);
    rig_say(instance, OK);
    expect_ok(other);
    close(other);
    close(instance);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_request_that_leaves_a_dying_instance_waits_for_room_at_another),
        TEST(a_refused_connection_goes_to_another_instance_with_the_body),
        TEST(where_every_instance_refuses_each_is_asked_once_and_the_client_gets_502),
        TEST(each_instance_that_closes_without_a_word_is_blamed),
        TEST(who_has_lost_its_connection_may_leave_before_that_is_understood),
        TEST(an_idempotent_request_survives_a_kept_connection_that_closes),
        TEST(a_post_is_not_sent_twice),
        TEST(a_post_does_not_meet_a_connection_that_closed_while_idle),
        TEST(a_fresh_connection_that_closes_without_a_word_is_not_tried_again),
        TEST(an_instance_that_speaks_out_of_turn_is_not_believed),
        TEST(no_live_pool_and_no_instance_are_503),
        TEST(an_instance_that_does_not_answer_is_a_504),
        TEST(a_client_that_stops_in_its_body_gets_408_and_the_instance_no_end),
        TEST(an_instance_that_stops_in_its_answer_is_cut),
        TEST(an_instance_that_resets_behind_half_an_answer_is_noticed_at_once),
        TEST(a_head_has_its_time_from_the_first_byte_and_silence_is_closed_without_a_word),
        TEST(a_client_between_requests_is_closed_after_its_time),
        TEST(a_body_that_its_client_ends_early_is_refused),
        TEST(an_idle_connection_to_an_instance_is_closed_after_its_time),
        TEST(clients_of_one_address_over_the_limit_are_closed),
        TEST(a_full_house_lets_others_wait_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
