/* Which calls a worker makes in a turn, and in which order: where it matters it is held in the middle of a
 * turn until all that the next one is to find has come. */
#include "rig.h"

#include "unit.h"

#include "base/clock.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALLS_MAX 16
#define IDLE_MS 500
#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- what the plane calls ---- */

static _Thread_local bool is_test;
static unsigned sent;                              /* sends of the plane so far */
static unsigned gate = UINT_MAX, waits = UINT_MAX; /* they are to wait from this one on; this one does */
/* Of each send its first letter, of each recv that found something a dot, of each such splice an s, of each
 * look an l. */
static char called[CALLS_MAX];
static unsigned calls;

static void note(char call)
{
    called[calls % CALLS_MAX] = call;
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELEASE);
}

static void sends(const void *bytes)
{
    if (is_test)
        return;
    note(*(const char *)bytes);
    unsigned number = __atomic_fetch_add(&sent, 1, __ATOMIC_ACQ_REL);
    while (number >= __atomic_load_n(&gate, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&waits, number, __ATOMIC_RELEASE);
        sched_yield();
    }
}

static ssize_t received(ssize_t count, int flags)
{
    if (!is_test && ((flags & MSG_PEEK) != 0 || count > 0))
        note((flags & MSG_PEEK) != 0 ? 'l' : '.');
    return count;
}

static ssize_t spliced(ssize_t count)
{
    if (count > 0)
        note('s');
    return count;
}

