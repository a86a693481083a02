/* world_spec.c copies what differs in shape and points at the rest. A pool is in the world while it is live
 * or drains after it was live; a service while the config has it. */
#include "control/world_spec.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "control/sockaddr.h"
#include "http/rules.h"

#include <stdlib.h>

struct world_spec {
    struct snapshot_spec spec;
    struct snapshot_service_spec *services;
    char **pin_cookies, **canary_cookies; /* one a service */
    struct snapshot_listener_spec *listeners;
    struct snapshot_pool_spec *pools;
    size_t pool_room;
    struct sockaddr_storage **addresses; /* one array a pool */
    struct drain *drain;
    const struct health *health;
    const struct pauses *pauses;
};

static uint32_t clip(uint64_t value)
{
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

/* ---- settings and rules ---- */

static uint32_t access_log_format(enum config_log_format format)
{
    switch (format) {
    case CONFIG_ACCESS_LOG_JSON:
        return SNAPSHOT_LOG_JSON;
    case CONFIG_ACCESS_LOG_COMBINED:
        return SNAPSHOT_LOG_COMBINED;
    case CONFIG_ACCESS_LOG_NONE:
        break;
    }
    return SNAPSHOT_LOG_NONE;
}

static struct snapshot_rate rate_of(const struct config_rate *rate)
{
    uint64_t burst = rate->burst != 0 ? rate->burst : rate->per_second;
    return (struct snapshot_rate){.per_second = clip(rate->per_second), .burst = clip(burst)};
}

static struct snapshot_http2 http2_of(const struct config_http2 *http2)
{
    return (struct snapshot_http2){
        .streams = clip(http2->streams),
        .window = clip(http2->window),
        .resets = clip(http2->resets),
        .pings = clip(http2->pings),
        .settings = clip(http2->settings),
        .priorities = clip(http2->priorities),
        .empty_frames = clip(http2->empty_frames),
        .window_updates = clip(http2->window_updates),
        .continuations = clip(http2->continuations),
    };
}

static struct snapshot_settings settings_of(const struct config *config)
{
    const struct config_limits *limits = &config->limits;
    return (struct snapshot_settings){
        .body_max = limits->body,
        .head_max = clip(limits->head),
        .fields_max = clip(limits->fields),
        .connections_max = clip(limits->connections),
        .connections_per_address = clip(limits->connections_per_address),
        .head_ms = clip(config->default_timeouts.head),
        .idle_ms = clip(config->default_timeouts.idle),
        .access_log = access_log_format(config->access_log_format),
        .rate = rate_of(&limits->rate),
        .http2 = http2_of(&config->http2),
    };
}

static uint8_t balance_of(enum config_balance balance)
{
    switch (balance) {
    case CONFIG_LEAST_REQUESTS:
        return SNAPSHOT_LEAST_REQUESTS;
    case CONFIG_TWO_CHOICES:
        return SNAPSHOT_TWO_CHOICES;
    case CONFIG_RANDOM:
        return SNAPSHOT_RANDOM;
    case CONFIG_HASH_CLIENT:
        return SNAPSHOT_HASH_CLIENT;
    case CONFIG_HASH_HEADER:
        return SNAPSHOT_HASH_HEADER;
    case CONFIG_HASH_COOKIE:
        return SNAPSHOT_HASH_COOKIE;
    case CONFIG_ROUND_ROBIN:
        break;
    }
    return SNAPSHOT_ROUND_ROBIN;
}

static uint8_t trace_of(enum config_trace trace)
{
    static const enum snapshot_trace traces[] = {[CONFIG_TRACE_START] = SNAPSHOT_TRACE_START,
                                                 [CONFIG_TRACE_PASS] = SNAPSHOT_TRACE_PASS,
                                                 [CONFIG_TRACE_TRUSTED] = SNAPSHOT_TRACE_TRUSTED};
    return (uint8_t)traces[trace];
}

static struct snapshot_rules rules_of(const struct config_service *service)
{
    return (struct snapshot_rules){
        .body_max = service->body,
        .h2 = service->upstream == CONFIG_UPSTREAM_H2,
        .connect_ms = clip(service->timeouts.connect),
        .first_byte_ms = clip(service->timeouts.first_byte),
        .stall_ms = clip(service->timeouts.stall),
        .minimum_rate = clip(service->timeouts.minimum_rate),
        .upstream_idle_ms = clip(service->timeouts.upstream_idle),
        .drain_requests_ms = clip(service->drain.requests_ms),
        .drain_streams_ms = clip(service->drain.streams_ms),
        .drain_websockets_ms = clip(service->drain.websockets_ms),
        .drain_tunnels_ms = clip(service->drain.tunnels_ms),
        .drain_spread_ms = clip(service->drain.spread_ms),
        .rate = rate_of(&service->rate),
        .ejection_failures = clip(service->ejection.failures),
        .ejection_pause_ms = clip(service->ejection.pause_ms),
        .ejection_longest_ms = clip(service->ejection.longest_ms),
        .ejection_most = clip(service->ejection.most),
        .slow_start_ms = clip(service->slow_start_ms),
        .concurrency_per_instance = clip(service->concurrency.per_instance),
        .queue_most = clip(service->concurrency.queue),
        .queue_timeout_ms = clip(service->concurrency.queue_timeout_ms),
        .retries_attempts = clip(service->retries.attempts),
        .retries_budget = clip(service->retries.budget),
        .maintenance_retry_s = clip(service->maintenance.retry_after_ms / 1000),
        .affinity_s = clip(service->affinity.duration_ms / 1000),
        .pin_s = clip(service->pin_duration_ms / 1000),
        .balance = balance_of(service->balance),
        .strip_path = service->strip_path,
        .proxy_protocol = (uint8_t)service->proxy_protocol,
        .tls = service->tls.line > 0,
        .forwarded = service->forwarded,
        .trace = trace_of(service->trace),
        .redirect_https = service->redirect_https,
    };
}

/* ---- header rules ---- */

_Static_assert(CONFIG_HEADERS_MAX < HTTP_RULES_MAX, "each rule has its place, and that of a preview");

static void put_fields(struct buf *text, char what, const struct config_list *fields)
{
    for (size_t i = 0; i < fields->count; i++) {
        struct str value = str_of(fields->items[i]), name;
        str_split(&value, '=', &name);
        buf_printf(text, "%c%.*s: %.*s\n", what, STR_ARG(name), STR_ARG(value));
    }
}

/* As http/rules.h reads them, to be freed; NULL: none. `secret`: a field that the app does not see, or NULL.
 */
static char *header_rules(const struct config_headers *headers, const char *secret)
{
    struct buf text = BUF_EMPTY;
    if (secret != NULL)
        buf_printf(&text, "-%s\n", secret);
    for (size_t i = 0; i < headers->remove.count; i++)
        buf_printf(&text, "-%s\n", headers->remove.items[i]);
    put_fields(&text, '=', &headers->set);
    put_fields(&text, '+', &headers->add);
    return text.p;
}

/* ---- error pages ---- */

static size_t count_pages(const struct config_service *service)
{
    size_t count = (size_t)(service->maintenance.html != NULL) + (service->maintenance.json != NULL);
    for (size_t i = 0; i < service->page_count; i++) {
        const struct config_page *page = &service->pages[i];
        count += page->status.count * ((page->html != NULL) + (page->json != NULL));
    }
    return count;
}

static struct snapshot_page_spec page_of(const struct config *config, const char *path, unsigned status,
                                         bool json)
{
    const struct config_file *file = config_file(config, path);
    return (struct snapshot_page_spec){
        .status = (uint16_t)status,
        .json = json,
        .body = file != NULL ? (struct str){file->bytes, file->size} : (struct str){NULL, 0},
    };
}

/* Appends the file for each of the statuses. */
static struct snapshot_page_spec *put_page(struct snapshot_page_spec *to, const struct config *config,
                                           const struct config_page *page, bool json)
{
    const char *path = json ? page->json : page->html;
    for (size_t i = 0; path != NULL && i < page->status.count; i++)
        *to++ = page_of(config, path, (unsigned)strtoul(page->status.items[i], NULL, 10), json);
    return to;
}

/* To be freed. */
static struct snapshot_page_spec *pages_of(const struct config *config, const struct config_service *service)
{
    struct snapshot_page_spec *pages = mem_zero(count_pages(service), sizeof *pages), *end = pages;
    for (size_t i = 0; i < service->page_count; i++) {
        end = put_page(end, config, &service->pages[i], false);
        end = put_page(end, config, &service->pages[i], true);
    }
    if (service->maintenance.html != NULL)
        *end++ = page_of(config, service->maintenance.html, SNAPSHOT_PAGE_MAINTENANCE, false);
    if (service->maintenance.json != NULL)
        *end++ = page_of(config, service->maintenance.json, SNAPSHOT_PAGE_MAINTENANCE, true);
    return pages;
}

/* ---- pools ---- */

static void add_instances(struct snapshot_pool_spec *spec, const struct pool *pool,
                          const struct health *health, struct sockaddr_storage *addresses)
{
    bool hopeless = health_is_hopeless(health, pool);
    struct snapshot_instance_spec *instances = mem_zero(pool->instance_count, sizeof *instances);
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        instances[i] = (struct snapshot_instance_spec){
            .name = instance->address,
            .address = (const struct sockaddr *)&addresses[i],
            .address_length = sockaddr_of(instance->resolved, &addresses[i]),
            .id = instance->id,
            .slot = instance->slot,
            .drained = instance->state != INSTANCE_UP,
            .since_ms = health_since_ms(health, instance),
            .down = (!hopeless && health_is_down(health, instance)) || health_is_held_out(health, instance),
            .weight = instance->weight,
        };
    }
    spec->instances = instances;
    spec->instance_count = pool->instance_count;
}

