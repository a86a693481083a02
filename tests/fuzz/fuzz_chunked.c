/* A chunked body: cut anywhere it gives the same data, the same end and the same trailers, and they are what
 * a plain reading of the grammar (RFC 9112 section 7.1) gives. What was read is read the same when it is
 * written again. */
#include "fuzz.h"

#include "base/buf.h"
#include "http/body.h"
#include "http/forward.h"
#include "http/head.h"

#include <stdlib.h>

enum { TRAILER_MAX = 256, TRAILER_FIELDS_MAX = 8, EXTENSIONS_MAX = 4096, SIZE_DIGITS_MAX = 16 };

static const struct http_limits limits = {.head = TRAILER_MAX, .fields = TRAILER_FIELDS_MAX};

struct body {
    enum http_result result;
    struct buf data;
    size_t length; /* bytes of the message, where it is done */
    struct str trailers;
    struct http_fault fault;
};

/* ---- a plain reading, of the whole ---- */

static size_t blanks(struct str text, size_t at)
{
    while (at < text.n && (text.p[at] == ' ' || text.p[at] == '\t'))
        at++;
    return at;
}

/* Returns where the token ends; `at` where there is none. */
static size_t token(struct str text, size_t at)
{
    while (at < text.n && is_class(text.p[at], CLASS_TOKEN))
        at++;
    return at;
}

/* Where the quoted string ends; 0: it is none. */
static size_t quoted(struct str text, size_t at)
{
    for (at++; at < text.n && text.p[at] != '"'; at++) {
        if (text.p[at] == '\\')
            at++;
        if (at == text.n || !is_class(text.p[at], CLASS_VALUE))
            return 0;
    }
    return at == text.n ? 0 : at + 1;
}

/* chunk-ext, up to the line's end. */
static bool is_extension(struct str text)
{
    size_t at = 0;
    while (at < text.n) {
        size_t name = blanks(text, at);
        if (name == text.n || text.p[name] != ';')
            return false;
        name = blanks(text, name + 1);
        at = token(text, name);
        if (at == name)
            return false;
        size_t equals = blanks(text, at);
        if (equals == text.n || text.p[equals] != '=')
            continue;
        size_t value = blanks(text, equals + 1);
        if (value == text.n)
            return false;
        at = text.p[value] == '"' ? quoted(text, value) : token(text, value);
        if (at == 0 || at == value)
            return false;
    }
    return true;
}

/* A chunk's first line, without its end. */
static bool read_size(struct str line, uint64_t *size, size_t *extensions)
{
    size_t digits = 0;
    *size = 0;
    for (; digits < line.n && is_class(line.p[digits], CLASS_HEX); digits++) {
        if (digits == SIZE_DIGITS_MAX)
            return false;
        *size = *size << 4 | head_hex(line.p[digits]);
    }
    *extensions += line.n - digits;
    return digits > 0 && *extensions <= EXTENSIONS_MAX &&
           is_extension((struct str){line.p + digits, line.n - digits});
}

/* The line at the front, without its CRLF; false: it has not ended. */
static bool next_line(struct str *rest, struct str *line)
{
    const char *end = memmem(rest->p, rest->n, "\r\n", 2);
    if (end == NULL)
        return false;
    *line = (struct str){rest->p, (size_t)(end - rest->p)};
    *rest = (struct str){end + 2, rest->n - line->n - 2};
    return true;
}

/* True: a whole body is at the front. Whatever else is false. */
static bool read_plainly(struct str text, struct body *body)
{
    struct str rest = text, line;
    size_t extensions = 0;
    uint64_t size;
    *body = (struct body){.data = BUF_EMPTY};
    for (;;) {
        if (!next_line(&rest, &line) || !read_size(line, &size, &extensions))
            return false;
        if (size == 0)
            break;
        if (rest.n < 2 || size > rest.n - 2 || memcmp(rest.p + size, "\r\n", 2) != 0)
            return false;
        buf_add(&body->data, rest.p, size);
        rest = (struct str){rest.p + size + 2, rest.n - size - 2};
    }
    const char *trailers = rest.p;
    do {
        if (!next_line(&rest, &line) || (line.n > 0 && memchr(line.p, '\n', line.n) != NULL))
            return false;
    } while (line.n > 0);
    body->trailers = (struct str){trailers, (size_t)(line.p - trailers)};
    body->length = (size_t)(rest.p - text.p);
    return body->trailers.n + 2 <= TRAILER_MAX;
}

static bool has_same_data(const struct body *a, const struct body *b)
{
    return a->data.n == b->data.n && (a->data.n == 0 || memcmp(a->data.p, b->data.p, a->data.n) == 0);
}

