/* The ends of deployments of one service that the events may lack. What is told of changes of who has the
 * clients is tests/system/test_crashes.py's. */
#include "control/untold.h"

#include "pools.h"
#include "unit.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)

struct bench {
    char directory[64], path[96];
    struct event_log *events;
    struct registry *registry;
    struct service *web;
};

static int setup(void **state)
{
    struct bench *bench = mem_zero(1, sizeof *bench);
    struct err err;
    strcpy(bench->directory, "/tmp/upswap-untold-XXXXXX");
    assert_non_null(mkdtemp(bench->directory));
    snprintf(bench->path, sizeof bench->path, "%s/events.jsonl", bench->directory);
    bench->events = event_log_open(bench->directory, &err);
    assert_non_null(bench->events);
    bench->registry = registry_new();
    bench->web = pools_service(bench->registry, "web");
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    event_log_close(bench->events);
    registry_free(bench->registry);
    unlink(bench->path);
    rmdir(bench->directory);
    free(bench);
    return 0;
}

/* A deployment that went from one state to its end so long ago, where `by` asked for it (NULL: nobody). */
static struct deployment *end(struct bench *bench, const char *name, enum deployment_state from,
                              enum deployment_state to, const char *by, uint64_t ago_ns)
{
    struct deployment *deployment = pool_deploy(pools_add(bench->registry, bench->web, name, 1));
    uint64_t now_ns = clock_wall_ns() - ago_ns;
    deployment->state = from;
    deployment_mark(deployment, now_ns, NULL, NULL);
    deployment->state = to;
    deployment_mark(deployment, now_ns, "why", by);
    deployment->ended_ns = now_ns;
    return deployment;
}

static void add(struct bench *bench, const char *type, const char *deployment)
{
    event_log_add(bench->events, type, "web", deployment, NULL);
}

static void note_end(void *arg, const struct pool *pool, const char *type)
{
    buf_printf(arg, "%s %s\n", pool->name, type);
}

static void note_change(void *arg, const struct untold *untold)
{
    buf_printf(arg, "%s changed\n", untold->changed);
}

static void assert_untold(struct bench *bench, const char *expected)
{
    struct buf found = BUF_EMPTY;
    buf_add(&found, "", 0);
    untold_find(bench->events, bench->registry,
                &(struct untold_listener){.changed = note_change, .ended = note_end, .arg = &found});
    assert_string_equal(found.p, expected);
    buf_free(&found);
}

static void an_end_is_told_with_what_its_row_announces_before_it(void **state)
{
    struct bench *bench = *state;
    end(bench, "web-1", DEPLOYMENT_TESTING, DEPLOYMENT_REJECTED, NULL, 0);
    end(bench, "web-2", DEPLOYMENT_STAGED, DEPLOYMENT_REJECTED, NULL, 0);
    end(bench, "web-3", DEPLOYMENT_TESTING, DEPLOYMENT_ABORTED, "root", 0);
    end(bench, "web-4", DEPLOYMENT_DRAINING, DEPLOYMENT_DONE, NULL, 0);
    add(bench, "deployment.staged", "web-1");
    add(bench, "deployment.staged", "web-2");
    add(bench, "deployment.staged", "web-3");
    add(bench, "deployment.staged", "web-4");
    add(bench, "gate.passed", "web-4");
    assert_untold(bench, "web-1 gate.failed\nweb-1 deployment.rejected\nweb-2 deployment.rejected\n"
                         "web-3 deployment.aborted\nweb-4 deployment.done\n");
}

static void a_rollback_is_told_as_the_watch_s_only_where_nobody_asked_for_it(void **state)
{
    struct bench *bench = *state;
    end(bench, "web-1", DEPLOYMENT_WATCHING, DEPLOYMENT_ROLLED_BACK, NULL, 0);
    end(bench, "web-2", DEPLOYMENT_WATCHING, DEPLOYMENT_ROLLED_BACK, "root", 0);
    end(bench, "web-3", DEPLOYMENT_CANARY_CONFIRMING, DEPLOYMENT_ROLLED_BACK, NULL, 0);
    end(bench, "web-4", DEPLOYMENT_CANARY_CONFIRMING, DEPLOYMENT_ROLLED_BACK, "root", 0);
    add(bench, "deployment.staged", "web-1");
    add(bench, "deployment.staged", "web-2");
    add(bench, "deployment.staged", "web-3");
    add(bench, "deployment.staged", "web-4");
    assert_untold(bench, "web-1 watch.failed\nweb-1 deployment.rolled_back\nweb-2 deployment.rolled_back\n"
                         "web-3 gate.failed\nweb-3 deployment.rolled_back\nweb-4 deployment.rolled_back\n");
}

