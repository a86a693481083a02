/* effects: what follows from a record once it is on disk: events, and the effects of its row. The same
 * effects are taken up again after a restart, from what the registry says. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/conduct.h"
#include "control/untold.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void announce(struct conductor *conductor, const char *type, const struct pool *pool, json_t *more)
{
    event_log_add(conductor->options.events, type, pool->service->name, pool->name, more);
}

static void publish(struct conductor *conductor, const struct step *step)
{
    const struct service *service = registry_service(conductor->options.registry, step->course->service);
    conductor_publish(conductor, service, step->record.world, step->decided_ns);
}

/* ---- deployments ---- */

void course_forget_change(struct course *course)
{
    if (course->changed != NULL)
        LIST_REMOVE(course, of_changing);
    free(course->changed);
    free(course->live);
    free(course->leaves);
    course->changed = course->live = course->leaves = NULL;
}

/* The pool that leaves its clients with this move, or NULL. */
static const struct pool *leaving(const struct registry *registry, const struct pool *pool,
                                  enum pool_move move)
{
    const char *replaces = pool->deployment->replaces;
    if (move == MOVE_LIVE || move == MOVE_RELEASE)
        return replaces == NULL ? NULL : registry_pool(registry, replaces);
    return pool->was_live && (move == MOVE_OUT || move == MOVE_BACK_OUT) ? pool : NULL;
}

static void set_change(struct course *course, const char *changed, const char *live, const char *leaves)
{
    course_forget_change(course);
    course->changed = mem_dup(changed);
    course->live = mem_dup(live);
    course->leaves = mem_dup(leaves);
    LIST_INSERT_HEAD(&course->conductor->changing, course, of_changing);
}

static void remember_change(struct step *step, const struct pool *pool, const struct transition *row)
{
    struct course *course = step->course;
    const struct pool *leaves = leaving(course->conductor->options.registry, pool, row->pool);
    bool swaps = row->pool == MOVE_LIVE || row->pool == MOVE_ARM || row->pool == MOVE_BACK_OUT;
    if (!swaps && leaves == NULL) /* what waits to be told of before it still is */
        return;
    /* A promotion ends a watch whose swap may not be published yet: then one version tells of both. */
    bool swap_waits = course->live != NULL && strcmp(course->changed, pool->name) == 0;
    set_change(course, pool->name, swaps || swap_waits ? pool->service->live->name : NULL,
               leaves == NULL ? NULL : leaves->name);
    course->change_version = step->record.world;
    course->change_decided_ns = step->decided_ns;
    course->change_written_ns = clock_mono_ns();
}

static void carry_out(struct course *course, const struct pool *pool, enum effect effect,
                      const struct step *step)
{
    switch (effect) {
    case EFFECT_STOP:
        course_give_up(course, pool, step->record.why);
        course_stop(course);
        break;
    case EFFECT_AWAIT:
        course_await(course, pool);
        break;
    case EFFECT_PAUSE:
        course_pause(course, pool);
        break;
    case EFFECT_TEST:
        course_test(course, pool);
        break;
    case EFFECT_SHADOW:
        course_shadow(course, pool);
        break;
    case EFFECT_HOLD:
        course_hold(course, pool);
        break;
    case EFFECT_CONFIRM:
        course_confirm(course, pool);
        break;
    case EFFECT_STEP:
        course_step(course, pool);
        break;
    case EFFECT_WATCH:
        course_watch(course, pool);
        break;
    case EFFECT_TELL:
        conductor_tell(course->conductor, pool->service);
        break;
    case EFFECT_PUBLISH:
    case EFFECT_SWAP:
        publish(course->conductor, step);
        break;
    case EFFECT_DRAIN:
        drain_watch(course->conductor->drain);
        break;
    case EFFECT_NONE:
        break;
    }
}

