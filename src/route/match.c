/* match: from host and path to the service, inside an image that snapshot_open has accepted. Everything is
 * read in place; the only memory used is on the stack. */
#include "route/image.h"

/* Goes through the lengths that this host's prefixes have, shortest first, and hashes the path on the way:
 * the last that fits is the longest. Returns the service or SNAPSHOT_NONE. */
static uint32_t match_path(const struct snapshot *snapshot, const struct image_host *host, struct str path,
                           uint32_t *matched)
{
    const struct image_host *hosts = image_part(snapshot, IMAGE_HOSTS);
    const uint32_t *lengths = (const uint32_t *)image_part(snapshot, IMAGE_LENGTHS) + host->lengths.at;
    uint32_t index = (uint32_t)(host - hosts);
    uint32_t hash = image_hash_of_host(index);
    uint32_t service = host->root, done = 0;
    *matched = 0;
    for (uint32_t i = 0; i < host->lengths.count && lengths[i] <= path.n; i++) {
        for (; done < lengths[i]; done++)
            hash = image_hash(hash, (uint8_t)path.p[done]);
        if (done < path.n && path.p[done] != '/')
            continue;
        const struct image_prefix *prefix =
            image_find_prefix(snapshot, index, (struct str){path.p, done}, hash);
        if (prefix != NULL) {
            service = prefix->service;
            *matched = done;
        }
    }
    return service;
}

/* The most bytes, fewer than so many, that a host's key has here. SIZE_MAX: none has as few. */
static size_t longest_key_below(const struct snapshot *ground, size_t below)
{
    size_t word = below / 64;
    uint64_t lengths = word < sizeof ground->key_lengths / sizeof *ground->key_lengths
                           ? ground->key_lengths[word] & ((UINT64_C(1) << below % 64) - 1)
                           : 0;
    while (lengths == 0 && word > 0)
        lengths = ground->key_lengths[--word];
    return lengths == 0 ? SIZE_MAX : word * 64 + 63 - (size_t)__builtin_clzll(lengths);
}

/* Can a key begin at this place of the host? A whole name does not begin with a dot, a wildcard's suffix
 * does, and behind the end stands the key of any host. */
static bool may_be_key(struct str host, size_t at)
{
    return at == host.n || (at == 0) != (host.p[at] == '.');
}

const struct snapshot_service *snapshot_match(const struct snapshot *snapshot, struct str host,
                                              struct str path, uint32_t *prefix)
{
    if (host.n > 0 && host.p[host.n - 1] == '.')
        host.n--;
    if (host.n > IMAGE_HOST_MAX)
        return NULL;
    const struct snapshot *ground = image_ground(snapshot);
    for (size_t n = longest_key_below(ground, host.n + 1); n != SIZE_MAX; n = longest_key_below(ground, n)) {
        if (!may_be_key(host, host.n - n))
            continue;
        const struct image_host *found = image_find_host(ground, (struct str){host.p + host.n - n, n});
        uint32_t service = found == NULL ? SNAPSHOT_NONE : match_path(ground, found, path, prefix);
        if (service != SNAPSHOT_NONE)
            return snapshot_service_at(snapshot, service);
    }
    return NULL;
}
