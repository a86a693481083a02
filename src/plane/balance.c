/* The ways to choose. Invariant: an instance that is drained or was tried is never chosen, every other one of
 * the pool can be, and in the long run each gets requests by its weight. */
#include "plane/balance.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

#define WARM_LEAST 10 /* percent of its share that one has which has just come back */
#define DRAWS 4       /* at random, before those that may serve are counted */

/* Indexed by slot; the kernel gives pages only for what is touched. */
void balance_init(struct balance *balance, unsigned worker, struct random *random)
{
    *balance = (struct balance){.worker = worker, .random = random};
    balance->cursors = mem_zero(COUNTERS_POOLS, sizeof *balance->cursors);
    balance->loads = mem_zero(COUNTERS_INSTANCES, sizeof *balance->loads);
    balance->turns = mem_zero(COUNTERS_INSTANCES, sizeof *balance->turns);
}

void balance_free(struct balance *balance)
{
    free(balance->cursors);
    free(balance->loads);
    free(balance->turns);
}

bool balance_exclude(struct balance_tried *tried, uint32_t slot)
{
    if (tried->count == BALANCE_TRIED_MAX)
        return false;
    tried->slots[tried->count++] = slot;
    return tried->count < BALANCE_TRIED_MAX;
}

/* One choice to be made. */
struct choice {
    struct balance *balance;
    const struct snapshot *snapshot;
    const struct snapshot_pool *pool;
    const struct balance_wish *wish;
    bool guarded;                 /* those that traffic has ejected are left alone */
    bool shuns;                   /* and those that could not be connected to just now */
    bool warms;                   /* one that came back has less than its share */
    size_t size;                  /* of the pool; as an index: none */
    size_t from;                  /* where to begin, so that equals take turns */
    size_t index;                 /* of: */
    struct snapshot_instance one; /* that was looked at last; see at */
};

static bool was_tried(const struct balance_tried *tried, uint32_t slot)
{
    for (uint32_t i = 0; i < tried->count; i++) {
        if (tried->slots[i] == slot)
            return true;
    }
    return false;
}

static bool is_shunned(const struct choice *choice, const struct snapshot_instance *instance)
{
    const struct balance_turn *turn = &choice->balance->turns[instance->slot];
    return turn->id == instance->id && choice->wish->now_ms < turn->shunned_until_ms;
}

/* Is it able to take this request now? Whatever keeps an instance from serving has its say here. */
static bool may_serve(const struct choice *choice, const struct snapshot_instance *instance)
{
    const struct balance_wish *wish = choice->wish;
    if (instance->drained || instance->down || was_tried(&wish->tried, instance->slot))
        return false;
    if (wish->most != 0 &&
        counters_instance_in_flight(choice->balance->counters, instance->slot) >= wish->most)
        return false;
    if (choice->shuns && is_shunned(choice, instance))
        return false;
    return !choice->guarded || vitals_may_serve(choice->balance->vitals, instance, wish->now_ms);
}

/* What an instance has of its share, in percent: from WARM_LEAST up to all of it. */
static uint32_t warmth(const struct choice *choice, const struct snapshot_instance *instance)
{
    const struct balance_wish *wish = choice->wish;
    uint64_t since_ms = vitals_since_ms(choice->balance->vitals, instance);
    if (instance->since_ms > since_ms)
        since_ms = instance->since_ms;
    if (since_ms == 0 || wish->now_ms >= since_ms + wish->slow_start_ms)
        return 100;
    uint64_t passed = wish->now_ms > since_ms ? wish->now_ms - since_ms : 0;
    return WARM_LEAST + (uint32_t)(passed * (100 - WARM_LEAST) / wish->slow_start_ms);
}

/* Good until the next look. Its weight is in hundredths, so that a part of it is a whole number too. */
static const struct snapshot_instance *at(struct choice *choice, size_t index)
{
    struct snapshot_instance *one = &choice->one;
    if (choice->index == index)
        return one;
    choice->index = index;
    *one = snapshot_pool_instance(choice->snapshot, choice->pool, index);
    one->weight *= choice->warms ? warmth(choice, one) : 100;
    return one;
}

/* Do all have the same share? */
static bool is_even(const struct choice *choice)
{
    return !choice->warms && snapshot_pool_is_even(choice->pool);
}

static bool is_warming(const struct balance *balance, const struct snapshot_pool *pool,
                       const struct balance_wish *wish)
{
    if (wish->slow_start_ms == 0)
        return false;
    uint64_t since_ms = snapshot_pool_since_ms(pool);
    if (balance->vitals->since_ms > since_ms)
        since_ms = balance->vitals->since_ms;
    return since_ms != 0 && wish->now_ms < since_ms + wish->slow_start_ms;
}

static bool may_serve_at(struct choice *choice, size_t index)
{
    return may_serve(choice, at(choice, index));
}

/* The index `steps` further on than `from`. */
static size_t round_to(const struct choice *choice, size_t steps)
{
    size_t index = choice->from + steps;
    return index < choice->size ? index : index - choice->size;
}

/* ---- in turn ---- */

