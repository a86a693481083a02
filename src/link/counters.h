/* counters: numbers in shared memory, written by one worker each and read by control, without messages or
 * locks.
 *
 * A block a worker, cache-line aligned. Inside: the worker's own cells, a record a pool slot, a record an
 * instance slot. Control hands out the slots and clears them before they are used again.
 *
 * After an upgrade two proxies are there at once: the new one, and the old one that finishes. Each has blocks
 * of its own, those of its generation, so neither writes where the other does; sums are over all of them. */
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define COUNTERS_WORKERS_MAX 256
#define COUNTERS_GENERATIONS 4   /* proxies that may be there at once */
#define COUNTERS_POOLS 32768     /* slots */
#define COUNTERS_INSTANCES 65536 /* slots */
#define COUNTERS_LISTENERS 64    /* by listener id */
#define COUNTERS_CODE_MIN 100
#define COUNTERS_CODES 500 /* 100 to 599 */

/* Request durations: bucket b holds those below counters_bucket_us(b) and not below that of b - 1; the last
 * one all the rest. Four buckets an octave from 128 us, so a quantile read from them is off by at most a
 * fifth. */
#define COUNTERS_BUCKETS 84

/* Why a peer of HTTP/2 was told to be calm (GOAWAY with ENHANCE_YOUR_CALM). */
enum counters_flood {
    COUNTERS_RESETS, /* of either side, where the peer has made us */
    COUNTERS_PINGS,
    COUNTERS_SETTINGS,
    COUNTERS_PRIORITIES,
    COUNTERS_EMPTY_FRAMES, /* that end nothing */
    COUNTERS_WINDOW_UPDATES,
    COUNTERS_CONTINUATIONS, /* of one header block */
    COUNTERS_HEADER_LIST,   /* one that goes on far beyond the limit */
    COUNTERS_FLOODS
};

/* The words, as a GOAWAY says them and metrics label them. */
extern const char *const counters_flood_names[COUNTERS_FLOODS];

enum counters_error {
    COUNTERS_CONNECT_REFUSED,
    COUNTERS_CONNECT_TIMEOUT,
    COUNTERS_CONNECT_OTHER,
    COUNTERS_CLOSED_EARLY, /* the connection ended before or inside a response */
    COUNTERS_BAD_RESPONSE,
    COUNTERS_FIRST_BYTE_TIMEOUT,
    COUNTERS_STALL,
    COUNTERS_ERRORS
};

/* The kinds' names as metrics label them. */
extern const char *const counters_error_names[COUNTERS_ERRORS];

/* The classes of exchanges that last, each of which has a drain's deadline of its own; all others are
 * requests. */
enum counters_lasting { COUNTERS_STREAM, COUNTERS_WEBSOCKET, COUNTERS_TUNNEL, COUNTERS_LASTING };

/* Their names as metrics label them. */
extern const char *const counters_lasting_names[COUNTERS_LASTING];

/* Own answers that no pool had a part in are counted by status. */
#define COUNTERS_REFUSED 9

/* The status that a cell of counters_worker.refused counts; 0, the last: all others. */
extern const uint16_t counters_refused_codes[COUNTERS_REFUSED];
/* The cell that counts a status. */
unsigned counters_refused(unsigned status);

/* How handshakes of TLS end. */
enum counters_handshake {
    COUNTERS_HANDSHAKE_FULL,
    COUNTERS_HANDSHAKE_RESUMED,
    COUNTERS_HANDSHAKE_FAILED, /* or not within the time for a head */
    COUNTERS_HANDSHAKES
};
extern const char *const counters_handshake_names[COUNTERS_HANDSHAKES];

struct counters_pool {
    uint64_t in_flight;                 /* exchanges that hold this pool */
    uint64_t choosing;                  /* those among them that may still go to any of its instances */
    uint64_t lasting[COUNTERS_LASTING]; /* those among them that last, by class */
    uint64_t queued;                    /* those among them that wait until an instance has room */
    uint64_t warming;     /* connections that are to be made, and are not yet: see plane/warm.h */
    uint64_t requests;    /* ended */
    uint64_t duration_us; /* sum */
    uint64_t retries;
    uint64_t retries_denied; /* the budget was used up */
    uint64_t forged;         /* cookies under upswap's names that are none of its own */
    uint64_t errors[COUNTERS_ERRORS];
    uint64_t buckets[COUNTERS_BUCKETS];
    uint64_t codes[COUNTERS_CODES];
} __attribute__((aligned(64)));

struct counters_instance {
    uint64_t in_flight;
    uint64_t requests;
    uint64_t errors;
    uint64_t connections; /* to it, idle ones included */
    uint64_t cut;         /* exchanges that a drain's deadline has ended */
    uint64_t
        ejected_until_ms; /* monotonic: until when this worker sends no requests there; past, or 0: it does */
    uint64_t ejections;   /* that it came to that */
    uint64_t standing;    /* control's own, in the first worker's record: see control/standing.h */
} __attribute__((aligned(64)));

/* So many pool slots, one behind the other, are a group: where nothing has ended in it, nobody need look at
 * each. */
#define COUNTERS_GROUP 64
#define COUNTERS_GROUPS (COUNTERS_POOLS / COUNTERS_GROUP)

/* Requests of a paused service, by the slot that control gives to the pause. */
#define COUNTERS_PAUSES 64
struct counters_pause {
    uint64_t waiting;
    uint64_t bytes; /* that they hold */
};

/* The version of a worker that has ended: it begins nothing any more. */
#define COUNTERS_ENDED UINT64_MAX

