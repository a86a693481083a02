/* balance: names the instance of a pool that a request goes to.
 *
 * All state is one worker's own and keyed by counters slots, which outlive snapshots; so a new snapshot
 * neither resets a rotation nor forgets a load. */
#pragma once

#include "link/counters.h"
#include "plane/random.h"
#include "plane/vitals.h"
#include "route/snapshot.h"

/* What is known of an instance. Slots are used again, so it says whose it is. */
struct balance_turn {
    uint64_t id;               /* of the instance */
    int64_t credit;            /* in the weighted rotation */
    uint64_t shunned_until_ms; /* 0: it never was */
};

/* How long an instance is left alone that could not be connected to. */
#define BALANCE_SHUN_MS 1000

struct balance {
    unsigned worker; /* where a rotation begins, so that workers do not march in step */
    struct random *random;
    struct counters *counters;  /* for the loads of all workers; NULL: this worker's are all there are */
    struct vitals *vitals;      /* for guarded wishes */
    uint32_t *cursors;          /* by pool slot: the next index, plus 1; 0: none yet */
    uint32_t *loads;            /* by instance slot: connections lent */
    struct balance_turn *turns; /* by instance slot */
    uint64_t shuns_until_ms;    /* nobody is shunned for longer; 0: nobody is */
};

void balance_init(struct balance *balance, unsigned worker, struct random *random);
void balance_free(struct balance *balance);

/* Instances that a request has been to. */
#define BALANCE_TRIED_MAX 16

struct balance_tried {
    uint32_t count;
    uint32_t slots[BALANCE_TRIED_MAX];
};

/* Remembers an instance. False: a request has been to enough of them. */
bool balance_exclude(struct balance_tried *tried, uint32_t slot);

/* Leaves the instance alone for BALANCE_SHUN_MS, as long as others can serve, and but for those who are bound
 * to it: it could not be connected to. */
void balance_shun(struct balance *balance, const struct snapshot_instance *instance, uint64_t now_ms);

/* What a request asks of the choice. */
struct balance_wish {
    enum snapshot_balance how;
    uint64_t instance; /* the id of the one that it would have, if that may serve; 0: any */
    uint64_t key;      /* where `how` is to hash: what is hashed */
    struct balance_tried tried;
    bool guarded;           /* leave those alone that traffic has ejected, as long as others can serve */
    uint32_t slow_start_ms; /* how long one that comes back has less than its share; 0: not at all */
    uint32_t most;   /* requests that an instance may have in flight, over all workers; 0: any number */
    uint64_t now_ms; /* with guarded, slow_start_ms, or where shuns_until_ms is not 0; 0: nobody is shunned */
};

/* Picks one that is neither drained, down nor tried into *instance. False: there is none. */
bool balance_pick(struct balance *balance, const struct snapshot *snapshot, const struct snapshot_pool *pool,
                  const struct balance_wish *wish, struct snapshot_instance *instance);
