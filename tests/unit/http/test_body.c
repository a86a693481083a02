#include "http/body.h"

#include "unit.h"

#include <stdio.h>

static const struct http_limits limits = {.head = 64, .fields = 4};

/* What a body came to, read in pieces of `piece` bytes at most. */
struct reading {
    enum http_result result;
    struct http_fault fault;
    char data[8192];
    size_t n;
    char trailers[200];
    size_t used;
};

static struct reading reading;

/* As a connection would: what has not been used is given again, together with what has come since. */
static void read_in_pieces(struct http_body *body, struct str bytes, size_t piece)
{
    size_t at = 0, given = 0;
    reading = (struct reading){.result = HTTP_MORE, .fault = {0, ""}};
    while (reading.result == HTTP_MORE && given < bytes.n) {
        given = given + piece < bytes.n ? given + piece : bytes.n;
        size_t used;
        do {
            struct str data, trailers;
            reading.result = http_body_step(body, bytes.p + at, given - at, &limits, &used, &data, &trailers,
                                            &reading.fault);
            if (reading.result == HTTP_BAD)
                return;
            memcpy(reading.data + reading.n, data.p, data.n);
            reading.n += data.n;
            at += used;
            if (reading.result == HTTP_DONE)
                snprintf(reading.trailers, sizeof reading.trailers, "%.*s", STR_ARG(trailers));
        } while (used > 0 && reading.result == HTTP_MORE);
    }
    reading.used = at;
}

static void read_chunked(struct str bytes, size_t piece)
{
    struct http_body body;
    http_body_start(&body, HTTP_BODY_CHUNKED, 0);
    read_in_pieces(&body, bytes, piece);
    assert_int_equal(body.done, reading.result == HTTP_DONE);
    assert_int_equal(http_body_may_end(&body), body.done);
}

static void chunks_give_their_data_and_trailers_however_they_arrive(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *data, *trailers;
    } rows[] = {
        {"0\r\n\r\n", "", ""},
        {"5\r\nhello\r\n0\r\n\r\n", "hello", ""},
        {"5\r\nhello\r\n00A\r\n0123456789\r\n000\r\n\r\n", "hello0123456789", ""},
        {"a\r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\n", "0123456789", "X: y\r\nZ:\r\n"},
        {"0000000000000001\r\nx\r\n0\r\n\r\n", "x", ""},
        {"1;a\r\nx\r\n0;b=c\r\n\r\n", "x", ""},
        {"1 ; a = b ;c;d=\"e\\\"\xc3\xa4;= ,\t\" ; f\r\nx\r\n0\r\n\r\n", "x", ""},
        {"2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char more[200];
        snprintf(more, sizeof more, "%sGET / HTTP/1.1\r\n\r\n", rows[i].bytes);
        for (size_t piece = 1; piece <= strlen(more); piece++) {
            read_chunked(str_of(more), piece);
            assert_int_equal(reading.result, HTTP_DONE);
            assert_int_equal(reading.used, strlen(rows[i].bytes));
            assert_int_equal(reading.n, strlen(rows[i].data));
            assert_memory_equal(reading.data, rows[i].data, reading.n);
            assert_string_equal(reading.trailers, rows[i].trailers);
        }
    }
}

