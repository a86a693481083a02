#include "http/response.h"

#include "feed.h"

static struct http_response response;

static void accept_for(enum http_method method, const char *head)
{
    size_t seen = 0;
    struct http_fault fault = {0, "more"};
    enum http_result result =
        http_response_parse(&response, method, head, strlen(head), &seen, &feed_limits, &fault);
    if (result != HTTP_DONE)
        print_message("%s of: %s\n", fault.reason, head);
    assert_int_equal(result, HTTP_DONE);
    assert_int_equal(response.length, strlen(head));
}

static void accept(const char *head)
{
    assert_int_equal(feed_all_ways(feed_response, &response, str_of(head)).result, HTTP_DONE);
    accept_for(HTTP_GET, head);
}

static void a_whole_head_gives_all_its_parts(void **state)
{
    (void)state;
    accept("HTTP/1.1 404 Not  \tF\xc3\xa4nd\r\nContent-Length: 7\r\nServer: x\r\n\r\n");
    assert_int_equal(response.status, 404);
    assert_int_equal(response.minor, 1);
    assert_str_equal(response.phrase, "Not  \tF\xc3\xa4nd");
    assert_int_equal(response.framing, HTTP_BODY_LENGTH);
    assert_int_equal(response.content_length, 7);
    assert_true(response.has_content_length);
    assert_true(response.keep_alive);
    assert_false(response.upgrade);
    assert_int_equal(response.fields.count, 2);
}

static void an_empty_phrase_is_fine_with_and_without_its_space(void **state)
{
    (void)state;
    accept("HTTP/1.1 200 \r\nContent-Length: 7\r\n\r\n");
    assert_str_equal(response.phrase, "");
    accept("HTTP/1.1 200\r\nContent-Length: 7\r\n\r\n");
    assert_str_equal(response.phrase, "");
}

