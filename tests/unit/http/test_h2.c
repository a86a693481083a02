#include "http/h2_list.h"
#include "http/h2_text.h"

#include "unit.h"
#include <stdio.h>
#include <stdlib.h>

#define LINES_MAX 16

static char bytes[8192], out[8192], names[8192];
static struct http_request request;
static struct h2_answer answer;
static struct h2_list list;

/* A block from lines "name=value|name=value"; '~' stands for a byte that no value may hold. */
static struct h2_block block_of(const char *text)
{
    struct h2_block block = {.bytes = bytes, .room = sizeof bytes};
    struct str rest = str_of(text), line;
    while (str_split(&rest, '|', &line)) {
        const char *equals = memchr(line.p + 1, '=', line.n - 1);
        assert_non_null(equals);
        struct str name = {line.p, (size_t)(equals - line.p)};
        struct str value = {equals + 1, line.n - name.n - 1};
        assert_true(h2_block_add(&block, name, value));
    }
    return block;
}

static const char *text_of(const char *fields, struct h2_text *how)
{
    struct h2_block block = block_of(fields);
    size_t n = h2_text_request(&block, how, out, sizeof out - 1);
    out[n] = '\0';
    return out;
}

static const char *response_of(const char *fields, struct h2_text *how)
{
    struct h2_block block = block_of(fields);
    size_t n = h2_text_response(&block, how, out, sizeof out - 1);
    out[n] = '\0';
    return out;
}

#define GET ":method=GET|:scheme=https|:authority=h|:path=/"

static void a_request_becomes_a_head(void **state)
{
    (void)state;
    struct h2_text how = {.ended = true};
    assert_string_equal(
        text_of(":method=GET|:scheme=https|:path=/a?b|:authority=h:1|x-y=z|te=trailers", &how),
        "GET /a?b HTTP/1.1\r\nhost: h:1\r\nx-y: z\r\nte: trailers\r\n\r\n");
    assert_int_equal(how.framing, HTTP_BODY_NONE);
}

static void a_body_has_its_length_or_is_chunked(void **state)
{
    (void)state;
    struct h2_text how = {.ended = false};
    assert_non_null(strstr(text_of(GET "|content-length=5", &how), "content-length: 5\r\n"));
    assert_int_equal(how.framing, HTTP_BODY_LENGTH);
    assert_null(strstr(out, "chunked"));
    assert_non_null(strstr(text_of(GET, &how), "transfer-encoding: chunked\r\n"));
    assert_int_equal(how.framing, HTTP_BODY_CHUNKED);
}

