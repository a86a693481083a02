#include "base/mem.h"
#include "cli/ask.h"

static int run(const struct session *session, const struct arguments *arguments)
{
    (void)arguments;
    return ask_post(session, mem_dup("/v1/reload"), json_object(), mem_dup("the config is reloaded"));
}

const struct command command_reload = {
    .name = "reload",
    .operands = "",
    .summary = "read the config again, all or nothing",
    .run = run,
};
