/* Invariant: a verdict is only ever spoken on evidence of bets that were made before the requests were seen,
 * so it may be asked for at any time. */
#include "control/evidence.h"

#include "base/buf.h"
#include "base/mem.h"

#include <inttypes.h>
#include <math.h>

/* ln(100000), for each of the two claims. */
#define ENOUGH_NATS 11.5

/* The old pool's requests of the last second that tell whether it suffers, too. */
#define BESIDE_LEAST 20

/* Half of the capital is there at the start, where releases fail. The rest comes bit by bit, so that one that
 * fails late need not win back first what was lost while all was well. */
#define FIRST_STAKE 0.5

/* The most requests of a slice are believed to be half as many each time that so many seconds have passed. */
#define HALVED_SECONDS 10

void evidence_begin(struct evidence *evidence, const struct yardstick *yardstick, uint64_t minimum,
                    double length)
{
    *evidence = (struct evidence){.yardstick = *yardstick, .minimum = minimum, .length = length};
    bet_begin(&evidence->errors.bet, FIRST_STAKE);
    bet_begin(&evidence->slow.bet, FIRST_STAKE);
}

void evidence_measure(struct evidence *evidence, const struct yardstick *yardstick)
{
    evidence->yardstick = *yardstick;
}

static double share(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part / (double)whole;
}

/* One that is watched for longer than was said puts in nothing more. */
static double stake(const struct evidence *evidence, double seconds)
{
    return evidence->seconds <= evidence->length ? (1 - FIRST_STAKE) * seconds / evidence->length : 0;
}

static void take(struct evidence *evidence, struct evidence_share *of, const struct yardstick_claim *claim,
                 uint64_t bad, uint64_t requests, double excused)
{
    const struct bet_slice slice = {.share = share(bad, requests),
                                    .weight = (double)requests / evidence->most,
                                    .limit = excused > claim->limit ? excused : claim->limit,
                                    .clump = claim->clump,
                                    .seconds = evidence->unasked};
    bet_take(&of->bet, &slice, stake(evidence, evidence->unasked));
    bool looks_bad = bet_evidence(&of->bet) > 0;
    of->bad += bad;
    of->recent_requests = looks_bad ? of->recent_requests + requests : 0;
    of->recent_bad = looks_bad ? of->recent_bad + bad : 0;
}

static bool is_worse(const struct evidence_share *of)
{
    return bet_evidence(&of->bet) >= ENOUGH_NATS;
}

static enum evidence_verdict judge(const struct evidence *evidence)
{
    const struct yardstick *yardstick = &evidence->yardstick;
    if (evidence->verdict == EVIDENCE_WORSE)
        return EVIDENCE_WORSE;
    if (evidence->requests == 0 || evidence->requests < evidence->minimum || yardstick->old.requests == 0)
        return EVIDENCE_MISSING;
    return is_worse(&evidence->errors) || is_worse(&evidence->slow) ? EVIDENCE_WORSE : EVIDENCE_FINE;
}

/* Both claims, on a slice that has requests. */
static void take_both(struct evidence *evidence, const struct answers *answers, const struct answers *beside)
{
    const struct yardstick *yardstick = &evidence->yardstick;
    uint64_t slow = yardstick_slow(yardstick, answers);
    bool excuses = beside != NULL && beside->requests >= BESIDE_LEAST;
    double errors_beside = excuses ? share(beside->errors, beside->requests) : 0;
    double slow_beside = excuses ? share(yardstick_slow(yardstick, beside), beside->requests) : 0;
    take(evidence, &evidence->errors, &yardstick->errors, answers->errors, answers->requests,
         errors_beside + yardstick->limits.errors);
    if (evidence->seconds > EVIDENCE_SETTLES_SECONDS)
        take(evidence, &evidence->slow, &yardstick->slow, slow, answers->requests, slow_beside);
    else
        evidence->slow.bad += slow;
}

enum evidence_verdict evidence_take(struct evidence *evidence, const struct answers *answers, double seconds,
                                    const struct answers *beside)
{
    evidence->seconds += seconds;
    evidence->unasked += seconds;
    if (answers->requests == 0)
        return evidence->verdict;
    evidence->requests += answers->requests;
    evidence->most =
        fmax((double)answers->requests, evidence->most * exp2(-evidence->unasked / HALVED_SECONDS));
    if (evidence->yardstick.old.requests > 0)
        take_both(evidence, answers, beside);
    evidence->unasked = 0;
    return evidence->verdict = judge(evidence);
}

/* ---- in words ---- */

/* "150,000" */
static void add_count(struct buf *text, uint64_t count)
{
    if (count >= 1000) {
        add_count(text, count / 1000);
        buf_printf(text, ",%03" PRIu64, count % 1000);
    } else {
        buf_printf(text, "%" PRIu64, count);
    }
}

static void add_percent(struct buf *text, const char *before, double share_of, const char *behind)
{
    buf_printf(text, "%s%.1f%%%s", before, share_of * 100, behind);
}

static void add_errors(const struct evidence *evidence, struct buf *text, uint64_t bad, uint64_t requests,
                       const char *before)
{
    const struct answers *old = &evidence->yardstick.old;
    add_percent(text, "5xx: ", share(bad, requests), " of ");
    add_count(text, requests);
    add_percent(text, " requests, against ", share(old->errors, old->requests), " of ");
    add_count(text, old->requests);
    buf_printf(text, " %s", before);
    add_percent(text, "; limit ", evidence->yardstick.errors.limit, "");
}

static void add_slow(const struct evidence *evidence, struct buf *text, uint64_t bad, uint64_t requests,
                     const char *before)
{
    const struct yardstick *yardstick = &evidence->yardstick;
    add_percent(text, "latency: ", share(bad, requests), " of ");
    add_count(text, requests);
    buf_printf(text, " requests took %.4g ms or longer; the p99 of ", yardstick->slow_us / 1000);
    add_count(text, yardstick->old.requests);
    buf_printf(text, " %s was %.3g ms", before, yardstick->p99_us / 1000);
    add_percent(text, "; limit ", yardstick->slow.limit, "");
}

static void add_missing(const struct evidence *evidence, struct buf *text, const char *before)
{
    add_count(text, evidence->requests);
    if (evidence->yardstick.old.requests == 0)
        buf_printf(text, " requests, and none %s to compare them with", before);
    else
        buf_printf(text, " requests, which are too few to judge by: %" PRIu64 " are wanted",
                   evidence->minimum);
}

static void add_worse(const struct evidence *evidence, struct buf *text, const char *before)
{
    const struct evidence_share *errors = &evidence->errors, *slow = &evidence->slow;
    bool both = is_worse(errors) && is_worse(slow);
    if (is_worse(errors))
        add_errors(evidence, text, errors->recent_bad, errors->recent_requests, before);
    if (both)
        buf_printf(text, ". ");
    if (is_worse(slow))
        add_slow(evidence, text, slow->recent_bad, slow->recent_requests, before);
}

char *evidence_tell(const struct evidence *evidence, const char *before)
{
    struct buf text = BUF_EMPTY;
    if (evidence->verdict == EVIDENCE_WORSE) {
        add_worse(evidence, &text, before);
    } else if (evidence->verdict == EVIDENCE_MISSING) {
        add_missing(evidence, &text, before);
    } else {
        add_errors(evidence, &text, evidence->errors.bad, evidence->requests, before);
        buf_printf(&text, ". ");
        add_slow(evidence, &text, evidence->slow.bad, evidence->requests, before);
    }
    return text.p;
}