static size_t next_in_turn(struct choice *choice)
{
    for (size_t i = 0; i < choice->size; i++) {
        size_t index = round_to(choice, i);
        if (may_serve_at(choice, index))
            return index;
    }
    return choice->size;
}

static struct balance_turn *turn_of(struct balance *balance, const struct snapshot_instance *instance)
{
    struct balance_turn *turn = &balance->turns[instance->slot];
    if (turn->id != instance->id)
        *turn = (struct balance_turn){.id = instance->id};
    return turn;
}

/* A load as a part of what the weight allows for. */
struct share {
    uint32_t load, weight;
};

static bool is_less(struct share a, struct share b)
{
    return (uint64_t)a.load * b.weight < (uint64_t)b.load * a.weight;
}

static struct share own_share(const struct balance *balance, const struct snapshot_instance *instance)
{
    return (struct share){balance->loads[instance->slot], instance->weight};
}

/* Each gains its weight in credit at every turn; the one with the most pays for all. So heavy ones are chosen
 * in between light ones and not in a burst. With `most`, only those take part whose share is not above it. */
static size_t smooth(struct choice *choice, const struct share *most)
{
    struct balance_turn *best = NULL;
    size_t found = choice->size;
    int64_t total = 0;
    for (size_t i = 0; i < choice->size; i++) {
        size_t index = round_to(choice, i);
        const struct snapshot_instance *one = at(choice, index);
        if (!may_serve(choice, one) || (most != NULL && is_less(*most, own_share(choice->balance, one))))
            continue;
        struct balance_turn *turn = turn_of(choice->balance, one);
        turn->credit += one->weight;
        total += one->weight;
        if (best == NULL || turn->credit > best->credit) {
            best = turn;
            found = index;
        }
    }
    if (best != NULL)
        best->credit -= total;
    return found;
}

static size_t in_turn(struct choice *choice)
{
    return is_even(choice) ? next_in_turn(choice) : smooth(choice, NULL);
}

/* ---- by load ---- */

/* Among those with the same share, in turn. */
static size_t least(struct choice *choice)
{
    struct share lowest = {UINT32_MAX, 1};
    size_t found = choice->size;
    for (size_t i = 0; i < choice->size && lowest.load > 0; i++) {
        size_t index = round_to(choice, i);
        const struct snapshot_instance *one = at(choice, index);
        struct share share = own_share(choice->balance, one);
        if (!may_serve(choice, one) || !is_less(share, lowest))
            continue;
        lowest = share;
        found = index;
    }
    return found == choice->size || is_even(choice) ? found : smooth(choice, &lowest);
}

/* ---- at random ---- */

/* Another one than `but`, by weight. */
static size_t draw_exactly(struct choice *choice, size_t but)
{
    uint32_t total = 0, ticket = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < choice->size; i++) {
            const struct snapshot_instance *one = at(choice, i);
            if (i == but || !may_serve(choice, one))
                continue;
            if (pass == 0)
                total += one->weight;
            else if (ticket < one->weight)
                return i;
            else
                ticket -= one->weight;
        }
        if (total == 0)
            break;
        ticket = random_below(choice->balance->random, total);
    }
    return choice->size;
}

/* Where all have one weight most draws hit one that may serve; to draw again is fair to all that may. */
static size_t draw(struct choice *choice, size_t but)
{
    unsigned draws = is_even(choice) ? DRAWS : 0;
    while (draws-- > 0) {
        size_t index = random_below(choice->balance->random, (uint32_t)choice->size);
        if (index != but && may_serve_at(choice, index))
            return index;
    }
    return draw_exactly(choice, but);
}

/* What all workers have there: for two instances that is cheap enough to read. */
static struct share whole_share(struct choice *choice, size_t index)
{
    const struct balance *balance = choice->balance;
    const struct snapshot_instance *one = at(choice, index);
    if (balance->counters == NULL)
        return own_share(balance, one);
    return (struct share){(uint32_t)counters_instance_in_flight(balance->counters, one->slot), one->weight};
}

static size_t better_of_two(struct choice *choice)
{
    size_t first = draw(choice, choice->size);
    if (first == choice->size)
        return first;
    size_t second = draw(choice, first);
    if (second == choice->size)
        return first;
    return is_less(whole_share(choice, second), whole_share(choice, first)) ? second : first;
}

/* ---- by a key ---- */

/* What an instance draws for a key. The last steps of MurmurHash3. */
static uint64_t blend(uint64_t key, uint64_t seed)
{
    uint64_t x = key ^ seed;
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdULL;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ULL;
    return x ^ x >> 33;
}

/* Rendezvous hashing: the highest draw wins. Draws do not depend on who else takes part, so an instance that
 * goes leaves its own keys only, spread over all others, and one that comes takes only what it wins. */
static size_t highest(struct choice *choice)
{
    const struct snapshot_seat *seats = snapshot_pool_seats(choice->snapshot, choice->pool);
    size_t found = choice->size;
    uint64_t best = 0;
    for (size_t i = 0; i < choice->size; i++) {
        uint64_t drawn = blend(choice->wish->key, seats[i].seed);
        if ((found != choice->size && drawn <= best) || !may_serve_at(choice, i))
            continue;
        best = drawn;
        found = i;
    }
    return found;
}

