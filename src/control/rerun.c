#include "control/rerun.h"

#include "base/mem.h"

#include <stdlib.h>

static const char **in_rotation(const struct pool *pool, size_t *count)
{
    const char **addresses = mem_zero(pool->instance_count, sizeof *addresses);
    *count = 0;
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (pool->instances[i].state == INSTANCE_UP)
            addresses[(*count)++] = pool->instances[i].address;
    }
    return addresses;
}

struct gate *rerun_start(struct loop *loop, const struct pool *pool, const struct config_service *settings,
                         bool required, const struct gate_callbacks *callbacks, void *arg)
{
    size_t count;
    const char **addresses = in_rotation(pool, &count);
    struct gate_plan plan = {.uptests = &settings->uptests,
                             .service = pool->service->name,
                             .release = pool->release,
                             .deployment = pool->name,
                             .vhost = gate_vhost(settings),
                             .instances = addresses,
                             .instance_count = count};
    struct gate *run = gate_start(loop, &plan, required, callbacks, arg);
    free(addresses);
    return run;
}
