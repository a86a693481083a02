/* record_decode: the journal is read strictly: a wrong checksum, an unknown key or a missing one, a wrong
 * type or name: the line is refused, with what was wrong. */
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/endpoint.h"
#include "base/mem.h"
#include "deploy/record_names.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define CRC_TAIL (sizeof(",\"crc\":\"01234567\"}") - 1)

/* Opens an object strictly: every key is named, none is left over. */
#define UNPACK(json, err, ...)                                                                             \
    ({                                                                                                     \
        json_error_t fault;                                                                                \
        json_unpack_ex((json), &fault, JSON_STRICT, __VA_ARGS__) == 0 || err_set((err), "%s", fault.text); \
    })

static bool find_name(const char *const *names, unsigned count, const char *name, unsigned *index,
                      struct err *err)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            *index = i;
            return true;
        }
    }
    err_set(err, "\"%s\" is no known name here", name);
    return false;
}

/* Of a text that is not there: 0. So 0 itself is none, and is never written. */
static bool to_time(const char *text, uint64_t *time_ns, struct err *err)
{
    if (text == NULL) {
        *time_ns = 0;
        return true;
    }
    return (clock_parse(str_of(text), time_ns) && *time_ns != 0) || err_set(err, "\"%s\" is no time", text);
}

static bool to_count(json_int_t number, uint64_t *count, struct err *err)
{
    if (number < 0)
        return err_set(err, "%" JSON_INTEGER_FORMAT " is below 0", number);
    *count = (uint64_t)number;
    return true;
}

static bool to_slot(json_int_t number, uint32_t *slot, struct err *err)
{
    if (number < 0 || number > UINT32_MAX)
        return err_set(err, "%" JSON_INTEGER_FORMAT " is no slot or index", number);
    *slot = (uint32_t)number;
    return true;
}

static bool to_asker(json_t *json, struct asker *asker, struct err *err)
{
    json_int_t uid, pid;
    const char *user;
    if (!UNPACK(json, err, "{s:I, s:s, s:I}", "uid", &uid, "user", &user, "pid", &pid))
        return false;
    asker->uid = uid;
    asker->pid = pid;
    snprintf(asker->user, sizeof asker->user, "%s", user);
    return true;
}

/* Where there are but four numbers, tunnels have that of websockets. */
static bool to_drain(json_t *json, struct drain_times *drain, struct err *err)
{
    json_int_t requests, streams, websockets, spread, tunnels;
    bool is_old = json_array_size(json) == 4;
    bool is_read =
        is_old ? UNPACK(json, err, "[I, I, I, I]", &requests, &streams, &websockets, &spread)
               : UNPACK(json, err, "[I, I, I, I, I]", &requests, &streams, &websockets, &spread, &tunnels);
    return is_read && to_count(requests, &drain->requests_ms, err) &&
           to_count(streams, &drain->streams_ms, err) && to_count(websockets, &drain->websockets_ms, err) &&
           to_count(spread, &drain->spread_ms, err) &&
           to_count(is_old ? websockets : tunnels, &drain->tunnels_ms, err);
}

static bool to_instance(json_t *json, struct instance *instance, struct err *err)
{
    const char *address, *resolved, *state, *end;
    json_int_t id, slot, weight = 1, pid, pid_start;
    int forced;
    unsigned found_state, found_end;
    if (!UNPACK(json, err, "{s:s, s:s, s:I, s:I, s?I, s:I, s:I, s:s, s:b, s:s}", "address", &address,
                "resolved", &resolved, "id", &id, "slot", &slot, "weight", &weight, "pid", &pid, "pid_start",
                &pid_start, "state", &state, "forced", &forced, "end", &end))
        return false;
    instance->address = mem_dup(address);
    instance->resolved = mem_dup(resolved);
    instance->pid = pid;
    instance->forced = forced != 0;
    if (!to_count(id, &instance->id, err) || !to_slot(slot, &instance->slot, err) ||
        !endpoint_weight(weight, err) || !to_count(pid_start, &instance->pid_start, err) ||
        !find_name(instance_state_names, INSTANCE_STATES, state, &found_state, err) ||
        !find_name(teardown_end_names, TEARDOWN_ENDS, end, &found_end, err))
        return false;
    instance->weight = (uint32_t)weight;
    instance->state = (enum instance_state)found_state;
    instance->end = (enum teardown_end)found_end;
    return true;
}

