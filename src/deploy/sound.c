/* sound.c knows which pools there can be. Records that say what happens to a pool lead from one of these to
 * another; a record that brings a whole one, as compactions write them, could say anything. */
#include "deploy/registry.h"

/* Its state, and how it was torn down, beside the state of its pool. */
static bool fits(const struct instance *instance, enum pool_state pool)
{
    if ((instance->state == INSTANCE_TORN_DOWN) != (instance->end != TEARDOWN_NONE))
        return false;
    switch (instance->state) {
    case INSTANCE_TORN_DOWN:
        return pool == POOL_DRAINING || pool == POOL_RETIRED;
    case INSTANCE_RETIRED:
        return pool == POOL_DRAINING;
    case INSTANCE_DOWN:
        return pool != POOL_LIVE && pool != POOL_RETIRED;
    default:
        return pool != POOL_RETIRED;
    }
}

/* One that is watched is live and has another one to go back to; a canary has a share of what another one
 * has. */
static bool may_run(const struct deployment *deployment, const struct service *service)
{
    const struct pool *live = service == NULL ? NULL : service->live;
    const struct pool *armed = service == NULL ? NULL : service->armed;
    enum pool_state pool = deployment->pool->state;
    if (deployment_state_is_watched(deployment->state))
        return pool == POOL_LIVE && armed != NULL && str_is_same(deployment->replaces, armed->name);
    if (deployment_state_is_canary(deployment->state) && (live == NULL || deployment->canary.taken == 0))
        return false;
    return pool == POOL_STAGED;
}

bool pool_is_sound(const struct pool *pool, const struct service *service, struct err *err)
{
    const struct deployment *deployment = pool->deployment;
    bool runs = deployment != NULL && deployment_state_is_running(deployment->state);
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        if (!fits(instance, pool->state))
            return err_set(err, "instance %s of pool %s is %s%s%s, which it cannot be in a pool that is %s",
                           instance->address, pool->name, instance_state_names[instance->state],
                           instance->end == TEARDOWN_NONE ? "" : ", its teardown ",
                           teardown_end_names[instance->end], pool_state_names[pool->state]);
    }
    if (runs ? !may_run(deployment, service) : pool->state == POOL_STAGED)
        return err_set(err, "pool %s is %s, which it cannot be while its deployment is %s", pool->name,
                       pool_state_names[pool->state],
                       deployment == NULL ? "none" : deployment_state_name(deployment->state));
    bool had_clients = pool->was_live || pool->state == POOL_LIVE || pool->state == POOL_ARMED;
    return deployment == NULL || deployment->gate_passed || !had_clients ||
           err_set(err, "pool %s cannot have had clients: its gate has not passed", pool->name);
}
