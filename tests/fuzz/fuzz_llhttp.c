/* Ours against llhttp in its strict mode: a message that ours accepts llhttp accepts, with the same end, the
 * same start line and fields, the same body, and a connection that is kept or upgraded only where llhttp
 * would do so too; but for the differences of differences.h. What begins as a status line is a response, all
 * else a request. */
#include "fuzz.h"

#include "../unit/http/differences.h"
#include "../unit/http/oracle.h"
#include "http/body.h"
#include "http/request.h"
#include "http/response.h"

#include <stdlib.h>

enum { ROOM = ORACLE_ROOM / 2 };

static const struct http_limits limits = {.head = ROOM, .fields = 64};
static struct oracle oracle;

/* A head that ours has accepted. */
struct head {
    bool response;
    struct str bytes; /* all that has come */
    size_t length;
    const struct http_fields *fields;
    enum http_framing framing;
    uint64_t content_length;
    bool keep_alive, upgrade;
};

static void ask(const struct head *head, size_t count)
{
    char *copy = fuzz_copy(head->bytes.p, count);
    const char *error = oracle_read(&oracle, head->response, copy, count);
    free(copy);
    if (error != NULL)
        fuzz_fail(__FILE__, __LINE__, error);
}

static void check_fields(const struct http_fields *fields)
{
    const char *at = oracle.lines, *end = at + oracle.lines_size;
    for (uint32_t i = 0; i < fields->count; i++) {
        struct str name = fields->at[i].name, value = fields->at[i].value;
        fuzz_check((size_t)(end - at) >= name.n + value.n + 2);
        fuzz_check(memcmp(at, name.p, name.n) == 0 && at[name.n] == ':');
        at += name.n + 1;
        fuzz_check(memcmp(at, value.p, value.n) == 0 && at[value.n] == '\n');
        at += value.n + 1;
    }
    fuzz_check(at == end);
}

/* A response to which no body belongs may announce any. Where both keep-alive and close are said ours
 * closes; what ours does not upgrade it answers as any other request. */
static void check_head(const struct head *head)
{
    bool none = head->response && head->framing == HTTP_BODY_NONE;
    oracle_read(&oracle, head->response, head->bytes.p, head->length - 1);
    fuzz_check(!oracle.headers_complete);
    ask(head, head->length);
    fuzz_check(oracle.headers_complete);
    fuzz_check(none || oracle.chunked == (head->framing == HTTP_BODY_CHUNKED));
    fuzz_check(none || oracle.has_length == (head->framing == HTTP_BODY_LENGTH));
    fuzz_check(head->framing != HTTP_BODY_LENGTH || oracle.length == head->content_length);
    fuzz_check(oracle.keep_alive || !head->keep_alive);
    fuzz_check(oracle.upgrade || !head->upgrade);
    check_fields(head->fields);
}

/* Reads the body. Returns the bytes of it in the message, or 0: it is not whole, or not for llhttp. */
static size_t read_body(const struct head *head, char *data, size_t *n)
{
    static struct http_fields fields;
    struct http_body body;
    struct http_fault fault;
    struct str span, trailers, rest = {head->bytes.p + head->length, head->bytes.n - head->length};
    const char *start = rest.p;
    enum http_result result = HTTP_MORE;
    size_t used = 1;
    http_body_start(&body, head->framing, head->content_length);
    while (result == HTTP_MORE && used > 0) {
        result = http_body_step(&body, rest.p, rest.n, &limits, &used, &span, &trailers, &fault);
        const char *behind = span.n > 0 ? span.p + span.n : rest.p, *end = rest.p + used;
        if (result == HTTP_BAD)
            return 0;
        if (head->framing == HTTP_BODY_CHUNKED &&
            (framing_is_beyond_oracle(rest.p, span.n > 0 ? span.p : rest.p) ||
             framing_is_beyond_oracle(behind, result == HTTP_DONE ? trailers.p : end)))
            return 0;
        memcpy(data + *n, span.p, span.n);
        *n += span.n;
        rest = (struct str){end, rest.n - used};
    }
    if (result != HTTP_DONE)
        return 0;
    if (head->framing != HTTP_BODY_CHUNKED)
        return (size_t)(rest.p - start);
    if (http_trailers_parse(&fields, trailers, &limits, &fault) != HTTP_DONE)
        return 0;
    for (uint32_t i = 0; i < fields.count; i++) {
        if (fields.at[i].listed) /* ours drops it, llhttp looks at framing there */
            return 0;
    }
    return (size_t)(rest.p - start);
}

static void check_body(const struct head *head)
{
    static char data[ROOM];
    size_t n = 0;
    if (oracle.upgrade || head->framing == HTTP_BODY_CLOSE ||
        (head->response && head->framing == HTTP_BODY_NONE))
        return;
    size_t size = read_body(head, data, &n);
    if (size == 0)
        return;
    oracle_read(&oracle, head->response, head->bytes.p, head->length + size - 1);
    fuzz_check(!oracle.message_complete);
    ask(head, head->length + size);
    fuzz_check(oracle.message_complete);
    fuzz_check(oracle.body_size == n && memcmp(oracle.body, data, n) == 0);
}

static void take_request(struct str bytes)
{
    static struct http_request request;
    struct http_fault fault;
    size_t seen = 0;
    if (http_request_parse(&request, bytes.p, bytes.n, &seen, &limits, &fault) != HTTP_DONE ||
        request.method == HTTP_OTHER ||
        is_beyond_oracle(request.target.p + request.target.n + 1, &request.fields))
        return;
    const struct head head = {.bytes = bytes,
                              .length = request.length,
                              .fields = &request.fields,
                              .framing = request.framing,
                              .content_length = request.content_length,
                              .keep_alive = request.keep_alive,
                              .upgrade = request.upgrade};
    check_head(&head);
    fuzz_check(str_equal(str_of(oracle.method), request.method_text));
    fuzz_check(str_equal((struct str){oracle.target, oracle.target_size}, request.target));
    check_body(&head);
}

static void take_response(struct str bytes)
{
    static struct http_response response;
    struct http_fault fault;
    size_t seen = 0;
    if (http_response_parse(&response, HTTP_GET, bytes.p, bytes.n, &seen, &limits, &fault) != HTTP_DONE ||
        is_beyond_oracle(bytes.p, &response.fields))
        return;
    const struct head head = {.response = true,
                              .bytes = bytes,
                              .length = response.length,
                              .fields = &response.fields,
                              .framing = response.framing,
                              .content_length = response.content_length,
                              .keep_alive = response.keep_alive,
                              .upgrade = false};
    check_head(&head);
    fuzz_check(oracle.status == response.status);
    check_body(&head);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct str text = {(const char *)bytes, count < ROOM ? count : ROOM};
    if (str_starts_with(text, STR("HTTP/")))
        take_response(text);
    else if (text.n > 0)
        take_request(text);
    return 0;
}
