/* After a 101: bytes both ways until both sides have ended. Invariant: an end is passed on only when all that
 * came before it is with the kernel, so a half-closed tunnel loses nothing. */
#include "plane/exchange.h"

/* One direction. */
struct flow {
    struct relay *relay;
    struct inlet *in;
    struct stream *source;
    bool *source_ended;
    struct outlet *out;
    struct stream *sink;
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
    return count == 0 ? pass_end(x, flow) : FLOW_MAY_GO_ON;
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
    if (flow->in->n == 0) {
        enum flow_result filled = *flow->source_ended ? pass_end(x, flow) : fill(x, flow);
        if (filled != FLOW_MAY_GO_ON)
            return filled;
    }
    x->moved = true;
    enum relay_result result =
        relay_step(flow->relay, flow->in, flow->out, flow->sink, &x->worker->tools, (struct str){NULL, 0});
    return result == RELAY_GOES_ON || result == RELAY_WAITING ? FLOW_MAY_GO_ON : FLOW_BROKEN;
}

/* False: broken. */
static bool pump(struct exchange *x, const struct flow *flow)
{
    enum flow_result result = FLOW_MAY_GO_ON;
    for (unsigned steps = 0; steps < EXCHANGE_STEPS && result == FLOW_MAY_GO_ON; steps++)
        result = step(x, flow);
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

void tunnel_pump(struct exchange *x)
{
    struct client *client = x->client;
    struct connection *lease = x->lease;
    struct flow up = {&x->up, &client->in, &client->stream, &client->ended, &x->request, &lease->stream};
    struct flow down = {&x->down, &lease->in, &lease->stream, &x->lease_ended, &client->out, &client->stream};
    x->moved = false;
    if (!pump(x, &down))
        exchange_end(x, client->stream.error != 0 ? &end_client_closed : &end_closed_early);
    else if (!pump(x, &up))
        exchange_end(x, lease->stream.error != 0 ? &end_closed_early : &end_client_closed);
    else if (x->up.done && x->down.done && outlet_waiting(&client->out) == 0)
        exchange_end(x, &end_done);
    else
        set_deadline(x);
}

/* A peer that has vanished without a word is found by the kernel's keep-alive. */
static void watch(const struct stream *stream)
{
    setsockopt(stream->fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
}

void tunnel_start(struct exchange *x, struct str head)
{
    struct client *client = x->client;
    struct iovec part = {(char *)head.p, head.n};
    x->state = EXCHANGE_TUNNEL;
    deadline_clear(&x->deadline);
    relay_start(&x->up, HTTP_BODY_CLOSE, 0, HTTP_BODY_CLOSE);
    relay_start(&x->down, HTTP_BODY_CLOSE, 0, HTTP_BODY_CLOSE);
    watch(&client->stream);
    watch(&x->lease->stream);
    drain_class(x, EXCHANGE_WEBSOCKET);
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
