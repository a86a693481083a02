/* The launch of a deployment without its command: what is printed, resolved, recorded and accepted comes when
 * the test says so, in any order; the conductor around it is the test too. */
#include "control/launching.h"

#include "unit.h"

#include "base/buf.h"
#include "base/mem.h"
#include "control/conduct.h"
#include "control/launch.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 4

struct bench {
    struct conductor conductor;
    struct course course;
    char directory[64];
    struct config_service settings;
    bool is_configured;
    struct service *service;
    struct pool *pool;
    struct launching *launching;
    /* The command: */
    struct launch_callbacks callbacks;
    void *launch_arg;
    size_t count;      /* that it was told */
    char failure[512]; /* that it was ended with; "": it was not */
    /* The last of each that is under way: */
    void (*resolved)(void *arg, const struct probe_target *targets, const char *reason);
    void (*accepted)(void *arg, bool ok, const char *reason);
    void *resolve_arg, *probe_arg;
    char resolving[64];
    unsigned cancelled;
    struct step *step; /* that waits for its turn */
    /* What the conductor says: */
    const char *refusal; /* of whether it may be taken; NULL: it may */
    unsigned slots_given;
    enum deployment_event event; /* that was told in the end */
    char why[512];
    unsigned told;
    unsigned published;
};

static struct bench *bench;

/* ---- what is around it ---- */

const struct config_service *conductor_settings(const struct conductor *conductor, const char *service)
{
    (void)conductor;
    assert_string_equal(service, "web");
    return bench->is_configured ? &bench->settings : NULL;
}

void conductor_tell(struct conductor *conductor, const struct service *service)
{
    (void)conductor;
    assert_string_equal(service->name, "web");
}

json_t *view_text(const char *text)
{
    return json_string(text);
}

struct launch *launch_start(struct loop *loop, const struct launch_plan *plan,
                            const struct launch_callbacks *callbacks, void *arg)
{
    (void)loop;
    assert_string_equal(plan->release, "v2");
    assert_string_equal(plan->deployment, "web-2");
    bench->callbacks = *callbacks;
    bench->launch_arg = arg;
    bench->count = plan->count;
    return NULL;
}

void launch_fail(struct launch *launch, const char *sentence)
{
    (void)launch;
    snprintf(bench->failure, sizeof bench->failure, "%s", sentence);
}

json_t *launch_json(const struct launch *launch)
{
    (void)launch;
    return json_pack("{s:[], s:s, s:s}", "argv", "state", "running", "output", "said");
}

void launch_free(struct launch *launch)
{
    (void)launch;
}

struct resolve *resolve_start(struct loop *loop, const char *const *names, size_t count,
                              void (*done)(void *arg, const struct probe_target *targets, const char *reason),
                              void *arg)
{
    (void)loop;
    assert_int_equal(count, 1);
    snprintf(bench->resolving, sizeof bench->resolving, "%s", names[0]);
    bench->resolved = done;
    bench->resolve_arg = arg;
    return (struct resolve *)bench;
}

void resolve_cancel(struct resolve *resolve)
{
    bench->cancelled += resolve != NULL;
}

struct probe *probe_start(struct loop *loop, const struct probe_target *targets, size_t count,
                          uint64_t timeout_ms, void (*ready)(void *arg, size_t index),
                          void (*done)(void *arg, bool ok, const char *reason), void *arg)
{
    (void)loop;
    (void)targets;
    (void)ready;
    assert_int_equal(count, 1);
    assert_int_equal(timeout_ms, 7000);
    bench->accepted = done;
    bench->probe_arg = arg;
    return (struct probe *)bench;
}

void probe_cancel(struct probe *probe)
{
    bench->cancelled += probe != NULL;
}

bool stage_may_take(struct step *step, const struct instance *asked, uint64_t *till_ms, struct err *err)
{
    (void)step;
    (void)asked;
    (void)till_ms;
    return bench->refusal == NULL || err_set(err, "%s", bench->refusal);
}

static bool never_busy(void *arg, uint32_t slot)
{
    (void)arg;
    (void)slot;
    return false;
}

