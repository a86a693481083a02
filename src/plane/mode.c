/* What the mode of a service does with its requests. Invariant: a request that is stopped here has no pool,
 * so it counts for none and no release is judged by it; one that waits keeps its head in the client's inlet,
 * and is read anew in the world in which it is let go. */
#include "plane/exchange.h"

#include "base/mem.h"

/* But who looks at the staged pool is among those who work on it; so it is in a pause. */
static const struct end *turn_away(const struct exchange *x, const struct http_request *request)
{
    if (snapshot_service_allows(x->view->snapshot, x->service, x->peer->address) ||
        sticky_is_preview(x, request))
        return NULL;
    return &end_maintenance;
}

/* Is this a path whose requests never wait? */
static bool passes(const struct exchange *x, const struct http_request *request, uint32_t prefix)
{
    struct str paths = snapshot_service_text(x->view->snapshot, x->service, SNAPSHOT_PASS), path;
    struct str asked = request->path;
    if (x->rules->strip_path)
        asked = asked.n == prefix ? STR("/") : (struct str){asked.p + prefix, asked.n - prefix};
    while (str_split(&paths, '\n', &path)) {
        if (path.n > 0 && str_equal(path, asked))
            return true;
    }
    return false;
}

const struct end *mode_stops(struct exchange *x, const struct http_request *request, uint32_t prefix)
{
    if (x->rules->mode == SNAPSHOT_MAINTENANCE)
        return turn_away(x, request);
    struct str service = snapshot_service_name(x->view->snapshot, x->service);
    bool waits = !x->waited && pause_holds(&x->worker->pause, service, x->rules);
    bool goes_on = !waits || passes(x, request, prefix) || sticky_is_preview(x, request);
    return goes_on ? NULL : &end_paused;
}

/* A stream of HTTP/2 may hold a window of its body beside its head. */
static uint32_t bytes_of(const struct exchange *x)
{
    uint32_t window = client_is_stream(x->client) && !x->up.body.done ? x->worker->settings->http2.window : 0;
    return (uint32_t)x->client->in.n + window;
}

/* Nothing is read meanwhile. An end and a reset are told in any case. */
static void look_away(struct exchange *x)
{
    if (x->client->stream.fd >= 0)
        x->client->stream.readable = false;
}

static void look_again(struct exchange *x)
{
    if (x->client->stream.fd >= 0)
        x->client->stream.readable = true;
}

void mode_client_ready(struct exchange *x)
{
    if (client_is_gone(x->client))
        exchange_end(x, &end_client_closed);
    else
        look_away(x);
}

static bool is_shutting_down(const struct worker *worker)
{
    return worker->stopping && !worker->finishing;
}

const struct end *mode_wait(struct exchange *x)
{
    struct str service = snapshot_service_name(x->view->snapshot, x->service);
    if (is_shutting_down(x->worker))
        return &end_shutting_down;
    if (client_is_gone(x->client))
        return &end_client_closed;
    if (!pause_join(&x->worker->pause, service, x->rules, &x->pause, bytes_of(x))) {
        x->retry_after = EXCHANGE_RETRY_AFTER;
        return &end_pause_full;
    }
    look_away(x);
    x->state = EXCHANGE_PAUSED;
    worker_deadline(&x->deadline, x->rules->pause.longest_ms);
    return NULL;
}

void mode_leave(struct exchange *x)
{
    if (pause_is_waiting(&x->pause))
        pause_leave(&x->pause);
    look_again(x);
    inlet_consume(&x->client->in, x->head_in);
}

/* The limits of heads may have changed meanwhile. */
static bool read_again(struct exchange *x, struct http_fault *fault)
{
    struct worker *worker = x->worker;
    size_t seen = 0;
    *fault = (struct http_fault){.reason = end_overloaded.word, .status = end_overloaded.status};
    return http_request_parse(&worker->request, x->client->in.p, x->client->in.n, &seen, &worker->limits,
                              fault) == HTTP_DONE;
}

void mode_go(struct pause_place *place)
{
    struct exchange *x = mem_container(place, struct exchange, pause);
    struct http_fault fault;
    deadline_clear(&x->deadline);
    if (is_shutting_down(x->worker)) {
        exchange_end(x, &end_shutting_down);
    } else if (!read_again(x, &fault)) {
        x->keep_alive = false;
        exchange_end(x, &(struct end){fault.reason, fault.status, END_NO_ERROR});
    } else {
        look_again(x);
        x->state = EXCHANGE_CONNECTING;
        x->waited = true;
        x->waited_ns = loop_ns(x->worker->loop) - x->started_ns;
        x->stopped = NULL;
        view_release(x->view, x->worker->options.index);
        exchange_resume(x, &x->worker->request);
    }
}

struct str mode_page(const struct exchange *x, const struct end *end)
{
    const struct snapshot *snapshot = x->view->snapshot;
    struct str page = STR("");
    if (end == &end_maintenance)
        page = snapshot_service_page(snapshot, x->service, SNAPSHOT_PAGE_MAINTENANCE, x->json);
    return page.n > 0 ? page : snapshot_service_page(snapshot, x->service, end->status, x->json);
}

/* The word's own sentence is of the live pool. */
static struct str no_instance_message(const struct exchange *x)
{
    if (x->preview)
        return STR("No instance of the staged pool is up.");
    if (x->canary)
        return STR("No instance of the canary is up.");
    return x->pinned ? STR("No instance of the pool that this session is pinned to is up.") : STR("");
}

struct str mode_message(const struct exchange *x, const struct end *end)
{
    if (end == &end_no_instance)
        return no_instance_message(x);
    return end == &end_maintenance ? snapshot_service_text(x->view->snapshot, x->service, SNAPSHOT_MESSAGE)
                                   : STR("");
}
