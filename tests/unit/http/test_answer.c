#include "http/answer.h"

#include "feed.h"

#include "http/body.h"
#include "http/reason.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"

static char out[HTTP_ANSWER_MAX + 1];
static struct http_response response;

static struct http_answer plain(void)
{
    return (struct http_answer){
        .status = 503,
        .reason = "no-live-pool",
        .client_minor = 1,
        .keep_alive = true,
        .date = STR(DATE),
        .request_id = STR("r-1"),
    };
}

static const char *write_answer(struct http_answer answer)
{
    size_t n = http_answer_write(&answer, out, HTTP_ANSWER_MAX);
    assert_in_range(n, 1, HTTP_ANSWER_MAX);
    out[n] = '\0';
    return out;
}

/* The value of a field of the answer, which must be a valid response with a body of the length it tells. */
static struct str field(const char *text, const char *name)
{
    struct http_fault fault;
    size_t seen = 0;
    assert_int_equal(
        http_response_parse(&response, HTTP_GET, text, strlen(text), &seen, &feed_limits, &fault), HTTP_DONE);
    assert_int_equal(response.framing, HTTP_BODY_LENGTH);
    const struct http_field *found = http_fields_named(&response.fields, str_of(name));
    return found != NULL ? found->value : STR("");
}

static void an_answer_is_a_valid_response_that_says_why(void **state)
{
    (void)state;
    const char *text = write_answer(plain());
    assert_str_equal(field(text, "X-Upswap"), "no-live-pool");
    assert_int_equal(response.status, 503);
    assert_str_equal(response.phrase, "Service Unavailable");
    assert_str_equal(field(text, "Date"), DATE);
    assert_str_equal(field(text, "Cache-Control"), "no-store");
    assert_str_equal(field(text, "X-Request-Id"), "r-1");
    assert_str_equal(field(text, "Content-Type"), "text/html; charset=utf-8");
    assert_str_equal(field(text, "Connection"), "");
    assert_str_equal(field(text, "Retry-After"), "");
    assert_int_equal(response.length + response.content_length, strlen(text));
    assert_non_null(strstr(text + response.length, "This service has no live pool yet."));
}

static void who_is_told_in_private_is_told_to_stay_there_unless_a_rule_says_otherwise(void **state)
{
    (void)state;
    struct http_answer answer = plain();
    assert_str_equal(field(write_answer(answer), "Strict-Transport-Security"), "");
    answer.hsts_s = UINT32_MAX;
    assert_str_equal(field(write_answer(answer), "Strict-Transport-Security"), "max-age=4294967295");
    answer.rules = STR("-Strict-Transport-Security\n");
    assert_str_equal(field(write_answer(answer), "Strict-Transport-Security"), "");
}

static void a_call_of_grpc_is_answered_by_a_status_of_its_own(void **state)
{
    (void)state;
    struct http_answer answer = plain();
    answer.grpc = answer.json = true;
    answer.page = STR("a page");
    const char *text = write_answer(answer);
    assert_str_equal(field(text, "Content-Type"), "application/grpc");
    assert_int_equal(response.status, 200);
    assert_str_equal(field(text, "grpc-status"), "14");
    assert_str_equal(field(text, "grpc-message"), "This service has no live pool yet.");
    assert_str_equal(field(text, "X-Upswap"), "no-live-pool");
    assert_str_equal(field(text, "X-Request-Id"), "r-1");
    assert_int_equal(response.length, strlen(text));
    assert_int_equal(response.content_length, 0);
    answer.detail = STR(" 100 % \xc3\xa4,\n\"soon\" ");
    text = write_answer(answer);
    assert_str_equal(field(text, "grpc-message"), "%20100 %25 %C3%A4,%0A\"soon\"%20");
}

static void a_refused_head_tells_whether_it_is_of_grpc(void **state)
{
    (void)state;
    assert_true(
        http_head_is_grpc(STR("POST /a HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc+proto\r\n")));
    assert_false(http_head_is_grpc(STR("POST /a HTTP/1.1\r\ncontent-type: text/html\r\n")));
    assert_false(http_head_is_grpc(STR("POST /application/grpc HTTP/1.1\r\n")));
}

static void json_is_written_where_it_is_wanted(void **state)
{
    (void)state;
    struct http_answer answer = plain();
    answer.json = true;
    const char *text = write_answer(answer);
    assert_str_equal(field(text, "Content-Type"), "application/json");
    assert_string_equal(text + response.length, "{\"status\":503,\"reason\":\"no-live-pool\","
                                                "\"detail\":\"This service has no live pool yet.\"}\n");
    assert_int_equal(response.content_length, strlen(text) - response.length);
}

