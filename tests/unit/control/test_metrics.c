#include "control/metrics.h"

#include "unit.h"

#include "base/mem.h"
#include "control/standing.h"
#include "deploy/record.h"
#include "fake_conductor.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64];
static struct conductor *conductor;
static struct event_log *events;
static struct metrics *metrics;
static struct buf text;

static int set_up(void **state)
{
    (void)state;
    struct err err;
    strcpy(folder, "/tmp/upswap-metrics-XXXXXX");
    assert_non_null(mkdtemp(folder));
    conductor = fake_conductor_new("listeners = ({ address = \"127.0.0.1:0\"; });\n"
                                   "services = ({ name = \"web\"; instances = [ \"127.0.0.1:8001\" ]; });\n");
    events = event_log_open(folder, &err);
    assert_non_null(events);
    metrics = metrics_new(events);
    text = BUF_EMPTY;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char *path = mem_printf("%s/events.jsonl", folder);
    metrics_free(metrics);
    event_log_close(events);
    fake_conductor_free(conductor);
    buf_free(&text);
    unlink(path);
    free(path);
    return rmdir(folder);
}

static void write_metrics(void)
{
    text.n = 0;
    metrics_write(metrics, conductor, &text);
}

/* Is this a whole line of the text? */
static void assert_line(const char *line)
{
    char *whole = mem_printf("\n%s\n", line);
    if (strstr(text.p, whole) == NULL)
        fail_msg("no line %s in\n%s", line, text.p);
    free(whole);
}

static void add_live_pool(const char *name, const char *release, uint32_t slot)
{
    struct err err;
    struct record record;
    struct pool *pool = pool_new(name, release, 2);
    pool->slot = slot;
    pool->state = POOL_LIVE;
    pool->instances[0].address = mem_dup("127.0.0.1:8001");
    pool->instances[1].address = mem_dup("127.0.0.1:8002");
    for (size_t i = 0; i < 2; i++) {
        pool->instances[i].resolved = mem_dup(pool->instances[i].address);
        pool->instances[i].state = i == 0 ? INSTANCE_UP : INSTANCE_DRAINED;
        pool->instances[i].id = i + 1;
    }
    record_init(&record, RECORD_POOL, NULL);
    record.seq = 1;
    record.time_ns = 1000000000;
    record.world = 1;
    record.fresh = pool;
    record.service = mem_dup("web");
    if (!registry_apply(conductor->registry, &record, NULL, &err))
        fail_msg("%s", err.text);
    record_free(&record);
}

static void what_scheduled_uptests_found_out_is_told_of_those_that_were_tested(void **state)
{
    (void)state;
    add_live_pool("web-1", "v1", 3);
    const struct pool *pool = registry_pool(conductor->registry, "web-1");
    pool->instances[1].slot = 1;
    write_metrics();
    assert_null(strstr(text.p, "upswap_instance_uptests_passing{"));
    assert_null(strstr(text.p, "upswap_scheduled_uptests_total{"));
    standing_keep(conductor->counters, &pool->instances[1], &(struct standing){.uptests = STANDING_FAILS});
    conductor->scheduled = (struct schedule_tally){.passed = 7, .failed = 2};
    write_metrics();
    assert_null(
        strstr(text.p, "upswap_instance_uptests_passing{service=\"web\",instance=\"127.0.0.1:8001\"}"));
    assert_line("upswap_instance_uptests_passing{service=\"web\",instance=\"127.0.0.1:8002\"} 0");
    assert_line("upswap_scheduled_uptests_total{service=\"web\",result=\"passed\"} 7");
    assert_line("upswap_scheduled_uptests_total{service=\"web\",result=\"failed\"} 2");
    standing_keep(conductor->counters, &pool->instances[1], &(struct standing){.uptests = STANDING_PASSES});
    write_metrics();
    assert_line("upswap_instance_uptests_passing{service=\"web\",instance=\"127.0.0.1:8002\"} 1");
}

