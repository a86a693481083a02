/* Reading heads, and the ways in which a client's connection ends. Invariant: the state changes in one place
 * (enter), and an idle client owns no buffer. */
#include "plane/client.h"

#include "base/mem.h"
#include "plane/arrival.h"
#include "plane/client_parts.h"
#include "plane/exchange.h"
#include "plane/h2_front.h"
#include "plane/h2_stream.h"
#include "plane/listeners.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#define LINGER_MS 5000       /* without a byte, or until what waits is sent */
#define LINGER_MOST_MS 30000 /* in all */
#define READ_AHEAD_MAX 16384 /* bytes of later requests, while one is being answered */
#define STEPS 32             /* of one client in a turn; then others have theirs */

static void enter(struct client *client, enum client_state state)
{
    assert(client->state != CLIENT_CLOSED);
    client->state = (uint8_t)state;
}

static void run_freeing(struct loop_deferred *deferred)
{
    free(mem_container(deferred, struct client, freeing));
}

/* A connection is one less. */
static void leave(struct client *client)
{
    struct worker *worker = client->worker;
    counters_sub(&worker->cells->connections[client->peer.listener], 1);
    crowd_leave(worker->options.crowd);
    if (client->counted)
        crowd_dismiss(worker->options.crowd, client->peer.address);
    listeners_wake(worker->listeners, client->peer.listener);
    client->freeing.run = run_freeing;
    loop_defer(worker->loop, &client->freeing);
}

void client_close(struct client *client, bool reset)
{
    struct worker *worker = client->worker;
    assert(client->exchange == NULL);
    client_mourn(client);
    if (client->h2 != NULL)
        h2_front_close(client->h2);
    enter(client, CLIENT_CLOSED);
    deadline_clear(&client->deadline);
    if (client->out.corked)
        outlet_flush(&client->out, worker->buffers, &client->stream);
    cork_drop(&worker->cork, client);
    newcomers_leave(&worker->newcomers, client);
    stream_close(&client->stream, reset);
    inlet_clear(&client->in, worker->buffers);
    outlet_clear(&client->out, worker->buffers);
    TAILQ_REMOVE(&worker->clients, client, link);
    worker->client_count--;
    if (client_is_stream(client))
        client->left(client);
    else
        leave(client);
    worker_client_left(worker);
}

bool client_was_reset(const struct client *client)
{
    const struct h2_stream *stream = client->stream.virtual;
    return client_is_stream(client) && stream->broken;
}

bool client_is_gone(const struct client *client)
{
    return client_is_stream(client) ? client_was_reset(client) : client->ended || client->stream.hung_up;
}

bool client_is_sent(const struct client *client)
{
    return outlet_waiting(&client->out) == 0 && (!client_is_stream(client) || h2_front_is_sent(client));
}

/* Is something unread, or on its way? Closing now would send a reset, which may overtake the answer. */
static bool must_linger(struct client *client)
{
    if (client->ended || client->stream.error != 0 || client_is_stream(client))
        return false;
    if (client->in.n > 0 || client->linger)
        return true;
    if (client->stream.fresh)
        stream_look(&client->stream);
    return client->stream.readable;
}

/* Who still sends will read what it was sent; but not for as long as it likes. */
static void await_more(struct client *client)
{
    uint64_t until = client->lingers_until_ms, now = loop_ms(client->worker->loop);
    uint64_t left = until > now ? until - now : 0;
    deadline_set(&client->deadline, left < LINGER_MS ? left : LINGER_MS);
}

static void linger_at_most(struct client *client, uint32_t ms)
{
    client->lingers_until_ms = loop_ms(client->worker->loop) + ms;
    await_more(client);
}

static void linger(struct client *client)
{
    if (!must_linger(client)) {
        client_close(client, false);
        return;
    }
    enter(client, CLIENT_LINGERING);
    inlet_clear(&client->in, client->worker->buffers);
    stream_shut(&client->stream);
    linger_at_most(client, client_is_leaving(client) ? client->worker->grace_ms : LINGER_MOST_MS);
}

