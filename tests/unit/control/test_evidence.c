/* Simulated watches, always the same ones. `test_evidence 100000` watches so many of each kind and prints the
 * tables of doc/internals/watch.md. */
#include "control/evidence.h"

#include "traffic.h"
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SLICES 256
#define SLICE_SECONDS 1
#define TICK 0.1

static const struct yardstick_limits ordinary = {.errors = 0.02, .latency = 3};

static unsigned watches = 20; /* of each kind */

/* The record that a pool of this kind leaves in so many seconds. */
static size_t record(struct source *source, double seconds, struct yardstick_slice *slices)
{
    size_t count = 0;
    for (double t = 0; t < seconds && count < SLICES; t += SLICE_SECONDS) {
        struct yardstick_slice *slice = &slices[count++];
        *slice = (struct yardstick_slice){.seconds = SLICE_SECONDS};
        source_next(source, SLICE_SECONDS * 10, &slice->answers);
    }
    return count;
}

/* One watch: seconds until the verdict that it is worse; INFINITY: never. */
static double watch(const struct traffic *old, double old_seconds, const struct traffic *new, double length,
                    uint64_t seed, struct evidence *evidence)
{
    static struct yardstick_slice slices[SLICES];
    struct source source;
    struct yardstick yardstick;
    struct answers answers;
    source_begin(&source, old, 2 * seed + 1);
    yardstick_make(&yardstick, &ordinary, slices, record(&source, old_seconds, slices));
    evidence_begin(evidence, &yardstick, 50, length);
    double seconds = source.seconds;
    source_begin(&source, new, 2 * seed + 2);
    source.seconds = new->drift > 0 ? seconds : 0;
    for (double t = TICK; t < length; t += TICK) {
        source_next(&source, 1, &answers);
        if (evidence_take(evidence, &answers, TICK, NULL) == EVIDENCE_WORSE)
            return t;
    }
    return INFINITY;
}

/* ---- the same release again ---- */

struct same {
    const char *name;
    struct traffic traffic;
    double old_seconds, length;
};

static const struct same same[] = {
    {"no errors, 500/s", {.rate = 500, .median_ms = 20, .spread = 0.5}, 256, 60},
    {"1% errors, 500/s", {.rate = 500, .errors = 0.01, .median_ms = 20, .spread = 0.5}, 256, 60},
    {"20% errors, 500/s", {.rate = 500, .errors = 0.2, .median_ms = 20, .spread = 0.5}, 256, 60},
    {"1% errors, 1/s", {.rate = 1, .errors = 0.01, .median_ms = 20, .spread = 1}, 256, 600},
    {"1% errors, 5/s, old for 12 s", {.rate = 5, .errors = 0.01, .median_ms = 20, .spread = 1}, 12, 600},
    {"5% errors, 5000/s", {.rate = 5000, .errors = 0.05, .median_ms = 5, .spread = 0.5}, 256, 60},
    {"heavy tail", {.rate = 500, .errors = 0.001, .median_ms = 20, .spread = 2}, 256, 60},
    {"heavy tail, old for 4 s", {.rate = 50, .median_ms = 20, .spread = 2}, 4, 300},
    {"latency 3 times in 5 min", {.rate = 500, .median_ms = 20, .spread = 0.7, .drift = 3}, 256, 60},
    {"rate between 50 and 950/s",
     {.rate = 500, .errors = 0.01, .median_ms = 20, .spread = 1, .swing = 0.9},
     256,
     60},
    {"warms up for 2 s, then well", {.rate = 500, .median_ms = 20, .spread = 0.5, .warms_up = 2}, 256, 60},
    {"bursts: 30% for 0.5 s in 30 s",
     {.rate = 500,
      .burst_every = 30,
      .burst_seconds = 0.5,
      .burst_errors = 0.3,
      .median_ms = 20,
      .spread = 0.5},
     256,
     60},
    {"bursts: 100% for 1 s in 30 s",
     {.rate = 500, .burst_every = 30, .burst_seconds = 1, .burst_errors = 1, .median_ms = 20, .spread = 0.5},
     256,
     60},
    {"bursts: 20% for 5 s in 30 s",
     {.rate = 500,
      .burst_every = 30,
      .burst_seconds = 5,
      .burst_errors = 0.2,
      .median_ms = 20,
      .spread = 0.5},
     256,
     60},
    {"pauses: 10 times slower, 0.5 s in 20 s",
     {.rate = 500,
      .burst_every = 20,
      .burst_seconds = 0.5,
      .burst_slows = 10,
      .median_ms = 20,
      .spread = 0.5},
     256,
     60},
    {"1/s that fails, and surges of 500 each s",
     {.rate = 1, .errors = 1, .surge_every = 1, .surge = 500, .median_ms = 20, .spread = 0.5},
     256,
     60},
    {"1/s that fails, and surges each 20 s",
     {.rate = 1, .errors = 1, .surge_every = 20, .surge = 500, .median_ms = 20, .spread = 0.5},
     256,
     60},
    {"bursts unknown to the old record",
     {.rate = 500,
      .burst_every = 60,
      .burst_seconds = 0.3,
      .burst_errors = 1,
      .median_ms = 20,
      .spread = 0.5},
     8,
     60},
};

