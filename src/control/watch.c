/* A vigil for each deployment that is watched. Invariant: what it finds is told exactly once at most: a
 * failure, and that its time is over; and never from inside watch_begin. */
#include "control/watch.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/event_log.h"
#include "control/evidence.h"
#include "control/gate_cell.h"
#include "control/rerun.h"

#include <stdlib.h>

#include <uthash.h>

#define TICK_MS 100
#define FIRST_TICK_MS 5  /* whoever begins to watch has just swapped, and has more urgent things to do */
#define MARK_TICKS 10    /* how often the other pool's answers are marked, to see what it does now */
#define MEASURE_TICKS 50 /* how often its record is read anew while it grows */

#define SILENCE_SECONDS 5.0

#define MILLIONTHS 1000000.0
#define NS_PER_MS 1000000

struct vigil {
    struct watch *watch;
    char *service;
    char *pool;
    uint64_t begun_ms, ends_ms; /* monotonic */
    struct evidence evidence;
    struct answers answers;  /* of the pool, at the last look */
    struct answers marks[2]; /* of the other pool: between a second and two ago, and after that */
    uint64_t looked_ns;      /* monotonic */
    uint64_t heard_ms;       /* when something was answered last, or nothing waited; monotonic */
    uint64_t waiting;        /* requests, at the last look */
    unsigned ticks;
    bool restored;         /* it measures by what was kept of the other pool's record */
    bool unmeasured;       /* that is damaged */
    struct gate *run;      /* of the uptests; NULL: none is under way */
    bool is_last;          /* it was begun when the time was over */
    uint64_t runs, passes; /* of the uptests; those that told something */
    json_t *broken;        /* the uptest that failed; NULL: none */
    char *failure;         /* a sentence; NULL: it has not failed */
    bool told;             /* that its time is over */
    struct deadline look, next_run;
    UT_hash_handle hh;
};

struct watch {
    struct watch_options options;
    struct vigil *vigils; /* by service */
};

static const struct config_service *settings_of(const struct vigil *vigil)
{
    const struct watch_options *options = &vigil->watch->options;
    return options->settings(options->arg, vigil->service);
}

static const struct pool *pool_of(const struct vigil *vigil)
{
    return registry_pool(vigil->watch->options.registry, vigil->pool);
}

/* The one that it is compared with: armed after a swap, live beside a canary. NULL: there was none. */
static const struct pool *other_pool(const struct pool *pool)
{
    const struct service *service = pool->service;
    return service->live == pool ? service->armed : service->live;
}

static const char *before(const struct pool *pool)
{
    return pool->service->live == pool ? "before the swap" : "of the live pool";
}

/* Returns how many requests wait for theirs. */
static uint64_t read_answers(const struct vigil *vigil, const struct pool *pool, struct answers *answers)
{
    struct counters_pool sum;
    uint64_t lasting = 0;
    counters_pool_sum(vigil->watch->options.counters, pool->slot, &sum);
    answers_read(answers, &sum);
    for (unsigned i = 0; i < COUNTERS_LASTING; i++)
        lasting += sum.lasting[i];
    return sum.in_flight > lasting ? sum.in_flight - lasting : 0;
}

/* ---- what is found ---- */

static void tell(struct vigil *vigil, enum watch_finding finding, const char *why)
{
    const struct watch_options *options = &vigil->watch->options;
    options->found(options->arg, pool_of(vigil), finding, why);
}

/* Would the clients have a pool to go back to? Right after a start of the daemon nobody knows. */
static bool is_unsure(const struct vigil *vigil)
{
    const struct pool *other = other_pool(pool_of(vigil));
    return other != NULL && health_is_unsure(vigil->watch->options.health, other);
}

/* What fails while it is not known where clients would go back to is found again. The vigil may be gone
 * afterwards. */
static void fail(struct vigil *vigil, char *why)
{
    if (vigil->failure != NULL || vigil->told || is_unsure(vigil)) {
        free(why);
        return;
    }
    vigil->failure = why;
    char *said = mem_dup(why);
    tell(vigil, WATCH_FAILED, said);
    free(said);
}

