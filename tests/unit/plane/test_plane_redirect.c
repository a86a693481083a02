/* Where requests are sent that belong to another host or to https, and what never gets into a Location. */
#include "rig.h"

#include "unit.h"

#include <stdio.h>
#include <unistd.h>

/* The Location of the answer, with `status` and `word` in its head; "" without one. */
static const char *location(struct rig *rig, const char *request, unsigned status, const char *word)
{
    static char copy[2000];
    char first[40];
    int client = rig_client(rig);
    rig_say(client, request);
    const char *head = rig_head(client);
    snprintf(first, sizeof first, "HTTP/1.1 %u ", status);
    const char *told = rig_field(head, "X-Upswap");
    if (strncmp(head, first, strlen(first)) != 0 || told == NULL || strncmp(told, word, strlen(word)) != 0)
        fail_msg("asked: %s\nwant: %u %s\ngot:  %s", request, status, word, head);
    const char *field = rig_field(head, "Location");
    snprintf(copy, sizeof copy, "%.*s", field == NULL ? 0 : (int)strcspn(field, "\r\n"), field);
    close(client);
    return copy;
}

struct row {
    const char *target, *host, *location;
};

static void assert_sent(struct rig *rig, const struct row *rows, size_t count, const char *word)
{
    char request[1000];
    for (size_t i = 0; i < count; i++) {
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", rows[i].target,
                 rows[i].host);
        assert_string_equal(location(rig, request, 308, word), rows[i].location);
    }
}
#define ASSERT_SENT(rig, rows, word) assert_sent(rig, rows, sizeof rows / sizeof *rows, word)

static struct rig *start_https(const char *port)
{
    struct rig *rig = rig_start(1);
    struct rig_world *world = rig_world(rig);
    world->rules.redirect_https = 1;
    memcpy(world->settings.https_port, port, strlen(port));
    world->settings.https_port_length = (uint8_t)strlen(port);
    rig_publish(rig);
    return rig;
}

static void https_is_at_the_port_that_is_listened_on(void **state)
{
    (void)state;
    struct rig *rig = start_https("8443");
    static const struct row rows[] = {
        {"/a%2Fb//c?x=1&y=%20", "app.test:8080", "https://app.test:8443/a%2Fb//c?x=1&y=%20"},
        {"/", "APP.Test:8080", "https://APP.Test:8443/"},
        {"/", "192.0.2.1:80", "https://192.0.2.1:8443/"},
        {"/", "[2001:db8::1]:80", "https://[2001:db8::1]:8443/"},
        /* Without a port at one that is not 80, something in front maps ports. */
        {"/", "app.test", "https://app.test/"},
        {"/", "app.test:", "https://app.test/"},
        {"/", "[2001:db8::1]", "https://[2001:db8::1]/"},
    };
    ASSERT_SENT(rig, rows, "redirect-https");
    assert_int_equal(rig_stop(rig), 0);
}

static void the_usual_port_of_https_is_not_written(void **state)
{
    (void)state;
    struct rig *rig = start_https("");
    static const struct row rows[] = {
        {"/", "app.test:8080", "https://app.test/"},
        {"/", "[2001:db8::1]:80", "https://[2001:db8::1]/"},
    };
    ASSERT_SENT(rig, rows, "redirect-https");
    assert_int_equal(rig_stop(rig), 0);
}

static void a_whole_url_names_the_host_and_a_path_stays_a_path(void **state)
{
    (void)state;
    struct rig *rig = start_https("");
    static const struct row rows[] = {
        {"http://app.test/x?y", "other.test", "https://app.test/x?y"},
        {"http://app.test?q", "app.test", "https://app.test/?q"},
        {"//evil.test/x", "app.test", "https://app.test//evil.test/x"},
        {"/@evil.test", "app.test", "https://app.test/@evil.test"},
        {"/..//../x", "app.test", "https://app.test/..//../x"},
        {"/%0d%0aX:%20y", "app.test", "https://app.test/%0d%0aX:%20y"},
    };
    ASSERT_SENT(rig, rows, "redirect-https");
    assert_int_equal(rig_stop(rig), 0);
}

