/* Records of instances. Invariant: a record is in its worker's list, and found by its slot, from its making
 * until it is retired and has no connection. */
#include "plane/upstream.h"

#include "base/mem.h"
#include "plane/connection.h"
#include "plane/crowd.h"
#include "plane/h2_back.h"
#include "plane/upstream_state.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define FADE_BURST 1 /* idle connections that are closed in a turn, after a swap */

static void fade(struct loop_deferred *deferred);

struct upstreams *upstreams_new(struct loop *loop, struct counters *counters, unsigned worker,
                                struct buffers *buffers, struct balance *balance)
{
    struct upstreams *all = mem_zero(1, sizeof *all);
    *all = (struct upstreams){.loop = loop, .counters = counters, .worker = worker};
    all->buffers = buffers;
    all->balance = balance;
    all->idle_most = crowd_idle_limit(counters_workers(counters));
    all->by_slot = mem_zero(COUNTERS_INSTANCES, sizeof(struct upstream *));
    TAILQ_INIT(&all->by_age);
    TAILQ_INIT(&all->list);
    TAILQ_INIT(&all->fading);
    all->fade.run = fade;
    return all;
}

void upstream_forget_unused(struct upstream *upstream)
{
    struct upstreams *all = upstream->all;
    if (!upstream->retired || upstream->connections > 0)
        return;
    if (all->by_slot[upstream->slot] == upstream)
        all->by_slot[upstream->slot] = NULL;
    TAILQ_REMOVE(&all->list, upstream, link);
    if (upstream->fades)
        TAILQ_REMOVE(&all->fading, upstream, fading);
    tls_session_free(upstream->session);
    tls_context_free(upstream->session_context);
    free(upstream);
}

void upstream_leave(struct upstream *upstream)
{
    upstream->connections--;
    upstream_forget_unused(upstream);
}

/* ---- what is kept ---- */

bool upstreams_spare_one(struct upstreams *all)
{
    struct idler *oldest = TAILQ_FIRST(&all->by_age);
    if (oldest == NULL)
        return false;
    oldest->close(oldest);
    assert(!oldest->kept);
    return true;
}

void upstreams_keep(struct upstreams *all, struct idler *idler)
{
    assert(!idler->kept);
    idler->kept = true;
    TAILQ_INSERT_TAIL(&all->by_age, idler, age);
    all->idle_count++;
    if (all->idle_count > all->idle_most)
        upstreams_spare_one(all);
}

void upstreams_use(struct upstreams *all, struct idler *idler)
{
    if (!idler->kept)
        return;
    idler->kept = false;
    TAILQ_REMOVE(&all->by_age, idler, age);
    all->idle_count--;
}

/* ---- fading ---- */

static void close_idle(struct upstream *upstream)
{
    while (connection_close_oldest(upstream))
        ;
}

static void stop_fading(struct upstream *upstream)
{
    if (upstream->fades)
        TAILQ_REMOVE(&upstream->all->fading, upstream, fading);
    upstream->fades = false;
}

/* A few a turn: after a swap all of a pool's connections end, and whoever asks meanwhile must not wait for
 * that. */
static void fade(struct loop_deferred *deferred)
{
    struct upstreams *all = mem_container(deferred, struct upstreams, fade);
    struct upstream *upstream;
    int closed = 0;
    if (all->ended) {
        free(all);
        return;
    }
    while (closed < FADE_BURST && (upstream = TAILQ_FIRST(&all->fading)) != NULL) {
        if (upstream->retired && connection_close_oldest(upstream)) {
            closed++;
            continue;
        }
        stop_fading(upstream);
        upstream_forget_unused(upstream);
    }
    all->fade_is_due = !TAILQ_EMPTY(&all->fading);
    if (all->fade_is_due)
        loop_defer(all->loop, &all->fade);
}

void upstream_begin_fading(struct upstream *upstream)
{
    struct upstreams *all = upstream->all;
    if (upstream->idle_count == 0 || upstream->fades)
        return;
    upstream->fades = true;
    TAILQ_INSERT_TAIL(&all->fading, upstream, fading);
    if (!all->fade_is_due)
        loop_defer(all->loop, &all->fade);
    all->fade_is_due = true;
}

static void retire(struct upstream *upstream)
{
    upstream->retired = true;
    if (upstream->all->stopping)
        close_idle(upstream);
    else
        upstream_begin_fading(upstream);
    upstream->connections++; /* so that it is not forgotten in between */
    h2_back_retire(upstream);
    upstream->connections--;
    upstream_forget_unused(upstream);
}

void upstreams_stop(struct upstreams *all)
{
    struct upstream *next;
    all->stopping = true;
    for (struct upstream *upstream = TAILQ_FIRST(&all->list); upstream != NULL; upstream = next) {
        next = TAILQ_NEXT(upstream, link);
        retire(upstream);
    }
}

void upstreams_free(struct upstreams *all)
{
    upstreams_stop(all);
    assert(TAILQ_EMPTY(&all->list));
    free(all->by_slot);
    all->ended = true;
    if (!all->fade_is_due)
        free(all);
}

/* ---- worlds ---- */

