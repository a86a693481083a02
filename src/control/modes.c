/* modes: whether a service is served, waits, or is turned away. A mode outlives every role: it is a record,
 * and part of the world. Deployments go on behind it. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/conduct.h"

#include <stdlib.h>

#define NS_PER_S 1e9
#define NS_PER_MS 1000000

/* What a step that changes a mode is about. */
struct change {
    const char *event;
    uint64_t wait_ms;   /* of a pause: for the service to be quiet */
    uint64_t since_ns;  /* of an end that nobody asked for: of which pause; 0: of any */
    uint64_t length_ms; /* and of how long a one: it may have been prolonged meanwhile */
    bool owned;         /* it is a deployment's */
    bool prolongs;      /* the pause that is */
    enum mode_kind before;
    uint64_t before_ns; /* since when */
};

/* A pause whose answer waits until the service is quiet. */
struct asked {
    struct conductor *conductor;
    char *service;
    uint64_t began_ms;
    outcome_fn done;
    void *arg;
};

static const struct mode *mode_of(const struct step *step)
{
    static const struct mode serving;
    const struct course *course = step->course;
    const struct service *service = registry_service(course->conductor->options.registry, course->service);
    return service == NULL ? &serving : &service->mode;
}

static void release(struct step *step, bool used)
{
    (void)used;
    free(step->data);
}

static struct change *begin(struct step *step, enum mode_kind kind, const char *event)
{
    struct change *change = mem_zero(1, sizeof *change);
    change->event = event;
    step->data = change;
    step->release = release;
    step->record.service = mem_dup(step->course->service);
    step->record.mode.kind = kind;
    step->record.asker = step->asker;
    return change;
}

/* What is known before the record changes it goes into the event. */
static bool number(struct step *step)
{
    struct change *change = step->data;
    change->before = mode_of(step)->kind;
    change->before_ns = mode_of(step)->since_ns;
    change->owned = change->owned || mode_of(step)->deployment != NULL;
    step->record.world = world_next(step->course->conductor->world);
    return true;
}

/* What is to be ended is not so; what is so has its own end. */
static bool refuse_end(struct step *step, const char *what)
{
    const char *service = step->course->service;
    switch (mode_of(step)->kind) {
    case MODE_PAUSED:
        return step_refuse(step, 409, "service \"%s\" is not %s but paused; `upswap resume %s` ends that",
                           service, what, service);
    case MODE_MAINTENANCE:
        return step_refuse(
            step, 409, "service \"%s\" is not %s but in maintenance; `upswap maintenance %s off` ends that",
            service, what, service);
    default:
        return step_refuse(step, 409, "service \"%s\" is not %s: it serves", service, what);
    }
}

/* ---- maintenance ---- */

static bool prepare_maintenance(struct step *step)
{
    if (step->record.mode.kind == MODE_SERVING && mode_of(step)->kind != MODE_MAINTENANCE)
        return refuse_end(step, "in maintenance");
    const struct service *service =
        registry_service(step->course->conductor->options.registry, step->course->service);
    const struct deployment *running = service == NULL ? NULL : service->running;
    if (step->record.mode.kind == MODE_SERVING && running != NULL && deployment_pauses(running))
        return step_refuse(
            step, 409,
            "deployment %s counts on it that nothing is in flight until its swap; wait for its end",
            running->pool->name);
    return number(step);
}

/* It is shown in pages and logs. */
static bool check_message(const char *message, struct err *err)
{
    if (message != NULL && strlen(message) > MODE_MESSAGE_MAX)
        return err_set(err, "message: it has more than %d bytes; shorten it", MODE_MESSAGE_MAX);
    for (const char *at = message; at != NULL && *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return err_set(err, "message: it must be one line, without control characters");
    }
    return true;
}

void conductor_maintenance(struct conductor *conductor, const char *service, bool on, const char *message,
                           const struct asker *asker, outcome_fn done, void *arg)
{
    struct err err;
    if (!check_message(message, &err)) {
        refuse(done, arg, 422, "%s", err.text);
        return;
    }
    struct step *step = conductor_command(conductor, service, RECORD_MODE, asker, done, arg);
    if (step == NULL)
        return;
    begin(step, on ? MODE_MAINTENANCE : MODE_SERVING, on ? "maintenance.started" : "maintenance.ended");
    if (on && message != NULL && message[0] != '\0')
        step->record.mode.message = mem_dup(message);
    step->prepare = prepare_maintenance;
    step_submit(step);
}

/* ---- pauses ---- */

static bool is_owned(struct step *step)
{
    const struct mode *mode = mode_of(step);
    if (mode->kind != MODE_PAUSED || mode->deployment == NULL)
        return false;
    step_refuse(step, 409, "deployment %s has paused service \"%s\" until its swap; abort it, or wait for it",
                mode->deployment, step->course->service);
    return true;
}

