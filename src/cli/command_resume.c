#include "cli/arguments.h"
#include "cli/ask.h"

static int run(const struct session *session, const struct arguments *arguments)
{
    return ask_verb(session, arguments_operand(arguments, 0), "/resume", json_object(), "resumed");
}

const struct command command_resume = {
    .name = "resume",
    .operands = "SERVICE",
    .summary = "let the requests go that wait since \"pause\"",
    .first = OPERAND_SERVICE,
    .least = 1,
    .most = 1,
    .run = run,
};
