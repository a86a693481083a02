/* The writing of the Prometheus text. Invariant: nothing of the registry is kept between two pieces but
 * names, since whatever they stand for may be gone by then. */
#include "control/metrics.h"

#include "base/mem.h"
#include "control/metrics_rows.h"
#include "control/past.h"

#include <stdlib.h>

/* A piece: so many pools, instances, services or tallies at most, or a little more than so many bytes. With
 * either, half a millisecond or less. */
#define PIECE_ITEMS 512
#define PIECE_BYTES ((size_t)64 * 1024)

struct metrics {
    struct tallies *tallies;
};

struct metrics *metrics_new(struct event_log *events)
{
    struct metrics *metrics = mem_zero(1, sizeof *metrics);
    metrics->tallies = tallies_new(events);
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    tallies_free(metrics->tallies);
    free(metrics);
}

struct metrics_text {
    struct metrics_page page;
    const struct tallies *tallies;
    char *names; /* all that is pointed to by: */
    struct counted_pool *pools;
    const char **services;
    size_t pool_count, service_count;
    size_t looked_at;          /* of the pools, of which */
    size_t counted;            /* are at the front, counted; the others were not there any more */
    struct buf codes;          /* page->codes */
    size_t row;                /* that is being written */
    bool begun;                /* it has a head */
    size_t item;               /* the next of its pools or services */
    size_t instance;           /* the next of that pool's */
    const struct tally *tally; /* the next of its tallies: they are never removed */
};

/* ---- what there is ---- */

/* Where names are copied to, one behind the other. */
struct names {
    char *at;
};

static size_t size_of(const char *name)
{
    return strlen(name) + 1;
}

static const char *copy(struct names *names, const char *name)
{
    char *at = names->at;
    size_t size = size_of(name);
    memcpy(at, name, size);
    names->at += size;
    return at;
}

static void make_room(struct metrics_text *text, const struct registry *registry, const struct past *past)
{
    size_t size = 0;
    for (const struct service *service = registry->services; service != NULL; service = service->hh.next)
        size += size_of(service->name);
    for (const struct pool *pool = registry->pools; pool != NULL; pool = pool->hh.next)
        size += size_of(pool->service->name) + size_of(pool->name);
    for (const struct past_pool *pool = past->pools; pool != NULL; pool = pool->hh.next)
        size += size_of(pool->service) + size_of(pool->name);
    size_t most = HASH_COUNT(registry->pools) + HASH_COUNT(past->pools);
    text->names = mem_alloc(size + 1);
    text->pools = mem_alloc((most + 1) * sizeof *text->pools);
    text->services = mem_alloc((HASH_COUNT(registry->services) + 1) * sizeof *text->services);
}

static void add_pool(struct metrics_text *text, struct names *names, const char *service, const char *name,
                     bool is_live)
{
    struct counted_pool *pool = &text->pools[text->pool_count++];
    pool->service = copy(names, service);
    pool->name = copy(names, name);
    pool->was_live = is_live;
}

static void list(struct metrics_text *text, struct tallies *tallies)
{
    const struct registry *registry = conductor_registry(text->page.conductor);
    const struct past *past = conductor_past(text->page.conductor);
    make_room(text, registry, past);
    struct names names = {text->names};
    for (const struct service *service = registry->services; service != NULL; service = service->hh.next) {
        tallies_expect(tallies, service->name);
        text->services[text->service_count++] = copy(&names, service->name);
    }
    for (const struct pool *pool = registry->pools; pool != NULL; pool = pool->hh.next) {
        if (pool->state != POOL_RETIRED)
            add_pool(text, &names, pool->service->name, pool->name, pool->state == POOL_LIVE);
    }
    for (const struct past_pool *pool = past->pools; pool != NULL; pool = pool->hh.next)
        add_pool(text, &names, pool->service, pool->name, false);
}

struct metrics_text *metrics_text_new(struct metrics *metrics, struct conductor *conductor)
{
    struct metrics_text *text = mem_zero(1, sizeof *text);
    text->page.conductor = conductor;
    text->tallies = metrics->tallies;
    for (unsigned i = 0; i < METRICS_LE_COUNT; i++) {
        uint64_t us = counters_bucket_us(METRICS_LE_FIRST + i * METRICS_LE_STEP);
        snprintf(text->page.le[i], sizeof *text->page.le, "%.9g", (double)us / 1e6);
    }
    tallies_expect(metrics->tallies, NULL);
    list(text, metrics->tallies);
    return text;
}

void metrics_text_free(struct metrics_text *text)
{
    free(text->names);
    free(text->pools);
    free(text->services);
    buf_free(&text->codes);
    buf_free(&text->page.labels);
    free(text);
}

/* ---- what was counted ---- */

static void take_durations(struct counted_pool *pool, const struct counters_pool *sum)
{
    uint64_t count = 0;
    for (unsigned bucket = 0; bucket < COUNTERS_BUCKETS; bucket++) {
        count += sum->buckets[bucket];
        if (bucket < METRICS_LE_FIRST || (bucket - METRICS_LE_FIRST) % METRICS_LE_STEP != 0)
            continue;
        unsigned le = (bucket - METRICS_LE_FIRST) / METRICS_LE_STEP;
        if (le < METRICS_LE_COUNT)
            pool->durations[le] = count;
    }
    pool->duration_count = count; /* not `requests`: that may be one ahead while workers write */
    pool->duration_us = sum->duration_us;
}

