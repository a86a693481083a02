/* steps: the queue of a service. Invariant: `current` is the one step whose record is on its way to the disk,
 * and no other step of the service is looked at until it is there. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "control/conduct.h"
#include "deploy/record_names.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define RETRY_MS 1000
#define WHY_MAX (REASON_MAX + 1024) /* what is added to a reason takes nothing from it */

static void take_turn(struct course *course);

/* ---- answers ---- */

void answer(outcome_fn done, void *arg, unsigned status, json_t *body)
{
    struct outcome outcome = {.status = status, .body = body, .detail = ""};
    if (done != NULL)
        done(arg, &outcome);
    json_decref(body);
}

void refuse(outcome_fn done, void *arg, unsigned status, const char *format, ...)
{
    va_list args;
    struct err err;
    va_start(args, format);
    vsnprintf(err.text, sizeof err.text, format, args);
    va_end(args);
    struct outcome outcome = {.status = status, .detail = err.text};
    if (done != NULL)
        done(arg, &outcome);
}

/* ---- making steps ---- */

struct course *course_find(struct conductor *conductor, const char *service)
{
    struct course *course;
    HASH_FIND_STR(conductor->courses, service, course);
    return course;
}

struct course *course_of(struct conductor *conductor, const char *service)
{
    struct course *course = course_find(conductor, service);
    if (course != NULL)
        return course;
    course = mem_zero(1, sizeof *course);
    course->conductor = conductor;
    course->service = mem_dup(service);
    TAILQ_INIT(&course->steps);
    LIST_INIT(&course->remains);
    LIST_INIT(&course->launchings);
    LIST_INIT(&course->pausings);
    deadline_init(&course->shadow, conductor->options.loop, course_shadow_is_over);
    deadline_init(&course->hold, conductor->options.loop, course_hold_is_over);
    deadline_init(&course->warm, conductor->options.loop, course_look_at_warmth);
    HASH_ADD_KEYPTR(hh, conductor->courses, course->service, strlen(course->service), course);
    return course;
}

static void on_retry(struct deadline *deadline)
{
    step_submit(mem_container(deadline, struct step, retry));
}

struct step *step_new(struct course *course, enum record_type type, const char *pool)
{
    struct step *step = mem_zero(1, sizeof *step);
    step->course = course;
    step->asker.uid = -1;
    step->decided_ns = clock_mono_ns();
    record_init(&step->record, type, pool);
    deadline_init(&step->retry, course->conductor->options.loop, on_retry);
    return step;
}

struct step *step_command(struct course *course, enum record_type type, const struct asker *asker,
                          outcome_fn done, void *arg)
{
    struct step *step = step_new(course, type, NULL);
    step->done = done;
    step->arg = arg;
    if (asker != NULL) {
        size_t size;
        char *user = utf8_tail(str_of(asker->user), sizeof asker->user - 1, false, &size);
        step->asker = *asker;
        snprintf(step->asker.user, sizeof step->asker.user, "%s", user);
        free(user);
    }
    return step;
}

void record_set_why(struct record *record, const char *why)
{
    size_t size;
    free(record->why);
    record->why = why == NULL ? NULL : utf8_tail(str_of(why), WHY_MAX, false, &size);
}

static const struct deployment *deployment_of(const struct step *step)
{
    return registry_pool(step->course->conductor->options.registry, step->record.pool)->deployment;
}

void step_event(struct course *course, const char *pool, enum deployment_event event, const char *why)
{
    struct step *step = step_new(course, RECORD_EVENT, pool);
    const struct deployment *deployment = deployment_of(step);
    step->found_in = deployment->state;
    step->found_share = deployment->canary.taken;
    step->record.event = event;
    record_set_why(&step->record, why);
    step_submit(step);
}

bool step_refuse(struct step *step, unsigned status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(step->err.text, sizeof step->err.text, format, args);
    va_end(args);
    step->status = status;
    return false;
}

void step_put_off(struct step *step, unsigned ms)
{
    deadline_set(&step->retry, ms);
}

static void step_end(struct step *step, bool used)
{
    if (step->release != NULL)
        step->release(step, used);
    deadline_clear(&step->retry);
    record_free(&step->record);
    free(step);
}

void step_reject(struct step *step)
{
    if (step->done != NULL)
        refuse(step->done, step->arg, step->status, "%s", step->err.text);
    step_end(step, false);
}

/* ---- their turn ---- */

/* Will the pool be gone with this record? */
static bool ends_pool(const struct pool *pool, const struct record *record)
{
    size_t gone = record->type == RECORD_TORN_DOWN || record->left ? record->instance_count : 0;
    for (size_t i = 0; i < pool->instance_count; i++)
        gone += pool->instances[i].state == INSTANCE_TORN_DOWN;
    return gone == pool->instance_count;
}

static uint64_t pinned_ms(const struct config_service *settings)
{
    return settings->pin == CONFIG_PIN_COOKIE ? settings->pin_duration_ms : 0;
}

