/* Clients whose request is there when they are accepted: the plane sees them only when the test says so. */
#include "rig.h"

#include "unit.h"

#include "base/clock.h"
#include "plane/newcomers.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRIES 20 /* a slow machine may take longer than NEWCOMERS_MS for an answer */
#define MUCH (8 * 1024 * 1024)
#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET_ONCE "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- what the plane calls ---- */

static _Thread_local bool is_test;
static bool closed; /* the plane's accepts wait */
static unsigned registrations;

int __real_accept4(int fd, struct sockaddr *peer, socklen_t *length, int flags);
int __wrap_accept4(int fd, struct sockaddr *peer, socklen_t *length, int flags);

int __wrap_accept4(int fd, struct sockaddr *peer, socklen_t *length, int flags)
{
    while (!is_test && __atomic_load_n(&closed, __ATOMIC_ACQUIRE))
        sched_yield();
    return __real_accept4(fd, peer, length, flags);
}

/* Stands in front of the C library's for libevent, too. */
__attribute__((visibility("default"))) int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    if (!is_test)
        __atomic_add_fetch(&registrations, 1, __ATOMIC_RELAXED);
    return (int)syscall(SYS_epoll_ctl, epoll, what, fd, event);
}

/* ---- steps ---- */

static int start(void **state)
{
    is_test = true;
    *state = rig_start_with_one();
    return 0;
}

static int stop(void **state)
{
    return rig_stop(*state);
}

/* A client that has said this before it is accepted. */
static int client_with(struct rig *rig, const char *text)
{
    __atomic_store_n(&closed, true, __ATOMIC_RELEASE);
    int client = rig_client(rig);
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* nothing waits for an answer */
    rig_say(client, text);
    __atomic_store_n(&closed, false, __ATOMIC_RELEASE);
    return client;
}

/* The instance's side of the connection on which a first request has come, its head read. */
static int asked(struct rig *rig)
{
    int instance = rig_accept(rig, 0);
    rig_head(instance);
    return instance;
}

static void expect_answer(int client)
{
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    assert_string_equal(rig_bytes(client, 2), "ok");
}

/* ---- tests ---- */

static void who_comes_with_its_request_and_is_served_soon_is_never_registered(void **state)
{
    int client = client_with(*state, GET_ONCE), instance = asked(*state);
    unsigned fewest = UINT32_MAX;
    for (unsigned i = 0; i < TRIES; i++) {
        unsigned before = registrations;
        rig_say(instance, OK);
        expect_answer(client);
        assert_string_equal(rig_rest(client, NULL), "");
        close(client);
        client = client_with(*state, GET_ONCE);
        rig_head(instance); /* by then all that the one before has cost is counted */
        if (registrations - before < fewest)
            fewest = registrations - before;
    }
    assert_int_equal(fewest, 0);
    rig_say(instance, OK);
    expect_answer(client);
    close(client);
    close(instance);
}

static void who_leaves_while_its_instance_thinks_is_noticed(void **state)
{
    int client = client_with(*state, GET_ONCE), instance = asked(*state);
    rig_reset(client);
    assert_string_equal(rig_rest(instance, NULL), "");
    close(instance);
}

/* Whoever may ask again is registered when it is answered, not when its time as a newcomer is over. */
static void a_second_request_is_read_at_once(void **state)
{
    int client = client_with(*state, GET), instance = asked(*state);
    uint64_t fastest = UINT64_MAX;
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t before = clock_mono_ms();
        rig_say(instance, OK);
        expect_answer(client);
        rig_say(client, GET);
        rig_head(instance);
        if (clock_mono_ms() - before < fastest)
            fastest = clock_mono_ms() - before;
        rig_say(instance, OK);
        expect_answer(client);
        close(client);
        client = client_with(*state, GET);
        rig_head(instance);
    }
    assert_true(fastest < NEWCOMERS_MS / 2);
    rig_say(instance, OK);
    expect_answer(client);
    close(client);
    close(instance);
}