static bool to_timeline(json_t *json, struct deployment *deployment, struct err *err)
{
    if (!json_is_array(json))
        return err_set(err, "\"timeline\" is no array");
    size_t i;
    json_t *item;
    json_array_foreach (json, i, item) {
        const char *time, *state, *why = NULL, *by = NULL;
        uint64_t time_ns;
        if (!UNPACK(item, err, "{s:s, s:s, s?s, s?s}", "time", &time, "state", &state, "why", &why, "by",
                    &by) ||
            !to_time(time, &time_ns, err))
            return false;
        if (!deployment_state_parse(str_of(state), &deployment->state))
            return err_set(err, "\"%s\" is no state of a deployment", state);
        deployment_mark(deployment, time_ns, why, by);
    }
    return true;
}

static bool to_canary(json_t *json, struct canary *canary, struct err *err)
{
    json_t *shares, *share;
    json_int_t taken, step;
    uint64_t had = 0;
    size_t i;
    if (json == NULL)
        return true;
    if (!UNPACK(json, err, "{s:o, s:I, s:I}", "shares", &shares, "taken", &taken, "step", &step) ||
        !to_count(taken, &had, err) || !to_count(step, &canary->step_ms, err))
        return false;
    canary->count = json_array_size(shares);
    canary->taken = had;
    if (canary->count == 0 || canary->count > CANARY_SHARES_MAX || had > canary->count)
        return err_set(err, "\"canary\" has no shares, more than %d, or took more than it has",
                       CANARY_SHARES_MAX);
    json_array_foreach (shares, i, share) {
        json_int_t value = json_integer_value(share);
        if (value <= (i == 0 ? 0 : (json_int_t)canary->shares[i - 1]) || value >= CANARY_WHOLE)
            return err_set(err, "\"canary\" holds something that is no rising share");
        canary->shares[i] = (uint32_t)value;
    }
    return true;
}

static bool to_pause_with(json_t *json, struct deployment *deployment, struct err *err)
{
    json_t *command, *word;
    json_int_t length;
    size_t i;
    if (json == NULL)
        return true;
    const char *argv[PAUSE_WITH_MAX];
    if (!UNPACK(json, err, "{s:o, s:I}", "command", &command, "length", &length) ||
        !to_count(length, &deployment->pause_ms, err))
        return false;
    if (!json_is_array(command) || json_array_size(command) == 0 || json_array_size(command) > PAUSE_WITH_MAX)
        return err_set(err, "\"command\" is no list of 1 to %d words", PAUSE_WITH_MAX);
    json_array_foreach (command, i, word) {
        argv[i] = json_string_value(word);
        if (argv[i] == NULL)
            return err_set(err, "\"command\" holds something that is no text");
    }
    deployment_pause_with(deployment, argv, json_array_size(command), deployment->pause_ms);
    return true;
}

