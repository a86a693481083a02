/* Invariant: the deployment's event is made once, when the command has ended and everything that it printed
 * is recorded or refused; so whatever a failed launch has started and told of is torn down with its pool. */
#include "control/launching.h"

#include "base/log.h"
#include "base/mem.h"
#include "control/conduct.h"
#include "control/launch.h"
#include "control/sockaddr.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INSTANCES_MAX 10000

struct launching {
    struct course *course;
    char *pool;
    struct launch *launch;
    LIST_HEAD(, arrival) arrivals;
    size_t found;
    size_t pending; /* arrivals that are not recorded yet */
    bool has_ended, given_up;
    char *failure; /* once it has ended; NULL: none */
    uint64_t ready_timeout_ms;
    LIST_ENTRY(launching) of_given_up;
};

/* An instance that was printed: it is resolved, then its record is made, then it is awaited. */
struct arrival {
    struct launching *launching; /* NULL: that is over */
    struct instance instance;    /* until it is resolved: then it is in the record */
    int pidfd;                   /* -1: none, or held for the instance */
    bool has_slot;
    uint64_t passing_till_ms; /* see stage_may_take */
    unsigned proxy_protocol;
    struct resolve *resolve; /* NULL: it is none of the time for it */
    struct probe *probe;     /* the same */
    LIST_ENTRY(arrival) entry;
};

static void arrival_free(struct arrival *arrival)
{
    if (arrival->launching != NULL)
        LIST_REMOVE(arrival, entry);
    if (arrival->pidfd >= 0)
        close(arrival->pidfd);
    free(arrival->instance.address);
    free(arrival);
}

/* ---- the end ---- */

static void announce_end(const struct launching *launching)
{
    json_t *more = launch_json(launching->launch);
    json_object_del(more, "argv");
    json_object_del(more, "state");
    json_object_set_new(more, "passed", json_boolean(launching->failure == NULL));
    json_object_set_new(more, "instances", json_integer((json_int_t)launching->found));
    if (launching->failure != NULL)
        json_object_set_new(more, "reason", view_text(launching->failure));
    const char *output = json_string_value(json_object_get(more, "output"));
    json_object_set_new(more, "output", event_log_tail(str_of(output != NULL ? output : "")));
    event_log_add(launching->course->conductor->options.events, "launch.finished", launching->course->service,
                  launching->pool, more);
}

/* Nobody waits for it any more. */
static void file(struct launching *launching)
{
    LIST_REMOVE(launching, of_given_up);
    announce_end(launching);
    course_publish(launching->course, launching->pool, ARCHIVE_LAUNCH, launch_json(launching->launch));
    launching_free(launching);
}

/* What the command has written is on disk before its end is recorded. */
static void settle(struct launching *launching)
{
    struct course *course = launching->course;
    if (!launching->has_ended || launching->pending > 0)
        return;
    bool failed = launching->failure != NULL;
    struct verdict verdict = {
        .event = failed ? EVENT_LAUNCH_FAILED : EVENT_LAUNCHED,
        .why = failed ? mem_dup(launching->failure)
                      : mem_printf("launch.command has started %zu instance%s", launching->found,
                                   launching->found == 1 ? "" : "s"),
        .not_kept = EVENT_LAUNCH_FAILED,
    };
    announce_end(launching);
    course_keep(course, launching->pool, ARCHIVE_LAUNCH, launch_json(launching->launch), &verdict);
}

static void on_done(void *arg, const char *failure)
{
    struct launching *launching = arg;
    launching->has_ended = true;
    launching->failure = mem_dup(failure);
    if (launching->given_up)
        file(launching);
    else
        settle(launching);
}

/* After its end it is told of all the same: then it is the failure. */
static void fail(struct launching *launching, const char *sentence)
{
    if (!launching->has_ended)
        launch_fail(launching->launch, sentence);
    else if (launching->failure == NULL)
        launching->failure = mem_dup(sentence);
}

/* ---- an instance ---- */

/* The launch is over, and no record will say that it was there. */
static void warn_of_lost(const char *pool, const char *address)
{
    log_warn(
        "%s: instance %s was printed as the launch ended: it was not recorded, so nothing tears it down; "
        "stop it by hand",
        pool, address);
}

