/* The launch of a release: what it prints is told as it comes, and whatever goes wrong is a failure with a
 * sentence. */
#include "control/launch.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "io/child.h"
#include "io/with_loop.h"
#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

static struct launch *launch;
static struct buf seen;
static char *failure; /* NULL: none */
static bool ended, frees, fails;

static void stop_loop(struct deadline *deadline)
{
    (void)deadline;
    loop_stop(loop);
}

/* Lets what was stopped end. */
static void let_it_end(void)
{
    struct deadline soon;
    deadline_init(&soon, loop, stop_loop);
    while (child_count() > 0) {
        deadline_set(&soon, 10);
        loop_run(loop);
    }
    deadline_clear(&soon);
}

static bool on_found(void *arg, const struct endpoint *endpoint, struct err *err)
{
    (void)arg;
    buf_printf(&seen, "%.*s/%d ", STR_ARG(endpoint->address), (int)endpoint->pid);
    if (frees) {
        launch_free(launch);
        launch = NULL;
        loop_stop(loop);
    }
    if (fails)
        launch_fail(launch, "it is of no use");
    return !str_equal(endpoint->address, STR("10.0.0.9:9")) || err_set(err, "not that one");
}

static void on_done(void *arg, const char *why)
{
    (void)arg;
    failure = mem_dup(why);
    ended = true;
    if (frees) {
        launch_free(launch);
        launch = NULL;
    }
    loop_stop(loop);
}

static void start(const char *script, uint64_t timeout_ms)
{
    static const struct launch_callbacks callbacks = {on_found, on_done};
    char *command[] = {(char *)"/bin/sh", (char *)"-c", (char *)(uintptr_t)script, (char *)"sh"};
    char *environment[] = {(char *)"COLOUR=red"};
    const struct config_launch settings = {
        .command = {command, 4}, .timeout_ms = timeout_ms, .environment = {environment, 1}};
    const struct launch_plan plan = {
        .settings = &settings, .service = "web", .release = "v42", .deployment = "web-7", .count = 3};
    launch = launch_start(loop, &plan, &callbacks, NULL);
    assert_non_null(launch);
    assert_false(ended);
}

static void run(const char *script)
{
    start(script, 20000);
    loop_run(loop);
    assert_true(ended);
}

static void assert_failure(const char *part)
{
    assert_non_null(failure);
    if (strstr(failure, part) == NULL)
        fail_msg("no \"%s\" in \"%s\"", part, failure);
}

static json_t *report(void)
{
    json_t *json = launch_json(launch);
    assert_non_null(json);
    return json;
}

static void instances_are_told_and_status_0_is_success(void **state)
{
    (void)state;
    run("echo 10.0.0.1:80 pid=$$; echo 'all is well' >&2; printf unix:/run/a.sock");
    assert_null(failure);
    char *wanted = mem_printf("10.0.0.1:80/%d unix:/run/a.sock/0 ", atoi(strchr(seen.p, '/') + 1));
    assert_str_equal(buf_str(&seen), wanted);
    free(wanted);
    json_t *json = report();
    assert_string_equal(json_string_value(json_object_get(json, "state")), "passed");
    assert_string_equal(json_string_value(json_object_get(json, "output")), "all is well\n");
    assert_int_equal(json_integer_value(json_object_get(json, "exit")), 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "argv"), 4)), "v42");
    json_decref(json);
}

static void each_is_told_while_the_command_runs(void **state)
{
    (void)state;
    frees = true; /* stops the loop at the first instance */
    start("echo 10.0.0.1:80; exec sleep 100", 0);
    loop_run(loop);
    assert_false(ended);
    assert_str_equal(buf_str(&seen), "10.0.0.1:80/0 ");
}

static void the_command_gets_the_release_and_its_environment(void **state)
{
    (void)state;
    run("echo \"$1 $LAUNCH_SERVICE $LAUNCH_RELEASE $LAUNCH_DEPLOYMENT $LAUNCH_COUNT $COLOUR $PWD\" >&2; exit "
        "1");
    assert_failure("launch.command exited with status 1 after ");
    assert_failure("s: \"v42 web v42 web-7 3 red /\"");
}

static void whatever_is_no_success_is_a_failure(void **state)
{
    (void)state;
    run("echo 10.0.0.1:80; kill -SEGV $$");
    assert_failure("launch.command was ended by signal 11 (SIGSEGV)");
    free(failure);
    ended = false;
    launch_free(launch);
    start("echo 10.0.0.1:80; echo waiting >&2; exec sleep 100", 200);
    loop_run(loop);
    assert_failure("launch.command was killed after 0.2");
    assert_failure("since its timeout was over: \"waiting\"");
    free(failure);
    ended = false;
    launch_free(launch);
    start("trap 'echo Terminated >&2; exit 1' TERM; echo waiting >&2; sleep 100 & wait", 200);
    loop_run(loop);
    assert_failure("since its timeout was over: \"waiting\"");
    json_t *json = report();
    assert_true(json_is_true(json_object_get(json, "timed_out")));
    assert_string_equal(json_string_value(json_object_get(json, "state")), "failed");
    json_decref(json);
}