/* Is it one that goes on by itself? */
static bool begins(enum effect effect)
{
    switch (effect) {
    case EFFECT_AWAIT:
    case EFFECT_PAUSE:
    case EFFECT_TEST:
    case EFFECT_SHADOW:
    case EFFECT_HOLD:
    case EFFECT_CONFIRM:
    case EFFECT_STEP:
    case EFFECT_WATCH:
        return true;
    default:
        return false;
    }
}

static void pool_is_gone(struct step *step, struct pool *pool);

/* The members of an event that tells of it. */
static json_t *moved(const struct step *step, const struct pool *pool, const char *type)
{
    json_t *more = view_move(pool->deployment, step->record.why, &step->record.asker);
    if (strcmp(type, "watch.started") == 0)
        json_object_set_new(more, "seconds", json_real((double)pool->deployment->watch_ms / 1000));
    else if (strncmp(type, "watch.", strlen("watch.")) == 0)
        json_object_update_new(more, watch_view(step->course->conductor->watch, pool));
    return more;
}

/* What whoever asked is told: the deployment, and the number of the event before the first that came of it.
 */
static json_t *told(struct conductor *conductor, const struct pool *pool, uint64_t seq)
{
    json_t *deployment = view_deployment(conductor, pool, true);
    json_object_set_new(deployment, "seq", json_integer((json_int_t)seq));
    return deployment;
}

static void follow_event(struct step *step, const struct transition *row)
{
    struct course *course = step->course;
    uint64_t seq = event_log_last(course->conductor->options.events);
    struct pool *pool = registry_pool(course->conductor->options.registry, step->record.pool);
    log_info("%s: %s -> %s%s%s", pool->name, deployment_state_name(row->from), deployment_state_name(row->to),
             step->record.why == NULL ? "" : ": ", step->record.why == NULL ? "" : step->record.why);
    for (size_t i = 0; i < sizeof row->announce / sizeof row->announce[0]; i++) {
        if (row->announce[i] != NULL)
            announce(course->conductor, row->announce[i], pool, moved(step, pool, row->announce[i]));
    }
    /* Who asked for a swap is told when it is one. */
    if (step->done != NULL)
        answer_when_published(course->conductor, transition_publishes(row) ? step->record.world : 0,
                              step->done, step->arg, told(course->conductor, pool, seq));
    if (transition_publishes(row))
        remember_change(step, pool, row);
    /* A stopping daemon begins nothing: the next one takes it up. */
    for (size_t i = 0; i < EFFECTS_MAX; i++) {
        enum effect effect = row->effects[i];
        fault_die("effect", deployment_state_name(row->to));
        if (!begins(effect) || !course->conductor->stopping)
            carry_out(course, pool, effect, step);
    }
    modes_release(course, pool);
    if (pool->state == POOL_RETIRED && row->pool == MOVE_OUT) /* it had no instance to be torn down */
        pool_is_gone(step, pool);
    effects_finish(course->conductor);
}

static bool swap_is_published(const struct conductor *conductor, const struct pool *pool)
{
    const struct course *course = course_find((struct conductor *)conductor, pool->service->name);
    bool is_last = course != NULL && course->changed != NULL && strcmp(course->changed, pool->name) == 0;
    uint64_t version = is_last ? course->change_version : 1;
    return world_published(conductor->world) >= version;
}

char *failed_teardowns(const struct pool *pool)
{
    size_t failed = 0, tried = 0;
    for (size_t i = 0; i < pool->instance_count; i++) {
        failed += pool->instances[i].end == TEARDOWN_FAILED;
        tried += pool->instances[i].end != TEARDOWN_LEFT;
    }
    return failed == 0 ? NULL
                       : mem_printf("%zu of %zu teardowns failed: what they were to stop may still run; the "
                                    "events teardown.failed of %s say why",
                                    failed, tried, pool->name);
}

/* Another may have been swapped in while the pool before it drained. */
static char *standing_of(const struct pool *pool)
{
    const struct pool *live = pool->service->live;
    return live == NULL || live == pool ? mem_dup("live") : mem_printf("was live, as %s is now", live->name);
}

