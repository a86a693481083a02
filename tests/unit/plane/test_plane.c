#include "rig.h"

#include "unit.h"

#include "base/clock.h"

#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void a_request_reaches_an_instance_and_its_answer_the_client(void **state)
{
    (void)state;
    struct rig *rig = rig_start(1);
    int client = rig_client(rig);
    rig_say(client, GET);
    int instance = rig_accept(rig, 0);
    const char *head = rig_head(instance);
    assert_string_equal(rig_field(head, "Host"), "app.test");
    assert_string_equal(rig_field(head, "X-Forwarded-For"), "127.0.0.1");
    assert_int_equal(counters_pool_in_flight(rig_counters(rig), 1), 1);
    assert_int_equal(counters_instance_in_flight(rig_counters(rig), 1), 1);
    rig_say(instance, OK);
    assert_non_null(strstr(rig_head(client), "HTTP/1.1 200 OK\r\n"));
    assert_string_equal(rig_bytes(client, 2), "ok");
    rig_until(counters_pool_in_flight(rig_counters(rig), 1) == 0);
    close(client);
    close(instance);
    assert_int_equal(rig_stop(rig), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_reaches_an_instance_and_its_answer_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
