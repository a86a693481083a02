#include "http/request.h"

#include "feed.h"

#include <stdio.h>
#include <stdlib.h>

static struct http_request request;

static struct feed_result parse(const char *head)
{
    return feed_all_ways(feed_request, &request, str_of(head));
}

static void accept(const char *head)
{
    struct feed_result result = parse(head);
    if (result.result != HTTP_DONE)
        print_message("%s of: %s\n", result.fault.reason, head);
    assert_int_equal(result.result, HTTP_DONE);
    assert_int_equal(result.length, strlen(head));
}

struct refusal {
    const char *head;
    unsigned status;
    const char *reason;
};

static void refuse_bytes(struct str head, unsigned status, const char *reason)
{
    struct feed_result result = feed_all_ways(feed_request, &request, head);
    if (result.result != HTTP_BAD)
        print_message("not refused: %.*s\n", STR_ARG(head));
    assert_int_equal(result.result, HTTP_BAD);
    assert_string_equal(result.fault.reason, reason);
    assert_int_equal(result.fault.status, status);
}

static void refuse_all(const struct refusal *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        refuse_bytes(str_of(rows[i].head), rows[i].status, rows[i].reason);
}

#define REFUSE_ALL(rows) refuse_all(rows, sizeof(rows) / sizeof *(rows))

static void a_whole_head_gives_all_its_parts(void **state)
{
    (void)state;
    accept("POST /a/b?c=d HTTP/1.1\r\nHost: example.com:8080\r\nContent-Length: 12\r\nX:\t y z \t\r\n\r\n");
    assert_int_equal(request.method, HTTP_POST);
    assert_str_equal(request.method_text, "POST");
    assert_int_equal(request.form, HTTP_TARGET_ORIGIN);
    assert_str_equal(request.target, "/a/b?c=d");
    assert_str_equal(request.path, "/a/b");
    assert_str_equal(request.query, "?c=d");
    assert_str_equal(request.authority, "example.com:8080");
    assert_str_equal(request.host, "example.com");
    assert_int_equal(request.port, 8080);
    assert_int_equal(request.minor, 1);
    assert_int_equal(request.framing, HTTP_BODY_LENGTH);
    assert_int_equal(request.content_length, 12);
    assert_true(request.keep_alive);
    assert_int_equal(request.fields.count, 3);
    assert_str_equal(request.fields.at[2].name, "X");
    assert_str_equal(request.fields.at[2].value, "y z");
    assert_int_equal(request.fields.at[2].id, HTTP_FIELD_OTHER);
}

