#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/errand.h"
#include "cli/staging.h"

static int run(const struct session *session, const struct arguments *arguments)
{
    if (arguments_has(arguments, "follow") && arguments_has(arguments, "no-wait")) {
        struct err err;
        err_set(&err, "--follow and --no-wait cannot both be; leave one out");
        return ask_fail(CLI_USAGE, &err);
    }
    json_t *body = json_pack("{s:s*, s:s*}", "deployment", arguments_text(arguments, "deployment"), "from",
                             arguments_text(arguments, "from"));
    struct errand errand = {
        .service = arguments_operand(arguments, 0),
        .verb = "/promote",
        .body = body,
        .done = "promoted",
        .until = arguments_has(arguments, "follow") ? FOLLOW_ENDED : FOLLOW_SWAPPED,
        .gate_passed = true,
        .recall = recall_promoted,
    };
    int status = errand_run(session, arguments, &errand);
    json_decref(body);
    return status;
}

static const struct option_row options[] = {
    {"deployment", 0, OPTION_NAME, "ID", "only if it is this one that runs, such as web-17"},
    {"from", 0, OPTION_NAME, "STATE", "only if held, canary, canary:PERCENT or watching"},
    {"follow", 0, OPTION_FLAG, NULL, "follow it to its end, as \"stage\" does"},
    {"no-wait", 0, OPTION_FLAG, NULL, "return when it is promoted, before the swap"},
    {"timeout", 0, OPTION_DURATION, "DURATION", "follow no longer; the deployment goes on"},
    {.name = NULL},
};

const struct command command_promote = {
    .name = "promote",
    .operands = "SERVICE",
    .summary = "let a held deployment or a canary go on, or end a watch",
    .details = "Ends when the swap has happened, or the canary has its share.\n" STAGING_STATUSES("done"),
    .first = OPERAND_SERVICE,
    .least = 1,
    .most = 1,
    .options = options,
    .run = run,
};
