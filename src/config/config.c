/* From the file to the struct: libconfig reads, the tables fill, then what concerns several values at once is
 * made and checked. Invariant: a struct that is given out has passed every check that needs no machine. */
#include "config/config.h"

#include "base/buf.h"
#include "base/endpoint.h"
#include "base/mem.h"
#include "config/claims.h"
#include "config/header_rules.h"
#include "config/keys.h"
#include "config/pages.h"
#include "config/places.h"
#include "config/rules.h"
#include "config/source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define RATE_WINDOW 3600 /* seconds, as route/snapshot.h has it */

/* Hosts are matched without case, and neither the dot at their end nor a slash at the end of a path prefix
 * makes a difference: kept in one form, so that equal routes are seen. */
static void normalize_routes(struct config_service *service)
{
    for (size_t i = 0; i < service->hosts.count; i++) {
        char *c = service->hosts.items[i];
        for (; *c != '\0'; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
        if (c[-1] == '.')
            c[-1] = '\0';
    }
    for (size_t i = 0; i < service->paths.count; i++) {
        char *path = service->paths.items[i];
        size_t n = strlen(path);
        while (n > 1 && path[n - 1] == '/')
            path[--n] = '\0';
    }
}

static void split_balance(struct config_service *service)
{
    if (!rule_balance_read(str_of(service->balance_text), &service->balance, &service->hash_name))
        abort();
}

/* Puts the weights beside the addresses. */
static void split_instances(struct config_service *service)
{
    service->weights = mem_zero(service->instances.count, sizeof *service->weights);
    for (size_t i = 0; i < service->instances.count; i++) {
        struct endpoint endpoint;
        struct err ignored;
        char *text = service->instances.items[i];
        if (!endpoint_parse(str_of(text), &endpoint, &ignored))
            abort();
        service->weights[i] = endpoint.weight;
        text[endpoint.address.n] = '\0';
    }
}

/* The rules of the rows have accepted these texts. */
static struct address parsed_address(const char *text)
{
    struct address address;
    struct err ignored;
    if (!address_parse(str_of(text), true, &address, &ignored))
        abort();
    return address;
}

static struct address parsed_instance(const char *text)
{
    struct address address;
    struct err ignored;
    if (!address_parse_instance(str_of(text), &address, &ignored))
        abort();
    return address;
}

static struct address_prefix *parsed_networks(const struct config_list *texts)
{
    struct err ignored;
    struct address_prefix *networks = mem_zero(texts->count, sizeof *networks);
    for (size_t i = 0; i < texts->count; i++) {
        if (!address_prefix_parse(str_of(texts->items[i]), &networks[i], &ignored))
            abort();
    }
    return networks;
}

/* Calls over HTTP/2 (gRPC) may send a message now and then for hours, and hold no connection meanwhile:
 * unless it is written, they have no minimum. */
static void derive_rate(const struct config *config, struct config_service *service)
{
    uint64_t *rate = &service->timeouts.minimum_rate;
    if (service->upstream == CONFIG_UPSTREAM_H2 && places_line(config->places, rate, 0) == 0)
        *rate = 0;
}

static void derive_listener(struct config_listener *listener)
{
    listener->address = parsed_address(listener->text);
    listener->proxies = parsed_networks(&listener->proxy_texts);
}

static int by_name(const void *a, const void *b)
{
    const struct config_service *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

/* There may be ten thousand, and each is looked up as often. */
static void index_services(struct config *config)
{
    config->by_name = mem_zero(config->service_count, sizeof *config->by_name);
    for (size_t i = 0; i < config->service_count; i++)
        config->by_name[i] = &config->services[i];
    qsort(config->by_name, config->service_count, sizeof *config->by_name, by_name);
}

static void derive(struct config *config)
{
    if (config->access_log_path == NULL)
        config->access_log_format = CONFIG_ACCESS_LOG_NONE;
    for (size_t i = 0; i < config->listener_count; i++)
        derive_listener(&config->listeners[i]);
    if (config->admin.listen != NULL) {
        config->admin.listen_address = parsed_address(config->admin.listen);
        config->admin.listen_line = places_line(config->places, &config->admin.listen, 1);
    }
    config->trusted_count = config->trusted_texts.count;
    config->trusted_proxies = parsed_networks(&config->trusted_texts);
    config->default_timeouts = config->defaults.timeouts;
    for (size_t i = 0; i < config->service_count; i++) {
        config->services[i].maintenance.allowed = parsed_networks(&config->services[i].maintenance.allow);
        normalize_routes(&config->services[i]);
        split_instances(&config->services[i]);
        split_balance(&config->services[i]);
        derive_rate(config, &config->services[i]);
    }
    index_services(config);
}

/* The address in one spelling: "[::1]:80" for "[0:0::1]:80". */
static char *canonical(const struct address *address)
{
    struct address same = *address;
    uint8_t bytes[16];
    char text[ADDRESS_TEXT_MAX];
    int family = address->kind == ADDRESS_IPV6 ? AF_INET6 : AF_INET;
    bool is_ip = address->kind == ADDRESS_IPV4 || address->kind == ADDRESS_IPV6;
    if (is_ip && inet_pton(family, address->host, bytes) == 1)
        inet_ntop(family, bytes, same.host, sizeof same.host);
    return mem_dup(address_text(&same, text));
}

/* Checks the claims and frees them. */
static bool settle(const struct config *config, struct claims *claims, const char *what, const char *remedy,
                   struct err *err)
{
    bool unique = claims_check(claims, config->places, config->path, what, remedy, err);
    claims_free(claims);
    return unique;
}

/* It would lead to itself. */
static bool check_redirect(const struct config *config, const struct config_listener *listener,
                           struct err *err)
{
    if (listener->redirect == CONFIG_REDIRECT_NONE || listener->tls.line == 0)
        return true;
    return err_set(err, "%s:%u: a listener with tls cannot redirect to https; remove one of the two",
                   config->path, places_line(config->places, &listener->redirect, listener->line));
}

static bool check_client_ca(const struct config *config, const struct config_tls *tls, struct err *err)
{
    if (tls->client_verify == CONFIG_CLIENT_OFF || tls->client_ca != NULL)
        return true;
    return err_set(err, "%s:%u: tls.client_verify needs tls.client_ca, the authorities that sign for clients",
                   config->path, places_line(config->places, &tls->client_verify, tls->line));
}

static bool check_doors(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (!check_redirect(config, listener, err) || !check_client_ca(config, &listener->tls, err))
            return false;
    }
    return true;
}

/* An address to listen on. Port 0 asks for any free port, so it is never the same one twice. */
struct door {
    const struct address *address;
    const void *field;
    unsigned line;
};

/* Those of all listeners; to be freed. */
static struct door *doors_of(const struct config *config, size_t *count)
{
    const struct config_admin *admin = &config->admin;
    struct door *doors = mem_zero(config->listener_count + 1, sizeof *doors);
    *count = 0;
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (listener->address.port != 0)
            doors[(*count)++] = (struct door){&listener->address, &listener->text, listener->line};
    }
    if (admin->listen != NULL && admin->listen_address.port != 0)
        doors[(*count)++] = (struct door){&admin->listen_address, &admin->listen, admin->listen_line};
    return doors;
}

