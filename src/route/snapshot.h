/* snapshot: the immutable routing view of the data plane, as one image of bytes without pointers.
 *
 * Control describes the world in a struct snapshot_spec and freezes it; the image travels as a sealed memfd;
 * the proxy opens (validates) it in place and routes by it. Matching allocates nothing and locks nothing. */
#pragma once

#include "base/address.h"
#include "base/err.h"
#include "base/str.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SNAPSHOT_NONE UINT32_MAX
#define SNAPSHOT_LISTENERS_MAX 64 /* and their ids are below it */
#define SNAPSHOT_POOL_SLOTS 32768 /* of the counters; slots are below these */
#define SNAPSHOT_INSTANCE_SLOTS 65536
#define SNAPSHOT_WEIGHT_MAX 256
#define SNAPSHOT_COOKIE_KEY_SIZE 32
#define SNAPSHOT_WHOLE 1000000 /* shares are millionths */

enum snapshot_balance {
    SNAPSHOT_ROUND_ROBIN,
    SNAPSHOT_LEAST_REQUESTS,
    SNAPSHOT_TWO_CHOICES,
    SNAPSHOT_RANDOM,
    SNAPSHOT_HASH_CLIENT, /* by its address; from here on consistently, by a key of the request */
    SNAPSHOT_HASH_HEADER,
    SNAPSHOT_HASH_COOKIE
};
enum snapshot_mode {
    SNAPSHOT_SERVING,
    SNAPSHOT_PAUSED,      /* requests wait */
    SNAPSHOT_MAINTENANCE, /* requests are answered 503 */
    SNAPSHOT_MODES
};
enum snapshot_access_log { SNAPSHOT_LOG_NONE, SNAPSHOT_LOG_JSON, SNAPSHOT_LOG_COMBINED };

/* Requests of one client address; 0 a second: no limit. */
struct snapshot_rate {
    uint32_t per_second; /* at most SNAPSHOT_RATE_MAX */
    uint32_t burst;      /* at once; where there is a limit, from 1 to SNAPSHOT_RATE_WINDOW seconds' worth */
};

#define SNAPSHOT_RATE_MAX 1000000
#define SNAPSHOT_RATE_WINDOW 3600

/* Keys of this installation, the same across restarts. */
struct snapshot_secrets {
    uint64_t hash[2];                            /* of what is hashed to an instance */
    uint8_t cookie[2][SNAPSHOT_COOKIE_KEY_SIZE]; /* the first signs, both are believed */
};

/* What a service may have as text. */
enum snapshot_text {
    SNAPSHOT_REQUEST_HEADERS,  /* rules as of http/rules.h */
    SNAPSHOT_RESPONSE_HEADERS, /* the same */
    SNAPSHOT_CANONICAL_HOST,   /* a name, with or without a port */
    SNAPSHOT_PREVIEW_FIELD,    /* the name of a field that leads to the candidate */
    SNAPSHOT_PREVIEW_SECRET,   /* where it has this value */
    SNAPSHOT_PASS,             /* paths as instances see them, one a line: their requests never wait */
    SNAPSHOT_MESSAGE,          /* a sentence for those who are turned away by the mode */
    SNAPSHOT_TEXTS
};

/* What a cookie of upswap's binds a client to. */
enum snapshot_cookie {
    SNAPSHOT_AFFINITY, /* an instance */
    SNAPSHOT_PIN,      /* a pool */
    SNAPSHOT_CANARY,   /* a side of a canary */
    SNAPSHOT_COOKIES
};

/* HTTP/2 of clients. The last seven count what one connection may send in a minute, but the last: in one
 * header block. */
struct snapshot_http2 {
    uint32_t streams; /* of one connection at a time */
    uint32_t window;  /* bytes of one stream that may come before they are read */
    uint32_t resets;
    uint32_t pings;
    uint32_t settings;
    uint32_t priorities;
    uint32_t empty_frames;
    uint32_t window_updates;
    uint32_t continuations;
};

/* What holds for all services. Flat: is copied into the image as it is. All times in ms, sizes in bytes; 0:
 * no limit. */
