/* Reads an image that has passed image_check, so that nothing has to be checked any more. Whatever belongs to
 * a record is looked for in the image that the record lies in. */
#include "route/image.h"

#include <assert.h>

const struct snapshot *snapshot_open(const void *image, size_t size, struct err *err)
{
    return image_check(image, size, 0, 0, err) ? image : NULL;
}

const struct snapshot *snapshot_amend(void *image, size_t size, const struct snapshot *ground,
                                      struct err *err)
{
    struct snapshot *snapshot = image;
    if (!image_check(snapshot, size, ground->version, ground->parts[IMAGE_SERVICES].count, err))
        return NULL;
    snapshot->ground = (const char *)ground - (const char *)image;
    return snapshot;
}

_Static_assert(offsetof(struct snapshot, ground_version) + sizeof(uint64_t) == SNAPSHOT_BEGIN,
               "the first bytes tell what an image amends");

uint64_t snapshot_amends(const uint8_t begin[SNAPSHOT_BEGIN])
{
    struct snapshot head;
    memcpy(&head, begin, SNAPSHOT_BEGIN);
    return head.magic == IMAGE_MAGIC && head.layout == IMAGE_LAYOUT ? head.ground_version : 0;
}

const struct snapshot *snapshot_ground(const struct snapshot *snapshot)
{
    return image_ground(snapshot);
}

uint64_t snapshot_version(const struct snapshot *snapshot)
{
    return snapshot->version;
}

const struct snapshot_settings *snapshot_settings(const struct snapshot *snapshot)
{
    return &snapshot->settings;
}

static bool covers(const struct address_prefix *networks, uint32_t count, const uint8_t address[16])
{
    for (uint32_t i = 0; i < count; i++) {
        if (address_prefix_covers(networks + i, address))
            return true;
    }
    return false;
}

bool snapshot_trusts(const struct snapshot *snapshot, const uint8_t address[16])
{
    return covers(image_part(snapshot, IMAGE_TRUSTED), snapshot->parts[IMAGE_TRUSTED].count, address);
}

static const struct image_listener *find_listener(const struct snapshot *snapshot, uint32_t id)
{
    const struct image_listener *listeners = image_part(snapshot, IMAGE_LISTENERS);
    for (uint32_t i = 0; i < snapshot->parts[IMAGE_LISTENERS].count; i++) {
        if (listeners[i].id == id)
            return listeners + i;
    }
    return NULL;
}

const struct snapshot_door *snapshot_door(const struct snapshot *snapshot, uint32_t listener)
{
    const struct image_listener *found = find_listener(snapshot, listener);
    return found == NULL ? NULL : &found->door;
}

bool snapshot_expects_proxy(const struct snapshot *snapshot, uint32_t id, const uint8_t address[16])
{
    const struct image_listener *listener = find_listener(snapshot, id);
    const struct address_prefix *proxies = image_part(snapshot, IMAGE_PROXIES);
    return listener != NULL && covers(proxies + listener->proxies.at, listener->proxies.count, address);
}

size_t snapshot_listener_count(const struct snapshot *snapshot)
{
    return snapshot->parts[IMAGE_LISTENERS].count;
}

uint32_t snapshot_listener_id(const struct snapshot *snapshot, size_t index)
{
    assert(index < snapshot_listener_count(snapshot));
    return ((const struct image_listener *)image_part(snapshot, IMAGE_LISTENERS))[index].id;
}

size_t snapshot_pool_count(const struct snapshot *snapshot)
{
    return snapshot->parts[IMAGE_POOLS].count;
}

const struct snapshot_pool *snapshot_pool_at(const struct snapshot *snapshot, size_t index)
{
    assert(index < snapshot_pool_count(snapshot));
    return (const struct snapshot_pool *)image_part(snapshot, IMAGE_POOLS) + index;
}

