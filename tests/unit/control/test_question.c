#include "control/question.h"

#include "unit.h"

#include <nghttp2/nghttp2.h>

static struct question *question;

static void begin(bool h2)
{
    struct question_order order = {.path = "/up", .host = "app.test", .h2 = h2, .tls = h2, .https = h2};
    question_free(question);
    question = question_new(&order);
    assert_non_null(question);
}

static enum question_state hear(struct str bytes)
{
    return question_hear(question, bytes.p, bytes.n);
}

/* A frame's head (RFC 9113 section 4.1) for a payload of so many bytes. */
static void put_head(char head[9], size_t length, uint8_t type, uint8_t flags, uint8_t stream)
{
    const char bytes[9] = {
        (char)(length >> 16), (char)(length >> 8), (char)length, (char)type, (char)flags, 0, 0, 0,
        (char)stream};
    memcpy(head, bytes, sizeof bytes);
}

static enum question_state hear_frame(uint8_t type, uint8_t flags, uint8_t stream, struct str payload)
{
    char bytes[9 + 16384];
    put_head(bytes, payload.n, type, flags, stream);
    memcpy(bytes + 9, payload.p, payload.n);
    return question_hear(question, bytes, 9 + payload.n);
}

enum { END_STREAM = 1, END_HEADERS = 4 };

static enum question_state hear_settings(void)
{
    return hear_frame(NGHTTP2_SETTINGS, 0, 0, STR(""));
}

/* An HTTP/2 that has been greeted. */
static void begin_h2(void)
{
    begin(true);
    assert_int_equal(hear_settings(), QUESTION_OPEN);
}

static bool says(struct str part)
{
    struct str text = question_text(question);
    return memmem(text.p, text.n, part.p, part.n) != NULL;
}

static void the_request_of_http1_says_what_it_is(void **state)
{
    (void)state;
    begin(false);
    assert_true(str_starts_with(question_text(question), STR("GET /up HTTP/1.1\r\nHost: app.test\r\n")));
    assert_true(says(STR("\r\nX-Forwarded-Proto: http\r\n")) && says(STR("\r\nConnection: close\r\n\r\n")));
    question_sent(question, 4);
    assert_true(str_starts_with(question_text(question), STR("/up HTTP/1.1\r\n")));
    question_sent(question, question_text(question).n);
    assert_int_equal(question_text(question).n, 0);
}

static void an_answer_may_come_byte_by_byte(void **state)
{
    (void)state;
    static const char answer[] = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    begin(false);
    for (size_t i = 0; i + 2 < sizeof answer; i++)
        assert_int_equal(question_hear(question, answer + i, 1), QUESTION_OPEN);
    assert_int_equal(question_hear(question, "\n", 1), QUESTION_ANSWERED);
    assert_int_equal(question_status(question), 204);
}

static void endless_interim_heads_come_to_an_end(void **state)
{
    (void)state;
    static const char hint[] = "HTTP/1.1 103 Early Hints\r\n\r\n";
    enum question_state answer = QUESTION_OPEN;
    size_t heard = 0;
    begin(false);
    for (; answer == QUESTION_OPEN && heard < 1000000; heard += sizeof hint - 1)
        answer = hear(STR(hint));
    assert_int_equal(answer, QUESTION_FAILED);
    assert_in_range(heard, QUESTION_ANSWER_MAX - sizeof hint, QUESTION_ANSWER_MAX + sizeof hint);
    assert_string_equal(question_fault(question), "no head in 65536 bytes");
}

static void endless_fields_come_to_an_end(void **state)
{
    (void)state;
    enum question_state answer = QUESTION_OPEN;
    size_t heard = 0;
    begin(false);
    assert_int_equal(hear(STR("HTTP/1.1 200 OK\r\nA: ")), QUESTION_OPEN);
    for (; answer == QUESTION_OPEN && heard < 1000000; heard += 8)
        answer = hear(STR("aaaaaaaa"));
    assert_int_equal(answer, QUESTION_FAILED);
    assert_in_range(heard, QUESTION_HEAD_MAX - 64, QUESTION_HEAD_MAX + 64);
}

static void the_request_of_http2_is_a_whole_stream(void **state)
{
    (void)state;
    begin(true);
    struct str text = question_text(question);
    assert_true(str_starts_with(text, STR(NGHTTP2_CLIENT_MAGIC)));
    assert_true(text.n > NGHTTP2_CLIENT_MAGIC_LEN + 9 &&
                text.p[NGHTTP2_CLIENT_MAGIC_LEN + 3] == NGHTTP2_SETTINGS);
    size_t at = NGHTTP2_CLIENT_MAGIC_LEN + 9 + (uint8_t)text.p[NGHTTP2_CLIENT_MAGIC_LEN + 2];
    assert_true(text.n > at + 9);
    assert_int_equal(text.p[at + 3], NGHTTP2_HEADERS);
    assert_int_equal(text.p[at + 4] & (END_STREAM | END_HEADERS), END_STREAM | END_HEADERS);
}

