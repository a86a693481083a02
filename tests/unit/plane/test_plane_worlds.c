#include "rig.h"

#include "unit.h"

#include "base/clock.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define LATER 60000 /* ms: a deadline that is not meant to pass */
#define SOON 100    /* ms: one that is */

static int start(void **state)
{
    *state = rig_start(2);
    return 0;
}

static int stop(void **state)
{
    return rig_stop(*state);
}

static void finish(int client, int instance)
{
    rig_say(instance, OK);
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    assert_string_equal(rig_bytes(client, 2), "ok");
}

static uint64_t in_flight(struct rig *rig, uint32_t pool)
{
    return counters_pool_in_flight(rig_counters(rig), pool);
}

static void a_request_belongs_to_the_pool_that_was_live_when_its_head_was_complete(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig), instance = rig_ask(rig, client, GET);
    int other = rig_client(rig);
    rig_say(other, "GET / HTTP/1.1\r\n");
    rig_swap(rig, LATER, LATER);
    assert_int_equal(in_flight(rig, 1), 1);
    int later = rig_ask(rig, other, "Host: a\r\n\r\n");
    assert_int_equal(in_flight(rig, 1), 1);
    assert_int_equal(in_flight(rig, 2), 1);
    finish(client, instance);
    rig_until(in_flight(rig, 1) == 0);
    finish(other, later);
    rig_until(in_flight(rig, 2) == 0);
    /* The first connection was the old pool's, and is not kept. */
    assert_string_equal(rig_rest(instance, NULL), "");
    close(client);
    close(other);
    close(instance);
    close(later);
}

static void idle_connections_to_instances_that_get_no_more_requests_are_closed(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig), instance = rig_ask(rig, client, GET);
    finish(client, instance);
    for (unsigned i = 0; i < RIG_INSTANCES; i++)
        rig_world(rig)->drained[i] = true;
    rig_publish(rig);
    assert_string_equal(rig_rest(instance, NULL), "");
    close(client);
    close(instance);
}

static void a_world_that_cannot_be_used_is_refused_and_the_old_one_stays(void **state)
{
    struct rig *rig = *state;
    assert_non_null(strstr(rig_publish_bytes(rig, "junk", 4, false), "not sealed"));
    assert_true(strlen(rig_publish_bytes(rig, "junk", 4, true)) > 0);
    int client = rig_client(rig), instance = rig_ask(rig, client, GET);
    finish(client, instance);
    close(client);
    close(instance);
}

static void an_amendment_of_what_has_never_come_is_refused_and_the_old_world_stays(void **state)
{
    struct rig *rig = *state;
    assert_non_null(strstr(rig_publish_baseless(rig), "it amends version 2, not 1"));
    int client = rig_client(rig), instance = rig_ask(rig, client, GET);
    finish(client, instance);
    rig_publish(rig);
    assert_int_equal(rig_who(rig).version, 2);
    close(client);
    close(instance);
}

static void an_image_that_is_to_be_amended_is_no_world_by_itself(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->pool = SNAPSHOT_NONE;
    rig_send_ground(rig);
    assert_int_equal(rig_who(rig).version, 1);
    int client = rig_client(rig), instance = rig_ask(rig, client, GET);
    finish(client, instance);
    close(instance);
    rig_world(rig)->pool = 1;
    rig_publish(rig);
    assert_int_equal(rig_who(rig).version, 3);
    instance = rig_ask(rig, client, GET);
    finish(client, instance);
    close(client);
    close(instance);
}

static void other_routes_come_whole_and_are_amended_then(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig);
    rig_publish(rig);
    rig_world(rig)->path = "/there";
    rig_publish(rig);
    rig_publish(rig);
    rig_say(client, GET);
    assert_non_null(strstr(rig_head(client), " 404 "));
    close(client);
}

static void who_is_asked_after_tells_the_published_version(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig);
    struct message_hello hello = rig_who(rig);
    assert_int_equal(hello.version, 2);
    assert_int_equal(hello.workers, 2);
    assert_int_equal(hello.pid, getpid());
}

static void a_listener_that_the_world_does_not_name_is_closed(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig), instance = rig_ask(rig, client, GET);
    rig_world(rig)->listens = false;
    rig_publish(rig);
    assert_true(rig_is_deaf(rig));
    finish(client, instance);
    close(client);
    close(instance);
}

static void traffic_does_not_notice_that_control_is_gone(void **state)
{
    struct rig *rig = *state;
    rig_lose_control(rig);
    int client = rig_client(rig), instance = rig_ask(rig, client, GET);
    finish(client, instance);
    close(client);
    close(instance);
}

