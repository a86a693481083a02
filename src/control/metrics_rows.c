/* What the data plane counts is read from shared memory; what happens in control is in the tallies. */
#include "control/metrics_rows.h"

#include "base/clock.h"
#include "base/version.h"
#include "control/standing.h"

#include <inttypes.h>

/* ---- series ---- */

/* Opens a series without labels: NAME{ */
static void begin(struct metrics_page *page, const char *suffix)
{
    buf_add_str(page->out, str_of(page->name));
    buf_add_str(page->out, str_of(suffix));
    buf_add(page->out, "{", 1);
}

/* Opens a series: NAME{service="...",pool="..." */
static void begin_pool(struct metrics_page *page, const char *suffix)
{
    begin(page, suffix);
    buf_add_str(page->out, buf_str(&page->labels));
}

/* Opens a series: NAME{service="..." */
static void begin_service(struct metrics_page *page, const struct service *service)
{
    begin(page, "");
    tallies_label(page->out, "service", service->name);
}

/* Opens a series: NAME{service="...",instance="..." */
static void begin_instance(struct metrics_page *page, const struct pool *pool,
                           const struct instance *instance)
{
    begin_service(page, pool->service);
    tallies_label(page->out, "instance", instance->address);
}

static void end_count(struct metrics_page *page, uint64_t value)
{
    buf_add(page->out, "} ", 2);
    buf_add_number(page->out, value);
    buf_add(page->out, "\n", 1);
}

static void write_pool_count(struct metrics_page *page, uint64_t value)
{
    begin_pool(page, "");
    end_count(page, value);
}

/* A series without labels. */
static void write_alone(struct metrics_page *page, uint64_t value)
{
    buf_printf(page->out, "%s %" PRIu64 "\n", page->name, value);
}

/* ---- of pools ---- */

static void write_requests(struct metrics_page *page, const struct counted_pool *pool)
{
    char text[sizeof "4294967295"];
    for (size_t i = 0; i < pool->code_count; i++) {
        const struct counted_code *code = &page->codes[pool->codes + i];
        snprintf(text, sizeof text, "%u", code->code);
        begin_pool(page, "");
        tallies_label(page->out, "code", text);
        end_count(page, code->count);
    }
}

/* Answers that upswap gave before a pool was known. */
static void write_refused(struct metrics_page *page)
{
    struct counters_worker all;
    counters_worker_sum(conductor_counters(page->conductor), &all);
    for (unsigned i = 0; i < COUNTERS_REFUSED; i++) {
        char code[8] = "other";
        uint64_t sum = all.refused[i];
        if (sum == 0)
            continue;
        if (counters_refused_codes[i] != 0)
            snprintf(code, sizeof code, "%u", counters_refused_codes[i]);
        buf_printf(page->out, "%s{service=\"\",pool=\"\",code=\"%s\"} %" PRIu64 "\n", page->name, code, sum);
    }
}

static void write_bucket(struct metrics_page *page, const char *le, uint64_t count)
{
    begin_pool(page, "_bucket");
    tallies_label(page->out, "le", le);
    end_count(page, count);
}

static void write_durations(struct metrics_page *page, const struct counted_pool *pool)
{
    for (unsigned i = 0; i < METRICS_LE_COUNT; i++)
        write_bucket(page, page->le[i], pool->durations[i]);
    write_bucket(page, "+Inf", pool->duration_count);
    begin_pool(page, "_sum");
    buf_printf(page->out, "} %.6f\n", (double)pool->duration_us / 1e6);
    begin_pool(page, "_count");
    end_count(page, pool->duration_count);
}

static void write_in_flight(struct metrics_page *page, const struct counted_pool *pool)
{
    if (!pool->is_gone)
        write_pool_count(page, pool->in_flight);
}

static void write_class(struct metrics_page *page, const char *class, uint64_t count)
{
    begin_pool(page, "");
    tallies_label(page->out, "class", class);
    end_count(page, count);
}