static struct upstream *known(const struct upstreams *all, const struct snapshot_instance *instance)
{
    struct upstream *upstream = all->by_slot[instance->slot];
    return upstream != NULL && upstream->id == instance->id ? upstream : NULL;
}

/* All pools of the snapshot's own image. */
static void mark(struct upstreams *all, const struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot_pool_count(snapshot); i++) {
        const struct snapshot_pool *pool = snapshot_pool_at(snapshot, i);
        for (size_t k = 0; k < snapshot_pool_size(pool); k++) {
            struct snapshot_instance instance = snapshot_pool_instance(snapshot, pool, k);
            struct upstream *upstream = known(all, &instance);
            if (upstream != NULL && instance.routed_by != 0)
                upstream->seen = instance.routed_by;
        }
    }
}

/* What the ground says of this service does not count. */
static void overrule(struct upstreams *all, const struct snapshot *snapshot, uint32_t service)
{
    const struct snapshot *ground = snapshot_ground(snapshot);
    const struct snapshot_service *before = snapshot_service_at(ground, service);
    for (size_t i = 0; i < snapshot_service_pool_count(before); i++) {
        const struct snapshot_pool *pool = snapshot_service_pool_at(ground, before, i);
        for (size_t k = 0; k < snapshot_pool_size(pool); k++) {
            struct snapshot_instance instance = snapshot_pool_instance(ground, pool, k);
            struct upstream *upstream = known(all, &instance);
            if (upstream != NULL)
                upstream->overruled = snapshot_version(snapshot);
        }
    }
}

/* A ground is gone through once: what has been made since then knows by itself which image routes to it. */
static void mark_all(struct upstreams *all, const struct snapshot *snapshot)
{
    const struct snapshot *ground = snapshot_ground(snapshot);
    if (all->ground != snapshot_version(ground))
        mark(all, ground);
    all->ground = snapshot_version(ground);
    for (size_t i = 0; i < snapshot_amended_count(snapshot); i++)
        overrule(all, snapshot, snapshot_amended_at(snapshot, i));
    if (ground != snapshot)
        mark(all, snapshot);
}

static bool is_routed(const struct upstream *upstream, const struct snapshot *snapshot)
{
    uint64_t version = snapshot_version(snapshot);
    return upstream->seen == version ||
           (upstream->seen == upstream->all->ground && upstream->overruled != version);
}

/* Slots may be re-used, and instances may come back into rotation: both are told by id and version. */
void upstreams_turn(struct upstreams *all, const struct snapshot *snapshot)
{
    struct upstream *next;
    mark_all(all, snapshot);
    for (struct upstream *upstream = TAILQ_FIRST(&all->list); upstream != NULL; upstream = next) {
        next = TAILQ_NEXT(upstream, link);
        upstream->retired = all->stopping || !is_routed(upstream, snapshot);
        if (upstream->retired)
            retire(upstream);
    }
}

static struct upstream *make(struct upstreams *all, const struct snapshot_instance *instance)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (upstream == NULL)
        return NULL;
    upstream->all = all;
    upstream->id = instance->id;
    upstream->slot = instance->slot;
    upstream->seen = instance->routed_by;
    upstream->retired = all->stopping;
    upstream->cells = counters_instance(all->counters, all->worker, instance->slot);
    TAILQ_INIT(&upstream->idle);
    TAILQ_INIT(&upstream->backs);
    TAILQ_INSERT_TAIL(&all->list, upstream, link);
    all->by_slot[instance->slot] = upstream;
    return upstream;
}

struct upstream *upstream_of(struct upstreams *all, const struct snapshot_instance *instance)
{
    struct upstream *upstream = known(all, instance);
    if (upstream != NULL)
        return upstream;
    upstream = all->by_slot[instance->slot];
    if (upstream != NULL) {
        all->by_slot[instance->slot] = NULL;
        close_idle(upstream); /* its cells are another's from now on */
        retire(upstream);
    }
    return make(all, instance);
}

uint32_t upstream_connections(const struct upstreams *upstreams, const struct snapshot_instance *instance)
{
    const struct upstream *upstream = known(upstreams, instance);
    return upstream == NULL ? 0 : upstream->connections;
}

uint32_t upstream_connections_until(const struct upstreams *upstreams,
                                    const struct snapshot_instance *instance, uint64_t until_ms)
{
    const struct upstream *upstream = known(upstreams, instance);
    const struct connection *idle;
    if (upstream == NULL)
        return 0;
    uint32_t count = upstream->connections - upstream->idle_count;
    TAILQ_FOREACH (idle, &upstream->idle, link) {
        if (idle->idle.at_ms < until_ms)
            break;
        count++;
    }
    return count;
}

void upstream_note_loss(struct upstream *upstream, bool kept)
{
    uint64_t now_ms = loop_ms(upstream->all->loop);
    if (kept)
        upstream->lost_ms = now_ms;
    else
        upstream->spurned_ms = now_ms;
    upstream->losses++;
}

void upstream_note_failure(struct upstream *upstream, const struct stream *stream)
{
    struct err err;
    (void)tls_why(stream, &err);
    upstream->failure.unverified = tls_is_unverified(stream);
    snprintf(upstream->failure.why, sizeof upstream->failure.why, "%.*s",
             (int)sizeof upstream->failure.why - 1, err.text);
}
