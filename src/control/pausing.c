/* Invariant: the deployment's event is made once; and from the moment at which the command was started, every
 * sentence about its failure says so, since what it has done is not undone. */
#include "control/pausing.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "control/conduct.h"
#include "control/ending.h"
#include "control/program.h"

#include <stdlib.h>
#include <string.h>

#define OUTPUT_KEPT ((size_t)64 * 1024)
#define OUTPUT_LIMIT ((uint64_t)256 * 1024 * 1024)

struct pausing {
    struct course *course; /* NULL: that is over */
    char *pool;
    uint64_t began_ms;
    struct quiet *quiet; /* is awaited; NULL: it is not */
    struct child *child; /* runs */
    json_t *argv;
    bool has_begun, has_ended, given_up;
    char *failure; /* NULL: nothing has gone wrong */
    /* Once it has ended: */
    int exit_status, signal;
    bool timed_out;
    uint64_t ns;
    struct child_usage usage;
    char *output;
    size_t output_size;
    LIST_ENTRY(pausing) of_given_up;
};

static const struct service *service_of(const struct pausing *pausing)
{
    return registry_service(pausing->course->conductor->options.registry, pausing->course->service);
}

static void destroy(struct pausing *pausing)
{
    json_decref(pausing->argv);
    free(pausing->failure);
    free(pausing->output);
    free(pausing->pool);
    free(pausing);
}

static void fail(struct pausing *pausing, const char *sentence)
{
    step_event(pausing->course, pausing->pool, EVENT_COMMAND_FAILED, sentence);
}

/* ---- the end ---- */

static const char aside[] = "; what the command of the pause has done stays done";

static void announce_end(const struct pausing *pausing)
{
    json_t *more =
        json_pack("{s:b, s:f}", "passed", pausing->failure == NULL, "seconds", (double)pausing->ns / 1e9);
    if (pausing->failure != NULL)
        json_object_set_new(more, "reason", view_text(pausing->failure));
    json_object_set_new(more, "output", event_log_tail((struct str){pausing->output, pausing->output_size}));
    event_log_add(pausing->course->conductor->options.events, "pause.command", pausing->course->service,
                  pausing->pool, more);
}

/* Its output is on disk before its end is recorded. */
static void file(struct pausing *pausing)
{
    bool failed = pausing->failure != NULL;
    struct verdict verdict = {
        .event = failed ? EVENT_COMMAND_FAILED : EVENT_COMMAND_DONE,
        .why = failed ? mem_printf("%s%s", pausing->failure, aside)
                      : mem_printf("the command of the pause exited with status 0 after %.2f s",
                                   (double)pausing->ns / 1e9),
        .not_kept = EVENT_COMMAND_FAILED,
        .aside = aside,
    };
    course_keep(pausing->course, pausing->pool, ARCHIVE_COMMAND, pausing_json(pausing), &verdict);
}

static void on_done(void *arg, const struct child_result *result)
{
    struct pausing *pausing = arg;
    pausing->child = NULL;
    if (pausing->course == NULL) {
        destroy(pausing);
        return;
    }
    pausing->has_ended = true;
    pausing->exit_status = result->exit_status;
    pausing->signal = result->signal;
    pausing->timed_out = result->timed_out;
    pausing->ns = result->ns;
    pausing->usage = result->usage;
    pausing->output = utf8_tail(result->output, OUTPUT_KEPT, result->truncated, &pausing->output_size);
    if (pausing->failure == NULL && (result->exit_status != 0 || result->timed_out || result->overflowed)) {
        char *how = ending_words(result, OUTPUT_LIMIT);
        pausing->failure = ending_sentence("the command of the pause", how, ending_output(result));
        free(how);
    }
    announce_end(pausing);
    if (!pausing->given_up) {
        file(pausing);
        return;
    }
    LIST_REMOVE(pausing, of_given_up);
    course_publish(pausing->course, pausing->pool, ARCHIVE_COMMAND, pausing_json(pausing));
    destroy(pausing);
}

