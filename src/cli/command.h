/* command: a verb of the client as a constant: one file each, one row in the table of commands.c. Parsing,
 * help and completion read nothing else. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arguments;
struct client;

enum option_kind {
    OPTION_FLAG,
    OPTION_TEXT, /* whatever, nothing too */
    OPTION_NAME, /* of a thing, or what it consists of: not empty, as an unset variable would make it */
    OPTION_NUMBER,
    OPTION_DURATION,
};

struct option_row {
    const char *name; /* without the dashes; NULL ends the table */
    char letter;      /* '\0': none */
    enum option_kind kind;
    const char *value; /* how help calls it; NULL for flags */
    const char *help;
};

/* What a positional argument is, for completion. */
enum operand { OPERAND_NONE, OPERAND_SERVICE, OPERAND_FILE, OPERAND_WORD, OPERAND_OTHER };

/* What a command is given to work with. */
struct session {
    struct client *client;
    bool json;
};

struct command {
    const char *name;
    const char *operands; /* "SERVICE HOST:PORT..." */
    const char *summary;  /* a line of help */
    const char *details;  /* a paragraph more, or NULL */
    enum operand first;
    const char *const *second; /* the words of which the second operand is one; NULL: it is something else */
    size_t least, most;        /* operands */
    const struct option_row *options;
    /* Returns the exit status. */
    int (*run)(const struct session *session, const struct arguments *arguments);
};

/* All, in the order of help; the last has no name. */
extern const struct command *const commands[];

/* NULL: a sentence, with the nearest name. */
const struct command *command_find(const char *name, struct err *err) MUST_CHECK;

extern const struct command command_abort;
extern const struct command command_check;
extern const struct command command_deploy;
extern const struct command command_drain;
extern const struct command command_enable;
extern const struct command command_events;
extern const struct command command_history;
extern const struct command command_maintenance;
extern const struct command command_pause;
extern const struct command command_promote;
extern const struct command command_reload;
extern const struct command command_resume;
extern const struct command command_rollback;
extern const struct command command_show;
extern const struct command command_stage;
extern const struct command command_status;
extern const struct command command_top;
extern const struct command command_upgrade;
extern const struct command command_uptest;
extern const struct command command_why;
