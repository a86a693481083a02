/* What was told last of each instance, compared with the cells. Invariant: an instance that is told to be out
 * has a record, and every record is of an instance that the last look found; while there is one, another look
 * is due. Services without ejection are not looked at: there may be ten thousand. */
#include "control/ejections.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>

#include <uthash.h>

#define LOOK_MS 250

struct outcast {
    uint64_t id; /* of the instance */
    bool seen;   /* by the look that runs */
    UT_hash_handle hh;
};

/* A service that has ejection on. */
struct ward {
    const struct service *service;
    UT_hash_handle hh;
};

struct ejections {
    struct ejections_options options;
    struct ward *wards;
    struct outcast *outcasts;
    struct deadline look;
};

static uint64_t left_ms(const struct ejections *ejections, const struct instance *instance)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t until_ms = counters_instance_ejected_until_ms(ejections->options.counters, instance->slot);
    return until_ms > now_ms ? until_ms - now_ms : 0;
}

static void announce(const struct ejections *ejections, const char *type, const struct pool *pool,
                     const struct instance *instance, const char *reason)
{
    event_log_add(
        ejections->options.events, type, pool->service->name, pool->name,
        json_pack("{s:s, s:s, s:s}", "instance", instance->address, "reason", reason, "by", "traffic"));
}

static void went_out(struct ejections *ejections, const struct pool *pool, const struct instance *instance,
                     uint64_t ms)
{
    struct outcast *outcast = mem_zero(1, sizeof *outcast);
    char *reason = mem_printf("requests to it failed one after the other; it is left alone for %.1f s",
                              (double)ms / 1000);
    outcast->id = instance->id;
    outcast->seen = true;
    HASH_ADD(hh, ejections->outcasts, id, sizeof outcast->id, outcast);
    log_warn("%s: instance %s is ejected: %s", pool->name, instance->address, reason);
    announce(ejections, "instance.ejected", pool, instance, reason);
    free(reason);
}

static void forget(struct ejections *ejections, struct outcast *outcast)
{
    HASH_DEL(ejections->outcasts, outcast);
    free(outcast);
}

static void came_back(struct ejections *ejections, const struct pool *pool, const struct instance *instance,
                      struct outcast *outcast)
{
    forget(ejections, outcast);
    log_info("%s: instance %s gets requests again", pool->name, instance->address);
    announce(ejections, "instance.restored", pool, instance, "its pause is over");
}

static void look_at(struct ejections *ejections, const struct pool *pool)
{
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        struct outcast *outcast;
        uint64_t ms = left_ms(ejections, instance);
        HASH_FIND(hh, ejections->outcasts, &instance->id, sizeof instance->id, outcast);
        if (outcast != NULL)
            outcast->seen = true;
        if (outcast == NULL && ms > 0)
            went_out(ejections, pool, instance, ms);
        else if (outcast != NULL && ms == 0)
            came_back(ejections, pool, instance, outcast);
    }
}

static bool ejects(const struct ejections *ejections, const struct service *service)
{
    const struct config_service *settings =
        ejections->options.settings(ejections->options.arg, service->name);
    return settings != NULL && settings->ejection.failures > 0;
}

static bool has_clients(const struct pool *pool)
{
    return pool->state == POOL_LIVE || pool->state == POOL_ARMED ||
           (pool->state == POOL_STAGED && deployment_state_is_canary(pool->deployment->state));
}

bool ejections_is_out(const struct ejections *ejections, const struct pool *pool,
                      const struct instance *instance)
{
    return has_clients(pool) && ejects(ejections, pool->service) && left_ms(ejections, instance) > 0;
}

static void forget_unseen(struct ejections *ejections)
{
    struct outcast *outcast, *next;
    HASH_ITER(hh, ejections->outcasts, outcast, next)
    {
        if (!outcast->seen)
            forget(ejections, outcast);
        else
            outcast->seen = false;
    }
}

static void look(struct deadline *deadline)
{
    struct ejections *ejections = mem_container(deadline, struct ejections, look);
    bool again = false;
    for (const struct ward *ward = ejections->wards; ward != NULL; ward = ward->hh.next) {
        const struct pool *pool;
        TAILQ_FOREACH (pool, &ward->service->pools, of_service) {
            if (!has_clients(pool))
                continue;
            look_at(ejections, pool);
            again = true;
        }
    }
    forget_unseen(ejections);
    if (again)
        deadline_set(&ejections->look, LOOK_MS);
}

static void watch_one(struct ejections *ejections, const struct service *service)
{
    struct ward *ward;
    HASH_FIND_PTR(ejections->wards, &service, ward);
    if (ejects(ejections, service) == (ward != NULL))
        return;
    if (ward != NULL) {
        HASH_DEL(ejections->wards, ward);
        free(ward);
        return;
    }
    ward = mem_zero(1, sizeof *ward);
    ward->service = service;
    HASH_ADD_PTR(ejections->wards, service, ward);
}

static void watch_all(struct ejections *ejections)
{
    const struct service *service = ejections->options.registry->services;
    for (; service != NULL; service = service->hh.next)
        watch_one(ejections, service);
}

void ejections_watch(struct ejections *ejections, const struct service *service)
{
    if (service == NULL)
        watch_all(ejections);
    else
        watch_one(ejections, service);
    if (ejections->wards != NULL && !deadline_is_set(&ejections->look))
        deadline_set(&ejections->look, 0);
}

struct ejections *ejections_new(const struct ejections_options *options)
{
    struct ejections *ejections = mem_zero(1, sizeof *ejections);
    ejections->options = *options;
    deadline_init(&ejections->look, options->loop, look);
    return ejections;
}
