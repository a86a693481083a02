#include "http/rules.h"

#include "unit.h"

#include "http/answer.h"
#include "http/body.h"
#include "http/forward.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static const struct http_variable variables[] = {
    {{"client", 6}, {"192.0.2.1", 9}},
    {{"host", 4}, {"example.com", 11}},
    {{"release", 7}, {"", 0}},
    {{"", 0}, {"", 0}},
};

static struct http_request request;
static struct http_response response;
static char out[16384];
static const struct http_limits limits = {.head = 8192, .fields = 200};

/* The head that the app gets under these rules. The fields end with CRLF each. */
static const char *request_under(const char *rules, const char *fields)
{
    static char text[4096];
    struct http_fault fault;
    size_t seen = 0;
    int n = snprintf(text, sizeof text, "GET /a HTTP/1.1\r\nHost: example.com\r\n%s\r\n", fields);
    assert_int_equal(http_request_parse(&request, text, (size_t)n, &seen, &limits, &fault), HTTP_DONE);
    struct http_forward how = {.client = STR("192.0.2.1"),
                               .proto = STR("http"),
                               .port = STR("80"),
                               .request_id = STR("r-1"),
                               .keep_alive = true,
                               .rules = str_of(rules),
                               .variables = variables};
    n = (int)http_forward_request(&request, &how, out, sizeof out - 1);
    assert_in_range(n, 1, sizeof out - 1);
    assert_in_range(n, 1, request.length + HTTP_FORWARD_EXTRA + 64 + http_rules_room(how.rules, variables));
    out[n] = '\0';
    /* Whatever the rules say, what goes out is one head that reads as a request. */
    static struct http_request again;
    seen = 0;
    assert_int_equal(http_request_parse(&again, out, (size_t)n, &seen, &limits, &fault), HTTP_DONE);
    assert_int_equal(again.length, n);
    assert_int_equal(again.framing, HTTP_BODY_NONE);
    return out;
}

static const char *response_under(const char *rules, const char *fields)
{
    static char text[4096];
    struct http_fault fault;
    size_t seen = 0;
    int n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%s\r\n", fields);
    assert_int_equal(http_response_parse(&response, HTTP_GET, text, (size_t)n, &seen, &limits, &fault),
                     HTTP_DONE);
    struct http_return how = {.client_minor = 1,
                              .keep_alive = true,
                              .framing = HTTP_BODY_LENGTH,
                              .date = STR("now"),
                              .rules = str_of(rules),
                              .variables = variables};
    n = (int)http_forward_response(&response, &how, out, sizeof out - 1);
    assert_in_range(n, 1, sizeof out - 1);
    out[n] = '\0';
    static struct http_response again;
    seen = 0;
    assert_int_equal(http_response_parse(&again, HTTP_GET, out, (size_t)n, &seen, &limits, &fault),
                     HTTP_DONE);
    assert_int_equal(again.length, n);
    assert_int_equal(again.content_length, 2);
    return out;
}

static unsigned lines_of(const char *head, const char *name)
{
    unsigned count = 0;
    size_t n = strlen(name);
    for (const char *at = strstr(head, "\r\n"); at != NULL; at = strstr(at + 2, "\r\n"))
        count += strncasecmp(at + 2, name, n) == 0 && at[2 + n] == ':';
    return count;
}

static void a_field_is_set_added_or_removed(void **state)
{
    (void)state;
    const char *head = request_under("-X-Gone\n=X-Set: ours\n+X-More: one more\n",
                                     "X-Gone: 1\r\nX-Set: theirs\r\nX-More: first\r\nX-Kept: k\r\n");
    assert_int_equal(lines_of(head, "X-Gone"), 0);
    assert_int_equal(lines_of(head, "X-Set"), 1);
    assert_non_null(strstr(head, "X-Set: ours\r\n"));
    assert_int_equal(lines_of(head, "X-More"), 2);
    assert_non_null(strstr(head, "X-Kept: k\r\n"));
    head = response_under("-Server\n=X-Frame-Options: DENY\n+Vary: X\n",
                          "Server: s\r\nX-Frame-Options: ALLOW\r\nVary: A\r\n");
    assert_int_equal(lines_of(head, "Server"), 0);
    assert_non_null(strstr(head, "X-Frame-Options: DENY\r\n"));
    assert_int_equal(lines_of(head, "X-Frame-Options"), 1);
    assert_int_equal(lines_of(head, "Vary"), 2);
}

