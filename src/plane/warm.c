/* Invariant: a pool's cell `warming` is the number of its connections that are wanted and not yet begun, and
 * of those that are begun and neither made nor given up. */
#include "plane/warm.h"

#include "base/mem.h"
#include "plane/exchange.h"

#include <errno.h>
#include <stdlib.h>

#define BURST 2        /* connections begun in a turn */
#define RECENT_MS 1000 /* a connection that was used within it was needed */
#define MOST 256       /* of a pool, in one worker */

/* Of one candidate. What it points to is of the worker's present world, or of the ground of that. */
struct warm {
    uint32_t index; /* of the service */
    const struct snapshot_service *service;
    const struct snapshot_pool *pool;
    uint64_t *cell;
    uint32_t each; /* connections that an instance is to have */
    uint32_t left; /* to be begun, at most */
    size_t next;   /* instance */
    TAILQ_ENTRY(warm) link;
};

/* A connection on its way. */
struct warming {
    struct warms *warms;
    struct connection *connection;
    struct view *view; /* in which the instance's address is, until it is connected */
    uint64_t *cell;
    uint32_t keep_ms;
    struct deadline deadline;
    TAILQ_ENTRY(warming) link;
};

/* ---- one connection ---- */

static void end(struct warming *warming, bool made)
{
    TAILQ_REMOVE(&warming->warms->begun, warming, link);
    deadline_clear(&warming->deadline);
    connection_release(warming->connection, made ? warming->keep_ms : 0, false);
    view_release(warming->view, warming->warms->worker->options.index);
    counters_sub(warming->cell, 1);
    free(warming);
}

static void ready(void *arg)
{
    struct warming *warming = arg;
    int error = connection_check(warming->connection);
    if (error != EINPROGRESS)
        end(warming, error == 0);
}

static void time_is_over(struct deadline *deadline)
{
    end(mem_container(deadline, struct warming, deadline), false);
}

/* False: it could not be begun. Where a newer world is published already, that one asks for it anew. */
static bool begin(struct warms *warms, const struct warm *warm, const struct snapshot_instance *instance)
{
    struct worker *worker = warms->worker;
    const struct snapshot_rules *rules = snapshot_service_rules(warm->service);
    struct upstream *upstream = upstream_of(worker->upstreams, instance);
    struct warming *warming = calloc(1, sizeof *warming);
    struct lending lending = {.fresh = true, .ready = ready, .arg = warming};
    struct str service = snapshot_service_name(worker->snapshot, warm->service);
    struct view *view = publisher_take(worker->options.publisher, worker->options.index);
    bool able = upstream != NULL && warming != NULL && view->snapshot == worker->snapshot &&
                (!rules->tls || lending_use_tls(&lending, view, service, instance->name));
    struct connection *connection = able ? upstream_lend(upstream, instance, &lending) : NULL;
    if (connection == NULL) {
        view_release(view, worker->options.index);
        free(warming);
        return false;
    }
    *warming = (struct warming){.warms = warms,
                                .connection = connection,
                                .view = view,
                                .cell = warm->cell,
                                .keep_ms = rules->upstream_idle_ms};
    TAILQ_INSERT_TAIL(&warms->begun, warming, link);
    deadline_init(&warming->deadline, worker->loop, time_is_over);
    worker_deadline(&warming->deadline, rules->connect_ms);
    return true;
}

/* ---- one pool ---- */

/* Connections that are in use, or were a moment ago. */
static uint32_t used_lately(const struct worker *worker, const struct snapshot_pool *pool, uint32_t keep_ms)
{
    uint64_t until_ms = loop_ms(worker->loop) + keep_ms - RECENT_MS;
    uint32_t sum = 0;
    for (size_t i = 0; i < snapshot_pool_size(pool); i++) {
        struct snapshot_instance instance = snapshot_pool_instance(worker->snapshot, pool, i);
        sum += upstream_connections_until(worker->upstreams, &instance, until_ms);
    }
    return sum;
}

static bool takes_requests(const struct snapshot_instance *instance)
{
    return !instance->drained && !instance->down;
}

static size_t count_takers(const struct snapshot *snapshot, const struct snapshot_pool *pool)
{
    size_t count = 0;
    for (size_t i = 0; i < snapshot_pool_size(pool); i++) {
        struct snapshot_instance instance = snapshot_pool_instance(snapshot, pool, i);
        count += takes_requests(&instance);
    }
    return count;
}

/* A client's own connections cannot be made before it asks, and one of HTTP/2 does for all. Who has a limit
 * may give each connection one of few threads. */
static bool can_be_warm(const struct snapshot_rules *rules)
{
    return rules->proxy_protocol == 0 && !rules->h2 && rules->concurrency_per_instance == 0 &&
           rules->upstream_idle_ms > 0;
}

