/* Ours against llhttp in its strict mode, over heads and bodies that are mutated from a fixed seed: whatever
 * ours accepts, llhttp accepts too, with the same fields, the same framing and the same end. */
#include "http/body.h"

#include "differences.h"
#include "feed.h"
#include "oracle.h"

#include <stdio.h>

enum { ROOM = ORACLE_ROOM / 2, ROUNDS = 150000 };

static struct http_request request;
static struct http_response response;

/* xorshift64*: the same bytes on every machine. */
static uint64_t seed;

static size_t below(size_t limit)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (size_t)((seed * 0x2545f4914f6cdd1d) >> 33) % limit;
}

static char text[ROOM];
static size_t size;

static void splice(size_t at, size_t removed, const char *bytes, size_t n)
{
    if (size - removed + n > ROOM)
        return;
    memmove(text + at + n, text + at + removed, size - at - removed);
    memcpy(text + at, bytes, n);
    size = size - removed + n;
}

static const struct str pieces[] = {
    {" ", 1},
    {"\t", 1},
    {"\r", 1},
    {"\n", 1},
    {"\r\n", 2},
    {"\0", 1},
    {":", 1},
    {",", 1},
    {";", 1},
    {"=", 1},
    {"\"", 1},
    {"\\", 1},
    {"/", 1},
    {"?", 1},
    {"#", 1},
    {"%", 1},
    {"@", 1},
    {"[::1]", 5},
    {"\x7f", 1},
    {"\xff", 1},
    {"0", 1},
    {"1", 1},
    {"a", 1},
    {"ffffffffffffffff", 16},
    {", close", 7},
    {"chunked", 7},
    {"identity", 8},
    {"\r\nContent-Length: 5", 19},
    {"\r\nContent-Length: 0", 19},
    {"\r\nTransfer-Encoding: chunked", 28},
    {"\r\nConnection: close", 19},
    {"\r\nConnection: keep-alive", 24},
    {"\r\nConnection: upgrade", 21},
    {"\r\nUpgrade: x", 12},
    {"\r\nX: y", 6},
    {"\r\n z", 4},
    {"HTTP/1.0", 8},
    {"HTTP/1.1", 8},
};

static void mutate_once(void)
{
    size_t at = below(size + 1);
    struct str piece = pieces[below(sizeof pieces / sizeof *pieces)];
    char other = (char)below(256);
    switch (below(5)) {
    case 0:
        splice(at, 0, piece.p, piece.n);
        break;
    case 1:
        splice(at, at < size, piece.p, piece.n);
        break;
    case 2:
        splice(at, at < size, &other, 1);
        break;
    case 3:
        splice(at, at < size, "", 0);
        break;
    default: {
        /* A piece of the text itself, moved: lines get doubled and swapped. */
        char copy[64];
        size_t n = 1 + below(sizeof copy - 1), from = below(size + 1);
        n = n < size - from ? n : size - from;
        memcpy(copy, text + from, n);
        splice(at, 0, copy, n);
    }
    }
}

static void mutate(const char *start)
{
    size = strlen(start);
    memcpy(text, start, size);
    for (size_t n = below(5); n > 0; n--)
        mutate_once();
}

static struct oracle oracle;

/* llhttp must take these bytes as they are. */
static void ask(bool is_response, const char *bytes, size_t count)
{
    const char *error = oracle_read(&oracle, is_response, bytes, count);
    if (error != NULL)
        fail_msg("llhttp says %s to:\n%.*s", error, (int)count, bytes);
}

static void assert_same_fields(const struct http_fields *fields)
{
    char lines[2 * ORACLE_ROOM];
    size_t n = 0;
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct http_field *field = &fields->at[i];
        n += (size_t)snprintf(lines + n, sizeof lines - n, "%.*s:%.*s\n", STR_ARG(field->name),
                              STR_ARG(field->value));
    }
    assert_int_equal(n, oracle.lines_size);
    assert_memory_equal(lines, oracle.lines, n);
}

/* Fails, telling the text, where the two do not agree. */
static void agree(bool same, const char *about, size_t count)
{
    if (!same)
        fail_msg("llhttp differs about %s in:\n%.*s", about, (int)count, text);
}

/* The head that ours has read must end where llhttp's ends, and announce the same body, save that a response
 * to which none belongs may announce any. Where both keep-alive and close are there ours closes, llhttp may
 * not. */
static void assert_same_head(bool is_response, size_t length, enum http_framing framing,
                             uint64_t content_length, bool keep_alive)
{
    oracle_read(&oracle, is_response, text, length - 1);
    agree(!oracle.headers_complete, "an earlier end", length);
    ask(is_response, text, length);
    agree(oracle.headers_complete, "the end", length);
    bool none = is_response && framing == HTTP_BODY_NONE;
    agree(none || oracle.chunked == (framing == HTTP_BODY_CHUNKED), "chunked", length);
    agree(none || oracle.has_length == (framing == HTTP_BODY_LENGTH), "the length's presence", length);
    agree(framing != HTTP_BODY_LENGTH || oracle.length == content_length, "the length", length);
    agree(oracle.keep_alive || !keep_alive, "keep-alive", length);
}