/* How what leaves drains: a pool that was given up keeps nobody's session. */
static struct drain_times drain_times(const struct config_service *settings, const struct transition *row)
{
    bool is_given_up = row->pool == MOVE_OUT || row->pool == MOVE_BACK_OUT;
    return (struct drain_times){.requests_ms = settings->drain.requests_ms,
                                .streams_ms = settings->drain.streams_ms,
                                .websockets_ms = settings->drain.websockets_ms,
                                .tunnels_ms = settings->drain.tunnels_ms,
                                .spread_ms = settings->drain.spread_ms,
                                .pinned_ms = is_given_up ? 0 : pinned_ms(settings)};
}

static bool ends_with(const struct registry *registry, const struct record *record)
{
    return (record->type == RECORD_RETIRED || record->type == RECORD_TORN_DOWN) &&
           ends_pool(registry_pool(registry, record->pool), record);
}

/* Numbers the world that follows, and adds what a swap needs: as late as can be, so that it is the config of
 * that moment. */
static void complete(struct step *step)
{
    struct conductor *conductor = step->course->conductor;
    const struct registry *registry = conductor->options.registry;
    struct record *record = &step->record;
    const struct config_service *settings = conductor_settings(conductor, step->course->service);
    const struct transition *row = record->type == RECORD_EVENT
                                       ? pool_transition(registry_pool(registry, record->pool), record->event)
                                       : NULL;
    bool moves = row != NULL && transition_publishes(row);
    if (moves || record->type == RECORD_ROTATED || ends_with(registry, record))
        record->world = world_next(conductor->world);
    if (moves && settings != NULL)
        record->drain = drain_times(settings, row);
}

/* The table would take the end of one share for that of the next, and what a canary's watch has found for
 * what was found after the swap. */
static bool check_found(const struct step *step, struct err *err)
{
    if (step->record.type != RECORD_EVENT)
        return true;
    const struct deployment *deployment = deployment_of(step);
    return (deployment->state == step->found_in && deployment->canary.taken == step->found_share) ||
           err_set(
               err,
               "\"%s\" was found while deployment %s was %s, with %zu shares taken, and it is %s, with %zu",
               deployment_event_name(step->record.event), step->record.pool,
               deployment_state_name(step->found_in), step->found_share,
               deployment_state_name(deployment->state), deployment->canary.taken);
}

static bool is_still_allowed(const struct step *step)
{
    struct err err;
    if (registry_allows(step->course->conductor->options.registry, &step->record, &err) &&
        check_found(step, &err))
        return true;
    log_debug("dropped, since things have moved on: %s", err.text);
    return false;
}

static bool is_ready(struct step *step)
{
    if (step->prepare != NULL ? !step->prepare(step) : !is_still_allowed(step))
        return false;
    complete(step);
    return true;
}

/* "no space" must never become a pass: what cannot be recorded has not happened. */
static void fail_closed(struct step *step, const char *failure)
{
    enum deployment_event *event = &step->record.event;
    if (step->record.type != RECORD_EVENT)
        return;
    if (*event == EVENT_GATE_PASSED)
        *event = EVENT_GATE_FAILED;
    else if (*event == EVENT_SHADOW_PASSED)
        *event = EVENT_SHADOW_FAILED;
    else if (*event == EVENT_CONFIRMED)
        *event = EVENT_UNCONFIRMED;
    else
        return;
    step->record.world = 0;
    record_set_why(&step->record, failure);
}

static void not_recorded(struct step *step, int error)
{
    char *failure = journal_failure(step->course->conductor->options.journal, error);
    if (step->done != NULL) {
        refuse(step->done, step->arg, 507, "%s, then try again; nothing was changed", failure);
        step_end(step, false);
    } else {
        log_error("%s", failure);
        fail_closed(step, failure);
        deadline_set(&step->retry, RETRY_MS);
    }
    free(failure);
}

static void recorded(struct step *step)
{
    const struct transition *row;
    struct err err;
    if (!registry_apply(step->course->conductor->options.registry, &step->record, &row, &err)) {
        log_error("a record that was allowed is not: %s", err.text);
        abort();
    }
    world_stir(step->course->conductor->world, step->course->conductor->config, step->course->service);
    effects_follow(step, row);
    fault_die("record.followed", record_type_names[step->record.type]);
    step_end(step, true);
}

static void on_durable(void *arg, struct record *record, int error)
{
    struct step *step = arg;
    struct course *course = step->course;
    bool numbered = record->world != 0;
    if (error == 0)
        recorded(step);
    else
        not_recorded(step, error);
    course->current = NULL;
    course->conductor->numbered -= numbered;
    take_turn(course);
}

/* A step that is refused or dropped makes room for the next at once. */
static void take_turn(struct course *course)
{
    struct step *step;
    if (course->turning)
        return;
    course->turning = true;
    while (course->current == NULL && (step = TAILQ_FIRST(&course->steps)) != NULL) {
        TAILQ_REMOVE(&course->steps, step, entry);
        if (is_ready(step)) {
            course->current = step;
            course->conductor->numbered += step->record.world != 0;
            journal_append(course->conductor->options.journal, &step->record, on_durable, step);
            continue;
        }
        if (!deadline_is_set(&step->retry))
            step_reject(step);
    }
    course->turning = false;
}

void step_submit(struct step *step)
{
    TAILQ_INSERT_TAIL(&step->course->steps, step, entry);
    take_turn(step->course);
}