static void the_same_release_again_is_not_called_worse(void **state)
{
    (void)state;
    struct evidence evidence;
    printf("%-42s %9s %9s %9s\n", "the same release again", "watches", "requests", "alarms");
    unsigned all = 0;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        unsigned alarms = 0;
        uint64_t requests = 0;
        for (unsigned seed = 0; seed < watches; seed++) {
            alarms += isfinite(watch(&same[i].traffic, same[i].old_seconds, &same[i].traffic, same[i].length,
                                     seed, &evidence));
            requests += evidence.requests;
        }
        printf("%-42s %9u %9.0f %9u\n", same[i].name, watches, (double)requests / watches, alarms);
        fflush(stdout);
        all += alarms;
    }
    assert_int_equal(all, 0);
}

/* ---- a worse one ---- */

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

struct worse {
    const char *name;
    struct traffic old, new;
    double old_seconds;
    double within; /* seconds, for 19 of 20 */
};

static const struct worse worse[] = {
    {"5% errors, was 0%, 500/s",
     {.rate = 500, .median_ms = 20, .spread = 0.5},
     {.rate = 500, .errors = 0.05, .median_ms = 20, .spread = 0.5},
     256,
     10},
    {"3% errors, was 0%, 500/s",
     {.rate = 500, .median_ms = 20, .spread = 0.5},
     {.rate = 500, .errors = 0.03, .median_ms = 20, .spread = 0.5},
     256,
     60},
    {"5% errors, was 1%, 500/s",
     {.rate = 500, .errors = 0.01, .median_ms = 20, .spread = 0.5},
     {.rate = 500, .errors = 0.05, .median_ms = 20, .spread = 0.5},
     256,
     20},
    {"5% errors, was 0% for 4 s, 500/s",
     {.rate = 500, .median_ms = 20, .spread = 0.5},
     {.rate = 500, .errors = 0.05, .median_ms = 20, .spread = 0.5},
     4,
     10},
    {"20% errors, was 0%, 500/s",
     {.rate = 500, .median_ms = 20, .spread = 0.5},
     {.rate = 500, .errors = 0.2, .median_ms = 20, .spread = 0.5},
     256,
     5},
    {"100% errors, was 0%, 500/s",
     {.rate = 500, .median_ms = 20, .spread = 0.5},
     {.rate = 500, .errors = 1, .median_ms = 20, .spread = 0.5},
     256,
     5},
    {"5% errors, was 0%, 5000/s",
     {.rate = 5000, .median_ms = 20, .spread = 0.5},
     {.rate = 5000, .errors = 0.05, .median_ms = 20, .spread = 0.5},
     256,
     10},
    {"5% errors, was 0%, 50/s",
     {.rate = 50, .median_ms = 20, .spread = 0.5},
     {.rate = 50, .errors = 0.05, .median_ms = 20, .spread = 0.5},
     256,
     60},
    {"100% errors, was 0%, 5/s",
     {.rate = 5, .median_ms = 20, .spread = 0.5},
     {.rate = 5, .errors = 1, .median_ms = 20, .spread = 0.5},
     256,
     15},
    {"50% errors, was bursts of 30%, 500/s",
     {.rate = 500,
      .burst_every = 30,
      .burst_seconds = 0.5,
      .burst_errors = 0.3,
      .median_ms = 20,
      .spread = 0.5},
     {.rate = 500, .errors = 0.5, .median_ms = 20, .spread = 0.5},
     256,
     60},
    {"surges of 15 in 75/s fail, was 0%",
     {.rate = 60, .surge_every = 1, .surge = 15, .median_ms = 20, .spread = 0.5},
     {.rate = 60, .surge_every = 1, .surge = 15, .surge_errors = 1, .median_ms = 20, .spread = 0.5},
     256,
     30},
    {"surges of 500 in 5 s of 100/s fail",
     {.rate = 100, .surge_every = 5, .surge = 500, .median_ms = 20, .spread = 0.5},
     {.rate = 100, .surge_every = 5, .surge = 500, .surge_errors = 1, .median_ms = 20, .spread = 0.5},
     256,
     150},
    {"all fails, was surges each 20 s of 10/s",
     {.rate = 10, .surge_every = 20, .surge = 500, .median_ms = 20, .spread = 0.5},
     {.rate = 10,
      .errors = 1,
      .surge_every = 20,
      .surge = 500,
      .surge_errors = 1,
      .median_ms = 20,
      .spread = 0.5},
     256,
     15},
    {"5 times slower, p99 3 times p50, 500/s",
     {.rate = 500, .median_ms = 20, .spread = 0.5},
     {.rate = 500, .median_ms = 100, .spread = 0.5},
     256,
     10},
    {"5 times slower, p99 10 times p50, 500/s",
     {.rate = 500, .median_ms = 20, .spread = 1},
     {.rate = 500, .median_ms = 100, .spread = 1},
     256,
     20},
    {"5 times slower, was seen for 4 s, 500/s",
     {.rate = 500, .median_ms = 20, .spread = 0.5},
     {.rate = 500, .median_ms = 100, .spread = 0.5},
     4,
     10},
    {"4 times slower, p99 3 times p50, 500/s",
     {.rate = 500, .median_ms = 20, .spread = 0.5},
     {.rate = 500, .median_ms = 80, .spread = 0.5},
     256,
     20},
    {"5 times slower, 5/s",
     {.rate = 5, .median_ms = 20, .spread = 0.5},
     {.rate = 5, .median_ms = 100, .spread = 0.5},
     256,
     300},
    {"10 times slower, was with pauses, 500/s",
     {.rate = 500,
      .burst_every = 100,
      .burst_seconds = 0.5,
      .burst_slows = 10,
      .median_ms = 20,
      .spread = 0.5},
     {.rate = 500, .median_ms = 200, .spread = 0.5},
     256,
     120},
};

