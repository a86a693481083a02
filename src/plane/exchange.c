/* The beginning and the end of an exchange, and what it hears in between. Invariant: between exchange_start
 * and exchange_end, and only then, the exchange holds its view, its pool's in-flight cell, and its client. */
#include "plane/exchange.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define SPLICE_TURN (256 * 1024) /* bytes; then others have their turn */

static void timed_out(struct deadline *deadline);
static void drain_is_over(struct deadline *deadline);
static void span_is_over(struct deadline *deadline);
static void patience_is_over(struct deadline *deadline);
static void run_again(struct loop_deferred *deferred);

/* Its deadlines stay in the loop's wheel while it is spare; so starting them anew costs a store. */
static struct exchange *take_spare(struct worker *worker)
{
    struct exchange *x = worker->spare;
    if (x != NULL) {
        worker->spare = x->next;
        return x;
    }
    x = malloc(sizeof *x);
    if (x == NULL)
        return NULL;
    x->worker = worker;
    x->state = EXCHANGE_ENDED;
    deadline_init(&x->deadline, worker->loop, timed_out);
    deadline_init(&x->drain, worker->loop, drain_is_over);
    deadline_init(&x->pacing, worker->loop, span_is_over);
    deadline_init(&x->patience, worker->loop, patience_is_over);
    return x;
}

static void run_freeing(struct loop_deferred *deferred)
{
    struct exchange *x = mem_container(deferred, struct exchange, freeing);
    x->next = x->worker->spare;
    x->worker->spare = x;
}

void exchange_free_spares(struct worker *worker)
{
    struct exchange *x;
    while ((x = worker->spare) != NULL) {
        worker->spare = x->next;
        free(x);
    }
}

void exchange_choose(struct exchange *x, bool choosing)
{
    if (x->choosing == choosing)
        return;
    x->choosing = choosing;
    if (choosing)
        counters_add(&x->cells->choosing, 1);
    else
        counters_sub(&x->cells->choosing, 1);
}

static struct exchange *make(struct client *client)
{
    struct worker *worker = client->worker;
    struct exchange *x = take_spare(worker);
    if (x == NULL)
        return NULL;
    size_t kept = offsetof(struct exchange, worker) + sizeof x->worker;
    mem_clear((char *)x + kept, offsetof(struct exchange, origin) - kept);
    x->state = EXCHANGE_CONNECTING;
    x->client = client;
    x->freeing.run = run_freeing;
    x->running.run = run_again;
    x->asking.run = upload_run;
    client->exchange = x;
    TAILQ_INSERT_TAIL(&worker->exchanges, x, link);
    x->started_ns = loop_ns(worker->loop);
    return x;
}

void exchange_start(struct client *client, const struct http_request *request)
{
    struct exchange *x = make(client);
    if (x == NULL)
        client_return(client, CLIENT_NEXT_CUT, false);
    else
        exchange_resume(x, request);
}

void exchange_resume(struct exchange *x, const struct http_request *request)
{
    struct client *client = x->client;
    const struct end *refused = intake_read(x, request);
    if (client_was_reset(client)) /* in the turn in which it came: it will not be told again */
        refused = &end_client_closed;
    if (refused == &end_paused) {
        refused = mode_wait(x);
        if (refused == NULL)
            return;
    }
    inlet_consume(&client->in, request->length);
    if (client->worker->stopping)
        drain_stopping(x);
    if (refused != NULL)
        exchange_end(x, refused);
    else
        attempt_start(x);
}

static void pump(struct exchange *x)
{
    if (x->state <= EXCHANGE_QUEUED)
        return;
    if (x->state == EXCHANGE_TUNNEL) {
        tunnel_pump(x);
        return;
    }
    if (!upload_is_complete(x))
        upload_pump(x);
    if (!exchange_is_ended(x) && x->lease != NULL && x->state != EXCHANGE_CONNECTING)
        reply_pump(x);
}

void exchange_lease_ready(void *arg)
{
    struct exchange *x = arg;
    if (x->state == EXCHANGE_CONNECTING && !attempt_connected(x))
        return;
    pump(x);
}

/* The end of the answer before, which did not go at once. False: the client is gone. */
static bool flush_before(struct exchange *x)
{
    struct client *client = x->client;
    if (x->state >= EXCHANGE_ASKING || outlet_waiting(&client->out) == 0 ||
        outlet_flush(&client->out, x->worker->buffers, &client->stream) != OUTLET_FAILED)
        return true;
    exchange_end(x, &end_client_closed);
    return false;
}

