/* record.c writes records; record_decode.c reads them back, and what one writes the other takes, byte by
 * byte. */
#include "deploy/record.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "deploy/record_names.h"

const char *const record_type_names[RECORD_TYPES] = {
    [RECORD_POOL] = "pool",       [RECORD_EVENT] = "event",     [RECORD_ADDED] = "added",
    [RECORD_ROTATED] = "rotated", [RECORD_RETIRED] = "retired", [RECORD_TORN_DOWN] = "torn_down",
    [RECORD_MODE] = "mode",       [RECORD_WORLD] = "world",
};

void record_init(struct record *record, enum record_type type, const char *pool)
{
    *record = (struct record){.type = type, .pool = mem_dup(pool), .asker = {.uid = -1}};
}

void record_add_instance(struct record *record, size_t index)
{
    size_t count = record->instance_count;
    record->instances = mem_resize(record->instances, count + 1, sizeof *record->instances);
    record->instances[count] = (uint32_t)index;
    record->instance_count = count + 1;
}

struct instance *record_added(struct record *record)
{
    record->added = mem_zero(1, sizeof *record->added);
    record->added->weight = 1;
    return record->added;
}

void record_free(struct record *record)
{
    if (record->added != NULL) {
        free(record->added->address);
        free(record->added->resolved);
    }
    free(record->added);
    free(record->instances);
    mode_free(&record->mode);
    free(record->why);
    free(record->service);
    free(record->pool);
    pool_free(record->fresh);
}

bool pool_name_parse(struct str name, struct str *service, uint64_t *number)
{
    size_t dash = name.n;
    while (dash > 0 && name.p[dash - 1] != '-')
        dash--;
    if (dash < 2 || !str_to_u64((struct str){name.p + dash, name.n - dash}, number))
        return false;
    *service = (struct str){name.p, dash - 1};
    return true;
}

static void set(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value);
    assert(failed == 0);
    (void)failed;
}

/* NULL: no time, and then no key. */
static json_t *time_json(uint64_t time_ns)
{
    char text[CLOCK_TEXT_SIZE];
    return time_ns == 0 ? NULL : json_string(clock_text(time_ns, text));
}

static json_t *number_json(uint64_t number)
{
    return json_integer((json_int_t)number);
}

static json_t *asker_json(const struct asker *asker)
{
    return json_pack("{s:I, s:s, s:I}", "uid", (json_int_t)asker->uid, "user", asker->user, "pid",
                     (json_int_t)asker->pid);
}

/* Programs from before tunnels had a time of their own give them that of websockets; so it is left out then.
 */
static json_t *drain_json(const struct drain_times *drain)
{
    json_t *json = json_pack("[I, I, I, I]", (json_int_t)drain->requests_ms, (json_int_t)drain->streams_ms,
                             (json_int_t)drain->websockets_ms, (json_int_t)drain->spread_ms);
    if (drain->tunnels_ms != drain->websockets_ms)
        json_array_append_new(json, number_json(drain->tunnels_ms));
    return json;
}

/* What is as usual is left out, so that programs from before there were weights read it. */
static json_t *weight_json(const struct instance *instance)
{
    return instance->weight == 1 ? NULL : number_json(instance->weight);
}

static json_t *instance_json(const struct instance *instance)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:o*, s:I, s:I, s:s, s:b, s:s}", "address", instance->address,
                     "resolved", instance->resolved, "id", (json_int_t)instance->id, "slot",
                     (json_int_t)instance->slot, "weight", weight_json(instance), "pid",
                     (json_int_t)instance->pid, "pid_start", (json_int_t)instance->pid_start, "state",
                     instance_state_names[instance->state], "forced", instance->forced, "end",
                     teardown_end_names[instance->end]);
}

static json_t *timeline_json(const struct deployment *deployment)
{
    json_t *timeline = json_array();
    for (size_t i = 0; i < deployment->timeline_count; i++) {
        const struct moment *moment = &deployment->timeline[i];
        json_array_append_new(
            timeline, json_pack("{s:o, s:s, s:s*, s:s*}", "time", time_json(moment->time_ns), "state",
                                deployment_state_name(moment->state), "why", moment->why, "by", moment->by));
    }
    return timeline;
}

static json_t *canary_json(const struct canary *canary)
{
    json_t *shares = json_array();
    for (size_t i = 0; i < canary->count; i++)
        json_array_append_new(shares, number_json(canary->shares[i]));
    return json_pack("{s:o, s:I, s:I}", "shares", shares, "taken", (json_int_t)canary->taken, "step",
                     (json_int_t)canary->step_ms);
}

static json_t *pause_json(const struct deployment *deployment)
{
    json_t *command = json_array();
    for (size_t i = 0; i < deployment->pause_with_count; i++)
        json_array_append_new(command, json_string(deployment->pause_with[i]));
    return json_pack("{s:o, s:I}", "command", command, "length", (json_int_t)deployment->pause_ms);
}

