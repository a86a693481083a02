/* traffic: what services have answered in the last minutes, as JSON, and when their clients moved to another
 * pool. The moves are read from the timelines, so they are there after a restart, too. Changes nothing. */
#include "base/clock.h"
#include "control/conduct.h"

#define NS_PER_S 1000000000

_Static_assert(TRAFFIC_SECONDS_MAX * 1000 == RECENT_SLICES * RECENT_SLICE_MS, "all that is kept can be had");

static json_t *time_json(uint64_t wall_ns)
{
    char text[CLOCK_TEXT_SIZE];
    return json_string(clock_text(wall_ns, text));
}

/* Null where there is no request to tell it from. */
static json_t *duration(const struct recent_slice *slice, uint32_t us)
{
    return slice->requests == 0 ? json_null() : json_real((double)us / 1e6);
}

static json_t *slice_json(const struct recent_slice *slice)
{
    return json_pack("{s:o, s:f, s:I, s:I, s:o, s:o}", "time", time_json(slice->begun_ns), "seconds",
                     slice->seconds, "requests", (json_int_t)slice->requests, "errors",
                     (json_int_t)slice->errors, "p50", duration(slice, slice->p50_us), "p99",
                     duration(slice, slice->p99_us));
}

json_t *conductor_traffic(struct conductor *conductor)
{
    const struct service *service = conductor->options.registry->services;
    json_t *services = json_array();
    for (; service != NULL; service = service->hh.next) {
        struct recent_slice slice;
        if (!recent_is_known(conductor->recent, service->name) ||
            recent_read(conductor->recent, service->name, 1, &slice) == 0)
            continue;
        json_t *json = slice_json(&slice);
        json_object_set_new(json, "service", json_string(service->name));
        json_array_append_new(services, json);
    }
    return json_pack("{s:o}", "services", services);
}

/* ---- moves ---- */

/* What a moment was for the clients; NULL: nothing. */
static const char *move_of(const struct deployment *deployment, size_t index)
{
    enum deployment_state before = index == 0 ? DEPLOYMENT_STATES : deployment->timeline[index - 1].state;
    bool was_live = before == DEPLOYMENT_WATCHING || before == DEPLOYMENT_DOUBTED;
    switch (deployment->timeline[index].state) {
    case DEPLOYMENT_CANARY:
        return "canary";
    case DEPLOYMENT_WATCHING:
    case DEPLOYMENT_DRAINING:
        return was_live ? NULL : "swap";
    case DEPLOYMENT_ROLLED_BACK:
        return "rollback";
    default:
        return NULL;
    }
}

static void add_moves(json_t *moves, const struct pool *pool, uint64_t since_ns)
{
    const struct deployment *deployment = pool->deployment;
    for (size_t i = 0; deployment != NULL && i < deployment->timeline_count; i++) {
        const char *move = move_of(deployment, i);
        if (move != NULL && deployment->timeline[i].time_ns >= since_ns)
            json_array_append_new(moves, json_pack("{s:o, s:s, s:s, s:s}", "time",
                                                   time_json(deployment->timeline[i].time_ns), "move", move,
                                                   "deployment", pool->name, "release", pool->release));
    }
}

static json_t *moves_json(const struct service *service, uint64_t since_ns)
{
    const struct pool *pool;
    json_t *moves = json_array();
    if (service != NULL) {
        TAILQ_FOREACH (pool, &service->pools, of_service)
            add_moves(moves, pool, since_ns);
    }
    return moves;
}

json_t *conductor_service_traffic(struct conductor *conductor, const char *name, uint64_t seconds)
{
    const struct service *service = registry_service(conductor->options.registry, name);
    struct recent_slice slices[RECENT_SLICES];
    if (conductor_settings(conductor, name) == NULL)
        return NULL;
    size_t most = (size_t)(seconds * 1000 + RECENT_SLICE_MS - 1) / RECENT_SLICE_MS;
    size_t count = recent_read(conductor->recent, name, most, slices);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, slice_json(&slices[i]));
    return json_pack("{s:s, s:o, s:o}", "service", name, "slices", list, "moves",
                     moves_json(service, clock_wall_ns() - seconds * NS_PER_S));
}
