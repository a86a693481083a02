#include "io/stream.h"

#include "base/mem.h"
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned registrations; /* and what takes them back */
static bool refuses;           /* the kernel has no memory for one */

/* Stands in front of the C library's. */
int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    registrations++;
    if (refuses) {
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, what, fd, event);
}

static struct loop *loop;
static struct stream stream;
static int peer; /* blocking */
static unsigned calls;

static void stop_when_ready(struct stream *ready)
{
    assert_ptr_equal(ready, &stream);
    calls++;
    loop_stop(loop);
}

static void stop_loop(struct deadline *deadline)
{
    (void)deadline;
    loop_stop(loop);
}

/* A connected TCP pair over loopback; [0] is non-blocking. */
static void tcp_pair(int fds[2])
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_return_code(bind(listening, (struct sockaddr *)&name, sizeof name), errno);
    assert_return_code(listen(listening, 1), errno);
    assert_return_code(getsockname(listening, (struct sockaddr *)&name, &length), errno);
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_return_code(connect(fds[1], (struct sockaddr *)&name, sizeof name), errno);
    fds[0] = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
    assert_return_code(fds[0], errno);
    close(listening);
}

/* Returns the stream's side of its connection. */
static int begin(void)
{
    int fds[2];
    loop = loop_new();
    calls = registrations = 0;
    tcp_pair(fds);
    peer = fds[1];
    return fds[0];
}

static int set_up(void **state)
{
    (void)state;
    int fd = begin();
    assert_true(stream_open(&stream, loop, fd, stop_when_ready));
    return 0;
}

static int set_up_fresh(void **state)
{
    (void)state;
    int fd = begin();
    stream_accept(&stream, loop, fd, stop_when_ready);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stream_close(&stream, false);
    if (peer >= 0)
        close(peer);
    loop_free(loop);
    return 0;
}

static void wait_until_readable(void)
{
    while (!stream.readable)
        loop_run(loop);
}

static void wait_until_writable(void)
{
    while (!stream.writable)
        loop_run(loop);
}

static void reset_by_peer(void)
{
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(peer);
    peer = -1;
}

static void a_new_stream_is_writable_and_readable_once_data_came(void **state)
{
    (void)state;
    char bytes[8];
    loop_run(loop);
    assert_true(stream.writable);
    assert_false(stream.readable);
    assert_int_equal(write(peer, "abc", 3), 3);
    wait_until_readable();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 3);
    assert_false(stream.readable);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_AGAIN);
    assert_int_equal(write(peer, "12345678", 8), 8);
    wait_until_readable();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 8);
    assert_true(stream.readable); /* all the room was used: there may be more */
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_AGAIN);
    assert_false(stream.readable);
}

static void an_end_behind_data_is_found_though_both_came_in_one_edge(void **state)
{
    (void)state;
    char bytes[64];
    loop_run(loop);
    assert_int_equal(write(peer, "last words", 10), 10);
    shutdown(peer, SHUT_WR);
    /* The data may come an edge before the end; what counts is that no end is waited for in vain. */
    ssize_t n;
    size_t got = 0;
    do {
        wait_until_readable();
        n = stream_recv(&stream, bytes + got, sizeof bytes - got);
        if (n > 0)
            got += (size_t)n;
    } while (n > 0);
    assert_int_equal(n, 0);
    assert_int_equal(got, 10);
    assert_true(stream.hung_up);
    assert_false(stream.readable);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 0);
    /* It is a half-close: the other direction goes on. */
    struct iovec part = {(char[]){"answer"}, 6};
    wait_until_writable();
    assert_int_equal(stream_send(&stream, &part, 1), 6);
    stream_shut(&stream);
    assert_int_equal(read(peer, bytes, sizeof bytes), 6);
    assert_int_equal(read(peer, bytes, sizeof bytes), 0);
}

static void a_reset_behind_data_is_found_by_a_second_recv(void **state)
{
    (void)state;
    char bytes[64];
    loop_run(loop);
    assert_int_equal(write(peer, "half a mess", 11), 11);
    reset_by_peer();
    wait_until_readable();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 11);
    assert_true(stream_may_give(&stream));
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_FAILED);
    assert_false(stream_may_give(&stream));
    assert_int_equal(stream.error, ECONNRESET);
}

