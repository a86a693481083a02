/* Its own small exchange, with a connection lent by connection.c as any other, and no client. Invariant: a
 * mirror keeps its view from the draw to its end, is one exchange's own while it is DRAWN, and has a lease
 * exactly from CONNECTING on. */
#include "plane/mirror.h"

#include "base/clock.h"
#include "base/mem.h"
#include "link/shadow.h"
#include "plane/exchange.h"

#include <errno.h>
#include <stdlib.h>

#define MIRRORS 64        /* of a worker, drawn or under way */
#define MIRRORS_ASKING 16 /* under way */
#define BUSY_MS 5         /* a request that waited so long in its turn finds a worker that has enough to do */
#define BODY_MOST (256 << 10) /* bytes that are read of a body, to keep the connection */
#define BURST 32768
#define WAIT_MS 2000  /* for the answer; and, beyond: */
#define WAIT_FACTOR 4 /* times as long as the live one took */
#define NS_PER_MS 1000000

static const char mark[] = "X-Upswap-Shadow: 1\r\n\r\n";

enum mirror_state {
    MIRROR_FREE,
    MIRROR_DRAWN, /* waits for the live answer */
    MIRROR_DUE,   /* for the end of the turn */
    MIRROR_CONNECTING,
    MIRROR_ASKING, /* no final head has come */
    MIRROR_READING /* the body, to no end but that the connection can be kept */
};

struct mirror {
    struct mirrors *all;
    struct mirror *next; /* free list */
    enum mirror_state state;
    enum http_method method;
    bool repeated;   /* a kept connection turned out closed, and another one was made */
    bool keep_lease; /* it is good for another request */
    bool hungry;     /* what the inlet holds is not enough to go on */
    struct view *view;
    const struct snapshot_service *service;
    const struct snapshot_rules *rules;
    const struct snapshot_pool *pool;
    struct snapshot_instance instance;
    struct connection_owner owner;
    struct connection *lease;
    struct outlet request;
    size_t seen;
    struct http_body body;
    uint64_t read;     /* bytes of interim heads, and of the body */
    unsigned live;     /* class of the live answer */
    uint64_t asked_ns; /* when the copy was drawn, then when it was sent */
    uint64_t live_ns;  /* how long the live one took */
    struct deadline deadline;
    struct loop_deferred due;
    uint32_t path_length; /* of the whole */
    char path[SHADOW_PATH_MAX];
};

struct mirrors {
    struct worker *worker;
    bool stopping;
    unsigned asking;
    struct mirror *free;
    struct mirror each[MIRRORS];
};

static void begin(struct loop_deferred *deferred);
static void timed_out(struct deadline *deadline);

struct mirrors *mirrors_new(struct worker *worker)
{
    struct mirrors *all = mem_zero(1, sizeof *all);
    all->worker = worker;
    for (size_t i = MIRRORS; i-- > 0;) {
        struct mirror *mirror = &all->each[i];
        mirror->all = all;
        mirror->due.run = begin;
        deadline_init(&mirror->deadline, worker->loop, timed_out);
        mirror->next = all->free;
        all->free = mirror;
    }
    return all;
}

void mirrors_free(struct mirrors *all)
{
    free(all);
}

static struct worker *worker_of(const struct mirror *mirror)
{
    return mirror->all->worker;
}

/* ---- its run ---- */

static bool has_run(const struct snapshot *snapshot, uint64_t run)
{
    for (size_t i = 0; i < snapshot_service_count(snapshot); i++) {
        if (snapshot_service_rules(snapshot_service_at(snapshot, i))->shadow_run == run)
            return true;
    }
    return false;
}

static bool is_over(const struct mirror *mirror)
{
    const struct snapshot *present = worker_of(mirror)->snapshot;
    return mirror->all->stopping ||
           (mirror->view->snapshot != present && !has_run(present, mirror->rules->shadow_run));
}

/* ---- what is found ---- */

static struct shadow_cells *cells_of(struct worker *worker, const struct snapshot_rules *rules,
                                     const struct snapshot_pool *candidate)
{
    struct shadow_cells *cells =
        counters_shadow(worker->counters, worker->options.index, snapshot_pool_slot(candidate));
    shadow_begin(cells, rules->shadow_run);
    return cells;
}

