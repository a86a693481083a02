/* One atomic number and one map under a lock. Invariant: an address is in the map exactly while clients of it
 * are admitted. */
#include "plane/crowd.h"

#include "base/mem.h"
#include "plane/peer.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define uthash_fatal(message) abort()
#include <uthash.h>

/* The pages that the kernel grants a user's pipes are used up by so many (see io/conduit.c). */
#define CONDUITS_MOST 60

/* What the proxy itself has open. A worker: its loop and its mailbox; and a client with its instance, that it
 * has let in while another worker took the last place. All together: channels, logs, what one sends another.
 */
#define OWN_OF_WORKER 4
#define OWN_OF_ALL 28

struct visitor {
    uint8_t address[16];
    uint32_t count;
    UT_hash_handle hh;
};

struct crowd {
    uint32_t size; /* atomic */
    struct {
        pthread_mutex_t lock;
        struct visitor *visitors;
    } shared; /* touched under its lock only */
};

struct crowd *crowd_new(void)
{
    struct crowd *crowd = mem_zero(1, sizeof *crowd);
    pthread_mutex_init(&crowd->shared.lock, NULL);
    return crowd;
}

void crowd_free(struct crowd *crowd)
{
    assert(crowd->shared.visitors == NULL);
    pthread_mutex_destroy(&crowd->shared.lock);
    free(crowd);
}

uint32_t crowd_enter(struct crowd *crowd)
{
    return __atomic_add_fetch(&crowd->size, 1, __ATOMIC_RELAXED);
}

uint32_t crowd_leave(struct crowd *crowd)
{
    return __atomic_sub_fetch(&crowd->size, 1, __ATOMIC_RELAXED);
}

uint32_t crowd_size(const struct crowd *crowd)
{
    return __atomic_load_n(&crowd->size, __ATOMIC_RELAXED);
}

static struct visitor *find_locked(struct crowd *crowd, const uint8_t address[16])
{
    struct visitor *visitor;
    HASH_FIND(hh, crowd->shared.visitors, address, sizeof visitor->address, visitor);
    return visitor;
}

static bool admit_locked(struct crowd *crowd, const uint8_t address[16], uint32_t most)
{
    struct visitor *visitor = find_locked(crowd, address);
    if (visitor == NULL) {
        visitor = mem_zero(1, sizeof *visitor);
        memcpy(visitor->address, address, sizeof visitor->address);
        HASH_ADD(hh, crowd->shared.visitors, address, sizeof visitor->address, visitor);
    }
    if (visitor->count >= most)
        return false;
    visitor->count++;
    return true;
}

bool crowd_admit(struct crowd *crowd, const uint8_t address[16], uint32_t most)
{
    assert(most > 0);
    uint8_t owner[16];
    peer_owner(address, owner);
    pthread_mutex_lock(&crowd->shared.lock);
    bool admitted = admit_locked(crowd, owner, most);
    pthread_mutex_unlock(&crowd->shared.lock);
    return admitted;
}

void crowd_dismiss(struct crowd *crowd, const uint8_t address[16])
{
    uint8_t owner[16];
    peer_owner(address, owner);
    pthread_mutex_lock(&crowd->shared.lock);
    struct visitor *visitor = find_locked(crowd, owner);
    assert(visitor != NULL);
    if (--visitor->count == 0) {
        HASH_DEL(crowd->shared.visitors, visitor);
        free(visitor);
    }
    pthread_mutex_unlock(&crowd->shared.lock);
}

/* So many tenths of all descriptors but our own. */
static uint32_t tenths(unsigned count, unsigned workers, size_t listeners)
{
    struct rlimit limit;
    uint64_t own = OWN_OF_ALL + (uint64_t)workers * (OWN_OF_WORKER + listeners);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > UINT32_MAX)
        return UINT32_MAX;
    return limit.rlim_cur <= own ? 0 : (uint32_t)((limit.rlim_cur - own) * count / 10);
}

static uint32_t at_least_one(uint32_t count)
{
    return count > 0 ? count : 1;
}

uint32_t crowd_derived_limit(unsigned workers, size_t listeners)
{
    return at_least_one(tenths(4, workers, listeners));
}

uint32_t crowd_idle_limit(unsigned workers)
{
    return at_least_one(tenths(1, workers, 0) / workers);
}

uint32_t crowd_conduit_limit(unsigned workers)
{
    uint32_t share = tenths(1, workers, 0) / 4 / workers;
    return share < CONDUITS_MOST / workers ? share : CONDUITS_MOST / workers;
}
