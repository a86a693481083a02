/* figures: totals for whoever asks again and takes the difference, as `upswap top` does. They are left out of
 * the plain status, which scripts read, since they would be most of it. */
#include "control/conduct.h"

#include <string.h>

static uint64_t count_5xx(const struct counters_pool *sum)
{
    uint64_t count = 0;
    for (unsigned code = 500; code < 600 && code - COUNTERS_CODE_MIN < COUNTERS_CODES; code++)
        count += sum->codes[code - COUNTERS_CODE_MIN];
    return count;
}

/* Pairs of a bound in seconds and how many requests took less, and not less than the bound before; for the
 * longest of all the bound is the lower one. Buckets without requests are left out. */
static json_t *durations(const struct counters_pool *sum)
{
    json_t *pairs = json_array();
    for (unsigned bucket = 0; bucket < COUNTERS_BUCKETS; bucket++) {
        bool is_last = bucket == COUNTERS_BUCKETS - 1;
        if (sum->buckets[bucket] > 0)
            json_array_append_new(pairs,
                                  json_pack("[f, I]", (double)counters_bucket_us(bucket - is_last) / 1e6,
                                            (json_int_t)sum->buckets[bucket]));
    }
    return pairs;
}

void view_add_figures(struct conductor *conductor, json_t *json, const struct instance *instance)
{
    struct counters_instance sum;
    memset(&sum, 0, sizeof sum);
    if (instance->state != INSTANCE_TORN_DOWN) /* its slot may be another's */
        counters_instance_sum(conductor->options.counters, instance->slot, &sum);
    json_object_set_new(json, "requests", json_integer((json_int_t)sum.requests));
    json_object_set_new(json, "errors", json_integer((json_int_t)sum.errors));
}

static void add_to_pool(struct conductor *conductor, json_t *json)
{
    struct counters_pool sum;
    const struct pool *pool =
        registry_pool(conductor->options.registry, json_string_value(json_object_get(json, "deployment")));
    if (pool == NULL)
        return;
    counters_pool_sum(conductor->options.counters, pool->slot, &sum);
    json_object_set_new(json, "answers_5xx", json_integer((json_int_t)count_5xx(&sum)));
    json_object_set_new(json, "durations", durations(&sum));
}

void conductor_add_figures(struct conductor *conductor, json_t *service)
{
    size_t i;
    json_t *pool;
    json_array_foreach (json_object_get(service, "pools"), i, pool)
        add_to_pool(conductor, pool);
}
