#include "control/probe.h"

#include "descriptors.h"
#include "unit.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>

static struct loop *loop;
static struct probe *probe;
static struct resolve *resolve;
static bool probed, ok;
static size_t ready_count, ready_last;
static char reason[512];
static struct probe_target resolved[8];
static bool failed;

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    probed = ok = failed = false;
    ready_count = 0;
    reason[0] = '\0';
    memset(resolved, 0, sizeof resolved);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

/* A socket bound to a free port of loopback; it listens only if asked to. */
static int bound(struct probe_target *target, bool listening)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&target->address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *target = (struct probe_target){.name = "the-name:1", .length = sizeof *in};
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)in, sizeof *in), 0);
    socklen_t length = sizeof *in;
    assert_int_equal(getsockname(fd, (struct sockaddr *)in, &length), 0);
    if (listening)
        assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static const char *text_of(const struct probe_target *target)
{
    static char text[80];
    char host[INET6_ADDRSTRLEN];
    const struct sockaddr_in *in = (const struct sockaddr_in *)&target->address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&target->address;
    if (target->address.ss_family == AF_INET6) {
        assert_int_equal(target->length, sizeof *in6);
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(text, sizeof text, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        assert_int_equal(target->length, sizeof *in);
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, sizeof text, "%s:%u", host, ntohs(in->sin_port));
    }
    return text;
}

static void on_ready(void *arg, size_t index)
{
    (void)arg;
    ready_count++;
    ready_last = index;
}

static void on_done(void *arg, bool passed, const char *why)
{
    (void)arg;
    assert_false(probed);
    probed = true;
    ok = passed;
    snprintf(reason, sizeof reason, "%s", why);
    loop_stop(loop);
}

static void run_probe(const struct probe_target *targets, size_t count, uint64_t timeout_ms)
{
    probe_start(loop, targets, count, timeout_ms, on_ready, on_done, NULL);
    assert_false(probed);
    loop_run(loop);
    assert_true(probed);
}

static void every_target_that_listens_is_ready(void **state)
{
    (void)state;
    struct probe_target targets[2];
    int a = bound(&targets[0], true), b = bound(&targets[1], true);
    run_probe(targets, 2, 5000);
    assert_true(ok);
    assert_string_equal(reason, "");
    assert_int_equal(ready_count, 2);
    close(a);
    close(b);
}

static void one_try_fails_at_once_and_names_the_first_that_refused(void **state)
{
    (void)state;
    struct probe_target targets[3];
    int a = bound(&targets[0], true), b = bound(&targets[1], false), c = bound(&targets[2], false);
    targets[1].name = "10.0.0.5:8002";
    run_probe(targets, 3, 0);
    assert_false(ok);
    assert_string_equal(reason, "instance 10.0.0.5:8002 does not accept a connection: Connection refused");
    assert_int_equal(ready_count, 1);
    assert_int_equal(ready_last, 0);
    close(a);
    close(b);
    close(c);
}