static void a_worse_release_is_found_in_time(void **state)
{
    (void)state;
    struct evidence evidence;
    double *found = calloc(watches, sizeof *found);
    printf("%-42s %9s %9s %9s\n", "a worse release", "first s", "median s", "19 of 20");
    for (size_t i = 0; i < sizeof worse / sizeof *worse; i++) {
        for (unsigned seed = 0; seed < watches; seed++)
            found[seed] = watch(&worse[i].old, worse[i].old_seconds, &worse[i].new, 300, seed, &evidence);
        qsort(found, watches, sizeof *found, by_size);
        printf("%-42s %9.1f %9.1f %9.1f\n", worse[i].name, found[0], found[watches / 2],
               found[(watches - 1) * 19 / 20]);
        fflush(stdout);
        assert_true(found[(watches - 1) * 19 / 20] <= worse[i].within);
    }
    free(found);
}

/* ---- single watches ---- */

static const struct traffic good = {.rate = 500, .median_ms = 20, .spread = 0.5};

/* One that has just begun, by the record of a good pool of so many seconds. */
static void begin(struct evidence *evidence, double old_seconds, double length)
{
    static struct yardstick_slice slices[SLICES];
    struct source source;
    struct yardstick yardstick;
    source_begin(&source, &good, 1);
    yardstick_make(&yardstick, &ordinary, slices, record(&source, old_seconds, slices));
    evidence_begin(evidence, &yardstick, 50, length);
}