/* ---- the command ---- */

static json_t *words_of(const struct deployment *deployment)
{
    json_t *words = json_array();
    for (size_t i = 0; i < deployment->pause_with_count; i++)
        json_array_append_new(words, json_string(deployment->pause_with[i]));
    return words;
}

/* What is left of the pause; in maintenance there is none, and it has as long as one. */
static uint64_t left_ms(const struct pausing *pausing, const struct deployment *deployment)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t until_ms = pauses_until_ms(pausing->course->conductor->pauses, service_of(pausing));
    if (until_ms == 0)
        return deployment->pause_ms;
    return until_ms > now_ms ? until_ms - now_ms : 1;
}

/* As the service's uptests. */
static bool start(struct pausing *pausing, const struct deployment *deployment, struct program *program,
                  struct err *err)
{
    const struct course *course = pausing->course;
    const struct config_service *settings = conductor_settings(course->conductor, course->service);
    const struct config_list command = {deployment->pause_with, deployment->pause_with_count};
    *program = (struct program){0};
    if (settings == NULL)
        return err_set(err, "the service is not in the config any more");
    const struct config_uptests *uptests = &settings->uptests;
    const struct program_plan plan = {.section = "uptests",
                                      .user = uptests->user,
                                      .directory =
                                          uptests->chdir != NULL ? uptests->chdir : uptests->directory,
                                      .env_file = uptests->env_file,
                                      .environment = &uptests->environment,
                                      .command = &command,
                                      .release = deployment->pool->release};
    if (!program_prepare(program, &plan, err))
        return false;
    environment_set(program->environment, "PAUSE_SERVICE", course->service);
    environment_set(program->environment, "PAUSE_RELEASE", deployment->pool->release);
    environment_set(program->environment, "PAUSE_DEPLOYMENT", pausing->pool);
    struct child_spec spec = program_spec(program, left_ms(pausing, deployment));
    spec.argv = (const char *const *)program->command;
    spec.envp = environment_list(program->environment);
    spec.output_max = OUTPUT_KEPT;
    spec.output_limit = OUTPUT_LIMIT;
    pausing->child = child_start(course->conductor->options.loop, &spec, on_done, pausing, err);
    return pausing->child != NULL;
}

static void run(struct pausing *pausing)
{
    struct program program;
    struct err err;
    const struct pool *pool = registry_pool(pausing->course->conductor->options.registry, pausing->pool);
    pausing->has_begun = start(pausing, pool->deployment, &program, &err);
    program_free(&program);
    if (pausing->has_begun)
        return;
    char *why = mem_printf("the command of the pause was not run: %s", err.text);
    fail(pausing, why);
    free(why);
}

/* ---- the pause ---- */

static void announce_quiet(const struct pausing *pausing, const struct pauses_rest *rest)
{
    double seconds = (double)(clock_mono_ms() - pausing->began_ms) / 1e3;
    log_info("%s: the service is quiet after %.3f s", pausing->pool, seconds);
    event_log_add(pausing->course->conductor->options.events, "pause.quiet", pausing->course->service,
                  pausing->pool,
                  json_pack("{s:f, s:I}", "seconds", seconds, "lasting", (json_int_t)rest->lasting));
}

static void on_quiet(void *arg, enum quiet_end how, const struct pauses_rest *rest)
{
    struct pausing *pausing = arg;
    pausing->quiet = NULL;
    if (how == QUIET_REACHED) {
        announce_quiet(pausing, rest);
        run(pausing);
        return;
    }
    char *why =
        how == QUIET_OVER
            ? mem_dup("the pause was ended before the service was quiet, so the command was not run")
            : mem_printf("%llu request%s still in flight when half of the pause was over, so the command "
                         "was not run",
                         (unsigned long long)rest->requests, rest->requests == 1 ? " was" : "s were");
    fail(pausing, why);
    free(why);
}

