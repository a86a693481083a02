/* What is taken from a request's head: everything that needs its bytes. Invariant: nothing is sent here, and
 * but for where a redirect leads, nothing of the exchange points into the head afterwards. */
#include "plane/exchange.h"

#include "base/clock.h"
#include "base/mem.h"
#include "io/tls.h"

#include <assert.h>

static void name_certificate(const struct peer *peer, struct http_forward *how)
{
    const struct tls_identity *identity = peer->identity;
    if (!peer->asked)
        return;
    how->client_verify = identity == NULL ? STR("NONE") : STR("SUCCESS");
    if (identity == NULL)
        return;
    how->client_subject = str_of(identity->subject);
    how->client_fingerprint = str_of(identity->fingerprint);
}

/* Which trace it is of. One that begins here has the id of its first request, where that was given here. */
static void trace(struct exchange *x, const struct http_request *request, struct http_forward *how, bool own,
                  char parent[HTTP_TRACEPARENT_SIZE])
{
    uint8_t rule = x->rules != NULL ? x->rules->trace : SNAPSHOT_TRACE_PASS;
    struct str id = STR("");
    if (rule != SNAPSHOT_TRACE_TRUSTED || how->trusted)
        id = http_trace_id(&request->fields);
    how->traced = x->traced = id.n > 0;
    if (how->traced) {
        memcpy(x->trace, id.p, sizeof x->trace);
        return;
    }
    if (rule == SNAPSHOT_TRACE_PASS)
        return;
    char span[RANDOM_ID_SIZE / 2];
    random_half_id(&x->worker->random, span);
    if (own)
        memcpy(x->trace, x->id, sizeof x->trace);
    else
        random_id(&x->worker->random, x->trace);
    x->traced = true;
    how->trace = http_trace_begin(x->trace, span, parent);
}

/* What upswap tells the instance about the client; a trusted proxy's id for the request is kept. */
static void name(struct exchange *x, const struct http_request *request, struct http_forward *how,
                 char parent[HTTP_TRACEPARENT_SIZE])
{
    struct client *client = x->client;
    char own[RANDOM_ID_SIZE];
    random_id(&x->worker->random, own);
    mem_clear(how, sizeof *how);
    how->client = peer_text(&client->peer);
    how->proto = client->peer.tls ? STR("https") : STR("http");
    how->port = peer_port(&client->peer);
    how->request_id = (struct str){own, sizeof own};
    how->trusted = snapshot_trusts(x->view->snapshot, client->peer.address);
    how->framing = request->framing;
    how->keep_alive = true;
    how->http2 = client_is_stream(client);
    name_certificate(&client->peer, how);
    struct str id = http_forward_request_id(request, how);
    assert(id.n <= sizeof x->id);
    memcpy(x->id, id.p, id.n);
    x->id_length = (uint8_t)id.n;
    how->request_id = (struct str){x->id, id.n};
    trace(x, request, how, id.p == own, parent);
    x->https = http_forward_is_https(request, how);
}

/* Only in the world of this turn it is known whether the listener of that id is still the client's own. */
static void look_at_door(struct peer *peer, const struct snapshot *snapshot, const struct worker *worker)
{
    const struct snapshot_door *door =
        peer->orphan_ms != 0 || snapshot != worker->snapshot ? NULL : snapshot_door(snapshot, peer->listener);
    if (door != NULL)
        peer->door = *door;
}

/* Before any return to the loop: who sees that this worker has left a world also sees what it still does in
 * it. */
