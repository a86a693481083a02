/* The tables of the commands against upswap(1) and against what help makes of them. */
#include "cli/help.h"

#include "unit.h"

#include "cli/arguments.h"

#include <stdio.h>
#include <stdlib.h>

static char *read_manual(void)
{
    const char *folder = getenv("srcdir");
    char path[4096], *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/doc/upswap.1", folder != NULL ? folder : ".");
    FILE *file = fopen(path, "re");
    if (file == NULL || getdelim(&text, &size, '\0', file) < 0)
        fail_msg("%s cannot be read", path);
    fclose(file);
    return text;
}

static void assert_options_in(const char *text, const struct option_row *rows)
{
    for (; rows != NULL && rows->name != NULL; rows++) {
        char option[64];
        snprintf(option, sizeof option, " -%s%s", rows->name, rows->value != NULL ? " Ar " : "");
        if (strstr(text, option) == NULL)
            fail_msg("upswap.1 does not have \"%s\"", option);
    }
}

static void every_command_and_option_is_in_the_manual(void **state)
{
    (void)state;
    char *text = read_manual();
    for (const struct command *const *command = commands; *command != NULL; command++) {
        char item[64];
        snprintf(item, sizeof item, "\n.It Cm %s", (*command)->name);
        if (strstr(text, item) == NULL)
            fail_msg("upswap.1 does not have %s", (*command)->name);
        assert_options_in(text, (*command)->options);
    }
    assert_options_in(text, common_options);
    free(text);
}

/* Whether the word behind it is its value has to be known before the command is. */
static void assert_same_kind(const struct option_row *rows, const struct option_row *others)
{
    for (const struct option_row *row = rows; row != NULL && row->name != NULL; row++) {
        for (const struct option_row *other = others; other != NULL && other->name != NULL; other++) {
            bool same_name = strcmp(row->name, other->name) == 0;
            bool same_letter = row->letter != '\0' && row->letter == other->letter;
            if ((same_name || same_letter) && (row->kind == OPTION_FLAG) != (other->kind == OPTION_FLAG))
                fail_msg("--%s and --%s", row->name, other->name);
        }
    }
}

static void an_option_takes_a_value_with_every_command_or_with_none(void **state)
{
    (void)state;
    for (const struct command *const *command = commands; *command != NULL; command++) {
        assert_same_kind((*command)->options, common_options);
        for (const struct command *const *other = commands; *other != NULL; other++)
            assert_same_kind((*command)->options, (*other)->options);
    }
}

static void a_command_offers_its_options(void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    help_command(out, &command_stage);
    help_words(out, &command_stage, OPERAND_SERVICE);
    fclose(out);
    assert_non_null(strstr(text, "usage: upswap stage SERVICE HOST:PORT..."));
    assert_non_null(strstr(text, "\nservice\n--release\n"));
    assert_non_null(strstr(text, "--canary PCT,PCT,..."));
    assert_non_null(strstr(text, "\n--watch\n"));
    free(text);
}

static void help_fits_80_columns(void **state)
{
    (void)state;
    char *text;
    size_t size, length = 0;
    FILE *out = open_memstream(&text, &size);
    help_overview(out);
    for (const struct command *const *command = commands; *command != NULL; command++)
        help_command(out, *command);
    fclose(out);
    for (const char *at = text; *at != '\0'; at++) {
        length = *at == '\n' ? 0 : length + 1;
        if (length > 80)
            fail_msg("too long: %.100s", at - 80);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_and_option_is_in_the_manual),
        cmocka_unit_test(an_option_takes_a_value_with_every_command_or_with_none),
        cmocka_unit_test(a_command_offers_its_options),
        cmocka_unit_test(help_fits_80_columns),
    };
    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