static void what_the_workers_count_is_summed_for_each_pool(void **state)
{
    (void)state;
    add_live_pool("web-1", "v1", 3);
    for (unsigned worker = 0; worker < 2; worker++) {
        struct counters_pool *pool = counters_pool(conductor->counters, worker, 3);
        counters_add(&pool->in_flight, 2);
        counters_add(&pool->codes[200 - COUNTERS_CODE_MIN], 10);
        counters_add(&pool->lasting[COUNTERS_WEBSOCKET], 1);
        counters_add(&pool->codes[503 - COUNTERS_CODE_MIN], 1);
        counters_add(&pool->errors[COUNTERS_STALL], 4);
        counters_add(&pool->duration_us, 1500000);
        counters_add(&pool->buckets[counters_bucket(400)], 10);
        counters_add(&pool->buckets[counters_bucket(300000000)], 1);
        counters_add(&counters_worker(conductor->counters, worker)->connections[1], 5);
        counters_add(&counters_worker(conductor->counters, worker)->handshakes[1][COUNTERS_HANDSHAKE_RESUMED],
                     6);
        counters_add(&counters_worker(conductor->counters, worker)->refused[counters_refused(404)], 3);
    }
    conductor->listener = "127.0.0.1:8080";
    conductor->version = 12;
    write_metrics();
    assert_line("# TYPE upswap_requests_total counter");
    assert_line("upswap_requests_total{service=\"web\",pool=\"web-1\",code=\"200\"} 20");
    assert_line("upswap_requests_total{service=\"web\",pool=\"web-1\",code=\"503\"} 2");
    assert_line("upswap_requests_total{service=\"\",pool=\"\",code=\"404\"} 6");
    assert_null(strstr(text.p, "code=\"404\"} 0"));
    assert_line("upswap_request_duration_seconds_bucket{service=\"web\",pool=\"web-1\",le=\"0.000512\"} 20");
    assert_line("upswap_request_duration_seconds_bucket{service=\"web\",pool=\"web-1\",le=\"33.554432\"} 20");
    assert_line("upswap_request_duration_seconds_bucket{service=\"web\",pool=\"web-1\",le=\"+Inf\"} 22");
    size_t buckets = 0;
    for (const char *at = text.p; (at = strstr(at, "_bucket{")) != NULL; at++)
        buckets++;
    assert_int_equal(buckets, 18);
    assert_line("upswap_request_duration_seconds_sum{service=\"web\",pool=\"web-1\"} 3.000000");
    assert_line("upswap_request_duration_seconds_count{service=\"web\",pool=\"web-1\"} 22");
    assert_line("upswap_in_flight{service=\"web\",pool=\"web-1\"} 4");
    assert_line("upswap_in_flight_by_class{service=\"web\",pool=\"web-1\",class=\"request\"} 2");
    assert_line("upswap_in_flight_by_class{service=\"web\",pool=\"web-1\",class=\"websocket\"} 2");
    assert_line("upswap_in_flight_by_class{service=\"web\",pool=\"web-1\",class=\"tunnel\"} 0");
    assert_line("upswap_upstream_errors_total{service=\"web\",pool=\"web-1\",kind=\"stall\"} 8");
    assert_line("upswap_connections{listener=\"127.0.0.1:8080\"} 10");
    assert_line("upswap_tls_handshakes_total{listener=\"127.0.0.1:8080\",result=\"resumed\"} 12");
    assert_line("upswap_pool_info{service=\"web\",pool=\"web-1\",state=\"live\",release=\"v1\"} 1");
    assert_line("upswap_instance_up{service=\"web\",instance=\"127.0.0.1:8001\"} 1");
    assert_line("upswap_instance_up{service=\"web\",instance=\"127.0.0.1:8002\"} 0");
    assert_line("upswap_snapshot_version 12");
}

static void the_last_retired_pools_of_a_service_keep_what_they_counted(void **state)
{
    (void)state;
    struct counters_pool sum = {.in_flight = 1, .errors[COUNTERS_STALL] = 4, .duration_us = 500000};
    sum.codes[200 - COUNTERS_CODE_MIN] = 10;
    sum.buckets[counters_bucket(400)] = 10;
    past_add(&conductor->past, "api", "api-1", &sum);
    for (int i = 0; i <= PAST_KEPT; i++) {
        char *name = mem_printf("web-%d", i);
        past_add(&conductor->past, "web", name, &sum);
        free(name);
    }
    write_metrics();
    assert_line("upswap_requests_total{service=\"api\",pool=\"api-1\",code=\"200\"} 10");
    assert_line("upswap_requests_total{service=\"web\",pool=\"web-1\",code=\"200\"} 10");
    assert_line("upswap_request_duration_seconds_count{service=\"web\",pool=\"web-1\"} 10");
    assert_line("upswap_request_duration_seconds_sum{service=\"web\",pool=\"web-1\"} 0.500000");
    assert_line("upswap_upstream_errors_total{service=\"web\",pool=\"web-1\",kind=\"stall\"} 4");
    assert_null(strstr(text.p, "pool=\"web-0\""));
    assert_null(strstr(text.p, "upswap_in_flight{"));
    assert_null(strstr(text.p, "upswap_pool_info{"));
}

