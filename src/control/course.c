/* course: what is done for the running deployment of a service: its names are resolved, its instances
 * awaited, tested and asked once more. Each ends in an event for the state table. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/conduct.h"
#include "control/sockaddr.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define NS_PER_MS 1000000
#define WARM_MS 250 /* a swap waits for its connections no longer */
#define WARM_LOOK_MS 5

/* The deployment for which something ended; it is the running one, since course_stop comes before any other.
 */
static const struct pool *running(const struct course *course)
{
    const struct service *service = registry_service(course->conductor->options.registry, course->service);
    return service != NULL && service->running != NULL ? service->running->pool : NULL;
}

static void happened(struct course *course, enum deployment_event event, const char *why)
{
    const struct pool *pool = running(course);
    if (pool != NULL)
        step_event(course, pool->name, event, why);
}

static const char **addresses_of(const struct pool *pool)
{
    const char **addresses = mem_zero(pool->instance_count, sizeof *addresses);
    for (size_t i = 0; i < pool->instance_count; i++)
        addresses[i] = pool->instances[i].address;
    return addresses;
}

/* ---- launching ---- */

void course_launch(struct course *course, const struct pool *pool)
{
    const struct config_service *settings = conductor_settings(course->conductor, course->service);
    if (settings == NULL || settings->launch.command.count == 0)
        step_event(course, pool->name, EVENT_LAUNCH_FAILED, "the service has no launch.command any more");
    else
        course->launching = launching_start(course, pool, settings);
}

/* ---- awaiting ---- */

static void on_ready(void *arg, bool ok, const char *reason)
{
    struct course *course = arg;
    course->probe = NULL;
    happened(course, ok ? EVENT_READY : EVENT_NOT_READY, ok ? "every instance accepts connections" : reason);
}

/* timeout_ms 0: each is asked once. */
static void probe(struct course *course, const struct pool *pool, uint64_t timeout_ms,
                  void (*done)(void *arg, bool ok, const char *reason))
{
    const struct config_service *settings = conductor_settings(course->conductor, course->service);
    struct probe_target *targets = mem_zero(pool->instance_count, sizeof *targets);
    for (size_t i = 0; i < pool->instance_count; i++) {
        targets[i].name = pool->instances[i].address;
        targets[i].proxy_protocol = settings == NULL ? 0 : (unsigned)settings->proxy_protocol;
        targets[i].behalf = course->conductor->options.proxy;
        targets[i].length = sockaddr_of(pool->instances[i].resolved, &targets[i].address);
    }
    course->probe = probe_start(course->conductor->options.loop, targets, pool->instance_count, timeout_ms,
                                NULL, done, course);
    free(targets);
}

void course_await(struct course *course, const struct pool *pool)
{
    const struct config_service *settings = conductor_settings(course->conductor, course->service);
    if (settings == NULL)
        step_event(course, pool->name, EVENT_NOT_READY, "the service is not in the config any more");
    else
        probe(course, pool, settings->ready_timeout_ms, on_ready);
}

/* ---- pausing ---- */

void course_pause(struct course *course, const struct pool *pool)
{
    course->pausing = pausing_start(course, pool);
}

/* ---- testing ---- */

static void announce_cell(struct course *course, const char *pool, const char *type,
                          const struct gate_cell *cell, json_t *more)
{
    json_object_set_new(more, "instance", json_string(cell->instance));
    json_object_set_new(more, "uptest", view_text(cell->uptest));
    event_log_add(course->conductor->options.events, type, course->service, pool, more);
}

static void on_cell_started(void *arg, const struct gate_cell *cell)
{
    announce_cell(arg, running(arg)->name, "uptest.started", cell, json_object());
}

void course_cell_finished(struct course *course, const char *pool, const struct gate_cell *cell)
{
    json_t *more = json_pack("{s:b, s:o, s:o, s:b, s:f, s:o}", "passed", cell->state == GATE_PASSED, "exit",
                             cell->exit_status < 0 ? json_null() : json_integer(cell->exit_status), "signal",
                             cell->signal == 0 ? json_null() : json_integer(cell->signal), "timed_out",
                             cell->timed_out, "seconds", (double)cell->ns / 1e9, "how", view_text(cell->how));
    /* Enough to see why; the whole of it is in the deployment. */
    if (cell->state != GATE_PASSED)
        json_object_set_new(more, "output", event_log_tail((struct str){cell->output, cell->output_size}));
    announce_cell(course, pool, "uptest.finished", cell, more);
}