static void head_gets_the_length_and_no_body(void **state)
{
    (void)state;
    struct http_answer answer = plain();
    size_t whole = strlen(write_answer(answer));
    answer.head = true;
    const char *text = write_answer(answer);
    assert_str_equal(field(text, "X-Upswap"), "no-live-pool");
    assert_int_equal(response.length, strlen(text));
    assert_int_equal(response.length + response.content_length, whole);
}

static void connection_is_told_where_the_version_does_not_imply_it(void **state)
{
    (void)state;
    struct http_answer answer = plain();
    answer.client_minor = 0;
    assert_str_equal(field(write_answer(answer), "Connection"), "keep-alive");
    answer.keep_alive = false;
    assert_str_equal(field(write_answer(answer), "Connection"), "close");
    answer.client_minor = 1;
    assert_str_equal(field(write_answer(answer), "Connection"), "close");
}

static void retry_after_and_request_id_are_left_out_where_there_is_none(void **state)
{
    (void)state;
    struct http_answer answer = plain();
    answer.retry_after = 7;
    answer.request_id = (struct str){NULL, 0};
    const char *text = write_answer(answer);
    assert_str_equal(field(text, "Retry-After"), "7");
    assert_null(http_fields_named(&response.fields, STR("X-Request-Id")));
}

static void every_reason_fits_with_everything_that_can_be_long(void **state)
{
    (void)state;
    char id[129];
    memset(id, 'i', sizeof id);
    for (size_t i = 0; http_reason_at(i) != NULL; i++) {
        struct http_answer answer = plain();
        answer.status = 431;
        answer.reason = http_reason_at(i)->word;
        answer.client_minor = 0;
        answer.retry_after = UINT32_MAX;
        answer.request_id = (struct str){id, 128};
        assert_int_equal(field(write_answer(answer), "X-Request-Id").n, 128);
        answer.request_id.n++;
        assert_int_equal(field(write_answer(answer), "X-Request-Id").n, 0);
    }
    struct http_answer answer = plain();
    answer.reason = "a-word-that-is-in-no-list";
    assert_non_null(strstr(write_answer(answer), "<p>Service Unavailable</p>"));
}

static void words_are_plain_and_stand_once_and_sentences_need_no_escaping(void **state)
{
    (void)state;
    for (size_t i = 0; http_reason_at(i) != NULL; i++) {
        const struct http_reason *reason = http_reason_at(i);
        assert_ptr_equal(http_reason_find(reason->word), reason);
        assert_in_range(strlen(reason->word), 1, 63);
        for (const char *p = reason->word; *p != '\0'; p++)
            assert_true(islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '-');
        assert_null(strpbrk(reason->sentence, "<>&\"\\"));
        assert_int_equal(reason->sentence[strlen(reason->sentence) - 1], '.');
        for (const char *p = reason->statuses; *p != '\0'; p += p[3] == ' ' ? 4 : 3)
            assert_string_not_equal(http_status_phrase((unsigned)strtoul(p, NULL, 10)), "");
    }
    assert_null(http_reason_find("no-such-word"));
}

/* "400 502" as the list writes it: "400, 502". Empty: the status is the instance's. */
static void put_statuses(char *text, size_t size, const char *statuses)
{
    text[0] = '\0';
    if (statuses[0] != '\0')
        snprintf(text, size, "%.3s%s%s", statuses, statuses[3] == ' ' ? ", " : "",
                 statuses[3] == ' ' ? statuses + 4 : "");
}

static void the_list_for_users_is_the_table(void **state)
{
    (void)state;
    const char *source = getenv("srcdir");
    char path[4096], line[1024];
    snprintf(path, sizeof path, "%s/doc/x-upswap.md", source != NULL ? source : ".");
    FILE *list = fopen(path, "r");
    assert_non_null(list);
    size_t rows = 0;
    while (fgets(line, sizeof line, list) != NULL) {
        if (strncmp(line, "| `", 3) != 0)
            continue;
        const struct http_reason *reason = http_reason_at(rows++);
        char statuses[20], expected[1024];
        assert_non_null(reason);
        put_statuses(statuses, sizeof statuses, reason->statuses);
        snprintf(expected, sizeof expected, "| `%s` | %s | %s |\n", reason->word, statuses, reason->sentence);
        assert_string_equal(line, expected);
    }
    fclose(list);
    assert_null(http_reason_at(rows));
}

