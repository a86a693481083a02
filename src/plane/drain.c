/* The last moments of what is in flight. Invariant: an exchange on a pool that drains, or in a worker that
 * stops, has a deadline as of its class, and ends SNAPSHOT_DRAIN_GRACE_MS after it at the latest; so every
 * drain has an end. */
#include "plane/exchange.h"

#include <assert.h>

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What lasts ends one after the other, so that the clients do not all come back at once. Each draws for
 * itself, so it does not matter how they are shared out among workers. */
static uint64_t spread(struct exchange *x, uint64_t until_ms, uint64_t from_ms)
{
    uint64_t left = until_ms > from_ms ? until_ms - from_ms : 0;
    uint64_t width = earlier(earlier(x->until.spread_ms, left), UINT32_MAX - 1);
    return until_ms - random_below(&x->worker->random, (uint32_t)width + 1);
}

/* Events go on for ever; a call of gRPC may be about to end, as any request, and has the time of one. */
static uint64_t stream_end(struct exchange *x, uint64_t now_ms)
{
    uint64_t until_ms = x->until.streams_until_ms, may_end_ms = x->until.requests_until_ms;
    if (x->rests.units != RELAY_MESSAGES)
        return spread(x, until_ms, now_ms);
    return spread(x, later(until_ms, may_end_ms), later(now_ms, may_end_ms));
}

static void arm(struct exchange *x)
{
    uint64_t now_ms = loop_ms(x->worker->loop), at_ms;
    switch ((enum exchange_class)x->class) {
    case EXCHANGE_IS_STREAM:
        at_ms = stream_end(x, now_ms);
        break;
    case EXCHANGE_IS_WEBSOCKET:
        at_ms = spread(x, x->until.websockets_until_ms, now_ms);
        break;
    case EXCHANGE_IS_TUNNEL:
        at_ms = spread(x, x->until.tunnels_until_ms, now_ms);
        break;
    case EXCHANGE_IS_REQUEST:
    default:
        at_ms = x->until.requests_until_ms;
        break;
    }
    deadline_set(&x->drain, at_ms > now_ms ? at_ms - now_ms : 0);
}

static bool is_same(const struct snapshot_drain *a, const struct snapshot_drain *b)
{
    return a->requests_until_ms == b->requests_until_ms && a->streams_until_ms == b->streams_until_ms &&
           a->websockets_until_ms == b->websockets_until_ms && a->tunnels_until_ms == b->tunnels_until_ms &&
           a->spread_ms == b->spread_ms;
}

/* Worlds repeat what they have said before; a jitter that is drawn stays, and so does an end that has begun.
 */
static void begin(struct exchange *x, const struct snapshot_drain *until)
{
    if (x->parting || (x->draining && is_same(&x->until, until)))
        return;
    x->draining = true;
    x->until = *until;
    arm(x);
}

void drain_due(struct exchange *x)
{
    bool is_tunnel = x->state == EXCHANGE_TUNNEL;
    if (x->parting) {
        is_tunnel ? tunnel_part_late(x) : reply_part_late(x);
        return;
    }
    if (!(is_tunnel ? tunnel_may_part(x) : reply_may_part(x))) {
        exchange_cut(x);
        return;
    }
    x->parting = true;
    deadline_set(&x->drain, SNAPSHOT_DRAIN_GRACE_MS);
    is_tunnel ? tunnel_part(x) : reply_part(x);
}

uint64_t *drain_cell(const struct exchange *x)
{
    static const uint8_t cells[] = {[EXCHANGE_IS_STREAM] = COUNTERS_STREAM,
                                    [EXCHANGE_IS_WEBSOCKET] = COUNTERS_WEBSOCKET,
                                    [EXCHANGE_IS_TUNNEL] = COUNTERS_TUNNEL};
    return &x->cells->lasting[cells[x->class]];
}

void drain_join(struct exchange *x)
{
    const struct snapshot_drain *drain = snapshot_pool_drain(x->pool);
    if (drain->requests_until_ms != 0)
        begin(x, drain);
}

void drain_leave(struct exchange *x)
{
    x->draining = false;
    deadline_clear(&x->drain);
}

void drain_class(struct exchange *x, enum exchange_class class)
{
    assert(x->class == EXCHANGE_IS_REQUEST && class != EXCHANGE_IS_REQUEST);
    x->class = (uint8_t) class;
    counters_add(drain_cell(x), 1);
    if (x->draining)
        arm(x);
}

/* The drain of the pool in the slot, or NULL where it does not drain. */
static const struct snapshot_drain *drain_of(const struct snapshot *snapshot, uint32_t slot)
{
    const struct snapshot_pool *pool = snapshot_pool_of_slot(snapshot, slot);
    const struct snapshot_drain *drain = pool == NULL ? NULL : snapshot_pool_drain(pool);
    return drain != NULL && drain->requests_until_ms != 0 ? drain : NULL;
}

/* A pool that has come back to life takes its exchanges' deadlines back. */
static void turn(struct exchange *x, const struct snapshot_drain *drain)
{
    if (drain != NULL) {
        begin(x, drain);
    } else if (x->draining && !x->parting) {
        x->draining = false;
        deadline_clear(&x->drain);
    }
}

void drain_turn(struct worker *worker)
{
    uint32_t slot = SNAPSHOT_NONE;
    const struct snapshot_drain *drain = NULL;
    struct exchange *x;
    if (worker->stopping)
        return; /* all have the deadlines of the stop */
    TAILQ_FOREACH (x, &worker->exchanges, link) {
        if (x->pool == NULL)
            continue;
        if (snapshot_pool_slot(x->pool) != slot) {
            slot = snapshot_pool_slot(x->pool);
            drain = drain_of(worker->snapshot, slot);
        }
        turn(x, drain);
    }
}

void drain_stopping(struct exchange *x)
{
    if (x->pool == NULL)
        return;
    uint64_t since_ms = x->waited ? loop_ms(x->worker->loop) : x->worker->stopped_ms, never = UINT64_MAX;
    bool drains = x->draining;
    struct snapshot_drain until = {
        .requests_until_ms =
            earlier(since_ms + x->rules->drain_requests_ms, drains ? x->until.requests_until_ms : never),
        .streams_until_ms =
            earlier(since_ms + x->rules->drain_streams_ms, drains ? x->until.streams_until_ms : never),
        .websockets_until_ms =
            earlier(since_ms + x->rules->drain_websockets_ms, drains ? x->until.websockets_until_ms : never),
        .tunnels_until_ms =
            earlier(since_ms + x->rules->drain_tunnels_ms, drains ? x->until.tunnels_until_ms : never),
        .spread_ms = x->rules->drain_spread_ms,
    };
    begin(x, &until);
}

void drain_stop(struct worker *worker)
{
    struct exchange *x;
    worker->stopped_ms = loop_ms(worker->loop);
    TAILQ_FOREACH (x, &worker->exchanges, link)
        drain_stopping(x);
}
