#include "control/metrics.h"

#include "unit.h"

#include "base/mem.h"
#include "control/standing.h"
#include "deploy/record.h"
#include "fake_conductor.h"
#include "pools.h"

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

#define PIECE_MOST ((size_t)128 * 1024)

/* What is still to be written. */
static void write_on(struct metrics_text *writing)
{
    bool more = true;
    while (more) {
        size_t before = text.n;
        more = metrics_text_step(writing, &text);
        assert_true(text.n - before <= PIECE_MOST);
    }
    metrics_text_free(writing);
}

static void write_metrics(void)
{
    text.n = 0;
    write_on(metrics_text_new(metrics, conductor));
}

/* Up to where this stands. */
static struct metrics_text *write_until(const char *what)
{
    struct metrics_text *writing = metrics_text_new(metrics, conductor);
    text.n = 0;
    do
        assert_true(metrics_text_step(writing, &text));
    while (text.p == NULL || strstr(text.p, what) == NULL);
    return writing;
}

static size_t count_of(const char *what)
{
    size_t count = 0;
    for (const char *at = text.p; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
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
    assert_int_equal(count_of("_bucket{"), 18);
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

#define SERVICES 1000

/* web-0 of s0, and so on. */
static struct pool *add_services(void)
{
    struct pool *first = NULL;
    fake_conductor_configure(conductor, SERVICES);
    for (uint32_t i = 0; i < SERVICES; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%u", i);
        struct service *service = pools_service(conductor->registry, name);
        snprintf(name, sizeof name, "web-%u", i);
        struct pool *pool = pools_add(conductor->registry, service, name, i);
        pool->state = POOL_LIVE;
        first = first == NULL ? pool : first;
    }
    return first;
}

static void of_many_services_every_line_is_there_once(void **state)
{
    (void)state;
    struct pool *pool = add_services();
    for (; pool != NULL; pool = pool->hh.next)
        counters_add(&counters_pool(conductor->counters, 0, pool->slot)->codes[100 + pool->slot % 7], 5);
    write_metrics();
    assert_int_equal(count_of("\nupswap_requests_total{service=\"s"), SERVICES);
    assert_int_equal(count_of("\nupswap_request_duration_seconds_bucket{"), SERVICES * 18);
    assert_int_equal(count_of("\nupswap_service_mode{"), SERVICES);
    assert_int_equal(count_of("\nupswap_instance_up{"), SERVICES * 2);
    assert_int_equal(count_of("\nupswap_swap_seconds_count{"), SERVICES);
    assert_line("upswap_requests_total{service=\"s999\",pool=\"web-999\",code=\"205\"} 5");
    assert_line("upswap_instance_up{service=\"s999\",instance=\"10.0.999.1:80\"} 1");
    assert_line("upswap_build_info{version=\"" PACKAGE_VERSION "\"} 1");
}

/* Also one of very many instances. */
static void a_pool_of_many_instances_is_written_in_pieces(void **state)
{
    (void)state;
    struct pool *pool = pools_add(conductor->registry, pools_service(conductor->registry, "web"), "web-1", 3);
    struct instance two[2] = {pool->instances[0], pool->instances[1]};
    pool->state = POOL_LIVE;
    pool->instances = mem_resize(pool->instances, 10000, sizeof *pool->instances);
    pool->instance_count = 10000;
    for (size_t i = 2; i < pool->instance_count; i++) {
        pool->instances[i] = two[i % 2];
        pool->instances[i].address = mem_printf("10.1.%zu.%zu:80", i / 250, i % 250);
        pool->instances[i].resolved = mem_dup(pool->instances[i].address);
    }
    write_metrics();
    assert_int_equal(count_of("\nupswap_instance_up{"), 10000);
}

/* It has no clients, and whoever is alarmed could do nothing about it. */
static void a_service_that_is_not_configured_any_more_is_not_told_of(void **state)
{
    (void)state;
    struct pool *last = add_services();
    while (last->hh.next != NULL)
        last = last->hh.next;
    fake_conductor_configure(conductor, SERVICES - 1);
    struct pool *drains = pools_add(conductor->registry, last->service, "web-old", 1);
    drains->state = POOL_DRAINING;
    write_metrics();
    assert_int_equal(count_of("\nupswap_service_mode{"), SERVICES - 1);
    assert_int_equal(count_of("\nupswap_instance_up{"), (SERVICES - 1) * 2);
    assert_null(strstr(text.p, "pool=\"web-999\""));
    assert_line("upswap_pool_info{service=\"s999\",pool=\"web-old\",state=\"draining\",release=\"\"} 1");
}

/* Before it is counted, or before its line is written. */
static void a_pool_that_goes_while_the_text_is_written_is_left_out(void **state)
{
    (void)state;
    struct pool *last = add_services();
    while (last->hh.next != NULL)
        last = last->hh.next;
    struct metrics_text *counting = metrics_text_new(metrics, conductor);
    text.n = 0;
    assert_true(metrics_text_step(counting, &text));
    struct metrics_text *writing = write_until("# TYPE upswap_request_duration_seconds ");
    struct service *service = last->service;
    TAILQ_REMOVE(&service->pools, last, of_service);
    HASH_DEL(conductor->registry->pools, last);
    HASH_DEL(conductor->registry->services, service);
    pool_free(last);
    free(service->name);
    free(service);
    write_on(writing);
    assert_int_equal(count_of("\nupswap_in_flight{"), SERVICES); /* it was counted */
    assert_int_equal(count_of("\nupswap_service_mode{"), SERVICES - 1);
    assert_int_equal(count_of("\nupswap_pool_info{"), SERVICES - 1);
    assert_int_equal(count_of("\nupswap_instance_up{"), (SERVICES - 1) * 2);
    text.n = 0;
    write_on(counting);
    assert_int_equal(count_of("\nupswap_in_flight{"), SERVICES - 1);
}

static void one_that_retires_before_it_is_counted_has_what_it_counted_at_its_end(void **state)
{
    (void)state;
    struct counters_pool sum = {.retries = 77};
    struct pool *last = add_services();
    while (last->hh.next != NULL)
        last = last->hh.next;
    struct metrics_text *writing = metrics_text_new(metrics, conductor);
    text.n = 0;
    assert_true(metrics_text_step(writing, &text));
    last->state = POOL_RETIRED;
    past_add(&conductor->past, last->service->name, last->name, &sum);
    write_on(writing);
    assert_line("upswap_retries_total{service=\"s999\",pool=\"web-999\"} 77");
    assert_null(strstr(text.p, "upswap_in_flight{service=\"s999\""));
}

/* Two series of one name are an error in the whole text. */
static void a_swap_while_the_text_is_written_gives_no_series_twice(void **state)
{
    (void)state;
    struct pool *old = add_services();
    struct pool *new = pools_add(conductor->registry, old->service, "web-new", 1);
    free(new->instances[0].address);
    new->instances[0].address = mem_dup(old->instances[0].address);
    new->state = POOL_STAGED;
    struct metrics_text *writing = write_until("upswap_instance_up{service=\"s0\"");
    old->state = POOL_DRAINING;
    new->state = POOL_LIVE;
    write_on(writing);
    assert_int_equal(count_of("\nupswap_instance_up{service=\"s0\""), 2);
    assert_int_equal(count_of("\nupswap_instance_ejections_total{service=\"s0\""), 0);
    write_metrics();
    assert_int_equal(count_of("\nupswap_instance_up{service=\"s0\""), 2);
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
        TEST(of_many_services_every_line_is_there_once),
        TEST(a_pool_of_many_instances_is_written_in_pieces),
        TEST(a_service_that_is_not_configured_any_more_is_not_told_of),
        TEST(a_pool_that_goes_while_the_text_is_written_is_left_out),
        TEST(one_that_retires_before_it_is_counted_has_what_it_counted_at_its_end),
        TEST(a_swap_while_the_text_is_written_gives_no_series_twice),
        TEST(what_happens_in_control_is_counted_from_its_events),
        TEST(what_may_happen_is_counted_from_0_on),
        TEST(the_end_of_certificates_is_told_of_listeners_that_have_some),
        TEST(every_metric_is_described_even_where_there_is_nothing_to_count),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