/* `old`: the pool before it; NULL: there was none, or nothing is known of it any more. */
static void finish(struct course *course, const struct deployment *deployment, const struct pool *old)
{
    char *failed = old == NULL ? NULL : failed_teardowns(old);
    char *standing = standing_of(deployment->pool), *why;
    if (deployment->replaces == NULL)
        why = mem_printf("%s; there was no pool before it", standing);
    else if (failed == NULL)
        why = mem_printf("%s; the pool before it is drained and torn down", standing);
    else
        why = mem_printf("%s; the pool before it is drained, but %s", standing, failed);
    step_event(course, deployment->pool->name, EVENT_OLD_RETIRED, why);
    free(why);
    free(standing);
    free(failed);
}

void effects_finish(struct conductor *conductor)
{
    struct registry *registry = conductor->options.registry;
    const struct deployment *deployment;
    TAILQ_FOREACH (deployment, &registry->finishing, of_finishing) {
        const struct pool *pool = deployment->pool;
        if (!swap_is_published(conductor, pool))
            continue;
        const struct pool *old =
            deployment->replaces == NULL ? NULL : registry_pool(registry, deployment->replaces);
        if (old == NULL || old->state == POOL_RETIRED)
            finish(course_of(conductor, pool->service->name), deployment, old);
    }
}

/* ---- pools and instances ---- */

static void follow_pool(struct step *step)
{
    struct course *course = step->course;
    struct conductor *conductor = course->conductor;
    const struct service *service = registry_service(conductor->options.registry, course->service);
    const struct pool *pool = service->running->pool;
    json_t *more =
        json_pack("{s:s, s:b, s:b, s:s*, s:o}", "release", pool->release, "hold", pool->deployment->hold,
                  "allow_untested", pool->deployment->allow_untested, "replaces", pool->deployment->replaces,
                  "asked_by", view_asker(&pool->deployment->asker));
    json_t *instances = json_array();
    for (size_t i = 0; i < pool->instance_count; i++)
        json_array_append_new(instances, json_string(pool->instances[i].address));
    json_object_set_new(more, "instances", instances);
    uint64_t seq = event_log_last(conductor->options.events);
    conductor_tell(conductor, service);
    bool launches = pool->deployment->state == DEPLOYMENT_LAUNCHING;
    if (launches)
        log_info("%s: launch.command starts release \"%s\"", pool->name, pool->release);
    else
        log_info("%s: staged with %zu instance%s, release \"%s\"", pool->name, pool->instance_count,
                 pool->instance_count == 1 ? "" : "s", pool->release);
    announce(conductor, "deployment.staged", pool, more);
    answer(step->done, step->arg, 202, told(conductor, pool, seq));
    if (conductor->stopping)
        return;
    if (launches)
        course_launch(course, pool);
    else
        course_await(course, pool);
}

static void follow_rotated(struct step *step)
{
    struct conductor *conductor = step->course->conductor;
    const struct pool *pool = registry_pool(conductor->options.registry, step->record.pool);
    const struct instance *instance = &pool->instances[step->record.instances[0]];
    log_info("%s: instance %s is %s rotation, as %s asked", pool->name, instance->address,
             step->record.out ? "out of" : "back in", step->record.asker.user);
    if (!step->record.out)
        health_enabled(conductor->health, instance);
    publish(conductor, step);
    answer_when_published(conductor, step->record.world, step->done, step->arg,
                          view_service(conductor, step->course->service));
}

static void note_drained(struct conductor *conductor, const struct pool *pool)
{
    size_t forced = 0;
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (pool->instances[i].state == INSTANCE_UP || pool->instances[i].state == INSTANCE_DRAINED ||
            pool->instances[i].state == INSTANCE_DOWN)
            return;
        forced += pool->instances[i].forced;
    }
    if (!pool->was_live)
        return;
    uint64_t now = clock_steady_ns();
    double seconds = now > pool->going_since_ns ? (double)(now - pool->going_since_ns) / 1e9 : 0;
    announce(conductor, "drain.finished", pool,
             json_pack("{s:s*, s:f, s:I}", "by", pool->replaced_by, "seconds", seconds, "forced",
                       (json_int_t)forced));
}