static void malformed_chunks_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *reason;
    } rows[] = {
        {"\r\n", "bad-chunk"},
        {"g\r\n", "bad-chunk"},
        {"-1\r\n", "bad-chunk"},
        {"+1\r\n", "bad-chunk"},
        {"0x1\r\n", "bad-chunk"},
        {" 1\r\n", "bad-chunk"},
        {"1 \r\nx\r\n", "bad-chunk"},
        {"1\nx\r\n", "bad-chunk"},
        {"1\rx\r\n", "bad-chunk"},
        {"1\r\nxx\r\n", "bad-chunk"},
        {"1\r\nx\n", "bad-chunk"},
        {"1\r\nx\r\r\n", "bad-chunk"},
        {"1\r\nx0\r\n", "bad-chunk"},
        {"5\r\nhello\r\n\r\n", "bad-chunk"},
        {"00000000000000001\r\nx\r\n", "bad-chunk"},
        {"10000000000000000\r\n", "bad-chunk"},
        {"1;\r\nx\r\n", "bad-chunk"},
        {"1;a=\r\nx\r\n", "bad-chunk"},
        {"1;a \r\nx\r\n", "bad-chunk"},
        {"1;a=b c\r\nx\r\n", "bad-chunk"},
        {"1;a=\"b\r\nx\r\n", "bad-chunk"},
        {"1;a=\"b\"c\r\nx\r\n", "bad-chunk"},
        {"1;a=\"\\\r\"\r\nx\r\n", "bad-chunk"},
        {"1;a=\"\x7f\"\r\nx\r\n", "bad-chunk"},
        {"1;a\nx\r\n", "bad-chunk"},
        {"1;a(b\r\nx\r\n", "bad-chunk"},
        {"1;=b\r\nx\r\n", "bad-chunk"},
        {"1a;;b\r\nx\r\n", "bad-chunk"},
        {"0\r\n\n", "bad-trailer"},
        {"0\r\nX: y\n\r\n", "bad-trailer"},
        {"0\r\nX: 5678901234567890123456789012345678901234567890123456789012\r\n\r\n", "trailers-too-large"},
        {"0\r\nX: 5678901234567890123456789012345678901234567890123456789012345678901234567890",
         "trailers-too-large"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t piece = 1; piece <= strlen(rows[i].bytes); piece++) {
            read_chunked(str_of(rows[i].bytes), piece);
            assert_int_equal(reading.result, HTTP_BAD);
            assert_int_equal(reading.fault.status, 400);
            assert_string_equal(reading.fault.reason, rows[i].reason);
        }
    }
}

static void a_trailer_section_may_be_as_long_as_the_limit(void **state)
{
    (void)state;
    const char *bytes = "0\r\nX: 567890123456789012345678901234567890123456789012345678901\r\n\r\n";
    assert_int_equal(strlen(bytes) - 3, limits.head);
    for (size_t piece = 1; piece <= strlen(bytes); piece++) {
        read_chunked(str_of(bytes), piece);
        assert_int_equal(reading.result, HTTP_DONE);
    }
}

static void a_body_that_is_not_whole_asks_for_more_at_every_place(void **state)
{
    (void)state;
    const char *bytes = "5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\n";
    for (size_t n = 0; n < strlen(bytes); n++) {
        read_chunked((struct str){bytes, n}, n + 1);
        assert_int_equal(reading.result, HTTP_MORE);
    }
}

static void extensions_are_limited_over_the_whole_body(void **state)
{
    (void)state;
    static char bytes[8000];
    size_t n = 0;
    for (int chunk = 0; chunk < 41; chunk++) {
        n += (size_t)snprintf(bytes + n, sizeof bytes - n, "1;%099d\r\nx\r\n", 0);
        read_chunked((struct str){bytes, n}, n);
        assert_int_equal(reading.result, chunk < 40 ? HTTP_MORE : HTTP_BAD);
    }
}

static void the_largest_chunk_size_is_taken(void **state)
{
    (void)state;
    struct http_body body;
    http_body_start(&body, HTTP_BODY_CHUNKED, 0);
    read_in_pieces(&body, STR("ffffffffffffffff\r\nx"), 100);
    assert_int_equal(reading.result, HTTP_MORE);
    assert_true(body.left == UINT64_MAX - 1);
}

static void bodies_of_known_length_end_there(void **state)
{
    (void)state;
    struct http_body body;
    for (size_t piece = 1; piece < 9; piece++) {
        http_body_start(&body, HTTP_BODY_LENGTH, 5);
        assert_false(http_body_may_end(&body));
        read_in_pieces(&body, STR("helloGET"), piece);
        assert_int_equal(reading.result, HTTP_DONE);
        assert_int_equal(reading.used, 5);
        assert_memory_equal(reading.data, "hello", 5);
        assert_true(http_body_may_end(&body));
    }
    http_body_start(&body, HTTP_BODY_LENGTH, 6);
    read_in_pieces(&body, STR("hello"), 5);
    assert_int_equal(reading.result, HTTP_MORE);
    assert_false(http_body_may_end(&body));
}

static void bodies_of_length_zero_or_none_are_done_at_once(void **state)
{
    (void)state;
    struct http_body body;
    http_body_start(&body, HTTP_BODY_LENGTH, 0);
    assert_true(body.done);
    http_body_start(&body, HTTP_BODY_NONE, 5);
    assert_true(body.done);
    read_in_pieces(&body, STR("GET"), 3);
    assert_int_equal(reading.result, HTTP_DONE);
    assert_int_equal(reading.used, 0);
}