static uint32_t add_pool(struct world_spec *made, const struct pool *pool)
{
    size_t index = made->spec.pool_count++;
    if (index == made->pool_room) {
        made->pool_room = 2 * index + 8;
        made->pools = mem_resize(made->pools, made->pool_room, sizeof *made->pools);
        made->addresses = mem_resize(made->addresses, made->pool_room, sizeof *made->addresses);
    }
    made->addresses[index] = mem_zero(pool->instance_count, sizeof **made->addresses);
    made->pools[index] = (struct snapshot_pool_spec){
        .deployment = pool->name,
        .release = pool->release,
        .slot = pool->slot,
        .number = pool->number,
        .drain = drain_limits(made->drain, pool, made->spec.version),
        .candidate = pool->state == POOL_STAGED,
        .warms = pool->state == POOL_STAGED && deployment_takes_over(pool->deployment),
        .canary_share = pool->state == POOL_STAGED ? deployment_share(pool->deployment) : 0,
    };
    add_instances(&made->pools[index], pool, made->health, made->addresses[index]);
    return (uint32_t)index;
}

/* Every pool that is not retired, and has instances (one that is launched begins without): who has the
 * clients is said by index. */
static void add_pools(struct world_spec *made, const struct service *service,
                      struct snapshot_service_spec *spec)
{
    const struct pool *pool;
    spec->pool_first = (uint32_t)made->spec.pool_count;
    TAILQ_FOREACH (pool, &service->pools, of_service) {
        if (pool->state == POOL_RETIRED || pool->instance_count == 0)
            continue;
        uint32_t index = add_pool(made, pool);
        if (pool->state == POOL_LIVE)
            spec->live = index;
    }
    spec->pool_count = (uint32_t)made->spec.pool_count - spec->pool_first;
}