static void a_body_with_a_length_is_chunked_where_trailers_are_announced(void **state)
{
    (void)state;
    struct h2_text how = {.ended = false};
    const char *text = text_of(GET "|content-length=5|trailer=x-sum", &how);
    assert_non_null(strstr(text, "trailer: x-sum\r\ntransfer-encoding: chunked\r\n"));
    assert_null(strstr(text, "content-length"));
    assert_int_equal(how.framing, HTTP_BODY_CHUNKED);
    assert_true(how.measured);
    assert_int_equal(how.length, 5);
    text = response_of(":status=200|trailer=x-sum|content-length=7", &how);
    assert_string_equal(text, "HTTP/1.1 200 \r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_true(how.measured);
    assert_int_equal(how.length, 7);
    how.head = true;
    assert_non_null(strstr(response_of(":status=200|trailer=x-sum|content-length=7", &how), "length: 7"));
    assert_false(how.measured);
    how = (struct h2_text){.ended = true};
    assert_non_null(strstr(text_of(GET "|content-length=0|trailer=x-sum", &how), "content-length: 0"));
}

static void cookies_are_one_line(void **state)
{
    (void)state;
    struct h2_text how = {.ended = true};
    assert_string_equal(text_of(GET "|cookie=a=b|x=y|cookie=c=d", &how),
                        "GET / HTTP/1.1\r\nhost: h\r\nx: y\r\ncookie: a=b; c=d\r\n\r\n");
}

static void host_stands_in_for_a_missing_authority(void **state)
{
    (void)state;
    struct h2_text how = {.ended = true};
    const char *expected = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    assert_string_equal(text_of(":method=GET|:scheme=http|:path=/|host=h", &how), expected);
    assert_string_equal(text_of(GET "|host=h", &how), expected);
}

static void a_malformed_request_gives_no_text(void **state)
{
    (void)state;
    static const char *const rows[] = {
        ":scheme=http|:authority=h|:path=/",
        ":method=GET|:authority=h|:path=/",
        ":method=GET|:scheme=http|:authority=h",
        GET "|:path=/",
        GET "|:other=x",
        GET "|:status=200",
        GET "|:protocol=websocket",
        "x=y|" GET,
        ":method=GET|x=y|:scheme=http|:authority=h|:path=/",
        ":method=GET|:scheme=http|:authority=h|:path=",
        ":method=GET|:scheme=http|:authority=h|:path=a",
        ":method=GET|:scheme=http|:authority=h|:path=*",
        ":method=GET|:scheme=http|:authority=h|:path=http://h/",
        ":method=GET|:scheme=http|:authority=h|:path=/a b",
        ":method=GET|:scheme=http|:authority=h|:path=/ HTTP/1.1\r\nx: y",
        ":method=GET|:scheme=http|:authority=|:path=/",
        ":method=GET|:scheme=http|:authority=h\r\nx: y|:path=/",
        ":method=GET|:scheme=ftp|:authority=h|:path=/",
        ":method=|:scheme=http|:authority=h|:path=/",
        ":method=G T|:scheme=http|:authority=h|:path=/",
        ":method=GET / HTTP/1.1\r\n|:scheme=http|:authority=h|:path=/",
        GET "|host=other",
        GET "|host=h|host=h",
        GET "|X=y",
        GET "|x y=z",
        GET "|x:=z",
        GET "|x\r\ny=z",
        GET "|x=y\nz: w",
        GET "|x=y\rz",
        GET "|x= y",
        GET "|x=y\t",
        GET "|x=\x01",
        GET "|connection=close",
        GET "|keep-alive=5",
        GET "|proxy-connection=close",
        GET "|transfer-encoding=chunked",
        GET "|upgrade=websocket",
        GET "|te=gzip",
        GET "|te=trailers, gzip",
        GET "|content-length=5|content-length=5",
        GET "|content-length=+5",
        GET "|content-length=5, 5",
        ":method=CONNECT|:scheme=http|:authority=h:1|:path=/",
        ":method=CONNECT|:authority=h:1|:path=/",
        ":method=CONNECT|:authority=h:1|:protocol=websocket",
        ":method=CONNECT",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct h2_text how = {.ended = true, .websocket = STR("key")};
        if (*text_of(rows[i], &how) != '\0')
            fail_msg("%s: %s", rows[i], out);
    }
}

static void a_nul_and_an_empty_name_are_malformed(void **state)
{
    (void)state;
    static const struct {
        struct str name, value;
    } rows[] = {{{"x", 1}, {"a\0b", 3}}, {{"", 0}, {"a", 1}}, {{"a\0b", 3}, {"c", 1}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct h2_text how = {.ended = true};
        struct h2_block block = block_of(GET);
        assert_true(h2_block_add(&block, rows[i].name, rows[i].value));
        assert_int_equal(h2_text_request(&block, &how, out, sizeof out), 0);
    }
}

static void connect_is_left_to_be_refused(void **state)
{
    (void)state;
    struct h2_text how = {.websocket = STR("key")};
    assert_non_null(strstr(text_of(":method=CONNECT|:authority=h:1", &how), "CONNECT h:1 HTTP/1.1\r\n"));
    assert_false(how.tunnel);
    assert_non_null(
        strstr(text_of(":method=CONNECT|:protocol=other|:scheme=http|:authority=h:1|:path=/a", &how),
               "CONNECT h:1 HTTP/1.1\r\n"));
    assert_false(how.tunnel);
}

static void an_extended_connect_becomes_an_upgrade(void **state)
{
    (void)state;
    struct h2_text how = {.websocket = STR("key")};
    assert_string_equal(
        text_of(":method=CONNECT|:protocol=websocket|:scheme=https|:path=/chat|:authority=h|sec-"
                "websocket-version=13|sec-websocket-key=evil|content-length=3",
                &how),
        "GET /chat HTTP/1.1\r\nhost: h\r\nsec-websocket-version: 13\r\nconnection: "
        "upgrade\r\nupgrade: websocket\r\nsec-websocket-key: key\r\n\r\n");
    assert_true(how.tunnel);
    how.ended = true;
    assert_string_equal(
        text_of(":method=CONNECT|:protocol=websocket|:scheme=https|:path=/|:authority=h", &how), "");
}

static void a_response_becomes_a_head(void **state)
{
    (void)state;
    struct h2_text how = {.ended = false};
    assert_string_equal(response_of(":status=200|server=s|set-cookie=a|set-cookie=b", &how),
                        "HTTP/1.1 200 \r\nserver: s\r\nset-cookie: a\r\nset-cookie: "
                        "b\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_int_equal(how.framing, HTTP_BODY_CHUNKED);
    assert_string_equal(response_of(":status=103|link=l", &how), "HTTP/1.1 103 \r\nlink: l\r\n\r\n");
    how.ended = true;
    assert_string_equal(response_of(":status=200|grpc-status=5", &how),
                        "HTTP/1.1 200 \r\ngrpc-status: 5\r\ncontent-length: 0\r\n\r\n");
    assert_string_equal(response_of(":status=304|etag=e", &how), "HTTP/1.1 304 \r\netag: e\r\n\r\n");
    how.head = true;
    assert_string_equal(response_of(":status=200|content-length=7", &how),
                        "HTTP/1.1 200 \r\ncontent-length: 7\r\n\r\n");
    assert_int_equal(how.framing, HTTP_BODY_NONE);
}

static void an_accepted_extended_connect_becomes_a_101(void **state)
{
    (void)state;
    struct h2_text how = {.websocket = STR("accept")};
    assert_string_equal(response_of(":status=200|sec-websocket-protocol=p", &how),
                        "HTTP/1.1 101 \r\nsec-websocket-protocol: p\r\nconnection: upgrade\r\nupgrade: "
                        "websocket\r\nsec-websocket-accept: accept\r\n\r\n");
    assert_true(how.tunnel);
    how.ended = true;
    assert_non_null(strstr(response_of(":status=403", &how), "HTTP/1.1 403 \r\n"));
    assert_false(how.tunnel);
}

static void a_malformed_response_gives_no_text(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "x=y",
        ":status=20",
        ":status=2000",
        ":status=101",
        ":status=abc",
        ":status=600",
        ":status=099",
        ":path=/",
        ":status=200|:status=200",
        ":status=200|:method=GET",
        "x=y|:status=200",
        ":status=200|connection=close",
        ":status=200|transfer-encoding=chunked",
        ":status=200|x=a\r\nb: c",
        ":status=200|content-length=x",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct h2_text how = {.ended = false};
        if (*response_of(rows[i], &how) != '\0')
            fail_msg("%s: %s", rows[i], out);
    }
    struct h2_text how = {.ended = true};
    assert_string_equal(response_of(":status=100", &how), "");
}

static void trailers_are_field_lines(void **state)
{
    (void)state;
    struct h2_block block = block_of("grpc-status=0|grpc-message=");
    size_t n = h2_text_trailers(&block, out, sizeof out - 1);
    out[n] = '\0';
    assert_string_equal(out, "grpc-status: 0\r\ngrpc-message: \r\n\r\n");
    block = block_of("a=b|:status=200");
    assert_int_equal(h2_text_trailers(&block, out, sizeof out), 0);
    block = block_of("transfer-encoding=chunked");
    assert_int_equal(h2_text_trailers(&block, out, sizeof out), 0);
}

static void a_text_that_does_not_fit_is_none(void **state)
{
    (void)state;
    struct h2_block block = block_of(GET "|x=yyyyyyyyyyyyyyyy");
    struct h2_text how = {.ended = true};
    size_t n = h2_text_request(&block, &how, out, sizeof out);
    assert_true(n > 0 && n <= block.size + H2_TEXT_EXTRA);
    for (size_t room = 0; room < n; room++)
        assert_int_equal(h2_text_request(&block, &how, out, room), 0);
    assert_int_equal(h2_text_request(&block, &how, out, n), n);
}

static void a_block_takes_no_more_than_its_room(void **state)
{
    (void)state;
    struct h2_block block = {.bytes = bytes, .room = 20};
    assert_true(h2_block_add(&block, STR("a"), STR("b")));
    assert_false(h2_block_add(&block, STR("a"), STR("bc")));
    assert_true(h2_block_add(&block, STR("a"), STR("b")) && block.size == 20);
}

/* ---- lists ---- */

static void expect_list(const char *text)
{
    char made[4096];
    size_t n = 0;
    for (size_t i = 0; i < list.count; i++) {
        const struct h2_pair *pair = &list.at[i];
        n += (size_t)sprintf(made + n, "%.*s=%.*s|", STR_ARG(pair->name), STR_ARG(pair->value));
    }
    made[n] = '\0';
    assert_string_equal(made, text);
}

static const struct http_limits limits = {.head = 4096, .fields = 32};

static void read_request(const char *head)
{
    size_t seen = 0;
    struct http_fault fault;
    assert_int_equal(http_request_parse(&request, head, strlen(head), &seen, &limits, &fault), HTTP_DONE);
    list.names = names;
}

/* What stands behind the head is not looked at. */
static void read_response(const char *head)
{
    static char bytes_of[8192];
    size_t n = (size_t)sprintf(bytes_of, "%s", head);
    memcpy(bytes_of + n, "A: B\r\n\r\n", 8);
    list.names = names;
    assert_int_equal(h2_list_response(&list, &answer, false, bytes_of, n + 8), n);
}

static void a_request_becomes_a_list(void **state)
{
    (void)state;
    read_request("POST /a?b HTTP/1.1\r\nHost: h:1\r\nX-Y: Z\r\nConnection: TE, keep-alive\r\nTE: trailers\r\n"
                 "Transfer-Encoding: chunked\r\nKeep-Alive: 5\r\n\r\n");
    h2_list_request(&list, &request, STR("http"), false);
    expect_list(":method=POST|:scheme=http|:authority=h:1|:path=/a?b|x-y=Z|te=trailers|");
}

static void an_upgrade_becomes_an_extended_connect(void **state)
{
    (void)state;
    read_request("GET /chat HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                 "Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n");
    h2_list_request(&list, &request, STR("https"), true);
    expect_list(":method=CONNECT|:scheme=https|:authority=h|:path=/chat|:protocol=websocket|"
                "sec-websocket-version=13|");
}

static void a_response_becomes_a_list(void **state)
{
    (void)state;
    read_response("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nX-A: B\r\nConnection: close\r\n\r\n");
    expect_list(":status=404|content-length=3|x-a=B|");
    read_response("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n"
                  "Sec-WebSocket-Protocol: p\r\n\r\n");
    expect_list(":status=200|sec-websocket-protocol=p|");
}

static void what_a_head_says_of_its_body_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        bool of_head;
        uint16_t status;
        enum http_framing framing;
        uint64_t length;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", false, 200, HTTP_BODY_LENGTH, 12},
        {"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", true, 200, HTTP_BODY_NONE, 12},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, 200, HTTP_BODY_CHUNKED, 0},
        {"HTTP/1.1 200 OK\r\nX: \r\n\r\n", false, 200, HTTP_BODY_CLOSE, 0},
        {"HTTP/1.1 103 \r\n\r\n", false, 103, HTTP_BODY_NONE, 0},
        {"HTTP/1.1 204 No Content\r\n\r\n", false, 204, HTTP_BODY_NONE, 0},
        {"HTTP/1.1 304 \r\nContent-Length: 7\r\n\r\n", false, 304, HTTP_BODY_NONE, 7},
        {"HTTP/1.1 101 \r\nUpgrade: websocket\r\n\r\n", false, 101, HTTP_BODY_CLOSE, 0},
    };
    list.names = names;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].head);
        assert_int_equal(h2_list_response(&list, &answer, cases[i].of_head, cases[i].head, n), n);
        assert_int_equal(answer.status, cases[i].status);
        assert_int_equal(answer.framing, cases[i].framing);
        assert_int_equal(answer.length, cases[i].length);
    }
}

