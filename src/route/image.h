/* image: how a snapshot lies in memory: a header, then one run of fixed-size records a part, then the texts.
 *
 * Records name each other by index and texts by offset and length, so the bytes mean the same wherever they
 * are mapped. Each part begins where the one before ended, rounded up to 8 bytes. Only for the room route.
 *
 * An amendment is an image of some of another one's services, its ground's, as they are now: it has pools,
 * pages and texts of its own for these, and settings and listeners; routes, and all other services, are read
 * from the ground. No record names one in the other image. */
#pragma once

#include "route/snapshot.h"

#include <sys/un.h>

#define IMAGE_MAGIC 0x0100706177737075ULL /* "upswap", 0, 1 */
#define IMAGE_LAYOUT 30
#define IMAGE_HOST_MAX 255    /* bytes of a host that is looked up, without the trailing dot */
#define IMAGE_TEXT_MAX 1023   /* bytes of any text but those of enum snapshot_text */
#define IMAGE_LONG_MAX 131072 /* of those: a hundred paths and more */

enum image_part {
    IMAGE_TRUSTED,      /* struct address_prefix */
    IMAGE_PROXIES,      /* struct address_prefix, listener by listener */
    IMAGE_ALLOWED,      /* struct address_prefix, service by service */
    IMAGE_LISTENERS,    /* struct image_listener */
    IMAGE_SERVICES,     /* struct snapshot_service */
    IMAGE_AMENDED,      /* uint32_t, in an amendment one a service, ascending: its index in the ground */
    IMAGE_PAGES,        /* struct image_page, service by service */
    IMAGE_POOLS,        /* struct snapshot_pool */
    IMAGE_INSTANCES,    /* struct image_instance, pool by pool */
    IMAGE_SEATS,        /* struct snapshot_seat, one an instance, in the same order */
    IMAGE_HOSTS,        /* struct image_host */
    IMAGE_HOST_SLOTS,   /* struct image_slot: hash table of the hosts */
    IMAGE_PREFIXES,     /* struct image_prefix: all paths but "/" */
    IMAGE_PREFIX_SLOTS, /* struct image_slot: hash table of the prefixes */
    IMAGE_LENGTHS,      /* uint32_t, host by host */
    IMAGE_TEXTS,        /* bytes */
    IMAGE_PARTS
};

/* Records `at` to `at` + `count` - 1 of a part; in the header, `at` is the part's offset in bytes. */
struct image_span {
    uint32_t at, count;
};

/* Bytes of IMAGE_TEXTS. */
struct image_text {
    uint32_t at, n;
};

struct snapshot {
    uint64_t magic;
    uint64_t layout;
    uint64_t size; /* bytes of the whole image */
    uint64_t version;
    uint64_t ground_version; /* of the image that this one amends; 0: it is whole */
    int64_t ground;          /* from here to there, in bytes; 0: it is whole, or not opened yet */
    uint32_t paused;         /* services of this image that are */
    uint32_t unused;
    uint64_t key_lengths[(IMAGE_HOST_MAX + 1) / 64]; /* bit n % 64 of n / 64: a host's key has n bytes */
    struct snapshot_settings settings;
    struct image_span parts[IMAGE_PARTS];
};

struct image_listener {
    uint32_t id;
    struct image_text address;
    struct image_span proxies;
    struct snapshot_door door;
    uint32_t unused;
};

struct snapshot_service {
    struct image_text name, hash_name, cookies[SNAPSHOT_COOKIES], cookie_path;
    struct image_span pools;
    uint32_t live, candidate; /* pools, or SNAPSHOT_NONE */
    uint32_t canary_share;
    uint32_t warms; /* bool */
    struct image_text texts[SNAPSHOT_TEXTS];
    struct image_span pages, allowed;
    struct snapshot_rules rules;
};

struct image_page {
    uint32_t status;
    uint32_t json; /* bool */
    struct image_text body;
};

struct snapshot_pool {
    struct image_text deployment, release;
    struct image_span instances;
    uint64_t number;
    uint32_t slot;
    uint32_t even;     /* bool: all of its instances have one weight */
    uint64_t since_ms; /* the latest of its instances' */
    struct snapshot_drain drain;
};