/* As io/direct.h calls the kernel; and as it does so under a sanitizer. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
ssize_t __real_send(int fd, const void *bytes, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t n, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __real_recv(int fd, void *bytes, size_t room, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t room, int flags);

long __wrap_syscall(long number, ...)
{
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_sendto)
        sends((const void *)a[1]);
    if (number == SYS_sendmsg)
        sends(((const struct msghdr *)a[1])->msg_iov[0].iov_base);
    long result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (number == SYS_splice)
        spliced(result);
    return number == SYS_recvfrom ? received(result, (int)a[3]) : result;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t n, int flags)
{
    sends(bytes);
    return __real_send(fd, bytes, n, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    sends(message->msg_iov[0].iov_base);
    return __real_sendmsg(fd, message, flags);
}

ssize_t __wrap_recv(int fd, void *bytes, size_t room, int flags)
{
    return received(__real_recv(fd, bytes, room, flags), flags);
}

ssize_t __real_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t count, unsigned flags);
ssize_t __wrap_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t count, unsigned flags);

ssize_t __wrap_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t count, unsigned flags)
{
    return spliced(__real_splice(in, in_at, out, out_at, count, flags));
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

static void expect_answer(int client)
{
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    assert_string_equal(rig_bytes(client, 2), "ok");
}

static void await_hold(void)
{
    rig_until(__atomic_load_n(&waits, __ATOMIC_ACQUIRE) == gate);
}

/* What the client says makes the plane send something, and that stays in the middle of it until `let_go`. */
static void hold_by(int client, const char *text)
{
    __atomic_store_n(&gate, __atomic_load_n(&sent, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
    rig_say(client, text);
    await_hold();
}

static void hold_with(int client)
{
    hold_by(client, GET);
}

/* What is held is sent, and the next send is held. */
static void let_one_go(void)
{
    __atomic_add_fetch(&gate, 1, __ATOMIC_RELEASE);
    await_hold();
}

static void let_go(void)
{
    __atomic_store_n(&gate, UINT_MAX, __ATOMIC_RELEASE);
}

static void ask(int client, int instance)
{
    __atomic_store_n(&calls, 0, __ATOMIC_RELAXED);
    memset(called, 0, sizeof called);
    rig_say(client, GET);
    rig_head(instance);
}

/* ---- tests ---- */

#define PAIRS 5

/* Of the kept connections the one that came back last is lent first. */
struct pairs {
    int clients[PAIRS], instances[PAIRS];
};

static void begin(struct rig *rig, struct pairs *pairs)
{
    for (int i = 0; i < PAIRS; i++) {
        pairs->clients[i] = rig_client(rig);
        pairs->instances[i] = rig_ask(rig, pairs->clients[i], GET);
    }
    for (int i = 0; i < PAIRS; i++) {
        rig_say(pairs->instances[i], OK);
        expect_answer(pairs->clients[i]);
    }
}

static void end(const struct pairs *pairs)
{
    for (int i = 0; i < PAIRS; i++) {
        close(pairs->clients[i]);
        close(pairs->instances[i]);
    }
}

/* The two who ask meanwhile do so before the others' answers come, so it is not the order of their coming. */
static void what_a_turn_sends_goes_together_its_answers_before_its_requests(void **state)
{
    struct pairs pairs;
    begin(*state, &pairs);
    for (int i = 0; i < 2; i++) {
        rig_say(pairs.clients[i], GET);
        rig_head(pairs.instances[4 - i]);
    }
    __atomic_store_n(&calls, 0, __ATOMIC_RELAXED);
    hold_with(pairs.clients[2]);
    rig_say(pairs.clients[3], GET);
    rig_say(pairs.clients[4], GET);
    rig_say(pairs.instances[4], OK);
    rig_say(pairs.instances[3], OK);
    let_go();
    expect_answer(pairs.clients[0]);
    expect_answer(pairs.clients[1]);
    rig_until(__atomic_load_n(&calls, __ATOMIC_ACQUIRE) == 10);
    assert_memory_equal(called, ".G..HH..GG", 10);
    end(&pairs);
}

/* Its time runs out while the worker has other things to do; what it has sent has come by then. */
static void who_asks_in_the_turn_that_ends_its_patience_is_heard(void **state)
{
    rig_world(*state)->settings.idle_ms = IDLE_MS;
    rig_publish(*state);
    int kept = rig_client(*state), other = rig_client(*state);
    int instance = rig_ask(*state, kept, GET);
    rig_say(instance, OK);
    expect_answer(kept);
    uint64_t since_ms = clock_mono_ms();
    hold_with(other);
    rig_until(clock_mono_ms() > since_ms + IDLE_MS + 50);
    rig_say(kept, GET);
    let_go();
    rig_head(instance);
    int second = rig_accept(*state, 0);
    rig_head(second);
    rig_say(instance, OK);
    rig_say(second, OK);
    expect_answer(kept);
    expect_answer(other);
    close(kept);
    close(other);
    close(instance);
    close(second);
}

#define NO_REQUEST "?\r\n\r\n"
#define LONG_PUT 200000 /* bytes, more than is kept to be sent again */

/* The connection is closed in the turn in which it is lent, too late for the turn to know. */
static void what_is_too_long_to_be_sent_again_goes_over_no_connection_that_was_just_closed(void **state)
{
    static char put[LONG_PUT + 100];
    int clients[3], instance = -1;
    for (int i = 0; i < 3; i++) {
        clients[i] = rig_client(*state);
        if (i == 0)
            instance = rig_ask(*state, clients[i], GET);
        else
            ask(clients[i], instance);
        rig_say(instance, OK);
        expect_answer(clients[i]);
    }
    int n = snprintf(put, sizeof put, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
                     LONG_PUT);
    snprintf(put + n, sizeof put - (size_t)n, "%0*d\r\n0\r\n\r\n", LONG_PUT, 0);
    hold_by(clients[0], NO_REQUEST);
    rig_say(clients[1], NO_REQUEST);
    rig_say(clients[2], put);
    let_one_go();
    close(instance);
    let_go();
    instance = rig_accept(*state, 0);
    rig_head(instance);
    rig_say(instance, OK);
    expect_answer(clients[2]);
    for (int i = 0; i < 3; i++)
        close(clients[i]);
    close(instance);
}

/* ---- long answers ---- */

#define LONG 20000
#define SHORT 4000
#define LONG_HEAD "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n"
#define READ_WITH_A_HEAD (sizeof LONG_HEAD - 1 + 128) /* with that behind one like it */

/* The head of an answer of so many bytes, and `part` bytes of it. */
static void say_part(int instance, unsigned length, unsigned part)
{
    char answer[LONG + 100];
    int n = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", length);
    for (unsigned i = 0; i < part; i++)
        answer[n++] = (char)('a' + i % 26);
    assert_int_equal(send(instance, answer, (size_t)n, 0), n);
}

static void expect_part(int client, unsigned from, unsigned to)
{
    const char *bytes = rig_bytes(client, to - from);
    for (unsigned i = from; i < to; i++)
        assert_int_equal(bytes[i - from], 'a' + i % 26);
}

/* Which calls it took from the request on. The last one may be told of behind what it has sent. */
static void expect_calls(const char *expected)
{
    size_t n = strlen(expected);
    rig_until(__atomic_load_n(&calls, __ATOMIC_ACQUIRE) >= n);
    assert_string_equal(called, expected);
}

/* Has the instance answer with so many bytes. */
static void expect_calls_of(int client, int instance, unsigned length, const char *expected)
{
    ask(client, instance);
    say_part(instance, length, length);
    rig_head(client);
    expect_part(client, 0, length);
    expect_calls(expected);
}

/* One whose last answer was long, before its next one. */
static int begin_long(struct rig *rig, int *client)
{
    *client = rig_client(rig);
    int instance = rig_ask(rig, *client, GET);
    say_part(instance, LONG, LONG);
    rig_head(*client);
    expect_part(*client, 0, LONG);
    return instance;
}

static void a_long_answer_behind_a_long_one_goes_by_a_conduit_and_its_head_with_it(void **state)
{
    int client, instance = begin_long(*state, &client);
    expect_calls_of(client, instance, LONG, ".G.sHs");
    close(client);
    close(instance);
}

static void a_short_answer_behind_a_long_one_goes_in_one_send(void **state)
{
    int client, instance = begin_long(*state, &client);
    expect_calls_of(client, instance, SHORT, ".G..H");
    expect_calls_of(client, instance, SHORT, ".G.H"); /* and no long one is expected any more */
    close(client);
    close(instance);
}

/* The head of an answer of LONG bytes, with a field of so many, and the body. */
static void say_long_with(int instance, unsigned field)
{
    char answer[LONG + 4096];
    int n = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nX: %0*d\r\nContent-Length: %d\r\n\r\n",
                     (int)field, 0, LONG);
    memset(answer + n, 'x', LONG);
    assert_int_equal(send(instance, answer, (size_t)n + LONG, 0), n + LONG);
}

static void expect_calls_of_long_with(int client, int instance, unsigned field, const char *expected)
{
    ask(client, instance);
    say_long_with(instance, field);
    rig_head(client);
    rig_bytes(client, LONG);
    expect_calls(expected);
}

static void as_much_is_read_with_a_head_as_the_last_one_had_and_a_little(void **state)
{
    int client, instance = begin_long(*state, &client);
    expect_calls_of_long_with(client, instance, 500, ".G..H"); /* longer than expected */
    expect_calls_of_long_with(client, instance, 500, ".G.sHs");
    expect_calls_of_long_with(client, instance, 600, ".G.sHs");
    expect_calls_of_long_with(client, instance, 100, ".G.sHs");
    close(client);
    close(instance);
}

static void a_longer_head_than_a_kib_goes_with_copies(void **state)
{
    int client, instance = begin_long(*state, &client);
    expect_calls_of_long_with(client, instance, 2000, ".G..H");
    expect_calls_of_long_with(client, instance, 2000, ".G..H");
    expect_calls_of_long_with(client, instance, 100, ".G.sHs");
    close(client);
    close(instance);
}

static void a_chunked_answer_behind_a_long_one_goes_in_one_send(void **state)
{
    char answer[1000];
    int n =
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n200\r\n%0*d\r\n0\r\n\r\n", 0x200, 0);
    int client, instance = begin_long(*state, &client);
    ask(client, instance);
    assert_int_equal(send(instance, answer, (size_t)n, 0), n);
    rig_head(client);
    rig_bytes(client, sizeof "200\r\n" - 1 + 0x200 + sizeof "\r\n0\r\n\r\n" - 1);
    expect_calls(".G..H");
    close(client);
    close(instance);
}

/* What a head of this length is read with is full, so there might be more; but it has not come. */
static void the_head_of_a_long_answer_does_not_wait_for_the_rest(void **state)
{
    int client, instance = begin_long(*state, &client);
    ask(client, instance);
    unsigned head = sizeof LONG_HEAD - 1;
    say_part(instance, LONG, READ_WITH_A_HEAD - head);
    rig_head(client);
    expect_part(client, 0, READ_WITH_A_HEAD - head);
    char rest[LONG];
    for (unsigned i = 0; i < LONG; i++)
        rest[i] = (char)('a' + i % 26);
    send(instance, rest + READ_WITH_A_HEAD - head, LONG - READ_WITH_A_HEAD + head, 0);
    expect_part(client, READ_WITH_A_HEAD - head, LONG);
    expect_calls(".G.Hsls"); /* what comes later is looked behind */
    close(client);
    close(instance);
}

static void a_long_answer_that_ends_early_is_cut(void **state)
{
    int client, instance = begin_long(*state, &client);
    rig_say(client, GET);
    rig_head(instance);
    say_part(instance, LONG, LONG / 2);
    close(instance);
    rig_head(client);
    assert_true(strlen(rig_rest(client, NULL)) <= LONG / 2);
    close(client);
}

/* The instance says that while the worker is held, so all of it, and its end, is there at once. */
static void say_at_once_and_close(struct rig *rig, int instance, const char *answer)
{
    int other = rig_client(rig);
    hold_with(other);
    rig_say(instance, answer);
    close(instance);
    let_go();
    close(rig_accept(rig, 0));
    close(other);
}

/* An answer whose first READ_WITH_A_HEAD bytes are its head, which announces so many, and part of its body.
 */
static const char *first_read(unsigned length, char room[READ_WITH_A_HEAD + 1])
{
    int head = snprintf(room, READ_WITH_A_HEAD, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", length);
    memset(room + head, 'x', READ_WITH_A_HEAD - (size_t)head);
    room[READ_WITH_A_HEAD] = '\0';
    return room;
}

static void a_short_answer_that_is_seen_to_end_early_before_it_is_passed_on_is_a_bad_one(void **state)
{
    char answer[READ_WITH_A_HEAD + 1];
    int client, instance = begin_long(*state, &client);
    rig_say(client, GET);
    rig_head(instance);
    say_at_once_and_close(*state, instance, first_read(SHORT, answer));
    assert_memory_equal(rig_head(client), "HTTP/1.1 502 ", 13);
    close(client);
}

static void an_answer_that_is_as_long_as_the_first_read_is_whole_though_its_connection_ends(void **state)
{
    char answer[READ_WITH_A_HEAD + 1];
    int client, instance = begin_long(*state, &client);
    unsigned length = READ_WITH_A_HEAD - (sizeof "HTTP/1.1 200 OK\r\nContent-Length: 130\r\n\r\n" - 1);
    assert_int_equal(length, 130);
    rig_say(client, GET);
    rig_head(instance);
    say_at_once_and_close(*state, instance, first_read(length, answer));
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    rig_bytes(client, length);
    close(client);
}

/* As if it had not been taken for a long one. */
static void what_is_there_of_a_long_answer_that_ends_early_is_sent(void **state)
{
    char answer[READ_WITH_A_HEAD + 1];
    int client, instance = begin_long(*state, &client);
    rig_say(client, GET);
    rig_head(instance);
    say_at_once_and_close(*state, instance, first_read(LONG, answer));
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    assert_string_equal(rig_rest(client, NULL), strstr(answer, "\r\n\r\n") + 4);
    close(client);
}

/* More is read than a short answer is read on to. */
static void an_answer_behind_a_long_one_may_have_a_long_head(void **state)
{
    enum { BODY = 100000 };
    struct rig *rig = *state;
    int client, instance = begin_long(rig, &client);
    rig_world(rig)->settings.head_max = 65536;
    rig_publish(rig);
    int other = rig_client(rig);
    rig_say(client, GET);
    rig_head(instance);
    hold_with(other);
    static char answer[BODY + 4096];
    int n = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nX: %02000d\r\nContent-Length: %d\r\n\r\n", 0,
                     BODY);
    memset(answer + n, 'x', BODY);
    assert_int_equal(send(instance, answer, (size_t)n + BODY, 0), n + BODY);
    let_go();
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    for (int i = 0; i < BODY; i += 1000)
        rig_bytes(client, 1000);
    close(client);
    close(other);
    close(instance);
    close(rig_accept(rig, 0));
}

static void an_early_answer_behind_a_long_one_says_that_the_connection_ends(void **state)
{
    int client, instance = begin_long(*state, &client);
    rig_say(client, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    rig_head(instance);
    say_part(instance, SHORT, SHORT);
    assert_string_equal(rig_field(rig_head(client), "Connection"), "close");
    expect_part(client, 0, SHORT);
    close(client);
    close(instance);
}

/* It is as full as one that might be long, and its end is all that comes behind it. */
static void an_answer_up_to_the_connection_s_end_behind_a_long_one_is_whole(void **state)
{
    int client, instance = begin_long(*state, &client);
    char answer[READ_WITH_A_HEAD + 1] = "HTTP/1.1 200 OK\r\n\r\n";
    size_t head = strlen(answer);
    memset(answer + head, 'x', READ_WITH_A_HEAD - head);
    rig_say(client, GET);
    rig_head(instance);
    say_at_once_and_close(*state, instance, answer);
    rig_head(client);
    assert_memory_equal(rig_bytes(client, 4), "97\r\n", 4); /* 151 */
    assert_memory_equal(rig_bytes(client, READ_WITH_A_HEAD - (unsigned)head), answer + head,
                        READ_WITH_A_HEAD - head);
    assert_string_equal(rig_bytes(client, 7), "\r\n0\r\n\r\n");
    close(client);
}

/* The first read takes all of it, and might as well have taken a part. */
static void a_chunked_answer_as_long_as_the_first_read_is_whole_though_its_connection_ends(void **state)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                      end[] = "\r\n0\r\n\r\n";
    int client, instance = begin_long(*state, &client);
    unsigned data = READ_WITH_A_HEAD - (sizeof head - 1) - 4 - (sizeof end - 1); /* 4: "70\r\n" */
    char answer[READ_WITH_A_HEAD + 1];
    snprintf(answer, sizeof answer, "%s%02x\r\n%0*d%s", head, data, (int)data, 0, end);
    assert_int_equal(strlen(answer), READ_WITH_A_HEAD);
    rig_say(client, GET);
    rig_head(instance);
    say_at_once_and_close(*state, instance, answer);
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    rig_bytes(client, 4 + data);
    assert_string_equal(rig_bytes(client, sizeof end - 1), end);
    close(client);
}

static void a_chunked_answer_behind_a_long_one_that_ends_early_is_cut(void **state)
{
    char answer[READ_WITH_A_HEAD + 1];
    int client, instance = begin_long(*state, &client);
    int n = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n");
    memset(answer + n, 'x', READ_WITH_A_HEAD - (size_t)n);
    answer[READ_WITH_A_HEAD] = '\0';
    rig_say(client, GET);
    rig_head(instance);
    say_at_once_and_close(*state, instance, answer);
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    assert_null(strstr(rig_rest(client, NULL), "\r\n0\r\n\r\n"));
    close(client);
}

static void a_connection_on_which_more_came_than_a_long_answer_is_not_lent_again(void **state)
{
    int client, other = rig_client(*state), instance = begin_long(*state, &client);
    rig_say(client, GET);
    rig_head(instance);
    hold_with(other);
    say_part(instance, LONG, LONG + 1);
    let_go();
    rig_head(client);
    expect_part(client, 0, LONG);
    int second = rig_accept(*state, 0);
    rig_head(second);
    rig_say(client, GET);
    int third = rig_accept(*state, 0);
    rig_head(third);
    rig_say(third, OK);
    expect_answer(client);
    close(client);
    close(other);
    close(instance);
    close(second);
    close(third);
}

/* ---- an instance that goes ---- */

static int start_with_all(void **state)
{
    is_test = true;
    *state = rig_start(1);
    return 0;
}

/* Accepts what has come to the second instance or the third. */
static int accept_elsewhere(struct rig *rig)
{
    return rig_accept(rig, rig_is_called(rig, 1) ? 1 : 2);
}

static bool is_called_elsewhere(struct rig *rig)
{
    return rig_is_called(rig, 1) || rig_is_called(rig, 2);
}

static void serve_elsewhere(struct rig *rig, int client)
{
    int instance = accept_elsewhere(rig);
    rig_head(instance);
    rig_say(instance, OK);
    expect_answer(client);
    close(instance);
}

static bool is_readable(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&look, 1, 0) == 1;
}

