#include "config/config.h"

#include "unit.h"

#include <signal.h>

#include "read.h"

#include <signal.h>
#include <stdlib.h>

#define LISTEN "listeners = ( { address = \"127.0.0.1:0\"; } );\n"

static void the_smallest_config_has_every_default(void **state)
{
    (void)state;
    struct config *config = must_read(LISTEN);
    assert_int_equal(config->workers, 0);
    assert_null(config->user);
    assert_string_equal(config->state_directory, "/var/lib/upswap");
    assert_int_equal(config->log_level, LOG_LEVEL_INFO);
    assert_int_equal(config->log_format, LOG_FORMAT_TEXT);
    assert_int_equal(config->access_log_format, CONFIG_ACCESS_LOG_NONE);
    assert_string_equal(config->admin.socket, "/run/upswap/admin.sock");
    assert_int_equal(config->admin.mode, 0660);
    assert_int_equal(config->limits.head, 32768);
    assert_int_equal(config->limits.fields, 100);
    assert_int_equal(config->limits.body, 0);
    assert_int_equal(config->default_timeouts.head, 10000);
    assert_int_equal(config->default_timeouts.idle, 60000);
    assert_int_equal(config->service_count, 0);
    assert_int_equal(config->listener_count, 1);
    assert_int_equal(config->listeners[0].line, 1);
    config_free(config);
}

static void a_service_that_says_nothing_has_every_default(void **state)
{
    (void)state;
    struct config *config = must_read(LISTEN "services = (\n { name = \"web\"; } );");
    const struct config_service *web = config_service(config, STR("web"));
    assert_non_null(web);
    assert_int_equal(web->line, 3);
    assert_int_equal(web->hosts.count, 0);
    assert_int_equal(web->paths.count, 1);
    assert_string_equal(web->paths.items[0], "/");
    assert_int_equal(web->balance, CONFIG_ROUND_ROBIN);
    assert_int_equal(web->timeouts.connect, 2000);
    assert_int_equal(web->timeouts.upstream_idle, 4000);
    assert_int_equal(web->ready_timeout_ms, 60000);
    assert_int_equal(web->hold_timeout_ms, 86400000);
    assert_null(web->uptests.directory);
    assert_int_equal(web->uptests.parallel, 8);
    assert_true(web->uptests.required);
    assert_int_equal(web->uptests.schedule_ms, 0);
    assert_int_equal(web->watch.errors, 20000);
    assert_int_equal(web->watch.latency, 3000000);
    assert_int_equal(web->watch.minimum, 50);
    assert_int_equal(web->watch.uptests_ms, 10000);
    assert_int_equal(web->watch.on_fail, CONFIG_ROLL_BACK);
    assert_false(web->uptests.eject);
    assert_int_equal(web->uptests.total_timeout_ms, 120000);
    assert_int_equal(web->drain.requests_ms, 30000);
    assert_int_equal(web->drain.websockets_ms, 300000);
    assert_int_equal(web->drain.tunnels_ms, 300000);
    assert_int_equal(web->teardown.command.count, 0);
    assert_int_equal(web->teardown.signal, 0);
    assert_int_equal(web->teardown.attempts, 5);
    config_free(config);
}