bool slotting_give_instance(struct conductor *conductor, struct instance *instance, struct err *err)
{
    bench->slots_given++;
    instance->id = 70 + bench->slots_given;
    return slots_get(conductor->instance_slots, 0, never_busy, NULL, &instance->slot) ||
           err_set(err, "no slot");
}

struct step *step_new(struct course *course, enum record_type type, const char *pool)
{
    struct step *step = mem_zero(1, sizeof *step);
    step->course = course;
    record_init(&step->record, type, pool);
    return step;
}

void step_submit(struct step *step)
{
    assert_null(bench->step);
    bench->step = step;
}

bool step_refuse(struct step *step, unsigned status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(step->err.text, sizeof step->err.text, format, args);
    va_end(args);
    step->status = status;
    return false;
}

void course_keep(struct course *course, const char *pool, enum archive_kind kind, json_t *result,
                 const struct verdict *verdict)
{
    (void)course;
    assert_string_equal(pool, "web-2");
    assert_int_equal(kind, ARCHIVE_LAUNCH);
    json_decref(result);
    bench->event = verdict->event;
    snprintf(bench->why, sizeof bench->why, "%s", verdict->why);
    free(verdict->why);
    bench->told++;
}

void course_publish(struct course *course, const char *pool, enum archive_kind kind, json_t *result)
{
    (void)course;
    assert_string_equal(pool, "web-2");
    assert_int_equal(kind, ARCHIVE_LAUNCH);
    json_decref(result);
    bench->published++;
}

/* ---- what happens ---- */

static bool print_with(const char *address, int64_t pid, struct err *err)
{
    struct endpoint endpoint = {.address = str_of(address), .weight = 1, .pid = pid};
    return bench->callbacks.found(bench->launch_arg, &endpoint, err);
}

static void print(const char *address)
{
    struct err err;
    assert_true(print_with(address, 0, &err));
}

static void resolve(const char *reason)
{
    struct probe_target target = {.name = bench->resolving};
    struct sockaddr_in *address = (struct sockaddr_in *)&target.address;
    uint32_t port = (uint32_t)atoi(strchr(bench->resolving, ':') + 1);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    target.length = sizeof *address;
    bench->resolved(bench->resolve_arg, reason == NULL ? &target : NULL, reason);
}

/* As the queue of a service does it. Returns whether there is a record now. */
static bool take_turn(void)
{
    struct step *step = bench->step;
    struct err err;
    bench->step = NULL;
    bool used = step->prepare(step);
    if (used) {
        assert_true(registry_apply(bench->conductor.options.registry, &step->record, NULL, &err));
        launching_follow(step);
    }
    step->release(step, used);
    record_free(&step->record);
    free(step);
    return used;
}

static void end_command(const char *failure)
{
    bench->callbacks.done(bench->launch_arg, failure);
}

static void record(const char *address)
{
    print(address);
    resolve(NULL);
    assert_true(take_turn());
}

static bool count_line(void *arg, uint64_t seq, struct str line)
{
    (void)seq;
    (void)line;
    ++*(unsigned *)arg;
    return true;
}

static unsigned events(void)
{
    unsigned count = 0;
    event_log_read(bench->conductor.options.events, 0, NULL, count_line, &count);
    return count;
}

/* The lowest one that is free. */
static uint32_t next_slot(void)
{
    uint32_t slot;
    assert_true(slots_get(bench->conductor.instance_slots, 1, never_busy, NULL, &slot));
    return slot;
}

static void make_pool(void)
{
    struct registry *registry = bench->conductor.options.registry;
    bench->service = mem_zero(1, sizeof *bench->service);
    bench->service->name = mem_dup("web");
    TAILQ_INIT(&bench->service->pools);
    HASH_ADD_KEYPTR(hh, registry->services, bench->service->name, 3, bench->service);
    bench->pool = pool_new("web-2", "v2", 0);
    bench->pool->service = bench->service;
    bench->pool->deployment = mem_zero(1, sizeof *bench->pool->deployment);
    bench->pool->deployment->pool = bench->pool;
    bench->pool->deployment->state = DEPLOYMENT_LAUNCHING;
    TAILQ_INSERT_TAIL(&bench->service->pools, bench->pool, of_service);
    HASH_ADD_KEYPTR(hh, registry->pools, bench->pool->name, 5, bench->pool);
}

