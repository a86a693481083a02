/* freeze: from the description of the world to an image. What one could write into a config by mistake is
 * refused here with the service's name; the rest is left to image_check, which has the last word on every
 * image that leaves this room. */
#include "route/image.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/siphash.h"

#include <stdio.h>
#include <stdlib.h>

#define HOST_NAME_MAX_BYTES 253 /* RFC 1035 section 2.3.4, as text */

#define BODIES_KNOWN 64 /* pages beyond are stored as often as they are named */

/* One host and path that one service takes. */
struct route {
    struct image_text host, path; /* as keys; an empty path stands for "/" */
    uint32_t service;
};

struct freezer {
    const struct snapshot_spec *spec;
    struct buf texts;
    struct route *routes; /* sorted by host, length of path, path */
    size_t route_count;
    struct image_span parts[IMAGE_PARTS];
    struct str bodies[BODIES_KNOWN];
    struct image_text body_texts[BODIES_KNOWN];
    size_t body_count;
    struct snapshot *image; /* all but the texts */
};

static struct str text_of(const struct freezer *freezer, struct image_text text)
{
    return (struct str){freezer->texts.p + text.at, text.n};
}

static struct image_text add_bytes(struct freezer *freezer, struct str bytes)
{
    struct image_text text = {(uint32_t)freezer->texts.n, (uint32_t)bytes.n};
    buf_add_str(&freezer->texts, bytes);
    return text;
}

static bool add_text(struct freezer *freezer, const char *what, const char *bytes, struct image_text *text,
                     struct err *err)
{
    size_t n = strlen(bytes);
    if (n > IMAGE_TEXT_MAX)
        return err_set(err, "%s \"%.40s...\" is too long: it has %zu bytes, %d are allowed", what, bytes, n,
                       IMAGE_TEXT_MAX);
    *text = add_bytes(freezer, (struct str){bytes, n});
    return true;
}

/* ---- routes ---- */

/* The key of a host as it is written: in lower case, "*.suffix" as ".suffix". */
static bool add_host(struct freezer *freezer, const char *service, const char *host, struct image_text *key,
                     struct err *err)
{
    struct str name = str_of(host);
    if (str_starts_with(name, STR("*.")))
        name = (struct str){name.p + 2, name.n - 2};
    if (str_ends_with(name, STR(".")))
        name.n--;
    if (name.n > HOST_NAME_MAX_BYTES)
        return err_set(err, "service \"%s\": host \"%.40s...\" is too long: a name has at most %d bytes",
                       service, host, HOST_NAME_MAX_BYTES);
    if (name.n == 0 || name.p[0] == '.' || memchr(name.p, '*', name.n) != NULL)
        return err_set(err, "service \"%s\": host \"%s\" is neither a name nor \"*.\" and a name", service,
                       host);
    bool wildcard = name.p != host;
    *key = add_bytes(freezer, (struct str){name.p - wildcard, name.n + wildcard});
    for (char *p = freezer->texts.p + key->at; *p != '\0'; p++)
        *p = (char)image_lower(*p);
    return true;
}

