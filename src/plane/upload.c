/* From the client to the instance. Invariant: the client is read only while nothing waits for the instance,
 * and never beyond what the inlet may hold. */
#include "plane/exchange.h"

bool upload_is_complete(const struct exchange *x)
{
    return x->up.done && outlet_waiting(&x->request) == 0;
}

/* The instance may have answered before it closed: its answer decides, and its end, if that is all there is.
 * No edge need come for either. */
static void broke(struct exchange *x)
{
    x->send_failed = true;
    exchange_again(x);
}

/* True: all that waited is sent. */
static bool flush(struct exchange *x)
{
    size_t waiting = outlet_waiting(&x->request);
    enum outlet_result result = outlet_flush(&x->request, x->worker->buffers, &x->lease->stream);
    x->moved |= outlet_waiting(&x->request) < waiting;
    if (result == OUTLET_FAILED)
        broke(x);
    return result == OUTLET_EMPTY;
}

/* True: there is something new in the client's inlet. */
static bool fill(struct exchange *x)
{
    struct client *client = x->client;
    if (!stream_may_give(&client->stream) && !client->ended)
        return false;
    size_t most = worker_fill_most(x->worker, &client->in, x->up.burst);
    ssize_t count = client->ended ? 0 : inlet_fill(&client->in, &client->stream, x->worker->buffers, most);
    switch (count) {
    case STREAM_AGAIN:
        return false;
    case STREAM_FAILED:
        exchange_end(x, &end_client_closed);
        return false;
    case INLET_FULL:
        exchange_end(x, &end_overloaded);
        return false;
    case 0:
        client->ended = true;
        exchange_end(x, &end_incomplete_body);
        return false;
    default:
        x->moved = true;
        return true;
    }
}

static bool relay(struct exchange *x)
{
    switch (relay_step(&x->up, &x->client->in, &x->request, &x->lease->stream, &x->worker->tools,
                       (struct str){NULL, 0})) {
    case RELAY_GOES_ON:
    case RELAY_WAITING:
        return true;
    case RELAY_BAD:
        /* Where this message ends, and so what stands behind it, is not believed. */
        x->keep_alive = false;
        exchange_end(x, &(struct end){x->up.fault.reason, x->up.fault.status, END_NO_ERROR});
        break;
    case RELAY_BROKEN:
        broke(x);
        break;
    case RELAY_NO_MEMORY:
        exchange_end(x, &end_overloaded);
        break;
    }
    return false;
}

/* True: there may be more to do. */
static bool step(struct exchange *x)
{
    /* While TLS shakes hands the stream takes bytes already, and its failure is for attempt.c to see. */
    if (x->state == EXCHANGE_CONNECTING || x->send_failed || !flush(x) || x->up.done)
        return false;
    bool lacks = x->client->in.n == 0 || x->up.hungry;
    return (!lacks || fill(x)) && relay(x);
}

void upload_pump(struct exchange *x)
{
    unsigned steps = 0;
    x->moved = false;
    while (steps < EXCHANGE_STEPS && step(x))
        steps++;
    if (exchange_is_ended(x))
        return;
    if (steps == EXCHANGE_STEPS)
        exchange_again(x);
    if (x->moved || x->send_failed)
        exchange_moved(x);
    pace_upload(x);
    if (!inlet_settle(&x->client->in, x->worker->buffers))
        exchange_end(x, &end_overloaded);
}