static void keep_counts(struct conductor *conductor, const struct pool *pool)
{
    struct counters_pool sum;
    counters_pool_sum(conductor->options.counters, pool->slot, &sum);
    recent_gone(conductor->recent, pool->service->name, &sum);
    if (!pool->was_live && sum.requests == 0)
        return;
    past_add(&conductor->past, pool->service->name, pool->name, &sum);
}

/* The world is without the pool; it gives its slots back with that version. */
static void pool_is_gone(struct step *step, struct pool *pool)
{
    struct conductor *conductor = step->course->conductor;
    struct service *service = pool->service;
    char *forgotten;
    keep_counts(conductor, pool);
    slotting_take_back(conductor, pool, step->record.world);
    char *failed = failed_teardowns(pool);
    if (failed == NULL)
        log_info("%s: every instance is torn down; the pool is retired", pool->name);
    else
        log_warn("%s: the pool is retired, but %s", pool->name, failed);
    free(failed);
    effects_finish(conductor);
    while ((forgotten = registry_forget(conductor->options.registry, service, JOURNAL_HISTORY)) != NULL) {
        archive_drop(conductor->options.archive, forgotten);
        free(forgotten);
    }
}

static void leave_world(struct step *step, struct pool *pool)
{
    publish(step->course->conductor, step);
    pool_is_gone(step, pool);
}

static void announce_retired(struct conductor *conductor, const struct pool *pool,
                             const struct instance *instance)
{
    announce(conductor, "instance.retired", pool,
             json_pack("{s:s, s:s, s:s, s:b}", "instance", instance->address, "reason",
                       retire_reason_names[pool->reason], "drained", instance->forced ? "forced" : "clean",
                       "left_alone", instance->end == TEARDOWN_LEFT));
}

static void follow_retired(struct step *step)
{
    struct conductor *conductor = step->course->conductor;
    struct pool *pool = registry_pool(conductor->options.registry, step->record.pool);
    note_drained(conductor, pool);
    for (size_t i = 0; i < step->record.instance_count; i++) {
        const struct instance *instance = &pool->instances[step->record.instances[i]];
        log_info("%s: instance %s is retired (%s)%s", pool->name, instance->address,
                 instance->forced ? "at its deadline" : "idle",
                 step->record.left ? "; it serves elsewhere and is left alone" : "");
        announce_retired(conductor, pool, instance);
        if (step->record.left)
            processes_drop(conductor->processes, instance->id);
        else
            teardown_order(conductor->teardown, pool, step->record.instances[i]);
    }
    if (pool->state == POOL_RETIRED)
        leave_world(step, pool);
    drain_go_on(conductor->drain);
}

static void follow_torn_down(struct step *step)
{
    struct conductor *conductor = step->course->conductor;
    struct pool *pool = registry_pool(conductor->options.registry, step->record.pool);
    announce(conductor, step->record.end == TEARDOWN_DONE ? "teardown.finished" : "teardown.failed", pool,
             json_incref(step->data));
    if (pool->state == POOL_RETIRED)
        leave_world(step, pool);
}

void effects_follow(struct step *step, const struct transition *row)
{
    switch (step->record.type) {
    case RECORD_POOL:
        follow_pool(step);
        break;
    case RECORD_EVENT:
        follow_event(step, row);
        break;
    case RECORD_ADDED:
        launching_follow(step);
        break;
    case RECORD_ROTATED:
        follow_rotated(step);
        break;
    case RECORD_RETIRED:
        follow_retired(step);
        break;
    case RECORD_TORN_DOWN:
        follow_torn_down(step);
        break;
    case RECORD_MODE:
        modes_follow(step);
        break;
    case RECORD_WORLD: /* goes past the queues: adopt.c */
    case RECORD_TYPES:
        abort();
    }
}