static void await(struct pausing *pausing, uint64_t version)
{
    const struct service *service = service_of(pausing);
    pausing->quiet = quiet_await(pausing->course->conductor, service, version, service->running->pause_ms / 2,
                                 on_quiet, pausing);
}

/* The swap is near enough when every instance is asked once more. */
static void follow_end(struct course *course, const struct deployment *running)
{
    struct pausing *pausing = course->pausing;
    if (running->state == DEPLOYMENT_TESTING) {
        step_event(course, running->pool->name, EVENT_GATE_FAILED,
                   "the pause was over before the uptests had passed; what its command has done stays done");
    } else if (pausing != NULL && pausing->child != NULL && pausing->failure == NULL) {
        pausing->failure = mem_dup("the pause was over before its command had ended");
        child_stop(pausing->child);
    }
}

void pausing_follow(struct course *course, uint64_t version)
{
    const struct service *service = registry_service(course->conductor->options.registry, course->service);
    const struct deployment *running = service->running;
    struct pausing *pausing = course->pausing;
    if (running == NULL || !deployment_pauses(running))
        return;
    if (service->mode.kind == MODE_SERVING)
        follow_end(course, running);
    else if (service->mode.kind == MODE_PAUSED && pausing != NULL && pausing->quiet == NULL &&
             !pausing->has_begun)
        await(pausing, version);
}

struct pausing *pausing_start(struct course *course, const struct pool *pool)
{
    struct pausing *pausing = mem_zero(1, sizeof *pausing);
    pausing->course = course;
    pausing->pool = mem_dup(pool->name);
    pausing->began_ms = clock_mono_ms();
    pausing->argv = words_of(pool->deployment);
    pausing->exit_status = -1;
    if (pool->service->mode.kind == MODE_MAINTENANCE)
        await(pausing, course->conductor->options.registry->world);
    else
        modes_pause(course, pool);
    return pausing;
}

bool pausing_has_begun(const struct pausing *pausing)
{
    return pausing != NULL && pausing->has_begun;
}

json_t *pausing_json(const struct pausing *pausing)
{
    const char *state = "waiting";
    if (pausing->has_ended)
        state = pausing->failure == NULL ? "passed" : "failed";
    else if (pausing->has_begun)
        state = "running";
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:b, s:f, s:o, s:s%}", "argv", json_deep_copy(pausing->argv), "state", state,
        "exit", pausing->exit_status < 0 ? json_null() : json_integer(pausing->exit_status), "signal",
        pausing->signal == 0 ? json_null() : json_integer(pausing->signal), "timed_out", pausing->timed_out,
        "seconds", (double)pausing->ns / 1e9, "usage", ending_usage(&pausing->usage), "output",
        pausing->output != NULL ? pausing->output : "", pausing->output_size);
}

bool pausing_give_up(struct pausing *pausing, const char *words)
{
    if (pausing->child == NULL)
        return false;
    pausing->given_up = true;
    LIST_INSERT_HEAD(&pausing->course->pausings, pausing, of_given_up);
    if (pausing->failure == NULL)
        pausing->failure = mem_dup(words);
    child_stop(pausing->child);
    return true;
}

const struct pausing *pausing_find(const struct course *course, const char *pool)
{
    const struct pausing *pausing = course->pausing;
    if (pausing != NULL && strcmp(pausing->pool, pool) == 0)
        return pausing;
    LIST_FOREACH (pausing, &course->pausings, of_given_up) {
        if (strcmp(pausing->pool, pool) == 0)
            return pausing;
    }
    return NULL;
}

void pausing_free(struct pausing *pausing)
{
    if (pausing == NULL)
        return;
    quiet_cancel(pausing->quiet);
    pausing->course = NULL;
    if (pausing->child != NULL)
        child_stop(pausing->child);
    else
        destroy(pausing);
}
