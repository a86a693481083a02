#include "io/conduit.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MUCH (8 * 1024 * 1024) /* more than any socket takes at once */

/* Two plain streams, and the far end of each. */
static struct loop *loop;
static struct stream source, sink;
static int giver, taker;
static struct conduits *conduits;

/* A user has as many pipes as one may have of more than 64 KiB. */
static bool pipes_are_small;
static unsigned refused;

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);

int __wrap_fcntl(int fd, int command, ...)
{
    va_list list;
    if (command == F_GETPIPE_SZ)
        return __real_fcntl(fd, command);
    va_start(list, command);
    int argument = va_arg(list, int);
    va_end(list);
    if (command != F_SETPIPE_SZ || !pipes_are_small)
        return __real_fcntl(fd, command, argument);
    refused++;
    errno = EPERM;
    return -1;
}

static void nothing(struct stream *stream)
{
    (void)stream;
}

static int open_end(struct stream *stream)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_return_code(fcntl(fds[0], F_SETFL, O_NONBLOCK), errno);
    assert_true(stream_open(stream, loop, fds[0], nothing));
    stream->readable = stream->writable = true;
    return fds[1];
}

static int set_up(void **state)
{
    (void)state;
    pipes_are_small = false;
    refused = 0;
    signal(SIGPIPE, SIG_IGN);
    loop = loop_new();
    giver = open_end(&source);
    taker = open_end(&sink);
    conduits = conduits_new(2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    conduits_free(conduits);
    stream_close(&source, false);
    stream_close(&sink, false);
    close(giver);
    if (taker >= 0)
        close(taker);
    loop_free(loop);
    return 0;
}

static void expect_taken(const char *text)
{
    char got[64];
    assert_int_equal(read(taker, got, sizeof got), strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void what_is_filled_in_comes_out_unchanged_and_no_more_than_was_asked_for(void **state)
{
    (void)state;
    struct conduit *conduit = conduits_take(conduits);
    assert_int_equal(write(giver, "first, second", 13), 13);
    assert_int_equal(conduit_fill(conduit, &source, 6), 6);
    assert_int_equal(conduit_holds(conduit), 6);
    assert_int_equal(conduit_drain(conduit, &sink), 6);
    assert_int_equal(conduit_holds(conduit), 0);
    expect_taken("first,");
    assert_true(source.readable);
    assert_int_equal(conduit_fill(conduit, &source, 100), 7);
    assert_int_equal(conduit_drain(conduit, &sink), 7);
    expect_taken(" second");
    conduits_give(conduits, conduit);
}

static void a_source_that_has_nothing_is_told_from_one_that_has_ended(void **state)
{
    (void)state;
    struct conduit *conduit = conduits_take(conduits);
    assert_int_equal(conduit_fill(conduit, &source, 100), STREAM_AGAIN);
    assert_false(source.readable);
    shutdown(giver, SHUT_WR);
    assert_int_equal(conduit_fill(conduit, &source, 100), 0);
    conduits_give(conduits, conduit);
}

static void what_a_full_sink_does_not_take_stays_and_goes_later(void **state)
{
    (void)state;
    struct conduit *conduit = conduits_take(conduits);
    static char block[65536], got[65536];
    size_t given = 0, taken = 0;
    ssize_t n;
    assert_return_code(fcntl(giver, F_SETFL, O_NONBLOCK), errno);
    assert_return_code(fcntl(taker, F_SETFL, O_NONBLOCK), errno);
    while (given < MUCH && sink.writable) {
        while (write(giver, block, sizeof block) > 0)
            ;
        assert_true((n = conduit_fill(conduit, &source, CONDUIT_ROOM)) > 0);
        given += (size_t)n;
        while (conduit_holds(conduit) > 0 && sink.writable)
            conduit_drain(conduit, &sink);
    }
    assert_true(conduit_holds(conduit) > 0 && !sink.writable);
    while (taken < given) {
        while ((n = read(taker, got, sizeof got)) > 0)
            taken += (size_t)n;
        if (conduit_holds(conduit) > 0)
            assert_true(conduit_drain(conduit, &sink) > 0);
    }
    assert_int_equal(taken, given);
    conduits_give(conduits, conduit);
}

static void a_broken_sink_fails_without_a_signal_and_asks_for_a_recv(void **state)
{
    (void)state;
    struct conduit *conduit = conduits_take(conduits);
    assert_int_equal(write(giver, "x", 1), 1);
    assert_int_equal(conduit_fill(conduit, &source, 1), 1);
    close(taker);
    taker = -1;
    sink.readable = false;
    assert_int_equal(conduit_drain(conduit, &sink), STREAM_FAILED);
    assert_int_equal(sink.error, EPIPE);
    assert_true(sink.readable);
    conduits_give(conduits, conduit);
}

static void what_it_holds_can_be_read_out_of_it_and_then_it_is_empty(void **state)
{
    (void)state;
    char got[16] = "";
    struct conduit *conduit = conduits_take(conduits);
    assert_int_equal(write(giver, "first, second", 13), 13);
    assert_int_equal(conduit_fill(conduit, &source, 5), 5);
    conduit_read(conduit, got);
    assert_string_equal(got, "first");
    assert_int_equal(conduit_holds(conduit), 0);
    assert_int_equal(conduit_fill(conduit, &source, 100), 8);
    assert_int_equal(conduit_drain(conduit, &sink), 8);
    expect_taken(", second");
    conduits_give(conduits, conduit);
}

static void there_are_so_many_and_each_that_comes_back_is_lent_empty(void **state)
{
    (void)state;
    struct conduit *first = conduits_take(conduits), *second = conduits_take(conduits);
    assert_non_null(first);
    assert_non_null(second);
    assert_null(conduits_take(conduits));
    assert_int_equal(write(giver, "left over", 9), 9);
    assert_int_equal(conduit_fill(first, &source, 9), 9);
    conduits_give(conduits, first);
    first = conduits_take(conduits);
    assert_non_null(first);
    assert_int_equal(conduit_holds(first), 0);
    assert_int_equal(conduit_fill(first, &source, 9), STREAM_AGAIN);
    conduits_give(conduits, first);
    conduits_give(conduits, second);
}

static void a_look_tells_a_stream_with_more_from_one_without(void **state)
{
    (void)state;
    stream_look(&source);
    assert_false(source.readable);
    source.readable = true;
    assert_int_equal(write(giver, "x", 1), 1);
    stream_look(&source);
    assert_true(source.readable);
}

static void give(const char *bytes, size_t n)
{
    assert_int_equal(write(giver, bytes, n), n);
}

static void behind_the_last_bytes_it_tells_of_more_and_keeps_that_to_itself(void **state)
{
    (void)state;
    struct conduit *conduit = conduits_take(conduits);
    give("first", 5);
    assert_int_equal(conduit_fill_last(conduit, &source, 5), 5);
    assert_false(source.readable);
    assert_int_equal(conduit_drain(conduit, &sink), 5);
    conduits_give(conduits, conduit);
    assert_ptr_equal(conduits_take(conduits), conduit);
    give("second, third", 13);
    assert_int_equal(conduit_fill_last(conduit, &source, 6), 6);
    assert_true(source.readable);
    assert_int_equal(conduit_holds(conduit), 6);
    assert_int_equal(conduit_drain(conduit, &sink), 6);
    expect_taken("firstsecond");
    conduits_give(conduits, conduit);
    conduit = conduits_take(conduits); /* another: in that one is a byte of what nobody wants */
    give("x", 1);
    conduit_fill(conduit, &source, 100);
    assert_true(conduit_drain(conduit, &sink) > 0);
    expect_taken(" thirdx");
    conduits_give(conduits, conduit);
}

static void while_the_last_bytes_have_not_all_come_there_may_be_more(void **state)
{
    (void)state;
    struct conduit *conduit = conduits_take(conduits);
    give("first", 5);
    assert_int_equal(conduit_fill_last(conduit, &source, 6), 5);
    assert_true(source.readable);
    conduits_give(conduits, conduit);
    conduit = conduits_take(conduits);
    assert_int_equal(conduit_fill_last(conduit, &source, 1), STREAM_AGAIN);
    assert_false(source.readable);
    conduits_give(conduits, conduit);
}

static void stop(struct stream *stream)
{
    loop_stop(stream->loop);
}

static void a_source_that_has_ended_behind_its_last_bytes_may_be_asked_for_that(void **state)
{
    (void)state;
    struct conduit *conduit = conduits_take(conduits);
    give("first", 5);
    shutdown(giver, SHUT_WR);
    source.ready = stop;
    loop_run(loop);
    assert_true(source.hung_up);
    assert_int_equal(conduit_fill_last(conduit, &source, 5), 5);
    assert_true(source.readable);
    conduits_give(conduits, conduit);
}

static void expect_last(struct conduit *conduit, size_t size, bool more)
{
    static char got[200000];
    assert_int_equal(conduit_fill_last(conduit, &source, size), size);
    assert_int_equal(source.readable, more);
    assert_int_equal(conduit_drain(conduit, &sink), size);
    assert_int_equal(read(taker, got, sizeof got), size);
}

static void so_it_is_with_a_long_end(void **state)
{
    (void)state;
    static const char block[100001];
    struct conduit *conduit = conduits_take(conduits);
    give(block, 100000);
    expect_last(conduit, 100000, false);
    give(block, 100001);
    expect_last(conduit, 100000, true);
    conduits_give(conduits, conduit);
}

/* A pipe holds so many pieces, whatever their size. */
static void and_with_a_small_pipe_that_the_last_bytes_just_fill(void **state)
{
    (void)state;
    pipes_are_small = true;
    struct conduit *conduit = conduits_take(conduits);
    assert_int_equal(refused, 1);
    for (int i = 0; i < 17; i++)
        give("x", 1);
    expect_last(conduit, 16, true);
    conduits_give(conduits, conduit);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_filled_in_comes_out_unchanged_and_no_more_than_was_asked_for),
        TEST(a_source_that_has_nothing_is_told_from_one_that_has_ended),
        TEST(what_a_full_sink_does_not_take_stays_and_goes_later),
        TEST(a_broken_sink_fails_without_a_signal_and_asks_for_a_recv),
        TEST(what_it_holds_can_be_read_out_of_it_and_then_it_is_empty),
        TEST(there_are_so_many_and_each_that_comes_back_is_lent_empty),
        TEST(a_look_tells_a_stream_with_more_from_one_without),
        TEST(behind_the_last_bytes_it_tells_of_more_and_keeps_that_to_itself),
        TEST(while_the_last_bytes_have_not_all_come_there_may_be_more),
        TEST(a_source_that_has_ended_behind_its_last_bytes_may_be_asked_for_that),
        TEST(so_it_is_with_a_long_end),
        TEST(and_with_a_small_pipe_that_the_last_bytes_just_fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