static bool is_wildcard(const struct address *address)
{
    uint8_t bytes[16] = {0};
    static const uint8_t none[16];
    int family = address->kind == ADDRESS_IPV6 ? AF_INET6 : AF_INET;
    return inet_pton(family, address->host, bytes) == 1 && memcmp(bytes, none, sizeof none) == 0;
}

/* All addresses of a family and one of them cannot be listened on beside each other. */
static bool check_wildcards(const struct config *config, const struct door *doors, size_t count,
                            struct err *err)
{
    for (size_t i = 0; i < count * count; i++) {
        const struct door *wide = &doors[i / count], *one = &doors[i % count];
        if (wide == one || wide->address->kind != one->address->kind ||
            wide->address->port != one->address->port || !is_wildcard(wide->address))
            continue;
        char *text = canonical(wide->address), *part = canonical(one->address);
        err_set(err, "%s:%u: the address \"%s\" covers \"%s\" on line %u; listen on one of the two",
                config->path, places_line(config->places, wide->field, wide->line), text, part,
                places_line(config->places, one->field, one->line));
        free(text);
        free(part);
        return false;
    }
    return true;
}

static bool check_listeners(const struct config *config, struct err *err)
{
    size_t count;
    struct door *doors = doors_of(config, &count);
    struct claims *claims = claims_new();
    for (size_t i = 0; i < count; i++)
        claims_add(claims, canonical(doors[i].address), doors[i].field, doors[i].line);
    bool ok = settle(config, claims, "the address", "listen on another address or port", err) &&
              check_wildcards(config, doors, count, err);
    free(doors);
    return ok;
}