/* It is not recorded. */
static void refuse_arrival(struct arrival *arrival, const char *sentence)
{
    struct launching *launching = arrival->launching;
    char *reason = mem_printf("launch.command: %s", sentence);
    arrival_free(arrival);
    launching->pending--;
    fail(launching, reason);
    free(reason);
    settle(launching);
}

static void on_accepted(void *arg, bool ok, const char *reason)
{
    struct arrival *arrival = arg;
    struct launching *launching = arrival->launching;
    arrival->probe = NULL;
    if (ok)
        log_debug("%s: an instance accepts connections while the launch goes on", launching->pool);
    arrival_free(arrival);
    if (!ok)
        fail(launching, reason);
}

/* Once the command has ended all are awaited together. */
static void await(struct arrival *arrival, const struct instance *instance)
{
    struct launching *launching = arrival->launching;
    struct probe_target target = {.name = instance->address,
                                  .proxy_protocol = arrival->proxy_protocol,
                                  .behalf = launching->course->conductor->options.proxy};
    target.length = sockaddr_of(instance->resolved, &target.address);
    arrival->probe = probe_start(launching->course->conductor->options.loop, &target, 1,
                                 launching->ready_timeout_ms, NULL, on_accepted, arrival);
}

static bool is_allowed(struct step *step, struct arrival *arrival, struct err *err)
{
    struct conductor *conductor = step->course->conductor;
    if (arrival->launching == NULL)
        return err_set(err, "the launch is over");
    if (!stage_may_take(step, step->record.added, &arrival->passing_till_ms, err) ||
        !registry_allows(conductor->options.registry, &step->record, err))
        return false;
    if (!arrival->has_slot && !slotting_give_instance(conductor, step->record.added, err))
        return false;
    arrival->has_slot = true;
    return true;
}

static bool prepare(struct step *step)
{
    struct err err;
    if (is_allowed(step, step->data, &err))
        return true;
    return deadline_is_set(&step->retry) ? false : step_refuse(step, 409, "%s", err.text);
}

static void release(struct step *step, bool used)
{
    struct arrival *arrival = step->data;
    struct conductor *conductor = step->course->conductor;
    struct launching *launching = arrival->launching;
    const struct instance *instance = step->record.added;
    if (used && arrival->pidfd >= 0) {
        processes_hold(conductor->processes, instance->id, arrival->pidfd);
        arrival->pidfd = -1;
    }
    if (!used && arrival->has_slot)
        slots_put(conductor->instance_slots, instance->slot, 0);
    if (launching == NULL) {
        if (!used)
            warn_of_lost(step->record.pool, instance->address);
        arrival_free(arrival);
    } else if (!used) {
        refuse_arrival(arrival, step->err.text);
    } else {
        launching->pending--;
        settle(launching);
    }
}

static void on_resolved(void *arg, const struct probe_target *targets, const char *reason)
{
    struct arrival *arrival = arg;
    struct launching *launching = arrival->launching;
    arrival->resolve = NULL;
    if (targets == NULL) {
        refuse_arrival(arrival, reason);
        return;
    }
    struct step *step = step_new(launching->course, RECORD_ADDED, launching->pool);
    struct instance *instance = record_added(&step->record);
    *instance = arrival->instance;
    instance->resolved = sockaddr_target(&targets[0].address);
    arrival->instance.address = NULL;
    step->prepare = prepare;
    step->release = release;
    step->data = arrival;
    step_submit(step);
}

void launching_follow(struct step *step)
{
    struct conductor *conductor = step->course->conductor;
    struct arrival *arrival = step->data;
    const struct pool *pool = registry_pool(conductor->options.registry, step->record.pool);
    const struct instance *instance = &pool->instances[pool->instance_count - 1];
    log_info("%s: launch.command has started instance %s", pool->name, instance->address);
    event_log_add(conductor->options.events, "launch.instance", pool->service->name, pool->name,
                  json_pack("{s:s, s:o}", "instance", instance->address, "pid",
                            instance->pid == 0 ? json_null() : json_integer(instance->pid)));
    conductor_tell(conductor, pool->service);
    if (arrival->launching != NULL)
        await(arrival, instance);
}

