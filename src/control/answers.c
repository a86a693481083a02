/* Sums and differences of cells. Invariant: errors never exceed requests, whatever the counters say. */
#include "control/answers.h"

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t grown(uint64_t before, uint64_t after)
{
    return after > before ? after - before : 0;
}

/* A failed exchange with an instance ends in a 502 or a 504, unless another instance answers or a part of the
 * answer has gone out already: so these two statuses and the failures are mostly the same requests, and the
 * larger of the two numbers is counted. */
static uint64_t count_errors(const struct counters_pool *sum)
{
    uint64_t gateway = 0, others = 0, failures = 0;
    for (unsigned status = 500; status < COUNTERS_CODE_MIN + COUNTERS_CODES; status++) {
        uint64_t *kind = status == 502 || status == 504 ? &gateway : &others;
        *kind += sum->codes[status - COUNTERS_CODE_MIN];
    }
    for (unsigned i = 0; i < COUNTERS_ERRORS; i++)
        failures += sum->errors[i];
    return others + (gateway > failures ? gateway : failures);
}

void answers_read(struct answers *answers, const struct counters_pool *sum)
{
    answers->requests = sum->requests;
    answers->errors = at_most(count_errors(sum), sum->requests);
    for (unsigned i = 0; i < COUNTERS_BUCKETS; i++)
        answers->buckets[i] = sum->buckets[i];
}

void answers_between(struct answers *answers, const struct answers *before, const struct answers *after)
{
    answers->requests = grown(before->requests, after->requests);
    answers->errors = at_most(grown(before->errors, after->errors), answers->requests);
    for (unsigned i = 0; i < COUNTERS_BUCKETS; i++)
        answers->buckets[i] = grown(before->buckets[i], after->buckets[i]);
}

void answers_add(struct answers *sum, const struct answers *more)
{
    sum->requests += more->requests;
    sum->errors += more->errors;
    for (unsigned i = 0; i < COUNTERS_BUCKETS; i++)
        sum->buckets[i] += more->buckets[i];
}

uint64_t answers_from_bucket(const struct answers *answers, unsigned bucket)
{
    uint64_t count = 0;
    for (unsigned i = bucket; i < COUNTERS_BUCKETS; i++)
        count += answers->buckets[i];
    return at_most(count, answers->requests);
}

double answers_quantile_us(const struct answers *answers, double above)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < COUNTERS_BUCKETS; i++)
        total += answers->buckets[i];
    double left = (double)total * (1 - above);
    for (unsigned i = 0; i + 1 < COUNTERS_BUCKETS; i++) {
        double here = (double)answers->buckets[i], from = i == 0 ? 0 : (double)counters_bucket_us(i - 1);
        if (here > 0 && left <= here)
            return from + ((double)counters_bucket_us(i) - from) * left / here;
        left -= here;
    }
    return total == 0 ? 0 : (double)counters_bucket_us(COUNTERS_BUCKETS - 2);
}
