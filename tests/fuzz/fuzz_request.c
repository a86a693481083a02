/* A client's request head: read alike however it comes, and sent on as a head that means the same and comes
 * out the same when it is sent on once more. */
#include "heads.h"

#include "http/cookie.h"
#include "http/field.h"
#include "http/forward.h"
#include "http/head.h"
#include "http/trace.h"

#include <stdlib.h>

static struct heads_outcome parse(void *into, const char *bytes, size_t count, size_t *seen)
{
    static const struct http_limits limits = {.head = HEADS_HEAD_MAX, .fields = HEADS_FIELDS_MAX};
    struct http_request *request = into;
    struct heads_outcome outcome = {.fault = {0, ""}};
    outcome.result = http_request_parse(request, bytes, count, seen, &limits, &outcome.fault);
    outcome.length = outcome.result == HTTP_DONE ? request->length : 0;
    return outcome;
}

static void check_parts(const struct http_request *request, const char *bytes)
{
    struct str path = request->path;
    fuzz_check(fuzz_lies_in(request->method_text, bytes, request->length));
    fuzz_check(fuzz_lies_in(request->target, bytes, request->length));
    fuzz_check(request->form == HTTP_TARGET_ABSOLUTE || fuzz_lies_in(path, bytes, request->length));
    fuzz_check(fuzz_lies_in(request->query, bytes, request->length));
    fuzz_check(fuzz_lies_in(request->authority, bytes, request->length));
    fuzz_check(fuzz_lies_in(request->host, request->authority.p, request->authority.n));
    fuzz_check(path.n > 0 && (path.p[0] == '/' || str_equal(path, STR("*"))));
    fuzz_check(request->query.n == 0 || request->query.p[0] == '?');
    fuzz_check(request->minor == 0 || request->host.n > 0);
    fuzz_check(request->method != HTTP_CONNECT);
    fuzz_check(request->framing != HTTP_BODY_CLOSE);
    fuzz_check(request->framing != HTTP_BODY_CHUNKED || request->minor == 1);
    fuzz_check(!request->upgrade || request->framing == HTTP_BODY_NONE || request->content_length == 0);
}

/* ---- sending on ---- */

#define CLIENT STR("2001:db8::7")

struct sent {
    char *bytes;
    size_t size;
    struct http_request request;
};

static size_t room_for(const struct http_request *request, const struct http_forward *how)
{
    return request->length + HTTP_FORWARD_EXTRA + how->client.n + how->proto.n + how->port.n +
           how->request_id.n + how->trace.n + 3 * request->authority.n +
           http_rules_room(how->rules, how->variables);
}

/* Sends it on and reads what was sent. */
static void send_on(const struct http_request *request, const struct http_forward *how, struct sent *sent)
{
    const struct http_limits limits = {.head = 4 * HEADS_HEAD_MAX, .fields = HTTP_FIELDS_MAX};
    struct http_fault fault;
    size_t room = room_for(request, how), seen = 0;
    sent->bytes = malloc(room);
    sent->size = http_forward_request(request, how, sent->bytes, room);
    fuzz_check(sent->size > 0 && sent->size <= room);
    char *tight = malloc(sent->size - 1);
    fuzz_check(http_forward_request(request, how, tight, sent->size - 1) == 0);
    free(tight);
    fuzz_check(http_request_parse(&sent->request, sent->bytes, sent->size, &seen, &limits, &fault) ==
               HTTP_DONE);
    fuzz_check(sent->request.length == sent->size);
}

static void check_meaning(const struct http_request *request, const struct http_forward *how,
                          const struct http_request *sent)
{
    struct str path = request->path;
    path.p += how->strip;
    path.n -= how->strip;
    fuzz_check(str_equal(sent->method_text, request->method_text));
    fuzz_check(str_equal(sent->path, path.n > 0 ? path : STR("/")));
    fuzz_check(str_equal(sent->query, request->query));
    fuzz_check(str_equal(sent->authority, request->authority));
    fuzz_check(sent->framing == request->framing && sent->content_length == request->content_length);
    fuzz_check(sent->keep_alive == (how->keep_alive || request->upgrade));
    fuzz_check(sent->upgrade == request->upgrade && sent->te_trailers == request->te_trailers);
    fuzz_check(!request->expect_continue || sent->expect_continue);
}

/* The next field from *at on that is none of those that upswap looks at, nor like one. */
static const struct http_field *next_plain(const struct http_fields *fields, uint32_t *at)
{
    while (*at < fields->count) {
        const struct http_field *field = &fields->at[(*at)++];
        if (field->id == HTTP_FIELD_OTHER && memchr(field->name.p, '_', field->name.n) == NULL)
            return field;
    }
    return NULL;
}

/* Does an option of Connection name it? */
static bool is_named(const struct http_fields *fields, struct str name)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        if (fields->at[i].id == HTTP_FIELD_CONNECTION && head_lists(fields->at[i].value, name))
            return true;
    }
    return false;
}

