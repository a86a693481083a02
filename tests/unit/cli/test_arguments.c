#include "cli/arguments.h"

#include "unit.h"

#define WORDS_MAX 16

/* Parses words that are separated by single spaces. The words stay in a static buffer. */
static struct arguments *parse(const char *line, struct err *err)
{
    static char text[256];
    char *words[WORDS_MAX];
    int count = 0;
    strcpy(text, line);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
        words[count++] = word;
    return arguments_parse(count, words, err);
}

static struct arguments *must_parse(const char *line)
{
    struct err err;
    struct arguments *arguments = parse(line, &err);
    if (arguments == NULL)
        fail_msg("%s: %s", line, err.text);
    return arguments;
}

static void options_may_stand_anywhere(void **state)
{
    (void)state;
    struct arguments *arguments =
        must_parse("-s /x --json stage --release v2 web --hold h:1 --timeout=90s h:2 --watch 0s");
    assert_ptr_equal(arguments_command(arguments), &command_stage);
    assert_string_equal(arguments_text(arguments, "socket"), "/x");
    assert_true(arguments_has(arguments, "json"));
    assert_true(arguments_has(arguments, "hold"));
    assert_false(arguments_has(arguments, "no-wait"));
    assert_string_equal(arguments_text(arguments, "release"), "v2");
    assert_int_equal(arguments_number(arguments, "timeout", 0), 90000);
    assert_int_equal(arguments_count(arguments), 3);
    assert_string_equal(arguments_operand(arguments, 0), "web");
    assert_string_equal(arguments_operand(arguments, 2), "h:2");
    assert_null(arguments_operand(arguments, 3));
    arguments_free(arguments);
}

static void letters_may_be_joined_with_their_value_and_each_other(void **state)
{
    (void)state;
    struct arguments *arguments = must_parse("history web -n5");
    assert_int_equal(arguments_number(arguments, "number", 20), 5);
    arguments_free(arguments);
    arguments = must_parse("events -fs /x");
    assert_true(arguments_has(arguments, "follow"));
    assert_string_equal(arguments_text(arguments, "socket"), "/x");
    assert_int_equal(arguments_number(arguments, "since", 7), 7);
    arguments_free(arguments);
}

static void options_of_a_command_may_stand_before_it(void **state)
{
    (void)state;
    struct arguments *arguments = must_parse("--release v42 --hold stage web h:1");
    assert_ptr_equal(arguments_command(arguments), &command_stage);
    assert_string_equal(arguments_text(arguments, "release"), "v42");
    assert_true(arguments_has(arguments, "hold"));
    assert_int_equal(arguments_count(arguments), 2);
    arguments_free(arguments);
    arguments = must_parse("-f events");
    assert_true(arguments_has(arguments, "follow"));
    arguments_free(arguments);
    arguments = must_parse("-n 3 history web");
    assert_int_equal(arguments_number(arguments, "number", 20), 3);
    arguments_free(arguments);
    arguments = must_parse("-fs /x --since=3 -- events -f");
    assert_int_equal(arguments_number(arguments, "since", 0), 3);
    assert_string_equal(arguments_operand(arguments, 0), "-f");
    arguments_free(arguments);
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    struct arguments *arguments = must_parse("abort -- --reason");
    assert_string_equal(arguments_operand(arguments, 0), "--reason");
    assert_null(arguments_text(arguments, "reason"));
    arguments_free(arguments);
}

static void help_and_version_need_no_operands(void **state)
{
    (void)state;
    struct arguments *arguments = must_parse("stage -h");
    assert_true(arguments_has(arguments, "help"));
    arguments_free(arguments);
    arguments = must_parse("stage --version");
    assert_true(arguments_has(arguments, "version"));
    arguments_free(arguments);
}

static void wrong_usage_is_told_in_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *line, *sentence;
    } rows[] = {
        {"stats", "there is no command \"stats\"; did you mean \"status\"?"},
        {"launder web", "there is no command \"launder\"; \"upswap --help\" lists them"},
        {"status --jsno", "there is no option --jsno; did you mean --json?"},
        {"status --release v1", "there is no option --release"},
        {"status -x", "there is no option -x"},
        {"--release v1 history web", "there is no option --release"},
        {"-n 3 status", "there is no option -n"},
        {"--release v1", "--release is for a command, and none is named; \"upswap --help\" lists them"},
        {"status --json=yes", "--json takes no value"},
        {"status --json --json", "--json is given twice"},
        {"status a b", "\"b\" is one argument too many"},
        {"abort web --reason", "--reason needs a value: TEXT"},
        {"drain web", "\"drain\" needs SERVICE HOST:PORT"},
        {"history web -n many", "--number takes a whole number, not \"many\""},
        {"stage web h:1 --timeout 5",
         "--timeout: \"5\" is not a duration: write a whole number with ms, s, m, h or d, as in \"250ms\""},
        {"stage web h:1 --watch 60",
         "--watch: \"60\" is not a duration: write a whole number with ms, s, m, h or d, as in \"250ms\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err;
        assert_null(parse(rows[i].line, &err));
        assert_string_equal(err.text, rows[i].sentence);
    }
}

/* As "$VARIABLE" of a script, where it is not set. */
static void an_option_that_names_something_is_not_given_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *words[5], *sentence; /* "": taken */
    } rows[] = {
        {{"-s", "", "status"},
         "--socket has an empty value (of a variable that is not set?); it takes SOCKET"},
        {{"stage", "web", "h:1", "--pause-with", " "},
         "--pause-with has an empty value (of a variable that is not set?); it takes COMMAND"},
        {{"--release=", "uptest", "web"},
         "--release has an empty value (of a variable that is not set?); it takes RELEASE"},
        {{"promote", "web", "--deployment", ""},
         "--deployment has an empty value (of a variable that is not set?); it takes ID"},
        {{"promote", "web", "--from="},
         "--from has an empty value (of a variable that is not set?); it takes STATE"},
        {{"abort", "web", "--deployment="},
         "--deployment has an empty value (of a variable that is not set?); it takes ID"},
        {{"rollback", "web", "--deployment", ""},
         "--deployment has an empty value (of a variable that is not set?); it takes ID"},
        {{"abort", "web", "--reason", ""}, ""},
        {{"rollback", "web", "--reason", ""}, ""},
        {{"maintenance", "web", "on", "--message="}, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {""};
        int count = 0;
        while (count < 5 && rows[i].words[count] != NULL)
            count++;
        struct arguments *arguments = arguments_parse(count, (char **)rows[i].words, &err);
        assert_string_equal(err.text, rows[i].sentence);
        assert_int_equal(arguments == NULL, rows[i].sentence[0] != '\0');
        arguments_free(arguments);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_may_stand_anywhere),
        cmocka_unit_test(letters_may_be_joined_with_their_value_and_each_other),
        cmocka_unit_test(options_of_a_command_may_stand_before_it),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(help_and_version_need_no_operands),
        cmocka_unit_test(wrong_usage_is_told_in_a_sentence),
        cmocka_unit_test(an_option_that_names_something_is_not_given_nothing),
    };
    return cmocka_run_group_tests_name("arguments", tests, NULL, NULL);
}
