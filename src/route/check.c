/* Checks an image: everything is checked here once, so that no reader has to check anything later. */
#include "route/image.h"

static bool is_text(const struct snapshot *snapshot, struct image_text text)
{
    uint32_t all = snapshot->parts[IMAGE_TEXTS].count;
    return text.n <= IMAGE_TEXT_MAX && text.at <= all && text.n <= all - text.at;
}

static bool is_span(const struct snapshot *snapshot, enum image_part part, struct image_span span)
{
    uint32_t all = snapshot->parts[part].count;
    return span.at <= all && span.count <= all - span.at;
}

static bool is_rate(struct snapshot_rate rate)
{
    return rate.per_second == 0 || (rate.per_second <= SNAPSHOT_RATE_MAX && rate.burst > 0 &&
                                    rate.burst / rate.per_second < SNAPSHOT_RATE_WINDOW);
}

static bool check_header(const struct snapshot *snapshot, size_t size, struct err *err)
{
    if ((uintptr_t)snapshot % 8 != 0)
        return err_set(err, "it does not begin at a multiple of 8");
    if (size < sizeof *snapshot || snapshot->magic != IMAGE_MAGIC)
        return err_set(err, "its %zu bytes do not begin with a snapshot's header", size);
    if (snapshot->layout != IMAGE_LAYOUT)
        return err_set(err, "its layout is %llu, this program reads layout %d",
                       (unsigned long long)snapshot->layout, IMAGE_LAYOUT);
    struct image_span parts[IMAGE_PARTS];
    memcpy(parts, snapshot->parts, sizeof parts);
    if (snapshot->size != size || image_place(parts) != size)
        return err_set(err, "its parts do not add up to its %zu bytes", size);
    if (memcmp(parts, snapshot->parts, sizeof parts) != 0)
        return err_set(err, "its parts do not follow each other");
    if (parts[IMAGE_SEATS].count != parts[IMAGE_INSTANCES].count)
        return err_set(err, "it has %u instances, but seats for %u", parts[IMAGE_INSTANCES].count,
                       parts[IMAGE_SEATS].count);
    if (snapshot->settings.http2.window > INT32_MAX)
        return err_set(err, "window %u of HTTP/2 is too large", snapshot->settings.http2.window);
    if (snapshot->settings.access_log > SNAPSHOT_LOG_COMBINED)
        return err_set(err, "access log format %u is unknown", snapshot->settings.access_log);
    if (snapshot->settings.https_port_length > sizeof snapshot->settings.https_port)
        return err_set(err, "its port for https is too long");
    return is_rate(snapshot->settings.rate) || err_set(err, "its limit of requests is impossible");
}

static bool check_networks(const struct snapshot *snapshot, enum image_part part, struct err *err)
{
    const struct address_prefix *networks = image_part(snapshot, part);
    for (uint32_t i = 0; i < snapshot->parts[part].count; i++) {
        if (networks[i].bits > 128)
            return err_set(err, "network %u has %u bits", i, networks[i].bits);
    }
    return true;
}

static bool check_listeners(const struct snapshot *snapshot, struct err *err)
{
    const struct image_listener *listeners = image_part(snapshot, IMAGE_LISTENERS);
    if (snapshot->parts[IMAGE_LISTENERS].count > SNAPSHOT_LISTENERS_MAX)
        return err_set(err, "it has %u listeners; at most %d are possible",
                       snapshot->parts[IMAGE_LISTENERS].count, SNAPSHOT_LISTENERS_MAX);
    for (uint32_t i = 0; i < snapshot->parts[IMAGE_LISTENERS].count; i++) {
        if (listeners[i].id >= SNAPSHOT_LISTENERS_MAX || !is_text(snapshot, listeners[i].address))
            return err_set(err, "listener %u has the impossible id %u or address", i, listeners[i].id);
        if (!is_span(snapshot, IMAGE_PROXIES, listeners[i].proxies))
            return err_set(err, "listener %u has proxies that are not in it", i);
    }
    return true;
}

