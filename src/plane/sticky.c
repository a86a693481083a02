/* What in a request's head binds it: to a pool by a pin or a canary's share, to an instance by a cookie or a
 * key. Invariant: nothing that a client sends is an error here; what does not bind is as if it were not
 * there.
 *
 * A pin is given by the live pool alone and holds while that pool takes pinned requests, so it is never
 * renewed where it would keep a pool from ending. */
#include "plane/exchange.h"

#include "base/siphash.h"
#include "http/cookie.h"
#include "plane/token.h"

#include <stdio.h>
#include <string.h>

#define TRIES_MAX 4 /* cookies of one name that are looked at */
#define NS_PER_S 1000000000ULL
#define NS_PER_MS 1000000ULL

/* ---- reading ---- */

_Static_assert(sizeof((struct http_forward *)NULL)->hidden == SNAPSHOT_COOKIES * sizeof(struct str),
               "each cookie of ours can be hidden");

static struct str cookie_of(const struct exchange *x, enum snapshot_cookie which)
{
    if (!snapshot_has_cookie(x->rules, which))
        return (struct str){NULL, 0};
    return snapshot_service_cookie(x->view->snapshot, x->service, which);
}

/* By the steady clock, which goes on where the wall clock is set: a cookie lasts as long as it was given for,
 * also over a proxy that was started again. */
static uint64_t now_s(const struct exchange *x)
{
    uint64_t ahead_ns = snapshot_settings(x->view->snapshot)->steady_ahead_ns;
    return (loop_ms(x->worker->loop) * NS_PER_MS + ahead_ns) / NS_PER_S;
}

static const struct snapshot_secrets *secrets_of(const struct exchange *x)
{
    return &snapshot_settings(x->view->snapshot)->secrets;
}

/* The first of this name that is a token of ours, and not older than `most_s` (0: of any age). What is no
 * token of ours at all is counted. */
static bool find_token(struct exchange *x, const struct http_request *request, struct str cookie,
                       enum token_kind kind, uint64_t most_s, struct token *token)
{
    struct str service = snapshot_service_name(x->view->snapshot, x->service), value;
    struct http_cookies walk = http_cookies_named(&request->fields, cookie);
    for (unsigned i = 0; i < TRIES_MAX && http_cookies_next(&walk, &value); i++) {
        if (!token_open(x->worker->mac, secrets_of(x), kind, service, value, token))
            x->forged++;
        else if (most_s == 0 || now_s(x) < token->issued_s + most_s)
            return true;
    }
    return false;
}

/* The pool that a session was pinned to, while it takes such requests. */
static const struct snapshot_pool *pinned_pool(const struct exchange *x, uint64_t number)
{
    const struct snapshot_pool *pool = snapshot_service_pool(x->view->snapshot, x->service, number);
    if (pool == NULL || snapshot_pool_drain(pool)->pinned_until_ms <= loop_ms(x->worker->loop))
        return NULL;
    return pool;
}

static bool is_canary(const struct exchange *x, uint64_t number)
{
    return snapshot_service_canary_share(x->service) > 0 &&
           number == snapshot_pool_number(snapshot_service_candidate(x->view->snapshot, x->service));
}

/* True: the client is bound to a pool by a pin. */
static bool take_pin(struct exchange *x, const struct http_request *request)
{
    struct str cookie = cookie_of(x, SNAPSHOT_PIN);
    struct token token;
    if (cookie.n == 0)
        return false;
    bool found = find_token(x, request, cookie, TOKEN_POOL, x->rules->pin_s, &token);
    if (found && x->pool != NULL && token.number == snapshot_pool_number(x->pool))
        return true;
    if (found && is_canary(x, token.number)) {
        x->canary = true;
        x->pool = snapshot_service_candidate(x->view->snapshot, x->service);
        return true;
    }
    const struct snapshot_pool *pool = found ? pinned_pool(x, token.number) : NULL;
    x->pinned = pool != NULL;
    x->pins = pool == NULL;
    if (x->pinned)
        x->pool = pool;
    return x->pinned;
}

/* A share is the low end of what is drawn, so who is of it stays so while it grows. */
static uint32_t draw_by_address(const struct exchange *x, const struct snapshot_pool *candidate)
{
    uint8_t text[sizeof x->peer->address + sizeof(uint64_t)];
    uint64_t number = snapshot_pool_number(candidate);
    memcpy(text, x->peer->address, sizeof x->peer->address);
    memcpy(text + sizeof x->peer->address, &number, sizeof number);
    return (uint32_t)(siphash(secrets_of(x)->hash, text, sizeof text) % SNAPSHOT_WHOLE);
}

