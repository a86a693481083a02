/* Each text of the plan has the release put in, and names its key where that fails. */
#include "control/program.h"

#include "base/mem.h"

#include <stdlib.h>

#define KILL_AFTER_MS 2000
#define LINGER_MS 1000

static char *expand(const struct program_plan *plan, const char *key, const char *text, struct err *err)
{
    char *expanded = config_expand(text, str_of(plan->release), err);
    if (expanded == NULL)
        err_prefix(err, "%s.%s", plan->section, key);
    return expanded;
}

static bool prepare_command(struct program *program, const struct program_plan *plan, struct err *err)
{
    const char *key = strcmp(plan->section, "uptests") == 0 ? "runner" : "command";
    program->command = mem_zero(plan->command->count + 1, sizeof *program->command);
    for (size_t i = 0; i < plan->command->count; i++) {
        program->command[i] = expand(plan, key, plan->command->items[i], err);
        if (program->command[i] == NULL)
            return false;
        program->command_count++;
    }
    return true;
}

static bool prepare_place(struct program *program, const struct program_plan *plan, struct err *err)
{
    program->directory = expand(plan, "chdir", plan->directory != NULL ? plan->directory : "/", err);
    if (program->directory == NULL)
        return false;
    program->has_user = plan->user != NULL;
    return !program->has_user || child_user_find(plan->user, &program->user, err) ||
           err_prefix(err, "%s.user", plan->section);
}

static bool prepare_environment(struct program *program, const struct program_plan *plan, struct err *err)
{
    program->environment = environment_new();
    if (plan->env_file != NULL) {
        char *path = expand(plan, "env_file", plan->env_file, err);
        bool ok = path != NULL && environment_read(program->environment, path, err);
        free(path);
        if (!ok)
            return false;
    }
    for (size_t i = 0; i < plan->environment->count; i++)
        environment_set_pair(program->environment, str_of(plan->environment->items[i]));
    return true;
}

bool program_prepare(struct program *program, const struct program_plan *plan, struct err *err)
{
    *program = (struct program){.command = NULL};
    return prepare_place(program, plan, err) && prepare_command(program, plan, err) &&
           prepare_environment(program, plan, err);
}

void program_free(struct program *program)
{
    for (size_t i = 0; i < program->command_count; i++)
        free(program->command[i]);
    free(program->command);
    free(program->directory);
    environment_free(program->environment);
}

struct child_spec program_spec(const struct program *program, uint64_t timeout_ms)
{
    return (struct child_spec){
        .directory = program->directory,
        .user = program->has_user ? &program->user : NULL,
        .timeout_ms = timeout_ms,
        .kill_after_ms = KILL_AFTER_MS,
        .linger_ms = LINGER_MS,
    };
}
