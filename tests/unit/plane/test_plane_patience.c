/* Long bodies that come fast, both ways. Where its clock stands still, no deadline helps the plane. */
#include "rig.h"

#include "unit.h"

#include "base/clock.h"
#include "plane/exchange.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define LENGTH (64 << 20) /* bytes of a body: more than all buffers on its way hold */
#define LAST 1000         /* bytes of it that come late */
#define HEAD_LENGTH "Content-Length: 67108864\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n" HEAD_LENGTH
#define POOR 160 /* descriptors, for 3 conduits */
#define OTHERS 4
#define STALL_MS 200
#define SOME (1 << 20) /* bytes */
#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- what the plane calls ---- */

static _Thread_local bool is_test;
static bool is_poor;              /* the plane has few descriptors */
static uint64_t stopped_ns;       /* the time of the plane's clock; 0: it goes */
static int awaited, ever_awaited; /* bytes: the last SO_RCVLOWAT of the plane's, and the largest */

int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int __real_getrlimit(__rlimit_resource_t resource, struct rlimit *limit);
int __wrap_getrlimit(__rlimit_resource_t resource, struct rlimit *limit);
uint64_t __real_clock_mono_ns(void);
uint64_t __wrap_clock_mono_ns(void);

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    int result = __real_setsockopt(fd, level, name, value, length);
    if (!is_test && level == SOL_SOCKET && name == SO_RCVLOWAT) {
        int bytes = *(const int *)value;
        if (bytes > ever_awaited)
            __atomic_store_n(&ever_awaited, bytes, __ATOMIC_RELEASE);
        __atomic_store_n(&awaited, bytes, __ATOMIC_RELEASE);
    }
    return result;
}

int __wrap_getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
    if (is_test || !is_poor || resource != RLIMIT_NOFILE)
        return __real_getrlimit(resource, limit);
    *limit = (struct rlimit){POOR, POOR};
    return 0;
}

uint64_t __wrap_clock_mono_ns(void)
{
    uint64_t stopped = __atomic_load_n(&stopped_ns, __ATOMIC_ACQUIRE);
    return is_test || stopped == 0 ? __real_clock_mono_ns() : stopped;
}

static void stop_clock(void)
{
    __atomic_store_n(&stopped_ns, __real_clock_mono_ns(), __ATOMIC_RELEASE);
}

/* ---- steps ---- */

static int start(void **state)
{
    is_test = true;
    stopped_ns = 0;
    awaited = ever_awaited = 0;
    *state = rig_start_with_one();
    return 0;
}

static int stop(void **state)
{
    __atomic_store_n(&stopped_ns, 0, __ATOMIC_RELEASE);
    return rig_stop(*state);
}

static int start_poor(void **state)
{
    is_poor = true;
    return start(state);
}

static int stop_poor(void **state)
{
    is_poor = false;
    return stop(state);
}

static char bytes[1 << 20];