/* Steps of the golden ratio, a sequence for each canary: of any run of sessions very nearly the share is of
 * it, which chance keeps to over long ones only (Weyl 1916; Niederreiter 1992, chapter 3). */
static uint32_t draw(struct exchange *x, const struct snapshot_pool *candidate)
{
    uint32_t *phase = &x->worker->canaries[snapshot_pool_slot(candidate)];
    *phase += 2654435769U;
    return (uint32_t)((uint64_t)*phase * SNAPSHOT_WHOLE >> 32);
}

/* By a cookie that says on which side of this canary the client is; else by a draw, and it is given one. */
static bool is_of_share(struct exchange *x, const struct http_request *request,
                        const struct snapshot_pool *candidate, uint32_t share)
{
    struct str cookie = cookie_of(x, SNAPSHOT_CANARY);
    struct token token;
    if (cookie.n == 0)
        return draw_by_address(x, candidate) < share;
    if (find_token(x, request, cookie, TOKEN_CANARY, 0, &token) &&
        token.number >> 1 == snapshot_pool_number(candidate))
        return (token.number & 1) != 0;
    x->draws = true;
    return draw(x, candidate) < share;
}

static void take_share(struct exchange *x, const struct http_request *request, uint32_t share)
{
    const struct snapshot_pool *candidate = snapshot_service_candidate(x->view->snapshot, x->service);
    x->canary = is_of_share(x, request, candidate, share);
    if (x->canary)
        x->pool = candidate;
}

/* The secret is compared in a time that tells nothing of how much of it is right. */
bool sticky_is_preview(const struct exchange *x, const struct http_request *request)
{
    const struct snapshot *snapshot = x->view->snapshot;
    if (x->client->peer.door.staged)
        return true;
    if (!snapshot_has_text(x->rules, SNAPSHOT_PREVIEW_FIELD))
        return false;
    struct str name = snapshot_service_text(snapshot, x->service, SNAPSHOT_PREVIEW_FIELD);
    struct str secret = snapshot_service_text(snapshot, x->service, SNAPSHOT_PREVIEW_SECRET);
    const struct http_field *field = http_fields_named(&request->fields, name);
    return field != NULL && secret.n > 0 && field->value.n == secret.n &&
           mac_is_equal(field->value.p, secret.p, secret.n);
}

void sticky_pool(struct exchange *x, const struct http_request *request)
{
    x->preview = sticky_is_preview(x, request);
    if (x->preview) {
        x->pool = snapshot_service_candidate(x->view->snapshot, x->service);
        return;
    }
    uint32_t share = snapshot_service_canary_share(x->service);
    if (!take_pin(x, request) && share > 0)
        take_share(x, request, share);
}

/* The live pool of the world in which it chooses, where it may go there. Only if that is the present one is
 * the pool's cell raised before anybody can miss it. And who began before a pause, which waits for it, goes
 * from no pool to another: for a moment it could be seen in neither. */
static const struct snapshot_pool *live_pool(const struct exchange *x)
{
    const struct snapshot *snapshot = exchange_choices(x);
    const struct snapshot_service *service = intake_service(x);
    if (service == NULL || snapshot_version(snapshot) < snapshot_version(x->worker->snapshot) ||
        (x->later != NULL && snapshot_service_rules(service)->mode != SNAPSHOT_SERVING))
        return NULL;
    return snapshot_service_live(snapshot, service);
}

bool sticky_unpin(struct exchange *x)
{
    if (!(x->pinned || x->canary) || x->worker->stopping)
        return false;
    const struct snapshot_pool *live = live_pool(x);
    if (live == NULL)
        return false;
    struct counters_pool *left = x->cells;
    exchange_choose(x, false);
    x->cells = counters_pool(x->worker->counters, x->worker->options.index, snapshot_pool_slot(live));
    counters_add(&x->cells->in_flight, 1);
    exchange_choose(x, true);
    counters_sub(&left->in_flight, 1);
    x->pool = live;
    x->attempted = false; /* of that pool it has asked nobody */
    x->pinned = x->canary = false;
    x->pins = cookie_of(x, SNAPSHOT_PIN).n > 0;
    x->wish.tried.count = 0;
    drain_leave(x);
    return true;
}

static void take_affinity(struct exchange *x, const struct http_request *request)
{
    struct str cookie = cookie_of(x, SNAPSHOT_AFFINITY);
    struct token token;
    if (cookie.n == 0 || !find_token(x, request, cookie, TOKEN_INSTANCE, x->rules->affinity_s, &token))
        return;
    x->wish.instance = token.number;
    x->resigns = token.is_old;
}