static bool check_names(const struct config *config, struct err *err)
{
    struct claims *claims = claims_new();
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        claims_add(claims, mem_dup(service->name), &service->name, service->line);
    }
    return settle(config, claims, "the service name", "give each service its own", err);
}

static void claim_host(struct claims *claims, const struct config_service *service, const char *host,
                       const void *field)
{
    for (size_t i = 0; i < service->paths.count; i++)
        claims_add(claims, mem_printf("%s%s", host, service->paths.items[i]), field, service->line);
}

static bool check_routes(const struct config *config, struct err *err)
{
    struct claims *claims = claims_new();
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        for (size_t k = 0; k < service->hosts.count; k++)
            claim_host(claims, service, service->hosts.items[k], &service->hosts.items[k]);
        if (service->hosts.count == 0)
            claim_host(claims, service, "any host, ", service);
    }
    return settle(config, claims, "the route", "give one of the services another host or path", err);
}

static bool check_instances(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        struct claims *claims = claims_new();
        for (size_t k = 0; k < service->instances.count; k++) {
            struct address address = parsed_instance(service->instances.items[k]);
            claims_add(claims, canonical(&address), &service->instances.items[k], service->line);
        }
        if (!settle(config, claims, "the instance", "name each instance of a service once", err))
            return false;
    }
    return true;
}

static bool check_pages(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        struct claims *claims = claims_new();
        for (size_t k = 0; k < service->page_count; k++) {
            const struct config_page *page = &service->pages[k];
            for (size_t n = 0; n < page->status.count; n++)
                claims_add(claims, mem_dup(page->status.items[n]), &page->status.items[n], page->line);
        }
        if (!settle(config, claims, "the error page of status", "keep one of the two", err))
            return false;
    }
    return true;
}

bool config_can_verify(const struct config_service *service, const char *instance, struct err *err)
{
    const struct config_upstream_tls *tls = &service->tls;
    bool is_unix = str_starts_with(str_of(instance), STR("unix:"));
    if (tls->line == 0 || !tls->verify || tls->server_name != NULL || !is_unix)
        return true;
    return err_set(err,
                   "\"%s\" has no name that its certificate could be checked for; write tls.server_name, or "
                   "tls.verify = false",
                   instance);
}

/* What does not fit together in the section on its own. */
static bool check_upstream_tls(const struct config_service *service, struct err *err)
{
    const struct config_upstream_tls *tls = &service->tls;
    if (tls->line == 0)
        return true;
    if (tls->key != NULL && tls->certificate == NULL)
        return err_set(err, "tls.key needs tls.certificate, which it belongs to");
    if (tls->ca_file != NULL && !tls->verify)
        return err_set(err, "tls.ca_file says whom to believe, but tls.verify = false believes everybody; "
                            "remove one of them");
    return true;
}

