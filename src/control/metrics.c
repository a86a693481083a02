/* The Prometheus text. What the data plane counts is read from shared memory when it is asked for; what
 * happens in control is in the tallies. */
#include "control/metrics.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/version.h"
#include "control/past.h"
#include "control/standing.h"
#include "control/tallies.h"

#include <inttypes.h>
#include <stdlib.h>

/* Every fourth of the fine buckets, an octave apart: from 0.5 ms to 34 s. */
#define LE_FIRST 8
#define LE_LAST 72
#define LE_STEP 4
#define LE_COUNT ((LE_LAST - LE_FIRST) / LE_STEP + 1)

struct metrics {
    struct tallies *tallies;
    char bounds[LE_COUNT][16]; /* of the buckets that are told, in seconds */
};

struct metrics *metrics_new(struct event_log *events)
{
    struct metrics *metrics = mem_zero(1, sizeof *metrics);
    metrics->tallies = tallies_new(events);
    for (unsigned i = 0; i < LE_COUNT; i++)
        snprintf(metrics->bounds[i], sizeof *metrics->bounds, "%.9g",
                 (double)counters_bucket_us(LE_FIRST + i * LE_STEP) / 1e6);
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    tallies_free(metrics->tallies);
    free(metrics);
}

/* ---- what is read when asked for ---- */

/* A pool that may have something in flight, or is gone and was counted at its end. */
struct counted_pool {
    const struct pool *pool;   /* NULL: gone */
    size_t labels, label_size; /* service="...",pool="...", where they are in page->labels */
    struct counters_pool sum;  /* over all workers */
};

/* One writing of the whole text. */
struct page {
    struct metrics *metrics;
    struct conductor *conductor;
    const char *name; /* of the metric that is being written */
    struct counted_pool *pools;
    size_t pool_count;
    struct buf labels; /* of all pools: each is in dozens of lines */
    struct buf *out;
};

/* Opens a series without labels: NAME{ */
static void begin(struct page *page, const char *suffix)
{
    buf_add_str(page->out, str_of(page->name));
    buf_add_str(page->out, str_of(suffix));
    buf_add(page->out, "{", 1);
}

/* Opens a series: NAME{service="...",pool="..." */
static void begin_pool(struct page *page, const char *suffix, const struct counted_pool *counted_pool)
{
    begin(page, suffix);
    buf_add(page->out, page->labels.p + counted_pool->labels, counted_pool->label_size);
}

/* Opens a series: NAME{service="..." */
static void begin_service(struct page *page, const struct service *service)
{
    begin(page, "");
    tallies_label(page->out, "service", service->name);
}

/* Opens a series: NAME{service="...",instance="..." */
static void begin_instance(struct page *page, const struct pool *pool, const struct instance *instance)
{
    begin_service(page, pool->service);
    tallies_label(page->out, "instance", instance->address);
}

static void end_count(struct page *page, uint64_t value)
{
    buf_add(page->out, "} ", 2);
    buf_add_number(page->out, value);
    buf_add(page->out, "\n", 1);
}

static void write_codes(struct page *page, const struct counted_pool *counted_pool)
{
    char code[sizeof "100"];
    for (unsigned i = 0; i < COUNTERS_CODES; i++) {
        if (counted_pool->sum.codes[i] == 0)
            continue;
        snprintf(code, sizeof code, "%u", i + COUNTERS_CODE_MIN);
        begin_pool(page, "", counted_pool);
        tallies_label(page->out, "code", code);
        end_count(page, counted_pool->sum.codes[i]);
    }
}

/* Answers that upswap gave before a pool was known. */
static void write_refused(struct page *page)
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

static void write_requests(struct page *page)
{
    for (size_t i = 0; i < page->pool_count; i++)
        write_codes(page, &page->pools[i]);
    write_refused(page);
}

