/* Each claim is made in two steps: how far the bad requests of the old record hang together, and how many of
 * them there can have been at most. Invariant: the less is known of the old pool, the more is allowed to the
 * new one. */
#include "control/yardstick.h"

#include <math.h>

/* ln(100000): how sure the upper bounds are. The bucket above which a request is slow is chosen by the same
 * record as the share above it: then all buckets count. */
#define SURE_NATS 11.5
#define SURE_OF_ALL_NATS (SURE_NATS + 4.4) /* + ln(COUNTERS_BUCKETS) */

/* The share of requests that may be slower than the p99, by its definition. */
#define ABOVE_P99 0.01

/* Nobody rolls a release back for this: a request may take as much longer in any case. */
#define NOTHING_US 10000.0

/* One bet a slice of so many seconds is what evidence.h is given. */
#define BET_SECONDS 0.1

/* Standard deviations of the index of dispersion that are taken for chance, and the least number of blocks
 * that it is told from. */
#define CHANCE 3.5
#define BLOCKS_LEAST 8

/* A few bursts tell badly how long they are: so many times what was seen is believed. */
#define CAUTION 2

/* The old record, and what counts as bad in it. */
struct record {
    const struct yardstick *yardstick;
    uint64_t (*bad)(const struct yardstick *yardstick, const struct answers *answers);
    const struct yardstick_slice *slices;
    size_t count;
};

static uint64_t with_error(const struct yardstick *yardstick, const struct answers *answers)
{
    (void)yardstick;
    return answers->errors;
}

uint64_t yardstick_slow(const struct yardstick *yardstick, const struct answers *answers)
{
    return answers_from_bucket(answers, yardstick->slow_bucket);
}

static double bad_in(const struct record *record, const struct answers *answers)
{
    return (double)record->bad(record->yardstick, answers);
}

static double bad_share(const struct record *record, const struct answers *answers)
{
    return answers->requests == 0 ? 0 : bad_in(record, answers) / (double)answers->requests;
}

/* What the bursts of a record come to. */
struct bursts {
    double dispersion; /* so many requests tell as much as one that is independent */
    double excess;     /* what of it, above 1, is not chance */
};

/* Pearson's index of dispersion of the counts in blocks of so many slices. */
static void see_blocks(const struct record *record, size_t width, struct bursts *bursts)
{
    double share = bad_share(record, &record->yardstick->old), sum = 0, used = 0;
    for (size_t i = 0; i + width <= record->count; i += width) {
        struct answers block = {0};
        for (size_t k = i; k < i + width; k++)
            answers_add(&block, &record->slices[k].answers);
        if (block.requests == 0)
            continue;
        double expected = (double)block.requests * share, off = bad_in(record, &block) - expected;
        sum += off * off / (expected * (1 - share));
        used++;
    }
    if (used < 2)
        return;
    bursts->dispersion = fmax(bursts->dispersion, sum / (used - 1));
    bursts->excess = fmax(bursts->excess, sum / (used - 1) - 1 - CHANCE * sqrt(2 / (used - 1)));
}

static struct bursts see_bursts(const struct record *record)
{
    struct bursts bursts = {.dispersion = 1};
    double share = bad_share(record, &record->yardstick->old);
    for (size_t width = 1; share > 0 && share < 1 && width <= record->count / BLOCKS_LEAST; width *= 2)
        see_blocks(record, width, &bursts);
    return bursts;
}

/* In bursts where the share b is bad, excess = b * (requests that hang together). */
static double clump(const struct record *record, const struct bursts *bursts)
{
    double worst = 0, seconds = 0;
    for (size_t i = 0; i < record->count; i++) {
        worst = fmax(worst, bad_share(record, &record->slices[i].answers));
        seconds += record->slices[i].seconds;
    }
    double a_bet = (double)record->yardstick->old.requests * BET_SECONDS / fmax(seconds, BET_SECONDS);
    return bursts->excess > 0 ? 1 + CAUTION * bursts->excess / worst / fmax(1, a_bet) : 1;
}

static double term(double a, double b)
{
    return a == 0 ? 0 : a * log(a / b);
}

/* The largest share of which `share` was seen in so many requests with a probability of exp(-nats) or more
 * (Chernoff's bound in terms of the relative entropy). */
static double highest_share(double share, double requests, double nats)
{
    double low = share, high = 1;
    for (unsigned i = 0; i < 40; i++) {
        double middle = (low + high) / 2;
        bool possible = requests * (term(share, middle) + term(1 - share, 1 - middle)) <= nats;
        *(possible ? &low : &high) = middle;
    }
    return high;
}

/* The share that was bad, if the record tells too little by so many nats. */
static double share_at_most(const struct record *record, const struct bursts *bursts, double nats)
{
    const struct answers *old = &record->yardstick->old;
    return highest_share(bad_share(record, old), (double)old->requests / bursts->dispersion, nats);
}