static char *in_words(const struct vigil *vigil)
{
    char *seen = evidence_tell(&vigil->evidence, before(pool_of(vigil)));
    char *uptests = vigil->passes == 0
                        ? mem_dup("")
                        : mem_printf(". The uptests passed %llu time%s", (unsigned long long)vigil->passes,
                                     vigil->passes == 1 ? "" : "s");
    char *words = mem_printf("watched for %.3g s: %s%s", vigil->evidence.seconds, seen, uptests);
    free(seen);
    free(uptests);
    return words;
}

/* The vigil may be gone afterwards. */
static void end_well(struct vigil *vigil)
{
    char *why = vigil->failure == NULL ? in_words(vigil) : mem_dup(vigil->failure);
    vigil->told = true;
    tell(vigil, vigil->failure == NULL ? WATCH_PASSED : WATCH_OVER, why);
    free(why);
}

/* ---- uptests ---- */

static uint64_t run_interval_ms(const struct vigil *vigil)
{
    const struct config_service *settings = settings_of(vigil);
    return settings == NULL || settings->uptests.directory == NULL ? 0 : settings->watch.uptests_ms;
}

static void on_cell(void *arg, const struct gate_cell *cell)
{
    (void)arg;
    (void)cell;
}

/* The first that failed, and not for want of being run. NULL: none. */
static const struct gate_cell *first_failed(const struct gate *run)
{
    for (size_t i = 0; i < gate_cell_count(run); i++) {
        const struct gate_cell *cell = gate_cell_at(run, i);
        if (cell->state == GATE_FAILED && !cell->undecided)
            return cell;
    }
    return NULL;
}

static void end_run(struct vigil *vigil)
{
    gate_free(vigil->run);
    vigil->run = NULL;
}

/* Where requests tell nothing, the uptests do: a run of them has told something before it is over. */
static bool awaits_uptests(const struct vigil *vigil)
{
    return vigil->failure == NULL && vigil->runs == 0 && vigil->evidence.verdict == EVIDENCE_MISSING &&
           run_interval_ms(vigil) > 0;
}

/* `cell` has failed; NULL: none has told so. A sentence, to be freed; NULL: that is no failure of the watch.
 */
static char *judge_run(const struct vigil *vigil, const struct gate_cell *cell, const char *reason)
{
    if (cell != NULL)
        return gate_cell_sentence(cell);
    if (!vigil->is_last || !awaits_uptests(vigil))
        return NULL;
    return mem_printf("there were too few requests to judge by, and its uptests could not be run: %s",
                      reason);
}

static void on_run_done(void *arg, bool passed, const char *reason)
{
    struct vigil *vigil = arg;
    const struct gate_cell *cell = first_failed(vigil->run);
    vigil->passes += passed;
    bool counts = passed || (cell != NULL && !is_unsure(vigil));
    vigil->runs += counts;
    char *why = passed ? NULL : judge_run(vigil, cell, reason);
    if (cell != NULL && counts && vigil->broken == NULL)
        vigil->broken = json_pack("{s:s, s:s, s:o}", "instance", cell->instance, "uptest", cell->uptest,
                                  "output", event_log_tail((struct str){cell->output, cell->output_size}));
    else if (!passed && cell == NULL)
        log_warn("%s: the uptests of its watch do not tell: %s", vigil->pool, reason);
    end_run(vigil);
    if (vigil->failure == NULL)
        deadline_set(&vigil->next_run, run_interval_ms(vigil));
    if (why != NULL)
        fail(vigil, why);
}

static bool is_over(const struct vigil *vigil)
{
    return clock_mono_ms() >= vigil->ends_ms;
}

static void run_uptests(struct vigil *vigil)
{
    static const struct gate_callbacks callbacks = {on_cell, on_cell, on_run_done};
    const struct watch_options *options = &vigil->watch->options;
    const struct pool *pool = pool_of(vigil);
    vigil->is_last = is_over(vigil);
    vigil->run =
        rerun_start(options->loop, pool, settings_of(vigil), !pool->deployment->untested, &callbacks, vigil);
}

/* No other run begins once it is over: the look that ends the watch might find one under way again and again.
 */
static void run_is_due(struct deadline *deadline)
{
    struct vigil *vigil = mem_container(deadline, struct vigil, next_run);
    const struct watch_options *options = &vigil->watch->options;
    if (vigil->told || run_interval_ms(vigil) == 0 || (is_over(vigil) && !awaits_uptests(vigil)))
        return;
    options->testing(options->arg, vigil->service);
    run_uptests(vigil);
}

