/* body: the reader of bodies. Chunk framing is read byte by byte from a table of states, data in spans; what
 * it has consumed is never looked at again, so any split of the bytes gives the same body. */
#include "http/body.h"

#include "http/field.h"
#include "http/head.h"

#include <assert.h>

#define SIZE_DIGITS_MAX 16
#define EXTENSIONS_MAX 4096

enum state {
    BAD, /* no way on from here: what the table says of every other byte */
    SIZE,
    SIZE_LF,
    BEFORE_SEMICOLON, /* white space that only another extension may follow */
    BEFORE_NAME,
    NAME,
    AFTER_NAME,
    BEFORE_VALUE,
    VALUE,
    QUOTED,
    ESCAPED,
    AFTER_QUOTED,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    STATES
};

/* What a byte is in a chunk extension. */
enum kind { OTHER, BLANK, TOKEN, SEMICOLON, EQUALS, QUOTE, BACKSLASH, TEXT, CR, LF, KINDS };

/* RFC 9112 section 7.1.1: *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ), then CRLF. */
static const uint8_t next_state[STATES][KINDS] = {
    [SIZE] = {[BLANK] = BEFORE_SEMICOLON, [SEMICOLON] = BEFORE_NAME, [CR] = SIZE_LF},
    [BEFORE_SEMICOLON] = {[BLANK] = BEFORE_SEMICOLON, [SEMICOLON] = BEFORE_NAME},
    [BEFORE_NAME] = {[BLANK] = BEFORE_NAME, [TOKEN] = NAME},
    [NAME] = {[TOKEN] = NAME,
              [BLANK] = AFTER_NAME,
              [EQUALS] = BEFORE_VALUE,
              [SEMICOLON] = BEFORE_NAME,
              [CR] = SIZE_LF},
    [AFTER_NAME] = {[BLANK] = AFTER_NAME, [EQUALS] = BEFORE_VALUE, [SEMICOLON] = BEFORE_NAME},
    [BEFORE_VALUE] = {[BLANK] = BEFORE_VALUE, [TOKEN] = VALUE, [QUOTE] = QUOTED},
    [VALUE] = {[TOKEN] = VALUE, [BLANK] = BEFORE_SEMICOLON, [SEMICOLON] = BEFORE_NAME, [CR] = SIZE_LF},
    [QUOTED] = {[BLANK] = QUOTED,
                [TOKEN] = QUOTED,
                [SEMICOLON] = QUOTED,
                [EQUALS] = QUOTED,
                [TEXT] = QUOTED,
                [BACKSLASH] = ESCAPED,
                [QUOTE] = AFTER_QUOTED},
    [ESCAPED] = {[BLANK] = QUOTED,
                 [TOKEN] = QUOTED,
                 [SEMICOLON] = QUOTED,
                 [EQUALS] = QUOTED,
                 [TEXT] = QUOTED,
                 [BACKSLASH] = QUOTED,
                 [QUOTE] = QUOTED},
    [AFTER_QUOTED] = {[BLANK] = BEFORE_SEMICOLON, [SEMICOLON] = BEFORE_NAME, [CR] = SIZE_LF},
    [DATA_CR] = {[CR] = DATA_LF},
    [DATA_LF] = {[LF] = SIZE},
};

static enum kind kind_of(char byte)
{
    switch (byte) {
    case ' ':
    case '\t':
        return BLANK;
    case ';':
        return SEMICOLON;
    case '=':
        return EQUALS;
    case '"':
        return QUOTE;
    case '\\':
        return BACKSLASH;
    case '\r':
        return CR;
    case '\n':
        return LF;
    default:
        if (is_class(byte, CLASS_TOKEN))
            return TOKEN;
        return is_class(byte, CLASS_VALUE) ? TEXT : OTHER;
    }
}

static bool take_digit(struct http_body *body, char digit)
{
    if (body->digits == SIZE_DIGITS_MAX)
        return false;
    body->digits++;
    body->left = body->left << 4 | head_hex(digit);
    return true;
}

/* One byte that is neither data nor trailer. */
static bool take_framing(struct http_body *body, char byte)
{
    if (body->state == SIZE && is_class(byte, CLASS_HEX))
        return take_digit(body, byte);
    if (body->state == SIZE && body->digits == 0)
        return false;
    if (body->state == SIZE_LF) {
        body->state = body->left > 0 ? DATA : TRAILER;
        return byte == '\n';
    }
    uint8_t state = next_state[body->state][kind_of(byte)];
    if (state >= BEFORE_SEMICOLON && state <= AFTER_QUOTED && ++body->extensions > EXTENSIONS_MAX)
        return false;
    if (body->state == DATA_LF)
        body->digits = 0;
    body->state = state;
    return state != BAD;
}

