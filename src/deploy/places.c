/* A place is there as long as it has a tenant. One whose address is the same as written and as resolved is
 * its tenant once. */
#include "deploy/places.h"

#include "base/mem.h"

#include <stdlib.h>

static struct place *find(const struct registry *registry, const char *address)
{
    struct place *place;
    HASH_FIND_STR(registry->places, address, place);
    return place;
}

static struct place *open_place(struct registry *registry, const char *address)
{
    size_t size = strlen(address) + 1;
    struct place *place = mem_zero(1, sizeof *place + size);
    memcpy(place->address, address, size);
    TAILQ_INIT(&place->tenants);
    HASH_ADD_STR(registry->places, address, place);
    return place;
}

static void enter(struct registry *registry, const char *address, const struct pool *pool, size_t index)
{
    struct place *place = find(registry, address);
    if (place == NULL)
        place = open_place(registry, address);
    struct tenant *tenant = mem_alloc(sizeof *tenant);
    *tenant = (struct tenant){.pool = pool, .index = index};
    TAILQ_INSERT_TAIL(&place->tenants, tenant, entry);
}

static void leave(struct registry *registry, const char *address, const struct pool *pool, size_t index)
{
    struct place *place = find(registry, address);
    struct tenant *tenant = NULL;
    if (place == NULL)
        return;
    TAILQ_FOREACH (tenant, &place->tenants, entry) {
        if (tenant->pool == pool && tenant->index == index)
            break;
    }
    if (tenant == NULL)
        return;
    TAILQ_REMOVE(&place->tenants, tenant, entry);
    free(tenant);
    if (!TAILQ_EMPTY(&place->tenants))
        return;
    HASH_DEL(registry->places, place);
    free(place);
}

static bool has_two(const struct instance *instance)
{
    return strcmp(instance->address, instance->resolved) != 0;
}

void places_enter(struct registry *registry, const struct pool *pool, size_t index)
{
    const struct instance *instance = &pool->instances[index];
    enter(registry, instance->address, pool, index);
    if (has_two(instance))
        enter(registry, instance->resolved, pool, index);
}

void places_leave(struct registry *registry, const struct pool *pool, size_t index)
{
    const struct instance *instance = &pool->instances[index];
    leave(registry, instance->address, pool, index);
    if (has_two(instance))
        leave(registry, instance->resolved, pool, index);
}

static const struct tenant *other_at(const struct registry *registry, const char *address,
                                     const struct instance *instance, places_counts *counts, void *arg)
{
    const struct place *place = find(registry, address);
    const struct tenant *tenant = NULL;
    if (place == NULL)
        return NULL;
    TAILQ_FOREACH (tenant, &place->tenants, entry) {
        if (&tenant->pool->instances[tenant->index] != instance && counts(arg, tenant->pool))
            break;
    }
    return tenant;
}

const struct tenant *places_other(const struct registry *registry, const struct instance *instance,
                                  places_counts *counts, void *arg)
{
    const struct tenant *other = other_at(registry, instance->address, instance, counts, arg);
    return other != NULL ? other : other_at(registry, instance->resolved, instance, counts, arg);
}
