/* The options of a deployment as the body of its request. */
#include "cli/staging.h"

#include "base/utf8.h"
#include "cli/arguments.h"
#include "cli/errand.h"

#include <math.h>
#include <stdlib.h>

/* Digits, with or without a point: what strtod takes besides is no share. */
static bool is_number(const char *text, char **end)
{
    size_t n = strspn(text, "0123456789.");
    return n > 0 && isfinite(strtod(text, end)) && *end == text + n;
}

/* "1,10,50", with or without percent signs, as a list of numbers. */
static json_t *shares_of(const char *text, struct err *err)
{
    char quote[UTF8_QUOTE_SIZE];
    json_t *list = json_array();
    struct str rest = str_of(text), part;
    while (str_split(&rest, ',', &part)) {
        char *end, *number = str_dup(part);
        bool is_share = is_number(number, &end) && (end[0] == '\0' || strcmp(end, "%") == 0);
        double share = is_share ? strtod(number, NULL) : 0;
        free(number);
        if (!is_share) {
            json_decref(list);
            err_set(err, "--canary takes shares in percent, such as 1,10,50, not \"%s\"",
                    utf8_quote(str_of(text), quote));
            return NULL;
        }
        json_array_append_new(list, json_real(share));
    }
    return list;
}

static bool add_canary(json_t *body, const struct arguments *arguments, struct err *err)
{
    const char *text = arguments_text(arguments, "canary");
    json_t *shares = text == NULL ? NULL : shares_of(text, err);
    if (text != NULL && shares == NULL)
        return false;
    if (text != NULL)
        json_object_set_new(body, "canary", shares);
    return true;
}

static void add_text(json_t *body, const struct arguments *arguments, const char *name)
{
    const char *text = arguments_text(arguments, name);
    if (text != NULL)
        json_object_set_new(body, name, json_string(text));
}

/* The daemon takes words; here the shell makes them. */
static void add_pause(json_t *body, const struct arguments *arguments)
{
    const char *command = arguments_text(arguments, "pause-with"),
               *most = arguments_text(arguments, "pause-max");
    if (command != NULL)
        json_object_set_new(body, "pause_with", json_pack("[s, s, s]", "/bin/sh", "-c", command));
    if (most != NULL)
        json_object_set_new(body, "pause_max", json_string(most));
}

bool staging_add(json_t *body, const struct arguments *arguments, struct err *err)
{
    if (!add_canary(body, arguments, err))
        return false;
    add_pause(body, arguments);
    add_text(body, arguments, "watch");
    add_text(body, arguments, "step");
    if (arguments_has(arguments, "hold"))
        json_object_set_new(body, "hold", json_true());
    if (arguments_has(arguments, "allow-untested"))
        json_object_set_new(body, "allow_untested", json_true());
    return true;
}

int staging_run(const struct session *session, const struct arguments *arguments, const json_t *body)
{
    struct errand errand = {
        .service = arguments_operand(arguments, 0),
        .verb = "/deployments",
        .body = body,
        .done = "staged",
        .until = arguments_has(arguments, "hold") ? FOLLOW_HELD : FOLLOW_ENDED,
        .recall = recall_staged,
    };
    return errand_run(session, arguments, &errand);
}
