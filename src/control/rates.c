/* rates.c keeps a ring of sums a service. Invariant: the sums in a ring only grow; when a pool that has gone
 * takes its part away, the ring begins anew. */
#include "control/rates.h"

#include "base/clock.h"
#include "base/mem.h"

#define FIRST_LOOK_MS 200 /* not while a start goes on: it takes memory for each pool */
#define LOOK_MS 2000
#define AT_ONCE 500  /* services; more are looked at in parts, over the same time */
#define LEAST_MS 400 /* what is shorter tells too little */
#define MS_PER_S 1000
#define KEPT (RATES_SECONDS * MS_PER_S / LOOK_MS) /* the oldest is as much older at the next look */

struct sum {
    uint64_t at_ms, begun;
};

struct rate {
    const struct service *service;
    struct sum sums[KEPT];
    unsigned next, count;
    UT_hash_handle hh;
};

struct rates {
    const struct registry *registry;
    struct counters *counters;
    struct rate *rates;
    struct deadline look;
    struct rate *at; /* the next one of the round that goes on; NULL: one begins */
};

static uint64_t begun(const struct rates *rates, const struct service *service)
{
    const struct pool *pool;
    uint64_t sum = 0;
    TAILQ_FOREACH (pool, &service->pools, of_service) {
        if (pool->state != POOL_RETIRED)
            sum += counters_pool_begun(rates->counters, pool->slot);
    }
    return sum;
}

static struct rate *rate_of(struct rates *rates, const struct service *service)
{
    struct rate *rate;
    HASH_FIND_PTR(rates->rates, &service, rate);
    if (rate != NULL)
        return rate;
    rate = mem_zero(1, sizeof *rate);
    rate->service = service;
    HASH_ADD_PTR(rates->rates, service, rate);
    return rate;
}

/* A service is never forgotten, so as many rates as services are those of all. */
static void find_new(struct rates *rates)
{
    const struct service *service = rates->registry->services;
    if (HASH_COUNT(rates->rates) == HASH_COUNT(service))
        return;
    for (; service != NULL; service = service->hh.next)
        rate_of(rates, service);
}

static void add(struct rate *rate, struct sum sum)
{
    const struct sum *last = &rate->sums[(rate->next + KEPT - 1) % KEPT];
    if (rate->count > 0 && sum.begun < last->begun)
        rate->count = 0;
    rate->sums[rate->next] = sum;
    rate->next = (rate->next + 1) % KEPT;
    if (rate->count < KEPT)
        rate->count++;
}

static void look(struct deadline *deadline)
{
    struct rates *rates = mem_container(deadline, struct rates, look);
    struct rate *rate = rates->at;
    if (rate == NULL) {
        find_new(rates);
        rate = rates->rates;
    }
    for (unsigned i = 0; i < AT_ONCE && rate != NULL; i++, rate = rate->hh.next)
        add(rate, (struct sum){clock_mono_ms(), begun(rates, rate->service)});
    rates->at = rate;
    size_t parts = HASH_COUNT(rates->rates) / AT_ONCE + (HASH_COUNT(rates->rates) % AT_ONCE > 0);
    deadline_set(&rates->look, LOOK_MS / (parts == 0 ? 1 : parts));
}

uint32_t rates_of(struct rates *rates, const struct service *service)
{
    const struct rate *rate = rate_of(rates, service);
    struct sum now = {clock_mono_ms(), begun(rates, service)};
    if (rate->count == 0)
        return 0;
    const struct sum *first = &rate->sums[(rate->next + KEPT - rate->count) % KEPT];
    uint64_t passed_ms = now.at_ms - first->at_ms;
    if (passed_ms < LEAST_MS || now.begun < first->begun)
        return 0;
    uint64_t thousandths = (now.begun - first->begun) * MS_PER_S * MS_PER_S / passed_ms;
    return thousandths > UINT32_MAX ? UINT32_MAX : (uint32_t)thousandths;
}

struct rates *rates_new(struct loop *loop, const struct registry *registry, struct counters *counters)
{
    struct rates *rates = mem_zero(1, sizeof *rates);
    rates->registry = registry;
    rates->counters = counters;
    deadline_init(&rates->look, loop, look);
    deadline_set(&rates->look, FIRST_LOOK_MS);
    return rates;
}
