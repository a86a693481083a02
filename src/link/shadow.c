/* The places are kept as the "space saving" summary of Metwally, Agrawal and El Abbadi (2005): a path that is
 * new takes the place with the least weight, and inherits it. So whatever is more than a sixteenth of all is
 * there, however many paths there are. Invariant: each cell is written as a whole word, and a place that
 * changes hands says meanwhile that it is nobody's. */
#include "link/shadow.h"

#include <stdlib.h>
#include <string.h>

/* Twice 1 ms is slower, but nothing that anybody rejects a release for. */
#define NOTHING_US 10000

static void set(uint64_t *cell, uint64_t value)
{
    __atomic_store_n(cell, value, __ATOMIC_RELEASE);
}

unsigned shadow_class(unsigned status)
{
    return status == 304 ? 2 : status / 100;
}

/* ---- the worker ---- */

void shadow_begin(struct shadow_cells *cells, uint64_t run)
{
    if (cells->run == run)
        return;
    uint64_t *cell = (uint64_t *)cells;
    for (size_t i = 0; i < sizeof *cells / sizeof *cell; i++)
        set(cell + i, 0);
    set(&cells->run, run);
}

static void to_words(struct str path, uint64_t words[SHADOW_PATH_WORDS])
{
    memset(words, 0, SHADOW_PATH_MAX);
    if (path.n > 0)
        memcpy(words, path.p, path.n < SHADOW_PATH_MAX ? path.n : SHADOW_PATH_MAX);
}

static bool is_of(const struct shadow_place *place, uint64_t answers, size_t length,
                  const uint64_t words[SHADOW_PATH_WORDS])
{
    return place->seen > 0 && place->answers == answers && place->length == length &&
           memcmp(place->path, words, SHADOW_PATH_MAX) == 0;
}

static void note_path(struct shadow_place places[SHADOW_PLACES], const struct shadow_pair *pair)
{
    uint64_t words[SHADOW_PATH_WORDS], answers = pair->live * 8 + pair->staged;
    struct shadow_place *least = places;
    to_words(pair->path, words);
    for (size_t i = 0; i < SHADOW_PLACES; i++) {
        if (is_of(places + i, answers, pair->path.n, words)) {
            counters_add(&places[i].weight, 1);
            counters_add(&places[i].seen, 1);
            return;
        }
        if (places[i].weight < least->weight)
            least = places + i;
    }
    set(&least->seen, 0);
    set(&least->answers, answers);
    set(&least->length, pair->path.n);
    for (size_t i = 0; i < SHADOW_PATH_WORDS; i++)
        set(&least->path[i], words[i]);
    counters_add(&least->weight, 1);
    set(&least->seen, 1);
}

static bool is_slower(const struct shadow_pair *pair, uint32_t latency)
{
    return latency > 0 && pair->staged_us > pair->live_us + NOTHING_US &&
           (double)pair->staged_us > (double)pair->live_us * latency / 1e6;
}

void shadow_note(struct shadow_cells *cells, const struct shadow_pair *pair, uint32_t latency)
{
    counters_add(&cells->compared, 1);
    if (pair->live != pair->staged) {
        counters_add(&cells->differing, 1);
        note_path(cells->places[SHADOW_DIFFERS], pair);
        return;
    }
    counters_add(&cells->live[counters_bucket(pair->live_us)], 1);
    counters_add(&cells->staged[counters_bucket(pair->staged_us)], 1);
    if (is_slower(pair, latency)) {
        counters_add(&cells->slower, 1);
        note_path(cells->places[SHADOW_SLOWER], pair);
    }
}

/* ---- control ---- */