/* True: there may be more to drop. */
static bool drop_what_comes(struct client *client)
{
    if (!client->stream.readable)
        return false;
    ssize_t count = stream_recv(&client->stream, client->worker->buffers->scratch, SCRATCH_SIZE);
    if (count == STREAM_AGAIN)
        return false;
    if (count > 0)
        await_more(client);
    else
        client_close(client, false);
    return count > 0;
}

static void await_head(struct client *client)
{
    const struct snapshot_settings *settings = client->worker->settings;
    enter(client, CLIENT_HEAD);
    client->seen = 0;
    client->hungry = false;
    client->head_since_ms = loop_ms(client->worker->loop);
    worker_deadline(&client->deadline,
                    client_is_leaving(client) ? client->worker->grace_ms : settings->idle_ms);
}

/* True: what waited is sent, and the client has gone on to what comes next. */
static bool flush(struct client *client)
{
    switch (outlet_flush(&client->out, client->worker->buffers, &client->stream)) {
    case OUTLET_EMPTY:
        break;
    case OUTLET_WAITING:
        return false;
    case OUTLET_FAILED:
    case OUTLET_NO_MEMORY:
        client_close(client, false);
        return false;
    }
    if (client->next == CLIENT_NEXT_REQUEST)
        await_head(client);
    else
        linger(client);
    return true;
}

/* The answer to what is no request: nothing that follows can be understood. */
static void refuse(struct client *client, const struct end *end)
{
    char id[RANDOM_ID_SIZE];
    random_id(&client->worker->random, id);
    struct str head = {client->in.p, client->in.n};
    bool json = http_head_prefers_json(head), grpc = client_is_stream(client) && http_head_is_grpc(head);
    struct own_answer own = {
        .end = end, .minor = 1, .json = json, .grpc = grpc, .request_id = {id, sizeof id}};
    client->linger = true;
    size_t sent = client_answer(client, &own);
    client_log_refusal(client, end, own.request_id, sent);
    if (sent == 0) {
        client_close(client, false);
        return;
    }
    enter(client, CLIENT_FLUSHING);
    client->next = CLIENT_NEXT_CLOSE;
    deadline_set(&client->deadline, LINGER_MS);
}

/* Whoever begins like this is no proxy that we know, and could not read an answer: none is sent. NULL: nor is
 * there anything to tell. */
static void turn_away(struct client *client, const struct end *end)
{
    if (end != NULL)
        client_log_refusal(client, end, (struct str){"", 0}, 0);
    client_close(client, false);
}

/* False: it cannot be, and the connection is closed. */
static bool start_tls(struct client *client)
{
    bool started = client_start_tls(client);
    if (!started)
        client_close(client, true);
    return started;
}

/* True: the client has arrived. */
static bool arrive(struct client *client)
{
    const struct end *why = NULL;
    switch (arrival_read(client, &why)) {
    case HTTP_MORE:
        return false;
    case HTTP_BAD:
        turn_away(client, why);
        return false;
    case HTTP_DONE:
        break;
    }
    enter(client, CLIENT_HEAD);
    client_acknowledge(client); /* who wrote the header may wait with what comes behind it */
    return start_tls(client);
}

/* It asks nothing more, and has had its answers when what was held back, and does not go at once, has gone.
 */
static void leave_answered(struct client *client)
{
    client_push(client);
    if (client->state == CLIENT_FLUSHING)
        client->next = CLIENT_NEXT_CLOSE;
    else if (client->state != CLIENT_CLOSED)
        client_close(client, false);
}

