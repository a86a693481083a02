/* request: reads a request head. It is filled only when the whole head is valid; before that it holds nothing
 * that may be used. */
#include "http/request.h"

#include "http/head.h"
#include "http/span.h"
#include "http/target.h"

/* RFC 9112 section 2.2 asks to skip at least one; old clients send CRLF after a body. */
#define EMPTY_LINES_MAX 2

static enum http_result skip_empty_lines(struct head *head)
{
    for (int i = 0; i < EMPTY_LINES_MAX && head->at < head->end && *head->at == '\r'; i++) {
        enum http_result result = head_line_end(head, "bad-method");
        if (result != HTTP_DONE)
            return result;
    }
    return HTTP_DONE;
}

static enum http_result read_method(struct head *head, struct http_request *request)
{
    const char *p = span_token(head->at, head->end);
    if (p == head->end)
        return HTTP_MORE;
    if (*p != ' ' || p == head->at)
        return head_refuse_byte(head, p, "bad-method");
    request->method_text = (struct str){head->at, (size_t)(p - head->at)};
    request->method = http_method_of(request->method_text);
    head->at = p + 1;
    if (request->method == HTTP_CONNECT)
        return head_refuse(head->fault, 501, "connect");
    return HTTP_DONE;
}

static enum http_result read_target(struct head *head, struct http_request *request)
{
    const char *p = span_uri(head->at, head->end);
    if (p == head->end)
        return HTTP_MORE;
    if (*p != ' ')
        return head_refuse_byte(head, p, "bad-target");
    if (!target_read(request, (struct str){head->at, (size_t)(p - head->at)}))
        return head_refuse(head->fault, 400, "bad-target");
    head->at = p + 1;
    return HTTP_DONE;
}

static enum http_result read_start_line(struct head *head, struct http_request *request)
{
    request->authority = request->host = (struct str){"", 0};
    request->port = 0;
    enum http_result result = skip_empty_lines(head);
    if (result == HTTP_DONE)
        result = read_method(head, request);
    if (result == HTTP_DONE)
        result = read_target(head, request);
    if (result == HTTP_DONE)
        result = head_version(head, &request->minor);
    if (result == HTTP_DONE)
        result = head_line_end(head, "bad-version");
    return result;
}

/* Host must be there and right even where the absolute form overrules it (RFC 9112 section 3.2). */
static enum http_result read_host(struct http_request *request, struct http_fault *fault)
{
    const struct http_field *field = http_fields_find(&request->fields, HTTP_FIELD_HOST);
    if (field == NULL)
        return request->minor == 0 ? HTTP_DONE : head_refuse(fault, 400, "missing-host");
    if (request->fields.repeated & HTTP_FIELD_BIT(HTTP_FIELD_HOST))
        return head_refuse(fault, 400, "repeated-host");
    struct str host;
    uint16_t port;
    if (!target_authority(field->value, &host, &port))
        return head_refuse(fault, 400, "bad-host");
    if (request->form == HTTP_TARGET_ABSOLUTE)
        return HTTP_DONE;
    request->authority = field->value;
    request->host = host;
    request->port = port;
    return HTTP_DONE;
}

/* Whether there is an Upgrade with at least one protocol (RFC 9110 section 7.8). */
static bool names_protocol(const struct http_fields *fields)
{
    const struct http_field *field = http_fields_find(fields, HTTP_FIELD_UPGRADE);
    for (; field != NULL; field = http_fields_next(fields, field)) {
        struct str rest = field->value, element;
        while (str_split(&rest, ',', &element)) {
            if (str_trim(element).n > 0)
                return true;
        }
    }
    return false;
}

/* HTTP/2 by Upgrade is not offered (RFC 9113 section 3.1 withdrew it), and must not be tunnelled to an app
 * that would take it: requests inside would pass upswap unseen. */
static bool wants_upgrade(const struct http_request *request, const struct head_connection *connection)
{
    const struct http_fields *fields = &request->fields;
    if (!connection->upgrade || request->minor == 0 || !names_protocol(fields) ||
        head_any_lists(fields, HTTP_FIELD_UPGRADE, STR("h2c")))
        return false;
    return request->framing == HTTP_BODY_NONE ||
           (request->framing == HTTP_BODY_LENGTH && request->content_length == 0);
}

static void read_rest(struct http_request *request, const struct head_framing *framing,
                      const struct head_connection *connection)
{
    const struct http_fields *fields = &request->fields;
    request->framing = framing->chunked      ? HTTP_BODY_CHUNKED
                       : framing->has_length ? HTTP_BODY_LENGTH
                                             : HTTP_BODY_NONE;
    request->content_length = framing->length;
    request->keep_alive = head_keeps_alive(connection, request->minor);
    bool expects = head_any_lists(fields, HTTP_FIELD_EXPECT, STR("100-continue"));
    request->expect_continue = expects && request->minor == 1;
    request->expect_void = expects && request->minor == 0;
    request->upgrade = wants_upgrade(request, connection);
    request->te_trailers = head_any_lists(fields, HTTP_FIELD_TE, STR("trailers"));
}

static enum http_result read_head(struct head *head, struct http_request *request, uint32_t max_fields)
{
    struct head_framing framing;
    struct head_connection connection;
    enum http_result result = read_start_line(head, request);
    if (result == HTTP_DONE)
        result = head_fields(head, &request->fields, max_fields);
    if (result == HTTP_DONE)
        result = read_host(request, head->fault);
    if (result == HTTP_DONE)
        result = head_framing(&request->fields, request->minor, &framing, head->fault);
    if (result == HTTP_DONE)
        result = head_connection(&request->fields, &connection, head->fault);
    if (result == HTTP_DONE)
        read_rest(request, &framing, &connection);
    return result;
}

/* Still in the start line, as far as these bytes go? Empty lines in front of it do not count. */
static bool in_start_line(const char *bytes, size_t count)
{
    while (count >= 2 && bytes[0] == '\r' && bytes[1] == '\n') {
        bytes += 2;
        count -= 2;
    }
    return memchr(bytes, '\n', count) == NULL;
}

bool http_request_has_come(const char *bytes, size_t count)
{
    return head_end(bytes, count, 0) > 0;
}

enum http_result http_request_parse(struct http_request *request, const char *bytes, size_t count,
                                    size_t *seen, const struct http_limits *limits, struct http_fault *fault)
{
    size_t window = count < limits->head ? count : limits->head;
    bool full = window == limits->head;
    if (!full && *seen > 0 && !head_may_tell(bytes, window, *seen)) {
        *seen = window;
        return HTTP_MORE;
    }
    struct head head = {bytes, bytes + window, fault};
    enum http_result result = read_head(&head, request, limits->fields);
    *seen = window;
    if (result == HTTP_DONE)
        request->length = (uint32_t)(head.at - bytes);
    if (result != HTTP_MORE || !full)
        return result;
    if (in_start_line(bytes, window))
        return head_refuse(fault, 414, "target-too-long");
    return head_refuse(fault, 431, "head-too-large");
}