static int setup(void **state)
{
    struct err err;
    (void)state;
    bench = mem_zero(1, sizeof *bench);
    strcpy(bench->directory, "/tmp/upswap-launching-XXXXXX");
    assert_non_null(mkdtemp(bench->directory));
    bench->conductor.options.registry = registry_new();
    bench->conductor.options.events = event_log_open(bench->directory, &err);
    bench->conductor.processes = processes_new();
    bench->conductor.instance_slots = slots_new(SLOTS);
    bench->course.conductor = &bench->conductor;
    bench->course.service = mem_dup("web");
    bench->settings.ready_timeout_ms = 7000;
    bench->settings.launch.count = 3;
    bench->is_configured = true;
    make_pool();
    bench->launching = launching_start(&bench->course, bench->pool, &bench->settings);
    return 0;
}

static int teardown(void **state)
{
    char *remove = mem_printf("rm -rf %s", bench->directory);
    (void)state;
    launching_free(bench->launching);
    registry_free(bench->conductor.options.registry);
    event_log_close(bench->conductor.options.events);
    processes_free(bench->conductor.processes);
    slots_free(bench->conductor.instance_slots);
    free(bench->course.service);
    int status = system(remove);
    free(remove);
    free(bench);
    return status;
}

/* ---- the whole way ---- */

static void the_command_is_told_how_many_are_wanted(void **state)
{
    (void)state;
    struct pool live = {.instance_count = 5};
    assert_int_equal(bench->count, 3);
    bench->settings.launch.count = 0;
    launching_free(bench->launching);
    bench->launching = launching_start(&bench->course, bench->pool, &bench->settings);
    assert_int_equal(bench->count, 1);
    bench->service->live = &live;
    launching_free(bench->launching);
    bench->launching = launching_start(&bench->course, bench->pool, &bench->settings);
    bench->service->live = NULL;
    assert_int_equal(bench->count, 5);
}

static void what_is_printed_is_recorded_and_the_end_is_told(void **state)
{
    (void)state;
    record("a.test:1");
    record("b.test:2");
    assert_int_equal(bench->pool->instance_count, 2);
    assert_string_equal(bench->pool->instances[1].address, "b.test:2");
    assert_string_equal(bench->pool->instances[1].resolved, "127.0.0.1:2");
    assert_int_equal(events(), 2);
    end_command(NULL);
    assert_int_equal(bench->told, 1);
    assert_int_equal(bench->event, EVENT_LAUNCHED);
    assert_string_equal(bench->why, "launch.command has started 2 instances");
    assert_int_equal(events(), 3);
}

static void the_end_waits_for_the_last_record(void **state)
{
    (void)state;
    print("a.test:1");
    end_command(NULL);
    assert_int_equal(bench->told, 0);
    resolve(NULL);
    assert_int_equal(bench->told, 0);
    assert_true(take_turn());
    assert_int_equal(bench->told, 1);
    assert_int_equal(bench->event, EVENT_LAUNCHED);
}

static void a_failed_command_is_told_when_all_that_it_printed_is_recorded(void **state)
{
    (void)state;
    print("a.test:1");
    resolve(NULL);
    end_command("it ended with status 3");
    assert_int_equal(bench->told, 0);
    assert_true(take_turn());
    assert_int_equal(bench->event, EVENT_LAUNCH_FAILED);
    assert_string_equal(bench->why, "it ended with status 3");
    assert_int_equal(bench->pool->instance_count, 1); /* it is torn down with its pool */
}

/* ---- what is of no use ---- */

static void assert_refused(const char *address, int64_t pid, const char *sentence)
{
    struct err err = {""};
    assert_false(print_with(address, pid, &err));
    assert_non_null(strstr(err.text, sentence));
}

