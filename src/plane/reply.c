/* From the instance to the client. Invariant: the instance is read only while nothing waits for the client;
 * and once a head has been sent, the message ends whole or is cut so that it cannot look whole. */
#include "io/digest.h"
#include "plane/exchange.h"

#define HEADS_DIFFER 128    /* bytes, by which one head may be longer than the last one */
#define LONG_HEAD_MOST 1024 /* bytes to read with a head where the rest goes by a conduit */

static bool flush(struct exchange *x)
{
    struct client *client = x->client;
    size_t waiting = relay_waiting(&x->down, &client->out);
    if (waiting == 0)
        return true;
    enum outlet_result result = relay_flush(&x->down, &client->out, &client->stream, &x->worker->tools);
    x->moved |= relay_waiting(&x->down, &client->out) < waiting;
    if (result == OUTLET_FAILED)
        exchange_end(x, &end_client_closed);
    return result == OUTLET_EMPTY;
}

/* What came of giving bytes to the client. True: go on. */
static bool given(struct exchange *x, enum relay_result result)
{
    switch (result) {
    case RELAY_GOES_ON:
    case RELAY_WAITING:
        return true;
    case RELAY_BAD:
        exchange_end(x, &(struct end){x->down.fault.reason, end_bad_response.status, end_bad_response.error});
        return false;
    case RELAY_BROKEN:
        exchange_end(x, &end_client_closed);
        return false;
    case RELAY_NO_MEMORY:
        break;
    }
    exchange_end(x, &end_overloaded);
    return false;
}

/* The instance's end, or a broken connection. True: go on. */
static bool lease_ended(struct exchange *x, bool clean)
{
    enum relay_result result;
    if (x->state == EXCHANGE_ASKING) {
        attempt_lost(x);
        return false;
    }
    if (x->state == EXCHANGE_ANSWERING && clean &&
        relay_end(&x->down, &x->client->out, &x->client->stream, &x->worker->tools, &result))
        return given(x, result);
    attempt_end_lost(x);
    return false;
}

/* What came of reading from the instance. True: something. */
static bool heard(struct exchange *x, ssize_t count)
{
    if (count == STREAM_AGAIN)
        return false;
    if (count == INLET_FULL) {
        exchange_end(x, &end_overloaded);
        return false;
    }
    if (count <= 0)
        return lease_ended(x, count == 0);
    x->moved = true;
    if (x->state == EXCHANGE_ASKING) {
        x->state = EXCHANGE_HEARING;
        outlet_release(&x->request, x->worker->buffers);
    }
    return true;
}

/* The answer may be as long as the last one over this connection, and its head too. Then little more than
 * that is read of it, and the rest goes by a conduit. Where the request goes on, what is read of the answer
 * tells whether that ends early. */
static bool may_be_long(const struct exchange *x)
{
    return x->lease->long_head > 0 && x->up.body.done && x->lease->stream.ops == &stream_plain &&
           x->client->stream.ops == &stream_plain;
}

static size_t burst_of(const struct exchange *x)
{
    if (x->state == EXCHANGE_ANSWERING)
        return x->down.burst;
    return may_be_long(x) ? x->lease->long_head : x->worker->head_most;
}

/* True: there is something new in the lease's inlet. */
static bool fill(struct exchange *x)
{
    struct connection *lease = x->lease;
    if (lease->stream.awaited > 0)
        patience_end(x); /* as in upload.c */
    size_t burst = burst_of(x);
    size_t most = worker_fill_most(x->worker, &lease->in, burst);
    return heard(x, inlet_fill(&lease->in, &lease->stream, x->worker->buffers, most));
}

/* True: there may be more to do. */
static bool splice(struct exchange *x)
{
    enum relay_result result;
    struct client *client = x->client;
    ssize_t count =
        relay_splice(&x->down, &x->lease->stream, &client->out, &client->stream, &x->worker->tools, &result);
    if (count <= 0 && !flush(x) && exchange_is_ended(x))
        return false;
    if (count > 0)
        patience_read(x, &x->down, &x->lease->stream, (size_t)count);
    return heard(x, count) && given(x, result) && exchange_splices_on(x, &x->down, count);
}

