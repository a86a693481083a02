/* What a worker sends in one turn, and in which order: it is held in the middle of a turn until all that the
 * next one is to find has come. */
#include "rig.h"

#include "unit.h"

#include "base/clock.h"

#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#define SENDS_MAX 8
#define IDLE_MS 500
#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- what the plane calls ---- */

static _Thread_local bool is_test;
static bool held, waits;     /* the plane's sends are to wait; one does */
static char sent[SENDS_MAX]; /* the first letter of each, in order */
static unsigned sends;

ssize_t __real_send(int fd, const void *bytes, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t n, int flags);

ssize_t __wrap_send(int fd, const void *bytes, size_t n, int flags)
{
    if (is_test)
        return __real_send(fd, bytes, n, flags);
    sent[sends % SENDS_MAX] = *(const char *)bytes;
    __atomic_add_fetch(&sends, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&held, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&waits, true, __ATOMIC_RELEASE);
        sched_yield();
    }
    return __real_send(fd, bytes, n, flags);
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

/* The one who asks meanwhile does so before the other's answer comes, so it is not the order of their coming.
 * Of the kept connections the one that came back last is lent first. */
static void the_answers_of_a_turn_go_before_its_requests(void **state)
{
    int clients[3], instances[3];
    for (int i = 0; i < 3; i++) {
        clients[i] = rig_client(*state);
        instances[i] = rig_ask(*state, clients[i], GET);
    }
    for (int i = 0; i < 3; i++) {
        rig_say(instances[i], OK);
        expect_answer(clients[i]);
    }
    rig_say(clients[0], GET);
    rig_head(instances[2]);
    __atomic_store_n(&sends, 0, __ATOMIC_RELAXED);
    hold_with(clients[1]);
    rig_say(clients[2], GET);
    rig_say(instances[2], OK);
    let_go();
    expect_answer(clients[0]);
    rig_head(instances[1]);
    rig_until(__atomic_load_n(&sends, __ATOMIC_ACQUIRE) == 3);
    assert_memory_equal(sent, "GHG", 3);
    for (int i = 0; i < 3; i++) {
        close(clients[i]);
        close(instances[i]);
    }
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
        cmocka_unit_test_setup_teardown(the_answers_of_a_turn_go_before_its_requests, start, stop),
        cmocka_unit_test_setup_teardown(who_asks_in_the_turn_that_ends_its_patience_is_heard, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