/* The staged answer is known. */
static void compare(const struct mirror *mirror, unsigned class)
{
    struct shadow_pair pair = {
        .path = {mirror->path, mirror->path_length},
        .live = mirror->live,
        .staged = class,
        .live_us = mirror->live_ns / 1000,
        .staged_us = (clock_mono_ns() - mirror->asked_ns) / 1000,
    };
    shadow_note(cells_of(worker_of(mirror), mirror->rules, mirror->pool), &pair,
                mirror->rules->shadow_latency);
}

/* ---- its end ---- */

static void release_lease(struct mirror *mirror, bool keep)
{
    uint32_t keep_ms = keep && mirror->owner.version == 0 ? mirror->rules->upstream_idle_ms : 0;
    connection_release(mirror->lease, keep_ms, !keep);
    mirror->lease = NULL;
}

static void end(struct mirror *mirror, bool keep)
{
    struct mirrors *all = mirror->all;
    if (mirror->lease != NULL)
        release_lease(mirror, keep);
    if (mirror->state >= MIRROR_CONNECTING)
        all->asking--;
    outlet_clear(&mirror->request, all->worker->buffers);
    deadline_clear(&mirror->deadline);
    view_release(mirror->view, all->worker->options.index);
    mirror->state = MIRROR_FREE;
    mirror->next = all->free;
    all->free = mirror;
}

/* Nothing came that could be compared. */
static void give_up(struct mirror *mirror)
{
    if (mirror->state != MIRROR_READING && !is_over(mirror))
        counters_add(&cells_of(worker_of(mirror), mirror->rules, mirror->pool)->dropped, 1);
    end(mirror, false);
}

/* The staged pool has not answered. */
static void fail(struct mirror *mirror)
{
    compare(mirror, SHADOW_NO_ANSWER);
    end(mirror, false);
}

static void timed_out(struct deadline *deadline)
{
    struct mirror *mirror = mem_container(deadline, struct mirror, deadline);
    if (mirror->state == MIRROR_READING)
        end(mirror, false);
    else
        fail(mirror);
}

/* ---- the answer ---- */

/* As many as a request may have. True: go on. */
static bool interim(struct mirror *mirror, size_t length)
{
    mirror->read += length;
    bool fits = mirror->read <= worker_of(mirror)->limits.head;
    if (!fits)
        fail(mirror);
    return fits;
}

static bool head(struct mirror *mirror)
{
    struct worker *worker = worker_of(mirror);
    struct http_response *response = &worker->response;
    struct inlet *in = &mirror->lease->in;
    struct http_fault fault;
    enum http_result result =
        http_response_parse(response, mirror->method, in->p, in->n, &mirror->seen, &worker->limits, &fault);
    if (result == HTTP_MORE) {
        mirror->hungry = true;
        return true;
    }
    if (result == HTTP_BAD || response->status == 101) {
        fail(mirror);
        return false;
    }
    mirror->seen = 0;
    inlet_consume(in, response->length);
    if (response->status < 200)
        return interim(mirror, response->length);
    compare(mirror, shadow_class(response->status));
    mirror->state = MIRROR_READING;
    mirror->keep_lease = response->keep_alive && response->framing != HTTP_BODY_CLOSE;
    http_body_start(&mirror->body, response->framing, response->content_length);
    if (mirror->body.done)
        end(mirror, mirror->keep_lease);
    return mirror->state == MIRROR_READING;
}

static bool body(struct mirror *mirror)
{
    struct inlet *in = &mirror->lease->in;
    struct http_fault fault;
    struct str data, trailers;
    size_t used;
    enum http_result result = http_body_step(&mirror->body, in->p, in->n, &worker_of(mirror)->limits, &used,
                                             &data, &trailers, &fault);
    inlet_consume(in, used);
    mirror->read += used;
    mirror->hungry = used == 0;
    if (result == HTTP_MORE && mirror->read <= BODY_MOST)
        return true;
    end(mirror, result == HTTP_DONE && mirror->keep_lease);
    return false;
}

static void go(struct mirror *mirror, bool fresh);

/* A kept connection may have been closed before the request came, and a stream of HTTP/2 may not have been
 * looked at: neither says anything of the release. */
static void lost(struct mirror *mirror)
{
    bool unheard = mirror->state == MIRROR_ASKING && mirror->seen == 0;
    if (mirror->state == MIRROR_READING) {
        end(mirror, false);
    } else if (unheard && !mirror->repeated &&
               (mirror->lease->kept || connection_was_refused(mirror->lease))) {
        release_lease(mirror, false);
        outlet_rewind(&mirror->request);
        mirror->repeated = true;
        go(mirror, true);
    } else {
        fail(mirror);
    }
}