/* ---- instances ---- */

static bool is_out(const struct vigil *vigil, const struct pool *pool, const struct instance *instance)
{
    const struct watch_options *options = &vigil->watch->options;
    return instance->state == INSTANCE_UP &&
           (health_is_down(options->health, instance) || health_is_held_out(options->health, instance) ||
            ejections_is_out(options->ejections, pool, instance));
}

/* How many of those in rotation are out; *first is one of them. */
static size_t count_out(const struct vigil *vigil, const struct pool *pool, size_t *rotating,
                        const struct instance **first)
{
    size_t out = 0;
    *rotating = 0;
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        *rotating += instance->state == INSTANCE_UP;
        if (is_out(vigil, pool, instance) && out++ == 0)
            *first = instance;
    }
    return out;
}

/* One is out, and of the other pool's not as large a part: whatever took it was not there for both. */
static char *find_lost_instance(const struct vigil *vigil, const struct pool *pool)
{
    const struct instance *first = NULL, *ignored;
    const struct pool *other = other_pool(pool);
    size_t rotating, others = 0;
    size_t out = count_out(vigil, pool, &rotating, &first);
    if (out == 0)
        return NULL;
    size_t others_out = other == NULL ? 0 : count_out(vigil, other, &others, &ignored);
    if (others > 0 && others_out * rotating >= out * others)
        return NULL;
    bool is_down = health_is_down(vigil->watch->options.health, first);
    return mem_printf("instance %s is %s (%zu of %zu), while of %s %zu of %zu are", first->address,
                      is_down ? "down" : "ejected", out, rotating,
                      other == NULL ? "the pool before it" : other->name, others_out, others);
}

/* ---- looking ---- */

static void measure(struct vigil *vigil, const struct pool *pool, struct yardstick *yardstick)
{
    struct yardstick_slice *slices = mem_zero(TRAIL_SLICES, sizeof *slices);
    const struct config_service *settings = settings_of(vigil);
    const struct pool *other = other_pool(pool);
    struct yardstick_limits limits = {0};
    size_t count = 0;
    if (other != NULL && settings != NULL) {
        count = trail_read(vigil->watch->options.trail, other, slices);
        limits.errors = (double)settings->watch.errors / MILLIONTHS;
        limits.latency = (double)settings->watch.latency / MILLIONTHS;
    }
    yardstick_make(yardstick, &limits, slices, count);
    free(slices);
}

static void compare(struct vigil *vigil, const struct pool *pool)
{
    const struct pool *other = other_pool(pool);
    uint64_t now_ns = clock_mono_ns();
    struct answers now, more, others = {0}, beside = {0};
    vigil->waiting = read_answers(vigil, pool, &now);
    answers_between(&more, &vigil->answers, &now);
    if (more.requests > 0 || vigil->waiting == 0)
        vigil->heard_ms = now_ns / NS_PER_MS;
    if (other != NULL) {
        read_answers(vigil, other, &others);
        answers_between(&beside, &vigil->marks[0], &others);
    }
    evidence_take(&vigil->evidence, &more, (double)(now_ns - vigil->looked_ns) / 1e9, &beside);
    vigil->answers = now;
    vigil->looked_ns = now_ns;
    if (++vigil->ticks % MARK_TICKS == 0) {
        vigil->marks[0] = vigil->marks[1];
        vigil->marks[1] = others;
    }
}

/* What never answers is in no record of answers. A pool that answered before has fallen silent, for longer
 * than would be slow and with as many who wait as would be judged. */
static char *find_silence(const struct vigil *vigil, const struct pool *pool)
{
    const struct yardstick *yardstick = &vigil->evidence.yardstick;
    double seconds = (double)(vigil->looked_ns / NS_PER_MS - vigil->heard_ms) / 1000;
    if (yardstick->old.requests == 0 || vigil->waiting < vigil->evidence.minimum ||
        seconds < SILENCE_SECONDS || seconds < yardstick->slow_us / 1e6)
        return NULL;
    return mem_printf("no answer for %.1f s, while %llu requests wait; the p99 %s was %.3g ms", seconds,
                      (unsigned long long)vigil->waiting, before(pool), yardstick->p99_us / 1000);
}