static void on_cell_finished(void *arg, const struct gate_cell *cell)
{
    course_cell_finished(arg, running(arg)->name, cell);
}

/* A result on its way to the disk. */
struct filing {
    struct course *course;
    unsigned number;
};

static void on_archived(void *arg, const char *failure)
{
    struct filing *filing = arg;
    struct course *course = filing->course;
    const struct verdict *verdict = &course->verdict;
    bool overtaken = filing->number != course->archiving || verdict->why == NULL;
    free(filing);
    if (overtaken)
        return;
    if (failure == NULL || verdict->event == verdict->not_kept) {
        happened(course, verdict->event, verdict->why);
        return;
    }
    char *why = mem_printf("%s%s", failure, verdict->aside == NULL ? "" : verdict->aside);
    happened(course, verdict->not_kept, why);
    free(why);
}

void course_keep(struct course *course, const char *pool, enum archive_kind kind, json_t *result,
                 const struct verdict *verdict)
{
    struct filing *filing = mem_alloc(sizeof *filing);
    free(course->verdict.why);
    course->verdict = *verdict;
    *filing = (struct filing){course, ++course->archiving};
    archive_write(course->conductor->options.archive, pool, kind, result, on_archived, filing);
}

static char *describe_pass(const struct gate *gate)
{
    size_t count = gate_cell_count(gate);
    return count == 0
               ? mem_dup("there are no uptests, which is allowed here: untested")
               : mem_printf("%s%zu uptest%s passed", count == 1 ? "" : "all ", count, count == 1 ? "" : "s");
}

/* The matrix is on disk before its verdict is recorded. */
static void on_gate_done(void *arg, bool passed, const char *reason)
{
    struct course *course = arg;
    const struct pool *pool = running(course);
    assert(pool != NULL); /* else course_stop would have ended the gate */
    struct verdict verdict = {.event = passed ? EVENT_GATE_PASSED : EVENT_GATE_FAILED,
                              .why = passed ? describe_pass(course->gate) : mem_dup(reason),
                              .not_kept = EVENT_GATE_FAILED};
    course_keep(course, pool->name, ARCHIVE_GATE, view_gate(course->gate, passed), &verdict);
}

void course_test(struct course *course, const struct pool *pool)
{
    static const struct gate_callbacks callbacks = {on_cell_started, on_cell_finished, on_gate_done};
    const struct config_service *settings = conductor_settings(course->conductor, course->service);
    if (settings == NULL) {
        step_event(course, pool->name, EVENT_GATE_FAILED, "the service is not in the config any more");
        return;
    }
    schedule_yield(course->conductor->schedule, course->service);
    const char **addresses = addresses_of(pool);
    struct gate_plan plan = {.uptests = &settings->uptests,
                             .service = course->service,
                             .release = pool->release,
                             .deployment = pool->name,
                             .vhost = gate_vhost(settings),
                             .instances = addresses,
                             .instance_count = pool->instance_count};
    course->gate =
        gate_start(course->conductor->options.loop, &plan, !pool->deployment->untested, &callbacks, course);
    free(addresses);
}

/* ---- holding and confirming ---- */

/* Of something that goes on while the daemon is down, so by the steady clock. */
static uint64_t left_ms(const struct deployment *deployment, uint64_t length_ms)
{
    uint64_t now = clock_steady_ns();
    uint64_t passed_ms = now > deployment->since_ns ? (now - deployment->since_ns) / NS_PER_MS : 0;
    return passed_ms < length_ms ? length_ms - passed_ms : 0;
}

void course_hold(struct course *course, const struct pool *pool)
{
    const struct config_service *settings = conductor_settings(course->conductor, course->service);
    deadline_set(&course->hold, left_ms(pool->deployment, settings == NULL ? 0 : settings->hold_timeout_ms));
}

void course_hold_on(struct conductor *conductor)
{
    struct course *course, *next;
    HASH_ITER(hh, conductor->courses, course, next)
    {
        const struct service *service = registry_service(conductor->options.registry, course->service);
        if (deadline_is_set(&course->hold) && service != NULL && service->running != NULL)
            course_hold(course, service->running->pool);
    }
}

