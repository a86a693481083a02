#include "control/teardown.h"

#include "unit.h"

#include "base/buf.h"
#include "base/mem.h"
#include "io/file.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct bench {
    char directory[64];
    char *said; /* what the hook writes */
    char *hook;
    struct loop *loop;
    struct event_log *events;
    struct processes *processes;
    struct config_service settings;
    char *command[1];
    struct service service;
    struct pool *pool;
    struct teardown *teardown;
    enum teardown_end end;
    unsigned ended;
    json_t *event; /* of its end */
    bool held, unconfigured;
    struct deadline taken;
};

static const struct config_service *settings_of(void *arg, const char *service)
{
    struct bench *bench = arg;
    assert_string_equal(service, "web");
    return bench->unconfigured ? NULL : &bench->settings;
}

static bool held(void *arg, const char *pool, size_t instance)
{
    const struct bench *bench = arg;
    assert_string_equal(pool, "web-1");
    assert_int_equal(instance, 0);
    return bench->held;
}

static void ended(void *arg, const char *pool, size_t instance, enum teardown_end end, json_t *event)
{
    struct bench *bench = arg;
    bench->event = event;
    assert_string_equal(pool, "web-1");
    assert_int_equal(instance, 0);
    bench->end = end;
    bench->ended++;
    loop_stop(bench->loop);
}

static struct pool *make_pool(struct bench *bench)
{
    struct pool *pool = pool_new("web-1", "v1", 1);
    pool->service = &bench->service;
    pool->reason = RETIRE_REPLACED;
    pool->replaced_by = mem_dup("web-2");
    pool->instances[0].address = mem_dup("[::1]:8001");
    pool->instances[0].id = 77;
    return pool;
}

static int setup(void **state)
{
    static struct bench benches[16]; /* a teardown lives as long as the process */
    static unsigned count;
    struct bench *bench = &benches[count++];
    struct err err;
    *state = bench;
    snprintf(bench->directory, sizeof bench->directory, "/tmp/upswap-teardown-XXXXXX");
    if (mkdtemp(bench->directory) == NULL)
        return -1;
    bench->said = mem_printf("%s/said", bench->directory);
    bench->hook = mem_printf("%s/hook", bench->directory);
    bench->loop = loop_new();
    bench->events = event_log_open(bench->directory, &err);
    bench->processes = processes_new();
    bench->command[0] = bench->hook;
    bench->settings.teardown =
        (struct config_teardown){.command = {bench->command, 1}, .timeout_ms = 5000, .attempts = 3};
    bench->service.name = mem_dup("web");
    bench->pool = make_pool(bench);
    bench->teardown = teardown_new(&(struct teardown_options){.loop = bench->loop,
                                                              .events = bench->events,
                                                              .processes = bench->processes,
                                                              .settings = settings_of,
                                                              .held = held,
                                                              .ended = ended,
                                                              .arg = bench});
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    char *remove = mem_printf("rm -rf %s", bench->directory);
    event_log_close(bench->events);
    json_decref(bench->event);
    pool_free(bench->pool);
    processes_free(bench->processes);
    int status = system(remove);
    free(remove);
    free(bench->service.name);
    free(bench->said);
    free(bench->hook);
    return status;
}

static void write_hook(struct bench *bench, const char *body)
{
    FILE *file = fopen(bench->hook, "w");
    fprintf(file, "#!/bin/sh\n%s\n", body);
    fclose(file);
    chmod(bench->hook, 0755);
}

static void tear_down(struct bench *bench)
{
    teardown_order(bench->teardown, bench->pool, 0);
    assert_int_equal(bench->ended, 0);
    loop_run(bench->loop);
    assert_int_equal(bench->ended, 1);
}

static void assert_said(struct bench *bench, const char *text)
{
    struct buf said = BUF_EMPTY;
    struct err err;
    assert_true(file_read(bench->said, 4096, &said, NULL, &err));
    assert_string_equal(said.p, text);
    buf_free(&said);
}

struct search {
    const char *type;
    unsigned found;
};