static void every_value_reaches_its_field(void **state)
{
    (void)state;
    struct config *config = must_read(
        "workers = 3; user = \"www\"; state_directory = \"/s\"; log = { level = \"debug\"; format = "
        "\"json\"; };\n"
        "access_log = { path = \"/a.log\"; format = \"combined\"; };\n"
        "admin = { socket = \"/a.sock\"; mode = \"0600\"; group = \"ops\"; listen = \"[::1]:9080\"; "
        "token_file = "
        "\"/t\"; };\n"
        "listeners = ( { address = \"[::]:80\"; }, { address = \"10.0.0.1:80\"; } );\n"
        "limits = { connections = 7; head = \"64k\"; fields = 9; body = 10L; connections_per_address = 11; "
        "};\n"
        "trusted_proxies = [ \"10.0.0.0/8\", \"::1\" ];\n"
        "services = ( { name = \"web\"; hosts = [ \"Example.COM\", \"*.example.com\", \"[::1]\" ];\n"
        "  paths = [ \"/a/\", \"/b\" ]; strip_path = true; instances = ( \"127.0.0.1:8001\", "
        "\"app-1:80,weight=7\" "
        ");\n"
        "  balance = \"two_choices\"; ready_timeout = \"1s\"; hold_timeout = \"2h\";\n"
        "  timeouts = { connect = \"1ms\"; first_byte = \"2ms\"; stall = \"3ms\"; upstream_idle = \"4ms\"; "
        "};\n"
        "  uptests = { directory = \"/u/%{release}\"; timeout = \"5s\"; total_timeout = \"6s\"; parallel = "
        "7;\n"
        "    required = false; user = \"web\"; chdir = \"/c\"; env_file = \"/e\"; schedule = \"90s\"; eject "
        "= true;\n"
        "    environment = { APP_ENV = \"x y\"; B = \"\"; }; runner = [ \"env\", \"-i\" ]; };\n"
        "  watch = { duration = \"90s\"; errors = 0.5; latency = 2; minimum = 7; uptests = \"0s\"; on_fail = "
        "\"hold\"; };\n"
        "  drain = { requests = \"1s\"; streams = \"2s\"; websockets = \"3s\"; tunnels = \"4s\"; spread = "
        "\"0s\"; };\n"
        "  launch = { command = [ \"/start\", \"%{release}\" ]; timeout = \"7s\"; count = 3; user = "
        "\"app\";\n"
        "    chdir = \"/r/%{release}\"; env_file = \"/f\"; environment = { L = \"1\"; }; };\n"
        "  teardown = { command = [ \"/stop\", \"now\" ]; signal = \"QUIT\"; timeout = \"8s\"; attempts = 9; "
        "};\n"
        "} );");
    assert_int_equal(config->workers, 3);
    assert_string_equal(config->user, "www");
    assert_int_equal(config->log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(config->access_log_format, CONFIG_ACCESS_LOG_COMBINED);
    assert_int_equal(config->admin.mode, 0600);
    assert_string_equal(config->admin.group, "ops");
    assert_int_equal(config->admin.listen_address.port, 9080);
    assert_int_equal(config->admin.listen_line, 3);
    assert_int_equal(config->listener_count, 2);
    assert_int_equal(config->listeners[1].address.kind, ADDRESS_IPV4);
    assert_int_equal(config->limits.connections, 7);
    assert_int_equal(config->limits.head, 65536);
    assert_int_equal(config->limits.body, 10);
    assert_int_equal(config->limits.connections_per_address, 11);
    assert_int_equal(config->trusted_count, 2);
    assert_int_equal(config->trusted_proxies[0].bits, 104);

    const struct config_service *web = &config->services[0];
    assert_int_equal(web->hosts.count, 3);
    assert_string_equal(web->hosts.items[0], "example.com");
    assert_string_equal(web->paths.items[0], "/a");
    assert_true(web->strip_path);
    assert_string_equal(web->instances.items[1], "app-1:80");
    assert_int_equal(web->weights[0], 1);
    assert_int_equal(web->weights[1], 7);
    assert_int_equal(web->balance, CONFIG_TWO_CHOICES);
    assert_int_equal(web->timeouts.stall, 3);
    assert_int_equal(web->hold_timeout_ms, 7200000);
    assert_string_equal(web->uptests.directory, "/u/%{release}");
    assert_false(web->uptests.required);
    assert_int_equal(web->uptests.schedule_ms, 90000);
    assert_string_equal(web->launch.command.items[1], "%{release}");
    assert_int_equal(web->launch.timeout_ms, 7000);
    assert_int_equal(web->launch.count, 3);
    assert_string_equal(web->launch.user, "app");
    assert_string_equal(web->launch.chdir, "/r/%{release}");
    assert_string_equal(web->launch.env_file, "/f");
    assert_string_equal(web->launch.environment.items[0], "L=1");
    assert_int_equal(web->watch.duration_ms, 90000);
    assert_int_equal(web->watch.errors, 500000);
    assert_int_equal(web->watch.latency, 2000000);
    assert_int_equal(web->watch.minimum, 7);
    assert_int_equal(web->watch.uptests_ms, 0);
    assert_int_equal(web->watch.on_fail, CONFIG_HOLD);
    assert_true(web->uptests.eject);
    assert_int_equal(web->uptests.line, 11);
    assert_int_equal(web->uptests.environment.count, 2);
    assert_string_equal(web->uptests.environment.items[0], "APP_ENV=x y");
    assert_string_equal(web->uptests.environment.items[1], "B=");
    assert_string_equal(web->uptests.runner.items[1], "-i");
    assert_int_equal(web->drain.spread_ms, 0);
    assert_string_equal(web->teardown.command.items[1], "now");
    assert_int_equal(web->teardown.signal, SIGQUIT);
    assert_int_equal(web->teardown.attempts, 9);
    config_free(config);
}

static void defaults_are_overridden_key_by_key(void **state)
{
    (void)state;
    struct config *config = must_read(
        LISTEN
        "defaults = { balance = \"random\"; timeouts = { idle = \"9s\"; connect = \"1s\"; stall = \"5s\"; "
        "};\n"
        "  uptests = { parallel = 2; environment = { A = \"1\"; B = \"2\"; }; runner = [ \"x\", \"y\" ]; }; "
        "};\n"
        "services = ( { name = \"a\"; timeouts = { stall = \"7s\"; };\n"
        "  uptests = { environment = { B = \"3\"; C = \"4\"; }; runner = [ \"z\" ]; }; }, { name = \"b\"; \n"
        "  hosts = [ \"b\" ]; } );");
    const struct config_service *a = &config->services[0], *b = &config->services[1];
    assert_int_equal(config->default_timeouts.idle, 9000);
    assert_int_equal(a->balance, CONFIG_RANDOM);
    assert_int_equal(a->timeouts.connect, 1000);
    assert_int_equal(a->timeouts.stall, 7000);
    assert_int_equal(a->uptests.parallel, 2);
    assert_int_equal(a->uptests.environment.count, 3);
    assert_string_equal(a->uptests.environment.items[0], "A=1");
    assert_string_equal(a->uptests.environment.items[1], "B=3");
    assert_string_equal(a->uptests.environment.items[2], "C=4");
    assert_int_equal(a->uptests.runner.count, 1);
    assert_int_equal(b->timeouts.stall, 5000);
    assert_int_equal(b->uptests.environment.count, 2);
    assert_string_equal(b->uptests.environment.items[1], "B=2");
    assert_int_equal(b->uptests.runner.count, 2);
    config_free(config);
}

static void the_last_line_needs_no_end(void **state)
{
    (void)state;
    config_free(must_read(LISTEN "# end"));
    config_free(must_read(LISTEN "// end"));
    config_free(must_read("listeners = ( { address = \"127.0.0.1:0\"; } );"));
}

static void a_text_of_the_defaults_is_taken_back_by_an_empty_one(void **state)
{
    (void)state;
    struct config *config = must_read(
        LISTEN "defaults = { canonical_host = \"x\"; uptests = { user = \"u\"; chdir = \"/c\"; env_file = "
               "\"/e\"; };\n"
               "  teardown = { signal = \"INT\"; }; tls = { ca_file = \"/ca\"; }; };\n"
               "services = ( { name = \"a\"; canonical_host = \"\"; teardown = { signal = \"\"; };\n"
               "  uptests = { user = \"\"; env_file = \"\"; }; tls = { ca_file = \"\"; }; },\n"
               "  { name = \"b\"; hosts = [ \"b\" ]; } );");
    const struct config_service *a = &config->services[0], *b = &config->services[1];
    assert_null(a->canonical_host);
    assert_null(a->uptests.user);
    assert_string_equal(a->uptests.chdir, "/c");
    assert_null(a->uptests.env_file);
    assert_int_equal(a->teardown.signal, 0);
    assert_null(a->tls.ca_file);
    assert_string_equal(b->canonical_host, "x");
    assert_string_equal(b->uptests.user, "u");
    assert_int_equal(b->teardown.signal, SIGINT);
    config_free(config);
}

static void a_service_is_found_by_its_whole_name(void **state)
{
    (void)state;
    struct config *config =
        must_read(LISTEN "services = ( { name = \"web\"; }, { name = \"web-2\"; hosts = [ \"x\" ]; } );");
    assert_ptr_equal(config_service(config, STR("web-2")), &config->services[1]);
    assert_null(config_service(config, STR("we")));
    assert_null(config_service(config, STR("web-2\0x")));
    assert_null(config_service(config, STR("")));
    config_free(config);
}

static void a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct err err;
    assert_null(config_load("/nonexistent/upswapd.conf", &err));
    assert_non_null(strstr(err.text, "/nonexistent/upswapd.conf: cannot be opened: No such file"));
}