/* The same with weights: draws as times of exponential clocks that run at the rate of the weight; the first
 * one wins. -log(u) is never below 1 - u, which tells of most at once that they are too late. */
static size_t earliest(struct choice *choice)
{
    const struct snapshot_seat *seats = snapshot_pool_seats(choice->snapshot, choice->pool);
    size_t found = choice->size;
    double best = INFINITY;
    for (size_t i = 0; i < choice->size; i++) {
        double u = ((double)(blend(choice->wish->key, seats[i].seed) >> 11) + 0.5) * 0x1p-53;
        if (1 - u >= best * seats[i].weight)
            continue;
        double time = -log(u) / seats[i].weight;
        if (time >= best || !may_serve_at(choice, i))
            continue;
        best = time;
        found = i;
    }
    return found;
}

static size_t by_key(struct choice *choice)
{
    return snapshot_pool_is_even(choice->pool) ? highest(choice) : earliest(choice);
}

/* ---- the door ---- */

static size_t choose(struct choice *choice, enum snapshot_balance how)
{
    switch (how) {
    case SNAPSHOT_LEAST_REQUESTS:
        return least(choice);
    case SNAPSHOT_TWO_CHOICES:
        return better_of_two(choice);
    case SNAPSHOT_RANDOM:
        return draw(choice, choice->size);
    case SNAPSHOT_HASH_CLIENT:
    case SNAPSHOT_HASH_HEADER:
    case SNAPSHOT_HASH_COOKIE:
        return by_key(choice);
    case SNAPSHOT_ROUND_ROBIN:
        break;
    }
    return in_turn(choice);
}

static size_t wanted(struct choice *choice, uint64_t id)
{
    for (size_t i = 0; i < choice->size; i++) {
        const struct snapshot_instance *one = at(choice, i);
        if (one->id == id)
            return may_serve(choice, one) ? i : choice->size;
    }
    return choice->size;
}

/* The one that the client is bound to, if it may serve; else any. */
static size_t pick(struct choice *choice, bool shuns)
{
    const struct balance_wish *wish = choice->wish;
    choice->shuns = false; /* a session is worth one more attempt */
    size_t index = wish->instance == 0 ? choice->size : wanted(choice, wish->instance);
    choice->shuns = shuns;
    return index != choice->size ? index : choose(choice, wish->how);
}

/* Does one have no room that could serve but for that? Then that is waited for. */
static bool is_only_full(struct choice *choice)
{
    struct balance_wish unlimited = *choice->wish;
    if (unlimited.most == 0)
        return false;
    const struct balance_wish *wish = choice->wish;
    unlimited.most = 0;
    choice->wish = &unlimited;
    size_t index = pick(choice, true);
    choice->wish = wish;
    return index != choice->size;
}

static bool shuns_any(struct balance *balance, const struct balance_wish *wish)
{
    if (balance->shuns_until_ms == 0 || wish->now_ms == 0)
        return false;
    if (wish->now_ms >= balance->shuns_until_ms)
        balance->shuns_until_ms = 0;
    return balance->shuns_until_ms != 0;
}

void balance_shun(struct balance *balance, const struct snapshot_instance *instance, uint64_t now_ms)
{
    balance->shuns_until_ms = now_ms + BALANCE_SHUN_MS;
    turn_of(balance, instance)->shunned_until_ms = balance->shuns_until_ms;
}

/* An instance that is alone in its pool: there is nothing to choose, and whatever traffic says of it, no pool
 * is emptied by that. */
static bool pick_only(struct choice *choice, struct snapshot_instance *instance)
{
    struct snapshot_instance only = snapshot_pool_instance(choice->snapshot, choice->pool, 0);
    choice->guarded = choice->shuns = false;
    if (!may_serve(choice, &only))
        return false;
    *instance = only;
    return true;
}

bool balance_pick(struct balance *balance, const struct snapshot *snapshot, const struct snapshot_pool *pool,
                  const struct balance_wish *wish, struct snapshot_instance *instance)
{
    struct choice choice;
    choice.balance = balance;
    choice.snapshot = snapshot;
    choice.pool = pool;
    choice.wish = wish;
    choice.size = choice.index = snapshot_pool_size(pool);
    if (choice.size <= 1)
        return choice.size == 1 && pick_only(&choice, instance);
    choice.guarded = wish->guarded;
    choice.warms = is_warming(balance, pool, wish);
    uint32_t *cursor = &balance->cursors[snapshot_pool_slot(pool)];
    choice.from = (*cursor == 0 ? balance->worker : *cursor - 1) % (uint32_t)choice.size;
    bool shuns = shuns_any(balance, wish);
    size_t index = pick(&choice, shuns);
    if (index == choice.size && shuns && is_only_full(&choice))
        return false;
    if (index == choice.size && (choice.guarded || shuns)) {
        choice.guarded = false; /* no pool is ever emptied by what its traffic says */
        index = pick(&choice, false);
    }
    if (index == choice.size)
        return false;
    *instance = *at(&choice, index);
    *cursor = (uint32_t)index + 2;
    return true;
}
