/* Header blocks of HTTP/2: the text that is made of one is one head of HTTP/1.1 and nothing more, says what
 * the block says, and is the same when it has been a field list once more. The first line of the input tells
 * what the block is of, by its letters: q a request, s a response, t trailers; e the stream ends with it, h
 * it is for HEAD, w there is a WebSocket. Each other line is "name: value"; \1 stands for a line end. */
#include "fuzz.h"

#include "http/body.h"
#include "http/h2_list.h"
#include "http/h2_text.h"
#include "http/request.h"
#include "http/response.h"

#include <stdlib.h>

static const struct http_limits limits = {.head = 65536, .fields = HTTP_FIELDS_MAX};
static const struct str key = {"dGhlIHNhbXBsZSBub25jZQ==", 24};

struct text {
    char *bytes;
    size_t size; /* 0: the block is malformed */
};

typedef size_t text_writer(const struct h2_block *block, struct h2_text *how, char *out, size_t room);

static size_t write_trailers(const struct h2_block *block, struct h2_text *how, char *out, size_t room)
{
    (void)how;
    return h2_text_trailers(block, out, room);
}

/* In the room that the header promises to be enough; with a byte less it must not fit. */
static struct text write_text(text_writer *writer, const struct h2_block *block, struct h2_text *how)
{
    size_t room = block->size + H2_TEXT_EXTRA + 2 * how->websocket.n;
    struct h2_text copy = *how;
    struct text text = {.bytes = malloc(room)};
    text.size = writer(block, how, text.bytes, room);
    fuzz_check(text.size <= room);
    if (text.size > 0) {
        char *tight = malloc(text.size - 1);
        fuzz_check(writer(block, &copy, tight, text.size - 1) == 0);
        free(tight);
    }
    return text;
}

/* Its lines end with CR LF, and only its end with an empty one. */
static void check_one_head(const struct text *text)
{
    const char *end = memmem(text->bytes, text->size, "\r\n\r\n", 4);
    fuzz_check(text->size == 0 || end == text->bytes + text->size - 4);
    for (size_t i = 0; i < text->size; i++) {
        fuzz_check(text->bytes[i] != '\0');
        fuzz_check(text->bytes[i] != '\n' || text->bytes[i - 1] == '\r');
        fuzz_check(text->bytes[i] != '\r' || text->bytes[i + 1] == '\n');
    }
}

static struct h2_block block_of(const struct h2_list *list)
{
    struct h2_block block = {.room = 0};
    for (size_t i = 0; i < list->count; i++)
        block.room += h2_block_cost(list->at[i].name.n, list->at[i].value.n);
    block.bytes = malloc(block.room);
    for (size_t i = 0; i < list->count; i++)
        fuzz_check(h2_block_add(&block, list->at[i].name, list->at[i].value));
    fuzz_check(block.size == block.room);
    return block;
}

/* The list says what the text says, so its text is the same. */
static void check_again(const struct h2_list *list, text_writer *writer, struct h2_text how,
                        const struct text *text)
{
    struct h2_block block = block_of(list);
    struct text again = write_text(writer, &block, &how);
    fuzz_check(again.size == text->size && memcmp(again.bytes, text->bytes, text->size) == 0);
    free(again.bytes);
    free(block.bytes);
}

/* A value of the block, "" where the name is not there. */
static struct str value_of(const struct h2_block *block, const char *wanted)
{
    struct str name, value;
    size_t at = 0;
    while (h2_block_next(block, &at, &name, &value)) {
        if (str_equal(name, str_of(wanted)))
            return value;
    }
    return STR("");
}

/* Each line of the text is a field of the block, in its order, or one that the text says by itself. */
static void check_fields(const struct h2_block *block, const struct http_fields *fields)
{
    static const char *const own[] = {"host",
                                      "connection",
                                      "transfer-encoding",
                                      "content-length",
                                      "upgrade",
                                      "sec-websocket-key",
                                      "cookie",
                                      "sec-websocket-accept"};
    struct str name, value;
    size_t at = 0;
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct http_field *field = &fields->at[i];
        bool is_own = false;
        for (size_t k = 0; k < sizeof own / sizeof *own; k++)
            is_own |= str_equal(field->name, str_of(own[k]));
        while (!is_own) {
            fuzz_check(h2_block_next(block, &at, &name, &value));
            if (str_equal(name, field->name) && str_equal(value, field->value))
                break;
        }
    }
}

