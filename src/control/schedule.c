/* A round for each service that has a schedule and a live pool. Invariant: a round has either a run under way
 * or a deadline for its next one, until schedule_stop; and its run is against the live pool. */
#include "control/schedule.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/gate.h"
#include "control/gate_cell.h"
#include "control/quarantine.h"
#include "control/rerun.h"
#include "control/standing.h"

#include <assert.h>
#include <stdlib.h>

#include <uthash.h>

#define AT_ONCE 16        /* runs under way, of different services */
#define AGAIN_MS 500      /* when it is due and cannot be: how soon it is tried again */
#define JITTER_PERCENT 10 /* of the interval, so that services do not gather */

struct round {
    struct schedule *schedule;
    char *service;
    uint64_t pool;        /* number of the live pool */
    uint64_t interval_ms; /* as it was when the next run was set */
    struct gate *run;     /* NULL: none is under way */
    bool cannot_tell;     /* the last run has not, and that was said */
    bool seen;            /* by the schedule_watch that runs */
    struct schedule_tally tally;
    struct deadline next;
    UT_hash_handle hh;
};

struct schedule {
    struct schedule_options options;
    struct round *rounds; /* by service */
    unsigned under_way;
    bool is_started; /* schedule_watch has been called before */
    bool stopping;
};

static const struct config_service *settings_of(const struct schedule *schedule, const char *service)
{
    return schedule->options.settings(schedule->options.arg, service);
}

static const struct pool *live_pool(const struct schedule *schedule, const char *service)
{
    const struct service *known = registry_service(schedule->options.registry, service);
    return known == NULL ? NULL : known->live;
}

static struct standing standing(const struct schedule *schedule, const struct instance *instance)
{
    return standing_of(schedule->options.counters, instance);
}

static void keep(const struct schedule *schedule, const struct instance *instance,
                 const struct standing *standing)
{
    standing_keep(schedule->options.counters, instance, standing);
}

struct schedule_tally schedule_tally(const struct schedule *schedule, const char *service)
{
    struct round *round;
    HASH_FIND_STR(schedule->rounds, service, round);
    return round == NULL ? (struct schedule_tally){0, 0} : round->tally;
}

static void announce(const struct schedule *schedule, const char *type, const struct pool *pool, json_t *more)
{
    event_log_add(schedule->options.events, type, pool->service->name, pool->name, more);
}

/* ---- who is out ---- */

static const char *why_back(const struct standing *now, bool ejects)
{
    if (now->uptests == STANDING_PASSES)
        return "its uptests pass again";
    if (now->uptests == STANDING_UNTESTED)
        return "its uptests are not run on a schedule any more";
    return ejects ? "its uptests fail, but there is no other to serve in its place"
                  : "its uptests fail, but that takes none out of rotation any more";
}

static void announce_rotation(const struct schedule *schedule, const struct pool *pool,
                              const struct instance *instance, const struct standing *now, bool ejects)
{
    const char *reason = now->out ? "its uptests fail" : why_back(now, ejects);
    log_info("%s: instance %s is %s rotation: %s", pool->name, instance->address,
             now->out ? "taken out of" : "back in", reason);
    announce(schedule, now->out ? "instance.ejected" : "instance.restored", pool,
             json_pack("{s:s, s:s, s:s}", "instance", instance->address, "reason", reason, "by", "uptests"));
}

static struct quarantine_case *cases_of(const struct schedule *schedule, const struct pool *pool, bool ejects)
{
    struct quarantine_case *cases = mem_zero(pool->instance_count, sizeof *cases);
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        struct standing now = standing(schedule, instance);
        cases[i] = (struct quarantine_case){
            .rotates = instance->state == INSTANCE_UP,
            .up = now.pulse != PULSE_DOWN && !ejections_is_out(schedule->options.ejections, pool, instance),
            .fails = ejects && now.uptests == STANDING_FAILS,
            .out = now.out,
        };
    }
    return cases;
}

/* Brings the instances of a live pool to where the rule wants them. Returns whether any has moved. */
static bool review(const struct schedule *schedule, const struct pool *pool, bool ejects)
{
    struct quarantine_case *cases = cases_of(schedule, pool, ejects);
    bool moved = false;
    quarantine_decide(cases, pool->instance_count);
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        struct standing now = standing(schedule, instance);
        if (now.out == cases[i].out)
            continue;
        now.out = cases[i].out;
        if (!now.out)
            now.since_ms = clock_mono_ms();
        keep(schedule, instance, &now);
        announce_rotation(schedule, pool, instance, &now, ejects);
        moved = true;
    }
    free(cases);
    if (moved)
        schedule->options.moved(schedule->options.arg, pool->service->name);
    return moved;
}

/* ---- what a run has told ---- */

/* The cells of one instance. */
struct verdict {
    const struct gate_cell *first; /* that failed by the instance's fault; NULL: none */
    size_t failed;                 /* as many */
    size_t undecided;
};

