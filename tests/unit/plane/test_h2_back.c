#include "plane/h2_back.h"

#include "bench.h"
#include "h2_end.h"

#include "pass.h"
#include "unit.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define SILENCE 10000 /* ms, see h2_back.c */

/* ---- both ends ---- */

static void turn(void *arg)
{
    bench_turn(arg);
}

static struct connection *lend(struct bench *bench)
{
    struct lending lending = {.h2 = &bench->worker, .ready = bench_ready, .arg = bench};
    return upstream_lend(upstream_of(bench->upstreams, &bench->instance), &bench->instance, &lending);
}

/* The instance's end of the next connection, which allows so many streams. */
static struct h2_end *take(struct bench *bench, uint32_t streams)
{
    struct h2_end *end = h2_end_server(accept(bench->listening, NULL, NULL), streams);
    end->turn = turn;
    end->arg = bench;
    return end;
}

static void finish_connecting(struct bench *bench, struct connection *connection)
{
    int error = 0;
    while (connection->state == CONNECTION_CONNECTING &&
           (error = connection_check(connection)) == EINPROGRESS)
        bench_turn(bench);
    assert_int_equal(error, 0);
}

/* A lease on a new connection, and the instance's end of that, whose settings have come. */
static struct connection *begin(struct bench *bench, uint32_t streams, struct h2_end **end)
{
    struct connection *connection = lend(bench);
    assert_non_null(connection);
    assert_int_equal(connection->state, CONNECTION_CONNECTING);
    *end = take(bench, streams);
    finish_connecting(bench, connection);
    h2_end_send(*end, NGHTTP2_PING, 0, 0, "settings", 8);
    h2_end_read(*end, NGHTTP2_PING);
    return connection;
}

static void say(struct connection *connection, const char *text)
{
    struct iovec part = {(char *)text, strlen(text)};
    assert_int_equal(stream_send(&connection->stream, &part, 1), part.iov_len);
}