void exchange_client_ready(struct exchange *x)
{
    if (!flush_before(x))
        return;
    if (x->state == EXCHANGE_PAUSED) {
        mode_client_ready(x);
        return;
    }
    pump(x);
    if (exchange_is_ended(x) || x->state == EXCHANGE_TUNNEL)
        return;
    bool is_over = x->up.body.done && !client_read_ahead(x->client);
    if (is_over || (x->state == EXCHANGE_QUEUED && client_is_gone(x->client)))
        exchange_end(x, &end_client_closed);
}

static void run_again(struct loop_deferred *deferred)
{
    struct exchange *x = mem_container(deferred, struct exchange, running);
    x->again = false;
    if (!exchange_is_ended(x))
        pump(x);
}

void exchange_again(struct exchange *x)
{
    if (x->again)
        return;
    x->again = true;
    loop_defer(x->worker->loop, &x->running);
}

bool exchange_splices_on(struct exchange *x, const struct relay *relay, ssize_t count)
{
    if (count < SPLICE_TURN || relay->done)
        return true;
    exchange_again(x);
    return false;
}

/* Whose turn is it? The client's, if all that it has sent is with the instance, and it is not told to wait.
 */
static const struct end *late(const struct exchange *x)
{
    if (upload_is_complete(x) || exchange_awaits_continue(x) || x->send_failed)
        return &end_first_byte_timeout;
    return relay_waiting(&x->up, &x->request) == 0 ? &end_body_timeout : &end_stall;
}

void exchange_moved(struct exchange *x)
{
    bool is_answers_turn = upload_is_complete(x) || exchange_awaits_continue(x) || x->send_failed;
    bool awaits_byte = x->state <= EXCHANGE_HEARING && is_answers_turn;
    worker_deadline(&x->deadline, awaits_byte ? x->rules->first_byte_ms : x->rules->stall_ms);
}

static void timed_out(struct deadline *deadline)
{
    struct exchange *x = mem_container(deadline, struct exchange, deadline);
    switch ((enum exchange_state)x->state) {
    case EXCHANGE_PAUSED:
        x->retry_after = EXCHANGE_RETRY_AFTER;
        exchange_end(x, &end_pause_timeout);
        break;
    case EXCHANGE_QUEUED:
        x->retry_after = EXCHANGE_RETRY_AFTER;
        exchange_end(x, &end_queue_timeout);
        break;
    case EXCHANGE_LOST:
        attempt_doubt_is_over(x);
        break;
    case EXCHANGE_CONNECTING:
        attempt_timed_out(x);
        break;
    case EXCHANGE_ASKING:
    case EXCHANGE_HEARING:
        exchange_end(x, outlet_waiting(&x->client->out) > 0 ? &end_reader_too_slow : late(x));
        break;
    case EXCHANGE_ANSWERING:
    case EXCHANGE_TUNNEL:
        exchange_end(x, &end_stall);
        break;
    case EXCHANGE_ENDED:
        break;
    }
}

static struct counters_instance *instance_cells(const struct exchange *x)
{
    return counters_instance(x->worker->counters, x->worker->options.index, x->instance.slot);
}

static void drain_is_over(struct deadline *deadline)
{
    struct exchange *x = mem_container(deadline, struct exchange, drain);
    if (!exchange_is_ended(x))
        drain_due(x);
}

static void span_is_over(struct deadline *deadline)
{
    struct exchange *x = mem_container(deadline, struct exchange, pacing);
    if (!exchange_is_ended(x))
        pace_due(x);
}

static void patience_is_over(struct deadline *deadline)
{
    struct exchange *x = mem_container(deadline, struct exchange, patience);
    if (!exchange_is_ended(x))
        patience_end(x);
}

/* Counted before the lease is given back: an instance that is seen idle is also seen to have been cut. */
void exchange_cut(struct exchange *x)
{
    if (x->attempted)
        counters_add(&instance_cells(x)->cut, 1);
    exchange_end(x, &end_drain_deadline);
}

static void understand_accept(struct exchange *x)
{
    if (x->accept_length > 0)
        x->json = http_accept_prefers_json((struct str){x->accept, x->accept_length});
}