static void bytes_behind_the_head_are_left_alone(void **state)
{
    (void)state;
    const char *two = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\n";
    struct feed_result result = parse(two);
    assert_int_equal(result.result, HTTP_DONE);
    assert_int_equal(result.length, strlen("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
}

static void one_or_two_empty_lines_before_the_start_line_are_skipped(void **state)
{
    (void)state;
    accept("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    accept("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    static const struct refusal rows[] = {
        {"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad-method"},
        {"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare-lf"},
        {"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare-cr"},
    };
    REFUSE_ALL(rows);
}

static void methods_are_known_by_their_exact_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum http_method method;
        bool idempotent;
    } rows[] = {
        {"GET", HTTP_GET, true},         {"HEAD", HTTP_HEAD, true},
        {"POST", HTTP_POST, false},      {"PUT", HTTP_PUT, true},
        {"DELETE", HTTP_DELETE, true},   {"OPTIONS", HTTP_OPTIONS, true},
        {"TRACE", HTTP_TRACE, true},     {"PATCH", HTTP_PATCH, false},
        {"get", HTTP_OTHER, false},      {"PROPFIND", HTTP_OTHER, false},
        {"M-SEARCH", HTTP_OTHER, false}, {"!#$%&'*+-.^_`|~09az", HTTP_OTHER, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char head[100];
        snprintf(head, sizeof head, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].name);
        accept(head);
        assert_int_equal(request.method, rows[i].method);
        assert_str_equal(request.method_text, rows[i].name);
        assert_int_equal(http_method_is_idempotent(request.method), rows[i].idempotent);
    }
}

static void a_method_that_is_no_token_is_refused(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {" / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad-method"},
        {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad-method"},
        {"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad-method"},
        {"G\x80T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad-method"},
        {"GET\r\nHost: a\r\n\r\n", 400, "bad-method"},
        {"GET\n", 400, "bare-lf"},
        {"\x16\x03\x01\x02\x01\x01", 400, "bad-method"},
        {"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "connect"},
    };
    REFUSE_ALL(rows);
}

static void targets_are_read_in_every_form(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target;
        enum http_target_form form;
        const char *path, *query, *authority, *host;
        unsigned port;
    } rows[] = {
        {"GET", "/", HTTP_TARGET_ORIGIN, "/", "", "a:1", "a", 1},
        {"GET", "//x//", HTTP_TARGET_ORIGIN, "//x//", "", "a:1", "a", 1},
        {"GET", "/?", HTTP_TARGET_ORIGIN, "/", "?", "a:1", "a", 1},
        {"GET", "/a;b=c/%41%zz/@:!$&'()*+,=~_-.", HTTP_TARGET_ORIGIN, "/a;b=c/%41%zz/@:!$&'()*+,=~_-.", "",
         "a:1", "a", 1},
        {"GET", "/[a]|?[b]{c}|\\^`?/", HTTP_TARGET_ORIGIN, "/[a]|", "?[b]{c}|\\^`?/", "a:1", "a", 1},
        {"GET", "http://h", HTTP_TARGET_ABSOLUTE, "/", "", "h", "h", 0},
        {"GET", "HTTPS://h:443/p?q", HTTP_TARGET_ABSOLUTE, "/p", "?q", "h:443", "h", 443},
        {"GET", "http://h?q", HTTP_TARGET_ABSOLUTE, "/", "?q", "h", "h", 0},
        {"GET", "http://[::1]:80/", HTTP_TARGET_ABSOLUTE, "/", "", "[::1]:80", "[::1]", 80},
        {"OPTIONS", "*", HTTP_TARGET_ASTERISK, "*", "", "a:1", "a", 1},
        {"OPTIONS", "http://h", HTTP_TARGET_ABSOLUTE, "*", "", "h", "h", 0},
        {"OPTIONS", "http://h/", HTTP_TARGET_ABSOLUTE, "/", "", "h", "h", 0},
        {"OPTIONS", "http://h?q", HTTP_TARGET_ABSOLUTE, "/", "?q", "h", "h", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char head[200];
        snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: a:1\r\n\r\n", rows[i].method, rows[i].target);
        accept(head);
        assert_int_equal(request.form, rows[i].form);
        assert_str_equal(request.target, rows[i].target);
        assert_str_equal(request.path, rows[i].path);
        assert_str_equal(request.query, rows[i].query);
        assert_str_equal(request.authority, rows[i].authority);
        assert_str_equal(request.host, rows[i].host);
        assert_int_equal(request.port, rows[i].port);
    }
}

static void bad_targets_are_refused(void **state)
{
    (void)state;
    static const char *const targets[] = {
        "",
        "a",
        "a/b",
        "*",
        "**",
        "/a#b",
        "/a\"b",
        "/a<b",
        "/a>b",
        "/a\\b",
        "/a^b",
        "/a`b",
        "/a{b",
        "/a}b",
        "/?a#b",
        "/?a\"b",
        "/?a<b",
        "/?a>b",
        "/\x7f",
        "/\x80",
        "/?\xff",
        "/\x01",
        "?a",
        "http:/a",
        "http:///",
        "http://",
        "ftp://a/",
        "http://u@a/",
        "http://u:p@a/",
        "http://a:b/",
        "http://a:0/",
        "http://a:65536/",
        "http://a b/",
        "http://[::1/",
        "http://[::g]/",
        "http://[]/",
        "http://a%2/",
        "http://a\\b/",
        "http://[::1]x/",
        "//",
        "/\t",
    };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        char head[200];
        snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", targets[i]);
        if (strcmp(targets[i], "//") == 0)
            accept(head);
        else
            refuse_bytes(str_of(head), 400, strcmp(targets[i], "http://a b/") ? "bad-target" : "bad-version");
    }
}

static void versions_other_than_1_x_are_refused(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"GET /\r\n", 400, "bad-target"},
        {"GET / \r\n", 400, "bad-version"},
        {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "bad-version"},
        {"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad-version"},
        {"GET / http/1.1\r\nHost: a\r\n\r\n", 400, "bad-version"},
        {"GET / HTTP/11\r\nHost: a\r\n\r\n", 400, "bad-version"},
        {"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, "bad-version"},
        {"GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400, "bad-version"},
        {"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare-lf"},
        {"GET / HTTP/1\nHost: a\r\n\r\n", 400, "bare-lf"},
        {"GET / HTTP/1.1\rHost: a\r\n\r\n", 400, "bare-cr"},
        {"GET / HTTP/0.9\r\n\r\n", 505, "version-not-supported"},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version-not-supported"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad-target"},
    };
    REFUSE_ALL(rows);
    accept("GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(request.minor, 0);
    accept("GET / HTTP/1.2\r\nHost: a\r\n\r\n");
    assert_int_equal(request.minor, 1);
}

static void host_must_be_there_once_and_right(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400, "missing-host"},
        {"GET http://a/ HTTP/1.1\r\n\r\n", 400, "missing-host"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "repeated-host"},
        {"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400, "repeated-host"},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a\x80\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: [0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]\r\n\r\n", 400,
         "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a%4\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a%g1\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a%:80\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: a%4:80\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400, "bad-host"},
        {"GET / HTTP/1.1\r\nHost: []:80\r\n\r\n", 400, "bad-host"},
        {"GET http://a/ HTTP/1.1\r\nHost: /\r\n\r\n", 400, "bad-host"},
    };
    REFUSE_ALL(rows);
    accept("GET / HTTP/1.1\r\nHost: a_b.C-d%41.\r\n\r\n");
    accept("GET / HTTP/1.1\r\nHost: 10.0.0.1:\r\n\r\n");
    assert_int_equal(request.port, 0);
    accept("GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]:65535\r\n\r\n");
    assert_str_equal(request.host, "[::ffff:1.2.3.4]");
    assert_int_equal(request.port, 65535);
    accept("GET / HTTP/1.0\r\n\r\n");
    assert_str_equal(request.authority, "");
    assert_str_equal(request.host, "");
}

