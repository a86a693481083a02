#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/render.h"

#include <stdlib.h>

static void print(const json_t *answer)
{
    struct terminal terminal = terminal_open(stdout);
    const json_t *services = json_object_get(answer, "services"), *service;
    size_t i;
    if (services == NULL)
        render_service(&terminal, answer);
    json_array_foreach (services, i, service)
        render_service(&terminal, service);
    if (services != NULL && json_array_size(services) == 0)
        terminal_line(&terminal, TONE_PLAIN, "no services are configured");
}

static int run(const struct session *session, const struct arguments *arguments)
{
    struct client_reply reply;
    const char *service = arguments_operand(arguments, 0);
    char *path = service != NULL ? client_path("/v1/services/", service, "") : NULL;
    int status = ask(session, "GET", path != NULL ? path : "/v1/status", NULL, ASK_MS, &reply);
    free(path);
    if (status != CLI_DONE)
        return status;
    if (session->json)
        ask_print(&reply);
    else
        print(reply.json);
    client_reply_free(&reply);
    return CLI_DONE;
}

const struct command command_status = {
    .name = "status",
    .operands = "[SERVICE]",
    .summary = "show services, pools, instances and running deployments",
    .first = OPERAND_SERVICE,
    .most = 1,
    .run = run,
};