/* Asks until the first instance has it, over `kept` (-1: none) or a new connection, which is returned. */
static int ask_first(struct rig *rig, int client, int kept)
{
    for (;;) {
        rig_say(client, GET);
        rig_until(rig_is_called(rig, 0) || is_called_elsewhere(rig) || is_readable(kept));
        if (is_called_elsewhere(rig)) {
            serve_elsewhere(rig, client);
            continue;
        }
        int instance = is_readable(kept) ? kept : rig_accept(rig, 0);
        rig_head(instance);
        return instance;
    }
}

/* The first instance closes these in one turn, in this order, and listens no longer. Whoever waited for it is
 * served by others. */
static void expect_no_loss(struct rig *rig, const int clients[2], const int lost[2])
{
    int third = rig_client(rig);
    hold_with(third);
    close(lost[0]);
    close(lost[1]);
    rig_refuse(rig, 0);
    let_go();
    int instances[3];
    for (int i = 0; i < 3; i++) {
        rig_until(is_called_elsewhere(rig));
        instances[i] = accept_elsewhere(rig);
        rig_head(instances[i]);
    }
    for (int i = 0; i < 3; i++)
        rig_say(instances[i], OK);
    for (int i = 0; i < 3; i++) {
        int client = i < 2 ? clients[i] : third;
        expect_answer(client);
        close(client);
        close(instances[i]);
    }
}

