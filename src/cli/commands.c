#include "base/utf8.h"
#include "cli/command.h"

const struct command *const commands[] = {
    &command_status,  &command_why,         &command_top,
    &command_deploy,  &command_stage,       &command_promote,
    &command_abort,   &command_rollback,    &command_uptest,
    &command_history, &command_show,        &command_events,
    &command_drain,   &command_enable,      &command_pause,
    &command_resume,  &command_maintenance, &command_reload,
    &command_upgrade, &command_check,       NULL,
};

#define COMMANDS (sizeof commands / sizeof *commands - 1)

const struct command *command_find(const char *name, struct err *err)
{
    const char *names[COMMANDS];
    char quote[UTF8_QUOTE_SIZE];
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
        names[i] = commands[i]->name;
    }
    const char *nearest = str_nearest(str_of(name), names, COMMANDS);
    if (nearest != NULL)
        err_set(err, "there is no command \"%s\"; did you mean \"%s\"?", utf8_quote(str_of(name), quote),
                nearest);
    else
        err_set(err, "there is no command \"%s\"; \"upswap --help\" lists them",
                utf8_quote(str_of(name), quote));
    return NULL;
}
