/* Which traces are taken over, and how one begins. */
#include "http/trace.h"

#include "feed.h"

#include "http/forward.h"

#include <stdio.h>

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"
#define PARENT "00-" TRACE "-" SPAN "-01"

static struct http_request request;

static void parse(const char *lines)
{
    static char head[2048]; /* the request points into it */
    snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", lines);
    assert_int_equal(feed_all_ways(feed_request, &request, str_of(head)).result, HTTP_DONE);
}

static struct str id_of(const char *lines)
{
    parse(lines);
    return http_trace_id(&request.fields);
}

static void a_valid_parent_names_its_trace(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "traceparent: " PARENT "\r\n",
        "TraceParent:  " PARENT " \r\n",
        "traceparent: 00-" TRACE "-" SPAN "-00\r\n",
        "traceparent: 00-" TRACE "-" SPAN "-ff\r\n",
        "traceparent: cc-" TRACE "-" SPAN "-01\r\n",
        "traceparent: 01-" TRACE "-" SPAN "-01-what-will-be\r\n",
        "traceparent: fe-" TRACE "-" SPAN "-01-\r\n",
        "tracestate: a=1\r\ntraceparent: " PARENT "\r\ntracestate: b=2\r\n",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_str_equal(id_of(rows[i]), TRACE);
}

static void what_is_not_exactly_one_valid_parent_names_none(void **state)
{
    (void)state;
    static const char *const values[] = {
        "",
        "-",
        "00",
        TRACE,
        "00-" TRACE "-" SPAN "-0",
        "00-" TRACE "-" SPAN "-01-",
        "00-" TRACE "-" SPAN "-01-more",
        "00-" TRACE "-" SPAN "-011",
        "01-" TRACE "-" SPAN "-01more",
        "ff-" TRACE "-" SPAN "-01",
        "FE-" TRACE "-" SPAN "-01",
        "0g-" TRACE "-" SPAN "-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
        "00-" TRACE "-B7AD6B7169203331-01",
        "00-" TRACE "-" SPAN "-0G",
        "00-" TRACE "-" SPAN "-0A",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" TRACE "-0000000000000000-01",
        "00_" TRACE "-" SPAN "-01",
        "00-" TRACE "_" SPAN "-01",
        "00-" TRACE "-" SPAN "_01",
        "00-0af7651916cd43dd8448eb211c80319-" SPAN "-01xx",
        "00-0af7651916cd43dd8448eb211c8031 c-" SPAN "-01",
        PARENT ", " PARENT,
        "\xc3\xa4" PARENT,
    };
    char lines[256];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        snprintf(lines, sizeof lines, "traceparent: %s\r\n", values[i]);
        assert_int_equal(id_of(lines).n, 0);
    }
    assert_int_equal(id_of("").n, 0);
    assert_int_equal(id_of("tracestate: a=1\r\n").n, 0);
    assert_int_equal(id_of("traceparent: " PARENT "\r\ntraceparent: " PARENT "\r\n").n, 0);
}

static void every_byte_of_a_parent_counts(void **state)
{
    (void)state;
    char value[] = PARENT, lines[128];
    for (size_t i = 0; i < HTTP_TRACEPARENT_SIZE; i++) {
        value[i] = 'x';
        snprintf(lines, sizeof lines, "traceparent: %s\r\n", value);
        assert_int_equal(id_of(lines).n, 0);
        value[i] = PARENT[i];
        snprintf(lines, sizeof lines, "traceparent: %.*s\r\n", (int)i, value);
        assert_int_equal(id_of(lines).n, 0);
    }
}

static void a_trace_that_begins_is_valid_and_sampled(void **state)
{
    (void)state;
    char out[HTTP_TRACEPARENT_SIZE], lines[128];
    struct str parent = http_trace_begin(TRACE, SPAN, out);
    assert_str_equal(parent, PARENT);
    snprintf(lines, sizeof lines, "traceparent: %.*s\r\n", STR_ARG(parent));
    assert_str_equal(id_of(lines), TRACE);
}

/* The head that goes to the app for a client's lines. */
static const char *forwarded(const char *lines, bool traced, const char *begun, const char *rules)
{
    static char out[4096];
    parse(lines);
    struct http_forward how = {.client = STR("9.9.9.9"),
                               .proto = STR("http"),
                               .keep_alive = true,
                               .trace = str_of(begun),
                               .traced = traced,
                               .rules = str_of(rules)};
    size_t n = http_forward_request(&request, &how, out, sizeof out - 1);
    assert_true(n > 0);
    out[n] = '\0';
    return out;
}

#define CLIENTS "traceparent: " PARENT "\r\ntracestate: a=1\r\nX: y\r\ntracestate: b=2\r\n"

static void a_trace_is_passed_as_it_came_or_not_at_all(void **state)
{
    (void)state;
    assert_non_null(strstr(forwarded(CLIENTS, true, "", ""), "\r\n" CLIENTS "X-Forwarded-For"));
    const char *head = forwarded(CLIENTS, false, "", "");
    assert_null(strstr(head, "trace"));
    assert_non_null(strstr(head, "\r\nX: y\r\n"));
}

static void one_that_begins_stands_in_place_of_all_that_came(void **state)
{
    (void)state;
    const char *head = forwarded(CLIENTS, false, "00-new", "");
    const char *line = strstr(head, "\r\ntraceparent: 00-new\r\n");
    assert_non_null(line);
    assert_null(strstr(line + 4, "trace"));
    assert_null(strstr(head, "tracestate"));
}

/* A client cannot take it off as a field of its connection. */
static void a_client_cannot_have_it_removed_on_the_way(void **state)
{
    (void)state;
    const char *head = forwarded(CLIENTS "Connection: traceparent, tracestate\r\n", true, "", "");
    assert_non_null(strstr(head, "\r\n" CLIENTS));
}

static void what_a_rule_says_of_it_counts_more(void **state)
{
    (void)state;
    assert_null(strstr(forwarded(CLIENTS, true, "", "-trace*\n"), "trace"));
    assert_null(strstr(forwarded("", false, "00-new", "-traceparent\n"), "trace"));
    const char *head = forwarded("", false, "00-new", "=Traceparent: 00-mine\n");
    assert_null(strstr(head, "00-new"));
    assert_non_null(strstr(head, "\r\nTraceparent: 00-mine\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_valid_parent_names_its_trace),
        cmocka_unit_test(what_is_not_exactly_one_valid_parent_names_none),
        cmocka_unit_test(every_byte_of_a_parent_counts),
        cmocka_unit_test(a_trace_that_begins_is_valid_and_sampled),
        cmocka_unit_test(a_trace_is_passed_as_it_came_or_not_at_all),
        cmocka_unit_test(one_that_begins_stands_in_place_of_all_that_came),
        cmocka_unit_test(a_client_cannot_have_it_removed_on_the_way),
        cmocka_unit_test(what_a_rule_says_of_it_counts_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
