#include "base/mem.h"
#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/render.h"

#include <inttypes.h>
#include <stdlib.h>

#define USUAL 20

static int run(const struct session *session, const struct arguments *arguments)
{
    char *query = mem_printf("/deployments?limit=%" PRIu64, arguments_number(arguments, "number", USUAL));
    char *path = client_path("/v1/services/", arguments_operand(arguments, 0), query);
    free(query);
    return ask_show(session, path, render_history);
}

static const struct option_row options[] = {
    {"number", 'n', OPTION_NUMBER, "N", "at most so many; 20 unless told"},
    {.name = NULL},
};

const struct command command_history = {
    .name = "history",
    .operands = "SERVICE",
    .summary = "list a service's deployments, newest first",
    .first = OPERAND_SERVICE,
    .least = 1,
    .most = 1,
    .options = options,
    .run = run,
};