/* No text may end a line of a head: what a rule makes of it is one line. */
static bool is_long_text(const struct snapshot *snapshot, struct image_text text)
{
    uint32_t all = snapshot->parts[IMAGE_TEXTS].count;
    if (text.n > IMAGE_LONG_MAX || text.at > all || text.n > all - text.at)
        return false;
    struct str bytes = image_str(snapshot, text);
    for (size_t i = 0; i < bytes.n; i++) {
        uint8_t byte = (uint8_t)bytes.p[i];
        if ((byte < ' ' && byte != '\n' && byte != '\t') || byte == 0x7f)
            return false;
    }
    return true;
}

/* What goes into a Set-Cookie line as it is. */
static bool is_cookie_text(const struct snapshot *snapshot, struct image_text text)
{
    if (!is_text(snapshot, text))
        return false;
    struct str bytes = image_str(snapshot, text);
    for (size_t i = 0; i < bytes.n; i++) {
        if (bytes.p[i] <= ' ' || bytes.p[i] >= 0x7f || bytes.p[i] == ';')
            return false;
    }
    return true;
}

static bool are_cookies(const struct snapshot *snapshot, const struct snapshot_service *service)
{
    for (unsigned i = 0; i < SNAPSHOT_COOKIES; i++) {
        if (!is_cookie_text(snapshot, service->cookies[i]))
            return false;
    }
    return is_cookie_text(snapshot, service->cookie_path);
}

/* Copies are of live requests and for a candidate, and whose they are is known. */
static bool is_shadow(const struct snapshot_service *service)
{
    const struct snapshot_rules *rules = &service->rules;
    bool may_be =
        rules->shadow_run != 0 && service->live != SNAPSHOT_NONE && service->candidate != SNAPSHOT_NONE;
    return rules->shadow_share <= (may_be ? SNAPSHOT_WHOLE : 0) && rules->shadow_credentials <= 1;
}

static bool check_services(const struct snapshot *snapshot, struct err *err)
{
    const struct snapshot_service *services = image_part(snapshot, IMAGE_SERVICES);
    uint32_t pools = snapshot->parts[IMAGE_POOLS].count, paused = 0;
    for (uint32_t i = 0; i < snapshot->parts[IMAGE_SERVICES].count; i++) {
        const struct snapshot_service *service = services + i;
        if (!is_text(snapshot, service->name) || !is_text(snapshot, service->hash_name))
            return err_set(err, "service %u has no readable name", i);
        struct str name = image_str(snapshot, service->name);
        if (!are_cookies(snapshot, service) || !is_span(snapshot, IMAGE_POOLS, service->pools))
            return err_set(err, "service \"%.*s\" has cookies or pools that cannot be", STR_ARG(name));
        if (service->live != SNAPSHOT_NONE && service->live >= pools)
            return err_set(err, "service \"%.*s\" has the live pool %u, but there are only %u pools",
                           STR_ARG(name), service->live, pools);
        if (service->candidate != SNAPSHOT_NONE && service->candidate >= pools)
            return err_set(err, "service \"%.*s\" has the candidate %u, but there are only %u pools",
                           STR_ARG(name), service->candidate, pools);
        bool may_share = service->live != SNAPSHOT_NONE && service->candidate != SNAPSHOT_NONE;
        if (service->canary_share > (may_share ? SNAPSHOT_WHOLE : 0))
            return err_set(err, "service \"%.*s\" has the impossible canary share %u", STR_ARG(name),
                           service->canary_share);
        if (service->warms > (may_share ? 1 : 0))
            return err_set(err, "service \"%.*s\" has connections made for nobody", STR_ARG(name));
        if (!is_shadow(service))
            return err_set(err, "service \"%.*s\" has an impossible shadow", STR_ARG(name));
        if (service->rules.h2 > 1)
            return err_set(err, "service \"%.*s\" has an unknown kind of upstream", STR_ARG(name));
        if (service->rules.balance > SNAPSHOT_HASH_COOKIE || service->rules.strip_path > 1 ||
            service->rules.forwarded > 1 || service->rules.trace >= SNAPSHOT_TRACES)
            return err_set(err, "service \"%.*s\" has an unknown balance, strip_path, forwarded or trace",
                           STR_ARG(name));
        for (unsigned k = 0; k < SNAPSHOT_TEXTS; k++) {
            if (!is_long_text(snapshot, service->texts[k]))
                return err_set(err, "service \"%.*s\" has the impossible text %u", STR_ARG(name), k);
        }
        if (service->rules.texts != image_texts_there(service) ||
            service->rules.cookies != image_cookies_there(service))
            return err_set(err, "service \"%.*s\" has other texts or cookies than it says", STR_ARG(name));
        if (service->rules.redirect_https > 1 || !is_span(snapshot, IMAGE_PAGES, service->pages))
            return err_set(err, "service \"%.*s\" has pages or a redirect that are not in it", STR_ARG(name));
        if (service->rules.mode >= SNAPSHOT_MODES || service->rules.pause.slot >= SNAPSHOT_PAUSE_SLOTS ||
            !is_span(snapshot, IMAGE_ALLOWED, service->allowed))
            return err_set(err, "service \"%.*s\" has an unknown mode, or networks that are not in it",
                           STR_ARG(name));
        if (!is_rate(service->rules.rate))
            return err_set(err, "service \"%.*s\" has an impossible limit of requests", STR_ARG(name));
        if (service->rules.tls > 1)
            return err_set(err, "service \"%.*s\" has an unknown kind of tls", STR_ARG(name));
        if (service->rules.proxy_protocol > 2)
            return err_set(err, "service \"%.*s\" has an unknown version of the PROXY protocol",
                           STR_ARG(name));
        paused += service->rules.mode == SNAPSHOT_PAUSED;
    }
    return paused == snapshot->paused ||
           err_set(err, "it counts %u paused services, but has %u", snapshot->paused, paused);
}

