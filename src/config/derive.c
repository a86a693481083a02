/* Invariant: what is parsed here has passed the rules of its row, so it can be. */
#include "config/derive.h"

#include "base/endpoint.h"
#include "base/mem.h"
#include "config/places.h"
#include "config/rules.h"

#include <stdlib.h>

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

void config_derive(struct config *config)
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
