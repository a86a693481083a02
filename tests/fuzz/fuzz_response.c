/* An upstream's response head: read alike however it comes, for GET and for HEAD, and given to clients of
 * either version as a head that frames the same body. */
#include "heads.h"

#include "http/forward.h"

#include <stdlib.h>

static struct heads_outcome parse_for(struct http_response *response, enum http_method method,
                                      const char *bytes, size_t count, size_t *seen)
{
    static const struct http_limits limits = {.head = HEADS_HEAD_MAX, .fields = HEADS_FIELDS_MAX};
    struct heads_outcome outcome = {.fault = {502, ""}};
    outcome.result = http_response_parse(response, method, bytes, count, seen, &limits, &outcome.fault);
    outcome.length = outcome.result == HTTP_DONE ? response->length : 0;
    fuzz_check(outcome.fault.status == 502);
    return outcome;
}

static struct heads_outcome parse_get(void *into, const char *bytes, size_t count, size_t *seen)
{
    return parse_for(into, HTTP_GET, bytes, count, seen);
}

static struct heads_outcome parse_head(void *into, const char *bytes, size_t count, size_t *seen)
{
    return parse_for(into, HTTP_HEAD, bytes, count, seen);
}

static void check_parts(const struct http_response *response, enum http_method method, const char *bytes)
{
    unsigned status = response->status;
    bool never = status < 200 || status == 204;
    fuzz_check(status >= 100 && status <= 599);
    fuzz_check(fuzz_lies_in(response->phrase, bytes, response->length));
    heads_check_fields(&response->fields, bytes, response->length);
    fuzz_check(!(never || status == 304 || method == HTTP_HEAD) || response->framing == HTTP_BODY_NONE);
    fuzz_check(!never || response->content_length == 0);
    fuzz_check(response->framing != HTTP_BODY_LENGTH || response->has_content_length);
    fuzz_check(response->framing != HTTP_BODY_CLOSE || !response->keep_alive);
    fuzz_check(response->upgrade == (status == 101) && !(response->upgrade && response->keep_alive));
}

/* As the plane does it: a body without an end of its own is chunked, where the client knows that. */
static enum http_framing framing_for(const struct http_response *response, uint8_t client_minor)
{
    bool chunks = response->framing == HTTP_BODY_CHUNKED || response->framing == HTTP_BODY_CLOSE;
    if (!chunks)
        return response->framing;
    return client_minor == 0 ? HTTP_BODY_CLOSE : HTTP_BODY_CHUNKED;
}

static void check_meaning(const struct http_response *response, const struct http_return *how,
                          const struct http_response *sent)
{
    bool final = response->status >= 200;
    fuzz_check(sent->status == response->status && str_equal(sent->phrase, response->phrase));
    fuzz_check(sent->framing == how->framing);
    fuzz_check(how->framing != HTTP_BODY_LENGTH || sent->content_length == response->content_length);
    fuzz_check(!final || how->framing == HTTP_BODY_CLOSE || sent->keep_alive == how->keep_alive);
    fuzz_check(http_fields_find(&sent->fields, HTTP_FIELD_X_UPSWAP) == NULL);
    fuzz_check(http_fields_find(&sent->fields, HTTP_FIELD_KEEP_ALIVE) == NULL);
    fuzz_check(!final || http_fields_find(&sent->fields, HTTP_FIELD_DATE) != NULL);
    for (uint32_t i = 0; i < response->fields.count; i++) {
        const struct http_field *field = &response->fields.at[i];
        if (field->id == HTTP_FIELD_OTHER)
            fuzz_check(field->listed == (http_fields_named(&sent->fields, field->name) == NULL));
    }
}

static void give_back(const struct http_response *response, enum http_method method, uint8_t client_minor,
                      bool keep_alive)
{
    static struct http_response sent;
    const struct http_limits limits = {.head = 4 * HEADS_HEAD_MAX, .fields = HTTP_FIELDS_MAX};
    struct http_fault fault;
    struct http_return how = {.client_minor = client_minor,
                              .framing = framing_for(response, client_minor),
                              .date = STR("Sun, 06 Nov 1994 08:49:37 GMT"),
                              .request_id = STR("0123456789abcdef"),
                              .hsts_s = keep_alive ? 3600 : 0,
                              .lines = STR("X-Upswap-Line: 1\r\n")};
    how.keep_alive = keep_alive && how.framing != HTTP_BODY_CLOSE;
    size_t room = response->length + HTTP_FORWARD_EXTRA + how.lines.n, seen = 0;
    char *out = malloc(room);
    size_t size = http_forward_response(response, &how, out, room);
    fuzz_check(size > 0 && size <= room);
    fuzz_check(http_response_parse(&sent, method, out, size, &seen, &limits, &fault) == HTTP_DONE);
    fuzz_check(sent.length == size);
    check_meaning(response, &how, &sent);
    free(out);
}

static void take(const char *bytes, size_t count, heads_parser *parse, enum http_method method)
{
    static struct http_response response;
    if (heads_parse(parse, &response, bytes, count).result != HTTP_DONE)
        return;
    check_parts(&response, method, bytes);
    if (response.upgrade)
        return;
    give_back(&response, method, 1, true);
    give_back(&response, method, 0, true);
    give_back(&response, method, 1, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    take((const char *)bytes, count, parse_get, HTTP_GET);
    take((const char *)bytes, count, parse_head, HTTP_HEAD);
    return 0;
}
