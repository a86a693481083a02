/* Invariant: a sentence is about what the two configs differ in, so that it is told at one reload, and not at
 * each from then on. */
#include "control/warnings.h"

#include "base/mem.h"
#include "config/places.h"

#include <stdlib.h>
#include <string.h>

struct warnings {
    json_t *list;
    size_t count;
};

/* `sentence` is freed. */
static void add(struct warnings *warnings, char *sentence)
{
    if (warnings->count++ < WARNINGS_MAX)
        json_array_append_new(warnings->list, json_string(sentence));
    free(sentence);
}

static bool names_the_same(const struct config_service *a, const struct config_service *b)
{
    bool same = a->instances.count == b->instances.count;
    for (size_t i = 0; same && i < a->instances.count; i++)
        same = strcmp(a->instances.items[i], b->instances.items[i]) == 0 && a->weights[i] == b->weights[i];
    return same;
}

/* Somebody has put into the file what was deployed. */
static bool names_what_is_live(const struct config_service *service, const struct pool *live)
{
    bool same = live != NULL && service->instances.count == live->instance_count;
    for (size_t i = 0; same && i < service->instances.count; i++) {
        const struct instance *instance = pool_instance(live, service->instances.items[i]);
        same = instance != NULL && instance->weight == service->weights[i];
    }
    return same;
}

/* Taken out altogether they ask for nothing. */
static void look_at_instances(struct warnings *warnings, const struct config *config,
                              const struct config_service *now, const struct config_service *before,
                              const struct service *known)
{
    const struct pool *live = known->live;
    if (now->instances.count == 0 || names_the_same(now, before) || names_what_is_live(now, live))
        return;
    add(warnings,
        mem_printf("%s:%u: service \"%s\": its instances are not taken from the file, which names its first "
                   "pool only, and %s%s; `upswap %s %s %s` brings others live",
                   config->path, places_line(config->places, &now->instances, now->line), now->name,
                   live != NULL ? live->name : "it has had one", live != NULL ? " is live" : "",
                   now->launch.command.count > 0 ? "deploy" : "stage", now->name,
                   now->launch.command.count > 0 ? "RELEASE" : "HOST:PORT..."));
}

static void look_at_loss(struct warnings *warnings, const struct config *config, const struct pool *live)
{
    if (live == NULL)
        return;
    add(warnings,
        mem_printf("%s: service \"%s\" is no longer in the file: its live pool %s gets no requests any more, "
                   "and is not torn down; with the name in the file again it goes on",
                   config->path, live->service->name, live->name));
}

static void look_at(struct warnings *warnings, const struct config *config,
                    const struct config_service *before, const struct registry *registry)
{
    const struct config_service *now = config_service(config, str_of(before->name));
    const struct service *known = registry_service(registry, before->name);
    if (known == NULL || TAILQ_EMPTY(&known->pools))
        return;
    if (now != NULL)
        look_at_instances(warnings, config, now, before, known);
    else
        look_at_loss(warnings, config, known->live);
}

json_t *warnings_of(const struct config *config, const struct config *old, const struct registry *registry)
{
    struct warnings warnings = {.list = json_array()};
    for (size_t i = 0; i < old->service_count; i++)
        look_at(&warnings, config, &old->services[i], registry);
    if (warnings.count > WARNINGS_MAX) {
        char *more = mem_printf("%zu services more are concerned", warnings.count - WARNINGS_MAX);
        json_array_append_new(warnings.list, json_string(more));
        free(more);
    }
    return warnings.list;
}