static bool to_deployment(json_t *json, struct pool *pool, struct err *err)
{
    if (json == NULL)
        return true;
    const char *state, *reason = NULL, *replaces = NULL, *created, *ended = NULL, *since = NULL, *flaw = NULL;
    int hold, allow_untested, untested, gate_passed;
    json_int_t watch = 0, shadow = 0;
    json_t *asker, *timeline, *canary = NULL, *pause = NULL;
    if (!UNPACK(json, err,
                "{s:s, s:b, s:b, s:b, s:b, s?s, s?s, s:o, s:s, s?s, s:o, s?s, s?s, s?I, s?I, s?o, s?o}",
                "state", &state, "hold", &hold, "allow_untested", &allow_untested, "untested", &untested,
                "gate_passed", &gate_passed, "reason", &reason, "replaces", &replaces, "asked_by", &asker,
                "created", &created, "ended", &ended, "timeline", &timeline, "since", &since, "flaw", &flaw,
                "watch", &watch, "shadow", &shadow, "canary", &canary, "pause", &pause))
        return false;
    struct deployment *deployment = pool_deploy(pool);
    deployment->hold = hold != 0;
    deployment->allow_untested = allow_untested != 0;
    deployment->untested = untested != 0;
    deployment->gate_passed = gate_passed != 0;
    deployment->reason = mem_dup(reason);
    deployment->flaw = mem_dup(flaw);
    deployment->replaces = mem_dup(replaces);
    if (!to_asker(asker, &deployment->asker, err) || !to_time(created, &deployment->created_ns, err) ||
        !to_time(ended, &deployment->ended_ns, err) || !to_timeline(timeline, deployment, err) ||
        !to_time(since, &deployment->since_ns, err) || !to_count(watch, &deployment->watch_ms, err) ||
        !to_count(shadow, &deployment->shadow_ms, err) || !to_canary(canary, &deployment->canary, err) ||
        !to_pause_with(pause, deployment, err))
        return false;
    return deployment_state_parse(str_of(state), &deployment->state) ||
           err_set(err, "\"%s\" is no state of a deployment", state);
}

/* The parts of a pool that need no array. */
static bool to_pool_state(struct pool *pool, const char *state, const char *reason, const char *since,
                          json_int_t since_world, json_t *drain, json_int_t pinned, struct err *err)
{
    unsigned found_state, found_reason;
    if (!find_name(pool_state_names, POOL_STATES, state, &found_state, err) ||
        !find_name(retire_reason_names, RETIRE_REASONS, reason, &found_reason, err) ||
        !to_time(since, &pool->going_since_ns, err) ||
        !to_count(since_world, &pool->going_since_world, err) || !to_drain(drain, &pool->drain, err) ||
        !to_count(pinned, &pool->drain.pinned_ms, err))
        return false;
    pool->state = (enum pool_state)found_state;
    pool->reason = (enum retire_reason)found_reason;
    return true;
}

static bool to_pool(json_t *json, struct record *record, struct err *err)
{
    const char *name, *release, *state, *reason, *replaced_by = NULL, *since = NULL;
    json_int_t slot, since_world, pinned = 0;
    int was_live;
    json_t *drain, *instances, *deployment = NULL;
    if (!UNPACK(json, err, "{s:s, s:s, s:s, s:I, s:b, s:s, s?s, s?s, s:I, s:o, s?I, s:o, s?o}", "name", &name,
                "release", &release, "state", &state, "slot", &slot, "was_live", &was_live, "reason", &reason,
                "replaced_by", &replaced_by, "since", &since, "since_world", &since_world, "drain", &drain,
                "pinned", &pinned, "instances", &instances, "deployment", &deployment))
        return false;
    if (!json_is_array(instances))
        return err_set(err, "\"instances\" is no array");
    struct pool *pool = pool_new(name, release, json_array_size(instances));
    record->fresh = pool;
    pool->was_live = was_live != 0;
    pool->replaced_by = mem_dup(replaced_by);
    if (!to_slot(slot, &pool->slot, err) ||
        !to_pool_state(pool, state, reason, since, since_world, drain, pinned, err))
        return false;
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (!to_instance(json_array_get(instances, i), &pool->instances[i], err))
            return false;
    }
    return to_deployment(deployment, pool, err);
}

static bool to_event(json_t *line, struct record *record, struct err *err)
{
    const char *event;
    json_t *drain = NULL;
    json_int_t pinned = 0;
    if (!UNPACK(line, err, "{s:s, s?o, s?I}", "event", &event, "drain", &drain, "pinned", &pinned) ||
        !to_count(pinned, &record->drain.pinned_ms, err))
        return false;
    if (!deployment_event_parse(str_of(event), &record->event))
        return err_set(err, "\"%s\" is no event of a deployment", event);
    if ((drain != NULL) != (record->world != 0) || (pinned != 0 && drain == NULL))
        return err_set(err, "the keys do not fit the event \"%s\"", event);
    return drain == NULL || to_drain(drain, &record->drain, err);
}

