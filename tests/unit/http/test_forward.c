#include "http/forward.h"

#include "feed.h"

#include "http/body.h"

#include <stdio.h>
#include <stdlib.h>

static struct http_request request;
static struct http_response response;
static char out[8192];

static const struct http_forward stranger = {
    .client = {"9.9.9.9", 7},
    .proto = {"http", 4},
    .port = {"8080", 4},
    .request_id = {"new-id", 6},
    .keep_alive = true,
};

static void parse_request(const char *head)
{
    assert_int_equal(feed_all_ways(feed_request, &request, str_of(head)).result, HTTP_DONE);
}

static const char *forward(const char *head, struct http_forward how)
{
    parse_request(head);
    how.framing = request.framing;
    size_t n = http_forward_request(&request, &how, out, sizeof out - 1);
    assert_true(n > 0);
    out[n] = '\0';
    return out;
}

/* What upswap adds to a request of a stranger, behind the client's own lines. */
#define ADDED(host)                                                                  \
    "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: " host \
    "\r\nX-Forwarded-Port: 8080\r\nX-Request-Id: new-id\r\nVia: 1.1 upswap\r\n\r\n"

static void a_request_keeps_its_lines_and_gets_upswaps(void **state)
{
    (void)state;
    assert_string_equal(
        forward("GET /a?b HTTP/1.1\r\nHost: h:1\r\nCookie: c=d\r\nX:y\r\nZ: \t w \t\r\nT:\tt\r\nU: u "
                "\r\nE:\r\n\r\n",
                stranger),
        "GET /a?b HTTP/1.1\r\nHost: h:1\r\nCookie: c=d\r\nX: y\r\nZ: w\r\nT: t\r\nU: u\r\nE: \r\n" ADDED(
            "h:1"));
}

/* What is read of a head, and the head that is forwarded, as text. */
static const char *read_and_forward(const char *bytes, size_t count, char text[4096])
{
    static const struct http_limits limits = {.head = 4096, .fields = 10};
    struct http_fault fault = {.reason = ""};
    size_t seen = 0, n = 0;
    enum http_result result = http_request_parse(&request, bytes, count, &seen, &limits, &fault);
    int used = snprintf(text, 4096, "%d %s", (int)result, result == HTTP_BAD ? fault.reason : "");
    if (result == HTTP_DONE) {
        n = http_forward_request(&request, &stranger, out, sizeof out);
        for (uint32_t i = 0; i < request.fields.count; i++)
            used += snprintf(text + used, 4096 - (size_t)used, " %d", (int)request.fields.at[i].id);
    }
    memcpy(text + used, out, n);
    text[(size_t)used + n] = '\0';
    return text;
}

/* A line's bytes are looked at one by one where too few follow for a vector. */
static void whether_vectors_have_read_a_line_is_not_to_be_seen(void **state)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: h\r\nReferer: 25 bytes that are a value\r\n\r\n",
                      behind[] = "POST / HTTP/1.1\r\nHost: of the next";
    const size_t line = strlen("GET / HTTP/1.1\r\nHost: h\r\n");
    char single[4096], vectors[4096];
    (void)state;
    for (size_t place = line; place < sizeof head - 1; place++) {
        for (unsigned byte = 0; byte <= 256; byte++) { /* the last one is two: the end of a name */
            char *exact = malloc(sizeof head - 1), *longer = malloc(sizeof head - 1 + sizeof behind);
            memcpy(longer, head, sizeof head - 1);
            memcpy(longer + sizeof head - 1, behind, sizeof behind);
            longer[place] = (char)(byte < 256 ? byte : ':');
            if (byte == 256 && place + 1 < sizeof head - 1)
                longer[place + 1] = ' ';
            memcpy(exact, longer, sizeof head - 1);
            read_and_forward(exact, sizeof head - 1, single);
            bool whole = single[0] == '0' + HTTP_DONE, is_same = byte == (unsigned char)head[place];
            if (is_same)
                assert_true(whole && !request.fields.at[1].usual);
            read_and_forward(longer, sizeof head - 1 + sizeof behind, vectors);
            if (is_same)
                assert_true(request.fields.at[1].usual);
            if (single[0] != '0' + HTTP_MORE) /* else more follows than there was */
                assert_string_equal(single, vectors);
            free(exact);
            free(longer);
        }
    }
}

