/* What is told of instances that workers leave alone: two services, "web" and "api", each with a live pool.
 */
#include "control/ejections.h"

#include "base/clock.h"
#include "pools.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define LOOKS_MS 600 /* in which there are two looks */

struct bench {
    char folder[40];
    struct loop *loop;
    struct registry *registry;
    int fd;
    struct counters *counters;
    struct event_log *events;
    struct event_subscription subscription;
    struct deadline limit;
    struct config_service web, api; /* settings */
    struct ejections *ejections;
    char told[256]; /* the last event */
    unsigned count;
};

static const struct config_service *settings_of(void *arg, const char *service)
{
    struct bench *bench = arg;
    return strcmp(service, "web") == 0 ? &bench->web : &bench->api;
}

static void added(struct event_subscription *subscription, uint64_t seq, const char *service, struct str line)
{
    struct bench *bench = mem_container(subscription, struct bench, subscription);
    (void)seq;
    (void)service;
    snprintf(bench->told, sizeof bench->told, "%.*s", (int)line.n, line.p);
    bench->count++;
    loop_stop(bench->loop);
}

static void limit_is_over(struct deadline *deadline)
{
    loop_stop(mem_container(deadline, struct bench, limit)->loop);
}

/* Until something is told, or so long. */
static void run(struct bench *bench, uint64_t ms)
{
    deadline_set(&bench->limit, ms);
    loop_run(bench->loop);
    deadline_clear(&bench->limit);
}

static void add_live(struct bench *bench, const char *name, const char *pool, uint32_t slot)
{
    struct service *service = pools_service(bench->registry, name);
    service->live = pools_add(bench->registry, service, pool, slot);
    service->live->state = POOL_LIVE;
    for (uint32_t i = 0; i < 2; i++)
        service->live->instances[i].id = slot * 10 + i;
}

static int setup(void **state)
{
    static struct bench benches[8]; /* ejections live as long as the process */
    static unsigned count;
    struct bench *bench = &benches[count++];
    struct err err;
    *state = bench;
    strcpy(bench->folder, "/tmp/upswap-ejections-XXXXXX");
    if (mkdtemp(bench->folder) == NULL)
        return -1;
    bench->loop = loop_new();
    bench->registry = registry_new();
    bench->fd = counters_create(1, &err);
    bench->counters = counters_map(bench->fd, &err);
    bench->events = event_log_open(bench->folder, &err);
    bench->subscription.added = added;
    event_log_subscribe(bench->events, &bench->subscription);
    deadline_init(&bench->limit, bench->loop, limit_is_over);
    add_live(bench, "web", "web-1", 1);
    add_live(bench, "api", "api-1", 2);
    bench->web.ejection.failures = 5;
    bench->ejections = ejections_new(&(struct ejections_options){.loop = bench->loop,
                                                                 .registry = bench->registry,
                                                                 .counters = bench->counters,
                                                                 .events = bench->events,
                                                                 .settings = settings_of,
                                                                 .arg = bench});
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    char *path = mem_printf("%s/events.jsonl", bench->folder);
    event_log_unsubscribe(&bench->subscription);
    event_log_close(bench->events);
    unlink(path);
    free(path);
    counters_unmap(bench->counters);
    close(bench->fd);
    return rmdir(bench->folder);
}

static const struct service *service(const struct bench *bench, const char *name)
{
    return registry_service(bench->registry, name);
}

/* The service's first instance is left alone, or no more. */
static void put_out(struct bench *bench, const char *name, bool out)
{
    uint32_t slot = service(bench, name)->live->instances[0].slot;
    counters_instance(bench->counters, 0, slot)->ejected_until_ms = out ? clock_mono_ms() + 60000 : 0;
}

static void assert_told(const struct bench *bench, unsigned count, const char *type, const char *instance)
{
    assert_int_equal(bench->count, count);
    assert_non_null(strstr(bench->told, type));
    assert_non_null(strstr(bench->told, instance));
}

static void only_services_with_ejection_are_told_of(void **state)
{
    struct bench *bench = *state;
    put_out(bench, "web", true);
    put_out(bench, "api", true);
    ejections_watch(bench->ejections, NULL);
    run(bench, PATIENCE_MS);
    assert_told(bench, 1, "instance.ejected", "10.0.1.0:80");
    bench->api.ejection.failures = 1;
    ejections_watch(bench->ejections, service(bench, "api"));
    run(bench, PATIENCE_MS);
    assert_told(bench, 2, "instance.ejected", "10.0.2.0:80");
    put_out(bench, "api", false);
    run(bench, PATIENCE_MS);
    assert_told(bench, 3, "instance.restored", "10.0.2.0:80");
}

static void who_is_out_is_forgotten_with_its_services_ejection(void **state)
{
    struct bench *bench = *state;
    put_out(bench, "web", true);
    ejections_watch(bench->ejections, service(bench, "web"));
    run(bench, PATIENCE_MS);
    assert_told(bench, 1, "instance.ejected", "10.0.1.0:80");
    bench->web.ejection.failures = 0;
    ejections_watch(bench->ejections, service(bench, "web"));
    run(bench, LOOKS_MS);
    assert_int_equal(bench->count, 1);
    bench->web.ejection.failures = 5;
    ejections_watch(bench->ejections, NULL);
    run(bench, PATIENCE_MS);
    assert_told(bench, 2, "instance.ejected", "10.0.1.0:80");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_services_with_ejection_are_told_of, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_out_is_forgotten_with_its_services_ejection, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
