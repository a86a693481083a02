/* Counts are drawn, not requests, so that a day of traffic takes a moment. */
#include "traffic.h"

#include <math.h>
#include <string.h>

#define TICK 0.1 /* seconds */

/* splitmix64 */
static double uniform(struct source *source)
{
    uint64_t z = source->random += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return ((double)((z ^ z >> 31) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(struct source *source)
{
    return sqrt(-2 * log(uniform(source))) * cos(2 * M_PI * uniform(source));
}

static uint64_t rounded(double x, uint64_t most)
{
    return x < 0.5 ? 0 : x > (double)most ? most : (uint64_t)(x + 0.5);
}

/* By inversion where few are expected, else by the normal distribution. */
static uint64_t poisson(struct source *source, double mean, uint64_t most)
{
    double p = exp(-mean), u = uniform(source);
    uint64_t n = 0;
    if (mean > 30)
        return rounded(mean + sqrt(mean) * normal(source), most);
    for (; u > p && n < most; u -= p, p *= mean / (double)++n) {
    }
    return n;
}

static uint64_t binomial(struct source *source, uint64_t n, double p)
{
    uint64_t k = 0;
    if (n == 0 || p < 1e-9)
        return 0;
    if (p >= 1)
        return n;
    if (p > 0.5)
        return n - binomial(source, n, 1 - p);
    double mean = (double)n * p, q = exp((double)n * log1p(-p)), u = uniform(source);
    if (mean > 30)
        return rounded(mean + sqrt(mean * (1 - p)) * normal(source), n);
    for (; u > q && k < n; k++) {
        u -= q;
        q *= (double)(n - k) / (double)(k + 1) * p / (1 - p);
    }
    return k;
}

void source_begin(struct source *source, const struct traffic *traffic, uint64_t seed)
{
    *source = (struct source){.traffic = *traffic, .random = seed * 0x2545f4914f6cdd1d};
}

/* The share of durations below so many us. */
static double below(const struct traffic *traffic, double times, double us)
{
    double spread = traffic->spread > 0 ? traffic->spread : 0.1;
    return 0.5 * erfc(-log(us / (traffic->median_ms * 1000 * times)) / spread / M_SQRT2);
}

/* The share of requests in each bucket among those that are in it or a later one; kept, since it is asked for
 * again and again. */
static const double *shares(struct source *source, double times)
{
    struct source_shares *kept = &source->kept[times != source->kept[0].times];
    if (kept->times == times)
        return kept->shares;
    kept->times = times;
    double above = 1;
    for (unsigned i = 0; i + 1 < COUNTERS_BUCKETS; i++) {
        double beyond = 1 - below(&source->traffic, times, (double)counters_bucket_us(i));
        kept->shares[i] = above > 0 ? 1 - beyond / above : 1;
        above = beyond;
    }
    return kept->shares;
}

static void draw_durations(struct source *source, double times, uint64_t requests, struct answers *answers)
{
    const double *share = shares(source, times);
    for (unsigned i = 0; requests > 0 && i + 1 < COUNTERS_BUCKETS; i++) {
        uint64_t count = binomial(source, requests, share[i]);
        answers->buckets[i] += count;
        requests -= count;
    }
    answers->buckets[COUNTERS_BUCKETS - 1] += requests;
}

static double times_now(const struct source *source, bool bursts)
{
    const struct traffic *traffic = &source->traffic;
    double times = traffic->drift > 0 ? pow(traffic->drift, fmin(source->seconds, 300) / 300) : 1;
    if (bursts && traffic->burst_slows > 0)
        times *= traffic->burst_slows;
    return source->seconds < traffic->warms_up ? times * 10 : times;
}

/* Requests in a tick, in quiet times and in bursts. */
static void tick(struct source *source, struct answers *answers, uint64_t requests[2])
{
    const struct traffic *traffic = &source->traffic;
    double rate = traffic->rate * (1 + traffic->swing * sin(source->seconds / 5));
    double turns = source->bursts ? traffic->burst_seconds : traffic->burst_every;
    if (turns > 0 && uniform(source) < TICK / turns)
        source->bursts = !source->bursts;
    uint64_t count = poisson(source, rate * TICK, 1000000);
    answers->errors += binomial(source, count, source->bursts ? traffic->burst_errors : traffic->errors);
    answers->requests += count;
    requests[source->bursts] += count;
    if (traffic->surge_every > 0 && uniform(source) < TICK / traffic->surge_every) {
        count = poisson(source, traffic->surge, 1000000);
        answers->errors += binomial(source, count, traffic->surge_errors);
        answers->requests += count;
        requests[false] += count;
    }
    source->seconds += TICK;
}

void source_next(struct source *source, unsigned ticks, struct answers *answers)
{
    uint64_t requests[2] = {0};
    memset(answers, 0, sizeof *answers);
    while (ticks-- > 0)
        tick(source, answers, requests);
    draw_durations(source, times_now(source, false), requests[false], answers);
    draw_durations(source, times_now(source, true), requests[true], answers);
}
