/* A ring of seconds for each pool that is followed. Invariant: a pool that is not live any more keeps what it
 * has until the registry has it neither live nor armed; so what it answers late is not its record. */
#include "control/trail.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

#include <uthash.h>

#define LOOK_MS 1000

/* A second, with those buckets that are not empty at either end. */
struct second {
    uint64_t requests, errors;
    double seconds;
    unsigned first, count; /* of the buckets */
    uint64_t buckets[];
};

struct track {
    char *pool;
    struct answers before; /* at the last look */
    uint64_t looked_ns;    /* monotonic; 0: never, or it has been armed since */
    struct second *ring[TRAIL_SLICES];
    size_t next; /* where the next one goes */
    bool seen;   /* by the trail_watch that runs */
    UT_hash_handle hh;
};

struct trail {
    struct trail_options options;
    struct track *tracks; /* by pool */
    struct deadline look;
};

static void keep(struct track *track, const struct answers *answers, double seconds)
{
    unsigned first = 0, end = COUNTERS_BUCKETS;
    while (first < end && answers->buckets[first] == 0)
        first++;
    while (end > first && answers->buckets[end - 1] == 0)
        end--;
    struct second *second = mem_alloc(sizeof *second + (end - first) * sizeof *second->buckets);
    *second = (struct second){answers->requests, answers->errors, seconds, first, end - first};
    memcpy(second->buckets, answers->buckets + first, (end - first) * sizeof *second->buckets);
    free(track->ring[track->next]);
    track->ring[track->next] = second;
    track->next = (track->next + 1) % TRAIL_SLICES;
}

static void read_slice(const struct second *second, struct yardstick_slice *slice)
{
    *slice = (struct yardstick_slice){.answers = {.requests = second->requests, .errors = second->errors},
                                      .seconds = second->seconds};
    memcpy(slice->answers.buckets + second->first, second->buckets, second->count * sizeof *second->buckets);
}

static void read_totals(const struct trail *trail, const struct pool *pool, struct answers *answers)
{
    struct counters_pool sum;
    counters_pool_sum(trail->options.counters, pool->slot, &sum);
    answers_read(answers, &sum);
}

static bool is_empty(const struct track *track)
{
    return track->ring[(track->next + TRAIL_SLICES - 1) % TRAIL_SLICES] == NULL;
}

/* One second more; at the first look all that there was. */
static void look_at(const struct trail *trail, struct track *track, const struct pool *pool)
{
    uint64_t now_ns = clock_mono_ns();
    struct answers totals, more;
    read_totals(trail, pool, &totals);
    answers_between(&more, &track->before, &totals);
    if (track->looked_ns != 0)
        keep(track, &more, (double)(now_ns - track->looked_ns) / 1e9);
    else if (is_empty(track) && totals.requests > 0)
        keep(track, &totals, 0);
    track->before = totals;
    track->looked_ns = now_ns;
}

static struct track *track_of(struct trail *trail, const struct pool *pool)
{
    struct track *track;
    HASH_FIND_STR(trail->tracks, pool->name, track);
    return track;
}

static void follow(struct trail *trail, const struct pool *pool)
{
    struct track *track = track_of(trail, pool);
    if (track == NULL) {
        track = mem_zero(1, sizeof *track);
        track->pool = mem_dup(pool->name);
        HASH_ADD_KEYPTR(hh, trail->tracks, track->pool, strlen(track->pool), track);
    }
    if (track->looked_ns == 0)
        look_at(trail, track, pool);
    track->seen = true;
}

/* It is armed: what it answers from now on is no part of its record, unless it is live again. */
static void pause_at(struct trail *trail, const struct pool *pool)
{
    struct track *track = track_of(trail, pool);
    if (track == NULL)
        return;
    if (track->looked_ns != 0)
        look_at(trail, track, pool);
    track->looked_ns = 0;
    track->seen = true;
}

static void forget(struct trail *trail, struct track *track)
{
    HASH_DEL(trail->tracks, track);
    for (size_t i = 0; i < TRAIL_SLICES; i++)
        free(track->ring[i]);
    free(track->pool);
    free(track);
}

static bool is_followed(const struct trail *trail, const struct service *service)
{
    const struct config_service *settings = trail->options.settings(trail->options.arg, service->name);
    const struct deployment *running = service->running;
    return (settings != NULL && settings->watch.duration_ms > 0) ||
           (running != NULL && (running->watch_ms > 0 || running->canary.count > 0));
}

static void look(struct deadline *deadline)
{
    struct trail *trail = mem_container(deadline, struct trail, look);
    bool again = false;
    for (struct track *track = trail->tracks; track != NULL; track = track->hh.next) {
        const struct pool *pool = registry_pool(trail->options.registry, track->pool);
        if (pool == NULL || pool->state != POOL_LIVE)
            continue;
        look_at(trail, track, pool);
        again = true;
    }
    if (again)
        deadline_set(&trail->look, LOOK_MS);
}

static void follow_service(struct trail *trail, const struct service *service)
{
    if (!is_followed(trail, service))
        return;
    if (service->live != NULL)
        follow(trail, service->live);
    if (service->armed != NULL)
        pause_at(trail, service->armed);
}

/* It stays if it has just been seen. */
static void settle(struct trail *trail, struct track *track)
{
    if (!track->seen)
        forget(trail, track);
    else
        track->seen = false;
}

static void watch_all(struct trail *trail)
{
    const struct service *service = trail->options.registry->services;
    struct track *track, *next;
    for (; service != NULL; service = service->hh.next)
        follow_service(trail, service);
    HASH_ITER(hh, trail->tracks, track, next)
    {
        settle(trail, track);
    }
}

static void watch_one(struct trail *trail, const struct service *service)
{
    const struct pool *pool;
    follow_service(trail, service);
    TAILQ_FOREACH (pool, &service->pools, of_service) {
        struct track *track = track_of(trail, pool);
        if (track != NULL)
            settle(trail, track);
    }
}

void trail_watch(struct trail *trail, const struct service *service)
{
    if (service == NULL)
        watch_all(trail);
    else
        watch_one(trail, service);
    if (trail->tracks != NULL && !deadline_is_set(&trail->look))
        deadline_set(&trail->look, LOOK_MS);
}

size_t trail_read(struct trail *trail, const struct pool *pool, struct yardstick_slice *slices)
{
    const struct track *track = track_of(trail, pool);
    size_t count = 0;
    for (size_t i = 0; track != NULL && i < TRAIL_SLICES; i++) {
        const struct second *second = track->ring[(track->next + i) % TRAIL_SLICES];
        if (second != NULL)
            read_slice(second, &slices[count++]);
    }
    if (count > 0)
        return count;
    slices[0] = (struct yardstick_slice){.seconds = 0};
    read_totals(trail, pool, &slices[0].answers);
    return 1;
}

struct trail *trail_new(const struct trail_options *options)
{
    struct trail *trail = mem_zero(1, sizeof *trail);
    trail->options = *options;
    deadline_init(&trail->look, options->loop, look);
    return trail;
}
