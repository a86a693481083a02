#include "cli/ask.h"

#include <stdio.h>

/* What the file says and the daemon does not do. */
static void show_warnings(const json_t *answer)
{
    size_t i;
    const json_t *warning;
    json_array_foreach (json_object_get(answer, "warnings"), i, warning) {
        const char *sentence = json_string_value(warning);
        if (sentence != NULL)
            ask_warn("upswap: ", sentence);
    }
}

static int run(const struct session *session, const struct arguments *arguments)
{
    struct client_reply reply;
    (void)arguments;
    json_t *body = json_object();
    int status = ask_change(session, "/v1/reload", body, ASK_CHANGE_MS, &reply);
    json_decref(body);
    if (status != CLI_DONE)
        return status;
    if (session->json) {
        ask_print(&reply);
    } else {
        printf("the config is reloaded\n");
        show_warnings(reply.json);
    }
    client_reply_free(&reply);
    return CLI_DONE;
}

const struct command command_reload = {
    .name = "reload",
    .operands = "",
    .summary = "read the config again, all or nothing",
    .run = run,
};
