/* What a worker sends in one turn, and in which order: it is held in the middle of a turn until all that the
 * next one is to find has come. */
#include "rig.h"

#include "unit.h"

#include "base/clock.h"

#include <sched.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALLS_MAX 16
#define IDLE_MS 500
#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- what the plane calls ---- */

static _Thread_local bool is_test;
static bool held, waits;       /* the plane's sends are to wait; one does */
static char called[CALLS_MAX]; /* of each send its first letter, of each recv that found something a dot */
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
    while (__atomic_load_n(&held, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&waits, true, __ATOMIC_RELEASE);
        sched_yield();
    }
}

static ssize_t received(ssize_t count)
{
    if (!is_test && count > 0)
        note('.');
    return count;
}

/* As io/direct.h calls the kernel; and as it does so under a sanitizer. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
ssize_t __real_send(int fd, const void *bytes, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t n, int flags);
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
    long result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return number == SYS_recvfrom ? received(result) : result;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t n, int flags)
{
    sends(bytes);
    return __real_send(fd, bytes, n, flags);
}

ssize_t __wrap_recv(int fd, void *bytes, size_t room, int flags)
{
    return received(__real_recv(fd, bytes, room, flags));
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

/* The client's request is in the middle of being sent, and stays so until `let_go`. */
static void hold_with(int client)
{
    __atomic_store_n(&waits, false, __ATOMIC_RELAXED);
    __atomic_store_n(&held, true, __ATOMIC_RELEASE);
    rig_say(client, GET);
    rig_until(__atomic_load_n(&waits, __ATOMIC_ACQUIRE));
}

static void let_go(void)
{
    __atomic_store_n(&held, false, __ATOMIC_RELEASE);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_turn_sends_goes_together_its_answers_before_its_requests,
                                        start, stop),
        cmocka_unit_test_setup_teardown(who_asks_in_the_turn_that_ends_its_patience_is_heard, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
