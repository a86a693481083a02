/* One record a slot. Invariant: a record says TRIED exactly while one request that was sent there to try it
 * is under way; so an instance that is out never gets a second one to fail at. */
#include "plane/vitals.h"

#include "base/mem.h"

#include <stdlib.h>

#define JITTER_PERCENT 10 /* of a pause, so that workers and instances do not try all at once */

/* The kernel gives pages only for what is touched. */
void vitals_init(struct vitals *vitals, unsigned worker, struct random *random)
{
    *vitals = (struct vitals){.worker = worker, .random = random};
    vitals->list = mem_zero(COUNTERS_INSTANCES, sizeof *vitals->list);
}

void vitals_free(struct vitals *vitals)
{
    free(vitals->list);
}

static struct vital *of(struct vitals *vitals, const struct snapshot_instance *instance)
{
    struct vital *vital = &vitals->list[instance->slot];
    if (vital->id != instance->id)
        *vital = (struct vital){.id = instance->id};
    return vital;
}

bool vitals_may_serve(const struct vitals *vitals, const struct snapshot_instance *instance, uint64_t now_ms)
{
    const struct vital *vital = &vitals->list[instance->slot];
    if (vital->state == VITAL_WELL || vital->id != instance->id)
        return true;
    return vital->state == VITAL_EJECTED && now_ms >= vital->until_ms;
}

uint64_t vitals_since_ms(const struct vitals *vitals, const struct snapshot_instance *instance)
{
    const struct vital *vital = &vitals->list[instance->slot];
    return vital->id == instance->id ? vital->since_ms : 0;
}

void vitals_chosen(struct vitals *vitals, const struct snapshot_instance *instance, uint64_t now_ms)
{
    struct vital *vital = of(vitals, instance);
    if (vital->state == VITAL_EJECTED && now_ms >= vital->until_ms)
        vital->state = VITAL_TRIED;
}

void vitals_undecided(struct vitals *vitals, const struct snapshot_instance *instance)
{
    struct vital *vital = of(vitals, instance);
    if (vital->state == VITAL_TRIED)
        vital->state = VITAL_EJECTED;
}

/* One that is out may also have been asked as the last resort, or before it went out: that does not end the
 * pause. */
void vitals_passed(struct vitals *vitals, const struct snapshot_instance *instance, uint64_t now_ms)
{
    struct vital *vital = of(vitals, instance);
    if (vital->state == VITAL_EJECTED)
        return;
    if (vital->state == VITAL_TRIED)
        vital->since_ms = vitals->since_ms = now_ms;
    vital->state = VITAL_WELL;
    vital->failures = 0;
    if (vital->ejections > 0 && now_ms >= vital->until_ms + vital->pause_ms)
        vital->ejections = 0;
}

/* ---- ejection ---- */

static bool is_out(const struct vitals *vitals, const struct snapshot_instance *instance)
{
    const struct vital *vital = &vitals->list[instance->slot];
    return vital->id == instance->id && vital->state != VITAL_WELL;
}

/* May one more of those in rotation be out? Looked at only when one is about to be. */
static bool leaves_enough(const struct vitals *vitals, const struct snapshot_rules *rules,
                          const struct snapshot *snapshot, const struct snapshot_pool *pool)
{
    uint64_t rotating = 0, out = 0;
    for (size_t i = 0; i < snapshot_pool_size(pool); i++) {
        struct snapshot_instance one = snapshot_pool_instance(snapshot, pool, i);
        if (one.drained || one.down)
            continue;
        rotating++;
        out += is_out(vitals, &one);
    }
    return (out + 1) * 100 <= rotating * rules->ejection_most;
}

static uint64_t next_pause(const struct vitals *vitals, const struct vital *vital,
                           const struct snapshot_rules *rules)
{
    uint64_t pause = (uint64_t)rules->ejection_pause_ms * vital->ejections;
    if (pause > rules->ejection_longest_ms)
        pause = rules->ejection_longest_ms;
    uint32_t width = (uint32_t)(pause * JITTER_PERCENT / 100);
    return pause - width / 2 + random_below(vitals->random, width + 1);
}

static void show(const struct vitals *vitals, const struct snapshot_instance *instance, uint64_t until_ms)
{
    if (vitals->counters == NULL)
        return;
    struct counters_instance *cells = counters_instance(vitals->counters, vitals->worker, instance->slot);
    __atomic_store_n(&cells->ejected_until_ms, until_ms, __ATOMIC_RELEASE);
    counters_add(&cells->ejections, 1);
}

static void eject(struct vitals *vitals, struct vital *vital, const struct snapshot_rules *rules,
                  const struct snapshot_instance *instance, uint64_t now_ms)
{
    vital->ejections += vital->ejections < UINT32_MAX;
    vital->pause_ms = next_pause(vitals, vital, rules);
    vital->until_ms = now_ms + vital->pause_ms;
    vital->failures = 0;
    vital->state = VITAL_EJECTED;
    show(vitals, instance, vital->until_ms);
}

void vitals_failed(struct vitals *vitals, const struct snapshot_rules *rules, const struct snapshot *snapshot,
                   const struct snapshot_pool *pool, const struct snapshot_instance *instance,
                   uint64_t now_ms)
{
    struct vital *vital = of(vitals, instance);
    switch ((enum vital_state)vital->state) {
    case VITAL_EJECTED:
        return;
    case VITAL_TRIED: /* its place among those that are out is its own already */
        eject(vitals, vital, rules, instance, now_ms);
        return;
    case VITAL_WELL:
        break;
    }
    vital->failures += vital->failures < UINT32_MAX;
    if (vital->failures >= rules->ejection_failures && leaves_enough(vitals, rules, snapshot, pool))
        eject(vitals, vital, rules, instance, now_ms);
}