static void nothing_printed_is_a_failure(void **state)
{
    (void)state;
    run("echo 'I have started it' >&2; echo");
    assert_failure("launch.command ended without having printed an instance");
    assert_failure("\"I have started it\"");
}

static void nonsense_ends_it_at_once_and_nothing_is_found_behind_it(void **state)
{
    (void)state;
    uint64_t began = clock_mono_ms();
    run("echo 10.0.0.1:80; echo Starting...; echo 10.0.0.2:80; exec sleep 100");
    assert_true(clock_mono_ms() - began < 20000);
    assert_failure("launch.command: line 2 of its stdout, \"Starting...\"");
    assert_failure("everything else belongs on stderr");
    assert_str_equal(buf_str(&seen), "10.0.0.1:80/0 ");
}

static void a_last_line_that_is_nonsense_is_a_failure(void **state)
{
    (void)state;
    run("echo 10.0.0.1:80; printf done");
    assert_failure("line 2 of its stdout, \"done\"");
}

static void an_instance_that_is_refused_ends_it(void **state)
{
    (void)state;
    run("echo 10.0.0.9:9; exec sleep 100");
    assert_failure("line 1 of its stdout, \"10.0.0.9:9\": not that one");
}

static void a_failure_from_outside_ends_it_and_is_what_is_told(void **state)
{
    (void)state;
    fails = true;
    run("trap 'echo bye >&2; exit 0' TERM; echo 10.0.0.1:80; while :; do sleep 0.01; done");
    assert_string_equal(failure, "it is of no use");
    json_t *json = report();
    assert_non_null(strstr(json_string_value(json_object_get(json, "output")), "bye\n"));
    assert_string_equal(json_string_value(json_object_get(json, "state")), "failed");
    json_decref(json);
}

static void what_cannot_be_started_is_told(void **state)
{
    (void)state;
    static const struct launch_callbacks callbacks = {on_found, on_done};
    char *command[] = {(char *)"/nowhere/start"};
    struct config_launch settings = {.command = {command, 1}, .timeout_ms = 1000};
    struct launch_plan plan = {
        .settings = &settings, .service = "web", .release = "v1", .deployment = "web-1"};
    launch = launch_start(loop, &plan, &callbacks, NULL);
    loop_run(loop);
    assert_failure("launch.command could not be started: \"cannot be started: No such file");
    free(failure);
    launch_free(launch);
    settings.user = (char *)"nobody-of-that-name";
    launch = launch_start(loop, &plan, &callbacks, NULL);
    loop_run(loop);
    assert_failure("launch.user: there is no user \"nobody-of-that-name\"");
    json_decref(report());
}

static void it_may_be_freed_from_inside_its_end(void **state)
{
    (void)state;
    frees = true;
    run("exit 1");
    assert_null(launch);
}

static void one_that_is_freed_is_stopped_and_says_nothing_more(void **state)
{
    (void)state;
    start("echo 10.0.0.1:80; exec sleep 100", 0);
    launch_free(launch);
    launch = NULL;
    let_it_end();
    assert_false(ended);
    assert_int_equal(seen.n, 0);
}

static int set_up_launch(void **state)
{
    seen = BUF_EMPTY;
    failure = NULL;
    ended = frees = fails = false;
    return set_up(state);
}

static int tear_down_launch(void **state)
{
    launch_free(launch);
    launch = NULL;
    let_it_end();
    buf_free(&seen);
    free(failure);
    return tear_down(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_launch, tear_down_launch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(instances_are_told_and_status_0_is_success),
        TEST(each_is_told_while_the_command_runs),
        TEST(the_command_gets_the_release_and_its_environment),
        TEST(whatever_is_no_success_is_a_failure),
        TEST(nothing_printed_is_a_failure),
        TEST(nonsense_ends_it_at_once_and_nothing_is_found_behind_it),
        TEST(a_last_line_that_is_nonsense_is_a_failure),
        TEST(an_instance_that_is_refused_ends_it),
        TEST(a_failure_from_outside_ends_it_and_is_what_is_told),
        TEST(what_cannot_be_started_is_told),
        TEST(it_may_be_freed_from_inside_its_end),
        TEST(one_that_is_freed_is_stopped_and_says_nothing_more),
    };
    alarm(120);
    return cmocka_run_group_tests_name("launch", tests, NULL, NULL);
}
