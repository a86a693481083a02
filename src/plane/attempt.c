/* Which instance a request goes to, and what happens when it does not serve. Invariant: an instance is
 * connected to at most once for a request, unless a kept connection to it has just turned out closed; and a
 * request is sent again only where nobody can have acted on it, or may act on it twice (CONTRACT.md,
 * "Proxying"). */
#include "plane/exchange.h"

#include "base/mem.h"
#include "plane/h2_back.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REFUSALS_MAX 3
#define HOLDS_MAX 4   /* instances whose last place others may take at the same time */
#define DYING_MS 1000 /* how long after a kept connection was lost an instance may be going */
#define DOUBT_MS 50   /* within which a process that is killed loses all its connections */

static const struct end *trouble_of(int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL:
        return &end_overloaded; /* our own means are used up: another instance would not help */
    case ECONNREFUSED:
    case ENOENT: /* of a Unix socket */
        return &end_connect_refused;
    case ETIMEDOUT:
        return &end_connect_timeout;
    case EPROTONOSUPPORT:
        return &end_no_tunnels;
    default:
        return &end_connect_failed;
    }
}

bool attempt_is_ours(int error)
{
    return trouble_of(error) == &end_overloaded;
}

void attempt_give_verdict(struct exchange *x, enum verdict verdict)
{
    struct vitals *vitals = &x->worker->vitals;
    if (x->judged || !x->attempted)
        return;
    x->judged = true;
    uint64_t now_ms = loop_ms(x->worker->loop);
    switch (verdict) {
    case VERDICT_PASSED:
        vitals_passed(vitals, &x->instance, now_ms);
        break;
    case VERDICT_FAILED:
        vitals_failed(vitals, x->rules, exchange_choices(x), x->pool, &x->instance, now_ms);
        break;
    case VERDICT_UNDECIDED:
        vitals_undecided(vitals, &x->instance);
        break;
    }
}

/* May the request go to one more instance? One that is not there, or has refused to look at it, has done
 * nothing for it, so to ask another is no load that was not there, and costs nothing of the budget. */
static bool may_retry(struct exchange *x)
{
    if (x->wish.tried.count > x->rules->retries_attempts)
        return false;
    if (x->trouble == &end_connect_refused || x->trouble == &end_refused)
        return true;
    struct worker *worker = x->worker;
    struct budget *budget = &worker->budgets[snapshot_pool_slot(x->pool)];
    if (budget_take(budget, x->cells->requests, x->rules->retries_budget, loop_ms(worker->loop)))
        return true;
    counters_add(&x->cells->retries_denied, 1);
    return false;
}

/* Nothing listens there any more. */
static void note_refusal(const struct exchange *x)
{
    struct upstream *upstream = upstream_of(x->worker->upstreams, &x->instance);
    if (upstream != NULL)
        upstream_note_loss(upstream, true);
}

/* Others need not find out the same, one by one, until its checks do. But where failures eject, or a new
 * release is judged by them, they are to be counted. */
static void note_unreachable(const struct exchange *x)
{
    struct worker *worker = x->worker;
    if (!x->wish.guarded && !x->rules->judged)
        balance_shun(&worker->balance, &x->instance, loop_ms(worker->loop));
}

/* Remembers why the chosen instance did not serve. True: another one may. */
static bool may_go_on(struct exchange *x, const struct end *trouble)
{
    x->trouble = trouble;
    if (trouble == &end_connect_refused)
        note_refusal(x);
    exchange_count_error(x, trouble);
    x->faulted = true;
    bool undecided = trouble == &end_overloaded || trouble == &end_no_tunnels;
    if (!undecided && trouble != &end_closed_early)
        note_unreachable(x);
    attempt_judge(x, undecided ? VERDICT_UNDECIDED : VERDICT_FAILED);
    return balance_exclude(&x->wish.tried, x->instance.slot) && trouble != &end_overloaded && may_retry(x);
}

/* What neither a word nor a counter tells, such as a Unix socket that the proxy's user may not write to. */
static const struct end *trouble(struct exchange *x, int error)
{
    const struct end *end = trouble_of(error);
    if (end == &end_connect_failed) {
        char why[128];
        snprintf(why, sizeof why, "cannot be connected to: %s", strerror(error));
        worker_complain(x->worker, snapshot_service_name(x->view->snapshot, x->service), x->instance.name,
                        why);
    }
    return end;
}

