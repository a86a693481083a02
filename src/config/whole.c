/* Each check is a sentence that could stand in the manual, and stands alone: none relies on another but for
 * what derive.h makes. */
#include "config/whole.h"

#include "base/mem.h"
#include "config/claims.h"
#include "config/header_rules.h"
#include "config/places.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>

#define RATE_WINDOW 3600 /* seconds, as route/snapshot.h has it */

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

/* Where "off" is written, the authorities wait for another word; else the word has been forgotten. */
static bool check_client_ca(const struct config *config, const struct config_tls *tls, struct err *err)
{
    if (tls->client_ca != NULL && places_line(config->places, &tls->client_verify, 0) == 0)
        return err_set(err,
                       "%s:%u: tls.client_ca does nothing without tls.client_verify; write \"required\", "
                       "\"optional\" or \"off\" there, or remove tls.client_ca",
                       config->path, places_line(config->places, &tls->client_ca, tls->line));
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
        claims_add(claims, canonical(doors[i].address), NULL, doors[i].field, doors[i].line);
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
        claims_add(claims, mem_dup(service->name), NULL, &service->name, service->line);
    }
    return settle(config, claims, "the service name", "give each service its own", err);
}

/* What stands for the host of a service that takes any. */
#define ANY_HOST "any host, "

static void claim_host(struct claims *claims, const struct config_service *service, const char *host,
                       const void *field)
{
    for (size_t i = 0; i < service->paths.count; i++)
        claims_add(claims, mem_printf("%s%s", host, service->paths.items[i]), service->name, field,
                   service->line);
}

static bool check_routes(const struct config *config, struct err *err)
{
    struct claims *claims = claims_new();
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        for (size_t k = 0; k < service->hosts.count; k++)
            claim_host(claims, service, service->hosts.items[k], &service->hosts.items[k]);
        if (service->hosts.count == 0)
            claim_host(claims, service, ANY_HOST, service);
    }
    return settle(config, claims, "the route", "give one of the services another host or path", err);
}

const char *config_cookie_path(const struct config_service *service)
{
    const char *path = service->paths.items[0];
    return service->paths.count == 1 && strchr(path, ';') == NULL ? path : "/";
}

static void claim_cookie(struct claims *claims, const struct config_service *service, const char *host)
{
    const struct config_affinity *affinity = &service->affinity;
    claims_add(claims, mem_printf("%s at %s%s", affinity->cookie, host, config_cookie_path(service)),
               service->name, &affinity->cookie, affinity->line);
}

/* A client keeps one cookie of a name, host and path: each of two services would take the other's away. */
static bool check_affinity(const struct config *config, struct err *err)
{
    struct claims *claims = claims_new();
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        if (service->affinity.line == 0)
            continue;
        for (size_t k = 0; k < service->hosts.count; k++)
            claim_cookie(claims, service, service->hosts.items[k]);
        if (service->hosts.count == 0)
            claim_cookie(claims, service, ANY_HOST);
    }
    return settle(config, claims, "the affinity cookie", "give one of the services another affinity.cookie",
                  err);
}

/* The rule of its row has accepted the text. */
static struct address parsed_instance(const char *text)
{
    struct address address;
    struct err ignored;
    if (!address_parse_instance(str_of(text), &address, &ignored))
        abort();
    return address;
}

static bool check_instances(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        struct claims *claims = claims_new();
        for (size_t k = 0; k < service->instances.count; k++) {
            struct address address = parsed_instance(service->instances.items[k]);
            claims_add(claims, canonical(&address), NULL, &service->instances.items[k], service->line);
        }
        if (!settle(config, claims, "the instance", "name each instance of a service once", err))
            return false;
    }
    return true;
}

/* A start would get so far, and find no room for the first pool of the next service. */
static bool check_room(const struct config *config, struct err *err)
{
    size_t pools = 0, instances = 0;
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        pools += service->instances.count > 0;
        instances += service->instances.count;
        if (pools <= CONFIG_POOLS_MAX && instances <= CONFIG_INSTANCES_MAX)
            continue;
        const char *what = pools > CONFIG_POOLS_MAX ? "services with instances" : "instances";
        return err_set(
            err,
            "%s:%u: service \"%s\": with it there are %zu %s, and a daemon has room for %d; divide the "
            "services among several daemons",
            config->path, service->line, service->name, pools > CONFIG_POOLS_MAX ? pools : instances, what,
            pools > CONFIG_POOLS_MAX ? CONFIG_POOLS_MAX : CONFIG_INSTANCES_MAX);
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
                claims_add(claims, mem_dup(page->status.items[n]), NULL, &page->status.items[n], page->line);
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

/* Was the field of a service written in it, and not in the defaults that it has inherited? */
static bool is_own(const struct config *config, const void *field, const void *inherited)
{
    return places_line(config->places, field, 0) != places_line(config->places, inherited, 0);
}

static bool check_rates(const struct config *config, struct err *err)
{
    const struct config_rate *limit = &config->limits.rate;
    if (limit->per_second == 0 && limit->burst > 0)
        return refuse_burst(config, limit, 1, err);
    bool fine = check_rate(config, limit, 1, err);
    for (size_t i = 0; fine && i < config->service_count; i++) {
        const struct config_rate *rate = &config->services[i].rate;
        bool own = is_own(config, &rate->burst, &config->defaults.rate.burst); /* else for who has a rate */
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

/* One that a service takes over whole from `defaults` is seen to be without a secret here only. */
static bool check_previews(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        if (service->preview.line > 0 && service->preview.secret == NULL)
            return err_set(
                err, "%s:%u: service \"%s\": preview needs \"secret\"; write one, here or in the service",
                config->path, service->preview.line, service->name);
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

/* A pause that may not be as long as the first one is written to be. */
static bool check_ejections(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        const struct config_ejection *ejection = &service->ejection;
        unsigned line = places_line(config->places, &ejection->pause_ms, service->line);
        if (ejection->longest_ms < ejection->pause_ms)
            return err_set(
                err,
                "%s:%u: service \"%s\": ejection.longest is less than ejection.pause, and no pause "
                "is longer; raise it, or shorten the pause",
                config->path, places_line(config->places, &ejection->longest_ms, line), service->name);
    }
    return true;
}

bool config_check_whole(const struct config *config, struct err *err)
{
    return check_admin(config, err) && check_doors(config, err) && check_listeners(config, err) &&
           check_names(config, err) && check_routes(config, err) && check_affinity(config, err) &&
           check_instances(config, err) && check_room(config, err) && check_rates(config, err) &&
           check_headers(config, err) && check_pages(config, err) && check_previews(config, err) &&
           check_upstreams(config, err) && check_schedules(config, err) && check_ejections(config, err) &&
           check_tls(config, err);
}
