/* Invariant: too few comparisons never fail a release by accident, and never hide one that has failed
 * already. */
#include "control/shadow_verdict.h"

#include "base/buf.h"
#include "control/answers.h"

#include <inttypes.h>
#include <math.h>

#define NOTHING_US 10000 /* that much slower is nothing, whatever the factor is */
#define NAMED 3          /* of the worst paths, in a sentence */
#define LISTED 20        /* in the report */

static const double aboves[] = {0.5, 0.05};
static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
static const char *const shares[] = {"half", "1 of 20"};

static double quantile_us(const uint64_t buckets[COUNTERS_BUCKETS], double above)
{
    struct answers answers = {0};
    for (unsigned i = 0; i < COUNTERS_BUCKETS; i++)
        answers.buckets[i] = buckets[i];
    return answers_quantile_us(&answers, above);
}

static double share_of(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part / (double)whole;
}

static bool differs(const struct shadow_sum *sum, const struct shadow_limits *limits)
{
    uint64_t of = sum->compared > limits->minimum ? sum->compared : limits->minimum;
    return (double)sum->differing > limits->differ * (double)of;
}

/* Which of the quantiles is too slow; -1: none is. */
static int slow_quantile(const struct shadow_sum *sum, const struct shadow_limits *limits)
{
    if (limits->latency <= 0 || sum->compared - sum->differing < limits->minimum)
        return -1;
    for (int i = 0; i < (int)(sizeof aboves / sizeof aboves[0]); i++) {
        double live_us = quantile_us(sum->live, aboves[i]);
        if (quantile_us(sum->staged, aboves[i]) > fmax(live_us * limits->latency, live_us + NOTHING_US))
            return i;
    }
    return -1;
}

static void add_worst(struct buf *text, const struct shadow_sum *sum, enum shadow_kind kind)
{
    for (size_t i = 0; i < sum->finding_count[kind] && i < NAMED; i++) {
        const struct shadow_finding *finding = &sum->findings[kind][i];
        buf_printf(text, "%s %s %" PRIu64 " time%s", i == 0 ? ":" : ",", finding->path, finding->count,
                   finding->count == 1 ? "" : "s");
        if (kind == SHADOW_DIFFERS)
            buf_printf(text, " (%s live, %s staged)", classes[finding->live], classes[finding->staged]);
    }
}

static void add_differing(struct buf *text, const struct shadow_sum *sum, const struct shadow_limits *limits)
{
    buf_printf(text, "%" PRIu64 " of %" PRIu64 " requests were answered differently (%.1f%%; limit %.1f%%",
               sum->differing, sum->compared, 100 * share_of(sum->differing, sum->compared),
               100 * limits->differ);
    if (sum->compared < limits->minimum)
        buf_printf(text, " of %" PRIu64, limits->minimum);
    buf_printf(text, ")");
}

static void add_slow(struct buf *text, const struct shadow_sum *sum, const struct shadow_limits *limits,
                     int which)
{
    buf_printf(text,
               "%s of %" PRIu64
               " requests took more than %.3g ms, against %.3g ms of the live pool (limit %.3g times)",
               shares[which], sum->compared - sum->differing, quantile_us(sum->staged, aboves[which]) / 1000,
               quantile_us(sum->live, aboves[which]) / 1000, limits->latency);
}

bool shadow_judge(const struct shadow_sum *sum, const struct shadow_limits *limits, char **why)
{
    struct buf text = BUF_EMPTY;
    int slow = slow_quantile(sum, limits);
    bool bad = differs(sum, limits);
    bool judged = bad || sum->compared >= limits->minimum;
    buf_printf(&text, "shadow: ");
    if (!judged)
        buf_printf(&text, "%" PRIu64 " of %" PRIu64 " requests were compared: not judged", sum->compared,
                   limits->minimum);
    else if (bad || slow < 0)
        add_differing(&text, sum, limits);
    if (bad)
        add_worst(&text, sum, SHADOW_DIFFERS);
    if (slow >= 0) {
        buf_printf(&text, "%s", bad ? "; " : "");
        add_slow(&text, sum, limits, slow);
        add_worst(&text, sum, SHADOW_SLOWER);
    }
    *why = text.p;
    return !bad && slow < 0;
}

/* ---- the report ---- */

static void list_worst(json_t *worst, const struct shadow_sum *sum, enum shadow_kind kind)
{
    for (size_t i = 0; i < sum->finding_count[kind] && i < LISTED; i++) {
        const struct shadow_finding *finding = &sum->findings[kind][i];
        json_array_append_new(worst,
                              json_pack("{s:s, s:s, s:s, s:b, s:I}", "path", finding->path, "live",
                                        classes[finding->live], "staged", classes[finding->staged], "slower",
                                        kind == SHADOW_SLOWER, "count", (json_int_t)finding->count));
    }
}

static json_t *times_json(const uint64_t buckets[COUNTERS_BUCKETS])
{
    return json_pack("{s:f, s:f}", "p50", quantile_us(buckets, aboves[0]) / 1e6, "p95",
                     quantile_us(buckets, aboves[1]) / 1e6);
}

json_t *shadow_json(const struct shadow_sum *sum, const struct shadow_limits *limits)
{
    json_t *worst = json_array();
    list_worst(worst, sum, SHADOW_DIFFERS);
    list_worst(worst, sum, SHADOW_SLOWER);
    json_t *latency =
        json_pack("{s:o, s:o}", "live", times_json(sum->live), "staged", times_json(sum->staged));
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:o, s:o}", "compared", (json_int_t)sum->compared,
                     "differing", (json_int_t)sum->differing, "slower", (json_int_t)sum->slower, "dropped",
                     (json_int_t)sum->dropped, "share", limits->share, "latency", latency, "worst", worst);
}