/* The value that is to be hashed. Empty: there is none. */
static struct str hashed_value(const struct exchange *x, const struct http_request *request)
{
    struct str name = snapshot_service_hash_name(x->view->snapshot, x->service), value = {NULL, 0};
    const struct http_field *field;
    switch (x->wish.how) {
    case SNAPSHOT_HASH_CLIENT:
        return (struct str){(const char *)x->peer->address, sizeof x->peer->address};
    case SNAPSHOT_HASH_HEADER:
        field = http_fields_named(&request->fields, name);
        return field == NULL ? value : field->value;
    case SNAPSHOT_HASH_COOKIE:
        (void)http_cookie_find(&request->fields, name, &value);
        return value;
    default:
        return value;
    }
}

/* Where all the rest would go to one instance, those without a value take turns. */
static void take_key(struct exchange *x, const struct http_request *request)
{
    struct str value = hashed_value(x, request);
    if (value.n > 0)
        x->wish.key = siphash(secrets_of(x)->hash, value.p, value.n);
    else
        x->wish.how = SNAPSHOT_ROUND_ROBIN;
}

/* The app sees none of ours, be they of use to this request or of a canary long over. */
static void hide_own_cookies(const struct exchange *x, const struct http_request *request,
                             struct http_forward *how)
{
    struct str ignored;
    if (!(request->fields.present & HTTP_FIELD_BIT(HTTP_FIELD_COOKIE)))
        return;
    for (unsigned i = 0; i < SNAPSHOT_COOKIES; i++) {
        struct str name = cookie_of(x, (enum snapshot_cookie)i);
        if (name.n > 0 && http_cookie_find(&request->fields, name, &ignored))
            how->hidden[i] = name;
    }
}

void sticky_instance(struct exchange *x, const struct http_request *request, struct http_forward *how)
{
    if (x->wish.how >= SNAPSHOT_HASH_CLIENT)
        take_key(x, request);
    if (!x->preview)
        take_affinity(x, request);
    if (x->forged > 0)
        counters_add(&x->cells->forged, x->forged);
    hide_own_cookies(x, request, how);
}

/* ---- telling the client ---- */

static size_t write_line(struct exchange *x, struct str cookie, enum token_kind kind, uint64_t number,
                         uint32_t age_s, char *out)
{
    char token[TOKEN_SIZE], age[32] = "";
    const struct snapshot *snapshot = x->view->snapshot;
    struct str path = snapshot_service_cookie_path(snapshot, x->service);
    struct token fresh = {.number = number, .issued_s = now_s(x)};
    token_write(x->worker->mac, secrets_of(x), kind, snapshot_service_name(snapshot, x->service), &fresh,
                token);
    if (age_s > 0)
        snprintf(age, sizeof age, "; Max-Age=%u", age_s);
    int n = snprintf(out, STICKY_LINE_MAX, "Set-Cookie: %.*s=%.*s; Path=%.*s%s; HttpOnly; SameSite=Lax%s\r\n",
                     STR_ARG(cookie), TOKEN_SIZE, token, STR_ARG(path), age, x->https ? "; Secure" : "");
    return n > 0 && n < STICKY_LINE_MAX ? (size_t)n : 0;
}

/* Which canary, and on which side of it. */
static uint64_t side_of_canary(const struct exchange *x)
{
    const struct snapshot_pool *candidate = snapshot_service_candidate(x->view->snapshot, x->service);
    return snapshot_pool_number(candidate) << 1 | x->canary;
}

struct str sticky_lines(struct exchange *x, char out[STICKY_LINES * STICKY_LINE_MAX])
{
    size_t n = 0;
    if (x->preview)
        return (struct str){NULL, 0}; /* a client's own session is left as it is */
    struct str affinity = cookie_of(x, SNAPSHOT_AFFINITY);
    if (affinity.n > 0 && (x->wish.instance != x->instance.id || x->resigns))
        n += write_line(x, affinity, TOKEN_INSTANCE, x->instance.id, x->rules->affinity_s, out);
    if (x->pins)
        n += write_line(x, cookie_of(x, SNAPSHOT_PIN), TOKEN_POOL, snapshot_pool_number(x->pool),
                        x->rules->pin_s, out + n);
    if (x->draws)
        n += write_line(x, cookie_of(x, SNAPSHOT_CANARY), TOKEN_CANARY, side_of_canary(x), 0, out + n);
    return (struct str){out, n};
}