static void set_shadow(struct snapshot_service_spec *spec, const struct service *service,
                       const struct config_shadow *shadow)
{
    const struct deployment *running = service->running;
    if (running == NULL || running->state != DEPLOYMENT_SHADOWING || shadow->line == 0 ||
        spec->live == SNAPSHOT_NONE)
        return;
    spec->rules.shadow_run = running->since_ns;
    spec->rules.shadow_share = clip(shadow->share);
    spec->rules.shadow_latency = clip(shadow->latency);
    spec->rules.shadow_credentials = shadow->credentials;
}

/* By what a canary's or a watched pool's requests come to. */
static void set_judged(struct snapshot_service_spec *spec, const struct service *service)
{
    const struct deployment *running = service->running;
    spec->rules.judged = service->armed != NULL || (running != NULL && deployment_share(running) > 0);
}

/* ---- the whole ---- */

/* What must never wait, as lines; NULL: nothing. To be freed. */
static char *pass_of(const struct config_service *service)
{
    struct buf text = BUF_EMPTY;
    struct str path = str_of(service->health.path), asked;
    if (str_split(&path, '?', &asked) && asked.n > 0)
        buf_printf(&text, "%.*s\n", STR_ARG(asked));
    for (size_t i = 0; i < service->pause.pass.count; i++)
        buf_printf(&text, "%s\n", service->pause.pass.items[i]);
    return text.p;
}

