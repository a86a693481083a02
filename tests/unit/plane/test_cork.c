#include "plane/cork.h"

#include "unit.h"

#include "base/clock.h"
#include "base/mem.h"
#include "plane/client.h"
#include "plane/worker.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A worker that has a loop, one client over a socket pair, and something to do in each turn while `busy` is
 * added. The loop ends when something has come to the client's peer. */
static struct worker *worker;
static struct client *client;
static struct loop_watch busy, come;
static int busy_fd, peer;
static void (*on_turn)(void);
static char got[64];

static void is_busy(struct loop_watch *watch, uint32_t events)
{
    (void)watch;
    (void)events;
    if (on_turn != NULL)
        on_turn();
}

static void has_come(struct loop_watch *watch, uint32_t events)
{
    (void)watch;
    (void)events;
    ssize_t n = recv(peer, got, sizeof got - 1, 0);
    got[n > 0 ? n : 0] = '\0';
    loop_stop(worker->loop);
}

static void nothing(struct stream *stream)
{
    (void)stream;
}

static void watch(struct loop_watch *watch, int fd, void (*run)(struct loop_watch *watch, uint32_t events))
{
    watch->ready = run;
    assert_true(loop_watch(worker->loop, watch, fd, EPOLLIN));
}

static const struct snapshot_settings no_limits;