/* A canary's other pool is live, so its record grows. What was kept of it stands until there is more. */
static void measure_anew(struct vigil *vigil, const struct pool *pool)
{
    struct yardstick yardstick;
    if (vigil->ticks % MEASURE_TICKS != 0 || pool->service->live == pool)
        return;
    measure(vigil, pool, &yardstick);
    if (vigil->restored && yardstick.old.requests < vigil->evidence.yardstick.old.requests)
        return;
    vigil->restored = false;
    evidence_measure(&vigil->evidence, &yardstick);
}

/* A daemon that is started in the middle of it finds the other pool without a record. */
static void keep_yardstick(const struct vigil *vigil)
{
    const struct yardstick *yardstick = &vigil->evidence.yardstick;
    if (vigil->ticks != 1 || vigil->restored || yardstick->old.requests == 0)
        return;
    archive_write(vigil->watch->options.archive, vigil->pool, ARCHIVE_YARDSTICK, yardstick_pack(yardstick),
                  NULL, NULL);
}

static void find_kept(struct vigil *vigil, struct yardstick *yardstick)
{
    struct archive *archive = vigil->watch->options.archive;
    json_t *kept = archive_read(archive, vigil->pool, ARCHIVE_YARDSTICK);
    vigil->restored = kept != NULL && yardstick_unpack(kept, yardstick);
    vigil->unmeasured = !vigil->restored && archive_has(archive, vigil->pool, ARCHIVE_YARDSTICK);
    json_decref(kept);
}

/* A live pool's record grows beside the canary, and is as good. An armed one gets no requests any more: that
 * the new one is no worse is then nobody's finding. */
static bool is_unproven(const struct vigil *vigil, const struct pool *pool)
{
    return vigil->unmeasured && pool->service->live == pool;
}

static void tell_unmeasured(const struct vigil *vigil, const struct pool *pool)
{
    if (is_unproven(vigil, pool))
        log_warn("%s: what its watch measures by is damaged; the watch begins anew, without its answers, and "
                 "will not have passed: promote it, or roll it back",
                 vigil->pool);
    else
        log_warn("%s: what it was measured by as a canary is damaged; the step begins anew, measured by what "
                 "the live pool answers from now on",
                 vigil->pool);
}

/* A sentence, to be freed; NULL: all is well. */
static char *find_failure(const struct vigil *vigil, const struct pool *pool)
{
    if (vigil->evidence.verdict == EVIDENCE_WORSE)
        return evidence_tell(&vigil->evidence, before(pool));
    char *failure = find_lost_instance(vigil, pool);
    if (failure == NULL)
        failure = find_silence(vigil, pool);
    if (failure == NULL && is_unproven(vigil, pool) && is_over(vigil))
        failure = mem_dup("what it was measured by is damaged, so nobody knows whether it answers as well as "
                          "the pool before it");
    return failure;
}

static void look(struct deadline *deadline)
{
    struct vigil *vigil = mem_container(deadline, struct vigil, look);
    const struct pool *pool = pool_of(vigil);
    bool over = is_over(vigil);
    compare(vigil, pool);
    keep_yardstick(vigil);
    measure_anew(vigil, pool);
    if (vigil->told)
        return;
    deadline_set(&vigil->look, TICK_MS);
    char *failure = vigil->failure == NULL ? find_failure(vigil, pool) : NULL;
    if (failure != NULL)
        fail(vigil, failure);
    else if (over && vigil->run == NULL && !awaits_uptests(vigil))
        end_well(vigil);
    else if (over && vigil->run == NULL)
        deadline_set(&vigil->next_run, 0);
}

/* ---- its life ---- */

static struct vigil *vigil_of(const struct watch *watch, const char *service)
{
    struct vigil *vigil;
    HASH_FIND_STR(watch->vigils, service, vigil);
    return vigil;
}