/* Reads one instance's cells from `*index` on, which then is the next one's. */
static struct verdict verdict_at(const struct gate *run, size_t *index)
{
    struct verdict verdict = {NULL, 0, 0};
    const char *instance = gate_cell_at(run, *index)->instance;
    for (; *index < gate_cell_count(run) && gate_cell_at(run, *index)->instance == instance; ++*index) {
        const struct gate_cell *cell = gate_cell_at(run, *index);
        if (cell->undecided) {
            verdict.undecided++;
        } else if (cell->state == GATE_FAILED && verdict.failed++ == 0) {
            verdict.first = cell;
        }
    }
    return verdict;
}

static void began_to_fail(const struct schedule *schedule, const struct pool *pool,
                          const struct verdict *verdict)
{
    const struct gate_cell *cell = verdict->first;
    char *reason = gate_cell_sentence(cell);
    log_warn("%s: scheduled %s", pool->name, reason);
    announce(schedule, "uptest.failed", pool,
             json_pack("{s:s, s:s, s:s, s:I, s:o}", "instance", cell->instance, "uptest", cell->uptest,
                       "reason", reason, "failed", (json_int_t)verdict->failed, "output",
                       event_log_tail((struct str){cell->output, cell->output_size})));
    free(reason);
}

static void passes_again(const struct schedule *schedule, const struct pool *pool,
                         const struct instance *instance)
{
    log_info("%s: scheduled uptests of instance %s pass again", pool->name, instance->address);
    announce(schedule, "uptest.passed", pool, json_pack("{s:s}", "instance", instance->address));
}

/* An instance whose uptests were not all run keeps what was known of it, unless one of them failed. */
static void take(struct round *round, const struct pool *pool, const struct instance *instance,
                 const struct verdict *verdict)
{
    const struct schedule *schedule = round->schedule;
    struct standing now = standing(schedule, instance);
    enum standing_uptests before = now.uptests;
    if (verdict->failed > 0) {
        now.uptests = STANDING_FAILS;
        round->tally.failed++;
    } else if (verdict->undecided == 0) {
        now.uptests = STANDING_PASSES;
        round->tally.passed++;
    }
    keep(schedule, instance, &now);
    if (before != STANDING_FAILS && now.uptests == STANDING_FAILS)
        began_to_fail(schedule, pool, verdict);
    if (before == STANDING_FAILS && now.uptests == STANDING_PASSES)
        passes_again(schedule, pool, instance);
}

/* The run itself is at fault, or the machine: no instance is blamed. Said once, until a run is whole. */
static void note_undecided(struct round *round, const struct pool *pool, bool undecided, const char *reason)
{
    if (undecided && !round->cannot_tell) {
        log_warn("%s: scheduled uptests do not tell: %s", pool->name, reason);
        announce(round->schedule, "uptest.failed", pool,
                 json_pack("{s:n, s:s}", "instance", "reason", reason));
    }
    round->cannot_tell = undecided;
}

static void take_all(struct round *round, const struct pool *pool, const char *reason)
{
    size_t count = gate_cell_count(round->run);
    bool undecided = count == 0;
    for (size_t i = 0; i < count;) {
        const struct instance *instance = pool_instance(pool, gate_cell_at(round->run, i)->instance);
        struct verdict verdict = verdict_at(round->run, &i);
        take(round, pool, instance, &verdict);
        undecided |= verdict.undecided > 0;
    }
    note_undecided(round, pool, undecided, reason);
}

/* ---- runs ---- */

static void set_next(struct round *round)
{
    uint64_t width = round->interval_ms * JITTER_PERCENT / 100;
    deadline_set(&round->next, round->interval_ms - width / 2 + arc4random_uniform((uint32_t)width + 1));
}

static void end_run(struct round *round)
{
    gate_free(round->run);
    round->run = NULL;
    round->schedule->under_way--;
}

static void on_cell(void *arg, const struct gate_cell *cell)
{
    (void)arg;
    (void)cell;
}

static void on_done(void *arg, bool passed, const char *reason)
{
    (void)passed;
    struct round *round = arg;
    struct schedule *schedule = round->schedule;
    const struct pool *pool = live_pool(schedule, round->service);
    assert(pool != NULL); /* the one that was tested: another one's coming would have ended the run */
    const struct config_service *settings = settings_of(schedule, round->service);
    take_all(round, pool, reason);
    end_run(round);
    set_next(round);
    if (review(schedule, pool, settings != NULL && settings->uptests.eject))
        schedule->options.changed(schedule->options.arg);
}

static void begin_run(struct round *round)
{
    static const struct gate_callbacks callbacks = {on_cell, on_cell, on_done};
    struct schedule *schedule = round->schedule;
    const struct pool *pool = live_pool(schedule, round->service);
    const struct config_service *settings = settings_of(schedule, round->service);
    round->run = rerun_start(schedule->options.loop, pool, settings, true, &callbacks, round);
    schedule->under_way++;
}

