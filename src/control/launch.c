/* One child, whose stdout is read line by line. Invariant: the first thing that went wrong is what is told,
 * and nothing is found after it. */
#include "control/launch.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "control/ending.h"
#include "control/program.h"
#include "control/roster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define OUTPUT_KEPT ((size_t)64 * 1024)
#define OUTPUT_LIMIT ((uint64_t)256 * 1024 * 1024)

struct launch {
    struct loop *loop;
    struct launch_callbacks callbacks;
    void *arg;
    char **argv;
    struct child *child; /* NULL: none runs */
    struct roster roster;
    size_t found;
    char *failure; /* NULL: nothing has gone wrong */
    bool has_ended, abandoned;
    /* Once it has ended: */
    int exit_status, signal;
    bool timed_out;
    uint64_t ns;
    struct child_usage usage;
    char *output;
    size_t output_size;
    struct loop_deferred deferred;
};

static void destroy(struct launch *launch)
{
    for (size_t i = 0; launch->argv != NULL && launch->argv[i] != NULL; i++)
        free(launch->argv[i]);
    free(launch->argv);
    roster_free(&launch->roster);
    free(launch->failure);
    free(launch->output);
    free(launch);
}

static void fail(struct launch *launch, char *sentence)
{
    if (launch->failure != NULL) {
        free(sentence);
        return;
    }
    launch->failure = sentence;
    if (launch->child != NULL)
        child_stop(launch->child);
}

void launch_fail(struct launch *launch, const char *sentence)
{
    fail(launch, mem_dup(sentence));
}

/* ---- what it prints ---- */

static bool on_instance(void *arg, const struct endpoint *endpoint, struct err *err)
{
    struct launch *launch = arg;
    launch->found++;
    return launch->callbacks.found(launch->arg, endpoint, err);
}

static void fail_by_line(struct launch *launch, const struct err *err)
{
    fail(launch, mem_printf("launch.command: %s; its stdout is for instances alone, HOST:PORT [pid=N] a "
                            "line, and everything else belongs on stderr",
                            err->text));
}

static void on_stdout(void *arg, struct str bytes)
{
    struct launch *launch = arg;
    struct err err;
    if (launch->failure == NULL && !launch->abandoned &&
        !roster_take(&launch->roster, bytes, on_instance, launch, &err))
        fail_by_line(launch, &err);
}

/* ---- how it ends ---- */

static void keep_result(struct launch *launch, const struct child_result *result)
{
    launch->exit_status = result->exit_status;
    launch->signal = result->signal;
    launch->timed_out = result->timed_out;
    launch->ns = result->ns;
    launch->usage = result->usage;
    launch->output = utf8_tail(result->output, OUTPUT_KEPT, result->truncated, &launch->output_size);
}

static void judge(struct launch *launch, const struct child_result *result)
{
    struct err err;
    if (launch->failure != NULL)
        return;
    if (result->exit_status != 0 || result->timed_out || result->overflowed) {
        char *how = ending_words(result, OUTPUT_LIMIT);
        fail(launch, ending_sentence("launch.command", how, ending_output(result)));
        free(how);
    } else if (!roster_end(&launch->roster, on_instance, launch, &err)) {
        fail_by_line(launch, &err);
    } else if (launch->found == 0) {
        fail(launch, ending_sentence("launch.command",
                                     "ended without having printed an instance; let it print "
                                     "HOST:PORT [pid=N] a line on stdout",
                                     result->output));
    }
}

static void tell(struct launch *launch)
{
    launch->has_ended = true;
    launch->callbacks.done(launch->arg, launch->failure);
}

static void on_done(void *arg, const struct child_result *result)
{
    struct launch *launch = arg;
    launch->child = NULL;
    if (launch->abandoned) {
        destroy(launch);
        return;
    }
    keep_result(launch, result);
    judge(launch, result);
    if (launch->abandoned)
        destroy(launch);
    else
        tell(launch);
}

/* ---- the start ---- */

