/* view: the registry and the counters as the JSON that CONTRACT.md promises. Changes nothing. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "base/version.h"
#include "control/conduct.h"
#include "control/difference.h"
#include "control/ending.h"
#include "control/standing.h"

#include <stdlib.h>
#include <unistd.h>

#define NS_PER_MS 1000000

json_t *view_text(const char *text)
{
    size_t size;
    if (text == NULL)
        return json_null();
    char *clean = utf8_tail(str_of(text), SIZE_MAX, false, &size);
    json_t *json = json_stringn(clean, size);
    free(clean);
    return json;
}

static json_t *time_json(uint64_t time_ns)
{
    char text[CLOCK_TEXT_SIZE];
    return time_ns == 0 ? json_null() : json_string(clock_text(time_ns, text));
}

json_t *view_asker(const struct asker *asker)
{
    return json_pack("{s:o, s:o, s:o}", "uid", asker->uid < 0 ? json_null() : json_integer(asker->uid),
                     "user", view_text(asker->user), "pid",
                     asker->pid == 0 ? json_null() : json_integer(asker->pid));
}

json_t *view_cause(const char *reason, const struct asker *asker)
{
    json_t *cause = json_object();
    if (reason != NULL)
        json_object_set_new(cause, "reason", view_text(reason));
    if (asker != NULL && asker->user[0] != '\0')
        json_object_set_new(cause, "asked_by", view_asker(asker));
    return cause;
}

/* ---- gates ---- */

static json_t *cell_json(const struct gate_cell *cell)
{
    json_t *argv = json_array();
    for (size_t i = 0; cell->argv != NULL && cell->argv[i] != NULL; i++)
        json_array_append_new(argv, view_text(cell->argv[i]));
    return json_pack(
        "{s:o, s:o, s:s, s:o, s:o, s:o, s:b, s:f, s:o, s:o}", "instance", view_text(cell->instance), "uptest",
        view_text(cell->uptest), "state", gate_cell_state_names[cell->state], "argv", argv, "exit",
        cell->exit_status < 0 ? json_null() : json_integer(cell->exit_status), "signal",
        cell->signal == 0 ? json_null() : json_integer(cell->signal), "timed_out", cell->timed_out, "seconds",
        (double)cell->ns / 1e9, "usage", ending_usage(&cell->usage), "output",
        cell->output == NULL ? json_string("") : json_stringn(cell->output, cell->output_size));
}

json_t *view_gate(const struct gate *gate, bool passed)
{
    json_t *cells = json_array();
    size_t count = gate == NULL ? 0 : gate_cell_count(gate);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(cells, cell_json(gate_cell_at(gate, i)));
    return json_pack("{s:b, s:o}", "passed", passed, "cells", cells);
}

/* Of a gate that has ended, and whose cells cannot be had any more. */
static json_t *lost_gate(const struct pool *pool)
{
    json_t *gate = view_gate(NULL, pool->deployment->gate_passed);
    json_object_set_new(gate, "kept", json_false());
    return gate;
}

static json_t *gate_of(struct conductor *conductor, const struct pool *pool)
{
    const struct course *course = course_find(conductor, pool->service->name);
    bool runs = pool->service->running == pool->deployment && course != NULL && course->gate != NULL;
    const struct gate *gate = runs ? course->gate : course != NULL ? remains_gate(course, pool->name) : NULL;
    json_t *kept = gate != NULL ? NULL : archive_read(conductor->options.archive, pool->name, ARCHIVE_GATE);
    if (kept != NULL)
        return kept;
    if (gate == NULL &&
        (pool->deployment->gate_passed || archive_has(conductor->options.archive, pool->name, ARCHIVE_GATE)))
        return lost_gate(pool);
    return view_gate(gate, pool->deployment->gate_passed);
}

/* Null where no launch was asked for. */
static json_t *launch_of(struct conductor *conductor, const struct pool *pool)
{
    const struct course *course = course_find(conductor, pool->service->name);
    const struct launching *launching = course == NULL ? NULL : launching_find(course, pool->name);
    json_t *launch = launching != NULL ? launching_json(launching)
                                       : archive_read(conductor->options.archive, pool->name, ARCHIVE_LAUNCH);
    return launch != NULL ? launch : json_null();
}

