#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/render.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

static int run(const struct session *session, const struct arguments *arguments)
{
    struct client_reply reply;
    char *query = mem_printf("/deployments?limit=%" PRIu64, arguments_number(arguments, "number", 20));
    char *path = client_path("/v1/services/", arguments_operand(arguments, 0), query);
    int status = ask(session, "GET", path, NULL, ASK_MS, &reply);
    free(query);
    free(path);
    if (status != CLI_DONE)
        return status;
    struct terminal terminal = terminal_open(stdout);
    if (session->json)
        ask_print(&reply);
    else
        render_history(&terminal, json_object_get(reply.json, "deployments"));
    client_reply_free(&reply);
    return CLI_DONE;
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