/* Dropped where the deployment has moved on. */
static bool is_needed(struct step *step)
{
    const struct pool *pool =
        registry_pool(step->course->conductor->options.registry, step->record.mode.deployment);
    return pool != NULL && deployment_pauses(pool->deployment);
}

/* Of a pause. */
static uint64_t passed_ms(const struct mode *mode)
{
    uint64_t now_ns = clock_steady_ns();
    return now_ns > mode->since_ns ? (now_ns - mode->since_ns) / NS_PER_MS : 0;
}

/* Whoever has paused by hand ends that pause, no deployment does. */
static bool is_by_hand(struct step *step)
{
    const struct mode *mode = mode_of(step);
    if (mode->kind != MODE_PAUSED || mode->deployment != NULL)
        return false;
    step_event(
        step->course, step->record.mode.deployment, EVENT_COMMAND_FAILED,
        "the service is paused by hand, and a deployment does not end that pause; `upswap resume` it, then "
        "stage again");
    return true;
}

/* It stays the pause that it was, with who waits for its quiet, and ends at the later of the two ends. It has
 * no traffic by which to tell a rate. */
static void prolong(struct step *step, const struct mode *before)
{
    struct change *change = step->data;
    struct mode *mode = &step->record.mode;
    uint64_t length_ms = passed_ms(before) + mode->length_ms;
    change->prolongs = true;
    step->record.asker = before->asker;
    mode->since_ns = before->since_ns;
    mode->length_ms = length_ms > before->length_ms ? length_ms : before->length_ms;
    mode->rate = before->rate;
}

static bool prepare_pause(struct step *step)
{
    const struct change *change = step->data;
    if (change->owned ? !is_needed(step) || is_by_hand(step) : is_owned(step))
        return false;
    struct conductor *conductor = step->course->conductor;
    const struct service *service = registry_service(conductor->options.registry, step->course->service);
    struct mode *mode = &step->record.mode;
    if (mode_of(step)->kind == MODE_MAINTENANCE)
        return step_refuse(step, 409,
                           "service \"%s\" is in maintenance, so nothing reaches it; end that first",
                           step->course->service);
    mode->slot = pauses_slot(conductor->pauses, service);
    if (mode->slot == 0)
        return step_refuse(step, 409, "%d services are paused already; resume one of them", MODE_SLOTS - 1);
    if (mode_of(step)->kind == MODE_PAUSED)
        prolong(step, mode_of(step));
    else
        mode->rate = service == NULL ? 0 : recent_rate(conductor->recent, service);
    return number(step);
}

void conductor_pause(struct conductor *conductor, const char *service, const struct pause_request *request,
                     const struct asker *asker, outcome_fn done, void *arg)
{
    struct step *step = conductor_command(conductor, service, RECORD_MODE, asker, done, arg);
    if (step == NULL)
        return;
    begin(step, MODE_PAUSED, "pause.started")->wait_ms = request->wait_ms;
    step->record.mode.length_ms = request->max_ms;
    step->prepare = prepare_pause;
    step_submit(step);
}

/* Dropped where it is another pause by now, or a longer one. */
static bool prepare_resume(struct step *step)
{
    const struct change *change = step->data;
    const struct mode *mode = mode_of(step);
    if (change->since_ns == 0 && is_owned(step))
        return false;
    bool is_other = change->since_ns != mode->since_ns || change->length_ms != mode->length_ms;
    if (mode->kind != MODE_PAUSED || (change->since_ns != 0 && is_other))
        return refuse_end(step, "paused");
    return number(step);
}

void conductor_resume(struct conductor *conductor, const char *service, const struct asker *asker,
                      outcome_fn done, void *arg)
{
    struct step *step = conductor_command(conductor, service, RECORD_MODE, asker, done, arg);
    if (step == NULL)
        return;
    begin(step, MODE_SERVING, "pause.ended");
    record_set_why(&step->record, "resumed by hand");
    step->prepare = prepare_resume;
    step_submit(step);
}

/* Nobody has asked for it, and so nobody is told. */
static void end_pause(struct course *course, const struct service *service, const char *why)
{
    struct step *step = step_new(course, RECORD_MODE, NULL);
    struct change *change = begin(step, MODE_SERVING, "pause.ended");
    change->since_ns = service->mode.since_ns;
    change->length_ms = service->mode.length_ms;
    record_set_why(&step->record, why);
    step->prepare = prepare_resume;
    step_submit(step);
}

void modes_over(void *arg, const struct service *service)
{
    end_pause(course_of(arg, service->name), service, "it has lasted as long as it may");
}

/* ---- pauses of deployments ---- */

void modes_pause(struct course *course, const struct pool *pool)
{
    struct step *step = step_new(course, RECORD_MODE, NULL);
    begin(step, MODE_PAUSED, "pause.started")->owned = true;
    step->record.asker = pool->deployment->asker;
    step->record.mode.length_ms = pool->deployment->pause_ms;
    step->record.mode.deployment = mem_dup(pool->name);
    step->prepare = prepare_pause;
    step_submit(step);
}