static void write_histogram(struct page *page, const struct counted_pool *counted_pool)
{
    uint64_t sum = 0;
    for (unsigned bucket = 0; bucket < COUNTERS_BUCKETS; bucket++) {
        sum += counted_pool->sum.buckets[bucket];
        if (bucket < LE_FIRST || bucket > LE_LAST || (bucket - LE_FIRST) % LE_STEP != 0)
            continue;
        begin_pool(page, "_bucket", counted_pool);
        tallies_label(page->out, "le", page->metrics->bounds[(bucket - LE_FIRST) / LE_STEP]);
        end_count(page, sum);
    }
    begin_pool(page, "_bucket", counted_pool);
    tallies_label(page->out, "le", "+Inf");
    end_count(page, sum);
    begin_pool(page, "_sum", counted_pool);
    buf_printf(page->out, "} %.6f\n", (double)counted_pool->sum.duration_us / 1e6);
    begin_pool(page, "_count", counted_pool);
    end_count(page, sum); /* not `requests`: that may be one ahead while workers write */
}

static void write_durations(struct page *page)
{
    for (size_t i = 0; i < page->pool_count; i++)
        write_histogram(page, &page->pools[i]);
}

static void write_in_flight(struct page *page)
{
    for (size_t i = 0; i < page->pool_count; i++) {
        if (page->pools[i].pool == NULL)
            continue;
        begin_pool(page, "", &page->pools[i]);
        end_count(page, page->pools[i].sum.in_flight);
    }
}

static void write_class(struct page *page, const struct counted_pool *pool, const char *class, uint64_t count)
{
    begin_pool(page, "", pool);
    tallies_label(page->out, "class", class);
    end_count(page, count);
}

static void write_classes(struct page *page)
{
    for (size_t i = 0; i < page->pool_count; i++) {
        const struct counted_pool *pool = &page->pools[i];
        if (pool->pool == NULL)
            continue;
        for (unsigned class = 0; class < COUNTERS_LASTING; class ++)
            write_class(page, pool, counters_lasting_names[class], pool->sum.lasting[class]);
        write_class(page, pool, "request", counters_pool_brief(&pool->sum));
    }
}

static void write_queued(struct page *page)
{
    for (size_t i = 0; i < page->pool_count; i++) {
        if (page->pools[i].pool == NULL)
            continue;
        begin_pool(page, "", &page->pools[i]);
        end_count(page, page->pools[i].sum.queued);
    }
}

static void write_waiting(struct page *page)
{
    const struct service *service = conductor_registry(page->conductor)->services;
    for (; service != NULL; service = service->hh.next) {
        begin_service(page, service);
        end_count(page, conductor_waiting(page->conductor, service));
    }
}

static void write_modes(struct page *page)
{
    const struct service *service = conductor_registry(page->conductor)->services;
    for (; service != NULL; service = service->hh.next) {
        begin_service(page, service);
        tallies_label(page->out, "mode", mode_names[service->mode.kind]);
        end_count(page, 1);
    }
}

static void write_upstream_errors(struct page *page)
{
    for (size_t i = 0; i < page->pool_count; i++) {
        for (unsigned kind = 0; kind < COUNTERS_ERRORS; kind++) {
            begin_pool(page, "", &page->pools[i]);
            tallies_label(page->out, "kind", counters_error_names[kind]);
            end_count(page, page->pools[i].sum.errors[kind]);
        }
    }
}

static void write_retries(struct page *page)
{
    for (size_t i = 0; i < page->pool_count; i++) {
        begin_pool(page, "", &page->pools[i]);
        end_count(page, page->pools[i].sum.retries);
    }
}

static void write_retries_denied(struct page *page)
{
    for (size_t i = 0; i < page->pool_count; i++) {
        begin_pool(page, "", &page->pools[i]);
        end_count(page, page->pools[i].sum.retries_denied);
    }
}

static void write_forged(struct page *page)
{
    for (size_t i = 0; i < page->pool_count; i++) {
        begin_pool(page, "", &page->pools[i]);
        end_count(page, page->pools[i].sum.forged);
    }
}