/* Seconds of such traffic until it is called worse; INFINITY: it is not. */
static double go_on(struct evidence *evidence, struct traffic traffic, double seconds)
{
    struct source source;
    struct answers answers;
    source_begin(&source, &traffic, 2);
    while (source.seconds < seconds) {
        source_next(&source, 1, &answers);
        if (evidence_take(evidence, &answers, TICK, NULL) == EVIDENCE_WORSE)
            return source.seconds;
    }
    return INFINITY;
}

static void no_traffic_says_nothing(void **state)
{
    (void)state;
    struct evidence evidence;
    begin(&evidence, 256, 60);
    assert_true(isinf(go_on(&evidence, (struct traffic){0}, 60)));
    assert_int_equal(evidence.verdict, EVIDENCE_MISSING);
    char *text = evidence_tell(&evidence, "before the swap");
    assert_string_equal(text, "0 requests, which are too few to judge by: 50 are wanted");
    free(text);
}

static void nothing_is_judged_by_a_pool_that_had_no_requests(void **state)
{
    (void)state;
    struct evidence evidence;
    begin(&evidence, 0, 60);
    struct traffic bad = good;
    bad.errors = 1;
    assert_true(isinf(go_on(&evidence, bad, 60)));
    assert_int_equal(evidence.verdict, EVIDENCE_MISSING);
    char *text = evidence_tell(&evidence, "before the swap");
    assert_non_null(strstr(text, " requests, and none before the swap to compare them with"));
    free(text);
}

static void nothing_is_judged_before_there_are_enough_requests(void **state)
{
    (void)state;
    struct evidence evidence;
    const struct answers bad = {.requests = 1, .errors = 1};
    begin(&evidence, 256, 60);
    for (unsigned i = 0; i < 49; i++)
        assert_int_equal(evidence_take(&evidence, &bad, 1, NULL), EVIDENCE_MISSING);
    assert_int_equal(evidence_take(&evidence, &bad, 1, NULL), EVIDENCE_WORSE);
}

static void an_accident_of_two_seconds_is_forgiven(void **state)
{
    (void)state;
    struct evidence evidence;
    struct traffic down = good, slow = good;
    down.errors = 1;
    slow.median_ms = 2000;
    begin(&evidence, 256, 60);
    assert_true(isinf(go_on(&evidence, good, 10)));
    assert_true(isinf(go_on(&evidence, down, 2)));
    assert_true(isinf(go_on(&evidence, good, 20)));
    assert_true(isinf(go_on(&evidence, slow, 2)));
    assert_true(isinf(go_on(&evidence, good, 20)));
    assert_int_equal(evidence.verdict, EVIDENCE_FINE);
}

static void one_that_fails_late_is_found_as_well(void **state)
{
    (void)state;
    struct evidence evidence;
    struct traffic bad = good;
    bad.errors = 0.05;
    begin(&evidence, 256, 3600);
    assert_true(isinf(go_on(&evidence, good, 3000)));
    double found = go_on(&evidence, bad, 60);
    assert_true(found < 15);
    char *text = evidence_tell(&evidence, "before the swap");
    printf("after 50 minutes, in %.1f s: %s\n", found, text);
    free(text);
}