static bool count_event(void *arg, uint64_t seq, struct str line)
{
    struct search *search = arg;
    (void)seq;
    search->found += memmem(line.p, line.n, search->type, strlen(search->type)) != NULL;
    return true;
}

static unsigned events_of(struct bench *bench, const char *type)
{
    struct search search = {type, 0};
    event_log_read(bench->events, 0, NULL, count_event, &search);
    return search.found;
}

static void the_hook_is_told_what_goes_and_why(void **state)
{
    struct bench *bench = *state;
    char *body =
        mem_printf("echo \"$1 $2 $TEARDOWN_SERVICE $TEARDOWN_RELEASE $TEARDOWN_DEPLOYMENT $TEARDOWN_BY "
                   "$TEARDOWN_REASON $TEARDOWN_DRAINED\" > %s",
                   bench->said);
    write_hook(bench, body);
    tear_down(bench);
    assert_said(bench, "::1 8001 web v1 web-1 web-2 replaced clean\n");
    assert_int_equal(bench->end, TEARDOWN_DONE);
    assert_string_equal(json_string_value(json_object_get(bench->event, "instance")), "[::1]:8001");
    assert_int_equal(json_integer_value(json_object_get(bench->event, "attempts")), 1);
    free(body);
}

static void a_hook_that_fails_is_run_again(void **state)
{
    struct bench *bench = *state;
    char *body = mem_printf("echo x >> %s; [ $(wc -l < %s) -ge 2 ]", bench->said, bench->said);
    write_hook(bench, body);
    tear_down(bench);
    assert_said(bench, "x\nx\n");
    assert_int_equal(bench->end, TEARDOWN_DONE);
    assert_int_equal(events_of(bench, "teardown.started"), 2);
    free(body);
}

static void when_the_attempts_are_used_up_it_has_failed(void **state)
{
    struct bench *bench = *state;
    bench->settings.teardown.attempts = 1;
    write_hook(bench, "echo the reason; exit 7");
    tear_down(bench);
    assert_int_equal(bench->end, TEARDOWN_FAILED);
    assert_int_equal(events_of(bench, "teardown.started"), 1);
    assert_non_null(strstr(json_string_value(json_object_get(bench->event, "reason")), "the reason"));
}

/* At the start with another config: nobody knows what would have been to be done. */
static void where_its_service_is_not_configured_any_more_it_has_failed(void **state)
{
    struct bench *bench = *state;
    bench->unconfigured = true;
    tear_down(bench);
    assert_int_equal(bench->end, TEARDOWN_FAILED);
    assert_int_equal(events_of(bench, "teardown.started"), 0);
    assert_non_null(strstr(json_string_value(json_object_get(bench->event, "reason")), "not configured"));
}

static void take_address(struct deadline *deadline)
{
    mem_container(deadline, struct bench, taken)->held = true;
}

static void an_address_that_another_pool_has_by_the_next_attempt_is_left_alone(void **state)
{
    struct bench *bench = *state;
    char *body = mem_printf("echo x >> %s; exit 1", bench->said);
    bench->settings.teardown.signal = SIGUSR1;
    bench->pool->instances[0].pid = 1;
    write_hook(bench, body);
    deadline_init(&bench->taken, bench->loop, take_address);
    deadline_set(&bench->taken, 500); /* the second attempt is after a second */
    tear_down(bench);
    assert_said(bench, "x\n");
    assert_int_equal(bench->end, TEARDOWN_FAILED);
    assert_non_null(strstr(json_string_value(json_object_get(bench->event, "reason")), "left alone"));
    assert_null(json_object_get(bench->event, "signal"));
    free(body);
}

static void without_hook_and_signal_it_is_done(void **state)
{
    struct bench *bench = *state;
    bench->settings.teardown.command.count = 0;
    tear_down(bench);
    assert_int_equal(bench->end, TEARDOWN_DONE);
    assert_int_equal(events_of(bench, "teardown.started"), 0);
}

static pid_t start_sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("sleep", "sleep", "60", NULL);
        _exit(127);
    }
    return pid;
}

