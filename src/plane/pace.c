/* How fast the client goes: a body that dribbles in, or an answer that is sipped, holds an instance although
 * something moves all the time. It is looked at in spans, which are long enough that who only stands still
 * has met timeouts.stall before. Invariant: a span counts against a client only if upswap waited for nobody
 * else from its beginning to its end. */
#include "plane/exchange.h"

#define SPAN_STALLS 2 /* timeouts.stall in a span */

static uint64_t span_ms(const struct exchange *x)
{
    return SPAN_STALLS * (uint64_t)x->rules->stall_ms;
}

/* What the client has taken of the answer. Chunks have heads, which are not told apart from what waits: only
 * a difference means something. */
static uint64_t taken(const struct exchange *x)
{
    return x->head_out + x->down.bytes - relay_waiting(&x->down, &x->client->out);
}

static void begin(struct exchange *x)
{
    if (x->rules->minimum_rate == 0 || x->rules->stall_ms == 0)
        return;
    bool is_asked = x->state >= EXCHANGE_ASKING && !exchange_awaits_continue(x);
    x->pace = (struct exchange_pace){
        .sent = x->up.bytes,
        .taken = taken(x),
        .instance_waited_for = !is_asked || relay_waiting(&x->up, &x->request) > 0,
        .all_taken = relay_waiting(&x->down, &x->client->out) == 0,
    };
    deadline_set(&x->pacing, span_ms(x));
}

void pace_upload(struct exchange *x)
{
    if (relay_waiting(&x->up, &x->request) > 0)
        x->pace.instance_waited_for = true;
    if (x->state >= EXCHANGE_ASKING && !x->up.body.done && !deadline_is_set(&x->pacing))
        begin(x);
}

void pace_reply(struct exchange *x)
{
    if (relay_waiting(&x->down, &x->client->out) == 0)
        x->pace.all_taken = true;
    else if (!deadline_is_set(&x->pacing))
        begin(x);
}

static bool is_too_slow(const struct exchange *x, uint64_t bytes)
{
    return (int64_t)bytes < (int64_t)(x->rules->minimum_rate * span_ms(x) / 1000);
}

/* An instance that has begun to answer knows what it waits for: the two may talk as slowly as they like. */
static bool dribbles(const struct exchange *x)
{
    bool is_awaited = x->state < EXCHANGE_ANSWERING && !x->up.body.done && !x->send_failed;
    return is_awaited && !x->pace.instance_waited_for && is_too_slow(x, x->up.bytes - x->pace.sent);
}

static bool sips(const struct exchange *x)
{
    return x->state == EXCHANGE_ANSWERING && !x->pace.all_taken && is_too_slow(x, taken(x) - x->pace.taken);
}

void pace_due(struct exchange *x)
{
    if (dribbles(x))
        exchange_end(x, &end_body_too_slow);
    else if (sips(x))
        exchange_end(x, &end_reader_too_slow);
    else if (x->state != EXCHANGE_TUNNEL)
        begin(x);
}