static void release_names_cannot_leave_their_folder(void **state)
{
    (void)state;
    char long_name[130];
    memset(long_name, 'a', sizeof long_name);
    assert_true(config_release_is_valid(STR("v4.2_x-1")));
    assert_true(config_release_is_valid((struct str){long_name, 128}));
    assert_false(config_release_is_valid((struct str){long_name, 129}));
    assert_false(config_release_is_valid(STR("")));
    assert_false(config_release_is_valid(STR(".")));
    assert_false(config_release_is_valid(STR("..")));
    assert_false(config_release_is_valid(STR("a/b")));
    assert_false(config_release_is_valid(STR("a b")));
}

static void every_release_in_a_text_is_replaced(void **state)
{
    (void)state;
    struct err err;
    char *text = config_expand("/srv/%{release}/x-%{release}", STR("v1"), &err);
    assert_string_equal(text, "/srv/v1/x-v1");
    free(text);
    text = config_expand("/srv/100%/{release}", STR(""), &err);
    assert_string_equal(text, "/srv/100%/{release}");
    free(text);
    text = config_expand("", STR("v1"), &err);
    assert_string_equal(text, "");
    free(text);
    assert_null(config_expand("/srv/%{release}", STR(""), &err));
    assert_non_null(strstr(err.text, "\"/srv/%{release}\" needs a release"));
}