/* Null where no command was to run in a pause. */
static json_t *command_of(struct conductor *conductor, const struct pool *pool)
{
    const struct course *course = course_find(conductor, pool->service->name);
    const struct pausing *pausing = course == NULL ? NULL : pausing_find(course, pool->name);
    json_t *command = pausing != NULL ? pausing_json(pausing)
                                      : archive_read(conductor->options.archive, pool->name, ARCHIVE_COMMAND);
    return command != NULL ? command : json_null();
}

/* Which instance does not accept a connection yet, and why; null where none is waited for, or was tried. */
static json_t *waits_for(struct conductor *conductor, const struct pool *pool)
{
    const struct course *course = course_find(conductor, pool->service->name);
    bool runs = pool->service->running == pool->deployment && course != NULL && course->probe != NULL;
    char *why = runs ? probe_why(course->probe) : NULL;
    json_t *json = view_text(why);
    free(why);
    return json;
}

/* ---- deployments ---- */

/* The moment between the gate and the swap is told by the one after it, unless somebody asked for it. */
static bool is_shown(const struct deployment *deployment, size_t index)
{
    return deployment->timeline[index].state != DEPLOYMENT_CONFIRMING ||
           deployment->timeline[index - 1].state == DEPLOYMENT_HELD;
}

static json_t *between_json(uint64_t began_ns, uint64_t ended_ns)
{
    uint64_t began_ms = began_ns / 1000000, ended_ms = ended_ns / 1000000;
    return ended_ms < began_ms ? json_null() : json_real((double)(ended_ms - began_ms) / 1000);
}

/* How long it lasted: until the next one that is shown. Of the last one: until now, or null where that is the
 * end. By the wall clock, which may have been set meanwhile, and in whole ms, as the times are told and kept.
 */
static json_t *lasted_json(const struct deployment *deployment, size_t index)
{
    size_t next = index + 1;
    while (next < deployment->timeline_count && !is_shown(deployment, next))
        next++;
    if (next < deployment->timeline_count)
        return between_json(deployment->timeline[index].time_ns, deployment->timeline[next].time_ns);
    return deployment_state_is_end(deployment->state) ? json_null()
                                                      : between_json(deployment->since_ns, clock_steady_ns());
}

static json_t *timeline_json(const struct deployment *deployment)
{
    json_t *timeline = json_array();
    for (size_t i = 0; i < deployment->timeline_count; i++) {
        const struct moment *moment = &deployment->timeline[i];
        if (!is_shown(deployment, i))
            continue;
        json_array_append_new(
            timeline, json_pack("{s:o, s:s, s:o, s:o, s:o}", "time", time_json(moment->time_ns), "state",
                                deployment_state_shown(moment->state), "seconds", lasted_json(deployment, i),
                                "why", view_text(moment->why), "by", view_text(moment->by)));
    }
    return timeline;
}

static double percent(uint32_t share)
{
    return (double)share * 100 / CANARY_WHOLE;
}

static json_t *canary_json(const struct deployment *deployment)
{
    const struct canary *canary = &deployment->canary;
    if (canary->count == 0)
        return json_null();
    json_t *shares = json_array();
    for (size_t i = 0; i < canary->count; i++)
        json_array_append_new(shares, json_real(percent(canary->shares[i])));
    return json_pack("{s:o, s:f, s:f}", "shares", shares, "step", (double)canary->step_ms / 1000, "share",
                     percent(deployment_share(deployment)));
}

json_t *view_move(const struct deployment *deployment, const char *reason, const struct asker *asker)
{
    json_t *move = view_cause(reason, asker);
    uint32_t share = deployment_share(deployment);
    if (share > 0)
        json_object_set_new(move, "share", json_real(percent(share)));
    return move;
}

