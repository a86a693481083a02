/* help: what the tables say, as text for people and as words for completion. */
#pragma once

#include "cli/command.h"

#include <stdio.h>

/* All commands, one line each. */
void help_overview(FILE *out);
/* One command: usage, what it does, its options. */
void help_command(FILE *out, const struct command *command);

/* For completion, one word a line: without a command the commands' names, else what the operand that comes
 * next is ("none", "service", "file" or "other") and then the options. */
void help_words(FILE *out, const struct command *command, enum operand next);