static void write_classes(struct metrics_page *page, const struct counted_pool *pool)
{
    if (pool->is_gone)
        return;
    for (unsigned class = 0; class < COUNTERS_LASTING; class ++)
        write_class(page, counters_lasting_names[class], pool->lasting[class]);
    write_class(page, "request", pool->requests);
}

static void write_queued(struct metrics_page *page, const struct counted_pool *pool)
{
    if (!pool->is_gone)
        write_pool_count(page, pool->queued);
}

static void write_upstream_errors(struct metrics_page *page, const struct counted_pool *pool)
{
    for (unsigned kind = 0; kind < COUNTERS_ERRORS; kind++) {
        begin_pool(page, "");
        tallies_label(page->out, "kind", counters_error_names[kind]);
        end_count(page, pool->errors[kind]);
    }
}

static void write_retries(struct metrics_page *page, const struct counted_pool *pool)
{
    write_pool_count(page, pool->retries);
}

static void write_retries_denied(struct metrics_page *page, const struct counted_pool *pool)
{
    write_pool_count(page, pool->retries_denied);
}

static void write_forged(struct metrics_page *page, const struct counted_pool *pool)
{
    write_pool_count(page, pool->forged);
}

static void write_pool_info(struct metrics_page *page, const struct counted_pool *counted)
{
    const struct pool *pool = registry_pool(conductor_registry(page->conductor), counted->name);
    if (pool == NULL || pool->state == POOL_RETIRED)
        return;
    begin_pool(page, "");
    tallies_label(page->out, "state", pool_state_names[pool->state]);
    tallies_label(page->out, "release", pool->release);
    end_count(page, 1);
}

/* ---- of instances ---- */

static void write_instance_up(struct metrics_page *page, const struct pool *pool,
                              const struct instance *instance)
{
    begin_instance(page, pool, instance);
    end_count(page, strcmp(conductor_instance_state(page->conductor, pool, instance), "up") == 0);
}

/* The address that comes back after a swap begins anew. */
static void write_ejections(struct metrics_page *page, const struct pool *pool,
                            const struct instance *instance)
{
    struct counters_instance sum;
    counters_instance_sum(conductor_counters(page->conductor), instance->slot, &sum);
    begin_instance(page, pool, instance);
    end_count(page, sum.ejections);
}

/* Only of those that a scheduled run has told of. */
static void write_passing(struct metrics_page *page, const struct pool *pool, const struct instance *instance)
{
    struct standing standing = standing_of(conductor_counters(page->conductor), instance);
    if (standing.uptests == STANDING_UNTESTED)
        return;
    begin_instance(page, pool, instance);
    end_count(page, standing.uptests == STANDING_PASSES);
}

/* ---- of services ---- */

static void write_waiting(struct metrics_page *page, const struct service *service)
{
    begin_service(page, service);
    end_count(page, conductor_waiting(page->conductor, service));
}

static void write_mode(struct metrics_page *page, const struct service *service)
{
    begin_service(page, service);
    tallies_label(page->out, "mode", mode_names[service->mode.kind]);
    end_count(page, 1);
}

static void write_phase(struct metrics_page *page, const struct service *service)
{
    uint64_t now_ns = clock_steady_ns();
    const struct deployment *running = service->running;
    if (running == NULL)
        return;
    uint64_t since_ns = running->since_ns < now_ns ? running->since_ns : now_ns;
    begin_service(page, service);
    tallies_label(page->out, "deployment", running->pool->name);
    tallies_label(page->out, "phase", deployment_state_name(running->state));
    buf_printf(page->out, "} %.3f\n", (double)(now_ns - since_ns) / 1e9);
}

static void write_scheduled(struct metrics_page *page, const struct service *service)
{
    struct schedule_tally tally = conductor_scheduled(page->conductor, service->name);
    for (unsigned passed = 0; passed < 2 && tally.passed + tally.failed > 0; passed++) {
        begin_service(page, service);
        tallies_label(page->out, "result", passed ? "passed" : "failed");
        end_count(page, passed ? tally.passed : tally.failed);
    }
}