struct snapshot_settings {
    uint64_t steady_ahead_ns; /* of the steady clock (base/clock.h), by which cookies have their age */
    uint64_t body_max;        /* of a request */
    uint32_t head_max;        /* of a head */
    uint32_t fields_max;      /* field lines of a head */
    uint32_t connections_max; /* client connections of the whole proxy */
    uint32_t connections_per_address;
    uint32_t head_ms;          /* from the first byte (or the accept) to the end of a head */
    uint32_t idle_ms;          /* a client connection between requests */
    uint32_t access_log;       /* enum snapshot_access_log */
    char https_port[6];        /* to be written into redirects to https, as text */
    uint8_t https_port_length; /* 0: none is written */
    uint8_t unused;
    struct snapshot_rate rate;
    struct snapshot_secrets secrets;
    struct snapshot_http2 http2;
};

/* How the requests of a service wait while it is paused. */
struct snapshot_pause {
    uint64_t until_ms;   /* monotonic: then they are let go, whatever has become of control */
    uint64_t bytes_most; /* that all of them hold */
    uint32_t most;       /* of them, over all workers */
    uint32_t longest_ms; /* that one waits */
    uint32_t rate;       /* of requests before the pause, thousandths a second; 0: not known */
    uint32_t slot;       /* of the counters, while it is paused and its line is let go */
};

#define SNAPSHOT_PAUSE_SLOTS 64

/* What becomes of the trace that a client names; a valid one is passed on but with TRUSTED. */
enum snapshot_trace {
    SNAPSHOT_TRACE_START,   /* without one, one begins */
    SNAPSHOT_TRACE_PASS,    /* none does */
    SNAPSHOT_TRACE_TRUSTED, /* as START, and who is no trusted proxy has none */
    SNAPSHOT_TRACES
};

/* Flat part of a service. */
struct snapshot_rules {
    uint64_t body_max; /* bytes of a request; 0: as the settings say */
    struct snapshot_pause pause;
    uint32_t connect_ms;
    uint32_t first_byte_ms;
    uint32_t stall_ms;
    uint32_t minimum_rate; /* bytes a second from and to a client that is waited for; 0: any */
    uint32_t upstream_idle_ms;
    uint32_t drain_requests_ms; /* how long what is in flight may last when the whole proxy stops */
    uint32_t drain_streams_ms;
    uint32_t drain_websockets_ms;
    uint32_t drain_tunnels_ms;
    uint32_t drain_spread_ms;
    uint64_t shadow_run;       /* of the shadow gate, while it runs; 0: it does not */
    uint32_t shadow_share;     /* of the live requests, that are repeated against the candidate; millionths */
    uint32_t shadow_latency;   /* how many times as slow is too slow; millionths, 0: nothing is */
    struct snapshot_rate rate; /* of requests to this service */
    uint32_t ejection_failures; /* in a row; 0: traffic ejects nobody */
    uint32_t ejection_pause_ms;
    uint32_t ejection_longest_ms;
    uint32_t ejection_most; /* percent of the instances in rotation */
    uint32_t slow_start_ms; /* how long an instance that comes back has less than its share; 0: not at all */
    uint32_t concurrency_per_instance; /* requests at a time, over all workers; 0: no limit */
    uint32_t queue_most;               /* requests that wait, a worker */
    uint32_t queue_timeout_ms;
    uint32_t retries_attempts;    /* other instances that a request may go to */
    uint32_t retries_budget;      /* millionths of the requests */
    uint32_t affinity_s;          /* how long a cookie binds to an instance; 0: for the browser's session */
    uint32_t pin_s;               /* how long one binds to a pool */
    uint32_t maintenance_retry_s; /* Retry-After in maintenance */
    uint8_t balance;              /* enum snapshot_balance */
    uint8_t h2;                   /* bool: HTTP/2 is spoken to instances */
    uint8_t strip_path;
    uint8_t
        proxy_protocol; /* version of the header that each connection to an instance begins with; 0: none */
    uint8_t tls;        /* bool: to the instances */
    uint8_t forwarded;  /* bool: RFC 7239 Forwarded is sent */
    uint8_t redirect_https;     /* bool */
    uint8_t mode;               /* enum snapshot_mode */
    uint8_t shadow_credentials; /* bool: requests that name somebody are repeated too */
    uint8_t trace;              /* enum snapshot_trace */
    uint8_t texts;              /* bit n: there is the text n (enum snapshot_text); snapshot_freeze says so */
    uint8_t cookies;            /* the same of enum snapshot_cookie */
    uint8_t judged;             /* bool: a new pool is compared with the one before by what fails there */
    uint8_t unused[7];
};

