/* stage: the command that begins a deployment. Everything that can be told at once is told before the record
 * is written, as a refusal with its reason: names are resolved first, once, without anybody waiting for it
 * but the one who asked. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/conduct.h"
#include "control/sockaddr.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_MS 5
#define PASSING_MS 1000

/* The request, kept until its step has its turn. */
struct stage {
    char **instances;
    char **resolved; /* IP:PORT */
    int64_t *pids;
    uint32_t *weights;
    int *pidfds; /* -1: none */
    size_t count;
    char *release;
    bool launch;
    bool hold, allow_untested;
    bool has_watch; /* else as configured */
    uint64_t watch_ms;
    struct canary canary;
    char **pause_with;
    size_t pause_with_count;
    uint64_t pause_ms;
    bool untested;            /* there is no suite */
    bool slotted;             /* the record's pool has slots */
    uint64_t passing_till_ms; /* until when a teardown that passes by itself is waited for; 0: none was met */
};

static struct stage *stage_new(const struct stage_request *request)
{
    struct stage *stage = mem_zero(1, sizeof *stage);
    stage->count = request->instance_count;
    stage->instances = mem_zero(stage->count, sizeof *stage->instances);
    stage->resolved = mem_zero(stage->count, sizeof *stage->resolved);
    stage->pids = mem_zero(stage->count, sizeof *stage->pids);
    stage->weights = mem_zero(stage->count, sizeof *stage->weights);
    stage->pidfds = mem_zero(stage->count, sizeof *stage->pidfds);
    for (size_t i = 0; i < stage->count; i++) {
        stage->instances[i] = mem_dup(request->instances[i].address);
        stage->pids[i] = request->instances[i].pid;
        stage->weights[i] = request->instances[i].weight;
        stage->pidfds[i] = -1;
    }
    stage->release = mem_dup(request->release);
    stage->launch = request->launch;
    stage->hold = request->hold;
    stage->allow_untested = request->allow_untested;
    stage->has_watch = request->has_watch;
    stage->watch_ms = request->watch_ms;
    stage->canary = request->canary;
    stage->pause_ms = request->pause_ms;
    stage->pause_with_count = request->pause_with_count;
    stage->pause_with = mem_zero(stage->pause_with_count, sizeof *stage->pause_with);
    for (size_t i = 0; i < stage->pause_with_count; i++)
        stage->pause_with[i] = mem_dup(request->pause_with[i]);
    return stage;
}

/* The processes are held from here on, or let go where the pool came to nothing. */
static void release(struct step *step, bool used)
{
    struct stage *stage = step->data;
    struct conductor *conductor = step->course->conductor;
    const struct service *service = registry_service(conductor->options.registry, step->course->service);
    for (size_t i = 0; i < stage->count; i++) {
        if (stage->pidfds[i] >= 0 && used)
            processes_hold(conductor->processes, service->running->pool->instances[i].id, stage->pidfds[i]);
        else if (stage->pidfds[i] >= 0)
            close(stage->pidfds[i]);
        free(stage->instances[i]);
        free(stage->resolved[i]);
    }
    if (stage->slotted && !used)
        slotting_take_back(conductor, step->record.fresh, 0);
    for (size_t i = 0; i < stage->pause_with_count; i++)
        free(stage->pause_with[i]);
    free(stage->pause_with);
    free(stage->instances);
    free(stage->resolved);
    free(stage->pids);
    free(stage->weights);
    free(stage->pidfds);
    free(stage->release);
    free(stage);
}

static bool check_addresses(struct step *step, const struct stage *stage)
{
    if (stage->count == 0 && !stage->launch)
        return step_refuse(step, 422, "instances: name at least one HOST:PORT");
    for (size_t i = 0; i < stage->count; i++) {
        struct address address;
        struct err err;
        if (!address_parse_instance(str_of(stage->instances[i]), &address, &err))
            return step_refuse(step, 422, "instances: %s", err.text);
        const struct config_service *settings =
            conductor_settings(step->course->conductor, step->course->service);
        if (settings != NULL && !config_can_verify(settings, stage->instances[i], &err))
            return step_refuse(step, 422, "instances: %s", err.text);
    }
    return true;
}

/* By what they resolve to, so that two spellings of one address are found too. */
static bool check_twins(struct step *step, const struct stage *stage)
{
    for (size_t i = 0; i < stage->count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(stage->resolved[i], stage->resolved[k]) != 0)
                continue;
            if (strcmp(stage->instances[i], stage->instances[k]) == 0)
                return step_refuse(step, 422, "instances: \"%s\" is named twice; name each instance once",
                                   stage->instances[i]);
            return step_refuse(step, 422,
                               "instances: \"%s\" and \"%s\" are one and the same; name each instance once",
                               stage->instances[k], stage->instances[i]);
        }
    }
    return true;
}

/* As a pool that holds an address and keeps it. */
static bool stays(void *arg, const struct pool *pool)
{
    return pool->state != POOL_DRAINING && conductor_settings(arg, pool->service->name) != NULL;
}