static void accept_prefers_json_only_where_it_says_so(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool json;
    } rows[] = {
        {"", false},
        {"*/*", false},
        {"application/json", true},
        {"APPLICATION/JSON; charset=utf-8", true},
        {"text/html", false},
        {"application/json, text/html", false},
        {"text/html;q=0.9, application/json", true},
        {"text/html, application/json;q=0.9", false},
        {"application/json, text/plain, */*", true},
        {"*/*, application/json", true},
        {"text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", false},
        {"application/*", true},
        {"application/*, application/json;q=0", false},
        {"application/json;q=0, */*", false},
        {"application/json ; q = 0.001 , text/*;q=0.0", true},
        {"application/json;q=2", false},
        {"application/json;q=0.5x", false},
        {"application/json;q=", false},
        {"application/json;q=0.12345", false},
        {";;;,,,=", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(http_accept_prefers_json(str_of(rows[i].accept)), rows[i].json);
    assert_false(http_accept_prefers_json((struct str){NULL, 0}));
}

static void of_a_head_that_is_refused_the_line_says_so(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        bool json;
    } rows[] = {
        {"GET / HTTP/1.1\r\naccept: application/json\r\n\r\n", true},
        {"GET / HTTP/1.1\nBad Line\nAccept:application/json \n", true},
        {"GET / HTTP/1.1\r\nAccept: application/json", true},
        {"GET / HTTP/1.1\r\nAccept: text/html\r\nAccept: application/json\r\n", false},
        {"GET / HTTP/1.1\r\nX-Accept: application/json\r\nAccep", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(http_head_prefers_json(str_of(rows[i].head)), rows[i].json);
    assert_false(http_head_prefers_json((struct str){NULL, 0}));
}

static void dates_are_written_as_http_wants_them(void **state)
{
    (void)state;
    static const struct {
        uint64_t seconds;
        const char *text;
    } rows[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},          {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},  {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {UINT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char date[HTTP_DATE_SIZE];
        http_date_write(rows[i].seconds, date);
        assert_string_equal(date, rows[i].text);
    }
}

/* The page behind the head. */
static const char *page_of(struct http_answer answer)
{
    return strstr(write_answer(answer), "\r\n\r\n") + 4;
}

static void a_detail_is_escaped_as_the_page_wants_it(void **state)
{
    (void)state;
    struct http_answer answer = plain();
    answer.detail = STR("<b> & \"x\" 'y' \\ \n %{status} \xc3\xbc");
    assert_non_null(
        strstr(page_of(answer), "<p>&lt;b&gt; &amp; &#34;x&#34; &#39;y&#39; \\   %{status} \xc3\xbc</p>"));
    answer.page = STR("%{detail}/%{phrase}");
    assert_string_equal(page_of(answer), "&lt;b&gt; &amp; &#34;x&#34; &#39;y&#39; \\   %{status} \xc3\xbc"
                                         "/Service Unavailable");
    answer.page = STR("");
    answer.json = true;
    assert_string_equal(page_of(answer), "{\"status\":503,\"reason\":\"no-live-pool\",\"detail\":"
                                         "\"<b> & \\\"x\\\" 'y' \\\\   %{status} \xc3\xbc\"}\n");
}

static void a_detail_of_any_length_fits_or_is_not_shown(void **state)
{
    (void)state;
    char text[HTTP_DETAIL_MAX + 1];
    memset(text, '"', sizeof text);
    struct http_answer answer = plain();
    answer.detail = (struct str){text, HTTP_DETAIL_MAX};
    assert_non_null(strstr(page_of(answer), "&#34;&#34;</p>"));
    answer.detail.n++;
    assert_non_null(strstr(page_of(answer), "no live pool yet"));
}

static void the_continue_answer_is_a_whole_head(void **state)
{
    (void)state;
    struct feed_result result = feed_all_ways(feed_response, &response, http_continue);
    assert_int_equal(result.result, HTTP_DONE);
    assert_int_equal(result.length, http_continue.n);
    assert_int_equal(response.status, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_a_valid_response_that_says_why),
        cmocka_unit_test(who_is_told_in_private_is_told_to_stay_there_unless_a_rule_says_otherwise),
        cmocka_unit_test(a_call_of_grpc_is_answered_by_a_status_of_its_own),
        cmocka_unit_test(a_refused_head_tells_whether_it_is_of_grpc),
        cmocka_unit_test(json_is_written_where_it_is_wanted),
        cmocka_unit_test(head_gets_the_length_and_no_body),
        cmocka_unit_test(connection_is_told_where_the_version_does_not_imply_it),
        cmocka_unit_test(retry_after_and_request_id_are_left_out_where_there_is_none),
        cmocka_unit_test(every_reason_fits_with_everything_that_can_be_long),
        cmocka_unit_test(words_are_plain_and_stand_once_and_sentences_need_no_escaping),
        cmocka_unit_test(the_list_for_users_is_the_table),
        cmocka_unit_test(accept_prefers_json_only_where_it_says_so),
        cmocka_unit_test(of_a_head_that_is_refused_the_line_says_so),
        cmocka_unit_test(dates_are_written_as_http_wants_them),
        cmocka_unit_test(a_detail_is_escaped_as_the_page_wants_it),
        cmocka_unit_test(a_detail_of_any_length_fits_or_is_not_shown),
        cmocka_unit_test(the_continue_answer_is_a_whole_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