static void what_happens_in_control_is_counted_from_its_events(void **state)
{
    (void)state;
    event_log_add(events, "deployment.done", "web", "web-1", NULL);
    event_log_add(events, "deployment.rejected", "web", "web-2", NULL);
    event_log_add(events, "deployment.rejected", "web", "web-3", NULL);
    event_log_add(events, "watch.failed", "web", "web-3", NULL);
    event_log_add(events, "deployment.staged", "web", "web-4", NULL);
    event_log_add(events, "swap.published", "web", "web-1", json_pack("{s:i}", "nanoseconds", 250000));
    event_log_add(events, "uptest.finished", "web", "web-1",
                  json_pack("{s:s, s:b, s:f}", "uptest", "01_\"a\\\n", "passed", 1, "seconds", 0.5));
    event_log_add(events, "uptest.finished", "web", "web-1",
                  json_pack("{s:s, s:b, s:i}", "uptest", "01_\"a\\\n", "passed", 0, "seconds", 1));
    event_log_add(events, "teardown.failed", "web", "web-0", NULL);
    event_log_add(events, "daemon.started", NULL, NULL, NULL);
    event_log_add(events, "daemon.proxy_restarted", NULL, NULL, NULL);
    write_metrics();
    assert_line("upswap_teardowns_total{service=\"web\",result=\"failed\"} 1");
    assert_line("upswap_proxy_restarts_total 1");
    assert_line("upswap_deployments_total{service=\"web\",result=\"done\"} 1");
    assert_line("upswap_watches_total{service=\"web\",result=\"failed\"} 1");
    assert_line("upswap_deployments_total{service=\"web\",result=\"rejected\"} 2");
    assert_line("upswap_swap_seconds_sum{service=\"web\"} 0.000250000");
    assert_line("upswap_swap_seconds_count{service=\"web\"} 1");
    assert_line("upswap_uptest_seconds_sum{service=\"web\",uptest=\"01_\\\"a\\\\\\n\"} 1.500000000");
    assert_line("upswap_uptest_seconds_count{service=\"web\",uptest=\"01_\\\"a\\\\\\n\"} 2");
    assert_line("upswap_uptests_total{service=\"web\",result=\"passed\"} 1");
    assert_line("upswap_uptests_total{service=\"web\",result=\"failed\"} 1");
    assert_null(strstr(text.p, "result=\"staged\""));
}

/* Who asks how much a count has grown would not see the first time otherwise. */
static void what_may_happen_is_counted_from_0_on(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "upswap_deployments_total{service=\"web\",result=\"rolled_back\"} 0",
        "upswap_deployments_total{service=\"web\",result=\"done\"} 0",
        "upswap_watches_total{service=\"web\",result=\"failed\"} 0",
        "upswap_uptests_total{service=\"web\",result=\"passed\"} 0",
        "upswap_teardowns_total{service=\"web\",result=\"failed\"} 0",
        "upswap_swap_seconds_count{service=\"web\"} 0",
        "upswap_proxy_restarts_total 0",
        "upswap_journal_failures_total 0",
    };
    add_live_pool("web-1", "v1", 3);
    write_metrics();
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_line(lines[i]);
    assert_null(strstr(text.p, "upswap_deployment_phase_seconds{"));
    conductor->journal_failures = 2;
    write_metrics();
    assert_line("upswap_journal_failures_total 2");
}

static void the_end_of_certificates_is_told_of_listeners_that_have_some(void **state)
{
    (void)state;
    conductor->listener = "127.0.0.1:8443";
    write_metrics();
    assert_null(strstr(text.p, "upswap_certificate_expiry_timestamp_seconds{"));
    conductor->certificates_end = 1900000000;
    write_metrics();
    assert_line("upswap_certificate_expiry_timestamp_seconds{listener=\"127.0.0.1:8443\"} 1900000000");
}

static void every_metric_is_described_even_where_there_is_nothing_to_count(void **state)
{
    (void)state;
    static const char *const types[] = {
        "upswap_requests_total counter", "upswap_request_duration_seconds histogram",
        "upswap_in_flight gauge",        "upswap_upstream_errors_total counter",
        "upswap_connections gauge",      "upswap_deployments_total counter",
        "upswap_swap_seconds summary",   "upswap_uptest_seconds summary",
        "upswap_uptests_total counter",  "upswap_pool_info gauge",
        "upswap_instance_up gauge",      "upswap_snapshot_version gauge",
        "upswap_build_info gauge",       "upswap_in_flight_by_class gauge",
    };
    write_metrics();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char *line = mem_printf("# TYPE %s", types[i]);
        assert_line(line);
        free(line);
    }
    assert_line("upswap_build_info{version=\"" PACKAGE_VERSION "\"} 1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_the_workers_count_is_summed_for_each_pool),
        TEST(what_scheduled_uptests_found_out_is_told_of_those_that_were_tested),
        TEST(the_last_retired_pools_of_a_service_keep_what_they_counted),
        TEST(what_happens_in_control_is_counted_from_its_events),
        TEST(what_may_happen_is_counted_from_0_on),
        TEST(the_end_of_certificates_is_told_of_listeners_that_have_some),
        TEST(every_metric_is_described_even_where_there_is_nothing_to_count),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