static void take_request(const struct h2_block *block, struct h2_text how)
{
    static struct http_request request;
    static struct h2_list list;
    struct http_fault fault;
    struct text text = write_text(h2_text_request, block, &how);
    check_one_head(&text);
    size_t seen = 0;
    enum http_result result =
        text.size == 0 ? HTTP_BAD
                       : http_request_parse(&request, text.bytes, text.size, &seen, &limits, &fault);
    fuzz_check(result != HTTP_MORE);
    if (result == HTTP_DONE) {
        fuzz_check(request.length == text.size);
        fuzz_check(str_equal(request.method_text, how.tunnel ? STR("GET") : value_of(block, ":method")));
        fuzz_check(str_equal(request.target, value_of(block, ":path")));
        fuzz_check(how.tunnel ? request.upgrade : request.framing == how.framing);
        fuzz_check((request.method == HTTP_HEAD) == how.head);
        check_fields(block, &request.fields);
        list.names = malloc(text.size);
        h2_list_request(&list, &request, value_of(block, ":scheme"), how.tunnel);
        /* An empty crumb of a cookie leaves white space at the end, which is not read. */
        if (memmem(text.bytes, text.size, "; \r\n", 4) == NULL)
            check_again(&list, h2_text_request, how, &text);
        free(list.names);
    }
    free(text.bytes);
}

/* A body that is said to be none may be said to be of no bytes. */
static bool is_framed(const struct http_response *response, const struct h2_text *how)
{
    if (how->tunnel)
        return response->upgrade;
    return response->framing == how->framing ||
           (how->framing == HTTP_BODY_NONE && response->framing == HTTP_BODY_LENGTH &&
            response->content_length == 0);
}

static void take_response(const struct h2_block *block, struct h2_text how)
{
    static struct http_response response;
    static struct h2_list list;
    struct http_fault fault;
    struct text text = write_text(h2_text_response, block, &how);
    check_one_head(&text);
    enum http_method method = how.head ? HTTP_HEAD : HTTP_GET;
    size_t seen = 0;
    enum http_result result = text.size == 0 ? HTTP_BAD
                                             : http_response_parse(&response, method, text.bytes, text.size,
                                                                   &seen, &limits, &fault);
    fuzz_check(result != HTTP_MORE);
    if (result == HTTP_DONE) {
        fuzz_check(response.length == text.size);
        fuzz_check(response.status == (how.tunnel ? 101 : how.status));
        fuzz_check(is_framed(&response, &how));
        check_fields(block, &response.fields);
        list.names = malloc(text.size);
        struct h2_answer answer;
        fuzz_check(h2_list_response(&list, &answer, how.head, text.bytes, text.size) == text.size);
        fuzz_check(answer.status == response.status);
        fuzz_check(how.tunnel ||
                   (answer.framing == response.framing &&
                    (answer.framing != HTTP_BODY_LENGTH || answer.length == response.content_length)));
        /* Of what means nothing in a response, cookies move to the end, and TE goes. */
        if (http_fields_find(&response.fields, HTTP_FIELD_COOKIE) == NULL &&
            http_fields_find(&response.fields, HTTP_FIELD_TE) == NULL)
            check_again(&list, h2_text_response, how, &text);
        free(list.names);
    }
    free(text.bytes);
}

static void take_trailers(const struct h2_block *block, struct h2_text how)
{
    static struct http_fields fields;
    struct http_fault fault;
    struct text text = write_text(write_trailers, block, &how);
    uint32_t count = 0;
    struct str name, value;
    for (size_t at = 0; h2_block_next(block, &at, &name, &value);)
        count++;
    if (text.size > 0) {
        fuzz_check(memcmp(text.bytes + text.size - 2, "\r\n", 2) == 0);
        enum http_result result =
            http_trailers_parse(&fields, (struct str){text.bytes, text.size - 2}, &limits, &fault);
        fuzz_check(count > HTTP_FIELDS_MAX || (result == HTTP_DONE && fields.count == count));
    }
    free(text.bytes);
}

/* "name: value"; a pseudo-header field begins with a colon of its own. */
static void add_line(struct h2_block *block, struct str line)
{
    char *copy = fuzz_copy(line.p, line.n);
    const char *colon = line.n < 2 ? NULL : memmem(copy + 1, line.n - 1, ": ", 2);
    for (size_t i = 0; i < line.n; i++)
        copy[i] = copy[i] == '\1' ? '\n' : copy[i];
    if (colon != NULL)
        h2_block_add(block, (struct str){copy, (size_t)(colon - copy)},
                     (struct str){colon + 2, (size_t)(copy + line.n - colon - 2)});
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct str rest = {(const char *)bytes, count}, letters = {"", 0}, line;
    struct h2_block block = {.bytes = malloc(8 * count + 16), .room = 8 * count + 16};
    if (count > 0)
        str_split(&rest, '\n', &letters);
    while (rest.p != NULL && str_split(&rest, '\n', &line))
        add_line(&block, line);
#define HAS(letter) (letters.n > 0 && memchr(letters.p, letter, letters.n) != NULL)
    struct h2_text how = {.ended = HAS('e'), .head = HAS('h'), .websocket = HAS('w') ? key : STR("")};
    if (HAS('q'))
        take_request(&block, how);
    if (HAS('s'))
        take_response(&block, how);
    if (HAS('t'))
        take_trailers(&block, how);
    free(block.bytes);
    return 0;
}