/* Before the first one is answered; nobody is told of it until the client is registered. */
/* Else those behind it in the list would wait for its next time, and the one after that. */
static void who_may_ask_again_is_registered_though_it_has_asked_already(void **state)
{
    int client = client_with(*state, GET GET), instance = asked(*state);
    unsigned before = registrations;
    rig_say(instance, OK);
    expect_answer(client);
    rig_head(instance);
    assert_true(registrations > before);
    rig_say(instance, OK);
    expect_answer(client);
    close(client);
    close(instance);
}

static void so_is_one_that_comes_meanwhile(void **state)
{
    int client = client_with(*state, GET), instance = asked(*state);
    rig_say(client, GET);
    rig_say(instance, OK);
    expect_answer(client);
    rig_head(instance);
    rig_say(instance, OK);
    expect_answer(client);
    close(client);
    close(instance);
}

static void a_request_in_pieces_is_put_together(void **state)
{
    static const char *const pieces[] = {"POST / HT", "TP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n", "bo",
                                         "dy!!"};
    int client = client_with(*state, pieces[0]);
    rig_say(client, pieces[1]);
    int instance = asked(*state);
    rig_say(client, pieces[2]);
    assert_string_equal(rig_bytes(instance, 2), "bo");
    rig_say(client, pieces[3]);
    assert_string_equal(rig_bytes(instance, 4), "dy!!");
    rig_say(instance, OK);
    expect_answer(client);
    close(client);
    close(instance);
}

static void who_sends_nothing_at_first_is_heard_later(void **state)
{
    unsigned before = __atomic_load_n(&registrations, __ATOMIC_RELAXED);
    int client = client_with(*state, "");
    rig_until(__atomic_load_n(&registrations, __ATOMIC_RELAXED) > before); /* it was read in vain */
    rig_say(client, GET);
    int instance = asked(*state);
    rig_say(instance, OK);
    expect_answer(client);
    close(client);
    close(instance);
}

/* A close with something unread is a reset, which may destroy the answer. */
static void an_answer_is_safe_from_what_comes_behind_the_request(void **state)
{
    int client = client_with(*state, GET_ONCE), instance = asked(*state);
    for (unsigned i = 0; i < TRIES; i++) {
        int error = -1;
        rig_say(client, "\r\n");
        rig_say(instance, OK);
        expect_answer(client);
        assert_string_equal(rig_rest(client, NULL), "");
        int next = client_with(*state, GET_ONCE);
        rig_head(instance); /* by then a reset would have come */
        assert_return_code(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}),
                           errno);
        assert_int_equal(error, 0);
        close(client);
        client = next;
    }
    rig_say(instance, OK);
    expect_answer(client);
    close(client);
    close(instance);
}

static void much_for_a_slow_reader_comes_whole(void **state)
{
    static char much[MUCH], got[65536];
    int client = client_with(*state, GET_ONCE), instance = asked(*state);
    size_t sent = 0, received = 0;
    rig_say(instance, "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n");
    memset(much, 'x', sizeof much);
    rig_head(client);
    while (received < sizeof much) {
        ssize_t n = sent < sizeof much ? send(instance, much + sent, sizeof much - sent, MSG_DONTWAIT) : 0;
        sent += n > 0 ? (size_t)n : 0;
        if (n > 0)
            continue; /* nothing is read while anything is taken */
        n = recv(client, got, sizeof got, 0);
        assert_true(n > 0);
        received += (size_t)n;
    }
    assert_string_equal(rig_rest(client, NULL), "");
    close(client);
    close(instance);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_comes_with_its_request_and_is_served_soon_is_never_registered),
        TEST(who_leaves_while_its_instance_thinks_is_noticed),
        TEST(a_second_request_is_read_at_once),
        TEST(who_may_ask_again_is_registered_though_it_has_asked_already),
        TEST(so_is_one_that_comes_meanwhile),
        TEST(a_request_in_pieces_is_put_together),
        TEST(who_sends_nothing_at_first_is_heard_later),
        TEST(an_answer_is_safe_from_what_comes_behind_the_request),
        TEST(much_for_a_slow_reader_comes_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