static void a_body_until_close_takes_everything_and_may_end(void **state)
{
    (void)state;
    struct http_body body;
    http_body_start(&body, HTTP_BODY_CLOSE, 0);
    assert_true(http_body_may_end(&body));
    read_in_pieces(&body, STR("0\r\n\r\nhello"), 3);
    assert_int_equal(reading.result, HTTP_MORE);
    assert_int_equal(reading.n, 10);
    assert_false(body.done);
}

static void trailers_that_only_a_head_may_carry_are_marked(void **state)
{
    (void)state;
    static struct http_fields fields;
    static const struct http_limits wide = {.head = 4096, .fields = 20};
    struct http_fault fault;
    struct str text = STR("grpc-status: 0\r\nHost: a\r\nContent-Length: 1\r\ntransfer-encoding: chunked\r\n"
                          "Connection: x\r\nAuthorization: b\r\nX-Forwarded-For: c\r\nIf-Match: d\r\n"
                          "Content-Digest: e\r\nCookie: f\r\nX-Upswap: g\r\nServer-Timing: h\r\n");
    assert_int_equal(http_trailers_parse(&fields, text, &wide, &fault), HTTP_DONE);
    assert_int_equal(fields.count, 12);
    for (uint32_t i = 0; i < fields.count; i++) {
        struct str name = fields.at[i].name;
        bool passes = str_equal(name, STR("grpc-status")) || str_equal(name, STR("Content-Digest")) ||
                      str_equal(name, STR("Server-Timing"));
        assert_int_equal(fields.at[i].listed, !passes);
    }
}

static void malformed_trailers_are_refused(void **state)
{
    (void)state;
    static struct http_fields fields;
    static const struct {
        const char *text, *reason;
    } rows[] = {
        {"X : y\r\n", "bad-trailer"},
        {" X: y\r\n", "bad-trailer"},
        {"X: y\r\n z\r\n", "bad-trailer"},
        {"X: y\n", "bad-trailer"},
        {"X: y", "bad-trailer"},
        {"X: y\r\n\r\nZ: a\r\n", "bad-trailer"},
        {"A:\r\nA:\r\nA:\r\nA:\r\nA:\r\n", "trailers-too-large"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_fault fault;
        assert_int_equal(http_trailers_parse(&fields, str_of(rows[i].text), &limits, &fault), HTTP_BAD);
        assert_string_equal(fault.reason, rows[i].reason);
        assert_int_equal(fault.status, 400);
    }
    struct http_fault fault;
    assert_int_equal(http_trailers_parse(&fields, STR(""), &limits, &fault), HTTP_DONE);
    assert_int_equal(fields.count, 0);
}

static void chunk_heads_are_written_in_hex(void **state)
{
    (void)state;
    static const struct {
        uint64_t size;
        const char *text;
    } rows[] = {
        {1, "1\r\n"},       {15, "f\r\n"},       {16, "10\r\n"},       {255, "ff\r\n"},
        {4096, "1000\r\n"}, {65535, "ffff\r\n"}, {65536, "10000\r\n"}, {UINT64_MAX, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[HTTP_CHUNK_HEAD_MAX];
        size_t n = http_chunk_head(out, rows[i].size);
        assert_str_equal(((struct str){out, n}), rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_give_their_data_and_trailers_however_they_arrive),
        cmocka_unit_test(malformed_chunks_are_refused),
        cmocka_unit_test(a_trailer_section_may_be_as_long_as_the_limit),
        cmocka_unit_test(a_body_that_is_not_whole_asks_for_more_at_every_place),
        cmocka_unit_test(extensions_are_limited_over_the_whole_body),
        cmocka_unit_test(the_largest_chunk_size_is_taken),
        cmocka_unit_test(bodies_of_known_length_end_there),
        cmocka_unit_test(bodies_of_length_zero_or_none_are_done_at_once),
        cmocka_unit_test(a_body_until_close_takes_everything_and_may_end),
        cmocka_unit_test(trailers_that_only_a_head_may_carry_are_marked),
        cmocka_unit_test(malformed_trailers_are_refused),
        cmocka_unit_test(chunk_heads_are_written_in_hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