static void a_new_connection_that_a_dying_instance_loses_before_a_kept_one_costs_no_request(void **state)
{
    int clients[2] = {rig_client(*state), rig_client(*state)}, lost[2];
    lost[1] = ask_first(*state, clients[1], -1);
    rig_say(lost[1], OK);
    expect_answer(clients[1]);
    ask_first(*state, clients[1], lost[1]);
    lost[0] = ask_first(*state, clients[0], -1);
    expect_no_loss(*state, clients, lost);
}

static void nor_does_one_that_it_loses_before_that_of_an_answer(void **state)
{
    int clients[2] = {rig_client(*state), rig_client(*state)}, third = rig_client(*state);
    int cut = ask_first(*state, clients[1], -1);
    say_part(cut, SHORT, SHORT / 2);
    rig_head(clients[1]);
    int lost = ask_first(*state, clients[0], -1);
    hold_with(third);
    close(lost);
    close(cut);
    let_go();
    for (int i = 0; i < 2; i++) {
        rig_until(is_called_elsewhere(*state));
        serve_elsewhere(*state, i == 0 ? third : clients[0]);
    }
    assert_int_equal(strlen(rig_rest(clients[1], NULL)), SHORT / 2);
    close(clients[0]);
    close(clients[1]);
    close(third);
}