/* Most requests need none of them: then their service is not looked at. */
static inline bool snapshot_has_text(const struct snapshot_rules *rules, enum snapshot_text which)
{
    return (rules->texts >> which & 1) != 0;
}
static inline bool snapshot_has_cookie(const struct snapshot_rules *rules, enum snapshot_cookie which)
{
    return (rules->cookies >> which & 1) != 0;
}

/* Flat part of a listener. */
struct snapshot_door {
    uint8_t tls;      /* bool: it speaks TLS */
    uint8_t redirect; /* bool: everything is answered by a redirect to https */
    uint8_t staged;   /* bool: it leads to candidates */
    uint8_t unused;
    uint32_t hsts_s; /* Strict-Transport-Security's max-age, in seconds; 0: none */
};

/* The last moment (monotonic ms) for each class of exchange on a draining pool; 0: not draining. All but
 * requests end spread over the spread_ms before their deadline. */
struct snapshot_drain {
    uint64_t requests_until_ms;
    uint64_t streams_until_ms;
    uint64_t websockets_until_ms;
    uint64_t tunnels_until_ms;
    uint64_t spread_ms;
    uint64_t pinned_until_ms; /* till then it takes requests of sessions that are pinned to it; 0: none */
};

/* What the proxy takes beyond a deadline, at most, for the proper end of a WebSocket or a stream. */
#define SNAPSHOT_DRAIN_GRACE_MS 3000

/* ---- what control fills in ---- */

struct snapshot_instance_spec {
    const char *name; /* HOST:PORT as staged */
    const struct sockaddr *address;
    socklen_t address_length;
    uint64_t id;       /* never used again for another instance */
    uint32_t slot;     /* of the counters; used again after retirement */
    bool drained;      /* out of rotation by hand */
    bool down;         /* by its checks: out of rotation too */
    uint32_t weight;   /* its share of the requests, 1 to SNAPSHOT_WEIGHT_MAX; 0 stands for 1 */
    uint64_t since_ms; /* monotonic: when it came back into rotation; 0: it was never out */
};

struct snapshot_pool_spec {
    const char *deployment; /* "web-17" */
    const char *release;    /* or "" */
    uint64_t number;        /* 17: its generation */
    uint32_t slot;          /* of the counters */
    struct snapshot_drain drain;
    bool candidate;        /* of the running deployment, before its swap; one of a service at most */
    uint32_t canary_share; /* of the new sessions for the candidate, in millionths; 0: none */
    bool warms; /* the candidate, which is about to take over from a live pool: connections to it are made */
    const struct snapshot_instance_spec *instances;
    size_t instance_count;
};

/* A body in place of upswap's own, for answers with this status. */
struct snapshot_page_spec {
    uint16_t status; /* or SNAPSHOT_PAGE_MAINTENANCE */
    bool json;       /* else HTML */
    struct str body; /* at most SNAPSHOT_PAGE_MAX bytes; the same pointer is stored once */
};

#define SNAPSHOT_PAGE_MAX 65536
#define SNAPSHOT_PAGE_MAINTENANCE 1 /* goes before the page for 503 */

struct snapshot_service_spec {
    const char *name;
    const char *const *hosts; /* exact, or "*.suffix"; none: any host */
    size_t host_count;
    const char *const *paths; /* prefixes, each beginning with '/' */
    size_t path_count;
    struct snapshot_rules rules;
    const char *hash_name;             /* of the field or cookie whose value is hashed; NULL: none is */
    const char *texts[SNAPSHOT_TEXTS]; /* NULL: none */
    const struct snapshot_page_spec *pages;
    size_t page_count;
    const struct address_prefix *allowed; /* who is served in maintenance too */
    size_t allowed_count;
    const char *affinity_cookie; /* names; NULL: no such cookie is given */
    const char *pin_cookie;
    const char *canary_cookie; /* NULL: a canary's share is taken by address */
    const char *cookie_path;   /* of both; NULL: "/" */
    uint32_t pool_first;       /* index into pools of the first of its own, which stand side by side */
    uint32_t pool_count;
    uint32_t live; /* index into pools, or SNAPSHOT_NONE: answers 503 */
};

struct snapshot_listener_spec {
    uint32_t id;                          /* names the descriptors sent for it */
    const char *address;                  /* bound address */
    const struct address_prefix *proxies; /* whose connections begin with a PROXY header */
    size_t proxy_count;
    struct snapshot_door door;
};

/* Of the whole world, or (`ground_version`) of those services that are not any more as a whole image says
 * that was frozen before: then the routes of these are not looked at, since they must be what they were. */
