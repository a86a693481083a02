/* Which instance a request goes to, and what happens when it does not serve. Invariant: an instance is
 * connected to at most once for a request, unless a kept connection to it has just turned out closed; and a
 * request is sent again only where nobody can have acted on it, or may act on it twice (CONTRACT.md,
 * "Proxying"). */
#include "plane/exchange.h"

#include <errno.h>

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
        return &end_connect_refused;
    case ETIMEDOUT:
        return &end_connect_timeout;
    default:
        return &end_connect_failed;
    }
}

/* Remembers why the chosen instance did not serve. True: another one may. */
static bool may_go_on(struct exchange *x, const struct end *trouble)
{
    x->trouble = trouble;
    exchange_count_error(x, trouble);
    return balance_exclude(&x->wish.tried, x->instance.slot) && trouble != &end_overloaded;
}

/* Gets a connection to the chosen instance. */
static bool lease(struct exchange *x, bool fresh)
{
    struct lending lending = {.fresh = fresh,
                              .sure = !http_method_is_idempotent((enum http_method)x->method),
                              .ready = exchange_lease_ready,
                              .arg = x};
    struct upstream *upstream = upstream_of(x->worker->upstreams, &x->instance);
    if (x->rules->proxy_protocol != 0)
        lending.owner = (struct connection_owner){peer_ends(&x->client->peer), x->rules->proxy_protocol};
    if (upstream == NULL)
        errno = ENOMEM;
    else
        x->lease = upstream_lend(upstream, &x->instance, &lending);
    return x->lease != NULL;
}

static void use_lease(struct exchange *x)
{
    if (x->lease->state == CONNECTION_CONNECTING) {
        x->state = EXCHANGE_CONNECTING;
        worker_deadline(&x->deadline, x->rules->connect_ms);
    } else {
        x->state = EXCHANGE_ASKING;
        upload_pump(x);
    }
}

static void count_retry(struct exchange *x)
{
    x->retries++;
    counters_add(&x->cells->retries, 1);
}

static bool choose(struct exchange *x)
{
    return balance_pick(&x->worker->balance, x->view->snapshot, x->pool, &x->wish, &x->instance);
}

void attempt_start(struct exchange *x)
{
    while (choose(x)) {
        x->attempted = true;
        if (x->trouble != NULL)
            count_retry(x);
        if (lease(x, false)) {
            use_lease(x);
            return;
        }
        if (!may_go_on(x, trouble_of(errno)))
            break;
    }
    exchange_end(x, x->trouble != NULL ? x->trouble : &end_no_instance);
}

static void give_up_lease(struct exchange *x)
{
    connection_release(x->lease, 0, false);
    x->lease = NULL;
}

static void connect_failed(struct exchange *x, const struct end *trouble)
{
    give_up_lease(x);
    if (may_go_on(x, trouble))
        attempt_start(x);
    else
        exchange_end(x, trouble);
}

bool attempt_connected(struct exchange *x)
{
    int error = connection_check(x->lease);
    if (error == 0)
        x->state = EXCHANGE_ASKING;
    else if (error != EINPROGRESS)
        connect_failed(x, trouble_of(error));
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
    return x->lease->kept && x->request.hold &&
           (unseen || http_method_is_idempotent((enum http_method)x->method));
}

void attempt_lost(struct exchange *x)
{
    if (!may_repeat(x)) {
        exchange_end(x, &end_closed_early);
        return;
    }
    give_up_lease(x);
    outlet_rewind(&x->request);
    x->send_failed = false;
    count_retry(x);
    if (lease(x, true))
        use_lease(x);
    else if (may_go_on(x, trouble_of(errno)))
        attempt_start(x);
    else
        exchange_end(x, x->trouble);
}