static struct str take_data(struct http_body *body, const char *bytes, size_t count)
{
    size_t n = body->left < count ? (size_t)body->left : count;
    body->left -= n;
    return (struct str){bytes, n};
}

/* The section is left where it is until its empty line is there: the caller keeps the bytes, not the decoder.
 */
static enum http_result take_trailers(struct http_body *body, const char *bytes, size_t count,
                                      const struct http_limits *limits, struct str *trailers,
                                      struct http_fault *fault)
{
    size_t end = head_end(bytes, count, body->trailer_size);
    if (end > limits->head || (end == 0 && count >= limits->head))
        return head_refuse(fault, 400, "trailers-too-large");
    if (end == 0) {
        body->trailer_size = (uint32_t)count;
        return HTTP_MORE;
    }
    if (end == 1 || bytes[end - 2] != '\r')
        return head_refuse(fault, 400, "bad-trailer");
    body->trailer_size = (uint32_t)end;
    body->done = true;
    *trailers = (struct str){bytes, end - 2};
    return HTTP_DONE;
}

static enum http_result step_chunked(struct http_body *body, const char *bytes, size_t count,
                                     const struct http_limits *limits, size_t *used, struct str *data,
                                     struct str *trailers, struct http_fault *fault)
{
    const char *p = bytes, *end = bytes + count;
    enum http_result result = HTTP_MORE;
    while (p < end && body->state != TRAILER) {
        if (body->state != DATA) {
            if (!take_framing(body, *p++))
                return head_refuse(fault, 400, "bad-chunk");
            continue;
        }
        if (data->n > 0)
            break;
        *data = take_data(body, p, (size_t)(end - p));
        p += data->n;
        if (body->left == 0)
            body->state = DATA_CR;
    }
    if (body->state == TRAILER) {
        result = take_trailers(body, p, (size_t)(end - p), limits, trailers, fault);
        if (result == HTTP_DONE)
            p += body->trailer_size;
    }
    *used = (size_t)(p - bytes);
    return result;
}

void http_body_start(struct http_body *body, enum http_framing framing, uint64_t length)
{
    *body = (struct http_body){.framing = framing, .state = SIZE};
    if (framing == HTTP_BODY_LENGTH)
        body->left = length;
    body->done = framing == HTTP_BODY_NONE || (framing == HTTP_BODY_LENGTH && length == 0);
}

enum http_result http_body_step(struct http_body *body, const char *bytes, size_t count,
                                const struct http_limits *limits, size_t *used, struct str *data,
                                struct str *trailers, struct http_fault *fault)
{
    *used = 0;
    *data = *trailers = (struct str){bytes, 0};
    if (body->done)
        return HTTP_DONE;
    if (body->framing == HTTP_BODY_CHUNKED)
        return step_chunked(body, bytes, count, limits, used, data, trailers, fault);
    if (body->framing == HTTP_BODY_CLOSE) {
        *data = (struct str){bytes, count};
    } else {
        *data = take_data(body, bytes, count);
        body->done = body->left == 0;
    }
    *used = data->n;
    return body->done ? HTTP_DONE : HTTP_MORE;
}

void http_body_skip(struct http_body *body, size_t count)
{
    assert(body->framing == HTTP_BODY_LENGTH && count <= body->left);
    body->left -= count;
    body->done = body->left == 0;
}

bool http_body_may_end(const struct http_body *body)
{
    return body->done || body->framing == HTTP_BODY_CLOSE;
}

enum http_result http_trailers_parse(struct http_fields *fields, struct str trailers,
                                     const struct http_limits *limits, struct http_fault *fault)
{
    struct head head = {trailers.p, trailers.p + trailers.n, fault};
    enum http_result result = head_fields(&head, fields, limits->fields);
    if (result == HTTP_BAD && fault->status == 431)
        return head_refuse(fault, 400, "trailers-too-large");
    if (result != HTTP_MORE || head.at != head.end)
        return head_refuse(fault, 400, "bad-trailer");
    for (uint32_t i = 0; i < fields->count; i++)
        fields->at[i].listed = field_is_for_heads(fields->at[i].name);
    return HTTP_DONE;
}

size_t http_chunk_head(char out[HTTP_CHUNK_HEAD_MAX], uint64_t size)
{
    static const char hex[] = "0123456789abcdef";
    size_t digits = (size_t)(67 - __builtin_clzll(size)) / 4;
    for (size_t i = digits; i-- > 0; size >>= 4)
        out[i] = hex[size & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}