/* True: there is something new in the inlet. */
static bool fill(struct mirror *mirror)
{
    struct worker *worker = worker_of(mirror);
    struct connection *lease = mirror->lease;
    if (!stream_may_give(&lease->stream))
        return false;
    size_t most = worker_fill_most(worker, &lease->in, BURST);
    ssize_t count = inlet_fill(&lease->in, &lease->stream, worker->buffers, most);
    mirror->hungry = false;
    if (count == INLET_FULL && mirror->state == MIRROR_ASKING)
        fail(mirror);
    else if (count <= 0 && count != STREAM_AGAIN)
        lost(mirror);
    return count > 0;
}

/* True: there may be more to do. */
static bool step(struct mirror *mirror)
{
    if ((mirror->lease->in.n == 0 || mirror->hungry) && !fill(mirror))
        return false;
    return mirror->state == MIRROR_ASKING ? head(mirror) : body(mirror);
}

static void pump(struct mirror *mirror)
{
    struct buffers *buffers = worker_of(mirror)->buffers;
    struct connection *lease = mirror->lease;
    if (outlet_flush(&mirror->request, buffers, &lease->stream) == OUTLET_FAILED) {
        lost(mirror);
        return;
    }
    while (step(mirror))
        continue;
    if (mirror->state >= MIRROR_ASKING && mirror->lease == lease && !inlet_settle(&lease->in, buffers))
        give_up(mirror);
}

/* ---- asking ---- */

/* Our own means being used up says nothing of the release. */
static void no_connection(struct mirror *mirror, int error)
{
    if (attempt_is_ours(error))
        give_up(mirror);
    else
        fail(mirror);
}

static void ask(struct mirror *mirror)
{
    mirror->state = MIRROR_ASKING;
    mirror->asked_ns = clock_mono_ns();
    pump(mirror);
}

static void ready(void *arg)
{
    struct mirror *mirror = arg;
    if (mirror->state != MIRROR_CONNECTING) {
        pump(mirror);
        return;
    }
    int error = connection_check(mirror->lease);
    if (error == 0)
        ask(mirror);
    else if (error != EINPROGRESS)
        no_connection(mirror, error);
}

static void go(struct mirror *mirror, bool fresh)
{
    struct worker *worker = worker_of(mirror);
    struct lending lending = {.fresh = fresh, .owner = mirror->owner, .ready = ready, .arg = mirror};
    struct str service = snapshot_service_name(mirror->view->snapshot, mirror->service);
    struct upstream *upstream = upstream_of(worker->upstreams, &mirror->instance);
    lending.h2 = mirror->rules->h2 ? worker : NULL;
    if (upstream == NULL ||
        (mirror->rules->tls && !lending_use_tls(&lending, mirror->view, service, mirror->instance.name))) {
        give_up(mirror);
        return;
    }
    mirror->asked_ns = clock_mono_ns();
    mirror->lease = upstream_lend(upstream, &mirror->instance, &lending);
    if (mirror->lease == NULL)
        no_connection(mirror, errno);
    else if (mirror->lease->state != CONNECTION_CONNECTING)
        ask(mirror);
    else
        mirror->state = MIRROR_CONNECTING;
}

static void set_deadline(struct mirror *mirror)
{
    uint64_t ms = WAIT_MS + WAIT_FACTOR * (mirror->live_ns / NS_PER_MS), most = mirror->rules->first_byte_ms;
    deadline_set(&mirror->deadline, most != 0 && most < ms ? most : ms);
}

static void begin(struct loop_deferred *deferred)
{
    struct mirror *mirror = mem_container(deferred, struct mirror, due);
    struct mirrors *all = mirror->all;
    struct balance_wish wish = {.how = SNAPSHOT_ROUND_ROBIN, .most = mirror->rules->concurrency_per_instance};
    if (is_over(mirror)) {
        end(mirror, false);
    } else if (all->asking == MIRRORS_ASKING || !balance_pick(&all->worker->balance, mirror->view->snapshot,
                                                              mirror->pool, &wish, &mirror->instance)) {
        give_up(mirror);
    } else {
        all->asking++;
        mirror->state = MIRROR_CONNECTING;
        set_deadline(mirror);
        go(mirror, false);
    }
}

/* ---- the live request ---- */

static bool names_somebody(const struct exchange *x, const struct http_request *request)
{
    return (request->fields.present & HTTP_FIELD_BIT(HTTP_FIELD_COOKIE)) != 0 ||
           http_fields_named(&request->fields, STR("authorization")) != NULL ||
           x->client->peer.identity != NULL;
}