static void calls_over_http2_have_no_minimum_rate_unless_it_is_written(void **state)
{
    (void)state;
    struct config *config = must_read("listeners = ( { address = \"127.0.0.1:0\"; } );\n"
                                      "services = ( { name = \"a\"; hosts = [ \"a\" ]; },\n"
                                      "{ name = \"b\"; hosts = [ \"b\" ]; upstream = \"h2\"; },\n"
                                      "{ name = \"c\"; hosts = [ \"c\" ]; upstream = \"h2\";\n"
                                      "  timeouts = { minimum_rate = \"1k\"; }; } );");
    assert_int_equal(config->services[0].timeouts.minimum_rate, 100);
    assert_int_equal(config->services[1].timeouts.minimum_rate, 0);
    assert_int_equal(config->services[2].timeouts.minimum_rate, 1024);
    config_free(config);
    config = must_read("listeners = ( { address = \"127.0.0.1:0\"; } );\n"
                       "defaults = { timeouts = { minimum_rate = 7; }; };\n"
                       "services = ( { name = \"a\"; upstream = \"h2\"; } );");
    assert_int_equal(config->services[0].timeouts.minimum_rate, 7);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_config_has_every_default),
        cmocka_unit_test(a_service_that_says_nothing_has_every_default),
        cmocka_unit_test(every_value_reaches_its_field),
        cmocka_unit_test(defaults_are_overridden_key_by_key),
        cmocka_unit_test(the_last_line_needs_no_end),
        cmocka_unit_test(a_text_of_the_defaults_is_taken_back_by_an_empty_one),
        cmocka_unit_test(a_service_is_found_by_its_whole_name),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        cmocka_unit_test(release_names_cannot_leave_their_folder),
        cmocka_unit_test(calls_over_http2_have_no_minimum_rate_unless_it_is_written),
        cmocka_unit_test(every_release_in_a_text_is_replaced),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