/* What an amendment takes the place of; it has no routes of its own, so that nothing can be said twice. */
static bool check_amended(const struct snapshot *snapshot, size_t ground_services, struct err *err)
{
    const uint32_t *amended = image_part(snapshot, IMAGE_AMENDED);
    uint32_t count = snapshot->parts[IMAGE_AMENDED].count;
    if (count != (snapshot->ground_version == 0 ? 0 : snapshot->parts[IMAGE_SERVICES].count))
        return err_set(err, "it amends %u services, but has %u", count,
                       snapshot->parts[IMAGE_SERVICES].count);
    if (snapshot->ground_version != 0 &&
        snapshot->parts[IMAGE_HOSTS].count + snapshot->parts[IMAGE_PREFIXES].count > 0)
        return err_set(err, "it amends another, but has routes");
    for (uint32_t i = 0; i < count; i++) {
        if (amended[i] >= ground_services || (i > 0 && amended[i] <= amended[i - 1]))
            return err_set(err, "it amends service %u of %zu out of order", amended[i], ground_services);
    }
    return true;
}

static bool check_pages(const struct snapshot *snapshot, struct err *err)
{
    const struct image_page *pages = image_part(snapshot, IMAGE_PAGES);
    uint32_t all = snapshot->parts[IMAGE_TEXTS].count;
    for (uint32_t i = 0; i < snapshot->parts[IMAGE_PAGES].count; i++) {
        struct image_text body = pages[i].body;
        if (body.n > SNAPSHOT_PAGE_MAX || body.at > all || body.n > all - body.at || pages[i].json > 1)
            return err_set(err, "error page %u has no readable body", i);
    }
    return true;
}