/* How its watch stands; of one that has ended, if `whole`: how it stood then. Null where there is none. */
static json_t *watched_of(struct conductor *conductor, const struct pool *pool, bool whole)
{
    json_t *watched = watch_view(conductor->watch, pool);
    if (watched == NULL && whole)
        watched = archive_read(conductor->options.archive, pool->name, ARCHIVE_WATCH);
    return watched != NULL ? watched : json_null();
}

/* The newest before it that was left alone with its traffic: its watch, if any, had passed. NULL: none. */
static const struct pool *last_good(const struct pool *pool)
{
    do {
        pool = TAILQ_PREV(pool, pools, of_service);
    } while (pool != NULL && (pool->deployment == NULL || (pool->deployment->state != DEPLOYMENT_DONE &&
                                                           pool->deployment->state != DEPLOYMENT_DRAINING)));
    return pool;
}

/* Its gate without what was written, which is most of it. It does not change any more, and is what one
 * deployment after the other is compared with. */
static json_t *good_gate(struct conductor *conductor, const struct pool *good)
{
    size_t i;
    json_t *cell;
    if (conductor->good != NULL && strcmp(conductor->good, good->name) == 0)
        return json_incref(conductor->good_gate);
    json_t *gate = gate_of(conductor, good);
    json_array_foreach (json_object_get(gate, "cells"), i, cell) {
        json_object_del(cell, "output");
        json_object_del(cell, "argv");
    }
    free(conductor->good);
    json_decref(conductor->good_gate);
    conductor->good = mem_dup(good->name);
    conductor->good_gate = json_incref(gate);
    return gate;
}

/* Of a deployment that is shown whole to the last good one before it; null where there is none. */
static json_t *difference_of(struct conductor *conductor, const struct pool *pool, const json_t *shown)
{
    const struct pool *good = last_good(pool);
    if (good == NULL)
        return json_null();
    json_t *then = view_deployment(conductor, good, false);
    json_object_set_new(then, "gate", good_gate(conductor, good));
    json_t *json = difference(shown, then);
    json_decref(then);
    return json;
}

json_t *view_deployment(struct conductor *conductor, const struct pool *pool, bool whole)
{
    const struct deployment *deployment = pool->deployment;
    json_t *instances = json_array();
    for (size_t i = 0; i < pool->instance_count; i++)
        json_array_append_new(instances, json_string(pool->instances[i].address));
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o}", "deployment", pool->name,
        "service", pool->service->name, "release", pool->release, "state",
        deployment_state_shown(deployment->state), "phase", deployment_state_name(deployment->state),
        "reason", view_text(deployment->reason), "replaces", view_text(deployment->replaces), "asked_by",
        view_asker(&deployment->asker), "created", time_json(deployment->created_ns), "ended",
        time_json(deployment->ended_ns), "hold", deployment->hold, "allow_untested",
        deployment->allow_untested, "instances", instances);
    json_object_set_new(json, "watch", json_real((double)deployment->watch_ms / 1000));
    json_object_set_new(json, "canary", canary_json(deployment));
    json_object_set_new(json, "watched", watched_of(conductor, pool, whole));
    json_object_set_new(json, "waits_for", waits_for(conductor, pool));
    if (whole) {
        json_object_set_new(json, "launch", launch_of(conductor, pool));
        json_object_set_new(json, "command", command_of(conductor, pool));
        json_object_set_new(json, "gate", gate_of(conductor, pool));
        json_object_set_new(json, "shadow", course_shadow_view(conductor, pool));
        json_object_set_new(json, "timeline", timeline_json(deployment));
        json_object_set_new(json, "difference", difference_of(conductor, pool, json));
    }
    return json;
}

json_t *conductor_deployment(struct conductor *conductor, const char *deployment)
{
    const struct pool *pool = registry_pool(conductor->options.registry, deployment);
    return pool == NULL || pool->deployment == NULL ? NULL : view_deployment(conductor, pool, true);
}

