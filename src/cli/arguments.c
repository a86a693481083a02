/* Twice over the words: first for the command, since which options there are depends on it, then for all. */
#include "cli/arguments.h"

#include "base/mem.h"
#include "base/units.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdlib.h>

#define OPTIONS_MAX 16

const struct option_row common_options[] = {
    {"socket", 's', OPTION_NAME, "SOCKET", "of the daemon; else $UPSWAP_SOCKET, or the usual"},
    {"json", 0, OPTION_FLAG, NULL, "print the API's JSON"},
    {"help", 'h', OPTION_FLAG, NULL, "print this help"},
    {"version", 'V', OPTION_FLAG, NULL, "print the version"},
    {NULL, 0, OPTION_FLAG, NULL, NULL},
};

struct given {
    const struct option_row *row;
    const char *text; /* "" for flags */
    uint64_t number;
};

struct arguments {
    const struct command *command; /* NULL: none is named */
    bool is_passed;                /* its word has been seen among the others */
    struct given given[OPTIONS_MAX];
    size_t given_count;
    const char **operands;
    size_t operand_count;
};

static const struct option_row *find_row(const struct option_row *rows, struct str name, char letter)
{
    for (; rows != NULL && rows->name != NULL; rows++) {
        if (letter != '\0' ? rows->letter == letter : str_equal(str_of(rows->name), name))
            return rows;
    }
    return NULL;
}

static const struct option_row *row_of(const struct command *command, struct str name, char letter)
{
    const struct option_row *row = find_row(common_options, name, letter);
    return row != NULL || command == NULL ? row : find_row(command->options, name, letter);
}

/* Of any command: an option takes a value with every command that has it, or with none. */
static const struct option_row *any_row(struct str name, char letter)
{
    const struct option_row *row = find_row(common_options, name, letter);
    for (size_t i = 0; row == NULL && commands[i] != NULL; i++)
        row = find_row(commands[i]->options, name, letter);
    return row;
}

static const struct given *find_given(const struct arguments *arguments, const char *option)
{
    const struct option_row *row = row_of(arguments->command, str_of(option), '\0');
    assert(row != NULL);
    for (size_t i = 0; i < arguments->given_count; i++) {
        if (arguments->given[i].row == row)
            return &arguments->given[i];
    }
    return NULL;
}

static bool unknown_option(const struct arguments *arguments, struct str name, struct err *err)
{
    const char *names[OPTIONS_MAX];
    char quote[UTF8_QUOTE_SIZE];
    size_t count = 0;
    const struct option_row *tables[] = {common_options,
                                         arguments->command != NULL ? arguments->command->options : NULL};
    for (size_t i = 0; i < 2; i++) {
        for (const struct option_row *row = tables[i];
             row != NULL && row->name != NULL && count < OPTIONS_MAX; row++)
            names[count++] = row->name;
    }
    const char *nearest = str_nearest(name, names, count);
    if (arguments->command == NULL && any_row(name, '\0') != NULL)
        return err_set(err, "--%.*s is for a command, and none is named; \"upswap --help\" lists them",
                       STR_ARG(name));
    if (nearest != NULL)
        return err_set(err, "there is no option --%s; did you mean --%s?", utf8_quote(name, quote), nearest);
    return err_set(err, "there is no option --%s", utf8_quote(name, quote));
}

static bool convert(struct given *given, struct err *err)
{
    const char *name = given->row->name;
    struct str text = str_of(given->text);
    char quote[UTF8_QUOTE_SIZE];
    switch (given->row->kind) {
    case OPTION_NAME:
        return str_trim(text).n > 0 ||
               err_set(err, "--%s has an empty value (of a variable that is not set?); it takes %s", name,
                       given->row->value);
    case OPTION_NUMBER:
        return str_to_u64(text, &given->number) ||
               err_set(err, "--%s takes a whole number, not \"%s\"", name, utf8_quote(text, quote));
    case OPTION_DURATION:
        return units_duration(text, &given->number, err) || err_prefix(err, "--%s", name);
    default:
        return true;
    }
}

static bool give(struct arguments *arguments, const struct option_row *row, const char *text, struct err *err)
{
    struct given given = {row, text, 0};
    if (find_given(arguments, row->name) != NULL)
        return err_set(err, "--%s is given twice", row->name);
    if (!convert(&given, err))
        return false;
    assert(arguments->given_count < OPTIONS_MAX);
    arguments->given[arguments->given_count++] = given;
    return true;
}

/* The words that are still to be looked at. */
struct words {
    char **at;
    int count;
};

static const char *next_word(struct words *words)
{
    if (words->count == 0)
        return NULL;
    words->count--;
    return *words->at++;
}

static bool take_value(struct arguments *arguments, const struct option_row *row, const char *attached,
                       struct words *words, struct err *err)
{
    if (row->kind == OPTION_FLAG)
        return attached == NULL ? give(arguments, row, "", err)
                                : err_set(err, "--%s takes no value", row->name);
    const char *text = attached != NULL ? attached : next_word(words);
    if (text == NULL)
        return err_set(err, "--%s needs a value: %s", row->name, row->value);
    return give(arguments, row, text, err);
}

