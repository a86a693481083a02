#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/render.h"

#include <stdlib.h>

static int run(const struct session *session, const struct arguments *arguments)
{
    struct client_reply reply;
    char *path = client_path("/v1/deployments/", arguments_operand(arguments, 0), "");
    int status = ask(session, "GET", path, NULL, ASK_MS, &reply);
    free(path);
    if (status != CLI_DONE)
        return status;
    struct terminal terminal = terminal_open(stdout);
    if (session->json)
        ask_print(&reply);
    else
        render_deployment(&terminal, reply.json);
    client_reply_free(&reply);
    return CLI_DONE;
}

const struct command command_show = {
    .name = "show",
    .operands = "DEPLOYMENT",
    .summary = "show a deployment: who asked, its timeline and every uptest",
    .first = OPERAND_OTHER,
    .least = 1,
    .most = 1,
    .run = run,
};