static void hold_world(struct exchange *x, const struct http_request *request, uint32_t *prefix)
{
    struct worker *worker = x->worker;
    x->view = publisher_take(worker->options.publisher, worker->options.index);
    const struct snapshot *snapshot = x->view->snapshot;
    look_at_door(&x->client->peer, snapshot, worker);
    x->peer = origin_of(snapshot, request, &x->client->peer, &x->origin);
    struct str path = request->form == HTTP_TARGET_ASTERISK ? STR("/") : request->path;
    x->service = snapshot_match(snapshot, request->host, path, prefix);
    if (x->service == NULL)
        return;
    x->rules = x->speech = snapshot_service_rules(x->service);
    x->wish.how = (enum snapshot_balance)x->rules->balance;
    x->wish.guarded = x->rules->ejection_failures > 0;
    x->wish.slow_start_ms = x->rules->slow_start_ms;
    x->wish.most = x->rules->concurrency_per_instance;
    if (x->rules->mode != SNAPSHOT_SERVING || pause_is_used(&worker->pause))
        x->stopped = mode_stops(x, request, *prefix);
    if (x->stopped != NULL)
        return;
    x->pool = snapshot_service_live(snapshot, x->service);
    sticky_pool(x, request);
    if (x->pool == NULL)
        return;
    x->cells = counters_pool(worker->counters, worker->options.index, snapshot_pool_slot(x->pool));
    counters_add(&x->cells->in_flight, 1);
    exchange_choose(x, true);
}

/* The instance that it has asked, in another world's pool. */
static bool find_asked(const struct exchange *x, const struct snapshot *snapshot,
                       const struct snapshot_pool *pool, struct snapshot_instance *asked)
{
    for (size_t i = 0; i < snapshot_pool_size(pool); i++) {
        *asked = snapshot_pool_instance(snapshot, pool, i);
        if (asked->slot == x->instance.slot)
            return true;
    }
    return false;
}

/* Its service as that world has it. */
static const struct snapshot_service *find_service(const struct exchange *x, const struct snapshot *snapshot)
{
    const struct snapshot *own = x->view->snapshot;
    return snapshot_service_named(snapshot, snapshot_service_name(own, x->service),
                                  snapshot_service_index(own, x->service));
}

const struct snapshot_service *intake_service(const struct exchange *x)
{
    return find_service(x, exchange_choices(x));
}

/* False: its pool, or the instance that it has asked, is not of that world. */
static bool choose_in(struct exchange *x, struct view *view)
{
    const struct snapshot *snapshot = view->snapshot;
    struct snapshot_instance asked;
    const struct snapshot_service *service = find_service(x, snapshot);
    const struct snapshot_pool *pool =
        service == NULL ? NULL : snapshot_service_pool(snapshot, service, snapshot_pool_number(x->pool));
    if (pool == NULL || snapshot_pool_slot(pool) != snapshot_pool_slot(x->pool) ||
        (x->attempted && !find_asked(x, snapshot, pool, &asked)))
        return false;
    if (x->attempted)
        x->instance = asked;
    x->pool = pool;
    x->speech = snapshot_service_rules(service);
    x->wish.most = x->speech->concurrency_per_instance;
    return true;
}

void intake_catch_up(struct exchange *x)
{
    struct worker *worker = x->worker;
    uint64_t version = snapshot_version(worker->snapshot);
    if (x->looked_at == version)
        return;
    x->looked_at = version;
    struct view *view = publisher_take(worker->options.publisher, worker->options.index), *before = view;
    if (view->snapshot == worker->snapshot && choose_in(x, view)) {
        before = x->later;
        x->later = view;
    }
    if (before != NULL)
        view_release(before, worker->options.index);
}

/* To understand it takes longer than much of the rest, and only an answer of our own needs it. */
static void keep_accept(struct exchange *x, struct str accept)
{
    x->accept_length = accept.n <= sizeof x->accept ? (uint8_t)accept.n : 0;
    x->json = accept.n > sizeof x->accept && http_accept_prefers_json(accept);
    if (x->accept_length > 0)
        memcpy(x->accept, accept.p, accept.n);
}

static void describe(struct exchange *x, const struct http_request *request)
{
    x->method = (uint8_t)request->method;
    x->minor = request->minor;
    x->keep_alive = request->keep_alive && x->client->stream.virtual == NULL; /* a stream takes one */
    x->upgrade = request->upgrade;
    x->websocket = request->upgrade && websocket_is_asked(&request->fields);
    x->expect_continue = request->expect_continue;
    x->grpc = client_is_stream(x->client) &&
              grpc_is_type(http_fields_value(&request->fields, HTTP_FIELD_CONTENT_TYPE));
    keep_accept(x, http_fields_value(&request->fields, HTTP_FIELD_ACCEPT));
    x->head_in = request->length;
    relay_start(&x->up, request->framing, request->content_length, request->framing);
}

