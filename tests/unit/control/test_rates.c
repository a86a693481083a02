/* Rates of many services, which are looked at in parts. */
#include "control/rates.h"

#include "pools.h"
#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

#define SERVICES 1200
#define TICK_MS 20
#define TICKS 125 /* time for a whole round, and for what each has to be apart */

struct bench {
    struct loop *loop;
    struct registry *registry;
    int fd;
    struct counters *counters;
    struct rates *rates;
    struct deadline tick;
    unsigned ticks;
};

static unsigned known(struct bench *bench)
{
    unsigned count = 0;
    const struct service *service = bench->registry->services;
    for (; service != NULL; service = service->hh.next)
        count += rates_of(bench->rates, service) > 0;
    return count;
}

static void tick(struct deadline *deadline)
{
    struct bench *bench = mem_container(deadline, struct bench, tick);
    for (uint32_t slot = 1; slot <= SERVICES; slot++)
        counters_add(&counters_pool(bench->counters, 0, slot)->requests, 10);
    if (++bench->ticks == TICKS) /* nobody is asked before: that would make it known */
        loop_stop(bench->loop);
    else
        deadline_set(&bench->tick, TICK_MS);
}

static void each_of_many_services_gets_its_rate(void **state)
{
    (void)state;
    struct err err;
    static struct bench bench; /* rates live as long as the process */
    bench.loop = loop_new();
    bench.registry = registry_new();
    bench.fd = counters_create(1, &err);
    bench.counters = counters_map(bench.fd, &err);
    for (uint32_t i = 0; i < SERVICES; i++) {
        char *name = mem_printf("s%u", i), *pool = mem_printf("s%u-1", i);
        pools_add(bench.registry, pools_service(bench.registry, name), pool, i + 1)->state = POOL_LIVE;
        free(name);
        free(pool);
    }
    bench.rates = rates_new(bench.loop, bench.registry, bench.counters);
    deadline_init(&bench.tick, bench.loop, tick);
    deadline_set(&bench.tick, TICK_MS);
    loop_run(bench.loop);
    assert_int_equal(known(&bench), SERVICES);
    registry_free(bench.registry);
    counters_unmap(bench.counters);
    close(bench.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_many_services_gets_its_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