static void upswaps_own_cookies_are_taken_off_and_others_stay(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *kept;
    } rows[] = {
        {"Cookie: us=1\r\n", ""},
        {"Cookie: a=1; us=2;b=3\r\n", "Cookie: a=1; b=3\r\n"},
        {"Cookie: us=1; us=2; a=3; us=4; pin=5\r\n", "Cookie: a=3\r\n"},
        {"Cookie: pin=1\r\nCookie: a=\"x y\"\r\n", "Cookie: a=\"x y\"\r\n"},
        {"Cookie: US=1; usa=2; us; =us\r\n", "Cookie: US=1; usa=2; us; =us\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char head[200], wanted[600];
        struct http_forward how = stranger;
        how.hidden[0] = STR("us");
        how.hidden[1] = STR("pin");
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", rows[i].lines);
        snprintf(wanted, sizeof wanted, "GET / HTTP/1.1\r\nHost: h\r\n%s" ADDED("h"), rows[i].kept);
        assert_string_equal(forward(head, how), wanted);
    }
}

static void the_matched_prefix_is_taken_off(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        uint32_t strip;
        const char *line;
    } rows[] = {
        {"/app/x?y", 4, "GET /x?y HTTP/1.1\r\n"}, {"/app/", 4, "GET / HTTP/1.1\r\n"},
        {"/app", 4, "GET / HTTP/1.1\r\n"},        {"/app?y", 4, "GET /?y HTTP/1.1\r\n"},
        {"/app", 0, "GET /app HTTP/1.1\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char head[100];
        struct http_forward how = stranger;
        how.strip = rows[i].strip;
        snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", rows[i].target);
        assert_memory_equal(forward(head, how), rows[i].line, strlen(rows[i].line));
    }
}

static void an_absolute_form_becomes_origin_form_with_its_host(void **state)
{
    (void)state;
    assert_string_equal(forward("GET http://real:81/p?q HTTP/1.1\r\nHost: other\r\n\r\n", stranger),
                        "GET /p?q HTTP/1.1\r\nHost: real:81\r\n" ADDED("real:81"));
    assert_string_equal(forward("OPTIONS http://real HTTP/1.1\r\nHost: other\r\n\r\n", stranger),
                        "OPTIONS * HTTP/1.1\r\nHost: real\r\n" ADDED("real"));
    assert_string_equal(forward("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", stranger),
                        "OPTIONS * HTTP/1.1\r\nHost: h\r\n" ADDED("h"));
}

static void hop_by_hop_fields_do_not_pass(void **state)
{
    (void)state;
    assert_string_equal(
        forward("GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
                "Proxy-Connection: close\r\nProxy-Authorization: b\r\nTE: gzip\r\nUpgrade: websocket\r\n"
                "HTTP2-Settings: x\r\nTrailer: X\r\nX-Upswap: x\r\nX-End: 1\r\n\r\n",
                stranger),
        "GET / HTTP/1.1\r\nHost: h\r\nX-End: 1\r\n" ADDED("h"));
}