static void the_signal_reaches_the_process_that_is_held(void **state)
{
    struct bench *bench = *state;
    pid_t pid = start_sleeper();
    uint64_t start;
    int status;
    bool gone;
    struct err err;
    int fd = process_open(pid, &start, &gone, &err);
    assert_true(fd >= 0 && start > 0);
    processes_hold(bench->processes, 77, fd);
    bench->pool->instances[0].pid = pid;
    bench->settings.teardown.command.count = 0;
    bench->settings.teardown.signal = SIGUSR1;
    tear_down(bench);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    assert_non_null(strstr(json_string_value(json_object_get(bench->event, "signal")), "sent to"));
    assert_null(strstr(json_string_value(json_object_get(bench->event, "signal")), "not"));
}

static void another_process_under_the_same_number_is_not_signalled(void **state)
{
    struct bench *bench = *state;
    pid_t pid = start_sleeper();
    uint64_t start = 0;
    bool gone = false;
    struct err err;
    close(process_open(pid, &start, &gone, &err));
    processes_recover(bench->processes, 77, pid, start + 1);
    assert_false(processes_signal(bench->processes, 77, SIGKILL, &err));
    processes_recover(bench->processes, 77, pid, start);
    assert_true(processes_signal(bench->processes, 77, SIGKILL, &err));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(processes_signal(bench->processes, 77, SIGKILL, &err));
    assert_int_equal(process_open(pid, &start, &gone, &err), -1);
    assert_true(gone);
}

/* Until it is undone no descriptor, or only one, can be had. Returns the limit that was. */
static struct rlimit use_up_descriptors(unsigned left)
{
    struct rlimit before, few;
    int lowest = dup(STDERR_FILENO);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)lowest + left; /* what is open above it stays so */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    return before;
}

static void survive_a_shortage(struct bench *bench, unsigned left)
{
    pid_t pid = start_sleeper();
    uint64_t start = 0;
    bool gone = true;
    struct err err;
    close(process_open(pid, &start, &gone, &err));
    struct rlimit before = use_up_descriptors(left);
    int fd = process_open(pid, &start, &gone, &err);
    processes_recover(bench->processes, 77, pid, start);
    bool alive = processes_is_alive(bench->processes, 77, &err);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(fd, -1);
    assert_false(gone || alive);
    assert_non_null(strstr(err.text, "cannot be looked at: Too many open files"));
    assert_true(processes_is_alive(bench->processes, 77, &err));
    assert_true(processes_signal(bench->processes, 77, SIGKILL, &err));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(processes_is_alive(bench->processes, 77, &err));
    assert_string_equal(err.text, "the process has ended");
    processes_drop(bench->processes, 77);
}

/* One is left: the process is opened, and when it started cannot be read. */
static void a_shortage_of_descriptors_is_not_taken_for_the_end_of_a_process(void **state)
{
    survive_a_shortage(*state, 0);
    survive_a_shortage(*state, 1);
}

static void a_process_that_ended_during_the_shortage_is_known_to_have_ended_afterwards(void **state)
{
    struct bench *bench = *state;
    pid_t pid = start_sleeper();
    uint64_t start = 0;
    bool gone;
    struct err err;
    close(process_open(pid, &start, &gone, &err));
    struct rlimit before = use_up_descriptors(0);
    processes_recover(bench->processes, 77, pid, start);
    setrlimit(RLIMIT_NOFILE, &before);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(processes_signal(bench->processes, 77, SIGUSR1, &err));
    assert_non_null(strstr(err.text, "had ended"));
    processes_drop(bench->processes, 77); /* it is held no more: this does nothing */
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(the_hook_is_told_what_goes_and_why),
        EACH(a_hook_that_fails_is_run_again),
        EACH(when_the_attempts_are_used_up_it_has_failed),
        EACH(where_its_service_is_not_configured_any_more_it_has_failed),
        EACH(an_address_that_another_pool_has_by_the_next_attempt_is_left_alone),
        EACH(without_hook_and_signal_it_is_done),
        EACH(the_signal_reaches_the_process_that_is_held),
        EACH(another_process_under_the_same_number_is_not_signalled),
        EACH(a_shortage_of_descriptors_is_not_taken_for_the_end_of_a_process),
        EACH(a_process_that_ended_during_the_shortage_is_known_to_have_ended_afterwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