static void want(struct warms *warms, uint32_t index, const struct snapshot_service *service)
{
    struct worker *worker = warms->worker;
    const struct snapshot *snapshot = worker->snapshot;
    const struct snapshot_rules *rules = snapshot_service_rules(service);
    const struct snapshot_pool *live = snapshot_service_live(snapshot, service);
    const struct snapshot_pool *pool = snapshot_service_candidate(snapshot, service);
    size_t takers = count_takers(snapshot, pool);
    if (takers == 0 || !can_be_warm(rules))
        return;
    uint32_t total = used_lately(worker, live, rules->upstream_idle_ms);
    total = total < MOST ? total : MOST;
    struct warm *warm = total == 0 ? NULL : calloc(1, sizeof *warm);
    if (warm == NULL)
        return;
    uint64_t *cell =
        &counters_pool(worker->counters, worker->options.index, snapshot_pool_slot(pool))->warming;
    *warm = (struct warm){.index = index,
                          .service = service,
                          .pool = pool,
                          .cell = cell,
                          .each = (uint32_t)((total + takers - 1) / takers),
                          .left = total};
    counters_add(cell, total);
    TAILQ_INSERT_TAIL(&warms->wanted, warm, link);
}

static void forget(struct warms *warms, struct warm *warm)
{
    TAILQ_REMOVE(&warms->wanted, warm, link);
    counters_sub(warm->cell, warm->left);
    free(warm);
}

/* The next instance that has too few. False: all have enough. */
static bool next_instance(struct warms *warms, struct warm *warm, struct snapshot_instance *instance)
{
    struct worker *worker = warms->worker;
    size_t count = snapshot_pool_size(warm->pool);
    for (size_t i = 0; i < count; i++) {
        *instance = snapshot_pool_instance(worker->snapshot, warm->pool, warm->next++ % count);
        if (takes_requests(instance) && upstream_connections(worker->upstreams, instance) < warm->each)
            return true;
    }
    return false;
}

/* ---- all ---- */

static void run(struct loop_deferred *deferred)
{
    struct warms *warms = mem_container(deferred, struct warms, running);
    struct warm *warm;
    warms->due = false;
    for (int begun = 0; begun < BURST && (warm = TAILQ_FIRST(&warms->wanted)) != NULL; begun++) {
        struct snapshot_instance instance;
        if (warm->left == 0 || !next_instance(warms, warm, &instance)) {
            forget(warms, warm);
            continue;
        }
        warm->left--;
        if (!begin(warms, warm, &instance))
            counters_sub(warm->cell, 1);
    }
    warms->due = !TAILQ_EMPTY(&warms->wanted);
    if (warms->due)
        loop_defer(warms->worker->loop, &warms->running);
}

void warms_init(struct warms *warms, struct worker *worker)
{
    *warms = (struct warms){.worker = worker, .running.run = run};
    TAILQ_INIT(&warms->wanted);
    TAILQ_INIT(&warms->begun);
}

/* What is looked at anew by this world, or is of one that is no more. */
static void forget_others(struct warms *warms, const struct snapshot *snapshot)
{
    struct warm *warm, *next;
    for (warm = TAILQ_FIRST(&warms->wanted); warm != NULL; warm = next) {
        next = TAILQ_NEXT(warm, link);
        if (snapshot == NULL || warm->index >= snapshot_service_count(snapshot) ||
            snapshot_service_at(snapshot, warm->index) != warm->service)
            forget(warms, warm);
    }
}

static void look_at(struct warms *warms, uint32_t index)
{
    const struct snapshot_service *service = snapshot_service_at(warms->worker->snapshot, index);
    if (snapshot_service_warms(service))
        want(warms, index, service);
}

/* A service that a world does not amend is what it was, and was looked at with the ground. */
void warms_turn(struct warms *warms)
{
    const struct snapshot *snapshot = warms->worker->snapshot;
    uint64_t ground = snapshot_version(snapshot_ground(snapshot));
    bool is_new = ground != warms->ground;
    size_t count = is_new ? snapshot_service_count(snapshot) : snapshot_amended_count(snapshot);
    warms->ground = ground;
    if (warms->worker->stopping)
        return;
    forget_others(warms, is_new ? NULL : snapshot);
    for (size_t i = 0; i < count; i++)
        look_at(warms, is_new ? (uint32_t)i : snapshot_amended_at(snapshot, i));
    if (!warms->due && !TAILQ_EMPTY(&warms->wanted)) {
        warms->due = true;
        loop_defer(warms->worker->loop, &warms->running);
    }
}

void warms_stop(struct warms *warms)
{
    struct warming *warming;
    forget_others(warms, NULL);
    while ((warming = TAILQ_FIRST(&warms->begun)) != NULL)
        end(warming, false);
}