static bool add_path(struct freezer *freezer, const char *service, const char *path, struct image_text *key,
                     struct err *err)
{
    struct str prefix = str_of(path);
    if (prefix.n == 0 || prefix.p[0] != '/')
        return err_set(err, "service \"%s\": path \"%.40s\" must begin with /", service, path);
    while (prefix.n > 0 && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    if (prefix.n > IMAGE_TEXT_MAX)
        return err_set(err, "service \"%s\": path \"%.40s...\" is too long: %zu bytes, %d are allowed",
                       service, path, prefix.n, IMAGE_TEXT_MAX);
    *key = add_bytes(freezer, prefix);
    return true;
}

static size_t hosts_of(const struct snapshot_service_spec *service)
{
    return service->host_count > 0 ? service->host_count : 1;
}

/* Every host of the service with every path; no host at all is the empty key. */
static bool add_routes(struct freezer *freezer, uint32_t index, struct err *err)
{
    const struct snapshot_service_spec *service = freezer->spec->services + index;
    size_t paths = service->path_count, hosts = hosts_of(service);
    struct route *grid = freezer->routes + freezer->route_count;
    for (size_t p = 0; p < paths; p++) {
        struct route route = {.service = index};
        if (!add_path(freezer, service->name, service->paths[p], &route.path, err))
            return false;
        for (size_t h = 0; h < hosts; h++)
            grid[h * paths + p] = route;
    }
    for (size_t h = 0; h < service->host_count; h++) {
        struct image_text host;
        if (!add_host(freezer, service->name, service->hosts[h], &host, err))
            return false;
        for (size_t p = 0; p < paths; p++)
            grid[h * paths + p].host = host;
    }
    freezer->route_count += hosts * paths;
    return true;
}

static int compare_texts(const struct freezer *freezer, struct image_text a, struct image_text b)
{
    if (a.n != b.n)
        return a.n < b.n ? -1 : 1;
    return memcmp(freezer->texts.p + a.at, freezer->texts.p + b.at, a.n);
}

static int compare_routes(const void *left, const void *right, void *arg)
{
    const struct route *a = left, *b = right;
    int order = compare_texts(arg, a->host, b->host);
    if (order == 0)
        order = compare_texts(arg, a->path, b->path);
    if (order == 0)
        order = a->service < b->service ? -1 : a->service > b->service;
    return order;
}

static bool refuse_clash(const struct freezer *freezer, const struct route *a, const struct route *b,
                         struct err *err)
{
    struct str host = text_of(freezer, a->host), path = text_of(freezer, a->path);
    const struct snapshot_service_spec *services = freezer->spec->services;
    char on[300] = "any host";
    if (host.n > 0)
        snprintf(on, sizeof on, "host \"%s%.*s\"", host.p[0] == '.' ? "*" : "", STR_ARG(host));
    return err_set(err, "services \"%s\" and \"%s\" both take path \"%.*s\" on %s: give one of them another",
                   services[a->service].name, services[b->service].name, path.n > 0 ? (int)path.n : 1,
                   path.n > 0 ? path.p : "/", on);
}

/* Sorts the routes, drops what one service says twice, and refuses what two services say. */
static bool sort_routes(struct freezer *freezer, struct err *err)
{
    struct route *routes = freezer->routes;
    if (freezer->route_count == 0)
        return true;
    qsort_r(routes, freezer->route_count, sizeof *routes, compare_routes, freezer);
    size_t kept = 1;
    for (size_t i = 1; i < freezer->route_count; i++) {
        struct route *last = routes + kept - 1;
        if (compare_texts(freezer, last->host, routes[i].host) != 0 ||
            compare_texts(freezer, last->path, routes[i].path) != 0)
            routes[kept++] = routes[i];
        else if (last->service != routes[i].service)
            return refuse_clash(freezer, last, routes + i, err);
    }
    freezer->route_count = kept;
    return true;
}

static bool begins_host(const struct freezer *freezer, size_t route)
{
    const struct route *at = freezer->routes + route;
    return route == 0 || compare_texts(freezer, at[-1].host, at[0].host) != 0;
}

static bool begins_length(const struct freezer *freezer, size_t route)
{
    const struct route *at = freezer->routes + route;
    return at->path.n > 0 && (begins_host(freezer, route) || at[-1].path.n != at->path.n);
}

/* ---- the image ---- */

static uint32_t slots_for(uint32_t records)
{
    uint32_t slots = 2;
    while (slots / 2 < records)
        slots *= 2;
    return slots;
}

static void count_parts(struct freezer *freezer)
{
    const struct snapshot_spec *spec = freezer->spec;
    struct image_span *parts = freezer->parts;
    parts[IMAGE_TRUSTED].count = (uint32_t)spec->trusted_count;
    parts[IMAGE_LISTENERS].count = (uint32_t)spec->listener_count;
    for (size_t i = 0; i < spec->listener_count; i++)
        parts[IMAGE_PROXIES].count += (uint32_t)spec->listeners[i].proxy_count;
    parts[IMAGE_SERVICES].count = (uint32_t)spec->service_count;
    parts[IMAGE_AMENDED].count = spec->ground_version != 0 ? (uint32_t)spec->service_count : 0;
    parts[IMAGE_POOLS].count = (uint32_t)spec->pool_count;
    for (size_t i = 0; i < spec->service_count; i++) {
        parts[IMAGE_PAGES].count += (uint32_t)spec->services[i].page_count;
        parts[IMAGE_ALLOWED].count += (uint32_t)spec->services[i].allowed_count;
    }
    for (size_t i = 0; i < spec->pool_count; i++)
        parts[IMAGE_INSTANCES].count += (uint32_t)spec->pools[i].instance_count;
    parts[IMAGE_SEATS].count = parts[IMAGE_INSTANCES].count;
    for (size_t i = 0; i < freezer->route_count; i++) {
        parts[IMAGE_HOSTS].count += begins_host(freezer, i);
        parts[IMAGE_LENGTHS].count += begins_length(freezer, i);
        parts[IMAGE_PREFIXES].count += freezer->routes[i].path.n > 0;
    }
    parts[IMAGE_HOST_SLOTS].count = slots_for(parts[IMAGE_HOSTS].count);
    parts[IMAGE_PREFIX_SLOTS].count = slots_for(parts[IMAGE_PREFIXES].count);
}

static void *part_of(struct freezer *freezer, enum image_part part)
{
    return (char *)freezer->image + freezer->parts[part].at;
}

static void put_slot(struct freezer *freezer, enum image_part part, uint32_t hash, uint32_t index)
{
    struct image_slot *slots = part_of(freezer, part);
    uint32_t mask = freezer->parts[part].count - 1, at = image_first_slot(hash) & mask;
    while (slots[at].index != SNAPSHOT_NONE)
        at = (at + 1) & mask;
    slots[at] = (struct image_slot){hash, index};
}

static void clear_slots(struct freezer *freezer, enum image_part part)
{
    struct image_slot *slots = part_of(freezer, part);
    for (uint32_t i = 0; i < freezer->parts[part].count; i++)
        slots[i] = (struct image_slot){0, SNAPSHOT_NONE};
}

static void put_routes(struct freezer *freezer)
{
    struct image_host *host = part_of(freezer, IMAGE_HOSTS);
    struct image_prefix *prefix = part_of(freezer, IMAGE_PREFIXES);
    uint32_t *lengths = part_of(freezer, IMAGE_LENGTHS);
    uint32_t hosts = 0, prefixes = 0, length_count = 0;
    clear_slots(freezer, IMAGE_HOST_SLOTS);
    clear_slots(freezer, IMAGE_PREFIX_SLOTS);
    for (size_t i = 0; i < freezer->route_count; i++) {
        const struct route *route = freezer->routes + i;
        if (begins_host(freezer, i)) {
            host[hosts] = (struct image_host){route->host, {length_count, 0}, SNAPSHOT_NONE, 0};
            put_slot(freezer, IMAGE_HOST_SLOTS, image_hash_key(text_of(freezer, route->host)), hosts);
            freezer->image->key_lengths[route->host.n / 64] |= UINT64_C(1) << route->host.n % 64;
            hosts++;
        }
        if (route->path.n == 0) {
            host[hosts - 1].root = route->service;
            continue;
        }
        if (begins_length(freezer, i)) {
            lengths[length_count++] = route->path.n;
            host[hosts - 1].lengths.count++;
        }
        prefix[prefixes] = (struct image_prefix){hosts - 1, route->service, route->path};
        put_slot(freezer, IMAGE_PREFIX_SLOTS, image_hash_path(hosts - 1, text_of(freezer, route->path)),
                 prefixes);
        prefixes++;
    }
}

static bool put_listeners(struct freezer *freezer, struct err *err)
{
    struct image_listener *listeners = part_of(freezer, IMAGE_LISTENERS);
    struct address_prefix *proxies = part_of(freezer, IMAGE_PROXIES);
    uint32_t used = 0;
    for (size_t i = 0; i < freezer->spec->listener_count; i++) {
        const struct snapshot_listener_spec *spec = freezer->spec->listeners + i;
        listeners[i].id = spec->id;
        listeners[i].door = spec->door;
        listeners[i].proxies = (struct image_span){used, (uint32_t)spec->proxy_count};
        if (spec->proxy_count > 0)
            memcpy(proxies + used, spec->proxies, spec->proxy_count * sizeof *proxies);
        used += (uint32_t)spec->proxy_count;
        if (!add_text(freezer, "the listener's address", spec->address, &listeners[i].address, err))
            return false;
    }
    return true;
}

/* A page that several services have is stored once. */
static struct image_text page_body(struct freezer *freezer, struct str body)
{
    for (size_t i = 0; i < freezer->body_count; i++) {
        if (freezer->bodies[i].p == body.p)
            return freezer->body_texts[i];
    }
    struct image_text text = add_bytes(freezer, body);
    if (freezer->body_count < BODIES_KNOWN) {
        freezer->bodies[freezer->body_count] = body;
        freezer->body_texts[freezer->body_count++] = text;
    }
    return text;
}

static void put_pages(struct freezer *freezer, const struct snapshot_service_spec *spec,
                      struct snapshot_service *service, uint32_t *used)
{
    struct image_page *pages = part_of(freezer, IMAGE_PAGES);
    service->pages = (struct image_span){*used, (uint32_t)spec->page_count};
    for (size_t i = 0; i < spec->page_count; i++) {
        const struct snapshot_page_spec *page = &spec->pages[i];
        pages[(*used)++] = (struct image_page){page->status, page->json, page_body(freezer, page->body)};
    }
}

static void put_allowed(struct freezer *freezer, const struct snapshot_service_spec *spec,
                        struct snapshot_service *service, uint32_t *used)
{
    struct address_prefix *allowed = part_of(freezer, IMAGE_ALLOWED);
    service->allowed = (struct image_span){*used, (uint32_t)spec->allowed_count};
    if (spec->allowed_count > 0)
        memcpy(allowed + *used, spec->allowed, spec->allowed_count * sizeof *allowed);
    *used += (uint32_t)spec->allowed_count;
}

/* Texts that may be absent. */
static bool add_option(struct freezer *freezer, const char *bytes, const char *otherwise,
                       struct image_text *text, struct err *err)
{
    return add_text(freezer, "a text of the service", bytes == NULL ? otherwise : bytes, text, err);
}

static bool put_names(struct freezer *freezer, struct snapshot_service *service,
                      const struct snapshot_service_spec *spec, struct err *err)
{
    return add_text(freezer, "the service's name", spec->name, &service->name, err) &&
           add_option(freezer, spec->hash_name, "", &service->hash_name, err) &&
           add_option(freezer, spec->affinity_cookie, "", &service->cookies[SNAPSHOT_AFFINITY], err) &&
           add_option(freezer, spec->pin_cookie, "", &service->cookies[SNAPSHOT_PIN], err) &&
           add_option(freezer, spec->canary_cookie, "", &service->cookies[SNAPSHOT_CANARY], err) &&
           add_option(freezer, spec->cookie_path, "/", &service->cookie_path, err);
}

static void put_candidate(const struct freezer *freezer, struct snapshot_service *service,
                          const struct snapshot_service_spec *spec)
{
    service->candidate = SNAPSHOT_NONE;
    for (uint32_t i = spec->pool_first;
         i < spec->pool_first + spec->pool_count && i < freezer->spec->pool_count; i++) {
        if (!freezer->spec->pools[i].candidate)
            continue;
        service->candidate = i;
        service->canary_share = freezer->spec->pools[i].canary_share;
        service->warms = freezer->spec->pools[i].warms;
    }
}

static bool put_services(struct freezer *freezer, struct err *err)
{
    struct snapshot_service *services = part_of(freezer, IMAGE_SERVICES);
    uint32_t pages = 0, allowed = 0;
    for (size_t i = 0; i < freezer->spec->service_count; i++) {
        const struct snapshot_service_spec *spec = freezer->spec->services + i;
        services[i].live = spec->live;
        freezer->image->paused += spec->rules.mode == SNAPSHOT_PAUSED;
        put_candidate(freezer, &services[i], spec);
        services[i].rules = spec->rules;
        services[i].pools = (struct image_span){spec->pool_first, spec->pool_count};
        if (!put_names(freezer, services + i, spec, err))
            return false;
        put_pages(freezer, spec, &services[i], &pages);
        put_allowed(freezer, spec, &services[i], &allowed);
        for (unsigned k = 0; k < SNAPSHOT_TEXTS; k++) {
            if (spec->texts[k] != NULL)
                services[i].texts[k] = add_bytes(freezer, str_of(spec->texts[k]));
        }
        services[i].rules.texts = image_texts_there(&services[i]);
        services[i].rules.cookies = image_cookies_there(&services[i]);
    }
    return true;
}

/* From the name, so that an address keeps its keys from one pool to the next. What must not be foreseen is
 * the key that it is blended with. */
static uint64_t seed_of(const char *name)
{
    static const uint64_t key[2];
    return siphash(key, name, strlen(name));
}

static struct snapshot_seat seat_of(const struct snapshot_instance_spec *spec)
{
    return (struct snapshot_seat){.seed = seed_of(spec->name),
                                  .weight = spec->weight == 0 ? 1 : spec->weight};
}

static bool put_instance(struct freezer *freezer, struct image_instance *instance,
                         const struct snapshot_instance_spec *spec, struct err *err)
{
    if (spec->address_length > sizeof instance->address)
        return err_set(
            err,
            "instance \"%.40s\" has an address of %u bytes; only IPv4, IPv6 and Unix sockets are possible",
            spec->name, (unsigned)spec->address_length);
    instance->id = spec->id;
    instance->slot = spec->slot;
    instance->drained = spec->drained;
    instance->down = spec->down;
    instance->since_ms = spec->since_ms;
    instance->address_length = spec->address_length;
    memcpy(&instance->address, spec->address, spec->address_length);
    return add_text(freezer, "the instance's name", spec->name, &instance->name, err);
}

static bool put_pools(struct freezer *freezer, struct err *err)
{
    struct snapshot_pool *pools = part_of(freezer, IMAGE_POOLS);
    struct image_instance *instances = part_of(freezer, IMAGE_INSTANCES);
    struct snapshot_seat *seats = part_of(freezer, IMAGE_SEATS);
    uint32_t used = 0;
    for (size_t i = 0; i < freezer->spec->pool_count; i++) {
        const struct snapshot_pool_spec *spec = freezer->spec->pools + i;
        pools[i].number = spec->number;
        pools[i].slot = spec->slot;
        pools[i].drain = spec->drain;
        pools[i].instances = (struct image_span){used, (uint32_t)spec->instance_count};
        if (!add_text(freezer, "the pool's deployment", spec->deployment, &pools[i].deployment, err) ||
            !add_text(freezer, "the release", spec->release, &pools[i].release, err))
            return false;
        for (size_t j = 0; j < spec->instance_count; j++, used++) {
            seats[used] = seat_of(spec->instances + j);
            if (spec->instances[j].since_ms > pools[i].since_ms)
                pools[i].since_ms = spec->instances[j].since_ms;
            if (!put_instance(freezer, instances + used, spec->instances + j, err))
                return false;
        }
        pools[i].even = image_is_even(seats + pools[i].instances.at, spec->instance_count);
    }
    return true;
}

static bool too_big(struct err *err)
{
    return err_set(err, "the world is too big for one snapshot: its image would pass 4 GiB");
}

/* All records, with their texts still in freezer->texts. */
static bool put_records(struct freezer *freezer, struct err *err)
{
    const struct snapshot_spec *spec = freezer->spec;
    count_parts(freezer);
    uint64_t size = image_place(freezer->parts);
    if (size > UINT32_MAX)
        return too_big(err);
    freezer->image = mem_zero(1, size);
    freezer->image->magic = IMAGE_MAGIC;
    freezer->image->layout = IMAGE_LAYOUT;
    freezer->image->version = spec->version;
    freezer->image->ground_version = spec->ground_version;
    freezer->image->settings = spec->settings;
    if (spec->trusted_count > 0)
        memcpy(part_of(freezer, IMAGE_TRUSTED), spec->trusted, spec->trusted_count * sizeof *spec->trusted);
    if (spec->ground_version != 0 && spec->service_count > 0)
        memcpy(part_of(freezer, IMAGE_AMENDED), spec->amended, spec->service_count * sizeof *spec->amended);
    put_routes(freezer);
    return put_listeners(freezer, err) && put_services(freezer, err) && put_pools(freezer, err);
}

/* Puts the texts behind the records and completes the header. */
static bool put_texts(struct freezer *freezer, struct err *err)
{
    if (freezer->texts.n > UINT32_MAX)
        return too_big(err);
    freezer->parts[IMAGE_TEXTS].count = (uint32_t)freezer->texts.n;
    uint64_t size = image_place(freezer->parts);
    if (size > UINT32_MAX)
        return too_big(err);
    freezer->image = mem_resize(freezer->image, 1, size);
    freezer->image->size = size;
    memcpy(freezer->image->parts, freezer->parts, sizeof freezer->parts);
    char *texts = part_of(freezer, IMAGE_TEXTS);
    memset(texts, 0, size - freezer->parts[IMAGE_TEXTS].at);
    if (freezer->texts.n > 0)
        memcpy(texts, freezer->texts.p, freezer->texts.n);
    return image_check(freezer->image, size, freezer->spec->ground_version, freezer->spec->ground_services,
                       err);
}

static bool make_routes(struct freezer *freezer, struct err *err)
{
    const struct snapshot_spec *spec = freezer->spec;
    size_t routes = 0;
    for (size_t i = 0; i < spec->service_count; i++)
        routes += hosts_of(spec->services + i) * spec->services[i].path_count;
    freezer->routes = mem_resize(NULL, routes, sizeof *freezer->routes);
    for (size_t i = 0; i < spec->service_count; i++) {
        if (!add_routes(freezer, (uint32_t)i, err))
            return false;
    }
    return sort_routes(freezer, err);
}

static bool freeze(struct freezer *freezer, struct err *err)
{
    bool is_whole = freezer->spec->ground_version == 0;
    return (!is_whole || make_routes(freezer, err)) && put_records(freezer, err) && put_texts(freezer, err);
}

void *snapshot_freeze(const struct snapshot_spec *spec, size_t *size, struct err *err)
{
    struct freezer freezer = {.spec = spec, .texts = BUF_EMPTY};
    bool done = freeze(&freezer, err);
    buf_free(&freezer.texts);
    free(freezer.routes);
    if (!done) {
        free(freezer.image);
        return NULL;
    }
    *size = freezer.image->size;
    return freezer.image;
}