static void no_spelling_gets_past_a_rule(void **state)
{
    (void)state;
    const char *rules = "-X-Internal-*\n=X-User: nobody\n-Authorization\n";
    const char *head = request_under(rules, "x-user: root\r\nX-USER: root\r\nX_User: root\r\nx_uSer: root\r\n"
                                            "X-Internal-Role: admin\r\nX_Internal_Role: admin\r\n"
                                            "x-internal-: a\r\nX-Internal_Role: admin\r\n"
                                            "authorization: Basic x\r\nX-User: root\r\nX-User: \r\n"
                                            "Connection: X-User, X-Internal-Role, Authorization\r\n");
    assert_null(strstr(head, "root"));
    assert_null(strstr(head, "admin"));
    assert_null(strstr(head, "Basic"));
    assert_int_equal(lines_of(head, "X-User"), 1);
    assert_non_null(strstr(head, "X-User: nobody\r\n"));
}

static void names_that_only_look_alike_are_left_alone(void **state)
{
    (void)state;
    const char *head = request_under("-X-A\n-Y-*\n", "X-AB: 1\r\nXX-A: 2\r\nX-: 3\r\nY: 4\r\nZY-A: 5\r\n");
    for (unsigned i = 1; i <= 5; i++) {
        char value[16];
        snprintf(value, sizeof value, ": %u\r\n", i);
        assert_non_null(strstr(head, value));
    }
    head = response_under("-X-A\n", "X_A: 1\r\n"); /* an answer goes to a client, not to a CGI-like app */
    assert_non_null(strstr(head, "X_A: 1\r\n"));
}

static void variables_are_replaced_and_an_empty_value_writes_no_line(void **state)
{
    (void)state;
    const char *head = request_under("=X-Real-IP: %{client}\n=X-V: v=%{release}, %{host} 100% %{other} %{\n"
                                     "=X-Empty: %{release}\n+X-None: %{release}%{release}\n",
                                     "X-Empty: theirs\r\n");
    assert_non_null(strstr(head, "X-Real-IP: 192.0.2.1\r\n"));
    assert_non_null(strstr(head, "X-V: v=, example.com 100% %{other} %{\r\n"));
    assert_int_equal(lines_of(head, "X-Empty"), 0);
    assert_int_equal(lines_of(head, "X-None"), 0);
}

static void host_may_be_set_and_is_never_there_twice(void **state)
{
    (void)state;
    const char *head = request_under("=Host: app.internal:8080\n", "");
    assert_int_equal(lines_of(head, "Host"), 1);
    assert_non_null(strstr(head, "\r\nHost: app.internal:8080\r\n"));
    assert_non_null(strstr(head, "X-Forwarded-Host: example.com\r\n"));
    head = request_under("=Host: %{release}\n", "");
    assert_non_null(strstr(head, "\r\nHost: example.com\r\n"));
    head = request_under("+Host: evil\n-Host\n", "");
    assert_int_equal(lines_of(head, "Host"), 1);
    assert_non_null(strstr(head, "\r\nHost: example.com\r\n"));
}

/* The config refuses these; a proxy that gets them all the same does not follow. */
static void a_rule_cannot_frame_a_message_or_speak_for_upswap(void **state)
{
    (void)state;
    static const char *const names[] = {
        "Content-Length",   "Transfer-Encoding", "Connection", "Upgrade",         "TE",
        "Trailer",          "Keep-Alive",        "Via",        "X-Forwarded-For", "X-Forwarded-Proto",
        "Expect",           "X-Request-Id",      "X-Upswap",   "Content_Length",  "Proxy-Connection",
        "Transfer_Encoding"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        char rules[256];
        snprintf(rules, sizeof rules, "=%s: 99\n+%s: 99\n", names[i], names[i]);
        assert_null(strstr(request_under(rules, ""), ": 99"));
        assert_null(strstr(response_under(rules, ""), ": 99"));
    }
    const char *head = request_under("-X-*\n-V*\n-C*\n-H*\n", "X-Any: 1\r\nCookie: c\r\n");
    assert_non_null(strstr(head, "X-Forwarded-For: 192.0.2.1\r\n"));
    assert_non_null(strstr(head, "Via: 1.1 upswap\r\n"));
    assert_null(strstr(head, "X-Any"));
    assert_null(strstr(head, "Cookie"));
    head = response_under("-C*\n-T*\n-D*\n", "Content-Type: t\r\n");
    assert_int_equal(lines_of(head, "Content-Length"), 1);
    assert_int_equal(lines_of(head, "Content-Type"), 0);
}

static void a_text_that_is_no_rule_is_not_followed(void **state)
{
    (void)state;
    static const char *const texts[] = {"=X-A: b\r\n", "=X-A: b\rX-B: c\n",
                                        "=X A: b\n",   "=: b\n",
                                        "= X-A: b\n",  "*X-A: b\n",
                                        "X-A: b\n",    "=X-A\n",
                                        "\n\n\n",      "-\n",
                                        "-*\n",        "-X A\n",
                                        "=X-A:\x01\n", "+X-A: a\x7f\n",
                                        "=X-A : b\n",  "=X-A\r: b\n",
                                        "=X-A:    \n"};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        char head[4096];
        snprintf(head, sizeof head, "%s", request_under(texts[i], "X-A: theirs\r\n"));
        /* One text is a rule once its end is trimmed. */
        if (i > 0)
            assert_string_equal(head, request_under("", "X-A: theirs\r\n"));
        assert_int_equal(lines_of(head, "X-B"), 0);
    }
}