struct snapshot_spec {
    uint64_t version;
    uint64_t ground_version; /* of the image that is amended; 0: this is the whole world */
    size_t ground_services;  /* that it has */
    const uint32_t *amended; /* one a service, ascending: its place among those */
    struct snapshot_settings settings;
    const struct address_prefix *trusted;
    size_t trusted_count;
    const struct snapshot_listener_spec *listeners;
    size_t listener_count;
    const struct snapshot_service_spec *services;
    size_t service_count;
    const struct snapshot_pool_spec *pools; /* staged, live, armed and draining ones */
    size_t pool_count;
};

/* Freezes the world, or what amends it, into one image (to be freed with free()). NULL with a sentence: two
 * services on one host and path, a live index that is no pool, a name that is too long, more than the image
 * can hold. */
void *snapshot_freeze(const struct snapshot_spec *spec, size_t *size, struct err *err) MUST_CHECK;

/* ---- what the proxy reads ---- */

struct snapshot;

struct snapshot_instance {
    struct str name;
    const struct sockaddr *address;
    socklen_t address_length;
    uint64_t id;
    uint32_t slot;
    uint32_t weight;
    bool drained;
    bool down;
    uint64_t since_ms;
    uint64_t routed_by; /* version of its image, the snapshot's or the ground's; 0: it gets no new requests */
};

/* What is looked at of every instance where all are weighed against each other. Flat: lies so in the image.
 */
struct snapshot_seat {
    uint64_t seed; /* from its name, for consistent hashing */
    uint32_t weight;
    uint32_t unused;
};

/* A record inside the image; read it with the functions below. */
struct snapshot_pool;
struct snapshot_service;

/* Checks every offset, length and index of an image and gives it back as a snapshot (no copy; the image,
 * 8-byte aligned, must outlive it). A hostile image is refused, never followed. One that amends another is
 * refused too. */
const struct snapshot *snapshot_open(const void *image, size_t size, struct err *err) MUST_CHECK;
/* The same for one that amends `ground`, which snapshot_open has given, and which must outlive it too. Where
 * that lies is noted in the image, which must be the caller's own. */
const struct snapshot *snapshot_amend(void *image, size_t size, const struct snapshot *ground,
                                      struct err *err) MUST_CHECK;
/* The version of the image that one amends which begins with these bytes; 0: it is whole, or no image that
 * could be opened. Nothing else is checked. */
#define SNAPSHOT_BEGIN 40
uint64_t snapshot_amends(const uint8_t begin[SNAPSHOT_BEGIN]);

uint64_t snapshot_version(const struct snapshot *snapshot);
/* The one that it amends; itself where it is whole. */
const struct snapshot *snapshot_ground(const struct snapshot *snapshot);
const struct snapshot_settings *snapshot_settings(const struct snapshot *snapshot);
/* Is this 16-byte (IPv4-mapped) address a trusted proxy? */
bool snapshot_trusts(const struct snapshot *snapshot, const uint8_t address[16]);

size_t snapshot_listener_count(const struct snapshot *snapshot);
uint32_t snapshot_listener_id(const struct snapshot *snapshot, size_t index);
/* How the listener with this id answers. NULL: the world does not name it. */
const struct snapshot_door *snapshot_door(const struct snapshot *snapshot, uint32_t listener);
/* Must a connection to this listener from this 16-byte address begin with a PROXY header? */
bool snapshot_expects_proxy(const struct snapshot *snapshot, uint32_t listener, const uint8_t address[16]);

/* The pools of its own image: where it is whole, all; else those of the services that it amends. */
size_t snapshot_pool_count(const struct snapshot *snapshot);
const struct snapshot_pool *snapshot_pool_at(const struct snapshot *snapshot, size_t index);
/* The one of the whole world that has this slot of the counters. NULL: none has. */
const struct snapshot_pool *snapshot_pool_of_slot(const struct snapshot *snapshot, uint32_t slot);
uint64_t snapshot_pool_number(const struct snapshot_pool *pool);
uint32_t snapshot_pool_slot(const struct snapshot_pool *pool);
struct str snapshot_pool_deployment(const struct snapshot *snapshot, const struct snapshot_pool *pool);
struct str snapshot_pool_release(const struct snapshot *snapshot, const struct snapshot_pool *pool);
const struct snapshot_drain *snapshot_pool_drain(const struct snapshot_pool *pool);
size_t snapshot_pool_size(const struct snapshot_pool *pool);
/* One an instance, in their order. */
const struct snapshot_seat *snapshot_pool_seats(const struct snapshot *snapshot,
                                                const struct snapshot_pool *pool);