/* Among those of its own image; SNAPSHOT_NONE: the ground's holds. */
static uint32_t find_amended(const struct snapshot *snapshot, uint32_t index)
{
    const uint32_t *amended = image_part(snapshot, IMAGE_AMENDED);
    uint32_t low = 0, high = snapshot->parts[IMAGE_AMENDED].count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (amended[middle] < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low < snapshot->parts[IMAGE_AMENDED].count && amended[low] == index ? low : SNAPSHOT_NONE;
}

/* Does this pool of the ground belong to a service that is not as the ground has it? */
static bool is_overruled(const struct snapshot *snapshot, uint32_t pool)
{
    const struct snapshot_service *services = image_part(image_ground(snapshot), IMAGE_SERVICES);
    for (size_t i = 0; i < snapshot_amended_count(snapshot); i++) {
        struct image_span pools = services[snapshot_amended_at(snapshot, i)].pools;
        if (pool >= pools.at && pool - pools.at < pools.count)
            return true;
    }
    return false;
}

const struct snapshot_pool *snapshot_pool_of_slot(const struct snapshot *snapshot, uint32_t slot)
{
    const struct snapshot *ground = image_ground(snapshot);
    for (uint32_t i = 0; i < snapshot->parts[IMAGE_POOLS].count; i++) {
        const struct snapshot_pool *pool = snapshot_pool_at(snapshot, i);
        if (pool->slot == slot)
            return pool;
    }
    for (uint32_t i = 0; ground != snapshot && i < ground->parts[IMAGE_POOLS].count; i++) {
        const struct snapshot_pool *pool = snapshot_pool_at(ground, i);
        if (pool->slot == slot && !is_overruled(snapshot, i))
            return pool;
    }
    return NULL;
}

uint64_t snapshot_pool_number(const struct snapshot_pool *pool)
{
    return pool->number;
}

uint32_t snapshot_pool_slot(const struct snapshot_pool *pool)
{
    return pool->slot;
}

struct str snapshot_pool_deployment(const struct snapshot *snapshot, const struct snapshot_pool *pool)
{
    return image_str(image_of(snapshot, pool), pool->deployment);
}

struct str snapshot_pool_release(const struct snapshot *snapshot, const struct snapshot_pool *pool)
{
    return image_str(image_of(snapshot, pool), pool->release);
}

const struct snapshot_drain *snapshot_pool_drain(const struct snapshot_pool *pool)
{
    return &pool->drain;
}

size_t snapshot_pool_size(const struct snapshot_pool *pool)
{
    return pool->instances.count;
}

const struct snapshot_seat *snapshot_pool_seats(const struct snapshot *snapshot,
                                                const struct snapshot_pool *pool)
{
    return (const struct snapshot_seat *)image_part(image_of(snapshot, pool), IMAGE_SEATS) +
           pool->instances.at;
}

uint64_t snapshot_pool_since_ms(const struct snapshot_pool *pool)
{
    return pool->since_ms;
}

bool snapshot_pool_is_even(const struct snapshot_pool *pool)
{
    return pool->even != 0;
}

static bool is_routed(const struct snapshot_pool *pool, const struct image_instance *instance)
{
    bool leaves = pool->drain.requests_until_ms != 0 && pool->drain.pinned_until_ms == 0;
    return !leaves && !instance->drained && !instance->down;
}

struct snapshot_instance snapshot_pool_instance(const struct snapshot *snapshot,
                                                const struct snapshot_pool *pool, size_t index)
{
    assert(index < pool->instances.count);
    const struct snapshot *image = image_of(snapshot, pool);
    const struct image_instance *instances = image_part(image, IMAGE_INSTANCES);
    const struct image_instance *instance = instances + pool->instances.at + index;
    return (struct snapshot_instance){
        .name = image_str(image, instance->name),
        .address = &instance->address.any,
        .address_length = instance->address_length,
        .id = instance->id,
        .slot = instance->slot,
        .weight = snapshot_pool_seats(snapshot, pool)[index].weight,
        .drained = instance->drained != 0,
        .down = instance->down != 0,
        .since_ms = instance->since_ms,
        .routed_by = is_routed(pool, instance) ? image->version : 0,
    };
}

size_t snapshot_service_count(const struct snapshot *snapshot)
{
    return image_ground(snapshot)->parts[IMAGE_SERVICES].count;
}

const struct snapshot_service *snapshot_service_at(const struct snapshot *snapshot, size_t index)
{
    assert(index < snapshot_service_count(snapshot));
    uint32_t own = find_amended(snapshot, (uint32_t)index);
    const struct snapshot *image = own == SNAPSHOT_NONE ? image_ground(snapshot) : snapshot;
    return (const struct snapshot_service *)image_part(image, IMAGE_SERVICES) +
           (own == SNAPSHOT_NONE ? index : own);
}

size_t snapshot_amended_count(const struct snapshot *snapshot)
{
    return snapshot->parts[IMAGE_AMENDED].count;
}

uint32_t snapshot_amended_at(const struct snapshot *snapshot, size_t index)
{
    assert(index < snapshot_amended_count(snapshot));
    return ((const uint32_t *)image_part(snapshot, IMAGE_AMENDED))[index];
}

bool snapshot_may_pause(const struct snapshot *snapshot)
{
    return snapshot->paused != 0 || image_ground(snapshot)->paused != 0;
}

struct str snapshot_service_name(const struct snapshot *snapshot, const struct snapshot_service *service)
{
    return image_str(image_of(snapshot, service), service->name);
}

const struct snapshot_service *snapshot_service_named(const struct snapshot *snapshot, struct str name,
                                                      uint32_t place)
{
    size_t count = snapshot_service_count(snapshot);
    for (size_t i = 0; i < count; i++) {
        const struct snapshot_service *service = snapshot_service_at(snapshot, (place + i) % count);
        if (str_equal(snapshot_service_name(snapshot, service), name))
            return service;
    }
    return NULL;
}

uint32_t snapshot_service_index(const struct snapshot *snapshot, const struct snapshot_service *service)
{
    const struct snapshot *image = image_of(snapshot, service);
    uint32_t index = (uint32_t)(service - (const struct snapshot_service *)image_part(image, IMAGE_SERVICES));
    return image == image_ground(snapshot) ? index : snapshot_amended_at(snapshot, index);
}

struct str snapshot_service_hash_name(const struct snapshot *snapshot, const struct snapshot_service *service)
{
    return image_str(image_of(snapshot, service), service->hash_name);
}

struct str snapshot_service_cookie(const struct snapshot *snapshot, const struct snapshot_service *service,
                                   enum snapshot_cookie which)
{
    return image_str(image_of(snapshot, service), service->cookies[which]);
}

struct str snapshot_service_cookie_path(const struct snapshot *snapshot,
                                        const struct snapshot_service *service)
{
    return image_str(image_of(snapshot, service), service->cookie_path);
}

size_t snapshot_service_pool_count(const struct snapshot_service *service)
{
    return service->pools.count;
}

const struct snapshot_pool *snapshot_service_pool_at(const struct snapshot *snapshot,
                                                     const struct snapshot_service *service, size_t index)
{
    assert(index < service->pools.count);
    return snapshot_pool_at(image_of(snapshot, service), service->pools.at + index);
}

const struct snapshot_pool *snapshot_service_pool(const struct snapshot *snapshot,
                                                  const struct snapshot_service *service, uint64_t number)
{
    for (uint32_t i = 0; i < service->pools.count; i++) {
        const struct snapshot_pool *pool = snapshot_service_pool_at(snapshot, service, i);
        if (pool->number == number)
            return pool;
    }
    return NULL;
}

const struct snapshot_rules *snapshot_service_rules(const struct snapshot_service *service)
{
    return &service->rules;
}

struct str snapshot_service_page(const struct snapshot *snapshot, const struct snapshot_service *service,
                                 unsigned status, bool json)
{
    const struct snapshot *image = image_of(snapshot, service);
    const struct image_page *pages =
        (const struct image_page *)image_part(image, IMAGE_PAGES) + service->pages.at;
    for (uint32_t i = 0; i < service->pages.count; i++) {
        if (pages[i].status == status && (pages[i].json != 0) == json)
            return image_str(image, pages[i].body);
    }
    return (struct str){NULL, 0};
}

bool snapshot_service_allows(const struct snapshot *snapshot, const struct snapshot_service *service,
                             const uint8_t address[16])
{
    const struct address_prefix *allowed = image_part(image_of(snapshot, service), IMAGE_ALLOWED);
    return covers(allowed + service->allowed.at, service->allowed.count, address);
}

struct str snapshot_service_text(const struct snapshot *snapshot, const struct snapshot_service *service,
                                 enum snapshot_text which)
{
    return image_str(image_of(snapshot, service), service->texts[which]);
}

const struct snapshot_pool *snapshot_service_live(const struct snapshot *snapshot,
                                                  const struct snapshot_service *service)
{
    return service->live == SNAPSHOT_NONE ? NULL
                                          : snapshot_pool_at(image_of(snapshot, service), service->live);
}

const struct snapshot_pool *snapshot_service_candidate(const struct snapshot *snapshot,
                                                       const struct snapshot_service *service)
{
    return service->candidate == SNAPSHOT_NONE
               ? NULL
               : snapshot_pool_at(image_of(snapshot, service), service->candidate);
}

bool snapshot_service_warms(const struct snapshot_service *service)
{
    return service->warms != 0;
}

uint32_t snapshot_service_canary_share(const struct snapshot_service *service)
{
    return service->canary_share;
}