/* ---- of tallies ---- */

static void write_tally(struct metrics_page *page, const struct tally *tally)
{
    buf_add_str(page->out, str_of(page->name));
    buf_add_str(page->out, str_of(tally->labels));
    buf_add(page->out, " ", 1);
    buf_add_number(page->out, tally->count);
    buf_add(page->out, "\n", 1);
}

/* A summary without quantiles. */
static void write_sum(struct metrics_page *page, const struct tally *tally)
{
    buf_printf(page->out, "%s_sum%s %.9f\n%s_count%s %" PRIu64 "\n", page->name, tally->labels, tally->sum,
               page->name, tally->labels, tally->count);
}

/* ---- of the daemon ---- */

static void write_connections(struct metrics_page *page)
{
    const char *addresses[COUNTERS_LISTENERS] = {NULL};
    struct counters_worker all;
    counters_worker_sum(conductor_counters(page->conductor), &all);
    conductor_listeners(page->conductor, addresses);
    for (unsigned id = 0; id < COUNTERS_LISTENERS; id++) {
        if (addresses[id] == NULL)
            continue;
        begin(page, "");
        tallies_label(page->out, "listener", addresses[id]);
        end_count(page, all.connections[id]);
    }
}

/* Only of listeners that have had some: most speak no TLS. */
static void write_handshakes(struct metrics_page *page)
{
    const char *addresses[COUNTERS_LISTENERS] = {NULL};
    struct counters_worker all;
    counters_worker_sum(conductor_counters(page->conductor), &all);
    conductor_listeners(page->conductor, addresses);
    for (unsigned id = 0; id < COUNTERS_LISTENERS * COUNTERS_HANDSHAKES; id++) {
        const char *address = addresses[id / COUNTERS_HANDSHAKES];
        unsigned result = id % COUNTERS_HANDSHAKES;
        uint64_t sum = all.handshakes[id / COUNTERS_HANDSHAKES][result];
        if (address == NULL || sum == 0)
            continue;
        begin(page, "");
        tallies_label(page->out, "listener", address);
        tallies_label(page->out, "result", counters_handshake_names[result]);
        end_count(page, sum);
    }
}

static void write_certificates(struct metrics_page *page)
{
    const char *addresses[COUNTERS_LISTENERS] = {NULL};
    conductor_listeners(page->conductor, addresses);
    for (unsigned id = 0; id < COUNTERS_LISTENERS; id++) {
        int64_t ends = conductor_certificates_end(page->conductor, id);
        if (addresses[id] == NULL || ends == 0)
            continue;
        begin(page, "");
        tallies_label(page->out, "listener", addresses[id]);
        buf_printf(page->out, "} %" PRId64 "\n", ends);
    }
}

static void write_floods(struct metrics_page *page)
{
    struct counters_worker all;
    counters_worker_sum(conductor_counters(page->conductor), &all);
    for (unsigned i = 0; i < COUNTERS_FLOODS; i++) {
        begin(page, "");
        tallies_label(page->out, "reason", counters_flood_names[i]);
        end_count(page, all.floods[i]);
    }
}

static void write_journal_failures(struct metrics_page *page)
{
    write_alone(page, conductor_journal_failures(page->conductor));
}

static void write_snapshot_version(struct metrics_page *page)
{
    write_alone(page, conductor_snapshot_version(page->conductor));
}

static void write_build_info(struct metrics_page *page)
{
    buf_printf(page->out, "%s{version=\"%s\"} 1\n", page->name, version_text);
}

/* ---- the table ---- */

