/* help: what the tables say, as text for people and as words for completion. */
#pragma once

#include "cli/command.h"

#include <stdio.h>

/* All commands, one line each. */
void help_overview(FILE *out);
/* One command: usage, what it does, its options. */
void help_command(FILE *out, const struct command *command);

/* For completion, one word a line: what comes next ("none", "service", "file", "word" or "other"), of a word
 * those that it may be, and then the options. Without a command that word is a command's name. */
void help_words(FILE *out, const struct command *command, enum operand next);