static int open_worker(void **state)
{
    (void)state;
    int fds[2];
    worker = mem_zero(1, sizeof *worker);
    worker->loop = loop_new();
    worker->buffers = buffers_new();
    cork_init(&worker->cork, worker->loop);
    client = mem_zero(1, sizeof *client);
    worker->settings = &no_limits;
    TAILQ_INIT(&worker->clients);
    client_begin(worker, client, &(struct peer){0}, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_true(stream_open(&client->stream, worker->loop, fds[0], nothing));
    client->stream.writable = true;
    peer = fds[1];
    busy_fd = eventfd(1, EFD_CLOEXEC);
    on_turn = NULL;
    watch(&busy, busy_fd, is_busy);
    watch(&come, peer, has_come);
    return 0;
}

static int close_worker(void **state)
{
    (void)state;
    close(busy_fd);
    close(peer);
    cork_drop(&worker->cork, client);
    outlet_clear(&client->out, worker->buffers);
    deadline_clear(&client->deadline);
    stream_close(&client->stream, false);
    loop_free(worker->loop);
    buffers_free(worker->buffers);
    free(client);
    free(worker);
    return 0;
}

static void answer(const char *text)
{
    struct iovec part = {(char *)text, strlen(text)};
    assert_int_equal(outlet_cork(&client->out, worker->buffers, &client->stream, &part, 1, OUTLET_CORK_MAX),
                     OUTLET_EMPTY);
    assert_int_equal(outlet_waiting(&client->out), 0);
    cork_hold(&worker->cork, client);
}

static uint64_t turn;

static void answer_twice_and_rest(void)
{
    turn = loop_turns(worker->loop);
    answer("one");
    answer("two");
    loop_unwatch(worker->loop, &busy, busy_fd);
}

static void what_is_held_goes_out_in_one_send_when_the_worker_has_nothing_else_to_do(void **state)
{
    (void)state;
    on_turn = answer_twice_and_rest;
    loop_run(worker->loop);
    assert_string_equal(got, "onetwo");
    assert_in_range(loop_turns(worker->loop) - turn, 2, 3);
    assert_false(client->corked);
    assert_false(client->out.corked);
    assert_null(client->out.buffer);
}

static uint64_t held_ms;

static void answer_once(void)
{
    on_turn = NULL;
    answer("one");
    held_ms = loop_ms(worker->loop);
}

static void a_busy_worker_holds_for_its_time_and_no_longer(void **state)
{
    (void)state;
    on_turn = answer_once;
    loop_run(worker->loop);
    assert_string_equal(got, "one");
    assert_true(clock_mono_ms() - held_ms >= CORK_MS);
}

static void send_behind_it(void)
{
    struct iovec part = {(char *)"two", 3};
    answer("one");
    assert_int_equal(outlet_send(&client->out, worker->buffers, &client->stream, &part, 1), OUTLET_EMPTY);
    on_turn = NULL;
}

static void what_is_sent_meanwhile_comes_behind_what_is_held(void **state)
{
    (void)state;
    on_turn = send_behind_it;
    loop_run(worker->loop);
    assert_string_equal(got, "onetwo");
    assert_false(client->out.corked);
    assert_null(client->out.buffer);
}

static void more_than_is_held_back_is_sent(void **state)
{
    static char much[OUTLET_CORK_MAX];
    struct iovec part = {much, sizeof much};
    (void)state;
    answer("one");
    assert_int_equal(outlet_cork(&client->out, worker->buffers, &client->stream, &part, 1, OUTLET_CORK_MAX),
                     OUTLET_EMPTY);
    assert_false(client->out.corked);
    assert_null(client->out.buffer);
}

static void nothing_is_held_back_behind_what_waits(void **state)
{
    struct iovec one = {(char *)"one", 3}, two = {(char *)"two", 3};
    (void)state;
    client->stream.writable = false;
    assert_int_equal(outlet_send(&client->out, worker->buffers, &client->stream, &one, 1), OUTLET_WAITING);
    assert_int_equal(outlet_cork(&client->out, worker->buffers, &client->stream, &two, 1, OUTLET_CORK_MAX),
                     OUTLET_WAITING);
    assert_false(client->out.corked);
    assert_int_equal(outlet_waiting(&client->out), 6);
}

static void fill_the_kernel(void)
{
    static char much[65536];
    while (send(client->stream.fd, much, sizeof much, MSG_NOSIGNAL) > 0)
        ;
}

static void stop_when_pushed(void)
{
    if (!client->corked)
        loop_stop(worker->loop);
}

static void answer_a_client_that_does_not_read(void)
{
    loop_unwatch(worker->loop, &come, peer);
    fill_the_kernel();
    answer("one");
    on_turn = stop_when_pushed;
}

static void a_client_that_takes_nothing_is_waited_for_before_its_next_request_is_read(void **state)
{
    (void)state;
    on_turn = answer_a_client_that_does_not_read;
    loop_run(worker->loop);
    assert_int_equal(client->state, CLIENT_FLUSHING);
    assert_int_equal(client->next, CLIENT_NEXT_REQUEST);
    assert_int_equal(outlet_waiting(&client->out), 3);
    assert_true(deadline_is_set(&client->deadline));
}

static void assert_client_waits_to_be_closed(void)
{
    assert_int_equal(client->state, CLIENT_FLUSHING);
    assert_int_equal(client->next, CLIENT_NEXT_CLOSE);
    assert_int_equal(outlet_waiting(&client->out), 3);
}

static void answer_who_has_ended_and_does_not_read(void)
{
    loop_unwatch(worker->loop, &come, peer);
    fill_the_kernel();
    answer("one");
    client->ended = true;
    client->stream.writable = true;
    client_ready(&client->stream);
    loop_stop(worker->loop);
}

static void who_has_ended_is_waited_for_until_its_answers_are_gone(void **state)
{
    (void)state;
    on_turn = answer_who_has_ended_and_does_not_read;
    loop_run(worker->loop);
    assert_client_waits_to_be_closed();
}

static void answer_who_ends_now_and_does_not_read(void)
{
    loop_unwatch(worker->loop, &come, peer);
    fill_the_kernel();
    answer("one");
    worker->head_most = 1024;
    client->stream.readable = client->stream.writable = true;
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    client_ready(&client->stream);
    loop_stop(worker->loop);
}

static void who_ends_meanwhile_is_waited_for_too(void **state)
{
    (void)state;
    on_turn = answer_who_ends_now_and_does_not_read;
    loop_run(worker->loop);
    assert_client_waits_to_be_closed();
}

static void answer_who_has_gone(void)
{
    answer("one");
    cork_drop(&worker->cork, client);
    on_turn = NULL;
    loop_unwatch(worker->loop, &busy, busy_fd);
    loop_stop(worker->loop);
}

static void who_has_gone_is_not_held(void **state)
{
    (void)state;
    on_turn = answer_who_has_gone;
    loop_run(worker->loop);
    assert_true(client->out.corked);
    assert_true(TAILQ_EMPTY(&worker->cork.clients));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_worker, close_worker)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_held_goes_out_in_one_send_when_the_worker_has_nothing_else_to_do),
        TEST(a_busy_worker_holds_for_its_time_and_no_longer),
        TEST(what_is_sent_meanwhile_comes_behind_what_is_held),
        TEST(more_than_is_held_back_is_sent),
        TEST(nothing_is_held_back_behind_what_waits),
        TEST(a_client_that_takes_nothing_is_waited_for_before_its_next_request_is_read),
        TEST(who_has_ended_is_waited_for_until_its_answers_are_gone),
        TEST(who_ends_meanwhile_is_waited_for_too),
        TEST(who_has_gone_is_not_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
