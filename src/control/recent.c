/* The slices of all services are cut at the same moments, which are kept once; a service's ring has a cell
 * for each. Invariant: what a service's pools that are not retired have counted, less `before`, is what
 * belongs to the slice that is not ended yet. */
#include "control/recent.h"

#include "base/clock.h"
#include "base/mem.h"
#include "control/answers.h"

#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#define RATE_LEAST_NS 400000000 /* what is shorter tells too little */

struct cell {
    uint32_t requests, errors, p50_us, p99_us;
};

struct record {
    char *service;
    struct answers before;
    struct cell *ring;     /* RECENT_SLICES, as recent->spans has them; NULL: no requests for so long */
    unsigned idle;         /* slices since the last one with requests */
    uint64_t in_flight[2]; /* with a ring: at the last look, and at the one before */
    bool lost_pool;        /* one that may have had requests since the last look */
    UT_hash_handle hh;
};

struct span {
    uint64_t begun_ns; /* wall */
    double seconds;
};

struct recent {
    const struct registry *registry;
    struct counters *counters;
    struct record *records; /* of services that ever had requests */
    struct span spans[RECENT_SLICES];
    size_t next, count;              /* of the spans */
    uint64_t ended[COUNTERS_GROUPS]; /* at the last look */
    bool moved[COUNTERS_GROUPS];     /* between it and the one before */
    uint64_t looked_ns;              /* monotonic; 0: not yet */
    uint64_t wall_ns;                /* the same moment */
    struct deadline look;
};

static struct record *record_find(const struct recent *recent, const char *service)
{
    struct record *record;
    HASH_FIND_STR(recent->records, service, record);
    return record;
}

static struct record *record_of(struct recent *recent, const char *service)
{
    struct record *record = record_find(recent, service);
    if (record != NULL)
        return record;
    record = mem_zero(1, sizeof *record);
    record->service = mem_dup(service);
    HASH_ADD_KEYPTR(hh, recent->records, record->service, strlen(record->service), record);
    return record;
}

/* What its pools have in all, of what `read` gives for each. */
static uint64_t sum_of(const struct recent *recent, const struct service *service,
                       uint64_t (*read)(struct counters *counters, uint32_t slot))
{
    const struct pool *pool;
    uint64_t sum = 0;
    TAILQ_FOREACH (pool, &service->pools, of_service) {
        if (pool->state != POOL_RETIRED)
            sum += read(recent->counters, pool->slot);
    }
    return sum;
}

static void read_totals(const struct recent *recent, const struct service *service, struct answers *totals)
{
    const struct pool *pool;
    memset(totals, 0, sizeof *totals);
    TAILQ_FOREACH (pool, &service->pools, of_service) {
        struct counters_pool sum;
        struct answers answers;
        if (pool->state == POOL_RETIRED)
            continue;
        counters_pool_sum(recent->counters, pool->slot, &sum);
        answers_read(&answers, &sum);
        answers_add(totals, &answers);
    }
}