static void malformed_heads_are_refused_with_502(void **state)
{
    (void)state;
#define OK "HTTP/1.1 200 OK\r\n"
    static const struct {
        const char *head, *reason;
    } rows[] = {
        {"\r\n" OK "\r\n", "bad-version"},
        {"HTTP/2.0 200 OK\r\n\r\n", "version-not-supported"},
        {"http/1.1 200 OK\r\n\r\n", "bad-version"},
        {"ICY 200 OK\r\n\r\n", "bad-version"},
        {"HTTP/1.1\r\n\r\n", "bad-status-line"},
        {"HTTP/1.1\t200 OK\r\n\r\n", "bad-status-line"},
        {"HTTP/1.1  200 OK\r\n\r\n", "bad-status"},
        {"HTTP/1.1 20 OK\r\n\r\n", "bad-status"},
        {"HTTP/1.1 2000 OK\r\n\r\n", "bad-status"},
        {"HTTP/1.1 099 OK\r\n\r\n", "bad-status"},
        {"HTTP/1.1 600 OK\r\n\r\n", "bad-status"},
        {"HTTP/1.1 -20 OK\r\n\r\n", "bad-status"},
        {"HTTP/1.1 200 O\x01\r\n\r\n", "bad-status-line"},
        {"HTTP/1.1 200 OK\n\r\n", "bare-lf"},
        {"HTTP/1.1 200 O\rK\r\n\r\n", "bare-cr"},
        {OK "A : b\r\n\r\n", "space-before-colon"},
        {OK "A: b\r\n c\r\n\r\n", "obs-fold"},
        {OK "A: b\n\r\n", "bare-lf"},
        {OK "A(: b\r\n\r\n", "bad-field-name"},
        {OK "A: \x02\r\n\r\n", "bad-field-value"},
        {OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "repeated-content-length"},
        {OK "Content-Length: 1, 1\r\n\r\n", "repeated-content-length"},
        {OK "Content-Length: a\r\n\r\n", "bad-content-length"},
        {OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "length-with-transfer-encoding"},
        {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", "unknown-transfer-coding"},
        {OK "Transfer-Encoding: gzip\r\n\r\n", "bad-transfer-encoding"},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer-encoding-in-http10"},
        {OK "Connection: a b\r\n\r\n", "bad-connection"},
        {"HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\n", "body-not-allowed"},
        {"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", "body-not-allowed"},
        {"HTTP/1.1 101 S\r\nTransfer-Encoding: chunked\r\n\r\n", "body-not-allowed"},
        {"HTTP/1.1 100 C\r\nContent-Length: 2\r\n\r\n", "body-not-allowed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct feed_result result = feed_all_ways(feed_response, &response, str_of(rows[i].head));
        assert_int_equal(result.result, HTTP_BAD);
        assert_string_equal(result.fault.reason, rows[i].reason);
        assert_int_equal(result.fault.status, 502);
    }
}

static void the_body_ends_as_method_status_and_fields_say(void **state)
{
    (void)state;
    static const struct {
        enum http_method method;
        const char *head;
        enum http_framing framing;
        unsigned length;
        bool has_length, keep_alive;
    } rows[] = {
        {HTTP_GET, OK "Content-Length: 5\r\n\r\n", HTTP_BODY_LENGTH, 5, true, true},
        {HTTP_GET, OK "Content-Length: 0\r\n\r\n", HTTP_BODY_LENGTH, 0, true, true},
        {HTTP_GET, OK "Transfer-Encoding: Chunked\r\n\r\n", HTTP_BODY_CHUNKED, 0, false, true},
        {HTTP_GET, OK "\r\n", HTTP_BODY_CLOSE, 0, false, false},
        {HTTP_GET, OK "Connection: keep-alive\r\n\r\n", HTTP_BODY_CLOSE, 0, false, false},
        {HTTP_HEAD, OK "Content-Length: 5\r\n\r\n", HTTP_BODY_NONE, 5, true, true},
        {HTTP_HEAD, OK "Transfer-Encoding: chunked\r\n\r\n", HTTP_BODY_NONE, 0, false, true},
        {HTTP_HEAD, OK "\r\n", HTTP_BODY_NONE, 0, false, true},
        {HTTP_GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", HTTP_BODY_NONE, 5, true, true},
        {HTTP_GET, "HTTP/1.1 204 No Content\r\n\r\n", HTTP_BODY_NONE, 0, false, true},
        {HTTP_GET, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", HTTP_BODY_NONE, 0, true, true},
        {HTTP_GET, "HTTP/1.1 100 Continue\r\n\r\n", HTTP_BODY_NONE, 0, false, true},
        {HTTP_GET, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", HTTP_BODY_NONE, 0,
         false, false},
        {HTTP_GET, OK "Connection: close\r\nContent-Length: 5\r\n\r\n", HTTP_BODY_LENGTH, 5, true, false},
        {HTTP_GET, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP_BODY_LENGTH, 5, true, false},
        {HTTP_GET, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", HTTP_BODY_LENGTH,
         5, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        accept_for(rows[i].method, rows[i].head);
        assert_int_equal(response.framing, rows[i].framing);
        assert_int_equal(response.content_length, rows[i].length);
        assert_int_equal(response.has_content_length, rows[i].has_length);
        assert_int_equal(response.keep_alive, rows[i].keep_alive);
        assert_int_equal(response.upgrade, response.status == 101);
    }
}

static void a_head_that_does_not_end_within_the_limit_is_refused(void **state)
{
    (void)state;
    static char head[5000] = OK "A: ";
    memset(head + strlen(head), 'a', sizeof head - 1 - strlen(head));
    struct feed_result result = feed_all_ways(feed_response, &response, str_of(head));
    assert_int_equal(result.result, HTTP_BAD);
    assert_string_equal(result.fault.reason, "head-too-large");
    assert_int_equal(result.fault.status, 502);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_head_gives_all_its_parts),
        cmocka_unit_test(an_empty_phrase_is_fine_with_and_without_its_space),
        cmocka_unit_test(malformed_heads_are_refused_with_502),
        cmocka_unit_test(the_body_ends_as_method_status_and_fields_say),
        cmocka_unit_test(a_head_that_does_not_end_within_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