/* Writes the head for the client into `room` bytes at `to`. Empty: it does not fit. */
static struct str write_head_at(struct exchange *x, enum http_framing framing, bool final, char *to,
                                size_t room)
{
    struct worker *worker = x->worker;
    bool goes_on = x->keep_alive || x->client->stream.virtual != NULL; /* over HTTP/2 nothing is said of it */
    struct http_return how = {.client_minor = x->minor, .keep_alive = goes_on, .framing = framing};
    struct http_variable variables[HEADER_VARIABLES];
    char lines[STICKY_LINES * STICKY_LINE_MAX];
    if (final) {
        how.rules = header_rules_of(x, SNAPSHOT_RESPONSE_HEADERS);
        how.date = worker_date(worker);
        how.hsts_s = client_hsts(x->client);
        how.request_id = (struct str){x->id, x->id_length};
        how.lines = sticky_lines(x, lines);
    }
    if (how.rules.n > 0) {
        header_rules_variables(x, STR(""), variables);
        how.variables = variables;
    }
    return (struct str){to, http_forward_response(&worker->response, &how, to, room)};
}

static struct str write_head(struct exchange *x, enum http_framing framing, bool final)
{
    return write_head_at(x, framing, final, x->worker->head, x->worker->head_room);
}

/* A 1xx. An HTTP/1.0 client knows none, and one that did not ask waits for no 100 (RFC 9110 section 15.2).
 * What waits of them may be as long as one head: over HTTP/2 no window bounds it. */
static bool interim(struct exchange *x)
{
    const struct http_response *response = &x->worker->response;
    x->interim = (client_is_sent(x->client) ? 0 : x->interim) + (uint32_t)response->length;
    if (x->interim > x->worker->limits.head) {
        exchange_end(x, &end_head_too_large);
        return false;
    }
    bool wanted = x->minor > 0 && (response->status != 100 || x->expect_continue);
    if (response->status == 100 && x->expect_continue) {
        x->expect_continue = false;
        exchange_moved(x); /* it is the client's turn */
    }
    inlet_consume(&x->lease->in, response->length);
    if (!wanted)
        return true;
    struct str head = write_head(x, HTTP_BODY_NONE, false);
    struct iovec part = {(char *)head.p, head.n};
    if (head.n == 0) {
        exchange_end(x, &end_head_too_large);
        return false;
    }
    enum outlet_result result =
        outlet_send(&x->client->out, x->worker->buffers, &x->client->stream, &part, 1);
    x->head_out += head.n;
    if (result == OUTLET_EMPTY || result == OUTLET_WAITING)
        return true;
    exchange_end(x, result == OUTLET_FAILED ? &end_client_closed : &end_overloaded);
    return false;
}

/* A client of HTTP/2 has no key of its own to check the instance by (RFC 8441 section 5): upswap has asked in
 * its place. */
static bool is_accepted(const struct exchange *x)
{
    const struct http_field *accept =
        http_fields_named(&x->worker->response.fields, STR("sec-websocket-accept"));
    const char *expected = x->client->websocket_accept;
    return expected == NULL ||
           (accept != NULL && str_equal(accept->value, (struct str){expected, DIGEST_SHA1_BASE64}));
}

static bool switch_protocols(struct exchange *x)
{
    const struct http_response *response = &x->worker->response;
    if (!x->upgrade || !is_accepted(x)) {
        exchange_end(x, &end_bad_response);
        return false;
    }
    x->keep_alive = false;
    attempt_judge(x, VERDICT_PASSED);
    struct str head = write_head(x, HTTP_BODY_NONE, true);
    bool websocket = x->websocket && websocket_is_agreed(&response->fields);
    bool extended = websocket && websocket_has_extensions(&response->fields);
    inlet_consume(&x->lease->in, response->length);
    x->status = response->status;
    x->head_out += head.n;
    tunnel_start(x, head, websocket, extended);
    return false;
}