static void a_probe_says_that_it_is_only_a_check_where_a_proxy_header_is_wanted(void **state)
{
    (void)state;
    static const struct {
        unsigned version;
        size_t size;
        const char *bytes;
    } rows[] = {{0, 0, ""}, {1, 15, "PROXY UNKNOWN\r\n"}, {2, 16, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"}};
    for (size_t i = 0; i < 3; i++) {
        struct probe_target target;
        char bytes[32];
        int listening = bound(&target, true);
        target.proxy_protocol = rows[i].version;
        probed = false;
        run_probe(&target, 1, 5000);
        assert_true(ok);
        int fd = accept(listening, NULL, NULL);
        assert_int_equal(recv(fd, bytes, sizeof bytes, MSG_WAITALL), rows[i].size);
        assert_memory_equal(bytes, rows[i].bytes, rows[i].size);
        close(fd);
        close(listening);
    }
}

static struct event *opener;
static int late_fd;

static void open_late(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    assert_false(probed);
    assert_int_equal(listen(late_fd, 16), 0);
}

static void a_target_that_listens_later_is_tried_until_it_does(void **state)
{
    (void)state;
    struct probe_target target;
    late_fd = bound(&target, false);
    opener = event_new(loop_base(loop), -1, 0, open_late, NULL);
    event_add(opener, &(struct timeval){.tv_usec = 120000});
    run_probe(&target, 1, 10000);
    assert_true(ok);
    assert_int_equal(ready_count, 1);
    event_free(opener);
    close(late_fd);
}

static void a_target_that_never_listens_fails_at_the_timeout_with_its_last_error(void **state)
{
    (void)state;
    struct probe_target target;
    int fd = bound(&target, false);
    uint64_t began = clock_mono_ms();
    run_probe(&target, 1, 150);
    assert_in_range(clock_mono_ms() - began, 150, 5000);
    assert_false(ok);
    char expected[128];
    snprintf(expected, sizeof expected,
             "instance the-name:1 (%s) did not accept a connection within 0.15 s: Connection refused",
             text_of(&target));
    assert_string_equal(reason, expected);
    close(fd);
}

static void cancel_on_ready(void *arg, size_t index)
{
    (void)arg;
    (void)index;
    ready_count++;
    probe_cancel(probe);
    loop_stop(loop);
}

static void a_cancelled_probe_calls_nobody(void **state)
{
    (void)state;
    struct probe_target targets[2];
    int a = bound(&targets[0], true), b = bound(&targets[1], true);
    probe = probe_start(loop, targets, 2, 5000, cancel_on_ready, on_done, NULL);
    loop_run(loop);
    assert_int_equal(ready_count, 1);
    assert_false(probed);
    probe_cancel(NULL);
    close(a);
    close(b);
}

/* ---- resolve ---- */

static void on_resolved(void *arg, const struct probe_target *targets, const char *why)
{
    size_t count = *(size_t *)arg;
    failed = targets == NULL;
    if (failed)
        snprintf(reason, sizeof reason, "%s", why);
    else
        memcpy(resolved, targets, count * sizeof *targets);
    loop_stop(loop);
}

static void run_resolve(const char *const *names, size_t count)
{
    resolve_start(loop, names, count, on_resolved, &count);
    assert_null(resolved[0].name);
    loop_run(loop);
}

static void addresses_are_taken_as_they_are(void **state)
{
    (void)state;
    const char *names[] = {"10.0.0.5:8001", "[::1]:80"};
    run_resolve(names, 2);
    assert_false(failed);
    assert_string_equal(text_of(&resolved[0]), names[0]);
    assert_string_equal(text_of(&resolved[1]), names[1]);
}

static void a_name_gets_its_address_and_each_instance_its_port(void **state)
{
    (void)state;
    const char *names[] = {"localhost:8001", "localhost:8002", "10.0.0.5:8003"};
    run_resolve(names, 3);
    assert_false(failed);
    assert_string_equal(text_of(&resolved[0]), "127.0.0.1:8001");
    assert_string_equal(text_of(&resolved[1]), "127.0.0.1:8002");
    assert_string_equal(text_of(&resolved[2]), "10.0.0.5:8003");
}

static void a_name_that_nobody_knows_is_a_sentence(void **state)
{
    (void)state;
    const char *names[] = {"localhost:1", "nobody.invalid:8001"};
    run_resolve(names, 2);
    assert_true(failed);
    const char *begin = "instance nobody.invalid:8001: the name \"nobody.invalid\" cannot be resolved: ";
    assert_memory_equal(reason, begin, strlen(begin));
}

static void a_text_that_is_no_address_is_a_sentence(void **state)
{
    (void)state;
    const char *names[] = {"localhost:1", "localhost"};
    run_resolve(names, 2);
    assert_true(failed);
    assert_non_null(strstr(reason, "\"localhost\" is not an address"));
}

/* A request that waits for its thread has a descriptor, by which the thread wakes the loop. When it has come
 * back, a turn that does not sleep follows, since its mailbox is freed after one. */
static unsigned open_before;

static bool waits_for_a_thread(void)
{
    return open_descriptors() > open_before;
}

static void stop_when_no_thread_is_out(void *arg)
{
    (void)arg;
    if (!waits_for_a_thread())
        loop_stop(loop);
}

static void a_cancelled_request_is_dropped_when_its_thread_comes_back(void **state)
{
    (void)state;
    const char *names[] = {"localhost:8001"};
    size_t count = 1;
    open_before = open_descriptors();
    resolve = resolve_start(loop, names, 1, on_resolved, &count);
    resolve_cancel(resolve);
    resolve_cancel(NULL);
    assert_true(waits_for_a_thread());
    loop_on_turn(loop, stop_when_no_thread_is_out, NULL);
    loop_run(loop);
    loop_on_turn(loop, NULL, NULL);
    const char *others[] = {"localhost:8002"};
    run_resolve(others, 1);
    assert_string_equal(text_of(&resolved[0]), "127.0.0.1:8002");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_target_that_listens_is_ready),
        TEST(one_try_fails_at_once_and_names_the_first_that_refused),
        TEST(a_probe_says_that_it_is_only_a_check_where_a_proxy_header_is_wanted),
        TEST(a_target_that_listens_later_is_tried_until_it_does),
        TEST(a_target_that_never_listens_fails_at_the_timeout_with_its_last_error),
        TEST(a_cancelled_probe_calls_nobody),
        TEST(addresses_are_taken_as_they_are),
        TEST(a_name_gets_its_address_and_each_instance_its_port),
        TEST(a_name_that_nobody_knows_is_a_sentence),
        TEST(a_text_that_is_no_address_is_a_sentence),
        TEST(a_cancelled_request_is_dropped_when_its_thread_comes_back),
    };
    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