/* What is of no use at once is refused at once, with its line. */
static bool check(const struct launching *launching, const struct config_service *settings,
                  struct arrival *arrival, struct err *err)
{
    bool gone;
    struct instance *instance = &arrival->instance;
    if (settings == NULL)
        return err_set(err, "the service is not in the config any more");
    if (launching->found == INSTANCES_MAX)
        return err_set(err, "there are more than %d instances", INSTANCES_MAX);
    if (!config_can_verify(settings, instance->address, err))
        return false;
    if (instance->pid != 0)
        arrival->pidfd = process_open(instance->pid, &instance->pid_start, &gone, err);
    return instance->pid == 0 || arrival->pidfd >= 0;
}

static bool on_found(void *arg, const struct endpoint *endpoint, struct err *err)
{
    struct launching *launching = arg;
    const struct course *course = launching->course;
    const struct config_service *settings = conductor_settings(course->conductor, course->service);
    struct arrival *arrival = mem_zero(1, sizeof *arrival);
    *arrival = (struct arrival){
        .instance = {.address = str_dup(endpoint->address), .pid = endpoint->pid, .weight = endpoint->weight},
        .pidfd = -1,
        .proxy_protocol = settings == NULL ? 0 : (unsigned)settings->proxy_protocol};
    if (!check(launching, settings, arrival, err)) {
        arrival_free(arrival);
        return false;
    }
    arrival->launching = launching;
    LIST_INSERT_HEAD(&launching->arrivals, arrival, entry);
    launching->found++;
    launching->pending++;
    const char *name = arrival->instance.address;
    arrival->resolve = resolve_start(course->conductor->options.loop, &name, 1, on_resolved, arrival);
    return true;
}

/* ---- its life ---- */

/* As many as there are now, where the config does not say. */
static size_t wanted(const struct config_launch *settings, const struct service *service)
{
    if (settings->count > 0)
        return settings->count;
    return service->live != NULL ? service->live->instance_count : 1;
}

struct launching *launching_start(struct course *course, const struct pool *pool,
                                  const struct config_service *settings)
{
    static const struct launch_callbacks callbacks = {on_found, on_done};
    struct launching *launching = mem_zero(1, sizeof *launching);
    launching->course = course;
    launching->pool = mem_dup(pool->name);
    launching->ready_timeout_ms = settings->ready_timeout_ms;
    LIST_INIT(&launching->arrivals);
    const struct launch_plan plan = {.settings = &settings->launch,
                                     .service = course->service,
                                     .release = pool->release,
                                     .deployment = pool->name,
                                     .count = wanted(&settings->launch, pool->service)};
    launching->launch = launch_start(course->conductor->options.loop, &plan, &callbacks, launching);
    return launching;
}

json_t *launching_json(const struct launching *launching)
{
    return launch_json(launching->launch);
}

/* Those that wait for their record are let go by their steps. */
static void let_go_arrivals(struct launching *launching)
{
    struct arrival *arrival = LIST_FIRST(&launching->arrivals), *next;
    for (; arrival != NULL; arrival = next) {
        next = LIST_NEXT(arrival, entry);
        bool is_in_step = arrival->resolve == NULL && arrival->probe == NULL;
        if (arrival->resolve != NULL)
            warn_of_lost(launching->pool, arrival->instance.address);
        resolve_cancel(arrival->resolve);
        probe_cancel(arrival->probe);
        if (is_in_step) {
            LIST_REMOVE(arrival, entry);
            arrival->launching = NULL;
        } else {
            arrival_free(arrival);
        }
    }
}

bool launching_give_up(struct launching *launching, const char *words)
{
    if (launching->has_ended && launching->pending == 0)
        return false;
    let_go_arrivals(launching);
    launching->given_up = true;
    LIST_INSERT_HEAD(&launching->course->launchings, launching, of_given_up);
    fail(launching, words);
    if (launching->has_ended)
        file(launching);
    return true;
}

const struct launching *launching_find(const struct course *course, const char *pool)
{
    const struct launching *launching = course->launching;
    if (launching != NULL && strcmp(launching->pool, pool) == 0)
        return launching;
    LIST_FOREACH (launching, &course->launchings, of_given_up) {
        if (strcmp(launching->pool, pool) == 0)
            return launching;
    }
    return NULL;
}

void launching_free(struct launching *launching)
{
    if (launching == NULL)
        return;
    let_go_arrivals(launching);
    launch_free(launching->launch);
    free(launching->failure);
    free(launching->pool);
    free(launching);
}