static bool check_tls(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        if (!check_upstream_tls(service, err))
            return err_prefix(err, "%s:%u", config->path, service->tls.line);
        for (size_t k = 0; k < service->instances.count; k++) {
            if (!config_can_verify(service, service->instances.items[k], err))
                return err_prefix(err, "%s:%u", config->path,
                                  places_line(config->places, &service->instances.items[k], service->line));
        }
    }
    return true;
}

static bool check_admin(const struct config *config, struct err *err)
{
    if (config->admin.listen == NULL || config->admin.token_file != NULL)
        return true;
    return err_set(err, "%s:%u: admin.listen needs admin.token_file, since anybody can connect to an address",
                   config->path, config->admin.listen_line);
}

/* Without a rate there is no limit, and so nothing that a burst could be of. */
static bool refuse_burst(const struct config *config, const struct config_rate *rate, unsigned line,
                         struct err *err)
{
    return err_set(err,
                   "%s:%u: requests_burst: %" PRIu64
                   " does nothing without requests_per_address; write both, "
                   "or neither",
                   config->path, places_line(config->places, &rate->burst, line), rate->burst);
}

/* An address whose debt is an hour's would be remembered, and refused, for that long. */
static bool check_rate(const struct config *config, const struct config_rate *rate, unsigned line,
                       struct err *err)
{
    uint64_t most = rate->per_second * RATE_WINDOW - 1;
    if (rate->per_second == 0 || rate->burst <= most)
        return true;
    return err_set(err,
                   "%s:%u: requests_burst: %" PRIu64 " requests are more than an hour of %" PRIu64
                   " a second; write at most %" PRIu64,
                   config->path, places_line(config->places, &rate->burst, line), rate->burst,
                   rate->per_second, most);
}

static bool check_rates(const struct config *config, struct err *err)
{
    const struct config_rate *limit = &config->limits.rate;
    if (limit->per_second == 0 && limit->burst > 0)
        return refuse_burst(config, limit, 1, err);
    bool fine = check_rate(config, limit, 1, err);
    for (size_t i = 0; fine && i < config->service_count; i++) {
        const struct config_rate *rate = &config->services[i].rate;
        bool own = rate->burst != config->defaults.rate.burst; /* one of the defaults is for who has a rate */
        if (rate->per_second == 0 && rate->burst > 0 && own)
            return refuse_burst(config, rate, config->services[i].line, err);
        fine = check_rate(config, rate, config->services[i].line, err);
    }
    return fine;
}

static bool check_headers(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_header_rules *headers = &config->services[i].headers;
        if (!header_rules_fit(&headers->request, err) || !header_rules_fit(&headers->response, err))
            return err_prefix(err, "%s:%u", config->path, headers->line);
    }
    return true;
}

/* Its header says whose connection it is, and one of HTTP/2 is everybody's. */
static bool check_upstreams(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        if (service->upstream == CONFIG_UPSTREAM_H2 && service->proxy_protocol != 0)
            return err_set(err,
                           "%s:%u: service \"%s\": proxy_protocol needs a connection for each client, which "
                           "upstream = \"h2\" has not; take one of them out",
                           config->path, places_line(config->places, &service->upstream, service->line),
                           service->name);
    }
    return true;
}

/* What the defaults say is for whom it is of use. */
static bool check_schedule(const struct config *config, const struct config_service *service, struct err *err)
{
    const struct config_uptests *uptests = &service->uptests, *defaults = &config->defaults.uptests;
    if (uptests->schedule_ms != defaults->schedule_ms && uptests->schedule_ms > 0 &&
        uptests->directory == NULL)
        return err_set(err,
                       "%s:%u: service \"%s\": uptests.schedule has nothing to run; write uptests.directory, "
                       "or leave it out",
                       config->path, places_line(config->places, &uptests->schedule_ms, uptests->line),
                       service->name);
    if (uptests->eject && !defaults->eject && uptests->schedule_ms == 0)
        return err_set(err,
                       "%s:%u: service \"%s\": uptests.eject does nothing without uptests.schedule; write "
                       "both, or neither",
                       config->path, places_line(config->places, &uptests->eject, uptests->line),
                       service->name);
    return true;
}

