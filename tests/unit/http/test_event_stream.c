#include "http/event_stream.h"

#include "unit.h"

#include <stdlib.h>

/* Where the text rests, as a text of its own: '|' behind every byte after which an end is good, '.' behind
 * one after which it would do. */
static const char *marked(const char *text)
{
    static char out[2000];
    struct event_stream stream = {0};
    char *to = out;
    for (const char *p = text; *p != '\0'; p++) {
        event_stream_follow(&stream, p, 1);
        *to++ = *p;
        if (event_stream_rests(&stream))
            *to++ = '|';
        else if (event_stream_is_whole(&stream))
            *to++ = '.';
    }
    *to = '\0';
    return out;
}

static void nothing_has_begun_at_the_beginning(void **state)
{
    (void)state;
    struct event_stream stream = {0};
    assert_true(event_stream_rests(&stream));
    assert_true(event_stream_is_whole(&stream));
}

static void an_event_ends_with_an_empty_line_of_any_kind(void **state)
{
    (void)state;
    assert_string_equal(marked("data: a\n\ndata: b\n\n"), "data: a\n\n|data: b\n\n|");
    assert_string_equal(marked("id: 1\r\ndata: a\r\n\r\n"), "id: 1\r\ndata: a\r\n\r.\n|");
    assert_string_equal(marked("data: a\r\rdata: b\rid: 2\r\r"), "data: a\r\r|data: b\rid: 2\r\r|");
    assert_string_equal(marked("data: a\r\n\n"), "data: a\r\n\n|");
    assert_string_equal(marked("data: a\n\r\n"), "data: a\n\r.\n|");
    assert_string_equal(marked("data: a\n\rdata"), "data: a\n\r.data");
    assert_string_equal(marked("data: a\r\r\n"), "data: a\r\r|\n|");
    assert_string_equal(marked("data:\n\n\n\r\n"), "data:\n\n|\n|\r.\n|");
}

static void a_line_end_is_no_empty_line(void **state)
{
    (void)state;
    assert_string_equal(marked("data: a\r\ndata: b\ndata: c\rdata"), "data: a\r\ndata: b\ndata: c\rdata");
}

static void comments_are_no_events(void **state)
{
    (void)state;
    assert_string_equal(marked(": hello\n: you\r\n"), ": hello\n|: you\r.\n|");
    assert_string_equal(marked(":\r:\r\r"), ":\r.:\r.\r|");
    assert_string_equal(marked("data: a\n: in between\n\n"), "data: a\n: in between\n\n|");
}

/* Texts over the few bytes that matter, enough to reach every state from every other. */
static void random_text(char *text, size_t size)
{
    for (size_t i = 0; i + 1 < size; i++)
        text[i] = "x:\r\n"[rand() % 4];
    text[size - 1] = '\0';
}

static void the_bytes_may_be_split_anywhere(void **state)
{
    (void)state;
    char text[500];
    for (unsigned round = 0; round < 200; round++) {
        struct event_stream whole = {0}, pieces = {0};
        random_text(text, sizeof text);
        event_stream_follow(&whole, text, sizeof text - 1);
        for (size_t at = 0; at < sizeof text - 1;) {
            size_t n = 1 + (size_t)rand() % 20;
            n = n < sizeof text - 1 - at ? n : sizeof text - 1 - at;
            event_stream_follow(&pieces, text + at, n);
            at += n;
        }
        assert_int_equal(whole.state, pieces.state);
    }
}

static void the_first_rest_is_found_however_the_bytes_are_split(void **state)
{
    (void)state;
    const char text[] = "data: one\r\ndata\r\n\r\ndata: two\r\n\r\n";
    size_t end = (size_t)(strstr(text, "\r\n\r\n") - text) + 4;
    for (size_t split = 0; split <= end; split++) {
        struct event_stream stream = {0};
        event_stream_follow(&stream, "data: zero\n", 11);
        size_t first = event_stream_until_rest(&stream, text, split);
        assert_int_equal(first, split);
        if (split < end)
            assert_int_equal(event_stream_until_rest(&stream, text + split, sizeof text - 1 - split),
                             end - split);
        assert_true(event_stream_rests(&stream));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_has_begun_at_the_beginning),
        cmocka_unit_test(an_event_ends_with_an_empty_line_of_any_kind),
        cmocka_unit_test(a_line_end_is_no_empty_line),
        cmocka_unit_test(comments_are_no_events),
        cmocka_unit_test(the_bytes_may_be_split_anywhere),
        cmocka_unit_test(the_first_rest_is_found_however_the_bytes_are_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
