#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/story.h"

static int run(const struct session *session, const struct arguments *arguments)
{
    char *path = client_path("/v1/deployments/", arguments_operand(arguments, 0), "");
    return ask_show(session, path, story_tell);
}

const struct command command_show = {
    .name = "show",
    .operands = "DEPLOYMENT",
    .summary = "tell the whole story of a deployment",
    .first = OPERAND_OTHER,
    .least = 1,
    .most = 1,
    .run = run,
};