static bool fill_head(struct client *client)
{
    struct worker *worker = client->worker;
    bool first = client->in.n == 0;
    if (client->ended) {
        leave_answered(client);
        return false;
    }
    if (first ? !client->stream.readable : !stream_may_give(&client->stream))
        return false;
    ssize_t count = inlet_fill(&client->in, &client->stream, worker->buffers, worker->head_most);
    client_meet(client);
    if (count == STREAM_AGAIN)
        return false;
    if (count <= 0) {
        client->ended = true;
        leave_answered(client);
        return false;
    }
    /* The time for a head is counted from its first byte; for a client's first one from the accept. */
    if (first && client->used)
        client->head_since_ms = loop_ms(worker->loop);
    return true;
}

static void await_rest(struct client *client)
{
    struct worker *worker = client->worker;
    uint64_t until = client->head_since_ms + worker->settings->head_ms, now = loop_ms(worker->loop);
    client->hungry = true;
    bool leaving = client_is_leaving(client);
    if (leaving && deadline_is_set(&client->deadline))
        return; /* the end waits for nobody byte by byte */
    if (worker->settings->head_ms != 0 && !leaving)
        deadline_set(&client->deadline, until > now ? until - now : 0);
    else
        worker_deadline(&client->deadline, leaving ? worker->grace_ms : 0);
}

/* The session reads on from the preface. True: as read_head. */
static bool speak_h2(struct client *client)
{
    client->used = true;
    deadline_clear(&client->deadline);
    enter(client, CLIENT_HTTP2);
    client->h2 = h2_front_new(client);
    if (client->h2 == NULL)
        client_close(client, true);
    else
        h2_front_ready(client->h2);
    return false;
}

/* One step of reading a head. True: the state has changed, or more may be done at once. */
static bool read_head(struct client *client)
{
    struct worker *worker = client->worker;
    if ((client->in.n == 0 || client->hungry) && !fill_head(client))
        return false;
    enum h2_preface preface = client->used ? H2_PREFACE_NONE : client_preface(client);
    if (preface == H2_PREFACE_PART) {
        await_rest(client);
        return true;
    }
    if (preface == H2_PREFACE_WHOLE)
        return speak_h2(client);
    struct http_fault fault;
    switch (http_request_parse(&worker->request, client->in.p, client->in.n, &client->seen, &worker->limits,
                               &fault)) {
    case HTTP_MORE:
        await_rest(client);
        return true;
    case HTTP_BAD:
        refuse(client, &(struct end){fault.reason, fault.status, END_NO_ERROR});
        return true;
    case HTTP_DONE:
        break;
    }
    client->used = true;
    client->hungry = false;
    client->seen = 0;
    enter(client, CLIENT_EXCHANGE);
    exchange_start(client, &worker->request);
    return true;
}

static bool step(struct client *client)
{
    switch ((enum client_state)client->state) {
    case CLIENT_ARRIVING:
        return arrive(client);
    case CLIENT_HEAD:
        return read_head(client);
    case CLIENT_FLUSHING:
        return flush(client);
    case CLIENT_LINGERING:
        return drop_what_comes(client);
    case CLIENT_EXCHANGE:
    case CLIENT_HTTP2:
    case CLIENT_CLOSED:
        break;
    }
    return false;
}

static void pump_later(struct client *client)
{
    if (client->again)
        return;
    client->again = true;
    loop_defer(client->worker->loop, &client->running);
}

/* An exchange that ends inside a step gives the client back; the loop here goes on with it, so pipelined
 * requests do not pile up on the stack. */
static void pump(struct client *client)
{
    unsigned steps = 0;
    if (client->pumping)
        return;
    client->pumping = true;
    while (steps < STEPS && step(client))
        steps++;
    client->pumping = false;
    if (client->state == CLIENT_CLOSED)
        return;
    client_heed(client);
    if (client->state != CLIENT_EXCHANGE && !stream_watch(&client->stream)) {
        client_close(client, !client->used);
        return;
    }
    if (steps == STEPS)
        pump_later(client);
    if (inlet_settle(&client->in, client->worker->buffers))
        return;
    if (client->exchange != NULL)
        exchange_end(client->exchange, &end_client_closed);
    else
        client_close(client, true);
}

