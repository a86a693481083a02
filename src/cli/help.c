#include "cli/help.h"

#include "cli/arguments.h"

static void print_option(FILE *out, const struct option_row *row)
{
    char name[64];
    char letter[8] = "    ";
    if (row->letter != '\0')
        snprintf(letter, sizeof letter, "-%c, ", row->letter);
    snprintf(name, sizeof name, "%s--%s%s%s", letter, row->name, row->value != NULL ? " " : "",
             row->value != NULL ? row->value : "");
    fprintf(out, "  %-24s  %s\n", name, row->help);
}

static void print_options(FILE *out, const struct option_row *rows)
{
    for (; rows != NULL && rows->name != NULL; rows++)
        print_option(out, rows);
}

void help_overview(FILE *out)
{
    fprintf(out, "usage: upswap [-s SOCKET] [--json] COMMAND ...\n\n");
    for (const struct command *const *command = commands; *command != NULL; command++)
        fprintf(out, "  %-11s %s\n", (*command)->name, (*command)->summary);
    fprintf(out, "\n");
    print_options(out, common_options);
    fprintf(out, "\n\"upswap COMMAND --help\" says more about one of them; see also upswap(1).\n");
}

void help_command(FILE *out, const struct command *command)
{
    fprintf(out, "usage: upswap %s%s%s%s\n\n%s.\n", command->name, command->operands[0] != '\0' ? " " : "",
            command->operands, command->options != NULL ? " [OPTION...]" : "", command->summary);
    if (command->details != NULL)
        fprintf(out, "%s\n", command->details);
    fprintf(out, "\n");
    print_options(out, command->options);
    print_options(out, common_options);
}

static void print_words(FILE *out, const char *const *words)
{
    for (; words != NULL && *words != NULL; words++)
        fprintf(out, "%s\n", *words);
}

static void print_commands(FILE *out)
{
    for (const struct command *const *command = commands; *command != NULL; command++)
        fprintf(out, "%s\n", (*command)->name);
}

static void print_names(FILE *out, const struct option_row *rows)
{
    for (; rows != NULL && rows->name != NULL; rows++)
        fprintf(out, "--%s\n", rows->name);
}

void help_words(FILE *out, const struct command *command, enum operand next)
{
    static const char *const operands[] = {"none", "service", "file", "word", "other"};
    fprintf(out, "%s\n", operands[next]);
    if (command == NULL)
        print_commands(out);
    else if (next == OPERAND_WORD)
        print_words(out, command->second);
    if (command != NULL)
        print_names(out, command->options);
    print_names(out, common_options);
}