static void framing_passes_as_it_came(void **state)
{
    (void)state;
    assert_string_equal(forward("GET / HTTP/1.1\r\nContent-Length: 5\r\nHost: h\r\n\r\n", stranger),
                        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n" ADDED("h"));
    assert_string_equal(
        forward("POST / HTTP/1.1\r\nHost: h\r\nTRANSFER-encoding: Chunked\r\nTrailer: X\r\n\r\n", stranger),
        "POST / HTTP/1.1\r\nHost: h\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n" ADDED("h"));
}

static void expect_upgrade_te_and_close_are_passed_on(void **state)
{
    (void)state;
    struct http_forward closing = stranger;
    closing.keep_alive = false;
    assert_string_equal(
        forward("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", stranger),
        "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n" ADDED("h"));
    assert_string_equal(
        forward("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", stranger),
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n" ADDED("h"));
    assert_string_equal(
        forward("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers, gzip\r\nConnection: TE\r\n\r\n", stranger),
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: TE\r\nTE: trailers\r\n" ADDED("h"));
    assert_string_equal(forward("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n", closing),
                        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, TE\r\nTE: trailers\r\n" ADDED("h"));
    assert_string_equal(forward("GET / HTTP/1.1\r\nHost: h\r\n\r\n", closing),
                        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" ADDED("h"));
}

/* RFC 9110 section 10.1.1: it must be ignored, and the instance would take it for HTTP/1.1's. */
static void an_expectation_of_http_1_0_does_not_pass(void **state)
{
    (void)state;
    assert_null(strstr(
        forward("POST / HTTP/1.0\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n", stranger),
        "Expect"));
    assert_non_null(strstr(forward("GET / HTTP/1.0\r\nHost: h\r\nExpect: 200-ok\r\n\r\n", stranger),
                           "\r\nExpect: 200-ok\r\n"));
}

static void nothing_that_a_stranger_says_of_the_client_passes(void **state)
{
    (void)state;
    assert_string_equal(
        forward("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\n"
                "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n"
                "X-Request-Id: evil\r\nForwarded: for=1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\n"
                "X-Forwarded_Proto: https\r\nx_request_id: evil\r\nContent_Length: 3\r\n"
                "Transfer_Encoding: chunked\r\nMy_Own: 1\r\n"
                "Connection: X-Forwarded-For, X-Forwarded-Proto, X-Request-Id, Via, Host\r\n\r\n",
                stranger),
        "GET / HTTP/1.1\r\nHost: h\r\nMy_Own: 1\r\n" ADDED("h"));
}

static void what_a_trusted_peer_says_of_the_client_is_kept(void **state)
{
    (void)state;
    struct http_forward trusted = stranger;
    trusted.trusted = true;
    assert_string_equal(
        forward(
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-For: 3.3.3.3\r\n"
            "X-Forwarded-For:\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: site\r\n"
            "X-Forwarded-Port: 443\r\nX-Request-Id: theirs\r\nForwarded: for=1.1.1.1\r\nVia: 1.0 a\r\n"
            "Via: 1.1 b\r\nX_Forwarded_For: 4.4.4.4\r\n\r\n",
            trusted),
        "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: site\r\n"
        "X-Forwarded-Port: 443\r\nForwarded: for=1.1.1.1\r\n"
        "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 9.9.9.9\r\nX-Request-Id: theirs\r\n"
        "Via: 1.0 a, 1.1 b, 1.1 upswap\r\n\r\n");
    assert_string_equal(forward("GET / HTTP/1.1\r\nHost: h\r\n\r\n", trusted),
                        "GET / HTTP/1.1\r\nHost: h\r\n" ADDED("h"));
}

static void a_request_id_is_taken_over_only_if_it_is_sane(void **state)
{
    (void)state;
    struct http_forward trusted = stranger;
    trusted.trusted = true;
    char head[400], id[130];
    memset(id, 'i', sizeof id);
    const struct {
        const char *line;
        bool kept;
    } rows[] = {
        {"X-Request-Id: a~!", true},
        {"X-Request-Id: a b", false},
        {"X-Request-Id:", false},
        {"X-Request-Id: \xc3\xa4", false},
        {"X-Request-Id: a\r\nX-Request-Id: a", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", rows[i].line);
        parse_request(head);
        assert_int_equal(!str_equal(http_forward_request_id(&request, &trusted), STR("new-id")),
                         rows[i].kept);
        assert_str_equal(http_forward_request_id(&request, &stranger), "new-id");
    }
    for (int n = 128; n <= 129; n++) {
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: %.*s\r\n\r\n", n, id);
        parse_request(head);
        assert_int_equal(http_forward_request_id(&request, &trusted).n, n == 128 ? 128 : 6);
    }
}

static void an_old_client_is_told_of_in_via(void **state)
{
    (void)state;
    assert_string_equal(forward("GET / HTTP/1.0\r\n\r\n", stranger),
                        "GET / HTTP/1.1\r\nHost: \r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: http\r\n"
                        "X-Forwarded-Port: 8080\r\nX-Request-Id: new-id\r\nVia: 1.0 upswap\r\n\r\n");
}

/* Heads for the properties below: whatever shape a line can have. */
static const char *const shapes[] = {
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST /a?b HTTP/1.1\r\nHost:h\r\nA:b\r\nC:\r\nD:  e  \r\nContent-Length: 3\r\n\r\n",
    "PUT http://h/?x HTTP/1.1\r\nHost: i\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nA: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade, a\r\nUpgrade: x\r\nA: b\r\nB: c\r\n\r\n",
    "GET / HTTP/1.0\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nA:b\r\nVia:x\r\nVia:y\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nX-Forwarded-For:1\r\nX-Forwarded-For:2\r\nX-Request-Id: q\r\nHost: h\r\n\r\n",
};

/* The same fields in the same order, save those that only one of the two has. */
static void assert_lines_survive(const struct http_fields *before, const struct http_fields *after)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < before->count; i++) {
        if (before->at[i].id != HTTP_FIELD_OTHER || before->at[i].listed)
            continue;
        while (next < after->count && !str_equal(after->at[next].name, before->at[i].name))
            next++;
        assert_true(next < after->count);
        assert_true(str_equal(after->at[next++].value, before->at[i].value));
    }
}

static void a_forwarded_request_reads_as_the_one_that_came(void **state)
{
    (void)state;
    static struct http_request again;
    static const struct http_limits wide = {.head = 8192, .fields = 64};
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
        struct http_forward how = stranger;
        struct http_fault fault;
        size_t seen = 0;
        how.trusted = i % 2;
        const char *text = forward(shapes[i / 2], how);
        if (request.authority.n == 0)
            continue;
        assert_int_equal(http_request_parse(&again, text, strlen(text), &seen, &wide, &fault), HTTP_DONE);
        assert_int_equal(again.length, strlen(text));
        assert_int_equal(again.method, request.method);
        assert_true(str_equal(again.path, request.path));
        assert_true(str_equal(again.query, request.query));
        assert_true(str_equal(again.authority, request.authority));
        assert_int_equal(again.framing, request.framing);
        assert_int_equal(again.content_length, request.content_length);
        assert_int_equal(again.upgrade, request.upgrade);
        assert_int_equal(again.te_trailers, request.te_trailers);
        assert_true(again.keep_alive);
        assert_lines_survive(&request.fields, &again.fields);
    }
}

static void a_forwarded_request_fits_in_the_promised_room_and_in_no_less_than_it_needs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct http_forward how = stranger;
        how.keep_alive = false;
        size_t need = strlen(forward(shapes[i], how));
        how.framing = request.framing;
        assert_true(need <= request.length + HTTP_FORWARD_EXTRA + how.client.n + how.proto.n + how.port.n +
                                how.request_id.n + 2 * request.authority.n);
        assert_int_equal(http_forward_request(&request, &how, out, need), need);
        for (size_t room = 0; room < need; room++)
            assert_int_equal(http_forward_request(&request, &how, out, room), 0);
    }
}

static void the_most_lines_without_space_still_fit(void **state)
{
    (void)state;
    static char head[4 * HTTP_FIELDS_MAX + 100] = "GET / HTTP/1.1\r\nHost:h\r\nTE:trailers\r\n";
    static const struct http_limits wide = {.head = 8192, .fields = HTTP_FIELDS_MAX + 1};
    struct http_forward how = stranger;
    struct http_fault fault;
    size_t seen = 0;
    size_t n = strlen(head);
    for (int i = 2; i < HTTP_FIELDS_MAX; i++)
        n += (size_t)sprintf(head + n, "A:\r\n");
    memcpy(head + n, "\r\n", 3);
    assert_int_equal(http_request_parse(&request, head, n + 2, &seen, &wide, &fault), HTTP_DONE);
    assert_int_equal(request.fields.count, HTTP_FIELDS_MAX);
    how.keep_alive = false;
    size_t length = http_forward_request(&request, &how, out, sizeof out);
    assert_in_range(length, 1,
                    request.length + HTTP_FORWARD_EXTRA + how.client.n + how.proto.n + how.port.n +
                        how.request_id.n + 2 * request.authority.n);
    memcpy(head + n, "A:\r\n\r\n", 7);
    seen = 0;
    assert_int_equal(http_request_parse(&request, head, n + 6, &seen, &wide, &fault), HTTP_BAD);
    assert_string_equal(fault.reason, "too-many-fields");
}

static const struct http_return kept = {
    .client_minor = 1,
    .keep_alive = true,
    .date = {"DATE", 4},
};

static const char *give_back(const char *head, enum http_method method, struct http_return how)
{
    struct http_fault fault;
    size_t seen = 0;
    assert_int_equal(http_response_parse(&response, method, head, strlen(head), &seen, &feed_limits, &fault),
                     HTTP_DONE);
    if (how.framing == HTTP_BODY_NONE)
        how.framing = response.framing;
    size_t n = http_forward_response(&response, &how, out, sizeof out - 1);
    assert_in_range(n, 1, response.length + HTTP_FORWARD_EXTRA);
    assert_int_equal(http_forward_response(&response, &how, out, n - 1), 0);
    assert_int_equal(http_forward_response(&response, &how, out, n), n);
    out[n] = '\0';
    return out;
}

static void a_response_keeps_its_lines_and_gets_a_date(void **state)
{
    (void)state;
    assert_string_equal(
        give_back("HTTP/1.1 200 Fine\r\nServer: s\r\nX:y\r\nContent-Length: 5\r\n\r\n", HTTP_GET, kept),
        "HTTP/1.1 200 Fine\r\nServer: s\r\nX: y\r\nContent-Length: 5\r\nDate: DATE\r\n\r\n");
    assert_string_equal(
        give_back("HTTP/1.0 404\r\nDate: theirs\r\nContent-Length: 0\r\n\r\n", HTTP_GET, kept),
        "HTTP/1.1 404 \r\nDate: theirs\r\nContent-Length: 0\r\n\r\n");
}

static void what_only_upswap_says_and_hop_by_hop_fields_do_not_come_back(void **state)
{
    (void)state;
    assert_string_equal(
        give_back(
            "HTTP/1.1 200 OK\r\nX-Upswap: lie\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\n"
            "Proxy-Authenticate: x\r\nProxy-Authentication-Info: x\r\nUpgrade: x\r\nTrailer: x\r\n"
            "Date: d\r\nContent-Length: 1\r\nSet-Cookie: a_b\r\nX_Forwarded_For: y\r\n\r\n",
            HTTP_GET, kept),
        "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 1\r\nSet-Cookie: a_b\r\nX_Forwarded_For: y\r\n\r\n");
}

static void the_framing_is_the_one_that_goes_out(void **state)
{
    (void)state;
    struct http_return how = kept;
    assert_string_equal(
        give_back("HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n", HTTP_GET,
                  how),
        "HTTP/1.1 200 OK\r\nDate: d\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    how.framing = HTTP_BODY_CHUNKED;
    assert_string_equal(give_back("HTTP/1.1 200 OK\r\nDate: d\r\n\r\n", HTTP_GET, how),
                        "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n");
    how.framing = HTTP_BODY_CLOSE;
    how.keep_alive = false;
    assert_string_equal(
        give_back("HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_GET, how),
        "HTTP/1.1 200 OK\r\nDate: d\r\nConnection: close\r\n\r\n");
}

static void answers_without_body_keep_the_length_only_where_it_means_something(void **state)
{
    (void)state;
    assert_string_equal(give_back("HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 5\r\n\r\n", HTTP_HEAD, kept),
                        "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 5\r\n\r\n");
    assert_string_equal(
        give_back("HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_HEAD, kept),
        "HTTP/1.1 200 OK\r\nDate: d\r\n\r\n");
    assert_string_equal(give_back("HTTP/1.1 304 N\r\nDate: d\r\nContent-Length: 5\r\n\r\n", HTTP_GET, kept),
                        "HTTP/1.1 304 N\r\nDate: d\r\nContent-Length: 5\r\n\r\n");
    assert_string_equal(give_back("HTTP/1.1 204 N\r\nDate: d\r\nContent-Length: 0\r\n\r\n", HTTP_GET, kept),
                        "HTTP/1.1 204 N\r\nDate: d\r\n\r\n");
    assert_string_equal(give_back("HTTP/1.1 103 E\r\nLink: x\r\nContent-Length: 0\r\n\r\n", HTTP_GET, kept),
                        "HTTP/1.1 103 E\r\nLink: x\r\n\r\n");
}

static void switching_protocols_and_426_keep_upgrade(void **state)
{
    (void)state;
    assert_string_equal(
        give_back(
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            HTTP_GET, kept),
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\nConnection: upgrade\r\n\r\n");
    struct http_return closing = kept;
    closing.keep_alive = false;
    assert_string_equal(
        give_back("HTTP/1.1 426 U\r\nUpgrade: x\r\nDate: d\r\nContent-Length: 0\r\n\r\n", HTTP_GET, closing),
        "HTTP/1.1 426 U\r\nUpgrade: x\r\nDate: d\r\nContent-Length: 0\r\n"
        "Connection: close, upgrade\r\n\r\n");
}

static void an_old_client_is_told_that_the_connection_stays(void **state)
{
    (void)state;
    struct http_return old = kept;
    old.client_minor = 0;
    assert_string_equal(give_back("HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 1\r\n\r\n", HTTP_GET, old),
                        "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n");
}

static void the_request_id_replaces_the_upstreams(void **state)
{
    (void)state;
    struct http_return how = kept;
    const char *head = "HTTP/1.1 200 OK\r\nDate: d\r\nX-Request-Id: theirs\r\nContent-Length: 1\r\n\r\n";
    assert_string_equal(give_back(head, HTTP_GET, how), head);
    how.request_id = STR("ours");
    assert_string_equal(give_back(head, HTTP_GET, how),
                        "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 1\r\nX-Request-Id: ours\r\n\r\n");
}

static void only_trailers_that_may_pass_are_written(void **state)
{
    (void)state;
    static struct http_fields fields;
    struct http_fault fault;
    struct str text =
        STR("A:b\r\nHost: x\r\nC: d\r\nX_Forwarded_For: 1\r\nClient-Cert: :MIIB:\r\nE: f\r\nTE: x\r\n");
    assert_int_equal(http_trailers_parse(&fields, text, &feed_limits, &fault), HTTP_DONE);
    size_t n = http_forward_trailers(&fields, STR(""), true, out, sizeof out);
    assert_str_equal(((struct str){out, n}), "A: b\r\nC: d\r\nE: f\r\n");
    assert_int_equal(http_forward_trailers(&fields, STR(""), true, out, n), n);
    assert_int_equal(http_forward_trailers(&fields, STR(""), true, out, n - 1), 0);
}

/* Nor a trusted peer: RFC 9440 section 2.4 wants them gone at every end of TLS. */
static void nobody_says_which_certificate_a_client_has(void **state)
{
    (void)state;
    struct http_forward trusted = stranger;
    trusted.trusted = true;
    static const char lies[] =
        "GET / HTTP/1.1\r\nHost: h\r\nClient-Cert: :MIIB:\r\nCLIENT-CERT-CHAIN: :MIIB:\r\n"
        "Client_Cert: :MIIB:\r\nclient-cert_chain: :MIIB:\r\nClient-Certs: 1\r\n"
        "X-Client-Verify: SUCCESS\r\nX_Client_Subject: CN=a\r\n"
        "Connection: Client-Cert\r\n\r\n";
    assert_string_equal(forward(lies, stranger),
                        "GET / HTTP/1.1\r\nHost: h\r\nClient-Certs: 1\r\n" ADDED("h"));
    assert_string_equal(forward(lies, trusted),
                        "GET / HTTP/1.1\r\nHost: h\r\nClient-Certs: 1\r\n" ADDED("h"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_keeps_its_lines_and_gets_upswaps),
        cmocka_unit_test(whether_vectors_have_read_a_line_is_not_to_be_seen),
        cmocka_unit_test(upswaps_own_cookies_are_taken_off_and_others_stay),
        cmocka_unit_test(the_matched_prefix_is_taken_off),
        cmocka_unit_test(an_absolute_form_becomes_origin_form_with_its_host),
        cmocka_unit_test(hop_by_hop_fields_do_not_pass),
        cmocka_unit_test(framing_passes_as_it_came),
        cmocka_unit_test(expect_upgrade_te_and_close_are_passed_on),
        cmocka_unit_test(an_expectation_of_http_1_0_does_not_pass),
        cmocka_unit_test(nothing_that_a_stranger_says_of_the_client_passes),
        cmocka_unit_test(nobody_says_which_certificate_a_client_has),
        cmocka_unit_test(what_a_trusted_peer_says_of_the_client_is_kept),
        cmocka_unit_test(a_request_id_is_taken_over_only_if_it_is_sane),
        cmocka_unit_test(an_old_client_is_told_of_in_via),
        cmocka_unit_test(a_forwarded_request_reads_as_the_one_that_came),
        cmocka_unit_test(a_forwarded_request_fits_in_the_promised_room_and_in_no_less_than_it_needs),
        cmocka_unit_test(the_most_lines_without_space_still_fit),
        cmocka_unit_test(a_response_keeps_its_lines_and_gets_a_date),
        cmocka_unit_test(what_only_upswap_says_and_hop_by_hop_fields_do_not_come_back),
        cmocka_unit_test(the_framing_is_the_one_that_goes_out),
        cmocka_unit_test(answers_without_body_keep_the_length_only_where_it_means_something),
        cmocka_unit_test(switching_protocols_and_426_keep_upgrade),
        cmocka_unit_test(an_old_client_is_told_that_the_connection_stays),
        cmocka_unit_test(the_request_id_replaces_the_upstreams),
        cmocka_unit_test(only_trailers_that_may_pass_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
