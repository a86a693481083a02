/* Where the parts lie, and how records are found by hash. */
#include "route/image.h"

static const size_t record_sizes[IMAGE_PARTS] = {
    [IMAGE_TRUSTED] = sizeof(struct address_prefix),
    [IMAGE_PROXIES] = sizeof(struct address_prefix),
    [IMAGE_ALLOWED] = sizeof(struct address_prefix),
    [IMAGE_LISTENERS] = sizeof(struct image_listener),
    [IMAGE_SERVICES] = sizeof(struct snapshot_service),
    [IMAGE_AMENDED] = sizeof(uint32_t),
    [IMAGE_PAGES] = sizeof(struct image_page),
    [IMAGE_POOLS] = sizeof(struct snapshot_pool),
    [IMAGE_INSTANCES] = sizeof(struct image_instance),
    [IMAGE_SEATS] = sizeof(struct snapshot_seat),
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

_Static_assert(SNAPSHOT_TEXTS <= 8 && SNAPSHOT_COOKIES <= 8, "each has its bit");

static uint8_t there(const struct image_text *texts, unsigned count)
{
    uint8_t bits = 0;
    for (unsigned i = 0; i < count; i++)
        bits |= (uint8_t)((texts[i].n > 0) << i);
    return bits;
}

uint8_t image_texts_there(const struct snapshot_service *service)
{
    return there(service->texts, SNAPSHOT_TEXTS);
}

uint8_t image_cookies_there(const struct snapshot_service *service)
{
    return there(service->cookies, SNAPSHOT_COOKIES);
}

bool image_is_even(const struct snapshot_seat *seats, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (seats[i].weight != seats[0].weight)
            return false;
    }
    return true;
}

#define MIX 0x9e3779b97f4a7c15U

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * MIX;
    return hash ^ hash >> 32;
}

/* A byte of the last word has only reached bits above it; now all of them are in these. */
static uint32_t finish(uint64_t hash)
{
    return (uint32_t)(hash * MIX >> 32);
}

static uint64_t eight_bytes(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word | 0x2020202020202020;
}

/* The last eight bytes may overlap those before. */
uint32_t image_hash_key(struct str key)
{
    uint64_t hash = key.n, word = 0;
    if (key.n < sizeof word) {
        for (size_t i = 0; i < key.n; i++)
            word = word << 8 | (uint8_t)key.p[i] | 0x20;
        return finish(mix(hash, word));
    }
    for (size_t i = 0; i + sizeof word < key.n; i += sizeof word)
        hash = mix(hash, eight_bytes(key.p + i));
    return finish(mix(hash, eight_bytes(key.p + key.n - sizeof word)));
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
    if (key.n == 0 || memcmp(key.p, host.p, key.n) == 0)
        return true; /* most hosts come in small letters */
    for (size_t i = 0; i < key.n; i++) {
        if ((uint8_t)key.p[i] != image_lower(host.p[i]))
            return false;
    }
    return true;
}

/* A walk over the records whose keys have one hash. */
struct probe {
    const struct image_slot *slots;
    uint32_t mask, at, hash;
};

static struct probe probe_start(const struct snapshot *snapshot, enum image_part part, uint32_t hash)
{
    return (struct probe){image_part(snapshot, part), snapshot->parts[part].count - 1, image_first_slot(hash),
                          hash};
}

/* The next one's index, or SNAPSHOT_NONE after the last. */
static uint32_t probe_next(struct probe *probe)
{
    for (;;) {
        const struct image_slot *slot = probe->slots + (probe->at++ & probe->mask);
        if (slot->index == SNAPSHOT_NONE || slot->hash == probe->hash)
            return slot->index;
    }
}

const struct image_host *image_find_host(const struct snapshot *snapshot, struct str key)
{
    const struct image_host *hosts = image_part(snapshot, IMAGE_HOSTS);
    struct probe probe = probe_start(snapshot, IMAGE_HOST_SLOTS, image_hash_key(key));
    uint32_t i;
    while ((i = probe_next(&probe)) != SNAPSHOT_NONE) {
        if (is_key(image_str(snapshot, hosts[i].key), key))
            return hosts + i;
    }
    return NULL;
}

const struct image_prefix *image_find_prefix(const struct snapshot *snapshot, uint32_t host, struct str path,
                                             uint32_t hash)
{
    const struct image_prefix *prefixes = image_part(snapshot, IMAGE_PREFIXES);
    struct probe probe = probe_start(snapshot, IMAGE_PREFIX_SLOTS, hash);
    uint32_t i;
    while ((i = probe_next(&probe)) != SNAPSHOT_NONE) {
        if (prefixes[i].host == host && str_equal(image_str(snapshot, prefixes[i].path), path))
            return prefixes + i;
    }
    return NULL;
}
