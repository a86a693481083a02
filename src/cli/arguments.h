/* arguments: a command line taken apart after a command's table. Options may stand anywhere; "--" ends them.
 * What is common to all commands (-s, --json, -h, -V) is taken from any place too. */
#pragma once

#include "base/err.h"
#include "cli/command.h"

struct arguments;

/* Takes argv (without the program's name) apart. NULL: a usage fault. Free with arguments_free. */
struct arguments *arguments_parse(int argc, char **argv, struct err *err) MUST_CHECK;
void arguments_free(struct arguments *arguments);

/* What may stand behind words that are the beginning of a command line. */
struct outlook {
    const char *command; /* the word that names it, right or wrong; NULL: it is to come */
    size_t operands;     /* that are there */
    bool value_due;      /* the next word is the value of the last */
};
struct outlook arguments_look(int argc, char **argv);

/* NULL: none was named. */
const struct command *arguments_command(const struct arguments *arguments);

size_t arguments_count(const struct arguments *arguments);
/* The operand at index, or NULL past the last. */
const char *arguments_operand(const struct arguments *arguments, size_t index);

/* Options by name, of the command or common. A name that neither table has stops the process. */
bool arguments_has(const struct arguments *arguments, const char *option);
/* As written, or NULL. */
const char *arguments_text(const struct arguments *arguments, const char *option);
/* A number, or a duration in ms; `otherwise` where absent. */
uint64_t arguments_number(const struct arguments *arguments, const char *option, uint64_t otherwise);

/* -s, --json, -h, -V. */
extern const struct option_row common_options[];