/* The client, and what it has been told. */
static enum client_next finish_client(struct exchange *x, const struct end *end)
{
    bool unread = !x->up.body.done;
    if (end->status == 0)
        return x->keep_alive && !unread ? CLIENT_NEXT_REQUEST : CLIENT_NEXT_CLOSE;
    if (end == &end_client_closed)
        return CLIENT_NEXT_CUT;
    if (tunnel_client_is_told(x))
        return CLIENT_NEXT_CLOSE;
    if (x->state >= EXCHANGE_ANSWERING)
        return x->down.out == HTTP_BODY_CLOSE && x->state != EXCHANGE_TUNNEL ? CLIENT_NEXT_RESET
                                                                             : CLIENT_NEXT_CUT;
    bool keep = x->keep_alive && !unread && !client_is_leaving(x->client);
    understand_accept(x);
    struct own_answer own = {.end = end,
                             .minor = x->minor,
                             .head = x->method == HTTP_HEAD,
                             .json = x->json,
                             .grpc = x->grpc,
                             .keep_alive = keep,
                             .retry_after = x->retry_after,
                             .location = x->location,
                             .request_id = {x->id, x->id_length}};
    struct http_variable variables[HEADER_VARIABLES];
    if (x->service != NULL) {
        own.page = mode_page(x, end);
        own.detail = mode_message(x, end);
    }
    own.rules = header_rules_of(x, SNAPSHOT_RESPONSE_HEADERS);
    if (own.rules.n > 0) {
        header_rules_variables(x, STR(""), variables);
        own.variables = variables;
    }
    size_t sent = client_answer(x->client, &own);
    x->head_out += sent;
    if (sent == 0)
        return CLIENT_NEXT_CUT;
    return keep ? CLIENT_NEXT_REQUEST : CLIENT_NEXT_CLOSE;
}

void exchange_count_error(struct exchange *x, const struct end *end)
{
    if (end->error == END_NO_ERROR)
        return;
    counters_add(&x->cells->errors[end->error], 1);
    if (x->attempted)
        counters_add(&instance_cells(x)->errors, 1);
}

static void count(struct exchange *x, const struct end *end, uint64_t duration_ns)
{
    if (x->cells == NULL) {
        counters_add(&x->worker->cells->refused[counters_refused(x->status)], 1);
        return;
    }
    struct counters_pool *cells = x->cells;
    uint64_t us = duration_ns / 1000;
    counters_add(&cells->requests, 1);
    counters_add(&cells->duration_us, us);
    counters_add(&cells->buckets[counters_bucket(us)], 1);
    counters_add(&cells->codes[x->status - COUNTERS_CODE_MIN], 1);
    counters_add(&x->worker->cells->ended[snapshot_pool_slot(x->pool) / COUNTERS_GROUP], 1);
    if (x->attempted)
        counters_add(&instance_cells(x)->requests, 1);
    /* A failure to connect was counted when it happened. */
    if (end != x->trouble || !x->faulted)
        exchange_count_error(x, end);
}

/* Whose fault is an end before the head of an answer? */
static enum verdict verdict_of(const struct end *end)
{
    return end->error != END_NO_ERROR ? VERDICT_FAILED : VERDICT_UNDECIDED;
}

static void release_lease(struct exchange *x, const struct end *end)
{
    if (x->lease == NULL)
        return;
    bool keep = end == &end_done && x->keep_lease && upload_is_complete(x) && (!x->draining || x->pinned);
    attempt_release(x, keep ? x->rules->upstream_idle_ms : 0,
                    end->status != 0 && x->state != EXCHANGE_TUNNEL);
}

void exchange_end(struct exchange *x, const struct end *end)
{
    struct worker *worker = x->worker;
    assert(!exchange_is_ended(x));
    if (queue_is_waiting(&x->place))
        queue_leave(&x->place);
    if (x->state == EXCHANGE_PAUSED)
        mode_leave(x);
    enum client_next next = finish_client(x, end);
    if (x->status == 0)
        x->status = end->status;
    attempt_judge(x, verdict_of(end));
    if (deadline_is_set(&x->patience))
        patience_end(x);
    if (end == &end_closed_early && x->state >= EXCHANGE_HEARING)
        attempt_note_cut(x);
    release_lease(x, end);
    if (x->mirror != NULL)
        mirror_drop(x);
    bool unread = !x->up.body.done;
    exchange_choose(x, false);
    x->state = EXCHANGE_ENDED;
    uint64_t duration_ns = loop_ns(worker->loop) - x->started_ns;
    count(x, end, duration_ns - x->waited_ns);
    if (x->texts.buffer != NULL) {
        entry_write(x, end, duration_ns);
    }
    outlet_clear(&x->request, worker->buffers);
    relay_drop(&x->up, &worker->tools);
    relay_drop(&x->down, &worker->tools);
    if (deadline_is_set(&x->drain))
        deadline_clear(&x->drain);
    if (deadline_is_set(&x->pacing))
        deadline_clear(&x->pacing);
    if (x->class != EXCHANGE_IS_REQUEST)
        counters_sub(drain_cell(x), 1);
    if (x->cells != NULL)
        counters_sub(&x->cells->in_flight, 1);
    view_release(x->view, worker->options.index);
    if (x->later != NULL)
        view_release(x->later, worker->options.index);
    TAILQ_REMOVE(&worker->exchanges, x, link);
    loop_defer(worker->loop, &x->freeing);
    client_return(x->client, next, unread);
}