json_t *conductor_history(struct conductor *conductor, const char *name, size_t limit)
{
    const struct service *service = registry_service(conductor->options.registry, name);
    if (service == NULL && conductor_settings(conductor, name) == NULL)
        return NULL;
    json_t *list = json_array();
    const struct pool *pool = service == NULL ? NULL : TAILQ_LAST(&service->pools, pools);
    for (; pool != NULL && (limit == 0 || json_array_size(list) < limit);
         pool = TAILQ_PREV(pool, pools, of_service)) {
        if (pool->deployment != NULL)
            json_array_append_new(list, view_deployment(conductor, pool, false));
    }
    return json_pack("{s:o}", "deployments", list);
}

/* ---- services ---- */

/* What the last scheduled run has said; NULL: nothing. */
static const char *uptests_of(struct conductor *conductor, const struct instance *instance)
{
    static const char *const words[] = {NULL, "passed", "failed"};
    bool is_gone = instance->state == INSTANCE_TORN_DOWN; /* its slot may be another's */
    return is_gone ? NULL : words[standing_of(conductor->options.counters, instance).uptests];
}

static json_t *instance_json(struct conductor *conductor, const struct pool *pool,
                             const struct instance *instance)
{
    uint64_t in_flight = instance->state == INSTANCE_TORN_DOWN
                             ? 0
                             : counters_instance_in_flight(conductor->options.counters, instance->slot);
    return json_pack(
        "{s:s, s:s, s:s*, s:o*, s:I, s:o}", "address", instance->address, "state",
        conductor_instance_state(conductor, pool, instance), "uptests", uptests_of(conductor, instance),
        "weight", instance->weight == 1 ? NULL : json_integer(instance->weight), "in_flight",
        (json_int_t)in_flight, "pid", instance->pid == 0 ? json_null() : json_integer(instance->pid));
}

/* As the metric upswap_in_flight_by_class has it. */
static json_t *classes_json(const struct counters_pool *sum)
{
    json_t *classes = json_object();
    json_object_set_new(classes, "request", json_integer((json_int_t)counters_pool_brief(sum)));
    for (unsigned class = 0; class < COUNTERS_LASTING; class ++)
        json_object_set_new(classes, counters_lasting_names[class],
                            json_integer((json_int_t)sum->lasting[class]));
    return classes;
}

/* Without its instances. */
static json_t *pool_json(struct conductor *conductor, const struct pool *pool)
{
    struct counters_pool sum;
    uint64_t errors = 0;
    counters_pool_sum(conductor->options.counters, pool->slot, &sum);
    for (size_t i = 0; i < COUNTERS_ERRORS; i++)
        errors += sum.errors[i];
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:I, s:I}", "deployment", pool->name, "state",
                     pool_state_names[pool->state], "release", pool->release, "generation",
                     (json_int_t)pool->number, "in_flight", (json_int_t)sum.in_flight, "in_flight_by_class",
                     classes_json(&sum), "requests", (json_int_t)sum.requests, "errors", (json_int_t)errors);
}

static json_t *instances_json(struct conductor *conductor, const struct pool *pool, size_t from, size_t limit,
                              bool figures)
{
    json_t *instances = json_array();
    for (size_t i = from; i < pool->instance_count && i - from < limit; i++) {
        json_t *instance = instance_json(conductor, pool, &pool->instances[i]);
        if (figures)
            view_add_figures(conductor, instance, &pool->instances[i]);
        json_array_append_new(instances, instance);
    }
    return instances;
}

json_t *conductor_instances(struct conductor *conductor, const char *name, size_t from, size_t limit,
                            bool figures)
{
    const struct pool *pool = registry_pool(conductor->options.registry, name);
    return pool == NULL ? json_array() : instances_json(conductor, pool, from, limit, figures);
}

static const char *state_of(const struct service *service)
{
    if (service != NULL && service->mode.kind != MODE_SERVING)
        return mode_names[service->mode.kind];
    return service == NULL || service->live == NULL ? "empty" : "serving";
}

/* What the wall clock, as it is set now, showed or will show at a moment of the steady one. */
static json_t *shown_json(uint64_t steady_ns)
{
    return time_json(steady_ns + (uint64_t)clock_set_by_ns());
}