static void more_rules_than_have_room_are_not_followed(void **state)
{
    (void)state;
    char rules[64 * HTTP_RULES_MAX] = "";
    for (unsigned i = 0; i < HTTP_RULES_MAX + 10; i++)
        snprintf(rules + strlen(rules), sizeof rules - strlen(rules), "+X-%u: v\n", i);
    const char *head = request_under(rules, "");
    assert_non_null(strstr(head, "X-64: v\r\n"));
    assert_null(strstr(head, "X-65: v\r\n"));
}

static void a_trailer_cannot_bring_back_what_a_rule_removes(void **state)
{
    (void)state;
    static struct http_fields fields;
    struct http_fault fault;
    struct str trailers = STR("X-User: root\r\nX_User: root\r\nX-Sum: 1\r\n");
    assert_int_equal(http_trailers_parse(&fields, trailers, &limits, &fault), HTTP_DONE);
    size_t n = http_forward_trailers(&fields, STR("=X-User: nobody\n"), true, out, sizeof out - 1);
    out[n] = '\0';
    assert_string_equal(out, "X-Sum: 1\r\n");
}

static void an_own_answer_is_held_to_the_rules_too(void **state)
{
    (void)state;
    struct http_answer answer = {.status = 503,
                                 .reason = "no-live-pool",
                                 .client_minor = 1,
                                 .date = STR("now"),
                                 .request_id = STR("r-1"),
                                 .rules = STR("=Cache-Control: max-age=5\n=X-IP: %{client}\n-X-Upswap\n"
                                              "=Content-Length: 0\n-Content-*\n"),
                                 .variables = variables};
    size_t n = http_answer_write(&answer, out, sizeof out - 1);
    out[n] = '\0';
    assert_int_equal(lines_of(out, "Cache-Control"), 1);
    assert_non_null(strstr(out, "Cache-Control: max-age=5\r\n"));
    assert_non_null(strstr(out, "X-IP: 192.0.2.1\r\n"));
    assert_non_null(strstr(out, "X-Upswap: no-live-pool\r\n"));
    assert_int_equal(lines_of(out, "Content-Length"), 1);
    assert_null(strstr(out, "Content-Length: 0"));
    for (size_t room = 0; room < n; room++)
        assert_int_equal(http_answer_write(&answer, out, room), 0);
}

static void forwarded_is_written_as_rfc_7239_says(void **state)
{
    (void)state;
    struct http_forward how = {.client = STR("2001:db8::1"), .proto = STR("https"), .forwarded = true};
    const char *fields = "Forwarded: for=192.0.2.9\r\nForwarded: for=10.0.0.1;proto=http\r\n";
    request_under("", fields);
    size_t n = http_forward_request(&request, &how, out, sizeof out - 1);
    out[n] = '\0';
    assert_int_equal(lines_of(out, "Forwarded"), 1);
    assert_non_null(
        strstr(out, "\r\nForwarded: for=\"[2001:db8::1]\";host=\"example.com\";proto=https;by=_upswap\r\n"));
    how.trusted = true;
    how.client = STR("192.0.2.1");
    n = http_forward_request(&request, &how, out, sizeof out - 1);
    out[n] = '\0';
    assert_int_equal(lines_of(out, "Forwarded"), 1);
    assert_non_null(strstr(out, "\r\nForwarded: for=192.0.2.9, for=10.0.0.1;proto=http, "
                                "for=192.0.2.1;host=\"example.com\";proto=https;by=_upswap\r\n"));
    how.forwarded = false;
    n = http_forward_request(&request, &how, out, sizeof out - 1);
    out[n] = '\0';
    assert_int_equal(lines_of(out, "Forwarded"), 2); /* a trusted proxy's go on as they are */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_is_set_added_or_removed),
        cmocka_unit_test(no_spelling_gets_past_a_rule),
        cmocka_unit_test(names_that_only_look_alike_are_left_alone),
        cmocka_unit_test(variables_are_replaced_and_an_empty_value_writes_no_line),
        cmocka_unit_test(host_may_be_set_and_is_never_there_twice),
        cmocka_unit_test(a_rule_cannot_frame_a_message_or_speak_for_upswap),
        cmocka_unit_test(a_text_that_is_no_rule_is_not_followed),
        cmocka_unit_test(more_rules_than_have_room_are_not_followed),
        cmocka_unit_test(a_trailer_cannot_bring_back_what_a_rule_removes),
        cmocka_unit_test(an_own_answer_is_held_to_the_rules_too),
        cmocka_unit_test(forwarded_is_written_as_rfc_7239_says),
    };
    return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