/* Sends up to `most` bytes, as many as go without waiting. */
static size_t push(int fd, size_t most)
{
    ssize_t sent = send(fd, bytes, most < sizeof bytes ? most : sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    assert_true(sent > 0 || errno == EAGAIN);
    return sent > 0 ? (size_t)sent : 0;
}

/* Sends until nothing goes any more, since nobody reads at the other end. Returns how much that was. */
static size_t pile(int fd)
{
    size_t sum = 0, sent;
    while ((sent = push(fd, LENGTH - sum)) > 0)
        sum += sent;
    assert_true(sum < LENGTH / 2);
    return sum;
}

static size_t pull(int fd, size_t most)
{
    ssize_t got = recv(fd, bytes, most < sizeof bytes ? most : sizeof bytes, MSG_DONTWAIT);
    assert_true(got > 0 || (got < 0 && errno == EAGAIN));
    return got > 0 ? (size_t)got : 0;
}

/* So many more bytes go in, and so many come out. Where nothing moves for STALL_MS, the plane's clock goes on
 * a little if it `may`: what is there may be less than is awaited. */
static void move(int from, size_t in, int to, size_t out, bool may)
{
    int stalls = 0;
    while (in > 0 || out > 0) {
        struct pollfd fds[] = {{from, in > 0 ? POLLOUT : 0, 0}, {to, out > 0 ? POLLIN : 0, 0}};
        int ready = poll(fds, 2, may ? STALL_MS : RIG_SECONDS * 1000);
        assert_true(ready > 0 || (may && stalls++ < RIG_SECONDS * 1000 / STALL_MS));
        if (ready == 0)
            __atomic_add_fetch(&stopped_ns, UINT64_C(30000000), __ATOMIC_RELEASE);
        if ((fds[0].revents & POLLOUT) != 0)
            in -= push(from, in);
        if ((fds[1].revents & POLLIN) != 0)
            out -= pull(to, out);
    }
}

static void pass(int from, size_t in, int to, size_t out)
{
    move(from, in, to, out, false);
}

/* A body is on its way: its source has sent so much of it, and nobody has read of it. */
struct body {
    int source, sink;
    size_t sent;
};

static struct body upload(struct rig *rig)
{
    struct body body = {.source = rig_client(rig)};
    rig_say(body.source, POST);
    body.sent = pile(body.source);
    body.sink = rig_accept(rig, 0);
    rig_head(body.sink);
    return body;
}

static struct body answer(struct rig *rig)
{
    struct body body = {.sink = rig_client(rig)};
    body.source = rig_ask(rig, body.sink, GET);
    rig_say(body.source, "HTTP/1.1 200 OK\r\n" HEAD_LENGTH);
    body.sent = pile(body.source);
    rig_head(body.sink);
    return body;
}

/* Within STALL_MS; of a wait that has ended before the clock was stopped nothing more is seen. */
static bool is_awaited(void)
{
    uint64_t end_ms = clock_mono_ms() + STALL_MS;
    while (__atomic_load_n(&awaited, __ATOMIC_ACQUIRE) <= 1) {
        if (clock_mono_ms() > end_ms)
            return false;
        sched_yield();
    }
    return true;
}

/* The clock stands still, and a large piece is awaited. */
static void come_to_a_wait(struct body *body)
{
    if (stopped_ns == 0)
        stop_clock();
    move(body->source, 0, body->sink, body->sent, true);
    while (!is_awaited()) {
        assert_true(body->sent < LENGTH / 2);
        move(body->source, SOME, body->sink, SOME, true);
        body->sent += SOME;
    }
}

/* Then it is read up to its last bytes, for which nothing is awaited but these. */
static void reads_large_pieces_but_the_last(const struct body *body)
{
    stop_clock();
    move(body->source, LENGTH - LAST - SOME - body->sent, body->sink, LENGTH - LAST - SOME, true);
    pass(body->source, SOME, body->sink, SOME);
    assert_true(__atomic_load_n(&ever_awaited, __ATOMIC_ACQUIRE) > 65536);
    rig_until(__atomic_load_n(&awaited, __ATOMIC_ACQUIRE) == 1);
    pass(body->source, LAST, body->sink, LAST);
}

static void expect_ok(int client)
{
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    assert_string_equal(rig_bytes(client, 2), "ok");
}

/* Its source stands still in the middle: what it has sent arrives. */
static void arrives_although_more_is_awaited(const struct body *body)
{
    pass(body->source, 0, body->sink, body->sent);
    rig_until(__atomic_load_n(&ever_awaited, __ATOMIC_ACQUIRE) > 65536);
    pass(body->source, LAST, body->sink, LAST);
    close(body->source);
    close(body->sink);
}

/* ---- tests ---- */

static void a_fast_upload_is_read_in_large_pieces_and_its_last_bytes_as_they_come(void **state)
{
    struct body body = upload(*state);
    reads_large_pieces_but_the_last(&body);
    rig_say(body.sink, OK);
    expect_ok(body.source);
    rig_say(body.source, GET);
    rig_head(body.sink);
    rig_say(body.sink, OK);
    expect_ok(body.source);
    close(body.source);
    close(body.sink);
}

static void a_fast_answer_is_read_in_large_pieces_and_its_last_bytes_as_they_come(void **state)
{
    struct body body = answer(*state);
    reads_large_pieces_but_the_last(&body);
    rig_say(body.sink, GET);
    rig_head(body.source);
    rig_say(body.source, OK);
    expect_ok(body.sink);
    close(body.source);
    close(body.sink);
}

static void what_stands_still_in_the_middle_of_an_upload_arrives(void **state)
{
    struct body body = upload(*state);
    arrives_although_more_is_awaited(&body);
}

static void what_stands_still_in_the_middle_of_an_answer_arrives(void **state)
{
    struct body body = answer(*state);
    arrives_although_more_is_awaited(&body);
}

/* Its connection is read on, to its end, and what comes need not be a large piece. */
static void nothing_is_awaited_of_an_upload_that_was_answered_early(void **state)
{
    struct body body = upload(*state);
    come_to_a_wait(&body);
    rig_say(body.sink, OK);
    expect_ok(body.source);
    rig_until(__atomic_load_n(&awaited, __ATOMIC_ACQUIRE) == 1);
    close(body.source);
    close(body.sink);
}

/* The clock stands still. Others take all conduits while this body has none; its last bytes are few. */
static void is_read_without_a_conduit(struct rig *rig, struct body *body)
{
    struct body others[OTHERS];
    come_to_a_wait(body);
    for (int i = 0; i < OTHERS; i++)
        others[i] = answer(rig);
    pass(body->source, LENGTH - LAST - body->sent, body->sink, LENGTH - LAST - body->sent);
    pass(body->source, LAST, body->sink, LAST);
    for (int i = 0; i < OTHERS; i++) {
        close(others[i].source);
        close(others[i].sink);
    }
    close(body->source);
    close(body->sink);
}

static void an_answer_whose_conduit_others_have_taken_is_read_as_it_comes(void **state)
{
    stop_clock();
    struct body body = answer(*state);
    is_read_without_a_conduit(*state, &body);
}

static void an_upload_whose_conduit_others_have_taken_is_read_as_it_comes(void **state)
{
    stop_clock();
    struct body body = upload(*state);
    is_read_without_a_conduit(*state, &body);
}

/* Both directions of an exchange may await a piece, and one of them may get it again and again. */
static void a_wait_is_not_made_longer_by_that_of_the_other_direction(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct client client = {.stream = {.ops = &stream_plain, .fd = socket(AF_INET, SOCK_STREAM, 0)}};
    struct connection lease = {.stream = {.ops = &stream_plain, .fd = socket(AF_INET, SOCK_STREAM, 0)}};
    struct exchange x = {.client = &client, .lease = &lease};
    const struct relay relay = {.body.left = LENGTH};
    deadline_init(&x.patience, loop, NULL);
    patience_read(&x, &relay, &client.stream, sizeof bytes);
    uint64_t until_ms = x.patience.at_ms;
    rig_until(clock_mono_ms() > until_ms + 1);
    patience_read(&x, &relay, &lease.stream, sizeof bytes);
    assert_int_equal(x.patience.at_ms, until_ms);
    assert_true(client.stream.awaited > 0 && lease.stream.awaited > 0);
    patience_end(&x);
    assert_false(deadline_is_set(&x.patience));
    assert_int_equal(client.stream.awaited + lease.stream.awaited, 0);
    close(client.stream.fd);
    close(lease.stream.fd);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_fast_upload_is_read_in_large_pieces_and_its_last_bytes_as_they_come,
                                        start, stop),
        cmocka_unit_test_setup_teardown(a_fast_answer_is_read_in_large_pieces_and_its_last_bytes_as_they_come,
                                        start, stop),
        cmocka_unit_test_setup_teardown(what_stands_still_in_the_middle_of_an_upload_arrives, start, stop),
        cmocka_unit_test_setup_teardown(what_stands_still_in_the_middle_of_an_answer_arrives, start, stop),
        cmocka_unit_test_setup_teardown(an_answer_whose_conduit_others_have_taken_is_read_as_it_comes,
                                        start_poor, stop_poor),
        cmocka_unit_test_setup_teardown(an_upload_whose_conduit_others_have_taken_is_read_as_it_comes,
                                        start_poor, stop_poor),
        cmocka_unit_test(a_wait_is_not_made_longer_by_that_of_the_other_direction),
        cmocka_unit_test_setup_teardown(nothing_is_awaited_of_an_upload_that_was_answered_early, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