static enum http_framing framing_for(const struct exchange *x, enum http_framing in)
{
    if (in != HTTP_BODY_CHUNKED && in != HTTP_BODY_CLOSE)
        return in;
    return x->minor == 0 ? HTTP_BODY_CLOSE : HTTP_BODY_CHUNKED;
}

/* Has all of the answer come with its head? */
static bool is_whole(const struct exchange *x)
{
    const struct http_response *response = &x->worker->response;
    return response->framing == HTTP_BODY_NONE ||
           (response->framing == HTTP_BODY_LENGTH &&
            response->content_length <= x->lease->in.n - response->length);
}

/* Will the answer have ended with a request that is not read? Then the connection ends with it, and the head
 * says so. */
static bool ends_early(const struct exchange *x)
{
    return !x->up.body.done && (x->expect_continue || is_whole(x));
}

/* How a call of gRPC went can only be told behind a chunked body. */
static enum relay_units units_of(const struct http_response *response, enum http_framing out)
{
    if (out == HTTP_BODY_LENGTH || out == HTTP_BODY_NONE)
        return RELAY_BYTES;
    struct str type = http_fields_value(&response->fields, HTTP_FIELD_CONTENT_TYPE);
    struct str events = STR("text/event-stream");
    if (type.n >= events.n && str_equal_nocase((struct str){type.p, events.n}, events))
        return RELAY_EVENTS;
    return out == HTTP_BODY_CHUNKED && grpc_is_type(type) ? RELAY_MESSAGES : RELAY_BYTES;
}

/* 501 and 505 speak of the request. */
static enum verdict verdict_of(uint16_t status)
{
    return status >= 500 && status != 501 && status != 505 ? VERDICT_FAILED : VERDICT_PASSED;
}

/* The end of an answer waits for those that follow on its connection, or if it is short for the turn's
 * others. An HTTP/2 connection sees to that itself. */
static uint32_t cork_most(const struct exchange *x)
{
    if (!x->keep_alive || !x->up.body.done || client_is_stream(x->client))
        return 0;
    return client_has_asked_again(x->client) ? OUTLET_CORK_MAX : OUTLET_BATCH_MAX;
}

/* Does its head go with what a conduit brings, in one packet? Then it has one. */
static bool begins_long(struct exchange *x)
{
    struct connection *lease = x->lease;
    bool begins = may_be_long(x) && lease->in.n <= LONG_HEAD_MOST && stream_may_give(&lease->stream);
    return begins && relay_may_splice(&x->down, &lease->stream, &x->client->stream, &x->worker->tools);
}

/* May more of its body be there than was read with its head? Up to the connection's end it is left alone:
 * that must not be met before the head has gone. */
static bool is_cut(const struct exchange *x)
{
    const struct http_body *body = &x->down.body;
    bool misses = body->framing == HTTP_BODY_LENGTH && body->left > x->lease->in.n;
    return misses || body->framing == HTTP_BODY_CHUNKED;
}

/* An answer that might have been long is not: what was left unread of it goes with its head all the same.
 * True: go on. */
static bool read_on(struct exchange *x)
{
    struct connection *lease = x->lease;
    if (!may_be_long(x) || !is_cut(x) || lease->in.n >= x->down.burst || !stream_may_give(&lease->stream))
        return true;
    ssize_t count = inlet_fill(&lease->in, &lease->stream, x->worker->buffers, x->down.burst);
    if (count == STREAM_AGAIN)
        return true;
    if (x->down.body.framing == HTTP_BODY_LENGTH || count > 0 || count == INLET_FULL)
        return heard(x, count);
    lease->stream.readable = true; /* the end is met again, behind what is there: that may be all */
    return true;
}