static void a_full_socket_is_told_to_be_writable_when_the_peer_has_read(void **state)
{
    (void)state;
    static char piece[256 * 1024], sink[256 * 1024];
    struct iovec parts[2] = {{piece, sizeof piece}, {piece, sizeof piece}};
    size_t sent = 0, got = 0;
    wait_until_writable();
    while (stream.writable) {
        ssize_t n = stream_send(&stream, parts, 2);
        sent += n > 0 ? (size_t)n : 0;
    }
    assert_true(sent > 0);
    assert_int_equal(stream_send(&stream, parts, 2), STREAM_AGAIN);
    while (got < sent) {
        ssize_t n = read(peer, sink, sizeof sink);
        assert_true(n > 0);
        got += (size_t)n;
    }
    wait_until_writable();
    assert_true(stream_send(&stream, parts, 2) > 0);
}

static void several_parts_leave_as_one(void **state)
{
    (void)state;
    char bytes[32];
    struct iovec parts[3] = {{(char[]){"head "}, 5}, {(char[]){""}, 0}, {(char[]){"body"}, 4}};
    assert_int_equal(stream_send(&stream, parts, 3), 9);
    assert_int_equal(recv(peer, bytes, 9, MSG_WAITALL), 9);
    assert_memory_equal(bytes, "head body", 9);
}

static void sending_to_a_peer_that_is_gone_fails_without_a_signal(void **state)
{
    (void)state;
    char byte;
    struct iovec part = {(char[]){"x"}, 1};
    reset_by_peer();
    wait_until_readable();
    assert_int_equal(stream_recv(&stream, &byte, 1), STREAM_FAILED);
    assert_int_equal(stream_send(&stream, &part, 1), STREAM_FAILED); /* SIGPIPE would end the program */
    assert_int_equal(stream.error, ECONNRESET);                      /* the first one stays */
}

static void a_reset_that_a_send_has_found_is_no_end_to_recv(void **state)
{
    (void)state;
    char bytes[64];
    struct iovec part = {(char[]){"x"}, 1};
    loop_run(loop);
    assert_int_equal(write(peer, "half a mess", 11), 11);
    reset_by_peer();
    wait_until_readable();
    assert_int_equal(stream_send(&stream, &part, 1), STREAM_FAILED);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 11);
    assert_true(stream_may_give(&stream));
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_FAILED);
}

static void a_reset_that_came_with_the_data_is_told(void **state)
{
    (void)state;
    char bytes[64];
    loop_run(loop);
    assert_int_equal(write(peer, "half a mess", 11), 11);
    reset_by_peer();
    wait_until_readable();
    assert_true(stream.gone);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 11);
    assert_true(stream.readable);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_FAILED);
}

static void who_has_only_ended_is_not_gone(void **state)
{
    (void)state;
    loop_run(loop);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    wait_until_readable();
    assert_true(stream.hung_up);
    assert_false(stream.gone);
}

/* Of what is not registered. */
static void after_a_send_that_failed_a_recv_is_due_though_nothing_tells_of_it(void **state)
{
    (void)state;
    char bytes[64];
    struct iovec part = {(char[]){"x"}, 1};
    assert_int_equal(write(peer, "message", 7), 7);
    reset_by_peer();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 7);
    assert_false(stream.readable);
    assert_int_equal(stream_send(&stream, &part, 1), STREAM_FAILED);
    assert_true(stream.readable);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_FAILED);
}

static void a_short_recv_is_the_last_of_what_is_registered_and_unsure_of_what_is_not(void **state)
{
    (void)state;
    char bytes[64];
    assert_int_equal(write(peer, "half", 4), 4);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 4);
    assert_true(stream_may_give(&stream));
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_AGAIN); /* registers it */
    assert_int_equal(write(peer, "rest", 4), 4);
    wait_until_readable();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 4);
    assert_false(stream_may_give(&stream));
}

static void closing_with_reset_is_no_end_to_the_peer(void **state)
{
    (void)state;
    char byte;
    stream_close(&stream, true);
    stream_close(&stream, true);
    assert_int_equal(read(peer, &byte, 1), -1);
    assert_int_equal(errno, ECONNRESET);
}

static void assert_peer_has(const char *expected)
{
    char bytes[16];
    ssize_t n = recv(peer, bytes, sizeof bytes, MSG_DONTWAIT);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(bytes, expected, (size_t)n);
}

static void what_is_sent_last_waits_for_the_end_and_goes_with_it(void **state)
{
    (void)state;
    char byte;
    struct iovec part = {(char *)"last", 4};
    stream.last = true;
    assert_int_equal(stream_send(&stream, &part, 1), 4);
    assert_int_equal(recv(peer, &byte, 1, MSG_DONTWAIT), -1);
    stream_shut(&stream);
    assert_peer_has("last");
    assert_int_equal(recv(peer, &byte, 1, MSG_DONTWAIT), 0);
}