/* Is all that is left of its teardown to write down that it is over? So it is with an instance that will be
 * left alone, since its address serves elsewhere, and with one that never served anybody, and that nothing
 * will stop. */
static bool is_passing(struct conductor *conductor, const struct pool *pool, const struct instance *instance)
{
    const struct config_service *settings = conductor_settings(conductor, pool->service->name);
    if (registry_shares_address(conductor->options.registry, instance, stays, conductor))
        return true;
    return !pool->was_live && (settings == NULL || (settings->teardown.command.count == 0 &&
                                                    (instance->pid == 0 || settings->teardown.signal == 0)));
}

/* So who stages an address again right after its pool was rejected is not refused. False: it takes too long.
 */
static bool await_passing(struct step *step, uint64_t *till_ms)
{
    uint64_t now_ms = clock_mono_ms();
    if (*till_ms == 0)
        *till_ms = now_ms + PASSING_MS;
    if (now_ms >= *till_ms)
        return false;
    step_put_off(step, LOOK_MS);
    return true;
}

bool stage_may_take(struct step *step, const struct instance *asked, uint64_t *till_ms, struct err *err)
{
    struct conductor *conductor = step->course->conductor;
    const struct pool *pool;
    const char *own = sockets_reached(conductor->options.sockets, asked->resolved, SOCKETS_ALL);
    if (own != NULL)
        return err_set(err,
                       "\"%s\" is upswap itself, which listens on %s; name the address where the app listens",
                       asked->address, own);
    const struct instance *going = registry_going(conductor->options.registry, asked, &pool);
    if (going == NULL)
        return true;
    if (is_passing(conductor, pool, going) && await_passing(step, till_ms))
        return false;
    return err_set(err,
                   "\"%s\" is being torn down with pool %s; wait until that is done, or use another address",
                   asked->address, pool->name);
}

static bool check_going(struct step *step, struct stage *stage)
{
    struct err err;
    for (size_t i = 0; i < stage->count; i++) {
        const struct instance asked = {.address = stage->instances[i], .resolved = stage->resolved[i]};
        if (stage_may_take(step, &asked, &stage->passing_till_ms, &err))
            continue;
        return deadline_is_set(&step->retry) ? false : step_refuse(step, 422, "instances: %s", err.text);
    }
    return true;
}

static bool check_release(struct step *step, const struct stage *stage)
{
    if (stage->release[0] == '\0' || config_release_is_valid(str_of(stage->release)))
        return true;
    if (strlen(stage->release) > CONFIG_RELEASE_MAX)
        return step_refuse(step, 422, "release: the name has %zu bytes; use %d at most",
                           strlen(stage->release), CONFIG_RELEASE_MAX);
    return step_refuse(
        step, 422,
        "release: \"%s\" is no name of a release; use letters, digits, dots, dashes and underscores",
        stage->release);
}

/* It is what launch.command is given. */
static bool check_launch(struct step *step, const struct stage *stage, const struct config_service *settings)
{
    if (!stage->launch)
        return true;
    if (settings->launch.command.count == 0)
        return step_refuse(step, 422,
                           "launch: service \"%s\" has no launch.command; write one, or start the instances "
                           "yourself and stage them",
                           step->course->service);
    return stage->release[0] != '\0' ||
           step_refuse(step, 422,
                       "release: launch.command needs the name of the release that it is to start");
}

static bool check_suite(struct step *step, struct stage *stage, const struct config_service *settings)
{
    size_t count;
    struct err err;
    stage->untested = !gate_check_suite(&settings->uptests, stage->release, &count, &err);
    return !stage->untested || !settings->uptests.required || stage->allow_untested ||
           step_refuse(step, 422, "%s", err.text);
}

static bool open_processes(struct step *step, const struct stage *stage, struct pool *pool)
{
    struct err err;
    bool gone;
    for (size_t i = 0; i < stage->count; i++) {
        if (stage->pids[i] == 0)
            continue;
        pool->instances[i].pid = stage->pids[i];
        stage->pidfds[i] = process_open(stage->pids[i], &pool->instances[i].pid_start, &gone, &err);
        if (stage->pidfds[i] < 0)
            return step_refuse(step, gone ? 422 : 503, "instances: \"%s\": %s", stage->instances[i],
                               err.text);
    }
    return true;
}

static bool is_free(struct step *step)
{
    const struct course *course = step->course;
    const struct service *service = registry_service(course->conductor->options.registry, course->service);
    if (course->conductor->stopping)
        return step_refuse(step, 409, "the daemon is stopping; stage again when it is up");
    if (service == NULL || service->running == NULL)
        return true;
    const struct deployment *running = service->running;
    const char *remedy = "wait for it, or abort it";
    if (running->state == DEPLOYMENT_HELD)
        remedy = "promote or abort it first";
    else if (deployment_state_is_canary(running->state))
        remedy = "promote it or roll it back first";
    else if (deployment_state_is_watched(running->state))
        remedy = "wait for it, promote it to end its watch, or roll it back";
    return step_refuse(step, 409, "deployment %s of service \"%s\" is %s; %s", running->pool->name,
                       course->service, deployment_state_shown(running->state), remedy);
}

