#include "route/image.h"

static const size_t record_sizes[IMAGE_PARTS] = {
    [IMAGE_TRUSTED] = sizeof(struct address_prefix),
    [IMAGE_LISTENERS] = sizeof(struct image_listener),
    [IMAGE_SERVICES] = sizeof(struct snapshot_service),
    [IMAGE_POOLS] = sizeof(struct snapshot_pool),
    [IMAGE_INSTANCES] = sizeof(struct image_instance),
    [IMAGE_HOSTS] = sizeof(struct image_host),
    [IMAGE_HOST_SLOTS] = sizeof(struct image_slot),
    [IMAGE_PREFIXES] = sizeof(struct image_prefix),
    [IMAGE_PREFIX_SLOTS] = sizeof(struct image_slot),
    [IMAGE_LENGTHS] = sizeof(uint32_t),
    [IMAGE_TEXTS] = 1,
};

uint64_t image_place(struct image_span parts[IMAGE_PARTS])
{
    uint64_t end = sizeof(struct snapshot);
    for (unsigned part = 0; part < IMAGE_PARTS; part++) {
        parts[part].at = (uint32_t)end;
        end += parts[part].count * (uint64_t)record_sizes[part];
        end = (end + 7) & ~7ULL;
    }
    return end;
}

uint32_t image_hash_key(struct str key)
{
    uint32_t hash = IMAGE_HASH_START;
    for (size_t i = key.n; i > 0; i--)
        hash = image_hash(hash, image_lower(key.p[i - 1]));
    return hash;
}

uint32_t image_hash_path(uint32_t host, struct str path)
{
    uint32_t hash = image_hash_of_host(host);
    for (size_t i = 0; i < path.n; i++)
        hash = image_hash(hash, (uint8_t)path.p[i]);
    return hash;
}

static bool is_key(struct str key, struct str host)
{
    if (key.n != host.n)
        return false;
    for (size_t i = 0; i < key.n; i++) {
        if ((uint8_t)key.p[i] != image_lower(host.p[i]))
            return false;
    }
    return true;
}

const struct image_host *image_find_host(const struct snapshot *snapshot, struct str key, uint32_t hash)
{
    const struct image_slot *slots = image_part(snapshot, IMAGE_HOST_SLOTS);
    const struct image_host *hosts = image_part(snapshot, IMAGE_HOSTS);
    uint32_t mask = snapshot->parts[IMAGE_HOST_SLOTS].count - 1;
    for (uint32_t at = image_first_slot(hash) & mask; slots[at].index != SNAPSHOT_NONE;
         at = (at + 1) & mask) {
        const struct image_host *host = hosts + slots[at].index;
        if (slots[at].hash == hash && is_key(image_str(snapshot, host->key), key))
            return host;
    }
    return NULL;
}

const struct image_prefix *image_find_prefix(const struct snapshot *snapshot, uint32_t host, struct str path,
                                             uint32_t hash)
{
    const struct image_slot *slots = image_part(snapshot, IMAGE_PREFIX_SLOTS);
    const struct image_prefix *prefixes = image_part(snapshot, IMAGE_PREFIXES);
    uint32_t mask = snapshot->parts[IMAGE_PREFIX_SLOTS].count - 1;
    for (uint32_t at = image_first_slot(hash) & mask; slots[at].index != SNAPSHOT_NONE;
         at = (at + 1) & mask) {
        const struct image_prefix *prefix = prefixes + slots[at].index;
        if (slots[at].hash == hash && prefix->host == host &&
            str_equal(image_str(snapshot, prefix->path), path))
            return prefix;
    }
    return NULL;
}