/* When the last of its instances came back into rotation (monotonic ms); 0: none was ever out. */
uint64_t snapshot_pool_since_ms(const struct snapshot_pool *pool);
/* Do all of its instances have one weight? */
bool snapshot_pool_is_even(const struct snapshot_pool *pool);
struct snapshot_instance snapshot_pool_instance(const struct snapshot *snapshot,
                                                const struct snapshot_pool *pool, size_t index);

size_t snapshot_service_count(const struct snapshot *snapshot);
const struct snapshot_service *snapshot_service_at(const struct snapshot *snapshot, size_t index);
struct str snapshot_service_name(const struct snapshot *snapshot, const struct snapshot_service *service);
/* How many of them are not as the ground has them, and the place of each. 0: it is whole. */
size_t snapshot_amended_count(const struct snapshot *snapshot);
uint32_t snapshot_amended_at(const struct snapshot *snapshot, size_t index);
/* Is any of them paused? May say so where the last one is paused no more. */
bool snapshot_may_pause(const struct snapshot *snapshot);
/* The service of that name, looked for at `place` first, where it was in another world. NULL: none. */
const struct snapshot_service *snapshot_service_named(const struct snapshot *snapshot, struct str name,
                                                      uint32_t place);
/* The service's place among the services, 0 to count - 1. */
uint32_t snapshot_service_index(const struct snapshot *snapshot, const struct snapshot_service *service);
/* Of the field or cookie whose value is hashed, or "". */
struct str snapshot_service_hash_name(const struct snapshot *snapshot,
                                      const struct snapshot_service *service);
/* The name of a cookie that upswap gives to clients of the service, or "": none; and the path of all. */
struct str snapshot_service_cookie(const struct snapshot *snapshot, const struct snapshot_service *service,
                                   enum snapshot_cookie which);
struct str snapshot_service_cookie_path(const struct snapshot *snapshot,
                                        const struct snapshot_service *service);
/* The pools of the service, in the order in which they came. */
size_t snapshot_service_pool_count(const struct snapshot_service *service);
const struct snapshot_pool *snapshot_service_pool_at(const struct snapshot *snapshot,
                                                     const struct snapshot_service *service, size_t index);
/* The service's pool of that number, or NULL. */
const struct snapshot_pool *snapshot_service_pool(const struct snapshot *snapshot,
                                                  const struct snapshot_service *service, uint64_t number);
const struct snapshot_rules *snapshot_service_rules(const struct snapshot_service *service);
/* The first page of this kind for the status; empty: none. */
struct str snapshot_service_page(const struct snapshot *snapshot, const struct snapshot_service *service,
                                 unsigned status, bool json);
/* Is this 16-byte (IPv4-mapped) address served in maintenance too? */
bool snapshot_service_allows(const struct snapshot *snapshot, const struct snapshot_service *service,
                             const uint8_t address[16]);
/* Empty: none. It holds no control byte but LF. */
struct str snapshot_service_text(const struct snapshot *snapshot, const struct snapshot_service *service,
                                 enum snapshot_text which);
/* NULL where no pool is live. */
const struct snapshot_pool *snapshot_service_live(const struct snapshot *snapshot,
                                                  const struct snapshot_service *service);
/* The pool of the running deployment before its swap. NULL: there is none. */
const struct snapshot_pool *snapshot_service_candidate(const struct snapshot *snapshot,
                                                       const struct snapshot_service *service);
/* Its share of the new sessions, 0 to SNAPSHOT_WHOLE; only where there are a candidate and a live pool. */
uint32_t snapshot_service_canary_share(const struct snapshot_service *service);

/* Is the candidate about to take over? Only where there are a candidate and a live pool. */
bool snapshot_service_warms(const struct snapshot_service *service);

/* Which service takes this host (no port; ASCII letters of either case; a trailing dot is ignored; "" matches
 * any-host services only) and path (without query). An exact host beats a wildcard, a longer wildcard a
 * shorter one, a wildcard any; where the more specific host has no prefix for the path, the next is asked.
 * The longest prefix wins, at segment boundaries: /api takes /api and /api/x, not /apix. *prefix gets the
 * matched prefix's length in bytes (0 for "/"). NULL: none. */
const struct snapshot_service *snapshot_match(const struct snapshot *snapshot, struct str host,
                                              struct str path, uint32_t *prefix);