/* Of one that is not serving, else null. */
static json_t *mode_json(struct conductor *conductor, const struct service *service)
{
    const struct mode *mode = service == NULL ? NULL : &service->mode;
    if (mode == NULL || mode->kind == MODE_SERVING)
        return json_null();
    bool paused = mode->kind == MODE_PAUSED;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "since", shown_json(mode->since_ns), "until",
                     paused ? shown_json(mode->since_ns + mode->length_ms * NS_PER_MS) : json_null(),
                     "waiting",
                     paused ? json_integer((json_int_t)conductor_waiting(conductor, service)) : json_null(),
                     "message", view_text(mode->message), "deployment", view_text(mode->deployment),
                     "asked_by", view_asker(&mode->asker));
}

/* Those that are retired are not shown. */
static json_t *pools_json(struct conductor *conductor, const struct service *service, bool whole)
{
    json_t *pools = json_array();
    const struct pool *pool = service == NULL ? NULL : TAILQ_FIRST(&service->pools);
    for (; pool != NULL; pool = TAILQ_NEXT(pool, of_service)) {
        if (pool->state == POOL_RETIRED)
            continue;
        json_t *json = pool_json(conductor, pool);
        if (whole)
            json_object_set_new(json, "instances", instances_json(conductor, pool, 0, SIZE_MAX, false));
        json_array_append_new(pools, json);
    }
    return pools;
}

static json_t *service_json(struct conductor *conductor, const char *name, bool whole)
{
    const struct service *service = registry_service(conductor->options.registry, name);
    const struct pool *live = service == NULL ? NULL : service->live;
    const struct deployment *running = service == NULL ? NULL : service->running;
    const struct config_service *settings = conductor_settings(conductor, name);
    return json_pack(
        "{s:s, s:s, s:b, s:b, s:o, s:o, s:o, s:o}", "service", name, "state", state_of(service), "proxy_runs",
        world_is_served(conductor->world), "launches", settings != NULL && settings->launch.command.count > 0,
        "mode", mode_json(conductor, service), "live", live == NULL ? json_null() : json_string(live->name),
        "deployment", running == NULL ? json_null() : view_deployment(conductor, running->pool, false),
        "pools", pools_json(conductor, service, whole));
}

json_t *view_service(struct conductor *conductor, const char *name)
{
    return service_json(conductor, name, true);
}

json_t *conductor_service(struct conductor *conductor, const char *service)
{
    return conductor_settings(conductor, service) == NULL ? NULL : service_json(conductor, service, false);
}

/* ---- the whole ---- */

static json_t *listeners_json(const struct config *config, const struct sockets *sockets)
{
    json_t *list = json_array();
    for (size_t i = 0; i < sockets_count(sockets); i++) {
        const struct listening *listening = sockets_at(sockets, i);
        json_array_append_new(list,
                              json_pack("{s:s, s:s}", "address", config->listeners[listening->place].text,
                                        "bound", listening->bound));
    }
    return list;
}

json_t *conductor_status(struct conductor *conductor)
{
    const struct config *config = conductor->config;
    const struct sockets *sockets = conductor->options.sockets;
    json_t *pids = json_pack("{s:i, s:i, s:i}", "keeper", (int)conductor->options.keeper_pid, "control",
                             (int)getpid(), "proxy", (int)world_proxy_pid(conductor->world));
    if (conductor->options.finishing != NULL)
        json_object_set_new(pids, "finishing", finishing_pids(conductor->options.finishing));
    json_t *admin =
        json_pack("{s:s, s:o, s:o}", "socket", config->admin.socket, "listen",
                  view_text(config->admin.listen), "bound", view_text(sockets_admin_bound(sockets)));
    return json_pack("{s:s, s:b, s:I, s:I, s:o, s:o, s:o}", "version", version_text, "proxy_runs",
                     world_is_served(conductor->world), "snapshot",
                     (json_int_t)world_published(conductor->world), "last_event",
                     (json_int_t)event_log_last(conductor->options.events), "pids", pids, "listeners",
                     listeners_json(config, sockets), "admin", admin);
}
