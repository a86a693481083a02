/* registry: services, pools, instances and deployments: what the journal says, in memory.
 *
 * Everybody may read the structs; they change in registry_apply only, one record at a time, and a record that
 * is not allowed changes nothing. So a replay of the journal gives what was there before. Pure: no I/O, no
 * clock. */
#pragma once

#include "base/err.h"
#include "deploy/table.h"

#include <stdint.h>
#include <sys/queue.h>

#include <uthash.h>

struct record;

/* Who asked, as the kernel or the token tells. */
struct asker {
    int64_t uid; /* -1: by token, or the daemon itself */
    int64_t pid;
    char user[64];
};

enum instance_state {
    INSTANCE_DOWN, /* has not accepted a connection yet */
    INSTANCE_UP,
    INSTANCE_DRAINED, /* taken out of rotation by hand */
    INSTANCE_RETIRED, /* gets nothing any more; its teardown is due or under way */
    INSTANCE_TORN_DOWN,
    INSTANCE_STATES
};

/* How the teardown of an instance ended. */
enum teardown_end {
    TEARDOWN_NONE,   /* it has not */
    TEARDOWN_DONE,   /* hook and signal carried out */
    TEARDOWN_FAILED, /* the attempts are used up */
    TEARDOWN_LEFT,   /* left alone: its address serves elsewhere, or goes with another pool */
    TEARDOWN_ENDS
};

struct instance {
    char *address;      /* HOST:PORT as staged */
    char *resolved;     /* IP:PORT: names are resolved once, before they are staged */
    uint64_t id;        /* never used again */
    uint32_t slot;      /* of the counters */
    uint32_t weight;    /* its share of the requests, from 1 */
    int64_t pid;        /* 0: none */
    uint64_t pid_start; /* start time of that process in ticks since boot, so that its number is not taken for
                           another's */
    enum instance_state state;
    bool forced; /* retired at the deadline, not when it was idle */
    enum teardown_end end;
};

enum pool_state {
    POOL_STAGED,
    POOL_LIVE,
    POOL_ARMED, /* was live, and can be again: gets no new sessions, and nothing is taken from it */
    POOL_DRAINING,
    POOL_RETIRED,
    POOL_STATES
};
enum retire_reason {
    RETIRE_NONE,
    RETIRE_REPLACED,
    RETIRE_REJECTED,
    RETIRE_ABORTED,
    RETIRE_ROLLED_BACK,
    RETIRE_REASONS
};

/* What a service does with requests, whatever pool is live. */
enum mode_kind {
    MODE_SERVING,
    MODE_PAUSED,      /* they wait, for a while */
    MODE_MAINTENANCE, /* they are answered 503 */
    MODE_KINDS
};

struct mode {
    enum mode_kind kind;
    uint64_t since_ns;  /* steady; 0: always was */
    uint64_t length_ms; /* PAUSED: at most */
    uint32_t rate;      /* PAUSED: of requests before it, thousandths a second; 0: not known */
    uint32_t slot;      /* PAUSED, and after it: of the counters of what waits; 0: none yet */
    char *deployment;   /* PAUSED: that asked for it, and ends it; NULL: somebody did by hand */
    char *message;      /* MAINTENANCE: for clients, at most MODE_MESSAGE_MAX bytes; NULL: none */
    struct asker asker;
};

/* Frees what it holds, not itself. */
void mode_free(struct mode *mode);

#define MODE_MESSAGE_MAX 300
#define MODE_SLOTS 64
#define PAUSE_WITH_MAX 64 /* words */

/* How long each class of exchange may go on after a swap, as configured at that moment. ms. */
struct drain_times {
    uint64_t requests_ms, streams_ms, websockets_ms, tunnels_ms, spread_ms;
    uint64_t pinned_ms; /* before all of these: how long pinned sessions still come; 0: there are none */
};

struct service;

/* One moment of a deployment. */
struct moment {
    uint64_t time_ns; /* wall */
    enum deployment_state state;
    char *why;
    char *by; /* user who asked for it; NULL: it came by itself */
};

#define CANARY_SHARES_MAX 32
#define CANARY_WHOLE 1000000 /* shares are millionths */

/* The shares of the new sessions that a pool takes before it is live. */
struct canary {
    uint32_t shares[CANARY_SHARES_MAX]; /* ascending, above 0, below CANARY_WHOLE */
    size_t count;                       /* 0: none */
    size_t taken;                       /* how many of them it has had; the last of these is its share */
    uint64_t step_ms;                   /* how long each is watched */
};

struct deployment {
    struct pool *pool;
    enum deployment_state state;
    struct canary canary;
    char **pause_with; /* argv of what runs in a pause before the gate, and count; NULL: nothing */
    size_t pause_with_count;
    uint64_t pause_ms;  /* that the pause lasts at most */
    uint64_t shadow_ms; /* how long it is sent copies of live requests; 0: not at all */
    uint64_t watch_ms;  /* how long it is watched once it is live; 0: not at all */
    bool hold, allow_untested;
    bool untested; /* there was no suite when it was staged, and that is allowed; else its loss fails the gate
                    */
    bool gate_passed;
    char *reason;   /* why it ended badly, or is doubted; NULL: it did not, and is not */
    char *flaw;     /* what its watch, in this state and at this share, has failed for, which is to change
                       nothing; NULL: it has not */
    char *replaces; /* the pool that was live when it was staged, later the one it replaced; NULL: none */
    struct asker asker;
    uint64_t created_ns, ended_ns; /* wall; ended 0: not yet */
    uint64_t since_ns;             /* steady: when its state began, restarts of the daemon aside */
    struct moment *timeline;
    size_t timeline_count;
    TAILQ_ENTRY(deployment) of_finishing;
};