static void what_was_told_is_not_told_again(void **state)
{
    struct bench *bench = *state;
    end(bench, "web-1", DEPLOYMENT_TESTING, DEPLOYMENT_REJECTED, NULL, 0);
    end(bench, "web-2", DEPLOYMENT_TESTING, DEPLOYMENT_REJECTED, NULL, 0);
    add(bench, "deployment.staged", "web-1");
    add(bench, "gate.failed", "web-1");
    add(bench, "deployment.rejected", "web-1");
    add(bench, "deployment.staged", "web-2");
    add(bench, "gate.failed", "web-2");
    assert_untold(bench, "web-2 deployment.rejected\n");
    add(bench, "deployment.rejected", "web-2");
    assert_untold(bench, "");
}

static void nothing_is_told_of_a_deployment_whose_staging_the_events_do_not_have(void **state)
{
    struct bench *bench = *state;
    end(bench, "web-1", DEPLOYMENT_TESTING, DEPLOYMENT_REJECTED, NULL, 0);
    add(bench, "uptest.finished", "web-1");
    assert_untold(bench, "");
}

static void nothing_is_told_of_one_that_goes_on_or_is_forgotten(void **state)
{
    struct bench *bench = *state;
    end(bench, "web-1", DEPLOYMENT_STAGED, DEPLOYMENT_TESTING, NULL, 0);
    add(bench, "deployment.staged", "web-1");
    add(bench, "deployment.staged", "web-0");
    assert_untold(bench, "");
}

static void an_end_behind_which_the_service_s_events_go_on_is_old_news(void **state)
{
    struct bench *bench = *state;
    end(bench, "web-1", DEPLOYMENT_TESTING, DEPLOYMENT_REJECTED, NULL, 70 * SECOND_NS);
    end(bench, "web-2", DEPLOYMENT_TESTING, DEPLOYMENT_ABORTED, NULL, 30 * SECOND_NS);
    add(bench, "deployment.staged", "web-1");
    add(bench, "deployment.staged", "web-2");
    assert_untold(bench, "web-2 deployment.aborted\n");
}

static void what_ended_right_before_a_long_rest_is_told(void **state)
{
    struct bench *bench = *state;
    struct err err;
    char time[CLOCK_TEXT_SIZE];
    uint64_t ago_ns = 3600 * SECOND_NS;
    end(bench, "web-1", DEPLOYMENT_TESTING, DEPLOYMENT_ABORTED, NULL, ago_ns);
    event_log_close(bench->events);
    FILE *file = fopen(bench->path, "a");
    assert_non_null(file);
    fprintf(file,
            "{\"seq\":1,\"time\":\"%s\",\"service\":\"web\",\"deployment\":\"web-1\","
            "\"type\":\"deployment.staged\"}\n",
            clock_text(clock_wall_ns() - ago_ns, time));
    fclose(file);
    bench->events = event_log_open(bench->directory, &err);
    event_log_add(bench->events, "daemon.started", NULL, NULL, NULL);
    assert_untold(bench, "web-1 deployment.aborted\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_end_is_told_with_what_its_row_announces_before_it),
        TEST(a_rollback_is_told_as_the_watch_s_only_where_nobody_asked_for_it),
        TEST(what_was_told_is_not_told_again),
        TEST(nothing_is_told_of_a_deployment_whose_staging_the_events_do_not_have),
        TEST(nothing_is_told_of_one_that_goes_on_or_is_forgotten),
        TEST(an_end_behind_which_the_service_s_events_go_on_is_old_news),
        TEST(what_ended_right_before_a_long_rest_is_told),
    };
    return cmocka_run_group_tests_name("untold", tests, NULL, NULL);
}