/* HPACK (RFC 7541): \x88 is ":status: 200", \x8d 404; \x08\x03NNN a literal of another status. */
static void the_status_of_http2_is_taken(void **state)
{
    (void)state;
    begin_h2();
    assert_int_equal(hear_frame(NGHTTP2_HEADERS, END_HEADERS, 1, STR("\x88")), QUESTION_ANSWERED);
    assert_int_equal(question_status(question), 200);
    begin_h2();
    assert_int_equal(hear_frame(NGHTTP2_HEADERS, END_HEADERS | END_STREAM, 1, STR("\x8d")),
                     QUESTION_ANSWERED);
    assert_int_equal(question_status(question), 404);
    begin_h2();
    assert_int_equal(hear_frame(NGHTTP2_HEADERS, END_HEADERS, 1,
                                STR("\x08\x03"
                                    "103")),
                     QUESTION_OPEN);
    assert_int_equal(hear_frame(NGHTTP2_HEADERS, END_HEADERS, 1,
                                STR("\x08\x03"
                                    "302")),
                     QUESTION_ANSWERED);
    assert_int_equal(question_status(question), 302);
}

static void after_the_answer_of_http2_it_says_goodbye(void **state)
{
    (void)state;
    begin_h2();
    question_sent(question, question_text(question).n);
    assert_int_equal(hear_frame(NGHTTP2_HEADERS, END_HEADERS, 1, STR("\x88")), QUESTION_ANSWERED);
    struct str text = question_text(question);
    assert_true(text.n >= 17 && text.p[text.n - 17 + 3] == NGHTTP2_GOAWAY);
}

static void expect_fault(enum question_state answer, const char *fault)
{
    assert_int_equal(answer, QUESTION_FAILED);
    assert_string_equal(question_fault(question), fault);
}

static void what_is_no_http2_is_told(void **state)
{
    (void)state;
    begin(true);
    expect_fault(hear(STR("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")), "it speaks no HTTP/2");
    begin(true);
    expect_fault(hear_frame(NGHTTP2_HEADERS, END_HEADERS, 1, STR("\x88")), "it speaks no HTTP/2");
}

static void an_answer_of_http2_must_be_right(void **state)
{
    (void)state;
    begin_h2();
    expect_fault(hear_frame(NGHTTP2_RST_STREAM, 0, 1, STR("\0\0\0\x07")),
                 "the stream was reset, REFUSED_STREAM");
    begin_h2();
    expect_fault(hear_frame(NGHTTP2_GOAWAY, 0, 0, STR("\0\0\0\0\0\0\0\x0b")),
                 "it said GOAWAY, ENHANCE_YOUR_CALM");
    begin_h2();
    expect_fault(hear_frame(NGHTTP2_HEADERS, END_HEADERS, 1,
                            STR("\x88\x10\x04te\rt\x01"
                                "b")),
                 "a malformed head");
    begin_h2();
    expect_fault(hear_frame(NGHTTP2_HEADERS, END_HEADERS, 1,
                            STR("\x08\x03"
                                "999")),
                 "a malformed head");
    begin_h2();
    expect_fault(hear_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, STR("\0\0\0\0")), "it breaks the rules of HTTP/2");
}

/* A field of 4000 bytes in the table of HPACK, then named again and again by one byte each. */
static void a_few_bytes_that_name_much_come_to_an_end(void **state)
{
    (void)state;
    char block[8 + 4000 + 2000] = "\x88\x40\x01"
                                  "a\x7f\xa1\x1e"; /* 127 + 33 + 30 * 128 = 4000 */
    memset(block + 7, 'v', 4000);
    memset(block + 7 + 4000, '\xbe', 2000);
    begin_h2();
    expect_fault(hear_frame(NGHTTP2_HEADERS, END_HEADERS, 1, (struct str){block, 7 + 4000 + 2000}),
                 "a head of over 16384 bytes");
}

static void floods_of_http2_come_to_an_end(void **state)
{
    static const uint8_t types[] = {NGHTTP2_SETTINGS, NGHTTP2_PING, NGHTTP2_PRIORITY, NGHTTP2_CONTINUATION,
                                    0xbe};
    static const struct str payloads[] = {{"", 0}, {"12345678", 8}, {"\0\0\0\0\1", 5}, {"", 0}, {"", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof types; i++) {
        enum question_state answer = QUESTION_OPEN;
        size_t heard = 0;
        uint8_t stream = types[i] == NGHTTP2_PRIORITY || types[i] == NGHTTP2_CONTINUATION ? 1 : 0;
        begin_h2();
        if (types[i] == NGHTTP2_CONTINUATION)
            answer = hear_frame(NGHTTP2_HEADERS, 0, 1, STR("\x88"));
        for (; answer == QUESTION_OPEN && heard < 1000000; heard += 9)
            answer = hear_frame(types[i], 0, stream, payloads[i]);
        assert_int_equal(answer, QUESTION_FAILED);
        assert_in_range(question_text(question).n, 0, 2 * QUESTION_ANSWER_MAX);
    }
}

static int tear_down(void **state)
{
    (void)state;
    question_free(question);
    question = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_request_of_http1_says_what_it_is),
        cmocka_unit_test(an_answer_may_come_byte_by_byte),
        cmocka_unit_test(endless_interim_heads_come_to_an_end),
        cmocka_unit_test(endless_fields_come_to_an_end),
        cmocka_unit_test(the_request_of_http2_is_a_whole_stream),
        cmocka_unit_test(the_status_of_http2_is_taken),
        cmocka_unit_test(after_the_answer_of_http2_it_says_goodbye),
        cmocka_unit_test(what_is_no_http2_is_told),
        cmocka_unit_test(an_answer_of_http2_must_be_right),
        cmocka_unit_test(a_few_bytes_that_name_much_come_to_an_end),
        cmocka_unit_test(floods_of_http2_come_to_an_end),
    };
    return cmocka_run_group_tests_name("question", tests, NULL, tear_down);
}
