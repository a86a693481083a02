/* Bodies on their way through. Invariant: payload bytes leave in the order in which they came, each exactly
 * once, and the end leaves only when the whole body has. */
#include "plane/relay.h"

#include "http/forward.h"

#define SPANS_MAX 60      /* of payload in one send; small chunks come as many spans */
#define BURST_FIRST 32768 /* most answers fit */
#define BURST_LEAST 16384 /* a slow sink costs no more memory than this */

void relay_start(struct relay *relay, enum http_framing in, uint64_t length, enum http_framing out)
{
    *relay = (struct relay){.out = out, .burst = BURST_FIRST};
    http_body_start(&relay->body, in, length);
    relay->done = relay->body.done;
}

/* A send under construction: prefix, chunk head, spans, end. */
struct batch {
    struct iovec parts[SPANS_MAX + 4];
    int count;
    size_t payload;
    struct str trailers;
    char chunk_head[HTTP_CHUNK_HEAD_MAX];
};

static void add(struct batch *batch, const char *p, size_t n)
{
    if (n > 0)
        batch->parts[batch->count++] = (struct iovec){(void *)p, n};
}

static void follow(struct relay_rests *rests, struct str data)
{
    if (rests->units == RELAY_EVENTS)
        event_stream_follow(&rests->events, data.p, data.n);
    else
        grpc_messages_follow(&rests->messages, data.p, data.n);
}

static size_t until_rest(struct relay_rests *rests, struct str data)
{
    return rests->units == RELAY_EVENTS ? event_stream_until_rest(&rests->events, data.p, data.n)
                                        : grpc_messages_until_rest(&rests->messages, data.p, data.n);
}

static bool is_at_rest(const struct relay_rests *rests)
{
    return rests->units == RELAY_EVENTS ? event_stream_rests(&rests->events)
                                        : grpc_messages_rest(&rests->messages);
}

bool relay_is_whole(const struct relay *relay)
{
    const struct relay_rests *rests = relay->rests;
    return rests->units == RELAY_EVENTS ? event_stream_is_whole(&rests->events)
                                        : grpc_messages_rest(&rests->messages);
}

/* Does a parting body, of which nothing more has come, end where it is? Behind a message of gRPC trailers may
 * follow that tell how the call went; and where its source has ended with it, it is whole. */
static bool ends_at_rest(const struct relay *relay)
{
    return relay->rests->units == RELAY_EVENTS && is_at_rest(relay->rests) && !relay->body.done;
}

/* How much of this payload goes on: all of it, unless a parting body comes to its end there. */
static size_t look(struct relay *relay, struct str data)
{
    if (relay->rests == NULL)
        return data.n;
    if (!relay->parting) {
        follow(relay->rests, data);
        return data.n;
    }
    size_t n = is_at_rest(relay->rests) ? 0 : until_rest(relay->rests, data);
    if (n < data.n || ends_at_rest(relay))
        relay->left = relay->body.done = true;
    return n;
}

/* Takes what is there of a body whose length is known: nothing in it has to be understood. */
static void take(struct relay *relay, struct inlet *inlet, struct batch *batch)
{
    size_t n = inlet->n < relay->body.left ? inlet->n : (size_t)relay->body.left;
    add(batch, inlet->p, n);
    batch->payload = n;
    http_body_skip(&relay->body, n);
    inlet_consume(inlet, n);
}

/* Takes what is understood of any other body. False: its framing is broken. */
static bool decode(struct relay *relay, struct inlet *inlet, const struct relay_tools *tools,
                   struct batch *batch)
{
    for (int spans = 0; spans < SPANS_MAX && inlet->n > 0 && !relay->body.done;) {
        size_t used = 0;
        struct str data = {NULL, 0};
        if (http_body_step(&relay->body, inlet->p, inlet->n, tools->limits, &used, &data, &batch->trailers,
                           &relay->fault) == HTTP_BAD)
            return false;
        if (data.n > 0) {
            data.n = look(relay, data);
            if (relay->left)
                batch->trailers = (struct str){NULL, 0}; /* of what is not all sent */
            add(batch, data.p, data.n);
            batch->payload += data.n;
            spans++;
        }
        inlet_consume(inlet, used);
        if (used == 0) {
            relay->hungry = true;
            break;
        }
    }
    return true;
}