static bool check_schedules(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        if (!check_schedule(config, &config->services[i], err))
            return false;
    }
    return true;
}

static bool check_whole(const struct config *config, struct err *err)
{
    return check_admin(config, err) && check_doors(config, err) && check_listeners(config, err) &&
           check_names(config, err) && check_routes(config, err) && check_instances(config, err) &&
           check_rates(config, err) && check_headers(config, err) && check_pages(config, err) &&
           check_upstreams(config, err) && check_schedules(config, err) && check_tls(config, err);
}

/* libconfig's own words are short; these say what to look for. */
static bool syntax_fault(const config_t *parsed, const char *path, struct err *err)
{
    const char *text = config_error_text(parsed), *advice = "";
    if (strcmp(text, "duplicate setting name") == 0)
        text = "this key is written twice in its section", advice = "; keep one of them";
    else if (strcmp(text, "syntax error") == 0)
        advice = "; look for a missing \";\", quote or bracket here and on the line before";
    return err_set(err, "%s:%d: %s%s", path, config_error_line(parsed), text, advice);
}

static bool fill(struct config *config, const config_t *parsed, struct err *err)
{
    const config_setting_t *root = config_root_setting(parsed);
    struct reader reader = {.path = config->path, .places = config->places};
    reader.defaults = config_setting_get_member(root, "defaults");
    if (!section_read(&reader, &keys_file, root, config, err))
        return false;
    derive(config);
    return check_whole(config, err);
}

static struct config *new_config(const char *path)
{
    struct config *config = mem_alloc(sizeof *config);
    section_fill(&keys_file, config);
    config->path = mem_dup(path);
    config->places = places_new();
    return config;
}

static struct config *parse_text(const struct buf *text, const char *path, struct err *err)
{
    if (!source_check(buf_str(text), path, err))
        return NULL;
    config_t parsed;
    config_init(&parsed);
    struct config *config = new_config(path);
    bool parses = config_read_string(&parsed, text->p) == CONFIG_TRUE || syntax_fault(&parsed, path, err);
    if (!parses || !fill(config, &parsed, err)) {
        config_free(config);
        config = NULL;
    }
    config_destroy(&parsed);
    return config;
}

struct config *config_parse(FILE *file, const char *path, struct err *err)
{
    struct buf text = BUF_EMPTY;
    struct config *config = NULL;
    if (source_read(file, path, &text, err))
        config = parse_text(&text, path, err);
    buf_free(&text);
    return config;
}

struct config *config_load(const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        err_set(err, "%s: cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    struct config *config = config_parse(file, path, err);
    fclose(file);
    return config;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->listener_count; i++)
        free(config->listeners[i].proxies);
    for (size_t i = 0; i < config->service_count; i++) {
        free(config->services[i].weights);
        free(config->services[i].maintenance.allowed);
    }
    section_release(&keys_file, config);
    pages_release(config);
    free(config->trusted_proxies);
    free(config->by_name);
    places_free(config->places);
    free(config->path);
    free(config);
}

static int compare(const void *key, const void *item)
{
    const struct str *name = key;
    const struct config_service *const *service = item;
    struct str other = str_of((*service)->name);
    int order = memcmp(name->p, other.p, name->n < other.n ? name->n : other.n);
    return order != 0 ? order : (name->n > other.n) - (name->n < other.n);
}

const struct config_service *config_service(const struct config *config, struct str name)
{
    const struct config_service **found = name.n == 0 ? NULL
                                                      : bsearch(&name, config->by_name, config->service_count,
                                                                sizeof *config->by_name, compare);
    return found == NULL ? NULL : *found;
}