static void a_host_that_is_none_is_refused(void **state)
{
    (void)state;
    struct rig *rig = start_https("8443");
    static const char *const hosts[] = {
        "a.test@evil.test", "a.test/evil.test", "a.test\\evil.test", "a.test?x",  "a.test#x",     "a b",
        "a.test\tx",        "//evil.test",      "[::1].evil.test",   "[::1",      "::1",          "[a.test]",
        "a.test:80:90",     "a.test:80@evil",   "a.test:0x50",       "a.test:-1", "a.test:65536", "a\x01",
    };
    char request[200];
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i]);
        assert_string_equal(location(rig, request, 400, ""), "");
    }
    assert_string_equal(location(rig, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, ""), "");
    assert_string_equal(location(rig, "GET / HTTP/1.1\r\n\r\n", 400, ""), "");
    assert_int_equal(rig_stop(rig), 0);
}

static void without_a_host_there_is_nowhere_to_go(void **state)
{
    (void)state;
    struct rig *rig = start_https("8443");
    assert_string_equal(location(rig, "GET / HTTP/1.0\r\n\r\n", 400, "missing-host"), "");
    assert_string_equal(location(rig, "GET / HTTP/1.0\r\nHost:\r\n\r\n", 400, "bad-host"), "");
    rig_world(rig)->canonical_host = "www.test";
    rig_publish(rig);
    assert_string_equal(location(rig, "GET /x HTTP/1.0\r\n\r\n", 308, "redirect-https"),
                        "https://www.test/x");
    assert_int_equal(rig_stop(rig), 0);
}

static void another_host_is_sent_to_the_canonical_one(void **state)
{
    (void)state;
    struct rig *rig = rig_start(1);
    rig_world(rig)->canonical_host = "www.test";
    rig_publish(rig);
    static const struct row rows[] = {
        {"/x?y", "a.test", "http://www.test/x?y"},
        {"/", "a.test:8080", "http://www.test:8080/"},
        {"/", "a.test:", "http://www.test/"},
        {"/", "[2001:db8::1]:81", "http://www.test:81/"},
        {"/", "[2001:db8::1]", "http://www.test/"},
        {"/", "www.test.evil", "http://www.test/"},
        {"http://b.test/z", "www.test", "http://www.test/z"},
    };
    ASSERT_SENT(rig, rows, "canonical-host");
    rig_world(rig)->canonical_host = "www.test:8443";
    rig_publish(rig);
    static const struct row with_port[] = {
        {"/", "a.test:99", "http://www.test:8443/"},
        {"/", "a.test", "http://www.test:8443/"},
    };
    ASSERT_SENT(rig, with_port, "canonical-host");
    assert_int_equal(rig_stop(rig), 0);
}

static void assert_served(struct rig *rig, const char *request)
{
    int client = rig_client(rig);
    int app = rig_ask(rig, client, request);
    close(app);
    close(client);
}

static void the_canonical_host_and_who_names_none_are_served(void **state)
{
    (void)state;
    struct rig *rig = rig_start(1);
    rig_world(rig)->canonical_host = "www.test:8443";
    rig_publish(rig);
    assert_served(rig, "GET / HTTP/1.1\r\nHost: WWW.Test:99\r\n\r\n");
    assert_served(rig, "GET / HTTP/1.0\r\n\r\n");
    assert_served(rig, "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_int_equal(rig_stop(rig), 0);
}

static void a_door_that_redirects_sends_everything(void **state)
{
    (void)state;
    struct rig *rig = start_https("8443");
    struct rig_world *world = rig_world(rig);
    world->rules.redirect_https = 0;
    world->path = "/only"; /* it asks no service */
    world->door_redirects = true;
    rig_publish(rig);
    static const struct row rows[] = {
        {"/x?y", "a.test:80", "https://a.test:8443/x?y"},
        {"/", "[::1]:80", "https://[::1]:8443/"},
    };
    ASSERT_SENT(rig, rows, "redirect-https");
    assert_string_equal(location(rig, "OPTIONS * HTTP/1.1\r\nHost: a.test:80\r\n\r\n", 308, "redirect-https"),
                        "https://a.test:8443/");
    assert_string_equal(location(rig, "GET / HTTP/1.0\r\n\r\n", 400, "missing-host"), "");
    assert_int_equal(rig_stop(rig), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(https_is_at_the_port_that_is_listened_on),
        cmocka_unit_test(the_usual_port_of_https_is_not_written),
        cmocka_unit_test(a_whole_url_names_the_host_and_a_path_stays_a_path),
        cmocka_unit_test(a_host_that_is_none_is_refused),
        cmocka_unit_test(without_a_host_there_is_nowhere_to_go),
        cmocka_unit_test(another_host_is_sent_to_the_canonical_one),
        cmocka_unit_test(the_canonical_host_and_who_names_none_are_served),
        cmocka_unit_test(a_door_that_redirects_sends_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
