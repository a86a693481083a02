#include "cli/arguments.h"
#include "cli/ask.h"

static int run(const struct session *session, const struct arguments *arguments)
{
    return ask_verb(session, arguments_operand(arguments, 0), "/promote", json_object(), "promoted");
}

const struct command command_promote = {
    .name = "promote",
    .operands = "SERVICE",
    .summary = "let a held deployment or a canary go on, or end a watch",
    .first = OPERAND_SERVICE,
    .least = 1,
    .most = 1,
    .run = run,
};
