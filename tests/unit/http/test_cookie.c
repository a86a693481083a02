#include "http/cookie.h"

#include "unit.h"

#include "http/field.h"

/* Adds a line. */
static void add(struct http_fields *fields, const char *name, const char *value)
{
    fields->at[fields->count++] = (struct http_field){.name = str_of(name), .value = str_of(value)};
    field_index(fields);
}

static void assert_found(const char *line, const char *name, const char *value)
{
    struct http_fields fields = {.count = 0};
    struct str found = {NULL, 0};
    add(&fields, "Cookie", line);
    bool is_there = http_cookie_find(&fields, str_of(name), &found);
    assert_int_equal(is_there, value != NULL);
    if (value != NULL)
        assert_str_equal(found, value);
}

static void values_come_as_they_are(void **state)
{
    (void)state;
    assert_found("a=1; b=2", "a", "1");
    assert_found("a=1; b=2", "b", "2");
    assert_found("a=1;b=2", "b", "2");
    assert_found("a=\"x y\"; b=2", "a", "\"x y\"");
    assert_found("a=x=y==", "a", "x=y==");
    assert_found("a=; b=2", "a", "");
    assert_found("  a =\t1\t;  b= 2 ", "a", "1");
    assert_found("  a =\t1\t;  b= 2 ", "b", "2");
    assert_found("a=\xff\x80", "a", "\xff\x80");
}

static void a_name_is_found_whole_and_in_its_case_only(void **state)
{
    (void)state;
    assert_found("ab=1; xa=2; A=3", "a", NULL);
    assert_found("b=a=1", "a", NULL);
    assert_found("b=1; a", "a", NULL);
    assert_found("b=\"; a=1; \"", "a", "1"); /* no quotes hide a semicolon */
    assert_found("", "a", NULL);
    assert_found(";;; ;", "a", NULL);
    assert_found("=1", "", "1");
}

static void the_first_of_a_name_counts_over_all_lines(void **state)
{
    (void)state;
    struct http_fields fields = {.count = 0};
    struct str value;
    add(&fields, "Cookie", "x=0");
    add(&fields, "Set-Cookie", "a=wrong");
    add(&fields, "cookie", "a=1; a=2");
    add(&fields, "Cookie", "a=3");
    assert_true(http_cookie_find(&fields, STR("a"), &value));
    assert_str_equal(value, "1");
}

static void without_a_cookie_line_nothing_is_found(void **state)
{
    (void)state;
    struct http_fields fields = {.count = 0};
    struct str value;
    assert_false(http_cookie_find(&fields, STR("a"), &value));
    add(&fields, "X-Cookie", "a=1");
    assert_false(http_cookie_find(&fields, STR("a"), &value));
}

static void a_name_is_a_token(void **state)
{
    (void)state;
    assert_true(http_cookie_is_name(STR("__Host-a.b")));
    assert_false(http_cookie_is_name(STR("")));
    assert_false(http_cookie_is_name(STR("a=b")));
    assert_false(http_cookie_is_name(STR("a b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_as_they_are),
        cmocka_unit_test(a_name_is_found_whole_and_in_its_case_only),
        cmocka_unit_test(the_first_of_a_name_counts_over_all_lines),
        cmocka_unit_test(without_a_cookie_line_nothing_is_found),
        cmocka_unit_test(a_name_is_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