void course_hold_is_over(struct deadline *deadline)
{
    happened(mem_container(deadline, struct course, hold), EVENT_HOLD_EXPIRED,
             "held for longer than hold_timeout without being promoted");
}

/* The first whose process, where one was named, is not known to have run since it was staged, and why. NULL:
 * none. */
static const struct instance *replaced_instance(const struct course *course, const struct pool *pool,
                                                struct err *err)
{
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        if (instance->pid != 0 && !processes_is_alive(course->conductor->processes, instance->id, err))
            return instance;
    }
    return NULL;
}

/* The pool that has the clients, or would have them again, where no instance of it is up. NULL: another. */
static const struct pool *hopeless_other(const struct conductor *conductor, const struct pool *pool)
{
    const struct service *service = pool->service;
    const struct pool *other = service->live == pool ? service->armed : service->live;
    return other != NULL && health_is_hopeless(conductor->health, other) ? other : NULL;
}

/* The first that is down by its checks. NULL: none. */
static const struct instance *ailing_instance(const struct course *course, const struct pool *pool)
{
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (health_is_down(course->conductor->health, &pool->instances[i]))
            return &pool->instances[i];
    }
    return NULL;
}

/* A canary has clients, and is watched; and where nothing else is up, what is half up is better. */
static bool ails(const struct course *course, const struct pool *pool)
{
    return pool->deployment->state == DEPLOYMENT_CONFIRMING && ailing_instance(course, pool) != NULL &&
           hopeless_other(course->conductor, pool) == NULL;
}

/* Why the pool is not what was tested, to be freed. NULL: it is. */
static char *why_not_to_swap(const struct course *course, const struct pool *pool)
{
    struct err err;
    const struct instance *ailing = course->ails ? ailing_instance(course, pool) : NULL;
    const struct instance *replaced = replaced_instance(course, pool, &err);
    if (replaced != NULL)
        return mem_printf("instance %s (pid %lld) is not known to be the one that was tested: %s; stage the "
                          "one that is there now",
                          replaced->address, (long long)replaced->pid, err.text);
    if (ailing != NULL)
        return mem_printf("instance %s accepts connections, but its checks have found it down since it was "
                          "tested; mend it and stage it again",
                          ailing->address);
    return NULL;
}

/* The swap's reason is that of the pass, or of the promotion, and this. */
static void swap(struct course *course, const struct pool *pool)
{
    char *why_not = why_not_to_swap(course, pool);
    if (why_not != NULL) {
        step_event(course, pool->name, EVENT_UNCONFIRMED, why_not);
        free(why_not);
        return;
    }
    const struct deployment *deployment = pool->deployment;
    const char *before = deployment->timeline[deployment->timeline_count - 1].why;
    char *why =
        mem_printf("%s; every instance accepted a connection once more", before == NULL ? "" : before);
    step_event(course, pool->name, EVENT_CONFIRMED, why);
    free(why);
}

/* Has every worker heard of it, and made the connections that it wants? */
static bool is_warm(const struct course *course, const struct pool *pool)
{
    struct counters *counters = course->conductor->options.counters;
    return !deployment_takes_over(pool->deployment) || (counters_version(counters) > course->warm_after &&
                                                        counters_pool_warming(counters, pool->slot) == 0);
}

void course_look_at_warmth(struct deadline *deadline)
{
    struct course *course = mem_container(deadline, struct course, warm);
    const struct pool *pool = running(course);
    if (pool == NULL)
        return;
    bool warm = is_warm(course, pool);
    if (!warm && clock_mono_ms() < course->warm_until_ms) {
        deadline_set(&course->warm, WARM_LOOK_MS);
        return;
    }
    if (!warm)
        log_info("%s: the swap goes on, though after %d ms the proxy has not made all of its connections to "
                 "the new pool",
                 pool->name, WARM_MS);
    swap(course, pool);
}

static void on_confirmed(void *arg, bool ok, const char *reason)
{
    struct course *course = arg;
    const struct pool *pool = running(course);
    course->probe = NULL;
    if (pool == NULL)
        return;
    if (ok)
        course_look_at_warmth(&course->warm);
    else
        step_event(course, pool->name, EVENT_UNCONFIRMED, reason);
}