static void malformed_field_lines_are_refused(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "space-before-colon"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", 400, "space-before-colon"},
        {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "obs-fold"},
        {"GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n", 400, "obs-fold"},
        {"GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", 400, "obs-fold"},
        {"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", 400, "obs-fold"},
        {"GET / HTTP/1.1\r\n: a\r\n\r\n", 400, "bad-field-name"},
        {"GET / HTTP/1.1\r\nHost\r\n\r\n", 400, "bad-field-name"},
        {"GET / HTTP/1.1\r\nHo(st: a\r\n\r\n", 400, "bad-field-name"},
        {"GET / HTTP/1.1\r\nHo\x80st: a\r\n\r\n", 400, "bad-field-name"},
        {"GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", 400, "bad-field-value"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: 12345678\x7f\r\n\r\n", 400, "bad-field-value"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: a\x1f\x20\x20\x20\x20\x20\x20\x20\r\n\r\n", 400, "bad-field-value"},
        {"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "bare-lf"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX\n: b\r\n\r\n", 400, "bare-lf"},
        {"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare-lf"},
        {"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400, "bare-cr"},
        {"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, "bare-cr"},
        {"GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n", 400, "bare-cr"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX\rY: b\r\n\r\n", 400, "bad-field-name"},
    };
    REFUSE_ALL(rows);
    refuse_bytes(STR("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"), 400, "bad-field-value");
    refuse_bytes(STR("GET / HTTP/1.1\r\nHo\0st: a\r\n\r\n"), 400, "bad-field-name");
    refuse_bytes(STR("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "bad-target");
}

static void values_may_hold_tabs_and_bytes_beyond_ascii_and_be_empty(void **state)
{
    (void)state;
    accept("GET / HTTP/1.1\r\nHost:a\r\nX: a\tb \xc3\xa4\xff 1234567890\r\nY:\r\nZ: \t \r\n\r\n");
    assert_str_equal(request.fields.at[1].value, "a\tb \xc3\xa4\xff 1234567890");
    assert_str_equal(request.fields.at[2].value, "");
    assert_str_equal(request.fields.at[3].value, "");
}

static void every_byte_in_a_value_and_a_name_is_judged_by_its_class(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char head[] = "GET / HTTP/1.1\r\nHost: a\r\nX?Y: 1234567?901234567890\r\n\r\n";
        size_t seen = 0;
        strchr(strchr(head, 'X'), '?')[0] = (char)c;
        bool token = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c > 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
        struct feed_result result = feed_request(&request, head, sizeof head - 1, &seen);
        assert_int_equal(result.result == HTTP_DONE, token || c == ':');
    }
    for (int c = 0; c < 256; c++) {
        char head[] = "GET / HTTP/1.1\r\nHost: a\r\nXY: 1234567?901234567890\r\n\r\n";
        size_t seen = 0;
        strchr(head, '?')[0] = (char)c;
        bool fine = c == '\t' || (c >= ' ' && c != 0x7f);
        struct feed_result result = feed_request(&request, head, sizeof head - 1, &seen);
        assert_int_equal(result.result == HTTP_DONE, fine);
    }
}

static void framing_is_read_or_refused(void **state)
{
    (void)state;
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
    static const struct refusal rows[] = {
        {POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400, "repeated-content-length"},
        {POST "Content-Length: 5\r\ncontent-length: 6\r\n\r\n", 400, "repeated-content-length"},
        {POST "Content-Length: 5, 5\r\n\r\n", 400, "repeated-content-length"},
        {POST "Content-Length: 5,\r\n\r\n", 400, "repeated-content-length"},
        {POST "Content-Length:\r\n\r\n", 400, "bad-content-length"},
        {POST "Content-Length: +5\r\n\r\n", 400, "bad-content-length"},
        {POST "Content-Length: -5\r\n\r\n", 400, "bad-content-length"},
        {POST "Content-Length: 5 5\r\n\r\n", 400, "bad-content-length"},
        {POST "Content-Length: 0x5\r\n\r\n", 400, "bad-content-length"},
        {POST "Content-Length: 5.0\r\n\r\n", 400, "bad-content-length"},
        {POST "Content-Length: 9223372036854775808\r\n\r\n", 400, "bad-content-length"},
        {POST "Content-Length: 18446744073709551616\r\n\r\n", 400, "bad-content-length"},
        {POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
         "length-with-transfer-encoding"},
        {POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400,
         "length-with-transfer-encoding"},
        {POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400, "bad-transfer-encoding"},
        {POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
         "bad-transfer-encoding"},
        {POST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400, "bad-transfer-encoding"},
        {POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400,
         "bad-transfer-encoding"},
        {POST "Transfer-Encoding: gzip\r\n\r\n", 400, "bad-transfer-encoding"},
        {POST "Transfer-Encoding: identity\r\n\r\n", 400, "bad-transfer-encoding"},
        {POST "Transfer-Encoding: xchunked\r\n\r\n", 400, "bad-transfer-encoding"},
        {POST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400, "bad-transfer-encoding"},
        {POST "Transfer-Encoding: chunked;q=1\r\n\r\n", 400, "bad-transfer-encoding"},
        {POST "Transfer-Encoding: chunked,\r\n\r\n", 400, "bad-transfer-encoding"},
        {POST "Transfer-Encoding: , chunked\r\n\r\n", 400, "bad-transfer-encoding"},
        {POST "Transfer-Encoding:\r\n\r\n", 400, "bad-transfer-encoding"},
        {POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "unknown-transfer-coding"},
        {POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 501,
         "unknown-transfer-coding"},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "transfer-encoding-in-http10"},
    };
    REFUSE_ALL(rows);
    accept(POST "\r\n");
    assert_int_equal(request.framing, HTTP_BODY_NONE);
    accept(POST "Content-Length: 0\r\n\r\n");
    assert_int_equal(request.framing, HTTP_BODY_LENGTH);
    accept(POST "Content-Length: 9223372036854775807\r\n\r\n");
    assert_true(request.content_length == INT64_MAX);
    accept("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\t CHUNKED \r\n\r\n");
    assert_int_equal(request.framing, HTTP_BODY_CHUNKED);
}

static void the_connection_is_kept_as_version_and_options_say(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        bool keep_alive;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, ,CLOSE\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        accept(rows[i].head);
        assert_int_equal(request.keep_alive, rows[i].keep_alive);
    }
    refuse_bytes(STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n"), 400, "bad-connection");
    refuse_bytes(STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: \"close\"\r\n\r\n"), 400, "bad-connection");
    refuse_bytes(STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: "
                     ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\r\n\r\n"),
                 400, "bad-connection");
}

static void connection_marks_what_it_lists_but_not_what_is_for_all(void **state)
{
    (void)state;
    accept(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Hop: 1\r\nx-hop: 2\r\nCookie: c\r\nX-Forwarded-For: 1.1.1.1\r\n"
        "Content-Length: 1\r\nIf-Match: x\r\nAuthorization: y\r\nX-Stay: z\r\n"
        "Connection: X-HOP, Cookie, X-Forwarded-For, Host, Content-Length, If-Match, Authorization\r\n\r\n");
    for (uint32_t i = 0; i < request.fields.count; i++) {
        const struct http_field *field = &request.fields.at[i];
        assert_int_equal(field->listed, str_equal_nocase(field->name, STR("x-hop")));
    }
}

static void expect_te_and_upgrade_are_understood(void **state)
{
    (void)state;
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
    static const struct {
        const char *head;
        bool expect, te, upgrade;
    } rows[] = {
        {GET "Expect: 100-Continue\r\n\r\n", true, false, false},
        {GET "Expect: 200-ok\r\n\r\n", false, false, false},
        {"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", false, false, false},
        {GET "TE: gzip;q=1, Trailers\r\n\r\n", false, true, false},
        {GET "TE: trailersx\r\n\r\n", false, false, false},
        {GET "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n", false, false, true},
        {GET "Upgrade: websocket\r\n\r\n", false, false, false},
        {GET "Connection: upgrade\r\n\r\n", false, false, false},
        {GET "Upgrade: \r\nConnection: upgrade\r\n\r\n", false, false, false},
        {GET "Upgrade: , ,\r\nConnection: upgrade\r\n\r\n", false, false, false},
        {GET "Upgrade:\r\nUpgrade: ,a\r\nConnection: upgrade\r\n\r\n", false, false, true},
        {GET "Upgrade: h2c\r\nConnection: upgrade\r\n\r\n", false, false, false},
        {GET "Upgrade: websocket, H2C\r\nConnection: upgrade\r\n\r\n", false, false, false},
        {GET "Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\n", false, false, false},
        {GET "Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n", false, false, true},
        {GET "Upgrade: websocket\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n", false, false,
         false},
        {"GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", false, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        accept(rows[i].head);
        assert_int_equal(request.expect_continue, rows[i].expect);
        assert_int_equal(request.te_trailers, rows[i].te);
        assert_int_equal(request.upgrade, rows[i].upgrade);
    }
}

static void known_fields_get_their_id_in_any_case(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum http_field_id id;
    } rows[] = {
        {"Accept", HTTP_FIELD_ACCEPT},
        {"Client-Cert", HTTP_FIELD_CLIENT_CERT},
        {"client-cert-CHAIN", HTTP_FIELD_CLIENT_CERT_CHAIN},
        {"cOnnection", HTTP_FIELD_CONNECTION},
        {"Date", HTTP_FIELD_DATE},
        {"Expect", HTTP_FIELD_EXPECT},
        {"FORWARDED", HTTP_FIELD_FORWARDED},
        {"HTTP2-Settings", HTTP_FIELD_HTTP2_SETTINGS},
        {"Keep-Alive", HTTP_FIELD_KEEP_ALIVE},
        {"Proxy-Authenticate", HTTP_FIELD_PROXY_AUTHENTICATE},
        {"Proxy-Authentication-Info", HTTP_FIELD_PROXY_AUTHENTICATION_INFO},
        {"Proxy-Authorization", HTTP_FIELD_PROXY_AUTHORIZATION},
        {"Proxy-Connection", HTTP_FIELD_PROXY_CONNECTION},
        {"Referer", HTTP_FIELD_REFERER},
        {"te", HTTP_FIELD_TE},
        {"Traceparent", HTTP_FIELD_TRACEPARENT},
        {"tracestate", HTTP_FIELD_TRACESTATE},
        {"Trailer", HTTP_FIELD_TRAILER},
        {"Upgrade", HTTP_FIELD_UPGRADE},
        {"User-Agent", HTTP_FIELD_USER_AGENT},
        {"Via", HTTP_FIELD_VIA},
        {"X-Forwarded-For", HTTP_FIELD_X_FORWARDED_FOR},
        {"X-Forwarded-Host", HTTP_FIELD_X_FORWARDED_HOST},
        {"X-Forwarded-Port", HTTP_FIELD_X_FORWARDED_PORT},
        {"X-Forwarded-Proto", HTTP_FIELD_X_FORWARDED_PROTO},
        {"X-Request-ID", HTTP_FIELD_X_REQUEST_ID},
        {"X-Upswap", HTTP_FIELD_X_UPSWAP},
        {"X-Client-Fingerprint", HTTP_FIELD_X_CLIENT_FINGERPRINT},
        {"X-Client-Subject", HTTP_FIELD_X_CLIENT_SUBJECT},
        {"X-Client-Verify", HTTP_FIELD_X_CLIENT_VERIFY},
        {"Client-Certs", HTTP_FIELD_OTHER},
        {"X-Upswaq", HTTP_FIELD_OTHER},
        {"X-Forwarded-Fort", HTTP_FIELD_OTHER},
        {"Via_", HTTP_FIELD_OTHER},
        {"V", HTTP_FIELD_OTHER},
    };
    char head[200];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\n%s: b\r\n\r\n", rows[i].name);
        accept(head);
        assert_int_equal(request.fields.at[1].id, rows[i].id);
        assert_ptr_equal(http_fields_find(&request.fields, rows[i].id), &request.fields.at[1]);
        assert_ptr_equal(http_fields_named(&request.fields, str_of(rows[i].name)), &request.fields.at[1]);
    }
    assert_int_equal(request.fields.at[0].id, HTTP_FIELD_HOST);
    assert_null(http_fields_find(&request.fields, HTTP_FIELD_DATE));
    assert_null(http_fields_named(&request.fields, STR("date")));
}