static void is_due(struct deadline *deadline)
{
    struct round *round = mem_container(deadline, struct round, next);
    struct schedule *schedule = round->schedule;
    bool free =
        schedule->under_way < AT_ONCE && !schedule->options.is_busy(schedule->options.arg, round->service);
    if (free && settings_of(schedule, round->service) != NULL)
        begin_run(round);
    else
        deadline_set(&round->next, AGAIN_MS);
}

static void give_up(struct round *round)
{
    if (round->run != NULL)
        end_run(round);
    deadline_clear(&round->next);
}

void schedule_yield(struct schedule *schedule, const char *service)
{
    struct round *round;
    HASH_FIND_STR(schedule->rounds, service, round);
    if (round == NULL || round->run == NULL)
        return;
    end_run(round);
    deadline_set(&round->next, AGAIN_MS);
}

/* ---- who has rounds ---- */

static struct round *open_round(struct schedule *schedule, const char *service)
{
    struct round *round = mem_zero(1, sizeof *round);
    round->schedule = schedule;
    round->service = mem_dup(service);
    deadline_init(&round->next, schedule->options.loop, is_due);
    HASH_ADD_KEYPTR(hh, schedule->rounds, round->service, strlen(round->service), round);
    return round;
}

static void close_round(struct round *round)
{
    give_up(round);
    HASH_DEL(round->schedule->rounds, round);
    free(round->service);
    free(round);
}

/* A pool that has just passed its gate is left alone for one interval; what was there when the process began,
 * or gets another interval, has its next run somewhere within one. */
static void look_after(struct schedule *schedule, const struct pool *pool, uint64_t interval_ms)
{
    struct round *round;
    HASH_FIND_STR(schedule->rounds, pool->service->name, round);
    if (round == NULL)
        round = open_round(schedule, pool->service->name);
    round->seen = true;
    bool is_fresh = round->pool != pool->number && schedule->is_started;
    if (round->pool == pool->number && round->interval_ms == interval_ms)
        return;
    if (round->pool != pool->number)
        give_up(round);
    round->pool = pool->number;
    round->interval_ms = interval_ms;
    if (is_fresh)
        set_next(round);
    else if (round->run == NULL)
        deadline_set(&round->next, arc4random_uniform((uint32_t)interval_ms + 1));
}

/* Nobody tests its instances any more: nothing is known of them. */
static void forget(struct schedule *schedule, const struct pool *pool)
{
    for (size_t i = 0; i < pool->instance_count; i++) {
        struct standing now = standing(schedule, &pool->instances[i]);
        if (now.uptests == STANDING_UNTESTED)
            continue;
        now.uptests = STANDING_UNTESTED;
        keep(schedule, &pool->instances[i], &now);
    }
}

/* Most pools have no instance that the rule is about. */
static bool has_to_do(const struct schedule *schedule, const struct pool *pool)
{
    for (size_t i = 0; i < pool->instance_count; i++) {
        struct standing now = standing(schedule, &pool->instances[i]);
        if (now.out || now.uptests == STANDING_FAILS)
            return true;
    }
    return false;
}

static void watch_pool(struct schedule *schedule, const struct pool *pool)
{
    const struct config_service *settings = settings_of(schedule, pool->service->name);
    bool has_suite = settings != NULL && settings->uptests.directory != NULL;
    uint64_t interval_ms = has_suite ? settings->uptests.schedule_ms : 0;
    if (interval_ms > 0)
        look_after(schedule, pool, interval_ms);
    else
        forget(schedule, pool);
    if (has_to_do(schedule, pool))
        review(schedule, pool, settings != NULL && settings->uptests.eject);
}

/* It stays if it has just been seen. */
static void settle(struct round *round)
{
    if (!round->seen)
        close_round(round);
    else
        round->seen = false;
}

static void watch_service(struct schedule *schedule, const struct service *service)
{
    if (service->live != NULL)
        watch_pool(schedule, service->live);
}

static void watch_all(struct schedule *schedule)
{
    const struct service *service = schedule->options.registry->services;
    struct round *round, *next;
    for (; service != NULL; service = service->hh.next)
        watch_service(schedule, service);
    HASH_ITER(hh, schedule->rounds, round, next)
    {
        settle(round);
    }
    schedule->is_started = true;
}

void schedule_watch(struct schedule *schedule, const struct service *service)
{
    struct round *round;
    if (schedule->stopping)
        return;
    if (service == NULL) {
        watch_all(schedule);
        return;
    }
    watch_service(schedule, service);
    HASH_FIND_STR(schedule->rounds, service->name, round);
    if (round != NULL)
        settle(round);
}

void schedule_stop(struct schedule *schedule)
{
    schedule->stopping = true;
    for (struct round *round = schedule->rounds; round != NULL; round = round->hh.next)
        give_up(round);
}

struct schedule *schedule_new(const struct schedule_options *options)
{
    struct schedule *schedule = mem_zero(1, sizeof *schedule);
    schedule->options = *options;
    return schedule;
}
