#include "cli/ask.h"

#include <stdio.h>

static int run(const struct session *session, const struct arguments *arguments)
{
    (void)arguments;
    struct client_reply reply;
    json_t *body = json_object();
    int status = ask(session, "POST", "/v1/reload", body, ASK_MS, &reply);
    json_decref(body);
    if (status != CLI_DONE)
        return status;
    if (session->json)
        ask_print(&reply);
    else
        printf("the config is reloaded\n");
    client_reply_free(&reply);
    return CLI_DONE;
}

const struct command command_reload = {
    .name = "reload",
    .operands = "",
    .summary = "read the config again, all or nothing",
    .run = run,
};