static const struct end *tls_trouble(struct exchange *x)
{
    const struct upstream_tls_failure *failure = &x->lease->upstream->failure;
    char why[sizeof failure->why + 32];
    snprintf(why, sizeof why, "%s: %s",
             failure->unverified ? "is not believed" : "cannot be spoken to by TLS", failure->why);
    worker_complain(x->worker, snapshot_service_name(x->view->snapshot, x->service), x->instance.name, why);
    return failure->unverified ? &end_tls_unverified : &end_tls_failed;
}

static struct counters_instance *cells_of(const struct exchange *x)
{
    return counters_instance(x->worker->counters, x->worker->options.index, x->instance.slot);
}

/* Takes a place at the chosen instance before the connection. Who has raised its cell then sees every other
 * worker's that was raised before, so two that come at once may both give way, and never both stay. */
static bool hold(const struct exchange *x)
{
    if (x->wish.most == 0)
        return true;
    uint64_t *cell = &cells_of(x)->in_flight;
    counters_add(cell, 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (counters_instance_in_flight(x->worker->counters, x->instance.slot) <= x->wish.most)
        return true;
    counters_sub(cell, 1);
    return false;
}

static bool use_tls(const struct exchange *x, struct lending *lending)
{
    struct str service = snapshot_service_name(x->view->snapshot, x->service);
    return lending_use_tls(lending, x->later != NULL ? x->later : x->view, service, x->instance.name);
}

static bool is_idempotent(const struct exchange *x)
{
    return http_method_is_idempotent((enum http_method)x->method);
}

/* May it be, or become, longer than what is kept to be sent again? */
static bool may_outgrow_hold(const struct exchange *x)
{
    const struct http_body *body = &x->up.body;
    return !body->done &&
           (body->framing != HTTP_BODY_LENGTH || body->left + x->request.end > OUTLET_HOLD_MAX);
}

/* Gets a connection to the chosen instance, where it holds a place. */
static bool lease(struct exchange *x, bool fresh)
{
    struct lending lending = {.fresh = fresh,
                              .held = x->wish.most != 0,
                              .sure = may_outgrow_hold(x) || !is_idempotent(x),
                              .ready = exchange_lease_ready,
                              .arg = x};
    struct upstream *upstream = upstream_of(x->worker->upstreams, &x->instance);
    const struct snapshot_rules *speech = x->speech;
    if (speech->h2) {
        lending.h2 = x->worker;
        lending.tunnel = x->upgrade;
    }
    if (speech->proxy_protocol != 0)
        lending.owner = (struct connection_owner){peer_ends(&x->client->peer), speech->proxy_protocol};
    if (speech->tls && !use_tls(x, &lending))
        errno = EPROTO;
    else if (upstream == NULL)
        errno = ENOMEM;
    else
        x->lease = upstream_lend(upstream, &x->instance, &lending);
    if (x->lease == NULL && lending.held)
        counters_sub(&cells_of(x)->in_flight, 1);
    return x->lease != NULL;
}

static void use_lease(struct exchange *x)
{
    if (x->lease->state == CONNECTION_CONNECTING) {
        x->state = EXCHANGE_CONNECTING;
        worker_deadline(&x->deadline, x->rules->connect_ms);
    } else {
        x->state = EXCHANGE_ASKING;
        exchange_choose(x, false);
        upload_start(x);
    }
}

static void count_retry(struct exchange *x)
{
    x->retries++;
    counters_add(&x->cells->retries, 1);
}

enum choice { CHOSEN, ALL_FULL, NONE };

/* Would one serve that has no room? */
static bool is_full(const struct exchange *x)
{
    struct balance_wish unlimited = x->wish;
    struct snapshot_instance instance;
    unlimited.most = 0;
    return x->wish.most != 0 &&
           balance_pick(&x->worker->balance, exchange_choices(x), x->pool, &unlimited, &instance);
}

static enum choice choose(struct exchange *x)
{
    struct worker *worker = x->worker;
    const struct snapshot *snapshot = exchange_choices(x);
    if (snapshot != worker->snapshot) {
        intake_catch_up(x);
        snapshot = exchange_choices(x);
    }
    if (x->wish.guarded || x->wish.slow_start_ms > 0 || worker->balance.shuns_until_ms != 0)
        x->wish.now_ms = loop_ms(worker->loop);
    unsigned holds = 0;
    do {
        if (!balance_pick(&worker->balance, snapshot, x->pool, &x->wish, &x->instance))
            return is_full(x) ? ALL_FULL : NONE;
        if (holds++ == HOLDS_MAX)
            return ALL_FULL;
    } while (!hold(x));
    x->judged = x->faulted = false;
    if (x->wish.guarded)
        vitals_chosen(&worker->vitals, &x->instance, x->wish.now_ms);
    return CHOSEN;
}

/* Where the pool is an old one, the live one can still serve: all that was sent is here, and was not
 * answered. */
static void give_up(struct exchange *x)
{
    if (x->trouble != &end_overloaded && sticky_unpin(x))
        attempt_start(x);
    else
        exchange_end(x, x->trouble != NULL ? x->trouble : &end_no_instance);
}

static void await_room(struct exchange *x)
{
    if (client_is_gone(x->client)) {
        exchange_end(x, &end_client_closed);
    } else if (queue_join(x->worker->queue, snapshot_pool_slot(x->pool), &x->place, x->rules->queue_most)) {
        x->state = EXCHANGE_QUEUED;
        worker_deadline(&x->deadline, x->rules->queue_timeout_ms);
    } else {
        x->retry_after = EXCHANGE_RETRY_AFTER;
        exchange_end(x, &end_queue_full);
    }
}

/* Goes to the chosen instance, and to others while that fails. */
static void go(struct exchange *x, enum choice choice)
{
    for (; choice == CHOSEN; choice = choose(x)) {
        x->attempted = true;
        if (x->trouble != NULL)
            count_retry(x);
        if (lease(x, false)) {
            use_lease(x);
            return;
        }
        if (!may_go_on(x, trouble(x, errno))) {
            choice = NONE;
            break;
        }
    }
    if (choice == ALL_FULL)
        await_room(x);
    else
        give_up(x);
}

void attempt_start(struct exchange *x)
{
    bool is_new = x->wish.most != 0 && x->trouble == NULL;
    if (is_new && queue_is_used(x->worker->queue, snapshot_pool_slot(x->pool)))
        await_room(x);
    else
        go(x, choose(x));
}

bool attempt_serve(struct queue_place *place)
{
    struct exchange *x = mem_container(place, struct exchange, place);
    enum choice choice = choose(x);
    if (choice == ALL_FULL)
        return false;
    queue_leave(place);
    deadline_clear(&x->deadline);
    go(x, choice);
    return true;
}

void attempt_release(struct exchange *x, uint32_t keep_ms, bool reset)
{
    connection_release(x->lease, keep_ms, reset);
    x->lease = NULL;
    if (x->wish.most != 0)
        queue_returned(x->worker->queue, snapshot_pool_slot(x->pool));
}

static void give_up_lease(struct exchange *x)
{
    exchange_choose(x, true);
    attempt_release(x, 0, false);
}

/* The chosen instance has nothing of the request. */
static void go_elsewhere(struct exchange *x, const struct end *trouble)
{
    if (may_go_on(x, trouble))
        attempt_start(x);
    else
        give_up(x);
}

static void connect_failed(struct exchange *x, const struct end *trouble)
{
    give_up_lease(x);
    go_elsewhere(x, trouble);
}

bool attempt_connected(struct exchange *x)
{
    int error = connection_check(x->lease);
    if (error == 0) {
        x->state = EXCHANGE_ASKING;
        exchange_choose(x, false);
    } else if (error != EINPROGRESS) {
        connect_failed(x, x->speech->tls && error == EPROTO ? tls_trouble(x) : trouble(x, error));
    }
    return error == 0;
}

void attempt_timed_out(struct exchange *x)
{
    connect_failed(x, &end_connect_timeout);
}

/* May the request be sent once more? Only a kept connection can have been closed before the request came. */
static bool may_repeat(const struct exchange *x)
{
    bool unseen = x->request.sent == 0;
    return x->lease->kept && x->request.hold && (unseen || is_idempotent(x));
}

static void take_back(struct exchange *x)
{
    x->pace.instance_waited_for = true;
    give_up_lease(x);
    outlet_rewind(&x->request);
    x->send_failed = false;
}

/* A process that is being killed loses its connections one after the other, and may still accept those that
 * take their place and lose them too. */
static bool is_going(const struct exchange *x)
{
    const struct upstream *upstream = x->lease->upstream;
    uint64_t now_ms = loop_ms(x->worker->loop);
    return (upstream->lost_ms != 0 && now_ms - upstream->lost_ms <= DYING_MS) ||
           (upstream->spurned_ms != 0 && now_ms - upstream->spurned_ms <= 2 * DOUBT_MS);
}

static void leave(struct exchange *x)
{
    take_back(x);
    if (may_go_on(x, &end_closed_early))
        attempt_start(x);
    else
        exchange_end(x, &end_closed_early);
}

/* Is there another instance for it that may serve, as far as can be told, or another pool? */
static bool may_find_another(const struct exchange *x)
{
    struct balance_wish others = x->wish;
    struct snapshot_instance instance;
    if (x->wish.tried.count >= x->rules->retries_attempts)
        return false;
    if (x->pinned || x->canary)
        return true;
    others.most = 0; /* it may be waited for */
    return balance_exclude(&others.tried, x->instance.slot) &&
           balance_pick(&x->worker->balance, exchange_choices(x), x->pool, &others, &instance);
}

/* What has closed the connection may have been the request itself; or the instance is going, and then others
 * are closed too, which may be heard of later. */
static void doubt(struct exchange *x)
{
    attempt_judge(x, VERDICT_FAILED);
    x->state = EXCHANGE_LOST;
    x->losses = x->lease->upstream->losses;
    x->pace.instance_waited_for = true;
    deadline_set(&x->deadline, DOUBT_MS);
}

static enum h2_fault fault_of(const struct exchange *x)
{
    return x->lease->h2 ? h2_back_fault(x->lease) : H2_NO_FAULT;
}

static const struct end *why_lost(const struct exchange *x)
{
    if (connection_was_refused(x->lease))
        return &end_refused;
    switch (fault_of(x)) {
    case H2_NO_FAULT:
        return &end_closed_early;
    case H2_HEAD_TOO_LARGE:
        return &end_head_too_large;
    case H2_OURS:
        return &end_overloaded;
    case H2_FAULT_BESIDE:
    case H2_MALFORMED:
        break;
    }
    return &end_bad_response;
}

/* Over HTTP/2 the word does not tell what was malformed, so that the log has to say where to look. */
void attempt_end_lost(struct exchange *x)
{
    if (fault_of(x) == H2_MALFORMED)
        worker_complain(
            x->worker, snapshot_service_name(x->view->snapshot, x->service), x->instance.name,
            "has answered with malformed HTTP/2: without :status, with a field that is not allowed there "
            "such as connection, or with another length than announced, for example; it is to be mended "
            "in the app or its server");
    exchange_end(x, why_lost(x));
}

/* The request may not be sent there again. Over HTTP/2 others may have lost the same connection. */
static void lost_for_good(struct exchange *x)
{
    bool may_leave = x->request.hold && is_idempotent(x), going = is_going(x), h2 = x->lease->h2;
    if (!h2)
        upstream_note_loss(x->lease->upstream, x->lease->kept);
    if (may_leave && going)
        leave(x);
    else if (may_leave && !h2 && may_find_another(x))
        doubt(x);
    else
        attempt_end_lost(x);
}

void attempt_note_cut(const struct exchange *x)
{
    if (x->lease != NULL && !x->lease->h2)
        upstream_note_loss(x->lease->upstream, false);
}

void attempt_doubt_is_over(struct exchange *x)
{
    if (x->losses != x->lease->upstream->losses)
        leave(x);
    else
        exchange_end(x, &end_closed_early);
}

/* The instance has not looked at it: no harm is done by asking once more, whatever the method. */
static bool was_refused(const struct exchange *x)
{
    return x->request.hold && connection_was_refused(x->lease);
}

/* A connection that has served may have been at its end. One that has brought no answer yet speaks for the
 * instance, which is left alone then, if there is another. */
static bool is_refused_for_good(const struct exchange *x)
{
    return x->retries >= REFUSALS_MAX || (connection_refuses_all(x->lease) && may_find_another(x));
}

void attempt_lost(struct exchange *x)
{
    if (tls_is_refused(&x->lease->stream)) {
        upstream_note_failure(x->lease->upstream, &x->lease->stream);
        exchange_end(x, tls_trouble(x));
        return;
    }
    if (fault_of(x) >= H2_MALFORMED) {
        attempt_end_lost(x); /* it was answered */
        return;
    }
    bool refused = was_refused(x);
    if (refused && is_refused_for_good(x)) {
        take_back(x);
        go_elsewhere(x, &end_refused);
        return;
    }
    if (!refused && !may_repeat(x)) {
        lost_for_good(x);
        return;
    }
    if (!refused)
        upstream_note_loss(x->lease->upstream, true);
    if (x->wish.most != 0)
        counters_add(&cells_of(x)->in_flight, 1); /* the place stays taken */
    take_back(x);
    count_retry(x);
    if (lease(x, !refused))
        use_lease(x);
    else if (may_go_on(x, trouble(x, errno)))
        attempt_start(x);
    else
        exchange_end(x, x->trouble);
}