static void take_codes(struct metrics_text *text, struct counted_pool *pool, const struct counters_pool *sum)
{
    pool->codes = text->codes.n / sizeof(struct counted_code);
    for (unsigned i = 0; i < COUNTERS_CODES; i++) {
        struct counted_code code = {i + COUNTERS_CODE_MIN, sum->codes[i]};
        if (code.count > 0)
            buf_add(&text->codes, &code, sizeof code);
    }
    pool->code_count = text->codes.n / sizeof(struct counted_code) - pool->codes;
    text->page.codes = (struct counted_code *)(void *)text->codes.p;
}

static void take(struct metrics_text *text, struct counted_pool *pool, const struct counters_pool *sum)
{
    pool->in_flight = sum->in_flight;
    pool->queued = sum->queued;
    pool->requests = counters_pool_brief(sum);
    pool->retries = sum->retries;
    pool->retries_denied = sum->retries_denied;
    pool->forged = sum->forged;
    memcpy(pool->lasting, sum->lasting, sizeof pool->lasting);
    memcpy(pool->errors, sum->errors, sizeof pool->errors);
    take_durations(pool, sum);
    take_codes(text, pool, sum);
}

/* What the registry knows of a service that is not in the config any more serves nobody. */
static bool is_configured(const struct metrics_text *text, const struct service *service)
{
    return config_service(conductor_config(text->page.conductor), str_of(service->name)) != NULL;
}

/* False: all are counted. */
static bool count_one(struct metrics_text *text)
{
    if (text->looked_at == text->pool_count)
        return false;
    struct conductor *conductor = text->page.conductor;
    struct counted_pool *counted = &text->pools[text->counted];
    *counted = text->pools[text->looked_at++];
    const struct pool *pool = registry_pool(conductor_registry(conductor), counted->name);
    const struct past_pool *gone = past_pool(conductor_past(conductor), counted->name);
    struct counters_pool sum;
    counted->is_gone = pool == NULL || pool->state == POOL_RETIRED;
    if (!counted->is_gone && pool->state == POOL_LIVE && !is_configured(text, pool->service))
        return true;
    if (!counted->is_gone)
        counters_pool_sum(conductor_counters(conductor), pool->slot, &sum);
    else if (gone == NULL)
        return true;
    take(text, counted, counted->is_gone ? &gone->sum : &sum);
    text->counted++;
    return true;
}

/* ---- lines ---- */

static bool write_pool(struct metrics_text *text, const struct metrics_row *row)
{
    if (text->item == text->counted)
        return false;
    struct metrics_page *page = &text->page;
    const struct counted_pool *pool = &text->pools[text->item++];
    page->labels.n = 0;
    tallies_label(&page->labels, "service", pool->service);
    tallies_label(&page->labels, "pool", pool->name);
    row->pool(page, pool);
    return true;
}

/* NULL: it is not live any more, or was not when the writing began; so each service has one at most. */
static const struct pool *live_pool(const struct metrics_text *text, const struct counted_pool *counted)
{
    if (!counted->was_live)
        return NULL;
    const struct pool *pool = registry_pool(conductor_registry(text->page.conductor), counted->name);
    return pool != NULL && pool->state == POOL_LIVE ? pool : NULL;
}

static bool write_instance(struct metrics_text *text, const struct metrics_row *row)
{
    if (text->item == text->counted)
        return false;
    const struct pool *pool = live_pool(text, &text->pools[text->item]);
    if (pool != NULL && text->instance < pool->instance_count) {
        row->instance(&text->page, pool, &pool->instances[text->instance++]);
        return true;
    }
    text->item++;
    text->instance = 0;
    return true;
}

static bool write_service(struct metrics_text *text, const struct metrics_row *row)
{
    if (text->item == text->service_count)
        return false;
    const char *name = text->services[text->item++];
    const struct service *service = registry_service(conductor_registry(text->page.conductor), name);
    if (service != NULL && is_configured(text, service))
        row->service(&text->page, service);
    return true;
}

static bool write_tally(struct metrics_text *text, const struct metrics_row *row)
{
    const struct tally *tally = text->tally;
    if (tally == NULL)
        return false;
    text->tally = tally->hh.next;
    row->tally(&text->page, tally);
    return true;
}

static void begin_row(struct metrics_text *text, const struct metrics_row *row)
{
    text->begun = true;
    text->page.name = row->name;
    text->item = text->instance = 0;
    text->tally = row->tally == NULL ? NULL : tallies_first(text->tallies, row->family);
    buf_printf(text->page.out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name, row->type);
}

static void end_row(struct metrics_text *text, const struct metrics_row *row)
{
    if (row->rest != NULL)
        row->rest(&text->page);
    text->row++;
    text->begun = false;
}

/* False: the row has no more items. */
static bool write_item(struct metrics_text *text, const struct metrics_row *row)
{
    if (row->pool != NULL)
        return write_pool(text, row);
    if (row->instance != NULL)
        return write_instance(text, row);
    if (row->service != NULL)
        return write_service(text, row);
    return write_tally(text, row);
}

/* One item more. False: all is written. */
static bool advance(struct metrics_text *text)
{
    if (count_one(text))
        return true;
    if (text->row == metrics_row_count)
        return false;
    const struct metrics_row *row = &metrics_rows[text->row];
    if (!text->begun)
        begin_row(text, row);
    else if (!write_item(text, row))
        end_row(text, row);
    return true;
}

bool metrics_text_step(struct metrics_text *text, struct buf *out)
{
    size_t before = out->n;
    text->page.out = out;
    for (unsigned items = 0; items < PIECE_ITEMS && out->n - before < PIECE_BYTES; items++) {
        if (!advance(text))
            return false;
    }
    return true;
}