/* Moves what is understood from the inlet into the batch. Of a step that goes over the limit nothing is sent,
 * least of all the body's end. */
static bool gather(struct relay *relay, struct inlet *inlet, const struct relay_tools *tools,
                   struct batch *batch)
{
    relay->hungry = false;
    if (relay->body.framing == HTTP_BODY_LENGTH && relay->rests == NULL)
        take(relay, inlet, batch);
    else if (!decode(relay, inlet, tools, batch))
        return false;
    relay->bytes += batch->payload;
    if (relay->most == 0 || relay->bytes <= relay->most)
        return true;
    relay->fault = (struct http_fault){413, "body-too-large"};
    return false;
}

/* Writes the last chunk and the trailers that may pass on, or those that tell why there are no others. */
static size_t write_end(struct relay *relay, const struct relay_tools *tools, struct str trailers)
{
    char *to = tools->trailers;
    size_t n = 0;
    memcpy(to, "0\r\n", 3);
    n += 3;
    if (trailers.n > 0) {
        if (http_trailers_parse(tools->fields, trailers, tools->limits, &relay->fault) == HTTP_BAD)
            return 0;
        n += http_forward_trailers(tools->fields, relay->rules, relay->request, to + n, tools->limits->head);
    } else if (relay->left && relay->rests->units == RELAY_MESSAGES) {
        memcpy(to + n, grpc_parting.p, grpc_parting.n);
        n += grpc_parting.n;
    }
    memcpy(to + n, "\r\n", 2);
    return n + 2;
}

/* A sink that takes all gets more at once, one that does not, less. */
static void adapt(struct relay *relay, bool waits)
{
    if (waits)
        relay->burst = BURST_LEAST;
    else if (relay->burst < SCRATCH_SIZE)
        relay->burst *= 2;
}

static enum relay_result send_batch(struct relay *relay, struct outlet *outlet, struct stream *sink,
                                    const struct relay_tools *tools, const struct batch *batch)
{
    bool corks = relay->done && relay->cork_most > 0;
    if (relay->closes && relay->done)
        sink->last = true;
    switch (corks ? outlet_cork(outlet, tools->buffers, sink, batch->parts, batch->count, relay->cork_most)
                  : outlet_send(outlet, tools->buffers, sink, batch->parts, batch->count)) {
    case OUTLET_EMPTY:
        adapt(relay, false);
        return RELAY_GOES_ON;
    case OUTLET_WAITING:
        if (sink != NULL)
            adapt(relay, true);
        return RELAY_WAITING;
    case OUTLET_FAILED:
        return RELAY_BROKEN;
    case OUTLET_NO_MEMORY:
        break;
    }
    return RELAY_NO_MEMORY;
}

/* Frames what was gathered as one chunk. The first part after the prefix is its head's place. */
static bool frame(struct relay *relay, const struct relay_tools *tools, struct batch *batch, int place)
{
    if (batch->payload > 0) {
        size_t n = http_chunk_head(batch->chunk_head, batch->payload);
        batch->parts[place] = (struct iovec){batch->chunk_head, n};
        add(batch, "\r\n", 2);
    } else {
        batch->parts[place] = (struct iovec){batch->chunk_head, 0};
    }
    if (!relay->body.done)
        return true;
    size_t end = write_end(relay, tools, batch->trailers);
    add(batch, tools->trailers, end);
    return end > 0;
}

enum relay_result relay_step(struct relay *relay, struct inlet *inlet, struct outlet *outlet,
                             struct stream *sink, const struct relay_tools *tools, struct str prefix)
{
    struct batch batch;
    batch.count = 0;
    batch.payload = 0;
    batch.trailers = (struct str){NULL, 0};
    add(&batch, prefix.p, prefix.n);
    int place = batch.count;
    bool chunked = relay->out == HTTP_BODY_CHUNKED && !relay->done;
    if (chunked)
        batch.count++;
    if (!gather(relay, inlet, tools, &batch) || (chunked && !frame(relay, tools, &batch, place)))
        return RELAY_BAD;
    relay->done = relay->body.done;
    return send_batch(relay, outlet, sink, tools, &batch);
}