static bool is_left(const struct service *service)
{
    const struct mode *mode = &service->mode;
    const struct deployment *running = service->running;
    return mode->kind == MODE_PAUSED && mode->deployment != NULL &&
           (running == NULL || !deployment_pauses(running) ||
            strcmp(running->pool->name, mode->deployment) != 0);
}

static void end_left(struct course *course, const struct service *service)
{
    char *why;
    if (!is_left(service))
        return;
    const struct pool *pool = registry_pool(course->conductor->options.registry, service->mode.deployment);
    why = mem_printf("deployment %s is %s", service->mode.deployment,
                     pool == NULL ? "gone" : deployment_state_shown(pool->deployment->state));
    end_pause(course, service, why);
    free(why);
}

void modes_release(struct course *course, const struct pool *pool)
{
    end_left(course, pool->service);
}

void modes_resume(struct conductor *conductor)
{
    const struct service *service = conductor->options.registry->services;
    for (; service != NULL; service = service->hh.next)
        end_left(course_of(conductor, service->name), service);
}

/* ---- quiet ---- */

static json_t *view_rest(struct asked *asked, bool quiet, const struct pauses_rest *rest)
{
    json_t *body = view_service(asked->conductor, asked->service);
    json_object_set_new(body, "quiet", json_boolean(quiet));
    json_object_set_new(body, "in_flight", json_integer((json_int_t)rest->requests));
    json_object_set_new(body, "lasting", json_integer((json_int_t)rest->lasting));
    return body;
}

static void on_quiet(void *arg, enum quiet_end how, const struct pauses_rest *rest)
{
    struct asked *asked = arg;
    double seconds = (double)(clock_mono_ms() - asked->began_ms) / 1e3;
    if (how == QUIET_REACHED) {
        log_info("%s: quiet after %.3f s", asked->service, seconds);
        event_log_add(asked->conductor->options.events, "pause.quiet", asked->service, NULL,
                      json_pack("{s:f, s:I}", "seconds", seconds, "lasting", (json_int_t)rest->lasting));
    }
    if (how == QUIET_OVER)
        refuse(asked->done, asked->arg, 409,
               "the pause of service \"%s\" was ended before it was quiet; pause it again", asked->service);
    else
        answer(asked->done, asked->arg, 200, view_rest(asked, how == QUIET_REACHED, rest));
    free(asked->service);
    free(asked);
}

static void await_quiet(struct step *step, const struct service *service)
{
    const struct change *change = step->data;
    struct asked *asked = mem_alloc(sizeof *asked);
    *asked = (struct asked){.conductor = step->course->conductor,
                            .service = mem_dup(service->name),
                            .began_ms = clock_mono_ms(),
                            .done = step->done,
                            .arg = step->arg};
    quiet_await(asked->conductor, service, step->record.world, change->wait_ms, on_quiet, asked);
}

/* ---- what follows ---- */

/* From its event on. */
static uint64_t left_ms(const struct change *change, const struct mode *mode)
{
    uint64_t passed = change->prolongs ? passed_ms(mode) : 0;
    return mode->length_ms > passed ? mode->length_ms - passed : 0;
}

static void announce(const struct step *step, const struct mode *mode)
{
    const struct change *change = step->data;
    const struct record *record = &step->record;
    struct course *course = step->course;
    json_t *more = view_cause(record->why, change->prolongs ? &step->asker : &record->asker);
    if (mode->message != NULL)
        json_object_set_new(more, "message", view_text(mode->message));
    if (mode->kind == MODE_PAUSED)
        json_object_set_new(more, "max", json_real((double)left_ms(change, mode) / 1e3));
    else if (change->before == MODE_PAUSED && mode->since_ns > change->before_ns)
        json_object_set_new(more, "seconds",
                            json_real((double)(mode->since_ns - change->before_ns) / NS_PER_S));
    log_info("%s: %s%s%s", course->service, change->event, record->why == NULL ? "" : ": ",
             record->why == NULL ? "" : record->why);
    event_log_add(course->conductor->options.events, change->event, course->service, mode->deployment, more);
}

void modes_follow(struct step *step)
{
    struct course *course = step->course;
    struct conductor *conductor = course->conductor;
    const struct service *service = registry_service(conductor->options.registry, course->service);
    announce(step, &service->mode);
    conductor_publish(conductor, service, step->record.world, step->decided_ns);
    const struct change *change = step->data;
    if (change->owned)
        pausing_follow(course, step->record.world);
    if (service->mode.kind == MODE_PAUSED && !change->owned)
        await_quiet(step, service);
    else
        answer_when_published(conductor, step->record.world, step->done, step->arg,
                              view_service(conductor, course->service));
}