static uint32_t narrow(double number)
{
    return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

/* In modular arithmetic, since `before` is below 0 where a pool has gone that was never looked at. What runs
 * backwards all the same counts as nothing. */
static uint64_t grown(uint64_t before, uint64_t after)
{
    uint64_t more = after - before;
    return (int64_t)more > 0 ? more : 0;
}

static struct cell cell_between(const struct answers *before, const struct answers *after)
{
    struct answers more = {.requests = grown(before->requests, after->requests),
                           .errors = grown(before->errors, after->errors)};
    for (unsigned i = 0; i < COUNTERS_BUCKETS; i++)
        more.buckets[i] = grown(before->buckets[i], after->buckets[i]);
    return (struct cell){
        .requests = narrow((double)more.requests),
        .errors = narrow((double)more.errors),
        .p50_us = narrow(answers_quantile_us(&more, 0.5)),
        .p99_us = narrow(answers_quantile_us(&more, 0.01)),
    };
}

static void put(struct recent *recent, struct record *record, uint64_t in_flight, struct cell cell)
{
    if (cell.requests > 0 || cell.errors > 0)
        record->idle = 0;
    else if (++record->idle >= RECENT_SLICES) {
        free(record->ring);
        record->ring = NULL;
        return;
    }
    record->in_flight[1] = record->ring == NULL ? in_flight : record->in_flight[0];
    record->in_flight[0] = in_flight;
    if (record->ring == NULL)
        record->ring = mem_zero(RECENT_SLICES, sizeof *record->ring);
    record->ring[recent->next] = cell;
}

static void find_moved(struct recent *recent)
{
    uint64_t ended[COUNTERS_GROUPS];
    counters_groups_ended(recent->counters, ended);
    for (unsigned i = 0; i < COUNTERS_GROUPS; i++)
        recent->moved[i] = ended[i] != recent->ended[i];
    memcpy(recent->ended, ended, sizeof ended);
}

/* May it have had requests since the last look? The counters of a pool are cold memory, so most services of
 * many are told by the group that theirs are in. */
static bool has_moved(const struct recent *recent, const struct service *service)
{
    const struct pool *pool;
    TAILQ_FOREACH (pool, &service->pools, of_service) {
        if (pool->state != POOL_RETIRED && recent->moved[pool->slot / COUNTERS_GROUP])
            return true;
    }
    return false;
}

static void look_at(struct recent *recent, const struct service *service, bool first)
{
    struct record *record = record_find(recent, service->name);
    bool is_shown = record != NULL && record->ring != NULL;
    bool may_have = is_shown || (record != NULL && record->lost_pool) || has_moved(recent, service);
    if (!may_have)
        return;
    uint64_t in_flight = sum_of(recent, service, counters_pool_in_flight);
    uint64_t requests = sum_of(recent, service, counters_pool_ended);
    if (record == NULL && requests == 0)
        return;
    if (record == NULL)
        record = record_of(recent, service->name);
    record->lost_pool = false;
    if (requests == record->before.requests) {
        if (is_shown)
            put(recent, record, in_flight, (struct cell){0});
        return;
    }
    struct answers totals;
    read_totals(recent, service, &totals);
    if (!first)
        put(recent, record, in_flight, cell_between(&record->before, &totals));
    record->before = totals;
}

void recent_look(struct recent *recent)
{
    uint64_t now_ns = clock_mono_ns(), wall_ns = clock_wall_ns();
    const struct service *service = recent->registry->services;
    bool first = recent->looked_ns == 0; /* what came before it has no time */
    find_moved(recent);
    for (; service != NULL; service = service->hh.next)
        look_at(recent, service, first);
    if (!first) {
        recent->spans[recent->next] =
            (struct span){recent->wall_ns, (double)(now_ns - recent->looked_ns) / 1e9};
        recent->next = (recent->next + 1) % RECENT_SLICES;
        if (recent->count < RECENT_SLICES)
            recent->count++;
    }
    recent->looked_ns = now_ns;
    recent->wall_ns = wall_ns;
}

static void on_look(struct deadline *deadline)
{
    struct recent *recent = mem_container(deadline, struct recent, look);
    recent_look(recent);
    deadline_set(&recent->look, RECENT_SLICE_MS);
}

void recent_gone(struct recent *recent, const char *service, const struct counters_pool *sum)
{
    struct answers answers;
    if (sum->requests == 0)
        return;
    answers_read(&answers, sum);
    struct record *record = record_of(recent, service);
    struct answers *before = &record->before;
    record->lost_pool = true;
    before->requests -= answers.requests;
    before->errors -= answers.errors;
    for (unsigned i = 0; i < COUNTERS_BUCKETS; i++)
        before->buckets[i] -= answers.buckets[i];
}

bool recent_is_known(const struct recent *recent, const char *service)
{
    const struct record *record = record_find(recent, service);
    return record != NULL && record->ring != NULL;
}

size_t recent_read(const struct recent *recent, const char *service, size_t most, struct recent_slice *slices)
{
    const struct record *record = record_find(recent, service);
    size_t count = recent->count < most ? recent->count : most;
    for (size_t i = 0; i < count; i++) {
        size_t at = (recent->next + RECENT_SLICES - count + i) % RECENT_SLICES;
        struct cell cell = {0};
        if (record != NULL && record->ring != NULL)
            cell = record->ring[at];
        slices[i] = (struct recent_slice){recent->spans[at].begun_ns,
                                          recent->spans[at].seconds,
                                          cell.requests,
                                          cell.errors,
                                          cell.p50_us,
                                          cell.p99_us};
    }
    return count;
}

/* Begun are those that have ended, and as many as there are more in flight. */
uint32_t recent_rate(const struct recent *recent, const struct service *service)
{
    const struct record *record = record_find(recent, service->name);
    if (recent->looked_ns == 0)
        return 0;
    uint64_t before = record != NULL ? record->before.requests : 0;
    double begun = (double)grown(before, sum_of(recent, service, counters_pool_ended));
    double ns = (double)(clock_mono_ns() - recent->looked_ns);
    size_t last = (recent->next + RECENT_SLICES - 1) % RECENT_SLICES;
    if (recent->count > 0)
        ns += recent->spans[last].seconds * 1e9;
    if (record != NULL && record->ring != NULL) {
        begun += record->ring[last].requests;
        begun += (double)sum_of(recent, service, counters_pool_in_flight) - (double)record->in_flight[1];
    }
    return ns < RATE_LEAST_NS || begun < 0 ? 0 : narrow(begun * 1e12 / ns);
}

struct recent *recent_new(struct loop *loop, const struct registry *registry, struct counters *counters)
{
    struct recent *recent = mem_zero(1, sizeof *recent);
    recent->registry = registry;
    recent->counters = counters;
    deadline_init(&recent->look, loop, on_look);
    deadline_set(&recent->look, 0);
    return recent;
}

void recent_free(struct recent *recent)
{
    struct record *record, *next;
    deadline_clear(&recent->look);
    HASH_ITER(hh, recent->records, record, next)
    {
        HASH_DEL(recent->records, record);
        free(record->ring);
        free(record->service);
        free(record);
    }
    free(recent);
}