enum outlet_result relay_flush_conduit(struct relay *relay, struct outlet *outlet, struct stream *sink,
                                       const struct relay_tools *tools)
{
    sink->more = conduit_holds(relay->conduit) > 0;
    enum outlet_result result = outlet_flush(outlet, tools->buffers, sink);
    sink->more = false;
    if (result != OUTLET_EMPTY)
        return result;
    while (conduit_holds(relay->conduit) > 0) {
        ssize_t sent = sink->writable ? conduit_drain(relay->conduit, sink) : STREAM_AGAIN;
        if (sent < 0)
            return sent == STREAM_FAILED ? OUTLET_FAILED : OUTLET_WAITING;
        outlet_release(outlet, tools->buffers); /* this is not kept, so it cannot begin again */
    }
    relay_drop(relay, tools);
    return OUTLET_EMPTY;
}

bool relay_may_splice(struct relay *relay, const struct stream *source, const struct stream *sink,
                      const struct relay_tools *tools)
{
    if (relay->body.left < RELAY_SPLICE_LEAST || relay->body.framing != HTTP_BODY_LENGTH || relay->copies ||
        source->ops != &stream_plain || sink->ops != &stream_plain)
        return false;
    relay->conduit = conduits_take(tools->conduits);
    relay->copies = relay->conduit == NULL;
    return !relay->copies;
}

/* Moves what the conduit holds to where it is kept. */
static bool keep(struct relay *relay, struct outlet *outlet, const struct relay_tools *tools, size_t count)
{
    char *to = outlet_reserve(outlet, tools->buffers, count);
    if (to != NULL) {
        conduit_read(relay->conduit, to);
        outlet->end += (uint32_t)count;
    }
    relay_drop(relay, tools);
    return to != NULL;
}

/* Behind the last byte, the source's `readable` tells whether more stands there. */
static ssize_t fill(struct relay *relay, struct stream *source)
{
    bool is_last = relay->body.left <= CONDUIT_ROOM, sole = relay->sole;
    size_t most = is_last ? (size_t)relay->body.left : CONDUIT_ROOM;
    relay->sole = false;
    if (is_last && sole)
        return conduit_fill_last(relay->conduit, source, most);
    ssize_t count = conduit_fill(relay->conduit, source, most);
    if (is_last && count == (ssize_t)most)
        stream_look(source);
    return count;
}

ssize_t relay_splice(struct relay *relay, struct stream *source, struct outlet *outlet, struct stream *sink,
                     const struct relay_tools *tools, enum relay_result *result)
{
    ssize_t count = fill(relay, source);
    if (count <= 0) {
        relay_drop(relay, tools);
        return count;
    }
    http_body_skip(&relay->body, (size_t)count);
    relay->bytes += (uint64_t)count;
    relay->done = relay->body.done;
    if (outlet->hold && outlet->end + (size_t)count <= OUTLET_HOLD_MAX &&
        !keep(relay, outlet, tools, (size_t)count)) {
        *result = RELAY_NO_MEMORY;
        return count;
    }
    enum outlet_result sent = relay_flush(relay, outlet, sink, tools);
    *result = sent == OUTLET_EMPTY ? RELAY_GOES_ON : sent == OUTLET_WAITING ? RELAY_WAITING : RELAY_BROKEN;
    return count;
}

/* What has been sent so far is the whole body. */
static enum relay_result finish(struct relay *relay, struct outlet *outlet, struct stream *sink,
                                const struct relay_tools *tools)
{
    relay->done = relay->body.done = true;
    if (relay->out != HTTP_BODY_CHUNKED)
        return RELAY_GOES_ON;
    struct batch batch = {.count = 0};
    add(&batch, tools->trailers, write_end(relay, tools, (struct str){NULL, 0}));
    return send_batch(relay, outlet, sink, tools, &batch);
}

enum relay_result relay_part(struct relay *relay, struct outlet *outlet, struct stream *sink,
                             const struct relay_tools *tools)
{
    relay->parting = true;
    return is_at_rest(relay->rests) ? relay_leave(relay, outlet, sink, tools) : RELAY_GOES_ON;
}

enum relay_result relay_leave(struct relay *relay, struct outlet *outlet, struct stream *sink,
                              const struct relay_tools *tools)
{
    relay->left = true;
    return finish(relay, outlet, sink, tools);
}

bool relay_end(struct relay *relay, struct outlet *outlet, struct stream *sink,
               const struct relay_tools *tools, enum relay_result *result)
{
    if (!http_body_may_end(&relay->body))
        return false;
    *result = finish(relay, outlet, sink, tools);
    return true;
}
