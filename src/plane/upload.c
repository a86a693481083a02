/* From the client to the instance. Invariant: the client is read only while nothing waits for the instance,
 * or once behind an unsent head; and never beyond what the inlet, or a conduit, may hold. */
#include "base/mem.h"
#include "plane/exchange.h"

bool upload_is_complete(const struct exchange *x)
{
    return x->up.done && relay_waiting(&x->up, &x->request) == 0;
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
    size_t waiting = relay_waiting(&x->up, &x->request);
    enum outlet_result result = relay_flush(&x->up, &x->request, &x->lease->stream, &x->worker->tools);
    x->moved |= relay_waiting(&x->up, &x->request) < waiting;
    if (result == OUTLET_FAILED)
        broke(x);
    return result == OUTLET_EMPTY;
}

/* What came of reading from the client. True: something. */
static bool heard(struct exchange *x, ssize_t count)
{
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
        x->client->ended = true;
        exchange_end(x, &end_incomplete_body);
        return false;
    default:
        x->moved = true;
        return true;
    }
}

/* True: there is something new in the client's inlet. */
static bool fill(struct exchange *x)
{
    struct client *client = x->client;
    if (client->ended)
        return heard(x, 0);
    if (client->stream.awaited > 0)
        patience_end(x); /* there is no conduit any more, and small pieces are all that is read */
    size_t most = worker_fill_most(x->worker, &client->in, x->up.burst);
    return heard(x, inlet_fill(&client->in, &client->stream, x->worker->buffers, most));
}

/* What came of giving bytes to the instance. True: go on. */
static bool given(struct exchange *x, enum relay_result result)
{
    switch (result) {
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

/* What may have to be sent again is kept, and a conduit would be a detour to there; unless so much comes that
 * it is not kept. */
static bool may_splice(struct exchange *x)
{
    struct client *client = x->client;
    return (!x->request.hold || client->in.full) && !client->ended &&
           relay_may_splice(&x->up, &client->stream, &x->lease->stream, &x->worker->tools);
}

/* True: there may be more to do. */
static bool splice(struct exchange *x)
{
    enum relay_result result;
    struct client *client = x->client;
    ssize_t count =
        relay_splice(&x->up, &client->stream, &x->request, &x->lease->stream, &x->worker->tools, &result);
    client->in.full = false;
    if (count == STREAM_AGAIN)
        flush(x);
    else if (count > 0)
        patience_read(x, &x->up, &client->stream, (size_t)count);
    return heard(x, count) && given(x, result) && exchange_splices_on(x, &x->up, count);
}

static bool begins(const struct exchange *x)
{
    return x->request.sent == 0 && x->request.hold && x->client->in.n > 0 && !x->up.done && !x->up.hungry;
}

/* What came with the head goes with it, and with what a conduit may bring at once. True: there may be more to
 * do. */
static bool begin(struct exchange *x)
{
    struct client *client = x->client;
    if (!given(x,
               relay_step(&x->up, &client->in, &x->request, NULL, &x->worker->tools, (struct str){NULL, 0})))
        return false;
    bool may_give = stream_may_give(&client->stream) && x->lease->stream.writable;
    if (client->in.n == 0 && may_give && may_splice(x))
        return splice(x);
    return flush(x);
}

/* True: there may be more to do. */
static bool step(struct exchange *x)
{
    /* While TLS shakes hands the stream takes bytes already, and its failure is for attempt.c to see. */
    if (x->state == EXCHANGE_CONNECTING || x->send_failed)
        return false;
    if (begins(x))
        return begin(x);
    if (!flush(x) || x->up.done)
        return false;
    struct client *client = x->client;
    if (client->in.n == 0 || x->up.hungry) {
        if (!stream_may_give(&client->stream) && !client->ended)
            return false;
        if (may_splice(x))
            return splice(x);
        if (!fill(x))
            return false;
    }
    return given(x, relay_step(&x->up, &client->in, &x->request, &x->lease->stream, &x->worker->tools,
                               (struct str){NULL, 0}));
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

/* A request without a body goes with others' (loop_batch); over HTTP/2 its connection sees to that. */
void upload_start(struct exchange *x)
{
    if (!x->up.done || x->lease->h2) {
        upload_pump(x);
        return;
    }
    worker_deadline(&x->deadline, x->rules->first_byte_ms);
    if (!x->asks)
        loop_batch(x->worker->loop, &x->asking);
    x->asks = true;
}

void upload_run(struct loop_deferred *asking)
{
    struct exchange *x = mem_container(asking, struct exchange, asking);
    x->asks = false;
    if (x->state == EXCHANGE_ASKING && !flush(x))
        exchange_moved(x);
}
