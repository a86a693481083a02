/* After a 101: bytes both ways until both sides have ended. Invariant: an end is passed on only when all that
 * came before it is with the kernel, so a half-closed tunnel loses nothing; and what upswap itself puts into
 * a WebSocket stands between two frames, is the last thing that it sends there, and answers to nobody's
 * Close. */
#include "plane/exchange.h"
#include "plane/h2_stream.h"

/* One direction. */
struct flow {
    struct relay *relay;
    struct inlet *in;
    struct stream *source;
    bool *source_ended;
    struct outlet *out;
    struct stream *sink;
    struct exchange_talk *talk;          /* what its source says */
    const struct exchange_talk *answers; /* what its sink does */
};

enum flow_result { FLOW_RESTS, FLOW_MAY_GO_ON, FLOW_BROKEN };

/* The end of the source, with nothing left to send. */
static enum flow_result pass_end(struct exchange *x, const struct flow *flow)
{
    stream_shut(flow->sink);
    flow->relay->done = true;
    x->moved = true;
    return FLOW_RESTS;
}

/* New bytes, or the source's end. */
static enum flow_result fill(struct exchange *x, const struct flow *flow)
{
    if (!stream_may_give(flow->source))
        return FLOW_RESTS;
    ssize_t count = inlet_fill(flow->in, flow->source, x->worker->buffers, flow->relay->burst);
    if (count == STREAM_AGAIN)
        return FLOW_RESTS;
    if (count < 0)
        return FLOW_BROKEN;
    *flow->source_ended = count == 0;
    x->moved = true;
    return FLOW_MAY_GO_ON;
}

static enum flow_result step(struct exchange *x, const struct flow *flow)
{
    switch (outlet_flush(flow->out, x->worker->buffers, flow->sink)) {
    case OUTLET_EMPTY:
        break;
    case OUTLET_WAITING:
        return FLOW_RESTS;
    case OUTLET_FAILED:
    case OUTLET_NO_MEMORY:
        return FLOW_BROKEN;
    }
    if (flow->relay->done)
        return FLOW_RESTS;
    if (flow->in->n == 0 && !*flow->source_ended) {
        enum flow_result filled = fill(x, flow);
        if (filled != FLOW_MAY_GO_ON)
            return filled;
    }
    if (flow->in->n == 0)
        return pass_end(x, flow);
    x->moved = true;
    if (x->class == EXCHANGE_IS_WEBSOCKET)
        websocket_follow(&flow->talk->frames, flow->in->p, flow->in->n);
    enum relay_result result =
        relay_step(flow->relay, flow->in, flow->out, flow->sink, &x->worker->tools, (struct str){NULL, 0});
    return result == RELAY_GOES_ON || result == RELAY_WAITING ? FLOW_MAY_GO_ON : FLOW_BROKEN;
}

/* ---- the end of a WebSocket ---- */

/* Who has been sent a Close by its peer answers that by itself. */
static bool may_tell(const struct flow *flow)
{
    bool owes_answer = flow->answers->frames.closed && !flow->answers->told;
    return !flow->talk->told && websocket_is_between(&flow->talk->frames) && !owes_answer;
}

/* The sink can be sent nothing more. What its end was, a recv will tell. */
static enum flow_result give_up_sink(struct exchange *x, const struct flow *flow)
{
    outlet_clear(flow->out, x->worker->buffers);
    flow->talk->told = true;
    exchange_again(x);
    return FLOW_MAY_GO_ON;
}

static enum flow_result give(struct exchange *x, const struct flow *flow, const char *bytes, size_t count)
{
    struct iovec part = {(char *)bytes, count};
    switch (outlet_send(flow->out, x->worker->buffers, flow->sink, &part, 1)) {
    case OUTLET_EMPTY:
    case OUTLET_WAITING:
        flow->relay->bytes += count;
        return FLOW_MAY_GO_ON;
    case OUTLET_FAILED:
    case OUTLET_NO_MEMORY:
        break;
    }
    return give_up_sink(x, flow);
}

static enum flow_result tell(struct exchange *x, const struct flow *flow)
{
    char bytes[WEBSOCKET_CLOSE_MAX];
    uint8_t key[sizeof(uint64_t)];
    uint64_t number = random_next(&x->worker->random);
    memcpy(key, &number, sizeof key);
    bool to_client = flow->sink == &x->client->stream;
    size_t size = to_client ? websocket_close(bytes, WEBSOCKET_SERVICE_RESTART, STR("service restart"), NULL)
                            : websocket_close(bytes, WEBSOCKET_GOING_AWAY, STR("going away"), key);
    flow->talk->told = true;
    return give(x, flow, bytes, size);
}

/* Drops what comes behind our Close; before it, passes on the rest of a frame. */
static enum flow_result take(struct exchange *x, const struct flow *flow)
{
    struct inlet *in = flow->in;
    if (flow->talk->told) {
        websocket_follow(&flow->talk->frames, in->p, in->n);
        inlet_consume(in, in->n);
        return FLOW_MAY_GO_ON;
    }
    size_t count = websocket_frame(&flow->talk->frames, in->p, in->n);
    enum flow_result result = give(x, flow, in->p, count);
    inlet_consume(in, count);
    return result;
}

static bool has_finished(const struct flow *flow)
{
    return flow->talk->frames.closed || *flow->source_ended;
}