static void a_stop_finishes_what_is_in_flight_and_says_close(void **state)
{
    (void)state;
    struct rig *rig = rig_start(2);
    int client = rig_client(rig), instance = rig_ask(rig, client, GET);
    int idle = rig_client(rig);
    rig_say_stop(rig);
    rig_until(rig_is_deaf(rig));
    rig_say(instance, OK);
    assert_string_equal(rig_field(rig_head(client), "Connection"), "close");
    assert_string_equal(rig_rest(client, NULL), "ok");
    assert_string_equal(rig_rest(idle, NULL), "");
    close(client);
    close(idle);
    close(instance);
    assert_int_equal(rig_join(rig), 0);
}

static void a_stop_ends_what_does_not_end_by_itself(void **state)
{
    (void)state;
    struct rig *rig = rig_start(1);
    rig_world(rig)->rules.drain_requests_ms = SOON;
    rig_publish(rig);
    int client = rig_client(rig), instance = rig_ask(rig, client, GET);
    rig_say_stop(rig);
    assert_memory_equal(rig_head(client), "HTTP/1.1 503 ", 13);
    close(client);
    close(instance);
    assert_int_equal(rig_join(rig), 0);
}

static void a_stop_serves_whom_the_kernel_has_already_greeted(void **state)
{
    (void)state;
    struct rig *rig = rig_start(1);
    int client = rig_client(rig);
    rig_say(client, GET);
    rig_say_stop(rig);
    int instance = rig_accept(rig, 0);
    finish(client, instance);
    close(client);
    close(instance);
    assert_int_equal(rig_join(rig), 0);
}

static void without_its_keeper_the_plane_ends_at_once(void **state)
{
    (void)state;
    struct rig *rig = rig_start(2);
    int client = rig_client(rig), instance = rig_ask(rig, client, GET);
    assert_int_equal(rig_lose_keeper(rig), 1);
    close(client);
    close(instance);
}

/* Those behind the first are begun by nobody. */
static void a_pipeline_that_is_under_way_ends_with_the_plane(void **state)
{
    (void)state;
    struct rig *rig = rig_start_with_one();
    int client = rig_client(rig), instance = rig_ask(rig, client, GET GET GET);
    assert_int_equal(rig_lose_keeper(rig), 1);
    bool reset;
    const char *rest = rig_rest(client, &reset);
    assert_false(reset);
    assert_non_null(strstr(rest, "HTTP/1.1 503 "));
    assert_string_equal(rig_field(rest, "Connection"), "close");
    assert_null(strstr(rest + 1, "HTTP/1.1 "));
    close(client);
    close(instance);
}

static void every_request_is_a_line_of_the_access_log(void **state)
{
    (void)state;
    struct rig *rig = rig_start(2);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    rig_log_to(rig, ends[1]);
    close(ends[1]);
    rig_world(rig)->settings.access_log = SNAPSHOT_LOG_JSON;
    rig_publish(rig);
    int client = rig_client(rig);
    int instance = rig_ask(rig, client, "GET /x?q HTTP/1.1\r\nHost: app.test\r\nUser-Agent: \"me\\\r\n\r\n");
    finish(client, instance);
    rig_say(client, "nonsense\r\n\r\n");
    rig_rest(client, NULL);
    close(client);
    close(instance);
    assert_int_equal(rig_stop(rig), 0);
    char text[4096];
    ssize_t size = read(ends[0], text, sizeof text - 1);
    assert_true(size > 0);
    text[size] = '\0';
    close(ends[0]);
    assert_non_null(strstr(text, "\"method\":\"GET\",\"host\":\"app.test\",\"target\":\"/x?q\""));
    assert_non_null(strstr(text, "\"status\":200"));
    assert_non_null(strstr(text, "\"service\":\"web\",\"pool\":\"web-1\""));
    assert_non_null(strstr(text, "\"user_agent\":\"\\\"me\\\\\""));
    assert_non_null(strstr(text, "\"status\":400"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_request_belongs_to_the_pool_that_was_live_when_its_head_was_complete),
        TEST(idle_connections_to_instances_that_get_no_more_requests_are_closed),
        TEST(a_world_that_cannot_be_used_is_refused_and_the_old_one_stays),
        TEST(an_amendment_of_what_has_never_come_is_refused_and_the_old_world_stays),
        TEST(an_image_that_is_to_be_amended_is_no_world_by_itself),
        TEST(other_routes_come_whole_and_are_amended_then),
        TEST(who_is_asked_after_tells_the_published_version),
        TEST(a_listener_that_the_world_does_not_name_is_closed),
        TEST(traffic_does_not_notice_that_control_is_gone),
        cmocka_unit_test(a_stop_finishes_what_is_in_flight_and_says_close),
        cmocka_unit_test(a_stop_ends_what_does_not_end_by_itself),
        cmocka_unit_test(a_stop_serves_whom_the_kernel_has_already_greeted),
        cmocka_unit_test(without_its_keeper_the_plane_ends_at_once),
        cmocka_unit_test(a_pipeline_that_is_under_way_ends_with_the_plane),
        cmocka_unit_test(every_request_is_a_line_of_the_access_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