static void whatever_request_ours_accepts_llhttp_reads_alike(void **state)
{
    (void)state;
    static const char *const starts[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a:80/b?c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
        "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: [::1]:80\r\nConnection: x, close\r\n\r\n",
        "GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\nX: y\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    };
    size_t accepted = 0;
    seed = 20261122;
    for (int round = 0; round < ROUNDS; round++) {
        mutate(starts[below(sizeof starts / sizeof *starts)]);
        size_t seen = 0;
        if (feed_request(&request, text, size, &seen).result != HTTP_DONE || request.method == HTTP_OTHER ||
            is_beyond_oracle(request.target.p + request.target.n + 1, &request.fields))
            continue;
        accepted++;
        assert_same_head(false, request.length, request.framing, request.content_length, request.keep_alive);
        assert_same_fields(&request.fields);
    }
    assert_in_range(accepted, ROUNDS / 5, ROUNDS);
}

static void whatever_response_ours_accepts_llhttp_reads_alike(void **state)
{
    (void)state;
    static const char *const starts[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: a b\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nX: y\r\n\r\n",
    };
    size_t accepted = 0;
    seed = 9112;
    for (int round = 0; round < ROUNDS; round++) {
        mutate(starts[below(sizeof starts / sizeof *starts)]);
        size_t seen = 0;
        if (feed_response(&response, text, size, &seen).result != HTTP_DONE ||
            is_beyond_oracle(text, &response.fields))
            continue;
        accepted++;
        assert_same_head(true, response.length, response.framing, response.content_length,
                         response.keep_alive);
        assert_same_fields(&response.fields);
    }
    assert_in_range(accepted, ROUNDS / 5, ROUNDS);
}

/* Reads the chunked body that stands in the text from `at` on. Returns the bytes of it, or 0 if it is refused
 * or not whole. */
static size_t read_chunked(size_t at, char data[ROOM], size_t *n)
{
    static struct http_fields fields;
    struct http_body body;
    struct http_fault fault;
    struct str span, trailers;
    size_t start = at, used;
    enum http_result result;
    *n = 0;
    http_body_start(&body, HTTP_BODY_CHUNKED, 0);
    do {
        result = http_body_step(&body, text + at, size - at, &feed_limits, &used, &span, &trailers, &fault);
        if (result == HTTP_BAD || framing_is_beyond_oracle(text + at, span.n > 0 ? span.p : trailers.p) ||
            (span.n > 0 &&
             framing_is_beyond_oracle(span.p + span.n, result == HTTP_DONE ? trailers.p : text + at + used)))
            return 0;
        memcpy(data + *n, span.p, span.n);
        *n += span.n;
        at += used;
    } while (result == HTTP_MORE && used > 0);
    if (result != HTTP_DONE || http_trailers_parse(&fields, trailers, &feed_limits, &fault) != HTTP_DONE)
        return 0;
    /* llhttp looks at framing fields in trailers; ours drops them. */
    for (uint32_t i = 0; i < fields.count; i++) {
        if (fields.at[i].listed)
            return 0;
    }
    return at - start;
}

static void whatever_chunked_body_ours_accepts_llhttp_reads_alike(void **state)
{
    (void)state;
    const struct str head = STR("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    static const char *const starts[] = {
        "5\r\nhello\r\n0\r\n\r\n",
        "1;a=b\r\nx\r\nA;c\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
        "00001\r\nx\r\n1;a=\"b,c\"\r\ny\r\n000;e\r\n\r\n",
    };
    size_t accepted = 0;
    seed = 7;
    for (int round = 0; round < ROUNDS; round++) {
        char data[ROOM];
        size_t n;
        mutate(starts[below(sizeof starts / sizeof *starts)]);
        splice(0, 0, head.p, head.n);
        size_t length = size > head.n ? read_chunked(head.n, data, &n) : 0;
        if (length == 0)
            continue;
        accepted++;
        oracle_read(&oracle, false, text, head.n + length - 1);
        agree(!oracle.message_complete, "an earlier end", head.n + length);
        ask(false, text, head.n + length);
        agree(oracle.message_complete, "the end", head.n + length);
        assert_int_equal(oracle.body_size, n);
        assert_memory_equal(oracle.body, data, n);
    }
    assert_in_range(accepted, ROUNDS / 10, ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_request_ours_accepts_llhttp_reads_alike),
        cmocka_unit_test(whatever_response_ours_accepts_llhttp_reads_alike),
        cmocka_unit_test(whatever_chunked_body_ours_accepts_llhttp_reads_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