/* A head of exactly `size` bytes. */
static char *head_of(size_t size, const char *start, const char *end)
{
    char *head = malloc(size + 1);
    size_t n = strlen(start);
    memset(head, 'a', size);
    memcpy(head, start, n);
    memcpy(head + size - strlen(end), end, strlen(end) + 1);
    return head;
}

static void a_head_may_be_as_long_as_the_limit_and_no_longer(void **state)
{
    (void)state;
    char *head = head_of(feed_limits.head, "GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
    accept(head);
    free(head);
    head = head_of(feed_limits.head + 1, "GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
    refuse_bytes(str_of(head), 431, "head-too-large");
    free(head);
    head = head_of(feed_limits.head, "GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r");
    refuse_bytes(str_of(head), 431, "head-too-large");
    free(head);
    head = head_of(feed_limits.head + 1, "\r\nGET /", " HTTP/1.1\r\nHost: a\r\n\r\n");
    refuse_bytes(str_of(head), 431, "head-too-large");
    free(head);
    head = head_of(feed_limits.head + 100, "\r\nGET /", "");
    refuse_bytes(str_of(head), 414, "target-too-long");
    free(head);
}

static void more_fields_than_the_limit_are_refused(void **state)
{
    (void)state;
    char head[1000] = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (uint32_t i = 1; i < feed_limits.fields; i++)
        strcat(head, "A: b\r\n");
    size_t full = strlen(head);
    strcat(head, "\r\n");
    accept(head);
    strcpy(head + full, "A: b\r\n\r\n");
    refuse_bytes(str_of(head), 431, "too-many-fields");
}

static void a_path_climbs_when_any_reading_of_it_leads_above_its_beginning(void **state)
{
    (void)state;
    static const char *const climb[] = {
        "/..",       "/../x",   "/a/../..",   "/%2e%2E/x", "/.%2e", "/a/%2e./../x", "//..",
        "/a//../..", "/..;a=b", "/a/..%2f..", "/..%5Cx",   "/./..", "..",           "/;a/..",
    };
    static const char *const stay[] = {
        "",   "/",    "/a/..", "/a/../b/..", "/...",     "/..a",   "/a..",
        "/.", "/%2e", "/%2",   "/a/b/../..", "/.;/a/..", "/%2e%2", "/a;/../b",
    };
    for (size_t i = 0; i < sizeof climb / sizeof *climb; i++)
        assert_true(http_path_climbs(str_of(climb[i])));
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++)
        assert_false(http_path_climbs(str_of(stay[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_head_gives_all_its_parts),
        cmocka_unit_test(a_path_climbs_when_any_reading_of_it_leads_above_its_beginning),
        cmocka_unit_test(bytes_behind_the_head_are_left_alone),
        cmocka_unit_test(one_or_two_empty_lines_before_the_start_line_are_skipped),
        cmocka_unit_test(methods_are_known_by_their_exact_name),
        cmocka_unit_test(a_method_that_is_no_token_is_refused),
        cmocka_unit_test(targets_are_read_in_every_form),
        cmocka_unit_test(bad_targets_are_refused),
        cmocka_unit_test(versions_other_than_1_x_are_refused),
        cmocka_unit_test(host_must_be_there_once_and_right),
        cmocka_unit_test(malformed_field_lines_are_refused),
        cmocka_unit_test(values_may_hold_tabs_and_bytes_beyond_ascii_and_be_empty),
        cmocka_unit_test(every_byte_in_a_value_and_a_name_is_judged_by_its_class),
        cmocka_unit_test(framing_is_read_or_refused),
        cmocka_unit_test(the_connection_is_kept_as_version_and_options_say),
        cmocka_unit_test(connection_marks_what_it_lists_but_not_what_is_for_all),
        cmocka_unit_test(expect_te_and_upgrade_are_understood),
        cmocka_unit_test(known_fields_get_their_id_in_any_case),
        cmocka_unit_test(a_head_may_be_as_long_as_the_limit_and_no_longer),
        cmocka_unit_test(more_fields_than_the_limit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