/* ---- ours ---- */

/* Offers `end` bytes, from `at` on. */
static void step_to(struct http_body *decoder, const char *bytes, size_t *at, size_t end, struct body *body)
{
    struct str data;
    size_t used;
    do {
        body->result = http_body_step(decoder, bytes + *at, end - *at, &limits, &used, &data, &body->trailers,
                                      &body->fault);
        if (body->result == HTTP_BAD)
            return;
        fuzz_check(used <= end - *at && fuzz_lies_in(data, bytes + *at, used));
        fuzz_check((body->result == HTTP_DONE) == decoder->done);
        buf_add(&body->data, data.p, data.n);
        *at += used;
    } while (used > 0 && !decoder->done);
}

/* In pieces of up to `most` bytes; 0: whole. */
static struct body read_ours(const char *bytes, size_t count, size_t most)
{
    struct fuzz_dice dice = fuzz_dice(bytes, count);
    struct body body = {.data = BUF_EMPTY, .result = HTTP_MORE};
    struct http_body decoder;
    size_t at = 0, end = 0;
    http_body_start(&decoder, HTTP_BODY_CHUNKED, 0);
    while (end < count && body.result == HTTP_MORE) {
        size_t piece = most == 0 ? count : 1 + fuzz_below(&dice, most);
        end = piece < count - end ? end + piece : count;
        step_to(&decoder, bytes, &at, end, &body);
    }
    fuzz_check(http_body_may_end(&decoder) == (body.result == HTTP_DONE));
    body.length = at;
    return body;
}

static void compare(const struct body *a, const struct body *b)
{
    fuzz_check(a->result == b->result);
    if (a->result == HTTP_BAD) {
        fuzz_check(strcmp(a->fault.reason, b->fault.reason) == 0);
        return;
    }
    fuzz_check(has_same_data(a, b));
    if (a->result == HTTP_DONE)
        fuzz_check(a->length == b->length && str_equal(a->trailers, b->trailers));
}

/* Trailers that are sent on are fields that may be there, and nothing else. */
static void check_trailers(struct str trailers)
{
    static struct http_fields fields, sent;
    const struct http_limits wide = {.head = 4 * TRAILER_MAX, .fields = TRAILER_FIELDS_MAX};
    struct http_fault fault;
    char out[4 * TRAILER_MAX];
    uint32_t kept = 0;
    if (http_trailers_parse(&fields, trailers, &limits, &fault) != HTTP_DONE)
        return;
    size_t size = http_forward_trailers(&fields, STR(""), true, out, sizeof out);
    fuzz_check(http_trailers_parse(&sent, (struct str){out, size}, &wide, &fault) == HTTP_DONE);
    for (uint32_t i = 0; i < sent.count; i++) {
        fuzz_check(!sent.at[i].listed);
        while (kept < fields.count && !str_equal(fields.at[kept].name, sent.at[i].name))
            kept++;
        fuzz_check(kept < fields.count && str_equal(fields.at[kept].value, sent.at[i].value));
        kept++;
    }
}

/* Written as one chunk and a last one it gives the same data. */
static void check_again(const struct body *body)
{
    char head[HTTP_CHUNK_HEAD_MAX];
    struct buf text = BUF_EMPTY;
    if (body->data.n > 0) {
        buf_add(&text, head, http_chunk_head(head, body->data.n));
        buf_add_str(&text, buf_str(&body->data));
        buf_add_str(&text, STR("\r\n"));
    }
    buf_add_str(&text, STR("0\r\n"));
    buf_add_str(&text, body->trailers);
    buf_add_str(&text, STR("\r\n"));
    struct body again = read_ours(text.p, text.n, 3);
    fuzz_check(again.result == HTTP_DONE && again.length == text.n);
    fuzz_check(has_same_data(&again, body));
    fuzz_check(str_equal(again.trailers, body->trailers));
    buf_free(&again.data);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    const char *text = (const char *)bytes;
    struct body plain, whole = read_ours(text, count, 0), bytewise = read_ours(text, count, 1),
                       cut = read_ours(text, count, 9);
    bool valid = read_plainly((struct str){text, count}, &plain);
    compare(&whole, &bytewise);
    compare(&whole, &cut);
    fuzz_check((whole.result == HTTP_DONE) == valid);
    if (valid) {
        fuzz_check(whole.length == plain.length && str_equal(whole.trailers, plain.trailers));
        fuzz_check(has_same_data(&whole, &plain));
        check_trailers(whole.trailers);
        check_again(&whole);
    }
    buf_free(&plain.data);
    buf_free(&whole.data);
    buf_free(&bytewise.data);
    buf_free(&cut.data);
    return 0;
}