/* The request is sent, and its stream at the instance is returned. */
static int32_t ask(struct connection *connection, struct h2_end *end)
{
    say(connection, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    h2_end_read(end, NGHTTP2_HEADERS);
    h2_end_expect_field(end, ":path: /\n");
    h2_end_expect_field(end, ":authority: app.test\n");
    return end->stream;
}

static void answer(struct h2_end *end, int32_t stream)
{
    h2_end_say(end, stream, NGHTTP2_FLAG_END_STREAM, ":status: 204\n");
}

static void expect_head(struct bench *bench, struct connection *connection, const char *line)
{
    char text[256];
    while (!connection->stream.readable)
        bench_turn(bench);
    ssize_t count = stream_recv(&connection->stream, text, sizeof text);
    assert_true(count > 12);
    assert_memory_equal(text, line, 12);
}

static void expect_answer(struct bench *bench, struct connection *connection)
{
    expect_head(bench, connection, "HTTP/1.1 204");
}

static void exchange(struct bench *bench, struct connection *connection, struct h2_end *end)
{
    answer(end, ask(connection, end));
    expect_answer(bench, connection);
}

static void settle(struct bench *bench)
{
    for (int i = 0; i < 3; i++)
        bench_turn(bench);
}

static void expect_broken(struct bench *bench, struct connection *connection)
{
    char byte;
    while (!connection->stream.readable)
        bench_turn(bench);
    assert_int_equal(stream_recv(&connection->stream, &byte, 1), STREAM_FAILED);
}

static void goodbye(struct bench *bench, struct h2_end *end)
{
    h2_end_free(end);
    while (bench_cells(bench)->connections > 0)
        bench_turn(bench);
}

/* ---- tests ---- */

static void a_lease_is_a_stream_and_the_connection_stays_for_the_next(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end;
    struct connection *first = begin(bench, 100, &end);
    assert_false(first->kept);
    exchange(bench, first, end);
    connection_release(first, KEEP, false);
    assert_int_equal(bench_cells(bench)->in_flight, 0);
    assert_int_equal(bench_cells(bench)->connections, 1);
    struct connection *second = lend(bench);
    assert_int_equal(second->state, CONNECTION_LENT);
    assert_true(second->kept);
    assert_int_equal(ask(second, end), 3);
    answer(end, 3);
    expect_answer(bench, second);
    connection_release(second, KEEP, false);
    goodbye(bench, end);
}

static void as_many_share_a_connection_as_the_instance_allows(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end, *other;
    struct connection *first = begin(bench, 2, &end), *second = lend(bench);
    assert_int_equal(second->state, CONNECTION_LENT);
    assert_int_equal(ask(first, end), 1);
    assert_int_equal(ask(second, end), 3);
    assert_int_equal(bench_cells(bench)->connections, 1);
    struct connection *third = begin(bench, 2, &other);
    assert_int_equal(bench_cells(bench)->connections, 2);
    assert_int_equal(ask(third, other), 1);
    answer(end, 3);
    expect_answer(bench, second);
    connection_release(second, KEEP, false);
    settle(bench);
    struct connection *fourth = lend(bench); /* the first connection has room again, or the second */
    assert_int_equal(fourth->state, CONNECTION_LENT);
    connection_release(fourth, KEEP, false);
    connection_release(first, KEEP, false);
    connection_release(third, KEEP, false);
    h2_end_free(other);
    goodbye(bench, end);
}

static void what_a_goaway_leaves_out_was_refused_and_what_it_names_is_finished(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end, *other;
    struct connection *first = begin(bench, 100, &end), *second = lend(bench);
    assert_int_equal(ask(first, end), 1);
    assert_int_equal(ask(second, end), 3);
    h2_end_goaway(end, 1);
    expect_broken(bench, second);
    assert_true(connection_was_refused(second));
    connection_release(second, 0, true);
    struct connection *third = begin(bench, 100, &other);
    answer(end, 1);
    expect_answer(bench, first);
    assert_false(connection_was_refused(first));
    connection_release(first, KEEP, false);
    h2_end_expect_close(end);
    h2_end_free(end);
    connection_release(third, 0, true);
    goodbye(bench, other);
}

static void refuse(struct bench *bench, struct connection *connection, struct h2_end *end)
{
    static const char refused[] = {0, 0, 0, NGHTTP2_REFUSED_STREAM};
    h2_end_send(end, NGHTTP2_RST_STREAM, 0, ask(connection, end), refused, sizeof refused);
    expect_broken(bench, connection);
    assert_true(connection_was_refused(connection));
}

static void a_connection_speaks_for_its_instance_until_it_has_brought_an_answer(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end;
    struct connection *first = begin(bench, 100, &end), *second = lend(bench);
    int32_t stream = ask(first, end);
    refuse(bench, second, end);
    assert_true(connection_refuses_all(second));
    answer(end, stream);
    expect_answer(bench, first);
    struct connection *third = lend(bench);
    refuse(bench, third, end);
    assert_false(connection_refuses_all(third));
    connection_release(first, KEEP, false);
    connection_release(second, KEEP, false);
    connection_release(third, KEEP, false);
    goodbye(bench, end);
}

static void a_silent_instance_is_asked_for_a_sign_of_life_and_then_given_up(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end;
    struct connection *connection = begin(bench, 100, &end);
    ask(connection, end);
    pass(bench->loop, SILENCE - 1000);
    assert_int_equal(bench_cells(bench)->connections, 1);
    pass(bench->loop, 2000);
    h2_end_read(end, NGHTTP2_PING);
    pass(bench->loop, SILENCE - 2000);
    assert_int_equal(bench_cells(bench)->connections, 1);
    pass(bench->loop, 3000);
    assert_int_equal(bench_cells(bench)->connections, 0);
    expect_broken(bench, connection);
    assert_false(connection_was_refused(connection));
    connection_release(connection, 0, true);
    h2_end_expect_close(end);
    h2_end_free(end);
}

static void answer_ping(struct bench *bench, struct h2_end *end)
{
    h2_end_read(end, NGHTTP2_PING);
    h2_end_send(end, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, end->payload, 8);
    settle(bench);
}

/* So much time passes, and the instance is asked nothing. */
static void expect_rest(struct bench *bench, const struct h2_end *end, uint64_t ms)
{
    char byte;
    for (uint64_t passed = 0; passed < ms; passed += SILENCE)
        pass(bench->loop, SILENCE);
    settle(bench);
    assert_int_equal(recv(end->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    assert_int_equal(bench_cells(bench)->connections, 1);
}

/* A server of gRPC ends the connection of who asks more often (too_many_pings). */
static void who_has_answered_a_ping_is_not_asked_again_within_five_minutes(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end;
    struct connection *connection = begin(bench, 100, &end);
    int32_t stream = ask(connection, end);
    for (int i = 0; i < 3; i++) {
        pass(bench->loop, i == 0 ? SILENCE + 100 : 40000);
        answer_ping(bench, end);
        h2_end_send(end, NGHTTP2_PING, 0, 0, "windows?", 8); /* is nothing said */
        h2_end_send(end, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
        h2_end_read(end, NGHTTP2_PING);
        expect_rest(bench, end, 300000);
    }
    answer(end, stream);
    expect_answer(bench, connection);
    connection_release(connection, KEEP, false);
    goodbye(bench, end);
}

static void who_has_said_something_since_is_asked_after_its_next_silence(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end;
    struct connection *first = begin(bench, 100, &end), *second = lend(bench);
    int32_t stream = ask(first, end), other = ask(second, end);
    pass(bench->loop, SILENCE + 100);
    answer_ping(bench, end);
    h2_end_say(end, stream, 0, ":status: 200\n");
    expect_head(bench, first, "HTTP/1.1 200");
    pass(bench->loop, SILENCE + 100);
    answer_ping(bench, end);
    h2_end_send(end, NGHTTP2_DATA, 0, stream, "ok", 2);
    settle(bench);
    pass(bench->loop, SILENCE + 100);
    h2_end_read(end, NGHTTP2_PING);
    h2_end_send(end, NGHTTP2_DATA, 0, stream, "ok", 2); /* it may be older than the ping */
    h2_end_send(end, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, end->payload, 8);
    settle(bench);
    expect_rest(bench, end, 300000);
    answer(end, other);
    expect_answer(bench, second);
    connection_release(first, 0, true);
    connection_release(second, KEEP, false);
    goodbye(bench, end);
}

/* Our end of the connection: the test's process has both. */
static int our_end(const struct h2_end *end)
{
    struct sockaddr_in theirs, peer;
    assert_int_equal(getsockname(end->fd, (struct sockaddr *)&theirs, &(socklen_t){sizeof theirs}), 0);
    for (int fd = 0; fd < 1024; fd++) {
        socklen_t size = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_port == theirs.sin_port)
            return fd;
    }
    fail();
    return -1;
}

static int option_of(int fd, int level, int name)
{
    int value = -1;
    assert_int_equal(getsockopt(fd, level, name, &value, &(socklen_t){sizeof value}), 0);
    return value;
}

static void who_is_not_asked_again_is_watched_by_the_kernel(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end;
    struct connection *connection = begin(bench, 100, &end);
    int ours = our_end(end);
    ask(connection, end);
    pass(bench->loop, SILENCE + 100);
    answer_ping(bench, end);
    assert_int_equal(option_of(ours, SOL_SOCKET, SO_KEEPALIVE), 1);
    int idle_s = option_of(ours, IPPROTO_TCP, TCP_KEEPIDLE);
    int interval_s = option_of(ours, IPPROTO_TCP, TCP_KEEPINTVL);
    int until_ms = option_of(ours, IPPROTO_TCP, TCP_USER_TIMEOUT);
    assert_int_equal(until_ms, 2 * SILENCE);
    assert_true(interval_s > 0 && 1000 * (idle_s + 3 * interval_s) < until_ms); /* three may be lost */
    connection_release(connection, 0, true);
    goodbye(bench, end);
}

#ifndef __SANITIZE_ADDRESS__ /* which ends a process that has no memory */
static void what_there_is_no_memory_for_blames_nobody(void **state)
{
    static const char data[16384];
    struct bench *bench = *state;
    struct h2_end *end;
    struct connection *connection = begin(bench, 100, &end);
    int32_t stream = ask(connection, end);
    struct rlimit before, none = {0, RLIM_INFINITY};
    h2_end_say(end, stream, 0, ":status: 200\n");
    expect_head(bench, connection, "HTTP/1.1 200");
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    none.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    void *taken[100];
    size_t count = 0;
    while (count < 100 && (taken[count] = malloc(20000)) != NULL)
        count++;
    for (int i = 0; i < 3; i++) {
        h2_end_send(end, NGHTTP2_DATA, 0, stream, data, sizeof data);
        bench_turn(bench);
    }
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    while (count > 0)
        free(taken[--count]);
    h2_end_read(end, NGHTTP2_RST_STREAM);
    assert_int_equal(h2_end_number(end, 0), NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(h2_back_fault(connection), H2_OURS);
    connection_release(connection, 0, true);
    goodbye(bench, end);
}
#endif

/* All that was announced has come, and the exchange has ended. */
static void answer_without_end(struct bench *bench, struct connection *connection, struct h2_end *end,
                               int32_t stream)
{
    char text[256];
    h2_end_say(end, stream, 0, ":status: 200\ncontent-length: 2\n");
    h2_end_send(end, NGHTTP2_DATA, 0, stream, "ok", 2);
    settle(bench);
    while (stream_recv(&connection->stream, text, sizeof text) > 0)
        continue;
    connection_release(connection, KEEP, false);
    settle(bench);
}

static void an_instance_that_ends_a_whole_answer_a_moment_later_is_not_told_of_a_reset(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end;
    struct connection *connection = begin(bench, 100, &end);
    answer_without_end(bench, connection, end, ask(connection, end));
    h2_end_send(end, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "", 0);
    settle(bench);
    connection = lend(bench);
    assert_int_equal(ask(connection, end), 3); /* nothing came before */
    answer_without_end(bench, connection, end, 3);
    pass(bench->loop, 2000);
    h2_end_read(end, NGHTTP2_RST_STREAM);
    assert_int_equal(end->stream, 3);
    assert_int_equal(h2_end_number(end, 0), NGHTTP2_CANCEL);
    connection = lend(bench);
    answer_without_end(bench, connection, end, ask(connection, end));
    h2_end_send(end, NGHTTP2_DATA, 0, 5, "more", 4); /* than it has announced */
    settle(bench);
    h2_end_read(end, NGHTTP2_RST_STREAM);
    assert_int_equal(end->stream, 5);
    assert_int_equal(h2_end_number(end, 0), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(bench_cells(bench)->connections, 1);
    goodbye(bench, end);
}

static void an_idle_connection_is_kept_for_its_time(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end;
    struct connection *connection = begin(bench, 100, &end);
    exchange(bench, connection, end);
    connection_release(connection, KEEP, false);
    settle(bench);
    pass(bench->loop, KEEP - 1000);
    assert_int_equal(bench_cells(bench)->connections, 1);
    pass(bench->loop, 2000);
    assert_int_equal(bench_cells(bench)->connections, 0);
    h2_end_expect_close(end);
    h2_end_free(end);
}

static void an_idle_connection_that_is_lent_again_in_its_last_moment_stays(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end;
    struct connection *connection = begin(bench, 100, &end);
    exchange(bench, connection, end);
    connection_release(connection, KEEP, false);
    settle(bench);
    struct deadline nudge;
    set_nudge(bench->loop, &nudge);
    passed_ns += (KEEP + 1000) * UINT64_C(1000000);
    connection = lend(bench);
    loop_run(bench->loop);
    exchange(bench, connection, end);
    connection_release(connection, 0, false);
    goodbye(bench, end);
}

/* `count` connections with one lease each. */
static void begin_some(struct bench *bench, int count, struct connection **connections, struct h2_end **ends)
{
    for (int i = 0; i < count; i++)
        connections[i] = begin(bench, 1, &ends[i]);
    for (int i = 0; i < count; i++)
        ask(connections[i], ends[i]);
    for (int i = 0; i < count; i++) {
        answer(ends[i], 1);
        expect_answer(bench, connections[i]);
    }
}

static void idle_ones_count_in_the_workers_share_and_the_one_kept_for_longest_goes(void **state)
{
    struct bench *bench = *state;
    struct connection *connections[IDLE_MOST + 2];
    struct h2_end *ends[IDLE_MOST + 2];
    begin_some(bench, IDLE_MOST + 2, connections, ends);
    for (int i = 0; i < IDLE_MOST; i++) {
        connection_release(connections[i], KEEP, false);
        settle(bench);
    }
    assert_int_equal(bench_cells(bench)->connections, IDLE_MOST + 2);
    connection_release(connections[IDLE_MOST], KEEP, false);
    settle(bench);
    assert_int_equal(bench_cells(bench)->connections, IDLE_MOST + 1);
    h2_end_expect_close(ends[0]);
    connection_release(connections[IDLE_MOST + 1], KEEP, false);
    settle(bench);
    assert_int_equal(bench_cells(bench)->connections, IDLE_MOST);
    h2_end_expect_close(ends[1]);
    for (int i = 0; i < IDLE_MOST + 2; i++)
        h2_end_free(ends[i]);
    while (bench_cells(bench)->connections > 0)
        bench_turn(bench);
}

static void an_idle_one_makes_room_when_descriptors_are_used_up(void **state)
{
    struct bench *bench = *state;
    struct connection *connections[1];
    struct h2_end *end;
    begin_some(bench, 1, connections, &end);
    connection_release(connections[0], KEEP, false);
    settle(bench);
    int next = dup(end->fd);
    close(next);
    rlim_t before = bench_descriptors((rlim_t)next);
    struct lending plain = {.fresh = true, .ready = bench_ready, .arg = bench};
    struct upstream *upstream = upstream_of(bench->upstreams, &bench->instance);
    struct connection *first = upstream_lend(upstream, &bench->instance, &plain);
    struct connection *second = upstream_lend(upstream, &bench->instance, &plain);
    int error = errno;
    bench_descriptors(before);
    assert_non_null(first);
    assert_null(second);
    assert_int_equal(error, EMFILE);
    h2_end_expect_close(end);
    connection_release(first, 0, false);
    h2_end_free(end);
}

static void one_in_use_is_never_closed_for_another(void **state)
{
    struct bench *bench = *state;
    struct connection *connections[1];
    struct h2_end *end;
    begin_some(bench, 1, connections, &end);
    connection_release(connections[0], KEEP, false);
    settle(bench);
    struct connection *again = lend(bench); /* and the loop has not turned since */
    int next = dup(end->fd);
    close(next);
    rlim_t before = bench_descriptors((rlim_t)next);
    struct lending plain = {.fresh = true, .ready = bench_ready, .arg = bench};
    struct connection *other =
        upstream_lend(upstream_of(bench->upstreams, &bench->instance), &bench->instance, &plain);
    bench_descriptors(before);
    assert_null(other);
    exchange(bench, again, end);
    connection_release(again, 0, false);
    goodbye(bench, end);
}

static void what_stops_closes_when_its_last_stream_has(void **state)
{
    struct bench *bench = *state;
    struct h2_end *end;
    struct connection *connection = begin(bench, 100, &end);
    int32_t stream = ask(connection, end);
    upstreams_stop(bench->upstreams);
    settle(bench);
    answer(end, stream);
    expect_answer(bench, connection);
    connection_release(connection, KEEP, false);
    settle(bench);
    pass(bench->loop, 100);
    assert_int_equal(bench_cells(bench)->connections, 0);
    h2_end_expect_close(end);
    h2_end_free(end);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_lease_is_a_stream_and_the_connection_stays_for_the_next),
        TEST(as_many_share_a_connection_as_the_instance_allows),
        TEST(what_a_goaway_leaves_out_was_refused_and_what_it_names_is_finished),
        TEST(a_connection_speaks_for_its_instance_until_it_has_brought_an_answer),
        TEST(a_silent_instance_is_asked_for_a_sign_of_life_and_then_given_up),
        TEST(an_instance_that_ends_a_whole_answer_a_moment_later_is_not_told_of_a_reset),
        TEST(who_has_answered_a_ping_is_not_asked_again_within_five_minutes),
        TEST(who_has_said_something_since_is_asked_after_its_next_silence),
        TEST(who_is_not_asked_again_is_watched_by_the_kernel),
#ifndef __SANITIZE_ADDRESS__
        TEST(what_there_is_no_memory_for_blames_nobody),
#endif
        TEST(an_idle_connection_is_kept_for_its_time),
        TEST(an_idle_connection_that_is_lent_again_in_its_last_moment_stays),
        TEST(idle_ones_count_in_the_workers_share_and_the_one_kept_for_longest_goes),
        TEST(an_idle_one_makes_room_when_descriptors_are_used_up),
        TEST(one_in_use_is_never_closed_for_another),
        TEST(what_stops_closes_when_its_last_stream_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
