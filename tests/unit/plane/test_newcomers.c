#include "plane/newcomers.h"

#include "unit.h"

#include "base/clock.h"
#include "base/mem.h"
#include "plane/client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned refusals; /* registrations that the kernel will have no memory for */

/* Stands in front of the C library's. */
int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    if (what == EPOLL_CTL_ADD && refusals > 0) {
        refusals--;
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, what, fd, event);
}

/* Two clients, each over a socket pair. The loop ends when one is told of something. */
static struct loop *loop;
static struct newcomers newcomers;
static struct client *clients[2];
static int peers[2];

static void stop_when_ready(struct stream *stream)
{
    (void)stream;
    loop_stop(loop);
}

static int open_clients(void **state)
{
    (void)state;
    loop = loop_new();
    newcomers_init(&newcomers, loop);
    refusals = 0;
    for (int i = 0; i < 2; i++) {
        int fds[2];
        assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), errno);
        clients[i] = mem_zero(1, sizeof *clients[i]);
        stream_accept(&clients[i]->stream, loop, fds[0], stop_when_ready);
        clients[i]->stream.readable = false; /* as after a request that came whole */
        peers[i] = fds[1];
    }
    return 0;
}

static int close_clients(void **state)
{
    (void)state;
    deadline_clear(&newcomers.due);
    for (int i = 0; i < 2; i++) {
        newcomers_leave(&newcomers, clients[i]);
        stream_close(&clients[i]->stream, false);
        free(clients[i]);
        close(peers[i]);
    }
    assert_true(TAILQ_EMPTY(&newcomers.clients));
    loop_free(loop);
    return 0;
}

static void enter(struct client *client)
{
    client->head_since_ms = clock_mono_ms();
    newcomers_enter(&newcomers, client);
}

static void who_has_left_is_seen_when_its_time_is_over_and_no_sooner(void **state)
{
    (void)state;
    enter(clients[0]);
    assert_true(clients[0]->stream.fresh);
    shutdown(peers[0], SHUT_RDWR);
    loop_run(loop);
    assert_true(clients[0]->stream.hung_up);
    assert_false(clients[0]->young);
    assert_true(clock_mono_ms() - clients[0]->head_since_ms >= NEWCOMERS_MS);
    assert_false(deadline_is_set(&newcomers.due));
}

static void each_has_its_own_time(void **state)
{
    (void)state;
    enter(clients[0]);
    enter(clients[1]);
    clients[1]->head_since_ms += 10ULL * NEWCOMERS_MS;
    shutdown(peers[0], SHUT_RDWR);
    shutdown(peers[1], SHUT_RDWR);
    loop_run(loop);
    assert_false(clients[0]->stream.fresh);
    assert_true(clients[1]->stream.fresh && clients[1]->young);
    loop_run(loop);
    assert_true(clock_mono_ms() - clients[1]->head_since_ms >= NEWCOMERS_MS);
    assert_true(clients[1]->stream.hung_up);
}

/* Its second head may have begun late. */
static void who_is_watched_already_keeps_nobody_waiting(void **state)
{
    (void)state;
    enter(clients[0]);
    enter(clients[1]);
    assert_true(stream_watch(&clients[0]->stream));
    clients[0]->head_since_ms = UINT64_MAX / 2;
    shutdown(peers[1], SHUT_RDWR);
    loop_run(loop);
    assert_true(clients[1]->stream.hung_up);
    assert_false(clients[0]->young || clients[1]->young);
}

static void who_has_gone_is_not_looked_at(void **state)
{
    (void)state;
    enter(clients[0]);
    enter(clients[1]);
    newcomers_leave(&newcomers, clients[0]);
    newcomers_leave(&newcomers, clients[0]);
    shutdown(peers[1], SHUT_RDWR);
    loop_run(loop);
    assert_true(clients[0]->stream.fresh);
    assert_false(clients[1]->stream.fresh);
}

static void who_cannot_be_watched_is_tried_again(void **state)
{
    (void)state;
    refusals = 1;
    enter(clients[0]);
    shutdown(peers[0], SHUT_RDWR);
    loop_run(loop);
    assert_true(clients[0]->stream.hung_up);
    assert_int_equal(refusals, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_clients, close_clients)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_has_left_is_seen_when_its_time_is_over_and_no_sooner),
        TEST(each_has_its_own_time),
        TEST(who_is_watched_already_keeps_nobody_waiting),
        TEST(who_has_gone_is_not_looked_at),
        TEST(who_cannot_be_watched_is_tried_again),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