static void write_connections(struct page *page)
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
static void write_handshakes(struct page *page)
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

static void write_tallies(struct page *page, enum tally_family family)
{
    for (const struct tally *tally = tallies_first(page->metrics->tallies, family); tally != NULL;
         tally = tally->hh.next) {
        buf_add_str(page->out, str_of(page->name));
        buf_add_str(page->out, str_of(tally->labels));
        buf_add(page->out, " ", 1);
        buf_add_number(page->out, tally->count);
        buf_add(page->out, "\n", 1);
    }
}

/* A summary without quantiles. */
static void write_sums(struct page *page, enum tally_family family)
{
    for (const struct tally *tally = tallies_first(page->metrics->tallies, family); tally != NULL;
         tally = tally->hh.next)
        buf_printf(page->out, "%s_sum%s %.9f\n%s_count%s %" PRIu64 "\n", page->name, tally->labels,
                   tally->sum, page->name, tally->labels, tally->count);
}

static void write_deployments(struct page *page)
{
    write_tallies(page, TALLY_DEPLOYMENTS);
}

static void write_watches(struct page *page)
{
    write_tallies(page, TALLY_WATCHES);
}

static void write_swaps(struct page *page)
{
    write_sums(page, TALLY_SWAPS);
}

static void write_uptest_seconds(struct page *page)
{
    write_sums(page, TALLY_UPTEST_SECONDS);
}

static void write_uptests(struct page *page)
{
    write_tallies(page, TALLY_UPTESTS);
}

static void write_teardowns(struct page *page)
{
    write_tallies(page, TALLY_TEARDOWNS);
}

static void write_proxy_restarts(struct page *page)
{
    write_tallies(page, TALLY_PROXY_RESTARTS);
}

static void write_phases(struct page *page)
{
    const struct service *service = conductor_registry(page->conductor)->services;
    uint64_t now_ns = clock_steady_ns();
    for (; service != NULL; service = service->hh.next) {
        const struct deployment *running = service->running;
        if (running == NULL)
            continue;
        uint64_t since_ns = running->since_ns < now_ns ? running->since_ns : now_ns;
        begin_service(page, service);
        tallies_label(page->out, "deployment", running->pool->name);
        tallies_label(page->out, "phase", deployment_state_name(running->state));
        buf_printf(page->out, "} %.3f\n", (double)(now_ns - since_ns) / 1e9);
    }
}

static void write_journal_failures(struct page *page)
{
    buf_printf(page->out, "%s %" PRIu64 "\n", page->name, conductor_journal_failures(page->conductor));
}

static void write_certificates(struct page *page)
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

static void write_pool_info(struct page *page)
{
    for (size_t i = 0; i < page->pool_count; i++) {
        const struct pool *pool = page->pools[i].pool;
        if (pool == NULL)
            continue;
        begin_pool(page, "", &page->pools[i]);
        tallies_label(page->out, "state", pool_state_names[pool->state]);
        tallies_label(page->out, "release", pool->release);
        end_count(page, 1);
    }
}

static void write_scheduled(struct page *page)
{
    const struct registry *registry = conductor_registry(page->conductor);
    for (const struct service *service = registry->services; service != NULL; service = service->hh.next) {
        struct schedule_tally tally = conductor_scheduled(page->conductor, service->name);
        for (unsigned passed = 0; passed < 2 && tally.passed + tally.failed > 0; passed++) {
            begin_service(page, service);
            tallies_label(page->out, "result", passed ? "passed" : "failed");
            end_count(page, passed ? tally.passed : tally.failed);
        }
    }
}

/* Only of those that a scheduled run has told of. */
static void write_passing(struct page *page)
{
    struct counters *counters = conductor_counters(page->conductor);
    for (size_t i = 0; i < page->pool_count; i++) {
        const struct pool *pool = page->pools[i].pool;
        for (size_t at = 0; pool != NULL && pool->state == POOL_LIVE && at < pool->instance_count; at++) {
            struct standing standing = standing_of(counters, &pool->instances[at]);
            if (standing.uptests == STANDING_UNTESTED)
                continue;
            begin_instance(page, pool, &pool->instances[at]);
            end_count(page, standing.uptests == STANDING_PASSES);
        }
    }
}