/* Of three requests in turn one comes to the first instance. */
static void nor_does_one_that_it_loses_before_it_refuses_others(void **state)
{
    int clients[4], instances[4];
    for (int i = 0; i < 4; i++)
        clients[i] = rig_client(*state);
    int lost = ask_first(*state, clients[0], -1);
    hold_with(clients[1]);
    rig_say(clients[2], GET);
    rig_say(clients[3], GET);
    close(lost);
    rig_refuse(*state, 0);
    let_go();
    for (int i = 0; i < 4; i++) {
        rig_until(is_called_elsewhere(*state));
        instances[i] = accept_elsewhere(*state);
        rig_head(instances[i]);
    }
    for (int i = 0; i < 4; i++)
        rig_say(instances[i], OK);
    for (int i = 0; i < 4; i++) {
        expect_answer(clients[i]);
        close(clients[i]);
        close(instances[i]);
    }
}

static void new_connections_that_a_dying_instance_loses_together_cost_no_request(void **state)
{
    int clients[2], lost[2];
    for (int i = 0; i < 2; i++) {
        clients[i] = rig_client(*state);
        lost[i] = ask_first(*state, clients[i], -1);
    }
    expect_no_loss(*state, clients, lost);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_a_turn_sends_goes_together_its_answers_before_its_requests),
        TEST(who_asks_in_the_turn_that_ends_its_patience_is_heard),
        TEST(what_is_too_long_to_be_sent_again_goes_over_no_connection_that_was_just_closed),
        TEST(a_long_answer_behind_a_long_one_goes_by_a_conduit_and_its_head_with_it),
        TEST(a_short_answer_behind_a_long_one_goes_in_one_send),
        TEST(as_much_is_read_with_a_head_as_the_last_one_had_and_a_little),
        TEST(a_longer_head_than_a_kib_goes_with_copies),
        TEST(a_chunked_answer_behind_a_long_one_goes_in_one_send),
        TEST(the_head_of_a_long_answer_does_not_wait_for_the_rest),
        TEST(a_long_answer_that_ends_early_is_cut),
        TEST(a_short_answer_that_is_seen_to_end_early_before_it_is_passed_on_is_a_bad_one),
        TEST(an_answer_that_is_as_long_as_the_first_read_is_whole_though_its_connection_ends),
        TEST(what_is_there_of_a_long_answer_that_ends_early_is_sent),
        TEST(an_answer_behind_a_long_one_may_have_a_long_head),
        TEST(an_early_answer_behind_a_long_one_says_that_the_connection_ends),
        TEST(an_answer_up_to_the_connection_s_end_behind_a_long_one_is_whole),
        TEST(a_chunked_answer_as_long_as_the_first_read_is_whole_though_its_connection_ends),
        TEST(a_chunked_answer_behind_a_long_one_that_ends_early_is_cut),
        TEST(a_connection_on_which_more_came_than_a_long_answer_is_not_lent_again),
        cmocka_unit_test_setup_teardown(
            a_new_connection_that_a_dying_instance_loses_before_a_kept_one_costs_no_request, start_with_all,
            stop),
        cmocka_unit_test_setup_teardown(nor_does_one_that_it_loses_before_that_of_an_answer, start_with_all,
                                        stop),
        cmocka_unit_test_setup_teardown(nor_does_one_that_it_loses_before_it_refuses_others, start_with_all,
                                        stop),
        cmocka_unit_test_setup_teardown(new_connections_that_a_dying_instance_loses_together_cost_no_request,
                                        start_with_all, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