/* ---- after a start ---- */

static void resume_pool(struct conductor *conductor, const struct pool *pool)
{
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        if (instance->pid != 0 && instance->state != INSTANCE_TORN_DOWN)
            processes_recover(conductor->processes, instance->id, instance->pid, instance->pid_start);
        if (instance->state != INSTANCE_RETIRED)
            continue;
        /* The event may have been lost: it is not synced, and part of the teardown. */
        announce_retired(conductor, pool, instance);
        teardown_order(conductor->teardown, pool, i);
    }
}

/* What the control before this one could not tell of any more is told when it is published. */
static void resume_change(void *arg, const struct untold *untold)
{
    struct conductor *conductor = arg;
    const struct registry *registry = conductor->options.registry;
    struct course *course = course_of(conductor, untold->service->name);
    uint64_t now_ns = clock_mono_ns(), steady_ns = clock_steady_ns();
    uint64_t since_ns = registry_pool(registry, untold->changed)->deployment->since_ns;
    uint64_t passed_ns = steady_ns > since_ns ? steady_ns - since_ns : 0;
    set_change(course, untold->changed, untold->live, untold->leaves);
    /* No record keeps the version in which a pool was armed; this one is not below it. */
    course->change_version =
        untold->leaves == NULL ? registry->world : registry_pool(registry, untold->leaves)->going_since_world;
    course->change_decided_ns = passed_ns < now_ns ? now_ns - passed_ns : 0;
    course->change_written_ns = course->change_decided_ns;
}

/* So is how a deployment has ended, as its timeline has it: of who asked for it that is the name. */
static void tell_end(void *arg, const struct pool *pool, const char *type)
{
    const struct deployment *deployment = pool->deployment;
    const struct moment *last = &deployment->timeline[deployment->timeline_count - 1];
    struct asker asker = {.uid = -1};
    if (last->by != NULL)
        snprintf(asker.user, sizeof asker.user, "%s", last->by);
    announce(arg, type, pool, view_move(deployment, last->why, &asker));
}

/* Nobody can decide anything for a service that is not there: what is live stays, the rest goes. */
static void give_up(struct course *course, const struct deployment *deployment)
{
    bool is_live = deployment_state_is_watched(deployment->state);
    step_event(course, deployment->pool->name, is_live ? EVENT_PROMOTED : EVENT_ABORTED,
               "the service is not in the config any more");
}

static void resume_deployment(struct conductor *conductor, struct service *service)
{
    struct course *course = course_of(conductor, service->name);
    const struct pool *pool = service->running->pool;
    if (conductor_settings(conductor, service->name) == NULL)
        give_up(course, service->running);
    else if (service->running->state == DEPLOYMENT_LAUNCHING)
        step_event(course, pool->name, EVENT_LAUNCH_FAILED,
                   "the daemon was started again while launch.command ran; what it had printed is torn down, "
                   "what else it had started is not known");
    else if (service->running->state == DEPLOYMENT_PAUSING)
        step_event(course, pool->name, EVENT_COMMAND_FAILED, PAUSING_RESTARTED);
    else
        step_event(course, pool->name, EVENT_RESTARTED, "the daemon was started again");
}

void effects_resume(struct conductor *conductor)
{
    struct registry *registry = conductor->options.registry;
    struct service *service, *next;
    untold_find(conductor->options.events, registry,
                &(struct untold_listener){.changed = resume_change, .ended = tell_end, .arg = conductor});
    HASH_ITER(hh, registry->services, service, next)
    {
        const struct pool *pool;
        TAILQ_FOREACH (pool, &service->pools, of_service) {
            if (pool->state != POOL_RETIRED)
                resume_pool(conductor, pool);
        }
        if (service->running != NULL)
            resume_deployment(conductor, service);
    }
    modes_resume(conductor);
    drain_watch(conductor->drain);
    effects_finish(conductor);
}