static bool check_pools(const struct snapshot *snapshot, struct err *err)
{
    const struct snapshot_pool *pools = image_part(snapshot, IMAGE_POOLS);
    for (uint32_t i = 0; i < snapshot->parts[IMAGE_POOLS].count; i++) {
        const struct snapshot_pool *pool = pools + i;
        if (!is_text(snapshot, pool->deployment) || !is_text(snapshot, pool->release))
            return err_set(err, "pool %u has no readable deployment or release", i);
        struct str name = image_str(image_of(snapshot, pool), pool->deployment);
        if (pool->slot >= SNAPSHOT_POOL_SLOTS)
            return err_set(err, "pool \"%.*s\" has the counter slot %u of %d", STR_ARG(name), pool->slot,
                           SNAPSHOT_POOL_SLOTS);
        if (!is_span(snapshot, IMAGE_INSTANCES, pool->instances))
            return err_set(err, "pool \"%.*s\" has instances that are not in it", STR_ARG(name));
        if (pool->even != image_is_even(snapshot_pool_seats(snapshot, pool), pool->instances.count))
            return err_set(err, "pool \"%.*s\" does not tell how the weights of its instances are",
                           STR_ARG(name));
    }
    return true;
}

static bool is_address(const struct image_instance *instance)
{
    const union image_address *address = &instance->address;
    size_t head = offsetof(struct sockaddr_un, sun_path), n = instance->address_length;
    switch (address->any.sa_family) {
    case AF_UNIX:
        return n > head + 1 && n <= sizeof address->path && address->path.sun_path[0] == '/' &&
               strnlen(address->path.sun_path, n - head) == n - head - 1;
    case AF_INET:
        return instance->address_length == sizeof(struct sockaddr_in) && instance->address.ip4.sin_port != 0;
    case AF_INET6:
        return instance->address_length == sizeof(struct sockaddr_in6) &&
               instance->address.ip6.sin6_port != 0;
    default:
        return false;
    }
}

static bool check_instances(const struct snapshot *snapshot, struct err *err)
{
    const struct image_instance *instances = image_part(snapshot, IMAGE_INSTANCES);
    const struct snapshot_seat *seats = image_part(snapshot, IMAGE_SEATS);
    for (uint32_t i = 0; i < snapshot->parts[IMAGE_INSTANCES].count; i++) {
        const struct image_instance *instance = instances + i;
        if (!is_text(snapshot, instance->name))
            return err_set(err, "instance %u has no readable name", i);
        struct str name = image_str(snapshot, instance->name);
        if (!is_address(instance))
            return err_set(err,
                           "instance \"%.*s\" has no IPv4 or IPv6 address with a port, nor an "
                           "absolute path",
                           STR_ARG(name));
        if (instance->slot >= SNAPSHOT_INSTANCE_SLOTS || instance->drained > 1 || instance->down > 1)
            return err_set(
                err, "instance \"%.*s\" has the counter slot %u of %d, or is drained by %u and down by %u",
                STR_ARG(name), instance->slot, SNAPSHOT_INSTANCE_SLOTS, instance->drained, instance->down);
        if (seats[i].weight == 0 || seats[i].weight > SNAPSHOT_WEIGHT_MAX)
            return err_set(err, "instance \"%.*s\" has the weight %u; 1 to %d are possible", STR_ARG(name),
                           seats[i].weight, SNAPSHOT_WEIGHT_MAX);
    }
    return true;
}

static bool lengths_ascend(const struct snapshot *snapshot, struct image_span span)
{
    const uint32_t *lengths = (const uint32_t *)image_part(snapshot, IMAGE_LENGTHS) + span.at;
    for (uint32_t i = 1; i < span.count; i++) {
        if (lengths[i] <= lengths[i - 1])
            return false;
    }
    return true;
}

static bool check_hosts(const struct snapshot *snapshot, struct err *err)
{
    const struct image_host *hosts = image_part(snapshot, IMAGE_HOSTS);
    uint32_t services = snapshot->parts[IMAGE_SERVICES].count;
    for (uint32_t i = 0; i < snapshot->parts[IMAGE_HOSTS].count; i++) {
        const struct image_host *host = hosts + i;
        if (!is_text(snapshot, host->key) || !is_span(snapshot, IMAGE_LENGTHS, host->lengths) ||
            !lengths_ascend(snapshot, host->lengths))
            return err_set(err, "host %u has no readable key or lengths", i);
        if (host->root != SNAPSHOT_NONE && host->root >= services)
            return err_set(err, "host %u leads to service %u of %u", i, host->root, services);
    }
    return true;
}