/* A close with something unread resets, and drops what waits. */
static void what_is_sent_last_arrives_though_something_was_never_read(void **state)
{
    (void)state;
    struct iovec parts[] = {{(char *)"la", 2}, {(char *)"st", 2}};
    assert_int_equal(write(peer, "unread", 6), 6);
    stream.last = true;
    assert_int_equal(stream_send(&stream, parts, 2), 4);
    stream_close(&stream, false);
    assert_peer_has("last");
}

static void what_is_read_and_answered_at_once_is_never_registered(void **state)
{
    (void)state;
    char bytes[8];
    struct iovec part = {(char[]){"answer"}, 6};
    assert_int_equal(write(peer, "abc", 3), 3);
    assert_true(stream.readable && stream.writable);
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 3);
    assert_int_equal(stream_send(&stream, &part, 1), 6);
    stream_close(&stream, false);
    assert_int_equal(registrations, 0);
    assert_peer_has("answer");
}

static void who_has_sent_nothing_yet_is_registered_by_the_recv_that_says_so(void **state)
{
    (void)state;
    char bytes[8];
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), STREAM_AGAIN);
    assert_int_equal(registrations, 1);
    assert_int_equal(write(peer, "abc", 3), 3);
    wait_until_readable();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 3);
}

/* Reads all that has come so far, by a recv that leaves room. */
static void take(const char *expected)
{
    char bytes[16];
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), strlen(expected));
    assert_memory_equal(bytes, expected, strlen(expected));
    assert_false(stream.readable);
}

static void what_came_before_the_registration_is_told(void **state)
{
    (void)state;
    assert_int_equal(write(peer, "abc", 3), 3);
    take("abc");
    assert_int_equal(write(peer, "def", 3), 3);
    assert_true(stream_watch(&stream) && stream_watch(&stream));
    assert_int_equal(registrations, 1);
    wait_until_readable();
    take("def");
}

static void so_is_an_end_and_so_is_a_reset(void **state)
{
    (void)state;
    char byte;
    assert_int_equal(write(peer, "abc", 3), 3);
    take("abc");
    shutdown(peer, SHUT_WR);
    assert_false(stream.hung_up);
    assert_true(stream_watch(&stream));
    wait_until_readable();
    assert_true(stream.hung_up);
    assert_int_equal(stream_recv(&stream, &byte, 1), 0);
    tear_down(NULL);

    set_up_fresh(NULL);
    assert_int_equal(write(peer, "abc", 3), 3);
    take("abc");
    reset_by_peer();
    assert_true(stream_watch(&stream));
    wait_until_readable();
    assert_int_equal(stream_recv(&stream, &byte, 1), STREAM_FAILED);
}

static void so_is_a_full_socket(void **state)
{
    a_full_socket_is_told_to_be_writable_when_the_peer_has_read(state);
}

static void a_look_finds_what_nobody_has_told_of(void **state)
{
    (void)state;
    assert_int_equal(write(peer, "abc", 3), 3);
    take("abc");
    stream_look(&stream);
    assert_false(stream.readable);
    assert_int_equal(write(peer, "def", 3), 3);
    stream_look(&stream);
    assert_true(stream.readable);
    take("def");
    shutdown(peer, SHUT_WR);
    stream_look(&stream);
    assert_true(stream.readable);
    assert_int_equal(registrations, 0);
}

/* Comes back although nothing happens. */
static void turn(void)
{
    struct deadline soon;
    deadline_init(&soon, loop, stop_loop);
    deadline_set(&soon, 1);
    loop_run(loop);
    deadline_clear(&soon);
}

static void who_awaits_many_bytes_hears_of_no_fewer_until_it_wants_any_or_the_end_comes(void **state)
{
    (void)state;
    char bytes[200] = {0};
    loop_run(loop); /* it is writable */
    stream_await(&stream, 100);
    assert_int_equal(write(peer, bytes, 99), 99);
    turn();
    assert_false(stream.readable);
    assert_int_equal(write(peer, bytes, 1), 1);
    wait_until_readable();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 100);
    assert_int_equal(write(peer, bytes, 1), 1);
    turn();
    assert_false(stream.readable);
    stream_await(&stream, 0);
    wait_until_readable();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 1);
    stream_await(&stream, 100);
    shutdown(peer, SHUT_WR);
    wait_until_readable();
    assert_int_equal(stream_recv(&stream, bytes, sizeof bytes), 0);
}