/* Of live pools only: an address may also be in a pool that drains, and a series must be there once. */
static void write_instance_up(struct page *page)
{
    for (size_t i = 0; i < page->pool_count; i++) {
        const struct pool *pool = page->pools[i].pool;
        for (size_t at = 0; pool != NULL && pool->state == POOL_LIVE && at < pool->instance_count; at++) {
            begin_instance(page, pool, &pool->instances[at]);
            end_count(page, strcmp(conductor_instance_state(page->conductor, pool, &pool->instances[at]),
                                   "up") == 0);
        }
    }
}

/* As for upswap_instance_up; the address that comes back after a swap begins anew. */
static void write_ejections(struct page *page)
{
    struct counters *counters = conductor_counters(page->conductor);
    for (size_t i = 0; i < page->pool_count; i++) {
        const struct pool *pool = page->pools[i].pool;
        for (size_t at = 0; pool != NULL && pool->state == POOL_LIVE && at < pool->instance_count; at++) {
            struct counters_instance sum;
            counters_instance_sum(counters, pool->instances[at].slot, &sum);
            begin_instance(page, pool, &pool->instances[at]);
            end_count(page, sum.ejections);
        }
    }
}

static void write_snapshot_version(struct page *page)
{
    buf_printf(page->out, "%s %" PRIu64 "\n", page->name, conductor_snapshot_version(page->conductor));
}

static void write_build_info(struct page *page)
{
    buf_printf(page->out, "%s{version=\"%s\"} 1\n", page->name, version_text);
}

static void write_floods(struct page *page)
{
    struct counters_worker all;
    counters_worker_sum(conductor_counters(page->conductor), &all);
    for (unsigned i = 0; i < COUNTERS_FLOODS; i++) {
        begin(page, "");
        tallies_label(page->out, "reason", counters_flood_names[i]);
        end_count(page, all.floods[i]);
    }
}

static const struct {
    const char *name, *type, *help;
    void (*write)(struct page *page);
} rows[] = {
    {"upswap_requests_total", "counter", "Requests ended, by status code.", write_requests},
    {"upswap_request_duration_seconds", "histogram", "From a request's head to the end of its answer.",
     write_durations},
    {"upswap_in_flight", "gauge", "Exchanges that hold a pool.", write_in_flight},
    {"upswap_in_flight_by_class", "gauge", "The same by the class that has a drain time of its own.",
     write_classes},
    {"upswap_queued", "gauge", "Requests that wait until an instance has room.", write_queued},
    {"upswap_waiting", "gauge", "Requests that wait because their service is paused.", write_waiting},
    {"upswap_service_mode", "gauge", "1 for each service, by what becomes of its requests.", write_modes},
    {"upswap_upstream_errors_total", "counter", "Failures of instances, by kind.", write_upstream_errors},
    {"upswap_retries_total", "counter", "Requests sent again, or to another instance.", write_retries},
    {"upswap_retries_denied_total", "counter",
     "Requests that failed because the budget of retries was used up.", write_retries_denied},
    {"upswap_forged_cookies_total", "counter", "Cookies under upswap's names that are none of its own.",
     write_forged},
    {"upswap_connections", "gauge", "Open client connections.", write_connections},
    {"upswap_http2_floods_total", "counter", "Connections of HTTP/2 that were told to be calm, by reason.",
     write_floods},
    {"upswap_tls_handshakes_total", "counter", "Handshakes of TLS with clients, by result.",
     write_handshakes},
    {"upswap_deployments_total", "counter", "Deployments ended, by result.", write_deployments},
    {"upswap_deployment_phase_seconds", "gauge",
     "For how long each running deployment has been in its phase.", write_phases},
    {"upswap_watches_total", "counter", "Watches of new pools ended or failed, by result.", write_watches},
    {"upswap_swap_seconds", "summary", "From the decision to swap to its publication.", write_swaps},
    {"upswap_uptest_seconds", "summary", "How long uptests of deployments ran.", write_uptest_seconds},
    {"upswap_uptests_total", "counter", "Uptests of deployments, by result.", write_uptests},
    {"upswap_teardowns_total", "counter", "Teardowns of instances ended, by result.", write_teardowns},
    {"upswap_scheduled_uptests_total", "counter",
     "Suites run on a schedule against one live instance each, by result.", write_scheduled},
    {"upswap_instance_uptests_passing", "gauge",
     "1 for each live instance whose scheduled uptests pass, 0 for one whose do not.", write_passing},
    {"upswap_pool_info", "gauge", "1 for each pool that is staged, live, armed or draining.",
     write_pool_info},
    {"upswap_instance_up", "gauge", "1 for each live instance in rotation, 0 for one that is not.",
     write_instance_up},
    {"upswap_instance_ejections_total", "counter",
     "Ejections of each live instance by its traffic, by all workers.", write_ejections},
    {"upswap_proxy_restarts_total", "counter", "Proxies that ended and were started again.",
     write_proxy_restarts},
    {"upswap_journal_failures_total", "counter", "Writes to the journal that failed.",
     write_journal_failures},
    {"upswap_certificate_expiry_timestamp_seconds", "gauge",
     "When the first certificate of each listener expires.", write_certificates},
    {"upswap_snapshot_version", "gauge", "The version of the routing view that was published last.",
     write_snapshot_version},
    {"upswap_build_info", "gauge", "1, with the version of upswap.", write_build_info},
};

