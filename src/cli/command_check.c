#include "cli/arguments.h"
#include "cli/ask.h"
#include "config/config.h"
#include "io/certificate_files.h"
#include "io/child.h"

static int run(const struct session *session, const struct arguments *arguments)
{
    (void)session;
    struct err err;
    struct terminal terminal = terminal_open(stdout);
    const char *path = arguments_operand(arguments, 0);
    struct config *config = config_load(path, &err);
    bool valid = config != NULL && config_check(config, certificate_files_check, &err) &&
                 config_check_instances(config, &err);
    if (!valid || !config_check_users(config, child_user_check, &err))
        ask_warn("", err.text);
    if (valid)
        terminal_line(&terminal, TONE_PLAIN, "%s: valid", path);
    config_free(config);
    return valid ? CLI_DONE : CLI_REFUSED;
}

const struct command command_check = {
    .name = "check",
    .operands = "FILE",
    .summary = "check a config without a daemon",
    .first = OPERAND_FILE,
    .least = 1,
    .most = 1,
    .run = run,
};