static void a_response_of_which_a_byte_is_missing_becomes_no_list(void **state)
{
    (void)state;
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Y: \r\n\r\n";
    list.names = names;
    for (size_t n = 1; n < sizeof head - 1; n++) {
        char *cut = malloc(n); /* so that a sanitizer sees a look behind it */
        memcpy(cut, head, n);
        assert_int_equal(h2_list_response(&list, &answer, false, cut, n), 0);
        free(cut);
    }
}

/* Of all bytes that a name may have, at each place of the eight that are looked at at once. */
static void a_name_in_a_list_has_small_letters(void **state)
{
    (void)state;
#define OTHERS "!#$%&'*+-.^_`|~0123456789"
#define REST(begin) begin OTHERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz: 1\r\n"
#define SMALL(begin) begin OTHERS "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz=1|"
    read_response("HTTP/1.1 200 OK\r\n" REST("") REST("Z") REST("AZ") REST("aZA") REST("AzAZ") REST("azAZa")
                      REST("AZAZAZ") REST("azazazA") "\r\n");
    expect_list(":status=200|" SMALL("") SMALL("z") SMALL("az") SMALL("aza") SMALL("azaz") SMALL("azaza")
                    SMALL("azazaz") SMALL("azazaza"));
}

static void what_does_not_come_twice_stays_out_of_the_peers_table(void **state)
{
    (void)state;
    read_response("HTTP/1.1 200 OK\r\nServer: s\r\nX-Request-Id: 1\r\nTraceparent: 2\r\n\r\n");
    expect_list(":status=200|server=s|x-request-id=1|traceparent=2|");
    assert_int_equal(list.at[1].how, HPACK_INDEX);
    assert_int_equal(list.at[2].how, HPACK_ONCE);
    assert_int_equal(list.at[3].how, HPACK_ONCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_becomes_a_head),
        cmocka_unit_test(a_body_has_its_length_or_is_chunked),
        cmocka_unit_test(a_body_with_a_length_is_chunked_where_trailers_are_announced),
        cmocka_unit_test(cookies_are_one_line),
        cmocka_unit_test(host_stands_in_for_a_missing_authority),
        cmocka_unit_test(a_malformed_request_gives_no_text),
        cmocka_unit_test(a_nul_and_an_empty_name_are_malformed),
        cmocka_unit_test(connect_is_left_to_be_refused),
        cmocka_unit_test(an_extended_connect_becomes_an_upgrade),
        cmocka_unit_test(a_response_becomes_a_head),
        cmocka_unit_test(an_accepted_extended_connect_becomes_a_101),
        cmocka_unit_test(a_malformed_response_gives_no_text),
        cmocka_unit_test(trailers_are_field_lines),
        cmocka_unit_test(a_text_that_does_not_fit_is_none),
        cmocka_unit_test(a_block_takes_no_more_than_its_room),
        cmocka_unit_test(a_request_becomes_a_list),
        cmocka_unit_test(an_upgrade_becomes_an_extended_connect),
        cmocka_unit_test(a_response_becomes_a_list),
        cmocka_unit_test(what_a_head_says_of_its_body_is_told),
        cmocka_unit_test(a_response_of_which_a_byte_is_missing_becomes_no_list),
        cmocka_unit_test(a_name_in_a_list_has_small_letters),
        cmocka_unit_test(what_does_not_come_twice_stays_out_of_the_peers_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