static void what_is_of_no_use_at_once_is_refused_with_its_line(void **state)
{
    (void)state;
    pid_t gone = fork();
    if (gone == 0)
        _exit(0);
    assert_int_equal(waitpid(gone, NULL, 0), gone);
    assert_refused("a.test:1", gone, "there is no process with pid");
    bench->is_configured = false;
    assert_refused("a.test:1", 0, "not in the config any more");
    assert_int_equal(bench->resolving[0], '\0');
    end_command(NULL);
    assert_int_equal(bench->told, 1); /* nothing is awaited */
}

static void there_are_ten_thousand_at_most(void **state)
{
    (void)state;
    char address[32];
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(address, sizeof address, "a%u.test:1", i);
        print(address);
        resolve("unknown"); /* which counts it all the same */
    }
    assert_refused("one.more.test:1", 0, "more than 10000 instances");
}

static void a_name_that_is_unknown_fails_the_launch(void **state)
{
    (void)state;
    print("a.test:1");
    resolve("the name \"a.test\" cannot be resolved");
    assert_string_equal(bench->failure, "launch.command: the name \"a.test\" cannot be resolved");
    assert_int_equal(bench->told, 0);
    end_command(bench->failure);
    assert_int_equal(bench->event, EVENT_LAUNCH_FAILED);
    assert_int_equal(bench->pool->instance_count, 0);
}

static void an_instance_that_may_not_be_taken_fails_the_launch(void **state)
{
    (void)state;
    bench->refusal = "it is being torn down";
    print("a.test:1");
    resolve(NULL);
    assert_false(take_turn());
    assert_string_equal(bench->failure, "launch.command: it is being torn down");
    assert_int_equal(bench->slots_given, 0);
}

/* There is no command any more that could be ended. */
static void one_that_is_refused_after_the_commands_good_end_is_the_failure(void **state)
{
    (void)state;
    print("a.test:1");
    end_command(NULL);
    bench->refusal = "it is being torn down";
    resolve(NULL);
    assert_false(take_turn());
    assert_string_equal(bench->failure, "");
    assert_int_equal(bench->told, 1);
    assert_int_equal(bench->event, EVENT_LAUNCH_FAILED);
    assert_string_equal(bench->why, "launch.command: it is being torn down");
}

static void the_same_address_twice_fails_and_takes_no_slot(void **state)
{
    (void)state;
    record("a.test:1");
    print("b.test:1"); /* another name of it */
    resolve(NULL);
    assert_false(take_turn());
    assert_non_null(strstr(bench->failure, "each is to be named once"));
    assert_int_equal(bench->slots_given, 1);
}

static void one_that_accepts_no_connection_in_time_fails_the_launch(void **state)
{
    (void)state;
    record("a.test:1");
    bench->accepted(bench->probe_arg, false, "a.test:1 does not accept");
    assert_string_equal(bench->failure, "a.test:1 does not accept");
    record("b.test:2");
    bench->failure[0] = '\0';
    bench->accepted(bench->probe_arg, true, NULL);
    assert_string_equal(bench->failure, "");
}

/* ---- the end from outside ---- */

static void stop(void)
{
    launching_free(bench->launching);
    bench->launching = NULL;
}

static void what_is_under_way_at_the_end_is_cancelled(void **state)
{
    (void)state;
    record("a.test:1"); /* and is awaited */
    print("b.test:2");  /* and is resolved */
    stop();
    assert_int_equal(bench->cancelled, 2);
    assert_int_equal(bench->told, 0);
}

static void a_launch_that_is_given_up_is_told_of_and_kept_when_its_command_is_gone(void **state)
{
    (void)state;
    record("a.test:1");
    print("b.test:2");
    unsigned before = events();
    assert_true(launching_give_up(bench->launching, "the deployment was given up"));
    bench->launching = NULL;
    assert_int_equal(bench->cancelled, 2);
    assert_string_equal(bench->failure, "the deployment was given up");
    assert_int_equal(bench->published, 0);
    end_command(bench->failure);
    assert_int_equal(bench->published, 1);
    assert_int_equal(events(), before + 1);
    assert_int_equal(bench->told, 0);
}