static void run_again(struct loop_deferred *deferred)
{
    struct client *client = mem_container(deferred, struct client, running);
    client->again = false;
    if (client->state != CLIENT_CLOSED && client->state != CLIENT_EXCHANGE)
        pump(client);
}

static void run_leaving(struct loop_deferred *deferred)
{
    struct client *client = mem_container(deferred, struct client, leaving);
    client->leaves = false;
    if (client->state != CLIENT_CLOSED && !client->corked)
        client_push(client);
}

void client_ready(struct stream *stream)
{
    struct client *client = mem_container(stream, struct client, stream);
    if (client->state == CLIENT_EXCHANGE)
        exchange_client_ready(client->exchange);
    else if (client->state == CLIENT_HTTP2)
        h2_front_ready(client->h2);
    else
        pump_later(client); /* behind the turn's answers: whom these and the requests wake, they wake once */
}

static void timed_out(struct deadline *deadline)
{
    struct client *client = mem_container(deadline, struct client, deadline);
    if (client->state == CLIENT_EXCHANGE)
        return;
    if (client->again && (client->state == CLIENT_HEAD || client->state == CLIENT_ARRIVING)) {
        deadline_set(deadline, 0); /* what has come in this turn is read first, and counts */
        return;
    }
    if (client->state == CLIENT_HTTP2) {
        h2_front_timed_out(client->h2);
        return;
    }
    if (client->state == CLIENT_HEAD && client->in.n > 0) {
        refuse(client, &end_head_timeout);
        pump(client);
    } else if (client->state == CLIENT_ARRIVING && client->seen > 0) {
        turn_away(client, &end_proxy_header_timeout);
    } else {
        client_close(client, false);
    }
}

static struct client *make(struct worker *worker, int fd)
{
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL)
        close(fd);
    else
        stream_accept(&client->stream, worker->loop, fd, client_ready);
    return client;
}

static void begin(struct worker *worker, struct client *client, enum client_state state)
{
    client->worker = worker;
    client->state = (uint8_t)state;
    client->running.run = run_again;
    client->leaving.run = run_leaving;
    client->head_since_ms = loop_ms(worker->loop);
    deadline_init(&client->deadline, worker->loop, timed_out);
    worker_deadline(&client->deadline, worker->stopping ? worker->grace_ms : worker->settings->head_ms);
    TAILQ_INSERT_TAIL(&worker->clients, client, link);
    worker->client_count++;
}

void client_begin(struct worker *worker, struct client *client, const struct peer *peer,
                  void (*left)(struct client *client))
{
    begin(worker, client, CLIENT_HEAD);
    client->used = client->heeded = true;
    client->peer = *peer;
    client->left = left;
}

void client_accept(struct worker *worker, const struct client_arrival *arrival)
{
    struct client *client = make(worker, arrival->fd);
    if (client == NULL) {
        crowd_leave(worker->options.crowd);
        if (arrival->counted)
            crowd_dismiss(worker->options.crowd, arrival->address);
        return;
    }
    begin(worker, client, arrival->proxied ? CLIENT_ARRIVING : CLIENT_HEAD);
    client->counted = arrival->counted;
    arrival_introduce(&client->peer, arrival);
    counters_add(&worker->cells->connections[client->peer.listener], 1);
    client->peer.door = *snapshot_door(worker->snapshot, client->peer.listener);
    client->peer.tls = client->peer.door.tls;
    newcomers_enter(&worker->newcomers, client);
    if (client->state == CLIENT_ARRIVING || start_tls(client))
        pump_later(client); /* its request may be there, or come while others are served */
}

bool client_read_ahead(struct client *client)
{
    struct worker *worker = client->worker;
    while (stream_may_give(&client->stream) && !client->ended && client->in.n < READ_AHEAD_MAX) {
        ssize_t count = inlet_fill(&client->in, &client->stream, worker->buffers, READ_AHEAD_MAX);
        if (count == STREAM_FAILED)
            return false;
        if (count == 0)
            client->ended = true;
        if (count <= 0)
            break;
    }
    return inlet_settle(&client->in, worker->buffers);
}