/* They pass in their order; those that Connection lists do not. */
static void check_plain_fields(const struct http_request *request, const struct http_request *sent)
{
    uint32_t from = 0, to = 0;
    const struct http_field *field, *passed;
    while ((field = next_plain(&request->fields, &from)) != NULL) {
        fuzz_check(field->listed ==
                   (is_named(&request->fields, field->name) && !field_is_for_all(field->name)));
        if (field->listed) {
            fuzz_check(http_fields_named(&sent->fields, field->name) == NULL);
            continue;
        }
        passed = next_plain(&sent->fields, &to);
        fuzz_check(passed != NULL);
        fuzz_check(str_equal(passed->name, field->name) && str_equal(passed->value, field->value));
    }
    fuzz_check(next_plain(&sent->fields, &to) == NULL);
}

/* What nobody may say but upswap. */
static void check_own_fields(const struct http_request *sent)
{
    static const char *const once[] = {
        "host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "x-request-id", "via"};
    const uint64_t never =
        HTTP_FIELD_BIT(HTTP_FIELD_KEEP_ALIVE) | HTTP_FIELD_BIT(HTTP_FIELD_X_UPSWAP) |
        HTTP_FIELD_BIT(HTTP_FIELD_PROXY_CONNECTION) | HTTP_FIELD_BIT(HTTP_FIELD_PROXY_AUTHORIZATION) |
        HTTP_FIELD_BIT(HTTP_FIELD_X_CLIENT_VERIFY) | HTTP_FIELD_BIT(HTTP_FIELD_HTTP2_SETTINGS);
    fuzz_check((sent->fields.present & never) == 0);
    for (size_t i = 0; i < sizeof once / sizeof *once; i++) {
        uint64_t bit = HTTP_FIELD_BIT(field_id(str_of(once[i])));
        fuzz_check((sent->fields.present & bit) && !(sent->fields.repeated & bit));
    }
    fuzz_check(str_equal(http_fields_find(&sent->fields, HTTP_FIELD_X_FORWARDED_FOR)->value, CLIENT));
    fuzz_check(str_ends_with(http_fields_find(&sent->fields, HTTP_FIELD_VIA)->value, STR(" upswap")));
}

/* Sent on once more it is the same, save that Via names one proxy more. */
static void check_again(const struct sent *first, const struct sent *second)
{
    const struct http_fields *a = &first->request.fields, *b = &second->request.fields;
    fuzz_check(a->count == b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        struct str was = a->at[i].value, is = b->at[i].value;
        fuzz_check(str_equal(a->at[i].name, b->at[i].name));
        if (a->at[i].id == HTTP_FIELD_VIA)
            fuzz_check(str_starts_with(is, was) &&
                       str_equal((struct str){is.p + was.n, is.n - was.n}, STR(", 1.1 upswap")));
        else
            fuzz_check(str_equal(was, is));
    }
}

/* The length of a prefix that ends before a '/', or all. */
static uint32_t some_prefix(struct str path)
{
    const char *slash = path.n > 1 ? memchr(path.p + 1, '/', path.n - 1) : NULL;
    return slash == NULL ? 0 : (uint32_t)(slash - path.p);
}

static void send_on_twice(const struct http_request *request)
{
    static struct sent first, second;
    struct http_forward how = {.client = CLIENT,
                               .proto = STR("http"),
                               .port = STR("80"),
                               .request_id = STR("0123456789abcdef"),
                               .framing = request->framing,
                               .keep_alive = true};
    send_on(request, &how, &first);
    check_meaning(request, &how, &first.request);
    check_plain_fields(request, &first.request);
    check_own_fields(&first.request);
    send_on(&first.request, &how, &second);
    check_meaning(&first.request, &how, &second.request);
    check_again(&first, &second);
    free(first.bytes);
    free(second.bytes);
}

/* With all that can be asked for. */
static void send_on_trusted(const struct http_request *request)
{
    static struct sent sent;
    static const struct http_variable variables[] = {{STR("path"), STR("/x")}, {{"", 0}, {"", 0}}};
    const struct http_forward how = {.client = CLIENT,
                                     .proto = STR("https"),
                                     .port = STR("443"),
                                     .client_verify = STR("NONE"),
                                     .request_id = STR("0123456789abcdef"),
                                     .traced = http_trace_id(&request->fields).n > 0,
                                     .http2 = true,
                                     .trusted = true,
                                     .strip = some_prefix(request->path),
                                     .framing = request->framing,
                                     .forwarded = true,
                                     .hidden = {STR("upswap"), STR("pin")},
                                     .rules = STR("-X-Drop*\n=X-Set: %{path}\n+X-Add: a\n"),
                                     .variables = variables};
    send_on(request, &how, &sent);
    check_meaning(request, &how, &sent.request);
    for (uint32_t i = 0; i < sent.request.fields.count; i++) {
        struct str value = sent.request.fields.at[i].value;
        struct http_cookie cookie;
        if (sent.request.fields.at[i].id != HTTP_FIELD_COOKIE)
            continue;
        while (http_cookie_next(&value, &cookie)) {
            fuzz_check(!str_equal(cookie.name, STR("upswap")) && !str_equal(cookie.name, STR("pin")));
        }
    }
    free(sent.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static struct http_request request;
    const char *text = (const char *)bytes;
    if (count == 0 || heads_parse(parse, &request, text, count).result != HTTP_DONE)
        return 0;
    check_parts(&request, text);
    heads_check_fields(&request.fields, text, request.length);
    /* Host would be empty: RFC 9112 section 3.2 lets HTTP/1.0 be without. */
    if (request.authority.n == 0)
        return 0;
    send_on_twice(&request);
    send_on_trusted(&request);
    return 0;
}