static void requests_count_not_slices(void **state)
{
    (void)state;
    const struct yardstick_slice old = {.answers = {.requests = 150000, .errors = 4500}, .seconds = 250};
    const struct answers many = {.requests = 97}, one_that_fails = {.requests = 1, .errors = 1};
    struct yardstick yardstick;
    struct evidence evidence;
    yardstick_make(&yardstick, &ordinary, &old, 1);
    evidence_begin(&evidence, &yardstick, 50, 60);
    for (unsigned i = 0; i < 600; i++)
        evidence_take(&evidence, i % 4 == 0 ? &many : &one_that_fails, TICK, NULL);
    assert_int_equal(evidence.verdict, EVIDENCE_FINE);
}

static void one_surge_is_forgotten_in_time(void **state)
{
    (void)state;
    const struct answers surge = {.requests = 50000};
    struct evidence evidence;
    struct traffic down = good;
    down.errors = 1;
    begin(&evidence, 256, 120);
    evidence_take(&evidence, &surge, TICK, NULL);
    assert_true(isinf(go_on(&evidence, good, 60)));
    assert_true(go_on(&evidence, down, 60) < 5);
}

static void what_both_suffer_is_no_fault_of_the_new_one(void **state)
{
    (void)state;
    struct evidence evidence;
    struct traffic bad = good;
    struct source source, live;
    struct answers answers, beside;
    bad.errors = 0.3;
    begin(&evidence, 256, 60);
    source_begin(&source, &bad, 1);
    source_begin(&live, &bad, 2);
    while (source.seconds < 60) {
        source_next(&source, 1, &answers);
        source_next(&live, 10, &beside);
        assert_int_not_equal(evidence_take(&evidence, &answers, TICK, &beside), EVIDENCE_WORSE);
    }
}

static void the_sentence_says_what_was_seen_and_what_it_was_measured_by(void **state)
{
    (void)state;
    const struct yardstick_slice old = {.answers = {.requests = 150000, .buckets = {[24] = 150000}},
                                        .seconds = 250};
    const struct answers errors = {.requests = 40, .errors = 10, .buckets = {[24] = 40}};
    const struct answers slow = {.requests = 40, .buckets = {[50] = 40}};
    struct yardstick yardstick;
    struct evidence evidence;
    yardstick_make(&yardstick, &ordinary, &old, 1);
    evidence_begin(&evidence, &yardstick, 50, 60);
    while (evidence_take(&evidence, &errors, TICK, NULL) != EVIDENCE_WORSE) {
    }
    char *text = evidence_tell(&evidence, "before the swap");
    assert_string_equal(text,
                        "5xx: 25.0% of 1,200 requests, against 0.0% of 150,000 before the swap; limit 2.0%");
    free(text);
    evidence_begin(&evidence, &yardstick, 50, 60);
    while (evidence_take(&evidence, &slow, TICK, NULL) != EVIDENCE_WORSE) {
    }
    text = evidence_tell(&evidence, "before the swap");
    assert_string_equal(text, "latency: 100.0% of 1,200 requests took 24.58 ms or longer; the p99 of 150,000 "
                              "before the swap was 8.18 ms; limit 1.0%");
    free(text);
}

static void failures_that_a_retry_hid_are_errors_too(void **state)
{
    (void)state;
    struct answers answers;
    struct counters_pool pool = {.requests = 100};
    pool.codes[200 - COUNTERS_CODE_MIN] = 90;
    pool.codes[500 - COUNTERS_CODE_MIN] = 2;
    pool.codes[502 - COUNTERS_CODE_MIN] = 3;
    pool.codes[404 - COUNTERS_CODE_MIN] = 5;
    pool.errors[COUNTERS_CONNECT_REFUSED] = 3;
    answers_read(&answers, &pool);
    assert_int_equal(answers.errors, 5);
    pool.errors[COUNTERS_CLOSED_EARLY] = 4;
    answers_read(&answers, &pool);
    assert_int_equal(answers.errors, 9);
    pool.errors[COUNTERS_CLOSED_EARLY] = 4000;
    answers_read(&answers, &pool);
    assert_int_equal(answers.errors, 100);
}