static void take_path(const struct shadow_place *place, char path[SHADOW_PATH_MAX + 4])
{
    uint64_t words[SHADOW_PATH_WORDS], length = counters_read(&place->length);
    size_t n = length < SHADOW_PATH_MAX ? (size_t)length : SHADOW_PATH_MAX;
    for (size_t i = 0; i < SHADOW_PATH_WORDS; i++)
        words[i] = counters_read(&place->path[i]);
    memcpy(path, words, n);
    for (size_t i = 0; i < n; i++) {
        if (path[i] <= ' ' || path[i] >= 0x7f)
            path[i] = '?';
    }
    memcpy(path + n, length > SHADOW_PATH_MAX ? "..." : "", length > SHADOW_PATH_MAX ? 4 : 1);
}

static bool take_place(const struct shadow_place *place, struct shadow_finding *finding)
{
    uint64_t seen = counters_read(&place->seen), answers = counters_read(&place->answers);
    if (seen == 0)
        return false;
    finding->live = answers / 8 <= 5 ? (unsigned)(answers / 8) : SHADOW_NO_ANSWER;
    finding->staged = answers % 8 <= 5 ? (unsigned)(answers % 8) : SHADOW_NO_ANSWER;
    finding->count = seen;
    take_path(place, finding->path);
    return counters_read(&place->seen) >= seen;
}

static struct shadow_finding *find(struct shadow_finding *findings, size_t count,
                                   const struct shadow_finding *like)
{
    for (size_t i = 0; i < count; i++) {
        if (findings[i].live == like->live && findings[i].staged == like->staged &&
            strcmp(findings[i].path, like->path) == 0)
            return findings + i;
    }
    return NULL;
}

static struct shadow_finding *least_of(struct shadow_finding *findings, size_t count)
{
    struct shadow_finding *least = findings;
    for (size_t i = 1; i < count; i++) {
        if (findings[i].count < least->count)
            least = findings + i;
    }
    return least;
}

static void add_finding(struct shadow_sum *sum, enum shadow_kind kind, const struct shadow_finding *more)
{
    struct shadow_finding *findings = sum->findings[kind];
    size_t *count = &sum->finding_count[kind];
    struct shadow_finding *same = find(findings, *count, more);
    if (same != NULL) {
        same->count += more->count;
    } else if (*count < SHADOW_FINDINGS) {
        findings[(*count)++] = *more;
    } else {
        struct shadow_finding *least = least_of(findings, *count);
        if (least->count < more->count)
            *least = *more;
    }
}

static void add_cells(struct shadow_sum *sum, const struct shadow_cells *cells)
{
    sum->compared += counters_read(&cells->compared);
    sum->differing += counters_read(&cells->differing);
    sum->slower += counters_read(&cells->slower);
    sum->dropped += counters_read(&cells->dropped);
    for (size_t i = 0; i < COUNTERS_BUCKETS; i++) {
        sum->live[i] += counters_read(&cells->live[i]);
        sum->staged[i] += counters_read(&cells->staged[i]);
    }
    for (unsigned kind = 0; kind < SHADOW_KINDS; kind++) {
        for (size_t i = 0; i < SHADOW_PLACES; i++) {
            struct shadow_finding finding;
            if (take_place(&cells->places[kind][i], &finding))
                add_finding(sum, (enum shadow_kind)kind, &finding);
        }
    }
}

static int more_frequent(const void *left, const void *right)
{
    const struct shadow_finding *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return strcmp(a->path, b->path);
}

struct reading {
    uint64_t run;
    struct shadow_sum *sum;
};

static void read_cells(void *arg, const struct shadow_cells *cells)
{
    const struct reading *reading = arg;
    if (counters_read(&cells->run) == reading->run)
        add_cells(reading->sum, cells);
}

void shadow_sum(struct counters *counters, uint32_t slot, uint64_t run, struct shadow_sum *sum)
{
    memset(sum, 0, sizeof *sum);
    struct reading reading = {run, sum};
    counters_shadow_each(counters, slot, read_cells, &reading);
    for (unsigned kind = 0; kind < SHADOW_KINDS; kind++)
        qsort(sum->findings[kind], sum->finding_count[kind], sizeof *sum->findings[kind], more_frequent);
    if (sum->differing > sum->compared)
        sum->differing = sum->compared;
}