const struct metrics_row metrics_rows[] = {
    {"upswap_requests_total", "counter", "Requests ended, by status code.", .pool = write_requests,
     .rest = write_refused},
    {"upswap_request_duration_seconds", "histogram", "From a request's head to the end of its answer.",
     .pool = write_durations},
    {"upswap_in_flight", "gauge", "Exchanges that hold a pool.", .pool = write_in_flight},
    {"upswap_in_flight_by_class", "gauge", "The same by the class that has a drain time of its own.",
     .pool = write_classes},
    {"upswap_queued", "gauge", "Requests that wait until an instance has room.", .pool = write_queued},
    {"upswap_waiting", "gauge", "Requests that wait because their service is paused.",
     .service = write_waiting},
    {"upswap_service_mode", "gauge", "1 for each service, by what becomes of its requests.",
     .service = write_mode},
    {"upswap_upstream_errors_total", "counter", "Failures of instances, by kind.",
     .pool = write_upstream_errors},
    {"upswap_retries_total", "counter", "Requests sent again, or to another instance.",
     .pool = write_retries},
    {"upswap_retries_denied_total", "counter",
     "Requests that failed because the budget of retries was used up.", .pool = write_retries_denied},
    {"upswap_forged_cookies_total", "counter", "Cookies under upswap's names that are none of its own.",
     .pool = write_forged},
    {"upswap_connections", "gauge", "Open client connections.", .rest = write_connections},
    {"upswap_http2_floods_total", "counter", "Connections of HTTP/2 that were told to be calm, by reason.",
     .rest = write_floods},
    {"upswap_tls_handshakes_total", "counter", "Handshakes of TLS with clients, by result.",
     .rest = write_handshakes},
    {"upswap_deployments_total", "counter", "Deployments ended, by result.", .tally = write_tally,
     .family = TALLY_DEPLOYMENTS},
    {"upswap_deployment_phase_seconds", "gauge",
     "For how long each running deployment has been in its phase.", .service = write_phase},
    {"upswap_watches_total", "counter", "Watches of new pools ended or failed, by result.",
     .tally = write_tally, .family = TALLY_WATCHES},
    {"upswap_swap_seconds", "summary", "From the decision to swap to its publication.", .tally = write_sum,
     .family = TALLY_SWAPS},
    {"upswap_uptest_seconds", "summary", "How long uptests of deployments ran.", .tally = write_sum,
     .family = TALLY_UPTEST_SECONDS},
    {"upswap_uptests_total", "counter", "Uptests of deployments, by result.", .tally = write_tally,
     .family = TALLY_UPTESTS},
    {"upswap_teardowns_total", "counter", "Teardowns of instances ended, by result.", .tally = write_tally,
     .family = TALLY_TEARDOWNS},
    {"upswap_scheduled_uptests_total", "counter",
     "Suites run on a schedule against one live instance each, by result.", .service = write_scheduled},
    {"upswap_instance_uptests_passing", "gauge",
     "1 for each live instance whose scheduled uptests pass, 0 for one whose do not.",
     .instance = write_passing},
    {"upswap_pool_info", "gauge", "1 for each pool that is staged, live, armed or draining.",
     .pool = write_pool_info},
    {"upswap_instance_up", "gauge", "1 for each live instance in rotation, 0 for one that is not.",
     .instance = write_instance_up},
    {"upswap_instance_ejections_total", "counter",
     "Ejections of each live instance by its traffic, by all workers.", .instance = write_ejections},
    {"upswap_proxy_restarts_total", "counter", "Proxies that ended and were started again.",
     .tally = write_tally, .family = TALLY_PROXY_RESTARTS},
    {"upswap_journal_failures_total", "counter", "Writes to the journal that failed.",
     .rest = write_journal_failures},
    {"upswap_certificate_expiry_timestamp_seconds", "gauge",
     "When the first certificate of each listener expires.", .rest = write_certificates},
    {"upswap_snapshot_version", "gauge", "The version of the routing view that was published last.",
     .rest = write_snapshot_version},
    {"upswap_build_info", "gauge", "1, with the version of upswap.", .rest = write_build_info},
};

const size_t metrics_row_count = sizeof metrics_rows / sizeof *metrics_rows;
