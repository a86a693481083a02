#include "cli/arguments.h"
#include "cli/ask.h"

static int run(const struct session *session, const struct arguments *arguments)
{
    const char *reason = arguments_text(arguments, "reason");
    json_t *body =
        json_pack("{s:s*, s:s*}", "reason", reason, "deployment", arguments_text(arguments, "deployment"));
    return ask_verb(session, arguments_operand(arguments, 0), "/rollback", body,
                    "rolled back; the pool before it is live");
}

static const struct option_row options[] = {
    {"deployment", 0, OPTION_NAME, "ID", "only if it is this one that runs, such as web-17"},
    {"reason", 0, OPTION_TEXT, "TEXT", "why, for the history"},
    {.name = NULL},
};

const struct command command_rollback = {
    .name = "rollback",
    .operands = "SERVICE",
    .summary = "swap back to the armed pool, or take a canary back",
    .first = OPERAND_SERVICE,
    .least = 1,
    .most = 1,
    .options = options,
    .run = run,
};