static void a_launch_whose_command_has_ended_is_given_up_at_once_or_was_told_of(void **state)
{
    (void)state;
    record("a.test:1");
    print("b.test:2");
    end_command(NULL);
    assert_true(launching_give_up(bench->launching, "the deployment was given up"));
    assert_int_equal(bench->published, 1);
    assert_int_equal(bench->told, 0);
    bench->launching = launching_start(&bench->course, bench->pool, &bench->settings);
    end_command("it has failed");
    assert_int_equal(bench->told, 1);
    assert_false(launching_give_up(bench->launching, "the deployment was given up"));
    assert_int_equal(bench->published, 1);
}

static void a_record_that_is_too_late_for_its_launch_is_not_made(void **state)
{
    (void)state;
    print("a.test:1");
    resolve(NULL);
    stop();
    assert_false(take_turn());
    assert_int_equal(bench->pool->instance_count, 0);
    assert_int_equal(bench->slots_given, 0);
    assert_int_equal(bench->told, 0);
}

/* It was on its way to the disk: nobody awaits it, but it is there, and its process is held. */
static void a_record_that_is_made_as_its_launch_ends_stays(void **state)
{
    (void)state;
    struct err err;
    assert_true(print_with("a.test:1", getpid(), &err));
    resolve(NULL);
    struct step *step = bench->step;
    assert_true(step->prepare(step));
    stop();
    uint64_t id = step->record.added->id;
    assert_true(registry_apply(bench->conductor.options.registry, &step->record, NULL, &err));
    launching_follow(step);
    assert_null(bench->accepted);
    step->release(step, true);
    record_free(&step->record);
    free(step);
    assert_int_equal(bench->pool->instance_count, 1);
    assert_true(processes_is_alive(bench->conductor.processes, id, &err));
}

static void a_slot_whose_record_could_not_be_made_is_free_again(void **state)
{
    (void)state;
    print("a.test:1");
    resolve(NULL);
    struct step *step = bench->step;
    assert_true(step->prepare(step));
    uint32_t slot = step->record.added->slot;
    step->release(step, false);
    record_free(&step->record);
    free(step);
    bench->step = NULL;
    assert_int_equal(next_slot(), slot);
}

static void a_turn_more_gives_no_second_slot(void **state)
{
    (void)state;
    print("a.test:1");
    resolve(NULL);
    struct step *step = bench->step;
    assert_true(step->prepare(step)); /* the disk was full: it is prepared anew */
    assert_true(take_turn());
    assert_int_equal(bench->slots_given, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_command_is_told_how_many_are_wanted),
        TEST(what_is_printed_is_recorded_and_the_end_is_told),
        TEST(the_end_waits_for_the_last_record),
        TEST(a_failed_command_is_told_when_all_that_it_printed_is_recorded),
        TEST(what_is_of_no_use_at_once_is_refused_with_its_line),
        TEST(there_are_ten_thousand_at_most),
        TEST(a_name_that_is_unknown_fails_the_launch),
        TEST(an_instance_that_may_not_be_taken_fails_the_launch),
        TEST(one_that_is_refused_after_the_commands_good_end_is_the_failure),
        TEST(the_same_address_twice_fails_and_takes_no_slot),
        TEST(one_that_accepts_no_connection_in_time_fails_the_launch),
        TEST(what_is_under_way_at_the_end_is_cancelled),
        TEST(a_launch_that_is_given_up_is_told_of_and_kept_when_its_command_is_gone),
        TEST(a_launch_whose_command_has_ended_is_given_up_at_once_or_was_told_of),
        TEST(a_record_that_is_too_late_for_its_launch_is_not_made),
        TEST(a_record_that_is_made_as_its_launch_ends_stays),
        TEST(a_slot_whose_record_could_not_be_made_is_free_again),
        TEST(a_turn_more_gives_no_second_slot),
    };
    return cmocka_run_group_tests_name("launching", tests, NULL, NULL);
}