/* Where the next request has come its answer will be waited for, else only what others are sent in this turn.
 */
static void hold(struct client *client)
{
    if (client_has_asked_again(client)) {
        cork_hold(&client->worker->cork, client);
        return;
    }
    cork_drop(&client->worker->cork, client);
    if (!client->leaves)
        loop_batch(client->worker->loop, &client->leaving);
    client->leaves = true;
}

void client_return(struct client *client, enum client_next next, bool unread)
{
    client->exchange = NULL;
    client->linger = unread;
    if (client->out.corked && next != CLIENT_NEXT_REQUEST) {
        /* Whole answers, whatever has become of the last exchange. */
        outlet_flush(&client->out, client->worker->buffers, &client->stream);
        if (next == CLIENT_NEXT_CUT && outlet_waiting(&client->out) > 0)
            next = CLIENT_NEXT_CLOSE;
    }
    client->next = (uint8_t)next;
    if (next == CLIENT_NEXT_CUT || next == CLIENT_NEXT_RESET)
        outlet_clear(&client->out, client->worker->buffers);
    if (next == CLIENT_NEXT_REQUEST && !stream_watch(&client->stream)) {
        client_close(client, false);
        return;
    }
    newcomers_leave(&client->worker->newcomers, client);
    if (client->out.corked)
        hold(client);
    if (outlet_waiting(&client->out) > 0) {
        enter(client, CLIENT_FLUSHING);
        deadline_set(&client->deadline, LINGER_MS);
    } else if (next == CLIENT_NEXT_REQUEST) {
        await_head(client);
    } else if (next == CLIENT_NEXT_RESET) {
        client_close(client, true);
    } else {
        linger(client);
    }
    pump(client);
}

void client_push(struct client *client)
{
    struct worker *worker = client->worker;
    if (!client->out.corked)
        return;
    enum outlet_result result = outlet_flush(&client->out, worker->buffers, &client->stream);
    if (client->state == CLIENT_EXCHANGE && result == OUTLET_FAILED) {
        exchange_end(client->exchange, &end_client_closed);
    } else if (client->state == CLIENT_HEAD && result == OUTLET_WAITING) {
        client->next = CLIENT_NEXT_REQUEST;
        enter(client, CLIENT_FLUSHING);
        deadline_set(&client->deadline, LINGER_MS);
    } else if (client->state == CLIENT_HEAD && result == OUTLET_FAILED) {
        client_close(client, false);
    }
}

void client_refuse(struct client *client, const struct end *end)
{
    refuse(client, end);
    pump(client);
}

void client_h2_over(struct client *client, bool floods)
{
    client->h2 = NULL;
    client->linger = true;
    client->next = CLIENT_NEXT_CLOSE;
    enter(client, CLIENT_FLUSHING);
    deadline_set(&client->deadline, floods || client_is_leaving(client) ? LINGER_MS : CLIENT_FLUSH_MS);
    pump(client);
}

void client_orphan(struct client *client)
{
    bool leaves = client_is_leaving(client);
    if (client->peer.orphan_ms == 0)
        client->peer.orphan_ms = loop_ms(client->worker->loop);
    if (!leaves && !client_is_stream(client))
        client_stop(client);
}

void client_stop(struct client *client)
{
    bool waits = client->state == CLIENT_HEAD || client->state == CLIENT_ARRIVING;
    if (client->state == CLIENT_HTTP2)
        h2_front_stop(client->h2);
    if (waits)
        deadline_set(&client->deadline, client->worker->grace_ms);
    if (client->state == CLIENT_FLUSHING && deadline_is_set(&client->deadline))
        deadline_set(&client->deadline, LINGER_MS);
    if (client->state == CLIENT_LINGERING)
        linger_at_most(client, LINGER_MS);
}