static size_t count_past(const struct past *past)
{
    const struct past_pool *pool;
    size_t count = 0;
    TAILQ_FOREACH (pool, past, entry)
        count++;
    return count;
}

static struct counted_pool *add_pool(struct page *page, const char *service, const char *name)
{
    struct counted_pool *pool = &page->pools[page->pool_count++];
    struct buf labels = BUF_EMPTY;
    tallies_label(&labels, "service", service);
    tallies_label(&labels, "pool", name);
    pool->pool = NULL;
    pool->labels = page->labels.n;
    pool->label_size = labels.n;
    buf_add_str(&page->labels, buf_str(&labels));
    buf_free(&labels);
    return pool;
}

static void count_pools(struct page *page)
{
    struct counters *counters = conductor_counters(page->conductor);
    const struct registry *registry = conductor_registry(page->conductor);
    const struct past *past = conductor_past(page->conductor);
    size_t most = HASH_COUNT(registry->pools) + count_past(past);
    page->pools = mem_aligned(_Alignof(struct counted_pool), (most + 1) * sizeof *page->pools);
    for (const struct pool *pool = registry->pools; pool != NULL; pool = pool->hh.next) {
        if (pool->state == POOL_RETIRED)
            continue;
        struct counted_pool *counted_pool = add_pool(page, pool->service->name, pool->name);
        counted_pool->pool = pool;
        counters_pool_sum(counters, pool->slot, &counted_pool->sum);
    }
    const struct past_pool *gone;
    TAILQ_FOREACH (gone, past, entry)
        add_pool(page, gone->service, gone->name)->sum = gone->sum;
}

void metrics_write(struct metrics *metrics, struct conductor *conductor, struct buf *out)
{
    struct page page = {.metrics = metrics, .conductor = conductor, .labels = BUF_EMPTY, .out = out};
    const struct service *service = conductor_registry(conductor)->services;
    tallies_expect(metrics->tallies, NULL);
    for (; service != NULL; service = service->hh.next)
        tallies_expect(metrics->tallies, service->name);
    count_pools(&page);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        page.name = rows[i].name;
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", page.name, rows[i].help, page.name, rows[i].type);
        rows[i].write(&page);
    }
    free(page.pools);
    buf_free(&page.labels);
}