void watch_begin(struct watch *watch, const struct pool *pool, uint64_t length_ms, uint64_t left_ms)
{
    struct yardstick yardstick;
    watch_end(watch, pool->service->name);
    struct vigil *vigil = mem_zero(1, sizeof *vigil);
    vigil->watch = watch;
    vigil->service = mem_dup(pool->service->name);
    vigil->pool = mem_dup(pool->name);
    vigil->begun_ms = clock_mono_ms();
    vigil->looked_ns = clock_mono_ns();
    vigil->heard_ms = vigil->begun_ms;
    HASH_ADD_KEYPTR(hh, watch->vigils, vigil->service, strlen(vigil->service), vigil);
    const struct config_service *settings = settings_of(vigil);
    measure(vigil, pool, &yardstick);
    if (yardstick.old.requests == 0)
        find_kept(vigil, &yardstick);
    if (vigil->unmeasured)
        tell_unmeasured(vigil, pool);
    vigil->ends_ms = vigil->begun_ms + (vigil->restored || vigil->unmeasured ? length_ms : left_ms);
    evidence_begin(&vigil->evidence, &yardstick, settings == NULL ? 0 : settings->watch.minimum,
                   (double)length_ms / 1000);
    read_answers(vigil, pool, &vigil->answers);
    if (other_pool(pool) != NULL)
        read_answers(vigil, other_pool(pool), &vigil->marks[0]);
    vigil->marks[1] = vigil->marks[0];
    deadline_init(&vigil->look, watch->options.loop, look);
    deadline_init(&vigil->next_run, watch->options.loop, run_is_due);
    deadline_set(&vigil->look, FIRST_TICK_MS);
    vigil->failure = mem_dup(pool->deployment->flaw);
    if (vigil->failure == NULL && run_interval_ms(vigil) > 0)
        deadline_set(&vigil->next_run, run_interval_ms(vigil));
}

void watch_end(struct watch *watch, const char *service)
{
    struct vigil *vigil = vigil_of(watch, service);
    if (vigil == NULL)
        return;
    HASH_DEL(watch->vigils, vigil);
    deadline_clear(&vigil->look);
    deadline_clear(&vigil->next_run);
    end_run(vigil);
    json_decref(vigil->broken);
    free(vigil->failure);
    free(vigil->service);
    free(vigil->pool);
    free(vigil);
}

bool watch_is_testing(const struct watch *watch, const char *service)
{
    const struct vigil *vigil = vigil_of(watch, service);
    return vigil != NULL && vigil->run != NULL;
}

struct watch *watch_new(const struct watch_options *options)
{
    struct watch *watch = mem_zero(1, sizeof *watch);
    watch->options = *options;
    return watch;
}

/* ---- for others to see ---- */

static json_t *share_view(uint64_t bad, uint64_t requests, const struct yardstick_claim *claim)
{
    return json_pack("{s:I, s:f, s:f}", "count", (json_int_t)bad, "share",
                     requests == 0 ? 0.0 : (double)bad / (double)requests, "limit", claim->limit);
}

json_t *watch_view(const struct watch *watch, const struct pool *pool)
{
    static const char *const verdicts[] = {"missing", "fine", "worse"};
    const struct vigil *vigil = vigil_of(watch, pool->service->name);
    if (vigil == NULL || strcmp(vigil->pool, pool->name) != 0)
        return NULL;
    const struct evidence *evidence = &vigil->evidence;
    const struct yardstick *yardstick = &evidence->yardstick;
    struct answers answers; /* all that it has ever given: that of a canary too */
    (void)read_answers(vigil, pool, &answers);
    uint64_t now_ms = clock_mono_ms();
    return json_pack("{s:f, s:f, s:I, s:s, s:o, s:o, s:f, s:I, s:I, s:f, s:f, s:I, s:o?, s:s?}", "seconds",
                     (double)(now_ms - vigil->begun_ms) / 1000, "left",
                     now_ms < vigil->ends_ms ? (double)(vigil->ends_ms - now_ms) / 1000 : 0.0, "requests",
                     (json_int_t)evidence->requests, "verdict", verdicts[evidence->verdict], "errors",
                     share_view(evidence->errors.bad, evidence->requests, &yardstick->errors), "slow",
                     share_view(evidence->slow.bad, evidence->requests, &yardstick->slow), "slow_seconds",
                     yardstick->slow_us / 1e6, "requests_before", (json_int_t)yardstick->old.requests,
                     "errors_before", (json_int_t)yardstick->old.errors, "p99_before",
                     yardstick->p99_us / 1e6, "p99", answers_quantile_us(&answers, 0.01) / 1e6,
                     "uptests_passed", (json_int_t)vigil->passes, "uptest", json_deep_copy(vigil->broken),
                     "failure", vigil->failure);
}