/* A range is of a representation, which another release may have in another length. */
static bool may_be_repeated(const struct exchange *x, const struct http_request *request)
{
    return (request->method == HTTP_GET || request->method == HTTP_HEAD) &&
           request->framing == HTTP_BODY_NONE && !x->upgrade && !x->expect_continue && !x->pinned &&
           !x->preview && !x->canary && http_fields_named(&request->fields, STR("range")) == NULL &&
           (x->rules->shadow_credentials || !names_somebody(x, request));
}

static bool is_drawn(const struct exchange *x)
{
    return random_below(&x->worker->random, SNAPSHOT_WHOLE) < x->rules->shadow_share;
}

static bool is_busy(const struct exchange *x)
{
    return clock_mono_ms() > loop_ms(x->worker->loop) + BUSY_MS;
}

/* The head as it goes to the live instance, marked. */
static bool copy_head(struct mirror *mirror, const struct exchange *x)
{
    struct outlet *to = &mirror->request;
    size_t n = x->request.end - 2; /* without the empty line */
    char *out = outlet_reserve(to, x->worker->buffers, n + sizeof mark - 1);
    if (out == NULL)
        return false;
    memcpy(out, x->request.buffer->bytes, n);
    memcpy(out + n, mark, sizeof mark - 1);
    to->end += (uint32_t)(n + sizeof mark - 1);
    to->hold = true;
    return true;
}

static void describe(struct mirror *mirror, const struct exchange *x, const struct http_request *request,
                     struct view *view)
{
    mirror->state = MIRROR_DRAWN;
    mirror->method = request->method;
    mirror->repeated = mirror->keep_lease = mirror->hungry = false;
    mirror->seen = 0;
    mirror->read = 0;
    mirror->asked_ns = clock_mono_ns();
    mirror->view = view;
    mirror->service = x->service;
    mirror->rules = x->rules;
    mirror->pool = snapshot_service_candidate(view->snapshot, x->service);
    mirror->owner = (struct connection_owner){0};
    if (x->rules->proxy_protocol != 0)
        mirror->owner = (struct connection_owner){peer_ends(&x->client->peer), x->rules->proxy_protocol};
    mirror->path_length = (uint32_t)request->path.n;
    memcpy(mirror->path, request->path.p,
           request->path.n < SHADOW_PATH_MAX ? request->path.n : SHADOW_PATH_MAX);
}

void mirror_draw(struct exchange *x, const struct http_request *request)
{
    struct worker *worker = x->worker;
    struct mirrors *all = worker->mirrors;
    struct mirror *mirror = all->free;
    if (all->stopping || !may_be_repeated(x, request) || !is_drawn(x))
        return;
    struct view *view = publisher_take(worker->options.publisher, worker->options.index);
    if (view != x->view || mirror == NULL || is_busy(x) || !copy_head(mirror, x)) {
        const struct snapshot_pool *candidate = snapshot_service_candidate(x->view->snapshot, x->service);
        counters_add(&cells_of(worker, x->rules, candidate)->dropped, 1);
        view_release(view, worker->options.index);
        return;
    }
    all->free = mirror->next;
    describe(mirror, x, request, view);
    x->mirror = mirror;
}

/* What the live pool cannot answer itself tells nothing. */
void mirror_heard(struct exchange *x, unsigned status)
{
    struct mirror *mirror = x->mirror;
    x->mirror = NULL;
    if (status >= 500) {
        give_up(mirror);
        return;
    }
    mirror->live = shadow_class(status);
    mirror->live_ns = clock_mono_ns() - mirror->asked_ns;
    mirror->state = MIRROR_DUE;
    loop_defer(x->worker->loop, &mirror->due);
}

void mirror_drop(struct exchange *x)
{
    struct mirror *mirror = x->mirror;
    x->mirror = NULL;
    give_up(mirror);
}

/* ---- worlds ---- */

/* Those that have not begun look for themselves when they do. */
static void cut_all(struct mirrors *all)
{
    for (size_t i = 0; i < MIRRORS && all->asking > 0; i++) {
        struct mirror *mirror = &all->each[i];
        if (mirror->state >= MIRROR_CONNECTING && is_over(mirror))
            end(mirror, false);
    }
}

void mirrors_turn(struct mirrors *all)
{
    cut_all(all);
}

void mirrors_stop(struct mirrors *all)
{
    all->stopping = true;
    cut_all(all);
}