union image_address {
    struct sockaddr any;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
    struct sockaddr_un path;
};

struct image_instance {
    uint64_t id;
    struct image_text name;
    uint32_t slot;
    uint16_t drained; /* bool */
    uint16_t down;    /* bool */
    uint64_t since_ms;
    uint32_t address_length;
    uint32_t unused;
    union image_address address;
};

/* One host's key and all that is needed to find its longest prefix. The key is in lower case: a name, a
 * wildcard's suffix with its leading dot, or empty for any host. */
struct image_host {
    struct image_text key;
    struct image_span lengths; /* the different lengths of its prefixes, ascending, "/" aside */
    uint32_t root;             /* service that takes "/", or SNAPSHOT_NONE */
    uint32_t unused;
};

struct image_prefix {
    uint32_t host;          /* index */
    uint32_t service;       /* index */
    struct image_text path; /* begins with '/', does not end with one, at least 2 bytes */
};

/* Open addressing with linear probing. A table has a power of two of slots, at least one of them empty. */
struct image_slot {
    uint32_t hash;
    uint32_t index; /* of the record, or SNAPSHOT_NONE: empty */
};

/* Sets each part's offset from the counts of all. Returns the size of the image in bytes. */
uint64_t image_place(struct image_span parts[IMAGE_PARTS]);

/* The image that has the routes: the snapshot's own where it is whole. */
static inline const struct snapshot *image_ground(const struct snapshot *snapshot)
{
    return (const struct snapshot *)((const char *)snapshot + snapshot->ground);
}

/* The one of its two images that the record lies in. */
static inline const struct snapshot *image_of(const struct snapshot *snapshot, const void *record)
{
    return (uintptr_t)record - (uintptr_t)snapshot < snapshot->size ? snapshot : image_ground(snapshot);
}

static inline const void *image_part(const struct snapshot *snapshot, enum image_part part)
{
    return (const char *)snapshot + snapshot->parts[part].at;
}

static inline struct str image_str(const struct snapshot *snapshot, struct image_text text)
{
    return (struct str){(const char *)image_part(snapshot, IMAGE_TEXTS) + text.at, text.n};
}

static inline uint8_t image_lower(char c)
{
    uint8_t byte = (uint8_t)c;
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

/* FNV-1a, a byte a step, so that the hashes of all prefixes of a path come out of one pass. No secret seed,
 * here and with hosts: requests only look up, and whoever writes the config gains nothing by slowing it down.
 */
#define IMAGE_HASH_START 2166136261U

static inline uint32_t image_hash(uint32_t hash, uint8_t byte)
{
    return (hash ^ byte) * 16777619U;
}

/* Where the hash of a path begins that belongs to a host. */
static inline uint32_t image_hash_of_host(uint32_t host)
{
    return IMAGE_HASH_START ^ host * 2654435769U;
}

/* Where a hash's probe sequence starts, before the mask: FNV's low bits alone are weak. */
static inline uint32_t image_first_slot(uint32_t hash)
{
    hash ^= hash >> 16;
    hash *= 0x45d9f3bU;
    return hash ^ hash >> 15;
}

/* What a service's rules say of its texts and cookies. */
uint8_t image_texts_there(const struct snapshot_service *service);
uint8_t image_cookies_there(const struct snapshot_service *service);

/* Do they all have one weight? */
bool image_is_even(const struct snapshot_seat *seats, size_t count);

/* Checks all of an image that is whole, where `ground_version` is 0, or amends one with that version and so
 * many services. */
bool image_check(const struct snapshot *snapshot, size_t size, uint64_t ground_version,
                 size_t ground_services, struct err *err) MUST_CHECK;

/* Letters of either case hash alike. */
uint32_t image_hash_key(struct str key);
/* From the first byte to the last. */
uint32_t image_hash_path(uint32_t host, struct str path);

/* The record with this key (in either case), or path of a host, whose hash is given; NULL where there is
 * none. */
const struct image_host *image_find_host(const struct snapshot *snapshot, struct str key);
const struct image_prefix *image_find_prefix(const struct snapshot *snapshot, uint32_t host, struct str path,
                                             uint32_t hash);