static bool check_canary(struct step *step, const struct stage *stage)
{
    const struct service *service =
        registry_service(step->course->conductor->options.registry, step->course->service);
    return stage->canary.count == 0 || (service != NULL && service->live != NULL) ||
           step_refuse(step, 422,
                       "canary: service \"%s\" has no live pool to share its sessions with; leave it out",
                       step->course->service);
}

/* The pause lasts until the swap, so there is nothing to be waited for before it. */
static bool check_pause(struct step *step, const struct stage *stage)
{
    if (stage->pause_with_count == 0 || (!stage->hold && stage->canary.count == 0))
        return true;
    return step_refuse(
        step, 422, "pause_with: the service is paused until the swap, so it cannot go with %s; leave one out",
        stage->hold ? "hold" : "canary");
}

static struct pool *make_pool(struct step *step, const struct stage *stage)
{
    const struct course *course = step->course;
    const struct config_service *settings = conductor_settings(course->conductor, course->service);
    const struct service *service = registry_service(course->conductor->options.registry, course->service);
    uint64_t number = service == NULL ? 1 : service->last_number + 1;
    char *name = mem_printf("%s-%" PRIu64, course->service, number);
    struct pool *pool = pool_new(name, stage->release, stage->count);
    free(name);
    for (size_t i = 0; i < stage->count; i++) {
        pool->instances[i].address = mem_dup(stage->instances[i]);
        pool->instances[i].resolved = mem_dup(stage->resolved[i]);
        pool->instances[i].weight = stage->weights[i];
    }
    struct deployment *deployment = pool_deploy(pool);
    deployment->hold = stage->hold;
    deployment->allow_untested = stage->allow_untested;
    deployment->untested = stage->untested;
    deployment->asker = step->asker;
    deployment->replaces = service == NULL || service->live == NULL ? NULL : mem_dup(service->live->name);
    deployment->watch_ms =
        stage->has_watch || settings == NULL ? stage->watch_ms : settings->watch.duration_ms;
    /* While its service is paused there is nothing to copy. */
    if (settings != NULL && settings->shadow.line > 0 && stage->pause_with_count == 0)
        deployment->shadow_ms = settings->shadow.seconds * 1000;
    deployment->canary = stage->canary;
    if (stage->pause_with_count > 0)
        deployment_pause_with(deployment, (const char *const *)stage->pause_with, stage->pause_with_count,
                              stage->pause_ms);
    deployment->created_ns = clock_wall_ns();
    deployment->since_ns = clock_steady_ns();
    if (stage->launch)
        deployment->state = DEPLOYMENT_LAUNCHING;
    deployment_mark(deployment, deployment->created_ns,
                    stage->launch ? "launch.command runs" : "waits until every instance accepts a connection",
                    step->asker.user[0] == '\0' ? NULL : step->asker.user);
    return pool;
}

static bool prepare(struct step *step)
{
    struct stage *stage = step->data;
    struct conductor *conductor = step->course->conductor;
    const struct config_service *settings = conductor_settings(conductor, step->course->service);
    struct err err;
    if (settings == NULL)
        return step_refuse(step, 404, "service \"%s\" was removed from the config", step->course->service);
    if (!is_free(step) || !check_twins(step, stage) || !check_going(step, stage) ||
        !check_canary(step, stage) || !check_launch(step, stage, settings) ||
        !check_suite(step, stage, settings))
        return false;
    struct pool *pool = make_pool(step, stage);
    step->record.fresh = pool;
    step->record.service = mem_dup(step->course->service);
    if (!open_processes(step, stage, pool))
        return false;
    stage->slotted = slotting_give(conductor, pool, &err);
    return stage->slotted || step_refuse(step, 422, "instances: %s", err.text);
}

static void on_resolved(void *arg, const struct probe_target *targets, const char *reason)
{
    struct step *step = arg;
    struct stage *stage = step->data;
    if (targets == NULL) {
        step_refuse(step, 422, "instances: %s", reason);
        step_reject(step);
        return;
    }
    for (size_t i = 0; i < stage->count; i++)
        stage->resolved[i] = sockaddr_target(&targets[i].address);
    step_submit(step);
}

void conductor_stage(struct conductor *conductor, const char *service, const struct stage_request *request,
                     const struct asker *asker, outcome_fn done, void *arg)
{
    struct err err;
    if (conductor_settings(conductor, service) == NULL) {
        conductor_no_service(conductor, service, &err);
        refuse(done, arg, 404, "%s", err.text);
        return;
    }
    struct step *step = step_command(course_of(conductor, service), RECORD_POOL, asker, done, arg);
    struct stage *stage = stage_new(request);
    step->prepare = prepare;
    step->release = release;
    step->data = stage;
    /* What is clear without the names is refused without looking them up. */
    const struct config_service *settings = conductor_settings(conductor, service);
    if (is_free(step) && check_pause(step, stage) && check_addresses(step, stage) &&
        check_release(step, stage) && check_launch(step, stage, settings))
        resolve_start(conductor->options.loop, (const char *const *)stage->instances, stage->count,
                      on_resolved, step);
    else
        step_reject(step);
}