/* What is to be read with the next head, if that answer is as long. */
static uint16_t long_head_of(const struct http_response *response)
{
    if (response->framing != HTTP_BODY_LENGTH || response->content_length < RELAY_SPLICE_LEAST)
        return 0;
    size_t most = response->length + HEADS_DIFFER;
    return (uint16_t)(most < LONG_HEAD_MOST ? most : LONG_HEAD_MOST);
}

/* The body as it comes, and as it goes. */
static void prepare_body(struct exchange *x, enum http_framing out, enum relay_units units)
{
    const struct http_response *response = &x->worker->response;
    relay_start(&x->down, response->framing, response->content_length, out);
    x->rests.units = units;
    if (units != RELAY_BYTES && http_fields_named(&response->fields, STR("content-encoding")) == NULL)
        x->down.rests = &x->rests;
    x->down.rules = header_rules_of(x, SNAPSHOT_RESPONSE_HEADERS);
    x->down.closes = !x->keep_alive;
    x->down.cork_most = cork_most(x);
}

/* Writes a whole answer where the client's outlet keeps what may wait (outlet_cork): its body has not to be
 * followed, and nothing is moved twice. False: it is not whole, or may not wait, or is too long for that;
 * nothing is done. */
static bool write_short(struct exchange *x)
{
    const struct http_response *response = &x->worker->response;
    struct outlet *outlet = &x->client->out;
    size_t most = is_whole(x) ? cork_most(x) : 0;
    size_t body = response->framing == HTTP_BODY_NONE ? 0 : (size_t)response->content_length;
    size_t room = response->length + HTTP_FORWARD_EXTRA + body;
    if (room > outlet_cork_room(outlet, most))
        return false;
    char *to = outlet_reserve(outlet, x->worker->buffers, room);
    if (to == NULL)
        return false;
    size_t n = write_head_at(x, response->framing, true, to, room - body).n;
    if (n == 0)
        return false;
    if (body > 0)
        memcpy(to + n, x->lease->in.p + response->length, body);
    outlet_cork_reserved(outlet, n + body);
    inlet_consume(&x->lease->in, response->length + body);
    x->head_out += n;
    x->down.bytes = body;
    x->down.done = x->down.body.done = true;
    return true;
}

/* What the head tells to others than the client. */
static void tell(struct exchange *x)
{
    const struct http_response *response = &x->worker->response;
    attempt_judge(x, verdict_of(response->status));
    if (x->mirror != NULL)
        mirror_heard(x, response->status);
    x->keep_lease = response->keep_alive && response->framing != HTTP_BODY_CLOSE;
}

static bool answer_short(struct exchange *x)
{
    tell(x);
    x->lease->long_head = 0;
    x->state = EXCHANGE_ANSWERING;
    x->status = x->worker->response.status;
    exchange_end(x, &end_done);
    return false;
}

/* The client is to go; but one more request has come before it could know, and may still drain. What was not
 * read is taken for one: the worker may hear of it behind this answer, in the same turn or, of who has just
 * come, later. */
static bool is_followed(const struct exchange *x)
{
    const struct client *client = x->client;
    uint64_t since_ms = x->worker->stopping ? x->worker->stopped_ms : client->peer.orphan_ms;
    uint64_t until_ms = since_ms + x->rules->drain_requests_ms;
    if (!x->up.body.done || loop_ms(x->worker->loop) >= until_ms || client_is_stream(client))
        return false;
    return (client->in.n > 0 && http_request_has_come(client->in.p, client->in.n)) ||
           stream_has_come(&client->stream);
}