/* Writes the head for the instance into x->request. */
static bool write_head(struct exchange *x, const struct http_request *request, struct http_forward *how)
{
    struct http_variable variables[HEADER_VARIABLES];
    size_t room = request->length + HTTP_FORWARD_EXTRA + how->client.n + how->proto.n + how->port.n +
                  how->request_id.n + how->trace.n + how->client_subject.n + how->client_fingerprint.n +
                  3 * request->authority.n;
    how->forwarded = x->rules->forwarded != 0;
    how->rules = x->up.rules = header_rules_of(x, SNAPSHOT_REQUEST_HEADERS);
    if (how->rules.n > 0) {
        header_rules_variables(x, request->host, variables);
        how->variables = variables;
        room += http_rules_room(how->rules, variables);
    }
    x->up.request = true;
    char *to = outlet_reserve(&x->request, x->worker->buffers, room);
    size_t n = to == NULL ? 0 : http_forward_request(request, how, to, room);
    how->variables = NULL; /* they end here */
    x->request.end += (uint32_t)n;
    x->request.hold = true;
    return n > 0;
}

/* A service is given what lies below its prefixes: /api/../admin may not reach the /admin of the app that has
 * /api. */
static bool leaves_prefix(const struct http_request *request, uint32_t prefix)
{
    return prefix > 0 && http_path_climbs((struct str){request->path.p + prefix, request->path.n - prefix});
}

/* For requests to the service, or NULL: to any. No two scopes are one: a service's name is never empty. */
static bool is_too_fast(struct exchange *x, const struct snapshot_rate *limit,
                        const struct snapshot_service *service)
{
    if (limit->per_second == 0 || x->waited)
        return false;
    struct str scope = service == NULL ? STR("") : snapshot_service_name(x->view->snapshot, service);
    x->retry_after = rate_take(x->worker->options.rate, x->peer->address, scope, limit, clock_mono_ns());
    return x->retry_after > 0;
}

/* Why it has none. What its service's mode tells is told only here: what else may end it, a redirect or a
 * limit, comes first and has its own to tell. */
static const struct end *without_pool(struct exchange *x)
{
    if (x->stopped == NULL)
        return x->preview ? &end_no_staged_pool : &end_no_live_pool;
    if (x->stopped == &end_maintenance)
        x->retry_after = x->rules->maintenance_retry_s;
    return x->stopped;
}

/* Of the body, where it is known before it comes; else 0. */
static uint64_t length_of(const struct exchange *x, const struct http_request *request)
{
    return request->framing == HTTP_BODY_LENGTH ? request->content_length : x->client->announced;
}

const struct end *intake_read(struct exchange *x, const struct http_request *request)
{
    uint32_t prefix = 0;
    struct http_forward how;
    char parent[HTTP_TRACEPARENT_SIZE];
    describe(x, request);
    hold_world(x, request, &prefix);
    name(x, request, &how, parent);
    const struct snapshot_settings *settings = snapshot_settings(x->view->snapshot);
    if (settings->access_log != SNAPSHOT_LOG_NONE && x->texts.buffer == NULL)
        entry_keep(x, request);
    if (is_too_fast(x, &settings->rate, NULL))
        return &end_rate_limited;
    const struct end *elsewhere = redirect_of(x, request);
    if (elsewhere != NULL)
        return elsewhere;
    if (x->service == NULL)
        return &end_no_route;
    if (is_too_fast(x, &x->rules->rate, x->service))
        return &end_rate_limited;
    if (leaves_prefix(request, prefix))
        return &end_path_above_prefix;
    if (x->pool == NULL)
        return without_pool(x);
    x->up.most = x->rules->body_max != 0 ? x->rules->body_max : settings->body_max;
    if (x->up.most != 0 && length_of(x, request) > x->up.most)
        return &end_body_too_large;
    how.strip = x->rules->strip_path ? prefix : 0;
    sticky_instance(x, request, &how);
    if (x->pinned)
        drain_join(x);
    if (!write_head(x, request, &how))
        return &end_overloaded;
    if (x->rules->shadow_share != 0)
        mirror_draw(x, request);
    return NULL;
}
