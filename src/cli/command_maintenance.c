#include "base/utf8.h"
#include "cli/arguments.h"
#include "cli/ask.h"

static int run(const struct session *session, const struct arguments *arguments)
{
    const char *message = arguments_text(arguments, "message"), *word = arguments_operand(arguments, 1);
    bool on = strcmp(word, "on") == 0;
    char quote[UTF8_QUOTE_SIZE];
    struct err err;
    if (!on && strcmp(word, "off") != 0)
        err_set(&err, "\"%s\" is neither \"on\" nor \"off\"", utf8_quote(str_of(word), quote));
    else if (!on && message != NULL)
        err_set(&err, "--message goes with \"on\"");
    else
        return ask_verb(session, arguments_operand(arguments, 0), "/maintenance",
                        json_pack("{s:b, s:s*}", "on", on, "message", message),
                        on ? "in maintenance; requests are answered 503" : "served again");
    return ask_fail(CLI_USAGE, &err);
}

static const struct option_row options[] = {
    {"message", 0, OPTION_TEXT, "TEXT", "what clients are told, in one line"},
    {.name = NULL},
};

static const char *const words[] = {"on", "off", NULL};

const struct command command_maintenance = {
    .name = "maintenance",
    .operands = "SERVICE on|off",
    .summary = "answer a service's requests with 503, or serve them again",
    .first = OPERAND_SERVICE,
    .second = words,
    .least = 2,
    .most = 2,
    .options = options,
    .run = run,
};