static enum flow_result part_step(struct exchange *x, const struct flow *flow)
{
    enum outlet_result flushed = outlet_flush(flow->out, x->worker->buffers, flow->sink);
    if (flushed == OUTLET_FAILED || flushed == OUTLET_NO_MEMORY)
        return give_up_sink(x, flow);
    if (may_tell(flow))
        return tell(x, flow);
    if (has_finished(flow) || (flushed == OUTLET_WAITING && !flow->talk->told))
        return FLOW_RESTS;
    if (flow->in->n > 0)
        return take(x, flow);
    enum flow_result filled = fill(x, flow);
    *flow->source_ended |= filled == FLOW_BROKEN;
    return filled == FLOW_BROKEN ? FLOW_RESTS : filled;
}

/* ---- both ---- */

/* False: broken. */
static bool pump(struct exchange *x, const struct flow *flow)
{
    enum flow_result result = FLOW_MAY_GO_ON;
    for (unsigned steps = 0; steps < EXCHANGE_STEPS && result == FLOW_MAY_GO_ON; steps++)
        result = x->parting ? part_step(x, flow) : step(x, flow);
    if (result == FLOW_MAY_GO_ON)
        exchange_again(x);
    return inlet_settle(flow->in, x->worker->buffers) && result != FLOW_BROKEN;
}

/* Two open sides may be silent as long as they like; a side that is left alone has the time of a stall. */
static void set_deadline(struct exchange *x)
{
    if (x->up.done != x->down.done && x->moved)
        worker_deadline(&x->deadline, x->rules->stall_ms);
}

/* Has the sink of this direction heard a Close, or said one? */
static bool knows_end(const struct exchange_talk *talk, const struct exchange_talk *answers)
{
    return talk->told || talk->frames.closed || answers->frames.closed;
}

/* The app has to have answered: it is then known to have nothing in hand for this client. */
static void part_end(struct exchange *x)
{
    bool known = knows_end(&x->says_up, &x->says_down) && knows_end(&x->says_down, &x->says_up);
    if (known && (x->says_down.frames.closed || x->lease_ended))
        exchange_end(x, &end_drain_closed);
    else
        exchange_cut(x);
}

void tunnel_pump(struct exchange *x)
{
    struct client *client = x->client;
    struct connection *lease = x->lease;
    struct flow up = {&x->up,      &client->in,    &client->stream, &client->ended,
                      &x->request, &lease->stream, &x->says_up,     &x->says_down};
    struct flow down = {&x->down,     &lease->in,      &lease->stream, &x->lease_ended,
                        &client->out, &client->stream, &x->says_down,  &x->says_up};
    x->moved = false;
    if (!pump(x, &down))
        exchange_end(x, client->stream.error != 0 ? &end_client_closed : &end_closed_early);
    else if (!pump(x, &up))
        exchange_end(x, lease->stream.error != 0 ? &end_closed_early : &end_client_closed);
    else if (x->parting && has_finished(&up) && has_finished(&down))
        part_end(x);
    else if (x->up.done && x->down.done && outlet_waiting(&client->out) == 0)
        exchange_end(x, &end_done);
    else if (!x->parting)
        set_deadline(x);
}

bool tunnel_may_part(const struct exchange *x)
{
    return x->class == EXCHANGE_IS_WEBSOCKET && !x->says_up.frames.lost && !x->says_down.frames.lost;
}

void tunnel_part(struct exchange *x)
{
    deadline_clear(&x->deadline);
    x->says_up.told = x->up.done && !x->says_up.frames.closed;
    x->says_down.told = x->down.done && !x->says_down.frames.closed;
    tunnel_pump(x);
}

void tunnel_part_late(struct exchange *x)
{
    part_end(x);
}

bool tunnel_client_is_told(const struct exchange *x)
{
    return x->state == EXCHANGE_TUNNEL && x->parting && knows_end(&x->says_down, &x->says_up);
}

/* A peer that has vanished without a word is found by the kernel's keep-alive; no deadline looks for it. */
static void watch(struct stream *stream)
{
    const struct h2 *h2 = stream->fd >= 0 ? NULL : h2_stream_of(stream)->h2;
    if (stream->fd >= 0)
        stream_keep_alive(stream);
    else if (h2 != NULL)
        stream_keep_alive(h2->wire);
}

void tunnel_start(struct exchange *x, struct str head, bool websocket, bool extended)
{
    struct client *client = x->client;
    struct iovec part = {(char *)head.p, head.n};
    x->state = EXCHANGE_TUNNEL;
    deadline_clear(&x->deadline);
    relay_start(&x->up, HTTP_BODY_CLOSE, 0, HTTP_BODY_CLOSE);
    relay_start(&x->down, HTTP_BODY_CLOSE, 0, HTTP_BODY_CLOSE);
    websocket_start(&x->says_up.frames, true, extended);
    websocket_start(&x->says_down.frames, false, extended);
    watch(&client->stream);
    watch(&x->lease->stream);
    drain_class(x, websocket ? EXCHANGE_IS_WEBSOCKET : EXCHANGE_IS_TUNNEL);
    if (head.n == 0) {
        exchange_end(x, &end_head_too_large);
        return;
    }
    switch (outlet_send(&client->out, x->worker->buffers, &client->stream, &part, 1)) {
    case OUTLET_EMPTY:
    case OUTLET_WAITING:
        tunnel_pump(x);
        break;
    case OUTLET_FAILED:
        exchange_end(x, &end_client_closed);
        break;
    case OUTLET_NO_MEMORY:
        exchange_end(x, &end_overloaded);
        break;
    }
}