static bool final(struct exchange *x)
{
    const struct http_response *response = &x->worker->response;
    struct connection *lease = x->lease;
    enum http_framing out = framing_for(x, response->framing);
    if (out == HTTP_BODY_CLOSE || (client_is_leaving(x->client) && !is_followed(x)) || ends_early(x))
        x->keep_alive = false;
    if (write_short(x))
        return answer_short(x);
    struct str head = write_head(x, out, true);
    if (head.n == 0) {
        exchange_end(x, &end_head_too_large);
        return false;
    }
    uint16_t status = response->status;
    tell(x);
    enum relay_units units = units_of(response, out);
    prepare_body(x, out, units);
    inlet_consume(&lease->in, response->length);
    bool splices = x->down.sole = begins_long(x);
    if (!splices && !read_on(x))
        return false;
    lease->long_head = long_head_of(response);
    enum relay_result result = relay_step(&x->down, &lease->in, &x->client->out,
                                          splices ? NULL : &x->client->stream, &x->worker->tools, head);
    if (result == RELAY_BAD)
        return given(x, result); /* nothing was sent: it is still ours to answer */
    x->state = EXCHANGE_ANSWERING;
    x->status = status;
    x->head_out += head.n;
    if (units != RELAY_BYTES && !x->down.done)
        drain_class(x, EXCHANGE_IS_STREAM);
    return given(x, result) && (!splices || splice(x));
}

static bool head(struct exchange *x)
{
    struct worker *worker = x->worker;
    struct connection *lease = x->lease;
    struct http_fault fault;
    switch (http_response_parse(&worker->response, (enum http_method)x->method, lease->in.p, lease->in.n,
                                &x->seen, &worker->limits, &fault)) {
    case HTTP_MORE:
        x->hungry = true;
        return true;
    case HTTP_BAD:
        exchange_end(x, &(struct end){fault.reason, end_bad_response.status, end_bad_response.error});
        return false;
    case HTTP_DONE:
        break;
    }
    x->seen = 0;
    if (worker->response.status == 101)
        return switch_protocols(x);
    return worker->response.status < 200 ? interim(x) : final(x);
}

/* True: there may be more to do. */
static bool step(struct exchange *x)
{
    if (!flush(x))
        return false;
    if (x->state == EXCHANGE_ANSWERING && x->down.done) {
        exchange_end(x, x->down.left ? &end_drain_closed : &end_done);
        return false;
    }
    struct connection *lease = x->lease;
    bool answering = x->state == EXCHANGE_ANSWERING;
    if (lease->in.n == 0 || (answering ? x->down.hungry : x->hungry)) {
        x->hungry = false;
        if (!stream_may_give(&lease->stream))
            return false;
        if (answering && relay_may_splice(&x->down, &lease->stream, &x->client->stream, &x->worker->tools))
            return splice(x);
        if (!fill(x))
            return false;
    }
    if (x->state != EXCHANGE_ANSWERING)
        return head(x);
    return given(x, relay_step(&x->down, &lease->in, &x->client->out, &x->client->stream, &x->worker->tools,
                               (struct str){NULL, 0}));
}

void reply_pump(struct exchange *x)
{
    unsigned steps = 0;
    x->moved = false;
    while (steps < EXCHANGE_STEPS && step(x))
        steps++;
    if (exchange_is_ended(x) || x->lease == NULL || x->state == EXCHANGE_TUNNEL ||
        x->state <= EXCHANGE_CONNECTING)
        return;
    if (steps == EXCHANGE_STEPS)
        exchange_again(x);
    if (x->moved && x->state > EXCHANGE_HEARING) /* a part of a head is not one */
        exchange_moved(x);
    pace_reply(x);
    if (!inlet_settle(&x->lease->in, x->worker->buffers))
        exchange_end(x, &end_overloaded);
}

bool reply_may_part(const struct exchange *x)
{
    return x->state == EXCHANGE_ANSWERING && x->down.rests != NULL && !x->down.done;
}

void reply_part(struct exchange *x)
{
    if (given(x, relay_part(&x->down, &x->client->out, &x->client->stream, &x->worker->tools)))
        reply_pump(x);
}

void reply_part_late(struct exchange *x)
{
    bool whole = !x->down.done && relay_is_whole(&x->down);
    if (whole && !given(x, relay_leave(&x->down, &x->client->out, &x->client->stream, &x->worker->tools)))
        return;
    if (x->down.done)
        exchange_end(x, x->down.left ? &end_drain_closed : &end_done);
    else
        exchange_cut(x);
}
