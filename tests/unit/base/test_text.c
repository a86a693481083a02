#include "base/buf.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/err.h"

#include "unit.h"

#include <stdlib.h>

static void a_prefix_goes_before_the_sentence(void **state)
{
    (void)state;
    struct err err;
    assert_false(err_set(&err, "key \"%s\" is unknown", "prot"));
    assert_false(err_prefix(&err, "%s:%d", "a.conf", 3));
    assert_string_equal(err.text, "a.conf:3: key \"prot\" is unknown");
}

static void a_sentence_that_is_too_long_is_cut(void **state)
{
    (void)state;
    struct err err;
    char wide[2000];
    memset(wide, 'x', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    err_set(&err, "%s", wide);
    err_prefix(&err, "%s", wide);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void splitting_gives_each_part_and_then_ends(void **state)
{
    (void)state;
    struct str rest = STR("a,,b"), part;
    assert_true(str_split(&rest, ',', &part));
    assert_str_equal(part, "a");
    assert_true(str_split(&rest, ',', &part));
    assert_str_equal(part, "");
    assert_true(str_split(&rest, ',', &part));
    assert_str_equal(part, "b");
    assert_false(str_split(&rest, ',', &part));
}

static void numbers_that_overflow_or_hold_other_bytes_are_refused(void **state)
{
    (void)state;
    uint64_t value;
    assert_true(str_to_u64(STR("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_false(str_to_u64(STR("18446744073709551616"), &value));
    assert_false(str_to_u64(STR("20000000000000000000"), &value));
    assert_true(str_to_u64(STR("000000000000000000000000000000042"), &value));
    assert_int_equal(value, 42);
    assert_false(str_to_u64(STR(""), &value));
    assert_false(str_to_u64(STR("+1"), &value));
    assert_false(str_to_u64(STR("1 "), &value));
}

static void the_nearest_word_is_found_and_a_far_one_is_not(void **state)
{
    (void)state;
    static const char *const words[] = {"status", "stage", "promote"};
    assert_string_equal(str_nearest(STR("stauts"), words, 3), "status");
    assert_string_equal(str_nearest(STR("stge"), words, 3), "stage");
    assert_null(str_nearest(STR("frobnicate"), words, 3));
    const char *const paths[] = {"/v1/services/web/promote", "/v1/services/web/abort"};
    assert_string_equal(str_nearest(STR("/v1/service/web/promot"), paths, 2), paths[0]);
    assert_null(str_nearest(STR("/v1/services/web/rollback"), paths, 2));
}

static void a_buffer_grows_and_drops_at_the_front(void **state)
{
    (void)state;
    struct buf buf = BUF_EMPTY;
    for (int i = 0; i < 100; i++)
        buf_printf(&buf, "%03d,", i);
    assert_int_equal(buf.n, 400);
    buf_drop(&buf, 396);
    assert_string_equal(buf.p, "099,");
    buf_free(&buf);
}

static void what_is_printed_into_a_buffer_is_whole_whatever_its_length(void **state)
{
    (void)state;
    for (int size = 0; size < 600; size++) {
        struct buf buf = BUF_EMPTY;
        buf_printf(&buf, "%0*d", size, 0);
        buf_printf(&buf, "%*s", size, "end");
        assert_int_equal(buf.n, (size == 0 ? 1 : size) + (size < 3 ? 3 : size));
        assert_int_equal(strlen(buf.p), buf.n);
        assert_int_equal(buf.p[0], '0');
        assert_string_equal(buf.p + buf.n - 3, "end");
        buf_free(&buf);
    }
}

static void numbers_are_added_to_a_buffer_in_decimal_digits(void **state)
{
    (void)state;
    struct buf buf = BUF_EMPTY;
    buf_add_number(&buf, 0);
    buf_add(&buf, " ", 1);
    buf_add_number(&buf, 10);
    buf_add(&buf, " ", 1);
    buf_add_number(&buf, UINT64_MAX);
    assert_string_equal(buf.p, "0 10 18446744073709551615");
    buf_free(&buf);
}

static void times_are_written_as_rfc_3339_and_read_back(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_SIZE];
    uint64_t ns = 0;
    assert_string_equal(clock_text(1795341600123000000, text), "2026-11-22T10:00:00.123Z");
    assert_true(clock_parse(str_of(text), &ns));
    assert_true(ns == 1795341600123000000);
    assert_false(clock_parse(STR("2026-11-22T10:00:00Z"), &ns));
}

static void crc32c_has_its_published_check_value(void **state)
{
    (void)state;
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
}

static void texts_are_the_same_and_so_is_no_text(void **state)
{
    (void)state;
    assert_true(str_is_same("a", "a"));
    assert_true(str_is_same(NULL, NULL));
    assert_false(str_is_same("a", "b"));
    assert_false(str_is_same("a", NULL));
    assert_false(str_is_same(NULL, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_the_same_and_so_is_no_text),
        cmocka_unit_test(a_prefix_goes_before_the_sentence),
        cmocka_unit_test(a_sentence_that_is_too_long_is_cut),
        cmocka_unit_test(splitting_gives_each_part_and_then_ends),
        cmocka_unit_test(numbers_that_overflow_or_hold_other_bytes_are_refused),
        cmocka_unit_test(the_nearest_word_is_found_and_a_far_one_is_not),
        cmocka_unit_test(a_buffer_grows_and_drops_at_the_front),
        cmocka_unit_test(what_is_printed_into_a_buffer_is_whole_whatever_its_length),
        cmocka_unit_test(numbers_are_added_to_a_buffer_in_decimal_digits),
        cmocka_unit_test(times_are_written_as_rfc_3339_and_read_back),
        cmocka_unit_test(crc32c_has_its_published_check_value),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