static bool to_added(json_t *line, struct record *record, struct err *err)
{
    json_t *instance;
    return UNPACK(line, err, "{s:o}", "instance", &instance) &&
           to_instance(instance, record_added(record), err);
}

static bool to_indexes(json_t *json, struct record *record, struct err *err)
{
    if (!json_is_array(json))
        return err_set(err, "\"instances\" is no array");
    size_t i;
    json_t *item;
    json_array_foreach (json, i, item) {
        uint32_t index = 0;
        if (!json_is_integer(item) || !to_slot(json_integer_value(item), &index, err))
            return err_set(err, "\"instances\" holds something that is no index");
        record_add_instance(record, index);
    }
    return true;
}

static bool to_instances(json_t *line, struct record *record, struct err *err)
{
    json_t *instances;
    int flag, left;
    const char *end;
    unsigned found = TEARDOWN_NONE;
    if (record->type == RECORD_TORN_DOWN) {
        if (!UNPACK(line, err, "{s:o, s:s}", "instances", &instances, "end", &end) ||
            !find_name(teardown_end_names, TEARDOWN_ENDS, end, &found, err))
            return false;
        record->end = (enum teardown_end)found;
    } else if (record->type == RECORD_ROTATED) {
        if (!UNPACK(line, err, "{s:o, s:b}", "instances", &instances, "out", &flag))
            return false;
        record->out = flag != 0;
    } else {
        if (!UNPACK(line, err, "{s:o, s:b, s:b}", "instances", &instances, "forced", &flag, "left", &left))
            return false;
        record->forced = flag != 0;
        record->left = left != 0;
    }
    return to_indexes(instances, record, err);
}

/* Takes a key out of the line, so that what is left at the end was not expected. NULL: not there. */
static json_t *take(json_t *line, const char *key)
{
    json_t *value = json_incref(json_object_get(line, key));
    json_object_del(line, key);
    return value;
}

static bool to_type(const char *type, struct record *record, struct err *err)
{
    unsigned found;
    if (!find_name(record_type_names, RECORD_TYPES, type, &found, err))
        return false;
    record->type = (enum record_type)found;
    return true;
}

/* What stands in every record. */
static bool to_common(json_t *line, struct record *record, struct err *err)
{
    json_t *asker = take(line, "asked_by");
    bool ok = asker == NULL || to_asker(asker, &record->asker, err);
    json_decref(asker);
    json_t *head = json_object();
    static const char *const keys[] = {"seq", "time", "steady", "type", "world", "why"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        json_t *value = take(line, keys[i]);
        if (value != NULL)
            json_object_set_new(head, keys[i], value);
    }
    json_int_t seq, world = 0;
    const char *time, *steady = NULL, *type, *why = NULL;
    ok = ok &&
         UNPACK(head, err, "{s:I, s:s, s?s, s:s, s?I, s?s}", "seq", &seq, "time", &time, "steady", &steady,
                "type", &type, "world", &world, "why", &why) &&
         to_count(seq, &record->seq, err) && to_time(time, &record->time_ns, err) &&
         to_time(steady, &record->steady_ns, err) && to_count(world, &record->world, err) &&
         to_type(type, record, err);
    record->why = ok ? mem_dup(why) : NULL;
    json_decref(head);
    return ok;
}

static bool to_whole_pool(json_t *line, struct record *record, struct err *err)
{
    const char *service;
    json_t *pool;
    if (!UNPACK(line, err, "{s:s, s:o}", "service", &service, "pool", &pool))
        return false;
    record->service = mem_dup(service);
    return to_pool(pool, record, err);
}