static void claim_errors(struct yardstick *yardstick, const struct yardstick_slice *slices, size_t count)
{
    const struct record record = {yardstick, with_error, slices, count};
    struct bursts bursts = see_bursts(&record);
    yardstick->errors.limit = share_at_most(&record, &bursts, SURE_NATS) + yardstick->limits.errors;
    yardstick->errors.clump = clump(&record, &bursts);
}

static void claim_slow(struct yardstick *yardstick, const struct yardstick_slice *slices, size_t count)
{
    const struct record record = {yardstick, yardstick_slow, slices, count};
    struct bursts bursts = see_bursts(&record);
    yardstick->slow.limit = fmax(ABOVE_P99, share_at_most(&record, &bursts, SURE_OF_ALL_NATS));
    yardstick->slow.clump = clump(&record, &bursts);
}

/* From the first bucket on that holds only what is slower than that. */
static void set_slow(struct yardstick *yardstick, double us)
{
    unsigned bucket = 1;
    while (bucket < COUNTERS_BUCKETS - 1 && (double)counters_bucket_us(bucket - 1) < us)
        bucket++;
    yardstick->slow_bucket = bucket;
    yardstick->slow_us = (double)counters_bucket_us(bucket - 1);
}

void yardstick_make(struct yardstick *yardstick, const struct yardstick_limits *limits,
                    const struct yardstick_slice *slices, size_t count)
{
    *yardstick = (struct yardstick){.limits = *limits};
    for (size_t i = 0; i < count; i++)
        answers_add(&yardstick->old, &slices[i].answers);
    if (yardstick->old.requests == 0)
        return;
    double p99_us = yardstick->p99_us = answers_quantile_us(&yardstick->old, ABOVE_P99);
    set_slow(yardstick, fmax(p99_us * limits->latency, p99_us + NOTHING_US));
    claim_errors(yardstick, slices, count);
    claim_slow(yardstick, slices, count);
}

/* ---- for a process to come ---- */

static json_t *pack_claim(const struct yardstick_claim *claim)
{
    return json_pack("{s:f, s:f}", "limit", claim->limit, "clump", claim->clump);
}

json_t *yardstick_pack(const struct yardstick *yardstick)
{
    json_t *buckets = json_array();
    for (unsigned i = 0; i < COUNTERS_BUCKETS; i++)
        json_array_append_new(buckets, json_integer((json_int_t)yardstick->old.buckets[i]));
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:i, s:f, s:f, s:f, s:f}", "requests",
                     (json_int_t)yardstick->old.requests, "errors", (json_int_t)yardstick->old.errors,
                     "buckets", buckets, "errors_claim", pack_claim(&yardstick->errors), "slow_claim",
                     pack_claim(&yardstick->slow), "slow_bucket", (int)yardstick->slow_bucket, "p99_us",
                     yardstick->p99_us, "slow_us", yardstick->slow_us, "errors_allowed",
                     yardstick->limits.errors, "latency_allowed", yardstick->limits.latency);
}

/* Limits are divided by. */
static bool is_sound(const struct yardstick *yardstick)
{
    return yardstick->errors.limit > 0 && yardstick->slow.limit > 0 && yardstick->errors.clump >= 1 &&
           yardstick->slow.clump >= 1 && yardstick->slow_bucket < COUNTERS_BUCKETS;
}

bool yardstick_unpack(const json_t *packed, struct yardstick *yardstick)
{
    struct yardstick found = {.slow_bucket = 0};
    json_int_t requests, errors;
    json_t *buckets;
    int slow_bucket;
    if (json_unpack((json_t *)packed, "{s:I, s:I, s:o, s:{s:F, s:F}, s:{s:F, s:F}, s:i, s:F, s:F, s:F, s:F}",
                    "requests", &requests, "errors", &errors, "buckets", &buckets, "errors_claim", "limit",
                    &found.errors.limit, "clump", &found.errors.clump, "slow_claim", "limit",
                    &found.slow.limit, "clump", &found.slow.clump, "slow_bucket", &slow_bucket, "p99_us",
                    &found.p99_us, "slow_us", &found.slow_us, "errors_allowed", &found.limits.errors,
                    "latency_allowed", &found.limits.latency) != 0 ||
        json_array_size(buckets) != COUNTERS_BUCKETS)
        return false;
    found.old.requests = (uint64_t)requests;
    found.old.errors = (uint64_t)errors;
    found.slow_bucket = (unsigned)slow_bucket;
    for (unsigned i = 0; i < COUNTERS_BUCKETS; i++)
        found.old.buckets[i] = (uint64_t)json_integer_value(json_array_get(buckets, i));
    if (!is_sound(&found))
        return false;
    *yardstick = found;
    return true;
}