static json_t *deployment_json(const struct deployment *deployment)
{
    if (deployment == NULL)
        return NULL;
    json_t *json =
        json_pack("{s:s, s:b, s:b, s:b, s:b, s:s*, s:s*, s:o, s:o, s:o*, s:o}", "state",
                  deployment_state_name(deployment->state), "hold", deployment->hold, "allow_untested",
                  deployment->allow_untested, "untested", deployment->untested, "gate_passed",
                  deployment->gate_passed, "reason", deployment->reason, "replaces", deployment->replaces,
                  "asked_by", asker_json(&deployment->asker), "created", time_json(deployment->created_ns),
                  "ended", time_json(deployment->ended_ns), "timeline", timeline_json(deployment));
    if (deployment->since_ns > 0)
        set(json, "since", time_json(deployment->since_ns));
    if (deployment->flaw != NULL)
        set(json, "flaw", json_string(deployment->flaw));
    if (deployment->shadow_ms > 0)
        set(json, "shadow", number_json(deployment->shadow_ms));
    if (deployment->watch_ms > 0)
        set(json, "watch", number_json(deployment->watch_ms));
    if (deployment->pause_with_count > 0)
        set(json, "pause", pause_json(deployment));
    if (deployment->canary.count > 0)
        set(json, "canary", canary_json(&deployment->canary));
    return json;
}

static json_t *pool_json(const struct pool *pool)
{
    json_t *instances = json_array();
    for (size_t i = 0; i < pool->instance_count; i++)
        json_array_append_new(instances, instance_json(&pool->instances[i]));
    return json_pack("{s:s, s:s, s:s, s:I, s:b, s:s, s:s*, s:o*, s:I, s:o, s:o*, s:o, s:o*}", "name",
                     pool->name, "release", pool->release, "state", pool_state_names[pool->state], "slot",
                     (json_int_t)pool->slot, "was_live", pool->was_live, "reason",
                     retire_reason_names[pool->reason], "replaced_by", pool->replaced_by, "since",
                     time_json(pool->going_since_ns), "since_world", (json_int_t)pool->going_since_world,
                     "drain", drain_json(&pool->drain), "pinned",
                     pool->drain.pinned_ms > 0 ? number_json(pool->drain.pinned_ms) : NULL, "instances",
                     instances, "deployment", deployment_json(pool->deployment));
}

static void add_event(json_t *line, const struct record *record)
{
    set(line, "event", json_string(deployment_event_name(record->event)));
    if (record->world != 0)
        set(line, "drain", drain_json(&record->drain));
    if (record->world != 0 && record->drain.pinned_ms > 0)
        set(line, "pinned", number_json(record->drain.pinned_ms));
}

static void add_instances(json_t *line, const struct record *record)
{
    json_t *instances = json_array();
    for (size_t i = 0; i < record->instance_count; i++)
        json_array_append_new(instances, json_integer(record->instances[i]));
    set(line, "instances", instances);
    if (record->type == RECORD_ROTATED)
        set(line, "out", json_boolean(record->out));
    else if (record->type == RECORD_TORN_DOWN)
        set(line, "end", json_string(teardown_end_names[record->end]));
    if (record->type == RECORD_RETIRED) {
        set(line, "forced", json_boolean(record->forced));
        set(line, "left", json_boolean(record->left));
    }
}

static void add_mode(json_t *line, const struct record *record)
{
    const struct mode *mode = &record->mode;
    set(line, "service", json_string(record->service));
    set(line, "mode", json_string(mode_names[mode->kind]));
    if (mode->since_ns != 0)
        set(line, "since", time_json(mode->since_ns));
    if (mode->kind == MODE_PAUSED) {
        set(line, "length", number_json(mode->length_ms));
        set(line, "rate", number_json(mode->rate));
        set(line, "slot", number_json(mode->slot));
    }
    if (mode->deployment != NULL)
        set(line, "deployment", json_string(mode->deployment));
    if (mode->message != NULL)
        set(line, "message", json_string(mode->message));
}

static void add_asker_and_why(json_t *line, const struct record *record)
{
    if (record->why != NULL)
        set(line, "why", json_string(record->why));
    if (record->asker.user[0] != '\0' || record->asker.uid != -1)
        set(line, "asked_by", asker_json(&record->asker));
}

uint64_t record_moment_ns(const struct record *record)
{
    return record->steady_ns != 0 ? record->steady_ns : record->time_ns;
}

char *record_encode(const struct record *record, size_t *size)
{
    json_t *line = json_object();
    set(line, "seq", number_json(record->seq));
    set(line, "time", time_json(record->time_ns));
    if (record->steady_ns != 0)
        set(line, "steady", time_json(record->steady_ns));
    set(line, "type", json_string(record_type_names[record->type]));
    if (record->world != 0)
        set(line, "world", number_json(record->world));
    if (record->type == RECORD_POOL) {
        set(line, "service", json_string(record->service));
        set(line, "pool", pool_json(record->fresh));
    } else if (record->type == RECORD_MODE) {
        add_mode(line, record);
    } else if (record->type != RECORD_WORLD) {
        set(line, "pool", json_string(record->pool));
        if (record->type == RECORD_EVENT)
            add_event(line, record);
        else if (record->type == RECORD_ADDED)
            set(line, "instance", instance_json(record->added));
        else
            add_instances(line, record);
    }
    add_asker_and_why(line, record);

    char *text = json_dumps(line, JSON_COMPACT);
    assert(text != NULL); /* every text in a record is UTF-8: checked where it comes in */
    json_decref(line);
    size_t n = strlen(text) - 1; /* without the closing brace */
    char *whole = mem_printf("%.*s,\"crc\":\"%08" PRIx32 "\"}\n", (int)n, text, crc32c(text, n));
    free(text);
    *size = strlen(whole);
    return whole;
}