static bool check_prefixes(const struct snapshot *snapshot, struct err *err)
{
    const struct image_prefix *prefixes = image_part(snapshot, IMAGE_PREFIXES);
    for (uint32_t i = 0; i < snapshot->parts[IMAGE_PREFIXES].count; i++) {
        const struct image_prefix *prefix = prefixes + i;
        if (!is_text(snapshot, prefix->path) || prefix->host >= snapshot->parts[IMAGE_HOSTS].count ||
            prefix->service >= snapshot->parts[IMAGE_SERVICES].count)
            return err_set(err, "path prefix %u has no readable path, host or service", i);
    }
    return true;
}

/* As many slots are taken as there are records, and one is empty: then every probe sequence ends. */
static bool is_table(const struct snapshot *snapshot, enum image_part slots_part, enum image_part records)
{
    const struct image_slot *slots = image_part(snapshot, slots_part);
    uint32_t count = snapshot->parts[slots_part].count, taken = 0;
    if (count == 0 || (count & (count - 1)) != 0)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (slots[i].index == SNAPSHOT_NONE)
            continue;
        if (slots[i].index >= snapshot->parts[records].count)
            return false;
        taken++;
    }
    return taken == snapshot->parts[records].count && taken < count;
}

/* Both tables must be sound, and every record be found under its own key. */
static bool check_tables(const struct snapshot *snapshot, struct err *err)
{
    if (!is_table(snapshot, IMAGE_HOST_SLOTS, IMAGE_HOSTS) ||
        !is_table(snapshot, IMAGE_PREFIX_SLOTS, IMAGE_PREFIXES))
        return err_set(err, "its hash tables do not hold its hosts and path prefixes");
    const struct image_host *hosts = image_part(snapshot, IMAGE_HOSTS);
    for (uint32_t i = 0; i < snapshot->parts[IMAGE_HOSTS].count; i++) {
        struct str key = image_str(snapshot, hosts[i].key);
        if (key.n > IMAGE_HOST_MAX || (snapshot->key_lengths[key.n / 64] >> key.n % 64 & 1) == 0 ||
            image_find_host(snapshot, key) != hosts + i)
            return err_set(err, "host %u cannot be found by its key", i);
    }
    const struct image_prefix *prefixes = image_part(snapshot, IMAGE_PREFIXES);
    for (uint32_t i = 0; i < snapshot->parts[IMAGE_PREFIXES].count; i++) {
        struct str path = image_str(snapshot, prefixes[i].path);
        uint32_t hash = image_hash_path(prefixes[i].host, path);
        if (image_find_prefix(snapshot, prefixes[i].host, path, hash) != prefixes + i)
            return err_set(err, "path prefix %u cannot be found by its path", i);
    }
    return true;
}

static bool check_ground(const struct snapshot *snapshot, uint64_t ground_version, struct err *err)
{
    if (snapshot->ground != 0)
        return err_set(err, "it says where another image would lie");
    return snapshot->ground_version == ground_version ||
           err_set(err, "it amends version %llu, not %llu", (unsigned long long)snapshot->ground_version,
                   (unsigned long long)ground_version);
}

bool image_check(const struct snapshot *snapshot, size_t size, uint64_t ground_version,
                 size_t ground_services, struct err *err)
{
    if (check_header(snapshot, size, err) && check_ground(snapshot, ground_version, err) &&
        check_amended(snapshot, ground_services, err) && check_networks(snapshot, IMAGE_TRUSTED, err) &&
        check_networks(snapshot, IMAGE_PROXIES, err) && check_networks(snapshot, IMAGE_ALLOWED, err) &&
        check_listeners(snapshot, err) && check_services(snapshot, err) && check_pages(snapshot, err) &&
        check_pools(snapshot, err) && check_instances(snapshot, err) && check_hosts(snapshot, err) &&
        check_prefixes(snapshot, err) && check_tables(snapshot, err))
        return true;
    err_prefix(err, "not a valid snapshot");
    return false;
}