static struct snapshot_pause pause_of(const struct world_spec *made, const struct config_service *settings,
                                      const struct service *service)
{
    return (struct snapshot_pause){
        .until_ms = pauses_until_ms(made->pauses, service),
        .bytes_most = settings->pause.bytes,
        .most = clip(settings->pause.requests),
        .longest_ms = clip(settings->pause.longest_ms),
        .rate = service->mode.rate,
        .slot = service->mode.slot,
    };
}

static void set_mode(const struct world_spec *made, const struct config_service *settings,
                     const struct service *service, struct snapshot_service_spec *spec)
{
    static const uint8_t modes[MODE_KINDS] = {[MODE_SERVING] = SNAPSHOT_SERVING,
                                              [MODE_PAUSED] = SNAPSHOT_PAUSED,
                                              [MODE_MAINTENANCE] = SNAPSHOT_MAINTENANCE};
    spec->rules.mode = modes[service->mode.kind];
    spec->texts[SNAPSHOT_MESSAGE] = service->mode.message;
    if (service->mode.kind == MODE_PAUSED)
        spec->rules.pause = pause_of(made, settings, service);
}

/* NULL: none leads to the candidate. */
static const char *preview_field(const struct config_service *service)
{
    return service->preview.line != 0 ? service->preview.header : NULL;
}

static void add_service(struct world_spec *made, const struct registry *registry, const struct config *config,
                        const struct config_service *service)
{
    size_t i = made->spec.service_count++;
    const struct service *known = registry_service(registry, service->name);
    made->pin_cookies[i] = mem_printf("upswap-pin-%s", service->name);
    made->canary_cookies[i] = mem_printf("upswap-canary-%s", service->name);
    made->services[i] = (struct snapshot_service_spec){
        .name = service->name,
        .hosts = (const char *const *)service->hosts.items,
        .host_count = service->hosts.count,
        .paths = (const char *const *)service->paths.items,
        .path_count = service->paths.count,
        .rules = rules_of(service),
        .hash_name = service->hash_name,
        .texts = {[SNAPSHOT_REQUEST_HEADERS] =
                      header_rules(&service->headers.request, preview_field(service)),
                  [SNAPSHOT_RESPONSE_HEADERS] = header_rules(&service->headers.response, NULL),
                  [SNAPSHOT_CANONICAL_HOST] = service->canonical_host,
                  [SNAPSHOT_PREVIEW_FIELD] = preview_field(service),
                  [SNAPSHOT_PREVIEW_SECRET] = service->preview.secret,
                  [SNAPSHOT_PASS] = pass_of(service)},
        .pages = pages_of(config, service),
        .page_count = count_pages(service),
        .allowed = service->maintenance.allowed,
        .allowed_count = service->maintenance.allow.count,
        .affinity_cookie = service->affinity.line != 0 ? service->affinity.cookie : NULL,
        .pin_cookie = service->pin == CONFIG_PIN_COOKIE ? made->pin_cookies[i] : NULL,
        .canary_cookie = service->canary.by == CONFIG_CANARY_COOKIE ? made->canary_cookies[i] : NULL,
        .cookie_path = config_cookie_path(service),
        .live = SNAPSHOT_NONE,
    };
    if (known == NULL)
        return;
    add_pools(made, known, &made->services[i]);
    set_mode(made, service, known, &made->services[i]);
    set_shadow(&made->services[i], known, &service->shadow);
    set_judged(&made->services[i], known);
}