/* --name, --name=value, --name value */
static bool take_long(struct arguments *arguments, const char *word, struct words *words, struct err *err)
{
    struct str rest = str_of(word + 2), name;
    (void)str_split(&rest, '=', &name);
    const struct option_row *row = row_of(arguments->command, name, '\0');
    return row != NULL ? take_value(arguments, row, rest.p, words, err)
                       : unknown_option(arguments, name, err);
}

static bool unknown_letter(const char *letter, struct err *err)
{
    size_t n = 1;
    while (((unsigned char)letter[n] & 0xc0) == 0x80) /* the rest of a character in UTF-8 */
        n++;
    return err_set(err, "there is no option -%.*s", (int)n, letter);
}

/* -n 5, -n5, -fn5 */
static bool take_letters(struct arguments *arguments, const char *word, struct words *words, struct err *err)
{
    for (const char *letter = word + 1; *letter != '\0'; letter++) {
        const struct option_row *row = row_of(arguments->command, STR(""), *letter);
        if (row == NULL)
            return unknown_letter(letter, err);
        bool has_value = row->kind != OPTION_FLAG;
        if (!take_value(arguments, row, has_value && letter[1] != '\0' ? letter + 1 : NULL, words, err))
            return false;
        if (has_value)
            break;
    }
    return true;
}

static void take_operand(struct arguments *arguments, const char *word)
{
    if (arguments->is_passed)
        arguments->operands[arguments->operand_count++] = word;
    arguments->is_passed = true;
}

static bool is_long(const char *word)
{
    return strncmp(word, "--", 2) == 0;
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

static bool take_words(struct arguments *arguments, struct words *words, struct err *err)
{
    bool options_end = false;
    const char *word;
    while ((word = next_word(words)) != NULL) {
        bool taken = true;
        if (options_end || !is_option(word))
            take_operand(arguments, word);
        else if (strcmp(word, "--") == 0)
            options_end = true;
        else if (is_long(word))
            taken = take_long(arguments, word, words, err);
        else
            taken = take_letters(arguments, word, words, err);
        if (!taken)
            return false;
    }
    return true;
}

/* Is the word behind this option its value? */
static bool takes_next(const char *option)
{
    const struct option_row *row = NULL;
    if (is_long(option))
        return (row = any_row(str_of(option + 2), '\0')) != NULL && row->kind != OPTION_FLAG;
    while (*++option != '\0') {
        row = any_row(STR(""), *option);
        if (row != NULL && row->kind != OPTION_FLAG)
            return option[1] == '\0';
    }
    return false;
}

struct outlook arguments_look(int argc, char **argv)
{
    struct outlook look = {0};
    struct words words = {argv, argc};
    bool options_end = false;
    const char *word;
    while ((word = next_word(&words)) != NULL) {
        if (options_end || !is_option(word)) {
            look.operands += look.command != NULL;
            look.command = look.command != NULL ? look.command : word;
        } else if (strcmp(word, "--") == 0) {
            options_end = true;
        } else if (takes_next(word)) {
            look.value_due = next_word(&words) == NULL;
        }
    }
    return look;
}

static bool find_command(struct arguments *arguments, struct words words, struct err *err)
{
    const char *name = arguments_look(words.count, words.at).command;
    return name == NULL || (arguments->command = command_find(name, err)) != NULL;
}

static bool check_operands(const struct arguments *arguments, struct err *err)
{
    const struct command *command = arguments->command;
    char quote[UTF8_QUOTE_SIZE];
    if (command == NULL || arguments_has(arguments, "help") || arguments_has(arguments, "version"))
        return true;
    if (arguments->operand_count < command->least)
        return err_set(err, "\"%s\" needs %s", command->name, command->operands);
    if (arguments->operand_count > command->most)
        return err_set(err, "\"%s\" is one argument too many",
                       utf8_quote(str_of(arguments->operands[command->most]), quote));
    for (size_t i = 0; i < arguments->operand_count; i++) {
        if (arguments->operands[i][0] == '\0')
            return err_set(err, "an argument is empty; \"%s\" takes %s", command->name, command->operands);
    }
    return true;
}

struct arguments *arguments_parse(int argc, char **argv, struct err *err)
{
    struct arguments *arguments = mem_zero(1, sizeof *arguments);
    arguments->operands = mem_zero((size_t)argc, sizeof *arguments->operands);
    struct words words = {argv, argc};
    if (find_command(arguments, words, err) && take_words(arguments, &words, err) &&
        check_operands(arguments, err))
        return arguments;
    arguments_free(arguments);
    return NULL;
}

void arguments_free(struct arguments *arguments)
{
    if (arguments == NULL)
        return;
    free(arguments->operands);
    free(arguments);
}

const struct command *arguments_command(const struct arguments *arguments)
{
    return arguments->command;
}

size_t arguments_count(const struct arguments *arguments)
{
    return arguments->operand_count;
}

const char *arguments_operand(const struct arguments *arguments, size_t index)
{
    return index < arguments->operand_count ? arguments->operands[index] : NULL;
}

bool arguments_has(const struct arguments *arguments, const char *option)
{
    return find_given(arguments, option) != NULL;
}

const char *arguments_text(const struct arguments *arguments, const char *option)
{
    const struct given *given = find_given(arguments, option);
    return given != NULL ? given->text : NULL;
}

uint64_t arguments_number(const struct arguments *arguments, const char *option, uint64_t otherwise)
{
    const struct given *given = find_given(arguments, option);
    return given != NULL ? given->number : otherwise;
}