/* Exactly those of a pause. */
static bool to_pause(json_t *line, struct mode *mode, struct err *err)
{
    static const char *const keys[] = {"length", "rate", "slot"};
    json_t *pause = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        json_t *value = take(line, keys[i]);
        if (value != NULL)
            json_object_set_new(pause, keys[i], value);
    }
    json_int_t length = 0, rate = 0, slot = 0;
    bool ok = mode->kind != MODE_PAUSED
                  ? UNPACK(pause, err, "{}")
                  : UNPACK(pause, err, "{s:I, s:I, s:I}", "length", &length, "rate", &rate, "slot", &slot) &&
                        to_count(length, &mode->length_ms, err) && to_slot(rate, &mode->rate, err) &&
                        to_slot(slot, &mode->slot, err);
    json_decref(pause);
    return ok && (slot < MODE_SLOTS || err_set(err, "the slot %u of a pause cannot be", mode->slot));
}

static bool to_mode(json_t *line, struct record *record, struct err *err)
{
    struct mode *mode = &record->mode;
    json_t *name = take(line, "mode");
    const char *service, *since = NULL, *message = NULL, *deployment = NULL;
    unsigned kind = 0;
    bool ok = name != NULL && json_is_string(name)
                  ? find_name(mode_names, MODE_KINDS, json_string_value(name), &kind, err)
                  : err_set(err, "the mode is missing");
    json_decref(name);
    mode->kind = (enum mode_kind)kind;
    if (!ok || !to_pause(line, mode, err) ||
        !UNPACK(line, err, "{s:s, s?s, s?s, s?s}", "service", &service, "since", &since, "message", &message,
                "deployment", &deployment) ||
        (since != NULL && !to_time(since, &mode->since_ns, err)))
        return false;
    if (message != NULL && (kind != MODE_MAINTENANCE || strlen(message) > MODE_MESSAGE_MAX))
        return err_set(err, "the message does not fit the mode \"%s\"", mode_names[kind]);
    if (deployment != NULL && kind != MODE_PAUSED)
        return err_set(err, "a deployment does not fit the mode \"%s\"", mode_names[kind]);
    record->service = mem_dup(service);
    mode->message = mem_dup(message);
    mode->deployment = mem_dup(deployment);
    return true;
}

static bool to_rest(json_t *line, struct record *record, struct err *err)
{
    if (record->type == RECORD_POOL)
        return to_whole_pool(line, record, err);
    if (record->type == RECORD_MODE)
        return to_mode(line, record, err);
    if (record->type == RECORD_WORLD)
        return UNPACK(line, err, "{}");
    json_t *pool = take(line, "pool");
    record->pool = mem_dup(json_string_value(pool));
    json_decref(pool);
    if (record->pool == NULL)
        return err_set(err, "the name of the pool is missing");
    switch (record->type) {
    case RECORD_EVENT:
        return to_event(line, record, err);
    case RECORD_ADDED:
        return to_added(line, record, err);
    default:
        return to_instances(line, record, err);
    }
}

bool record_is_whole(struct str line)
{
    char tail[32];
    if (line.n <= CRC_TAIL)
        return false;
    size_t n = line.n - CRC_TAIL;
    snprintf(tail, sizeof tail, ",\"crc\":\"%08" PRIx32 "\"}", crc32c(line.p, n));
    return memcmp(line.p + n, tail, CRC_TAIL) == 0;
}

bool record_decode(struct str line, struct record *record, struct err *err)
{
    record_init(record, RECORD_WORLD, NULL);
    if (!record_is_whole(line))
        return err_set(err, "its checksum is wrong");
    json_error_t fault;
    json_t *json = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &fault);
    if (json == NULL)
        return err_set(err, "it is no JSON: %s", fault.text);
    json_object_del(json, "crc");
    bool ok = to_common(json, record, err) && to_rest(json, record, err);
    json_decref(json);
    if (!ok) {
        record_free(record);
        record_init(record, RECORD_WORLD, NULL);
    }
    return ok;
}