static void add_services(struct world_spec *made, const struct registry *registry,
                         const struct config *config, const struct world_extent *extent)
{
    bool is_whole = extent->ground_version == 0;
    size_t count = is_whole ? config->service_count : extent->count;
    made->services = mem_zero(count, sizeof *made->services);
    made->pin_cookies = mem_zero(count, sizeof *made->pin_cookies);
    made->canary_cookies = mem_zero(count, sizeof *made->canary_cookies);
    for (size_t i = 0; i < count; i++)
        add_service(made, registry, config, &config->services[is_whole ? i : extent->amended[i]]);
    made->spec.services = made->services;
    if (is_whole)
        return;
    made->spec.ground_version = extent->ground_version;
    made->spec.ground_services = config->service_count;
    made->spec.amended = extent->amended;
}

/* That of the first listener with TLS, unless it is the one that needs not be written. Without one, TLS is
 * the business of something in front. */
static void set_https_port(struct world_spec *made, const struct config *config,
                           const struct sockets *sockets)
{
    struct snapshot_settings *settings = &made->spec.settings;
    for (size_t i = 0; i < sockets_count(sockets); i++) {
        const struct listening *listening = sockets_at(sockets, i);
        const char *port = strrchr(listening->bound, ':');
        if (config->listeners[listening->place].tls.line == 0 || port == NULL)
            continue;
        size_t n = strlen(++port);
        if (n >= sizeof settings->https_port || strcmp(port, "443") == 0)
            return;
        memcpy(settings->https_port, port, n);
        settings->https_port_length = (uint8_t)n;
        return;
    }
}

static struct snapshot_door door_of(const struct config_listener *listener)
{
    return (struct snapshot_door){.tls = listener->tls.line > 0,
                                  .redirect = listener->redirect == CONFIG_REDIRECT_HTTPS,
                                  .staged = listener->view == CONFIG_VIEW_STAGED,
                                  .hsts_s = clip(listener->tls.hsts_ms / 1000)};
}

static void add_listeners(struct world_spec *made, const struct config *config, const struct sockets *sockets)
{
    if (sockets == NULL)
        return;
    size_t count = sockets_count(sockets);
    made->listeners = mem_zero(count, sizeof *made->listeners);
    for (size_t i = 0; i < count; i++) {
        const struct listening *listening = sockets_at(sockets, i);
        const struct config_listener *configured = &config->listeners[listening->place];
        made->listeners[i] = (struct snapshot_listener_spec){
            .id = listening->id,
            .address = listening->bound,
            .proxies = configured->proxies,
            .proxy_count = configured->proxy_texts.count,
            .door = door_of(configured),
        };
    }
    set_https_port(made, config, sockets);
    made->spec.listeners = made->listeners;
    made->spec.listener_count = count;
}

struct world_spec *world_spec_new(const struct registry *registry, const struct config *config,
                                  const struct sockets *sockets, struct drain *drain,
                                  const struct health *health, const struct pauses *pauses,
                                  const struct secrets *secrets, const struct world_extent *extent,
                                  uint64_t version)
{
    struct world_spec *made = mem_zero(1, sizeof *made);
    made->drain = drain;
    made->health = health;
    made->pauses = pauses;
    made->spec.version = version;
    made->spec.settings = settings_of(config);
    made->spec.settings.steady_ahead_ns = clock_steady_ahead_ns();
    made->spec.settings.secrets = *secrets_get(secrets);
    made->spec.trusted = config->trusted_proxies;
    made->spec.trusted_count = config->trusted_count;
    add_listeners(made, config, sockets);
    add_services(made, registry, config, extent);
    made->spec.pools = made->pools;
    return made;
}

const struct snapshot_spec *world_spec_get(const struct world_spec *made)
{
    return &made->spec;
}

void world_spec_free(struct world_spec *made)
{
    for (size_t i = 0; i < made->spec.pool_count; i++) {
        free((void *)made->pools[i].instances);
        free(made->addresses[i]);
    }
    free(made->addresses);
    free(made->pools);
    for (size_t i = 0; i < made->spec.service_count; i++) {
        free((void *)made->services[i].texts[SNAPSHOT_REQUEST_HEADERS]);
        free((void *)made->services[i].texts[SNAPSHOT_RESPONSE_HEADERS]);
        free((void *)made->services[i].texts[SNAPSHOT_PASS]);
        free((void *)made->services[i].pages);
        free(made->pin_cookies[i]);
        free(made->canary_cookies[i]);
    }
    free(made->pin_cookies);
    free(made->canary_cookies);
    free(made->services);
    free(made->listeners);
    free(made);
}
