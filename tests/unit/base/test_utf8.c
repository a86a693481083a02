#include "base/utf8.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#define BAD "\xef\xbf\xbd"

static void assert_tail(struct str text, size_t most, bool cut, const char *wanted)
{
    size_t size;
    char *got = utf8_tail(text, most, cut, &size);
    assert_string_equal(got, wanted);
    assert_int_equal(size, strlen(wanted));
    free(got);
}

static void valid_text_stays_as_it_is(void **state)
{
    (void)state;
    assert_tail(STR("a\n\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"), 100, false,
                "a\n\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
    assert_tail((struct str){NULL, 0}, 100, false, "");
}

static void every_byte_that_is_part_of_no_sequence_is_replaced(void **state)
{
    (void)state;
    assert_tail(STR("a\x80"), 100, false, "a" BAD);
    assert_tail(STR("\xc0\x80"), 100, false, BAD BAD);
    assert_tail(STR("\xed\xa0\x80"), 100, false, BAD BAD BAD);
    assert_tail(STR("\xf4\x90\x80\x80"), 100, false, BAD BAD BAD BAD);
    assert_tail(STR("\xe0\x80\x80"), 100, false, BAD BAD BAD);
    assert_tail(STR("x\xe2\x82"), 100, false, "x" BAD BAD);
    assert_tail(STR("x\0y"), 100, false, "x" BAD "y");
}

static void what_was_cut_begins_with_a_whole_character(void **state)
{
    (void)state;
    assert_tail(STR("\x82\xac"
                    "abc"),
                100, true, "abc");
    assert_tail(STR("\xe2\x82\xac"
                    "bc"),
                4, false, "bc");
    assert_tail(STR("abc"), 2, false, "bc");
}

static void a_beginning_ends_between_two_characters(void **state)
{
    (void)state;
    assert_str_equal(utf8_head(STR("a\xe2\x82\xac"), 3), "a");
    assert_str_equal(utf8_head(STR("a\xe2\x82\xac"), 4), "a\xe2\x82\xac");
    assert_str_equal(utf8_head(STR("abc"), 2), "ab");
}

static void a_quotation_is_whole_or_says_that_it_is_not(void **state)
{
    (void)state;
    char quote[UTF8_QUOTE_SIZE], text[UTF8_QUOTE_MAX + 2], expected[UTF8_QUOTE_SIZE];
    assert_string_equal(utf8_quote(STR("a\xe2\x82\xac"), quote), "a\xe2\x82\xac");
    memset(text, 'x', sizeof text);
    assert_int_equal(strlen(utf8_quote((struct str){text, UTF8_QUOTE_MAX}, quote)), UTF8_QUOTE_MAX);
    memcpy(text + UTF8_QUOTE_MAX - 1, "\xe2\x82\xac", 3);
    snprintf(expected, sizeof expected, "%.*s...", UTF8_QUOTE_MAX - 1, text);
    assert_string_equal(utf8_quote((struct str){text, sizeof text}, quote), expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_text_stays_as_it_is),
        cmocka_unit_test(every_byte_that_is_part_of_no_sequence_is_replaced),
        cmocka_unit_test(what_was_cut_begins_with_a_whole_character),
        cmocka_unit_test(a_beginning_ends_between_two_characters),
        cmocka_unit_test(a_quotation_is_whole_or_says_that_it_is_not),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
