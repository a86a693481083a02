#include "cli/arguments.h"
#include "cli/ask.h"

#include <stdio.h>
#include <stdlib.h>

/* A daemon of another version may not say what it replaces. */
static const char *words_of(const struct client_reply *reply)
{
    return json_is_null(json_object_get(reply->json, "replaces")) ? "aborted; no pool is live"
                                                                  : "aborted; the live pool stays";
}

static int run(const struct session *session, const struct arguments *arguments)
{
    struct client_reply reply;
    const char *service = arguments_operand(arguments, 0), *reason = arguments_text(arguments, "reason");
    json_t *body =
        json_pack("{s:s*, s:s*}", "reason", reason, "deployment", arguments_text(arguments, "deployment"));
    char *path = client_path("/v1/services/", service, "/abort");
    int status = ask_change(session, path, body, ASK_CHANGE_MS, &reply);
    free(path);
    json_decref(body);
    if (status != CLI_DONE)
        return status;
    if (session->json)
        ask_print(&reply);
    else
        printf("%s: %s\n", service, words_of(&reply));
    client_reply_free(&reply);
    return CLI_DONE;
}

static const struct option_row options[] = {
    {"deployment", 0, OPTION_NAME, "ID", "only if it is this one that runs, such as web-17"},
    {"reason", 0, OPTION_TEXT, "TEXT", "why, for the history"},
    {.name = NULL},
};

const struct command command_abort = {
    .name = "abort",
    .operands = "SERVICE",
    .summary = "give the running deployment up; the live pool stays",
    .first = OPERAND_SERVICE,
    .least = 1,
    .most = 1,
    .options = options,
    .run = run,
};