static void the_less_is_known_of_the_old_pool_the_more_is_allowed(void **state)
{
    (void)state;
    struct yardstick yardstick;
    struct yardstick_slice old = {.answers = {.requests = 1000000, .errors = 10000}, .seconds = 60};
    double before = 0.01 + 0.02;
    for (; old.answers.requests >= 100; old.answers.requests /= 10, old.answers.errors /= 10) {
        yardstick_make(&yardstick, &ordinary, &old, 1);
        assert_true(yardstick.errors.limit > before);
        before = yardstick.errors.limit;
    }
    assert_true(before > 0.15);
}

static void a_yardstick_is_kept_and_read_back(void **state)
{
    (void)state;
    const struct yardstick_slice old = {
        .answers = {.requests = 1000, .errors = 7, .buckets = {[0] = 1, [24] = 999}}, .seconds = 60};
    struct yardstick yardstick, read = {.slow_bucket = 1};
    yardstick_make(&yardstick, &ordinary, &old, 1);
    json_t *packed = yardstick_pack(&yardstick);
    assert_true(yardstick_unpack(packed, &read));
    assert_memory_equal(&read.old, &yardstick.old, sizeof read.old);
    assert_true(read.errors.limit == yardstick.errors.limit && read.slow.limit == yardstick.slow.limit);
    assert_true(read.slow_us == yardstick.slow_us && read.slow_bucket == yardstick.slow_bucket);
    json_array_append_new(json_object_get(packed, "buckets"), json_integer(0));
    assert_false(yardstick_unpack(packed, &read));
    json_decref(packed);
}

static void a_few_milliseconds_are_nothing(void **state)
{
    (void)state;
    struct evidence evidence;
    struct yardstick yardstick;
    const struct yardstick_slice old = {.answers = {.requests = 150000, .buckets = {[2] = 150000}},
                                        .seconds = 250};
    const struct answers slower = {.requests = 40, .buckets = {[20] = 40}};
    yardstick_make(&yardstick, &ordinary, &old, 1);
    evidence_begin(&evidence, &yardstick, 50, 60);
    for (unsigned i = 0; i < 600; i++)
        assert_int_not_equal(evidence_take(&evidence, &slower, TICK, NULL), EVIDENCE_WORSE);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        watches = (unsigned)atoi(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_release_again_is_not_called_worse),
        cmocka_unit_test(a_worse_release_is_found_in_time),
        cmocka_unit_test(no_traffic_says_nothing),
        cmocka_unit_test(nothing_is_judged_by_a_pool_that_had_no_requests),
        cmocka_unit_test(nothing_is_judged_before_there_are_enough_requests),
        cmocka_unit_test(an_accident_of_two_seconds_is_forgiven),
        cmocka_unit_test(one_that_fails_late_is_found_as_well),
        cmocka_unit_test(requests_count_not_slices),
        cmocka_unit_test(one_surge_is_forgotten_in_time),
        cmocka_unit_test(what_both_suffer_is_no_fault_of_the_new_one),
        cmocka_unit_test(the_sentence_says_what_was_seen_and_what_it_was_measured_by),
        cmocka_unit_test(failures_that_a_retry_hid_are_errors_too),
        cmocka_unit_test(the_less_is_known_of_the_old_pool_the_more_is_allowed),
        cmocka_unit_test(a_yardstick_is_kept_and_read_back),
        cmocka_unit_test(a_few_milliseconds_are_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