static void what_cannot_be_registered_fails_whoever_would_wait(void **state)
{
    (void)state;
    static char much[4 * 1024 * 1024];
    char byte;
    struct iovec part = {much, sizeof much};
    refuses = true;
    assert_false(stream_watch(&stream));
    assert_int_equal(stream_recv(&stream, &byte, 1), STREAM_FAILED);
    assert_int_equal(stream.error, ENOMEM);
    while (stream.writable)
        assert_true(stream_send(&stream, &part, 1) == sizeof much || !stream.writable);
    assert_int_equal(stream_send(&stream, &part, 1), STREAM_FAILED);
    refuses = false;
    assert_true(stream_watch(&stream));
}

static void free_self_and_other(struct stream *ready)
{
    (void)ready;
    struct stream **both = (struct stream **)(void *)(ready + 1);
    struct stream *self = both[0], *other = both[1];
    stream_close(self, false);
    stream_close(other, false);
    free(self);
    free(other);
    calls++;
    loop_stop(loop);
}

static void ready_may_free_its_own_stream_and_another_that_is_ready_too(void **state)
{
    (void)state;
    struct stream *streams[2];
    int fds[2];
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), errno);
    for (int i = 0; i < 2; i++)
        streams[i] = mem_alloc(sizeof **streams + sizeof streams);
    for (int i = 0; i < 2; i++) {
        struct stream *both[2] = {streams[i], streams[!i]};
        assert_true(stream_open(streams[i], loop, fds[i], free_self_and_other));
        memcpy(streams[i] + 1, both, sizeof both);
    }
    stream_close(&stream, false);
    loop_run(loop);
    assert_int_equal(calls, 1);
}

static void a_connect_that_is_refused_says_so(void **state)
{
    (void)state;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int bound = socket(AF_INET, SOCK_STREAM, 0); /* holds the port, and does not listen */
    assert_return_code(bind(bound, (struct sockaddr *)&name, sizeof name), errno);
    assert_return_code(getsockname(bound, (struct sockaddr *)&name, &length), errno);
    stream_close(&stream, false);

    int fd = stream_connect((struct sockaddr *)&name, sizeof name);
    assert_return_code(fd, errno);
    assert_true(stream_open(&stream, loop, fd, stop_when_ready));
    wait_until_writable();
    assert_int_equal(stream_connected(&stream), ECONNREFUSED);
    stream_close(&stream, false);

    assert_return_code(listen(bound, 1), errno);
    fd = stream_connect((struct sockaddr *)&name, sizeof name);
    assert_return_code(fd, errno);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(stream_open(&stream, loop, fd, stop_when_ready));
    wait_until_writable();
    assert_int_equal(stream_connected(&stream), 0);
    close(bound);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_stream_is_writable_and_readable_once_data_came, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_end_behind_data_is_found_though_both_came_in_one_edge, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_reset_behind_data_is_found_by_a_second_recv, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_socket_is_told_to_be_writable_when_the_peer_has_read, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(several_parts_leave_as_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sending_to_a_peer_that_is_gone_fails_without_a_signal, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_reset_that_a_send_has_found_is_no_end_to_recv, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reset_that_came_with_the_data_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_has_only_ended_is_not_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(after_a_send_that_failed_a_recv_is_due_though_nothing_tells_of_it,
                                        set_up_fresh, tear_down),
        cmocka_unit_test_setup_teardown(
            a_short_recv_is_the_last_of_what_is_registered_and_unsure_of_what_is_not, set_up_fresh,
            tear_down),
        cmocka_unit_test_setup_teardown(what_is_sent_last_waits_for_the_end_and_goes_with_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_sent_last_arrives_though_something_was_never_read, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(closing_with_reset_is_no_end_to_the_peer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_read_and_answered_at_once_is_never_registered, set_up_fresh,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_has_sent_nothing_yet_is_registered_by_the_recv_that_says_so,
                                        set_up_fresh, tear_down),
        cmocka_unit_test_setup_teardown(what_came_before_the_registration_is_told, set_up_fresh, tear_down),
        cmocka_unit_test_setup_teardown(so_is_an_end_and_so_is_a_reset, set_up_fresh, tear_down),
        cmocka_unit_test_setup_teardown(so_is_a_full_socket, set_up_fresh, tear_down),
        cmocka_unit_test_setup_teardown(a_look_finds_what_nobody_has_told_of, set_up_fresh, tear_down),
        cmocka_unit_test_setup_teardown(
            who_awaits_many_bytes_hears_of_no_fewer_until_it_wants_any_or_the_end_comes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_registered_fails_whoever_would_wait, set_up_fresh,
                                        tear_down),
        cmocka_unit_test_setup_teardown(ready_may_free_its_own_stream_and_another_that_is_ready_too, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_connect_that_is_refused_says_so, set_up, tear_down),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
