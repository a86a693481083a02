/* The shadow gate of a running deployment: how long it lasts and what comes of it. The copies are made by the
 * proxy while the world has a shadow, which follows from the deployment's state. */
#include "base/mem.h"
#include "control/conduct.h"
#include "control/shadow_verdict.h"

#include <stdlib.h>

#define MILLION 1e6

static struct shadow_limits limits_of(const struct config_shadow *shadow)
{
    return (struct shadow_limits){.minimum = shadow->minimum,
                                  .share = (double)shadow->share / MILLION,
                                  .differ = (double)shadow->differ / MILLION,
                                  .latency = (double)shadow->latency / MILLION};
}

void course_shadow(struct course *course, const struct pool *pool)
{
    deadline_set(&course->shadow, pool->deployment->shadow_ms);
}

static json_t *sum_up(struct conductor *conductor, const struct pool *pool,
                      const struct config_shadow *shadow, bool *passed, char **why)
{
    struct shadow_limits limits = limits_of(shadow);
    struct shadow_sum *sum = mem_alloc(sizeof *sum);
    shadow_sum(conductor->options.counters, pool->slot, pool->deployment->since_ns, sum);
    *passed = shadow_judge(sum, &limits, why);
    json_t *json = shadow_json(sum, &limits);
    free(sum);
    return json;
}

void course_shadow_is_over(struct deadline *deadline)
{
    struct course *course = mem_container(deadline, struct course, shadow);
    struct conductor *conductor = course->conductor;
    const struct service *service = registry_service(conductor->options.registry, course->service);
    const struct config_service *settings = conductor_settings(conductor, course->service);
    if (service == NULL || service->running == NULL)
        return;
    const struct pool *pool = service->running->pool;
    if (settings == NULL || settings->shadow.line == 0) {
        step_event(course, pool->name, settings == NULL ? EVENT_SHADOW_FAILED : EVENT_SHADOW_PASSED,
                   "shadow: the config has none for this service any more: not judged");
        return;
    }
    bool passed;
    struct verdict verdict = {.not_kept = EVENT_SHADOW_FAILED};
    json_t *seen = sum_up(conductor, pool, &settings->shadow, &passed, &verdict.why);
    verdict.event = passed ? EVENT_SHADOW_PASSED : EVENT_SHADOW_FAILED;
    course_keep(course, pool->name, ARCHIVE_SHADOW, seen, &verdict);
}

json_t *course_shadow_view(struct conductor *conductor, const struct pool *pool)
{
    const struct config_service *settings = conductor_settings(conductor, pool->service->name);
    if (pool->deployment->state != DEPLOYMENT_SHADOWING || settings == NULL || settings->shadow.line == 0) {
        json_t *kept = archive_read(conductor->options.archive, pool->name, ARCHIVE_SHADOW);
        return kept != NULL ? kept : json_null();
    }
    bool passed;
    char *why;
    json_t *seen = sum_up(conductor, pool, &settings->shadow, &passed, &why);
    free(why);
    return seen;
}
