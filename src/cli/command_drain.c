#include "cli/arguments.h"
#include "cli/ask.h"

static json_t *body_of(const struct arguments *arguments)
{
    return json_pack("{s:s}", "instance", arguments_operand(arguments, 1));
}

static int run(const struct session *session, const struct arguments *arguments)
{
    return ask_verb(session, arguments_operand(arguments, 0), "/drain", body_of(arguments),
                    "out of rotation");
}

const struct command command_drain = {
    .name = "drain",
    .operands = "SERVICE HOST:PORT",
    .summary = "take a live instance out of rotation",
    .first = OPERAND_SERVICE,
    .least = 2,
    .most = 2,
    .run = run,
};