static void take_argv(struct launch *launch, struct program *program, const char *release)
{
    launch->argv = mem_zero(program->command_count + 2, sizeof *launch->argv);
    for (size_t i = 0; i < program->command_count; i++)
        launch->argv[i] = mem_dup(program->command[i]);
    launch->argv[program->command_count] = mem_dup(release);
}

static void set_environment(struct environment *environment, const struct launch_plan *plan)
{
    char *count = mem_printf("%zu", plan->count);
    environment_set(environment, "LAUNCH_SERVICE", plan->service);
    environment_set(environment, "LAUNCH_RELEASE", plan->release);
    environment_set(environment, "LAUNCH_DEPLOYMENT", plan->deployment);
    environment_set(environment, "LAUNCH_COUNT", count);
    free(count);
}

/* No limits are set: what it starts would have them all its life. */
static bool start(struct launch *launch, struct program *program, const struct launch_plan *plan,
                  struct err *err)
{
    const struct config_launch *settings = plan->settings;
    const struct program_plan wanted = {.section = "launch",
                                        .user = settings->user,
                                        .directory = settings->chdir,
                                        .env_file = settings->env_file,
                                        .environment = &settings->environment,
                                        .command = &settings->command,
                                        .release = plan->release};
    if (!program_prepare(program, &wanted, err))
        return false;
    take_argv(launch, program, plan->release);
    set_environment(program->environment, plan);
    struct child_spec spec = program_spec(program, settings->timeout_ms);
    spec.argv = (const char *const *)launch->argv;
    spec.envp = environment_list(program->environment);
    spec.output_max = OUTPUT_KEPT;
    spec.output_limit = OUTPUT_LIMIT;
    spec.apart = true;
    launch->child = child_start(launch->loop, &spec, on_done, launch, err);
    if (launch->child != NULL)
        child_on_stdout(launch->child, on_stdout);
    return launch->child != NULL;
}

/* What could not be started ends after the turn. */
static void tell_later(struct loop_deferred *deferred)
{
    struct launch *launch = mem_container(deferred, struct launch, deferred);
    launch->deferred.run = NULL;
    if (launch->abandoned)
        destroy(launch);
    else
        tell(launch);
}

struct launch *launch_start(struct loop *loop, const struct launch_plan *plan,
                            const struct launch_callbacks *callbacks, void *arg)
{
    struct err err;
    struct program program;
    struct launch *launch = mem_zero(1, sizeof *launch);
    launch->loop = loop;
    launch->callbacks = *callbacks;
    launch->arg = arg;
    launch->exit_status = -1;
    if (!start(launch, &program, plan, &err)) {
        launch->failure = mem_dup(err.text);
        launch->output = mem_dup("");
        launch->deferred.run = tell_later;
        loop_defer(loop, &launch->deferred);
    }
    program_free(&program);
    return launch;
}

/* ---- the outside ---- */

json_t *launch_json(const struct launch *launch)
{
    json_t *argv = json_array();
    for (size_t i = 0; launch->argv != NULL && launch->argv[i] != NULL; i++)
        json_array_append_new(argv, json_string(launch->argv[i]));
    const char *state = !launch->has_ended ? "running" : launch->failure == NULL ? "passed" : "failed";
    return json_pack("{s:o, s:s, s:o, s:o, s:b, s:f, s:o, s:s%}", "argv", argv, "state", state, "exit",
                     launch->exit_status < 0 ? json_null() : json_integer(launch->exit_status), "signal",
                     launch->signal == 0 ? json_null() : json_integer(launch->signal), "timed_out",
                     launch->timed_out, "seconds", (double)launch->ns / 1e9, "usage",
                     ending_usage(&launch->usage), "output", launch->output != NULL ? launch->output : "",
                     launch->output_size);
}

void launch_free(struct launch *launch)
{
    if (launch == NULL)
        return;
    launch->abandoned = true;
    if (launch->child != NULL)
        child_stop(launch->child);
    else if (launch->deferred.run == NULL && launch->has_ended)
        destroy(launch);
}