struct counters_worker {
    uint64_t version; /* of the snapshot at its last turn: no request that began later is of an older one */
    uint64_t turns;
    uint64_t refused[COUNTERS_REFUSED]; /* own answers without a pool: by status, see counters_refused */
    uint64_t floods[COUNTERS_FLOODS];   /* of HTTP/2, that ended a connection */
    uint64_t connections[COUNTERS_LISTENERS]; /* open client connections */
    uint64_t accepted[COUNTERS_LISTENERS];
    uint64_t handshakes[COUNTERS_LISTENERS][COUNTERS_HANDSHAKES];
    struct counters_pause pauses[COUNTERS_PAUSES];
    uint64_t ended[COUNTERS_GROUPS]; /* requests, by the group of their pool; each behind the pool's own */
} __attribute__((aligned(64)));

struct counters; /* a mapping */
struct shadow_cells;

/* Makes the shared memory for so many workers: a memfd, or -1. Pages are taken only as they are used. */
int counters_create(unsigned workers, struct err *err) MUST_CHECK;
/* Maps what counters_create made (checks layout and version; fd stays the caller's). NULL with a sentence. */
struct counters *counters_map(int fd, struct err *err) MUST_CHECK;
void counters_unmap(struct counters *counters);

/* From now on this mapping's records by worker are those of a generation; before that, of generation 0. */
void counters_use(struct counters *counters, unsigned generation);

/* Control's own: the number of the last event, which outlives it here; see control/event_log.h. */
uint64_t *counters_last_event(struct counters *counters);

/* Of one generation. */
unsigned counters_workers(const struct counters *counters);
struct counters_worker *counters_worker(struct counters *counters, unsigned worker);
struct counters_pool *counters_pool(struct counters *counters, unsigned worker, uint32_t slot);
struct counters_instance *counters_instance(struct counters *counters, unsigned worker, uint32_t slot);
/* What the pool in this slot has answered to copies of live requests: see link/shadow.h. */
struct shadow_cells *counters_shadow(struct counters *counters, unsigned worker, uint32_t slot);
/* For the reader: calls `each` with those of every worker, of whatever generation, that has ever been there.
 */
void counters_shadow_each(struct counters *counters, uint32_t slot,
                          void (*each)(void *arg, const struct shadow_cells *cells), void *arg);

/* The writer's add: a plain one, visible to readers as a whole word, and in the order of the calls: who reads
 * a cell of a worker also sees what that worker wrote before. */
static inline void counters_add(uint64_t *cell, uint64_t more)
{
    __atomic_store_n(cell, *cell + more, __ATOMIC_RELEASE);
}
static inline void counters_sub(uint64_t *cell, uint64_t less)
{
    __atomic_store_n(cell, *cell - less, __ATOMIC_RELEASE);
}
static inline uint64_t counters_read(const uint64_t *cell)
{
    return __atomic_load_n(cell, __ATOMIC_ACQUIRE);
}

/* Which bucket a duration belongs to, and a bucket's upper bound in us (UINT64_MAX for the last). */
unsigned counters_bucket(uint64_t us);
uint64_t counters_bucket_us(unsigned bucket);

/* For the reader: sums over all workers of all generations. Of the workers' own cells, `version` means
 * nothing in the sum. */
void counters_worker_sum(struct counters *counters, struct counters_worker *sum);
void counters_pool_sum(struct counters *counters, uint32_t slot, struct counters_pool *sum);
/* Of a sum: those in flight that do not last, so all but `lasting`. The cells are not of one moment. */
uint64_t counters_pool_brief(const struct counters_pool *sum);
void counters_instance_sum(struct counters *counters, uint32_t slot, struct counters_instance *sum);
struct counters_pause counters_pause_sum(struct counters *counters, uint32_t slot);
/* Those of each group that have ended. Where a sum is as before, so are those of its pools, but for what
 * control has cleared. */
void counters_groups_ended(struct counters *counters, uint64_t sums[COUNTERS_GROUPS]);
/* Requests that have ended. */
uint64_t counters_pool_ended(struct counters *counters, uint32_t slot);
/* In flight, those that last aside. */
uint64_t counters_pool_in_requests(struct counters *counters, uint32_t slot);
uint64_t counters_pool_in_flight(struct counters *counters, uint32_t slot);
uint64_t counters_pool_choosing(struct counters *counters, uint32_t slot);
uint64_t counters_pool_warming(struct counters *counters, uint32_t slot);
uint64_t counters_instance_in_flight(struct counters *counters, uint32_t slot);
/* The latest of the workers' ejected_until_ms. */
uint64_t counters_instance_ejected_until_ms(struct counters *counters, uint32_t slot);
/* The oldest snapshot version that any worker of a proxy that is there may still begin a request with. */
uint64_t counters_version(struct counters *counters);

/* The newest version that any worker has that has not ended, of a proxy that is there. */
uint64_t counters_newest(struct counters *counters);

/* Before a slot is used again: is anything in flight there, or connected to in advance? Unlike the sums,
 * takes no memory for a slot that was never used. */
bool counters_pool_is_busy(struct counters *counters, uint32_t slot);
/* Of an instance: is anything in flight, or any connection left? */
bool counters_instance_is_busy(struct counters *counters, uint32_t slot);
/* Nor does this. */
void counters_clear_pool(struct counters *counters, uint32_t slot);
void counters_clear_instance(struct counters *counters, uint32_t slot);
/* Before a proxy gets those of a generation: what was in flight in another one has died with it. Then every
 * in_flight, choosing, queued, warming, waiting, connections, ejected_until_ms and version cell is set to 0;
 * totals stay. Whose they are is kept beside them, so that a control which has seen neither proxy knows too.
 */
void counters_give(struct counters *counters, unsigned generation, int32_t proxy);
/* The proxy of a generation has ended, and no other will be given it before the next counters_give: its
 * gauges are 0, its version holds nobody up. */
void counters_end(struct counters *counters, unsigned generation);