struct pool {
    char *name; /* "web-17" */
    struct service *service;
    uint64_t number; /* 17 */
    char *release;   /* or "" */
    enum pool_state state;
    uint32_t slot; /* of the counters */
    struct instance *instances;
    size_t instance_count;
    bool was_live; /* had clients: as the live pool, or a share of them */
    /* once it drains: */
    enum retire_reason reason;
    char *replaced_by;          /* NULL: by none */
    uint64_t going_since_ns;    /* steady */
    uint64_t going_since_world; /* the first world in which it gets no new request */
    struct drain_times drain;
    struct deployment *deployment; /* NULL: the first pool, from the config */
    TAILQ_ENTRY(pool) of_service;  /* oldest first */
    TAILQ_ENTRY(pool) of_going;
    UT_hash_handle hh; /* registry->pools by name */
};

struct service {
    char *name;
    uint64_t last_number; /* of its newest pool */
    struct pool *live;    /* NULL: none */
    struct pool *armed;   /* NULL: none; only while `running` is watched */
    struct mode mode;
    struct deployment *running;    /* till it is left alone with its traffic; NULL: none */
    TAILQ_HEAD(pools, pool) pools; /* oldest first */
    UT_hash_handle hh;             /* registry->services by name */
};

struct place;

struct registry {
    struct service *services;
    struct pool *pools;
    struct place *places;                        /* by address: see places.h */
    TAILQ_HEAD(going, pool) going;               /* those that drain */
    TAILQ_HEAD(finishing, deployment) finishing; /* those that wait for such a pool: DEPLOYMENT_DRAINING */
    uint64_t world;                              /* highest version that a record names */
    uint64_t last_instance;                      /* highest instance id given */
};

struct registry *registry_new(void);
void registry_free(struct registry *registry);

struct service *registry_service(const struct registry *registry, const char *name);
struct pool *registry_pool(const struct registry *registry, const char *name);
/* Has the service ever had a pool? One that has none may be known for its mode. */
bool registry_has_pools(const struct registry *registry, const char *service);

/* Would registry_apply take this record? False with a sentence that says why not. */
bool registry_allows(const struct registry *registry, const struct record *record,
                     struct err *err) MUST_CHECK;

/* Can there be such a pool, as the service is now (NULL: not known yet)? False with a sentence. */
bool pool_is_sound(const struct pool *pool, const struct service *service, struct err *err) MUST_CHECK;

/* The one door: carries a record out. A pool that comes with the record is the registry's afterwards. *row
 * (may be NULL) gets the row of the table where the record is an event of a deployment, else NULL. */
bool registry_apply(struct registry *registry, struct record *record, const struct transition **row,
                    struct err *err) MUST_CHECK;

/* Drops the oldest pool of the service that nothing refers to any more (retired, its deployment ended),
 * while more than `most` are kept. Returns its name, to be freed; NULL: nothing to drop. */
char *registry_forget(struct registry *registry, struct service *service, size_t most);

/* Is another instance at the same address (as written, or as resolved), and not torn down, whose pool counts?
 */
bool registry_shares_address(const struct registry *registry, const struct instance *instance,
                             bool (*counts)(void *arg, const struct pool *pool), void *arg);

/* Another instance at the same address whose teardown is to come or under way. NULL: none. */
const struct instance *registry_going(const struct registry *registry, const struct instance *instance,
                                      const struct pool **pool);

/* What tells the rows of the table apart now. */
/* Is its service paused for it, or about to be? */
bool deployment_pauses(const struct deployment *deployment);
/* Gives it a command to run in a pause. */
void deployment_pause_with(struct deployment *deployment, const char *const *argv, size_t count,
                           uint64_t pause_ms);
struct deployment_facts deployment_facts(const struct deployment *deployment);
/* Is a swap with the live pool next, when every instance has accepted once more? */
bool deployment_takes_over(const struct deployment *deployment);
/* The row that an event of this pool's deployment takes; NULL: it is not allowed. */
const struct transition *pool_transition(const struct pool *pool, enum deployment_event event);
/* Its share of the new sessions, in millionths; 0: none. */
uint32_t deployment_share(const struct deployment *deployment);

/* The pool's instance of that address, or NULL. */
struct instance *pool_instance(const struct pool *pool, const char *address);

extern const char *const mode_names[MODE_KINDS];
extern const char *const pool_state_names[POOL_STATES];
extern const char *const retire_reason_names[RETIRE_REASONS];
extern const char *const teardown_end_names[TEARDOWN_ENDS];
extern const char *const instance_state_names[INSTANCE_STATES]; /* in the journal */
const char *instance_state_shown(enum instance_state state);

/* For whoever makes a pool: zeroed, with so many instances, each of weight 1. Free with pool_free unless a
 * registry took it. */
struct pool *pool_new(const char *name, const char *release, size_t instance_count);
/* Gives it a deployment, in state staged. */
struct deployment *pool_deploy(struct pool *pool);
void pool_free(struct pool *pool);
/* Adds to the timeline; why and by may be NULL. */
void deployment_mark(struct deployment *deployment, uint64_t time_ns, const char *why, const char *by);
