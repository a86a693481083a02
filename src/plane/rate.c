/* GCRA over a table of atomic words. A word is a tag that tells addresses of one line apart, and the time at
 * which the bucket is full again; a word whose time has passed is free. Invariant: a word changes only by
 * compare-and-swap from the value that was judged.
 *
 * When a line is full, the word whose bucket is fullest gives way: it has the least to lose. Who wants to be
 * forgotten must fill its line with words that are emptier than its own, that is send more than it wins; and
 * the seed lets nobody choose lines. */
#include "plane/rate.h"

#include "base/mem.h"
#include "base/siphash.h"
#include "plane/peer.h"
#include "plane/random.h"

#include <stdlib.h>

#define LINES 8192 /* a power of two */
#define WORDS 8    /* of a line: what a cache line holds */
#define LINE_BYTES 64
#define TIME_BITS 44
#define TIME_MASK (((uint64_t)1 << TIME_BITS) - 1)
#define TICKS 4000000 /* a second */
#define NS_PER_TICK (1000000000 / TICKS)
#define TRIES 16 /* against other workers; then the request goes on */

struct rate {
    uint64_t key[2];
    void *memory;
    uint64_t *words;
};

/* Calloc'd, so that the pages of what is never used are never had. */
struct rate *rate_new(void)
{
    struct rate *rate = mem_zero(1, sizeof *rate);
    struct random random;
    random_seed(&random);
    rate->key[0] = random_next(&random);
    rate->key[1] = random_next(&random);
    rate->memory = mem_zero(LINES + 1, LINE_BYTES);
    uintptr_t at = (uintptr_t)rate->memory;
    rate->words = (uint64_t *)((char *)rate->memory + (LINE_BYTES - at % LINE_BYTES) % LINE_BYTES);
    return rate;
}

void rate_free(struct rate *rate)
{
    free(rate->memory);
    free(rate);
}

static uint64_t hash_of(const struct rate *rate, const uint8_t address[16], struct str scope)
{
    uint8_t bytes[16 + RATE_SCOPE_MAX];
    size_t n = scope.n < RATE_SCOPE_MAX ? scope.n : RATE_SCOPE_MAX;
    peer_owner(address, bytes);
    if (n > 0)
        memcpy(bytes + 16, scope.p, n);
    return siphash(rate->key, bytes, 16 + n);
}

/* Ticks until the word's bucket is full; 0: it is. A time further ahead than any bucket can be is one that
 * nobody has touched until the clock of TIME_BITS came round. */
static uint64_t ahead(uint64_t word, uint64_t now)
{
    uint64_t ticks = (word - now) & TIME_MASK;
    return word != 0 && ticks <= (uint64_t)(SNAPSHOT_RATE_WINDOW + 1) * TICKS ? ticks : 0;
}

/* The word to be used for the tag, and what it holds: the tag's own, else the one whose bucket is fullest. */
static uint64_t *find(uint64_t *line, uint64_t tag, uint64_t now, uint64_t *word)
{
    uint64_t *best = NULL, least = UINT64_MAX;
    for (unsigned i = 0; i < WORDS; i++) {
        uint64_t held = __atomic_load_n(&line[i], __ATOMIC_RELAXED), ticks = ahead(held, now);
        bool own = ticks > 0 && held >> TIME_BITS == tag;
        if (!own && ticks >= least)
            continue;
        best = &line[i];
        least = ticks;
        *word = held;
        if (own)
            break;
    }
    return best;
}

uint32_t rate_take(struct rate *rate, const uint8_t address[16], struct str scope,
                   const struct snapshot_rate *limit, uint64_t now_ns)
{
    uint64_t hash = hash_of(rate, address, scope), tag = hash >> TIME_BITS, now = now_ns / NS_PER_TICK;
    uint64_t *line = rate->words + (hash & (LINES - 1)) * WORDS;
    uint64_t each = TICKS / limit->per_second, most = each * (limit->burst - 1);
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t word = 0, *place = find(line, tag, now, &word);
        uint64_t debt = word >> TIME_BITS == tag ? ahead(word, now) : 0;
        if (debt > most)
            return (uint32_t)((debt - most + TICKS - 1) / TICKS);
        uint64_t next = tag << TIME_BITS | ((now + debt + each) & TIME_MASK);
        if (__atomic_compare_exchange_n(place, &word, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return 0;
    }
    return 0;
}
