#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/staging.h"

static int run(const struct session *session, const struct arguments *arguments)
{
    struct err err;
    json_t *body = json_pack("{s:b, s:s}", "launch", true, "release", arguments_operand(arguments, 1));
    int status = staging_add(body, arguments, &err) ? staging_run(session, arguments, body)
                                                    : ask_fail(CLI_USAGE, &err);
    json_decref(body);
    return status;
}

static const struct option_row options[] = {
    STAGING_OPTIONS,
    {.name = NULL},
};

const struct command command_deploy = {
    .name = "deploy",
    .operands = "SERVICE RELEASE",
    .summary = "start a release, test it, and swap live traffic to it",
    .details = "Runs the service's launch.command with the release, stages each instance that it\n"
               "prints, and goes on as \"stage\".\n" STAGING_EXITS("swapped (or\nheld, with --hold)"),
    .first = OPERAND_SERVICE,
    .least = 2,
    .most = 2,
    .options = options,
    .run = run,
};