/* The next world says that the pool is about to take over, so that the proxy connects to it in advance. */
void course_confirm(struct course *course, const struct pool *pool)
{
    course->warm_after = world_made(course->conductor->world);
    course->warm_until_ms = clock_mono_ms() + WARM_MS;
    course->ails = ails(course, pool);
    if (deployment_takes_over(pool->deployment))
        conductor_tell(course->conductor, pool->service);
    probe(course, pool, 0, on_confirmed);
}

/* ---- watching ---- */

void course_step(struct course *course, const struct pool *pool)
{
    uint64_t length_ms = pool->deployment->canary.step_ms;
    watch_begin(course->conductor->watch, pool, length_ms, left_ms(pool->deployment, length_ms));
}

void course_watch(struct course *course, const struct pool *pool)
{
    uint64_t length_ms = pool->deployment->watch_ms;
    watch_begin(course->conductor->watch, pool, length_ms, left_ms(pool->deployment, length_ms));
}

void course_publish(struct course *course, const char *pool, enum archive_kind kind, json_t *result)
{
    archive_publish(course->conductor->options.archive, pool, kind, result, NULL, NULL);
}

/* `once`: until then nothing can take it back; "" where it can be at once. */
static void doubt(struct course *course, const struct pool *pool, const char *why, const char *because,
                  const char *once)
{
    char *text = mem_printf("%s; %s: `upswap promote %s` keeps it, `upswap rollback %s` takes it back%s", why,
                            because, course->service, course->service, once);
    step_event(course, pool->name, EVENT_DOUBTED, text);
    free(text);
}

static void watch_failed(struct course *course, const struct pool *pool, const char *why)
{
    struct conductor *conductor = course->conductor;
    const struct config_service *settings = conductor_settings(conductor, course->service);
    enum config_on_fail on_fail = settings == NULL ? CONFIG_ROLL_BACK : settings->watch.on_fail;
    const struct pool *hopeless = hopeless_other(conductor, pool);
    if (on_fail == CONFIG_GO_ON) {
        log_warn("%s: its watch has failed: %s", pool->name, why);
        step_event(course, pool->name, EVENT_FLAWED, why);
    } else if (on_fail == CONFIG_HOLD) {
        doubt(course, pool, why, "watch.on_fail is \"hold\"", "");
    } else if (hopeless != NULL) {
        char *because = mem_printf("it is not rolled back, since no instance of %s is up", hopeless->name);
        doubt(course, pool, why, because, " once one of them is up again");
        free(because);
    } else {
        step_event(course, pool->name, EVENT_WATCH_FAILED, why);
    }
}

void course_found(void *arg, const struct pool *pool, enum watch_finding finding, const char *why)
{
    struct conductor *conductor = arg;
    struct course *course = course_of(conductor, pool->service->name);
    enum deployment_event over = finding == WATCH_PASSED ? EVENT_WATCH_PASSED : EVENT_WATCH_OVER;
    course_publish(course, pool->name, ARCHIVE_WATCH, watch_view(conductor->watch, pool));
    if (finding == WATCH_FAILED)
        watch_failed(course, pool, why);
    else
        step_event(course, pool->name, pool->service->live == pool ? over : EVENT_STEPPED, why);
}

void course_give_up(struct course *course, const struct pool *pool, const char *why)
{
    char *words = mem_printf("the deployment was given up: %s", why == NULL ? "" : why);
    if (course->gate != NULL && !gate_is_over(course->gate)) {
        remains_take(course, pool->name, course->gate, words);
        course->gate = NULL;
    }
    if (course->launching != NULL && launching_give_up(course->launching, words))
        course->launching = NULL;
    if (course->pausing != NULL && pausing_give_up(course->pausing, words))
        course->pausing = NULL;
    free(words);
}

void course_stop(struct course *course)
{
    launching_free(course->launching);
    pausing_free(course->pausing);
    probe_cancel(course->probe);
    gate_free(course->gate);
    deadline_clear(&course->shadow);
    deadline_clear(&course->hold);
    deadline_clear(&course->warm);
    watch_end(course->conductor->watch, course->service);
    free(course->verdict.why);
    course->launching = NULL;
    course->pausing = NULL;
    course->probe = NULL;
    course->gate = NULL;
    course->verdict.why = NULL;
}
