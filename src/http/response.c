/* response: reads a response head. It is filled only when the whole head is valid; every fault is a 502,
 * since the upstream made it. */
#include "http/response.h"

#include "http/head.h"
#include "http/span.h"

static enum http_result read_status(struct head *head, struct http_response *response)
{
    unsigned status = 0;
    for (int i = 0; i < 3; i++) {
        if (head->at + i == head->end)
            return HTTP_MORE;
        unsigned digit = (unsigned)(head->at[i] - '0');
        if (digit > 9)
            return head_refuse_byte(head, head->at + i, "bad-status");
        status = status * 10 + digit;
    }
    if (status < 100 || status > 599)
        return head_refuse(head->fault, 400, "bad-status");
    response->status = (uint16_t)status;
    head->at += 3;
    return HTTP_DONE;
}

/* The space in front of an empty phrase is missing from many servers' answers, and nothing hangs on it. */
static enum http_result read_phrase(struct head *head, struct http_response *response)
{
    const char *p = head->at;
    if (p < head->end && *p == ' ')
        p++;
    else if (p < head->end && *p != '\r')
        return head_refuse_byte(head, p, "bad-status");
    const char *end = span_value(p, head->end);
    response->phrase = (struct str){p, (size_t)(end - p)};
    head->at = end;
    return head_line_end(head, "bad-status-line");
}

static enum http_result read_start_line(struct head *head, struct http_response *response)
{
    enum http_result result = head_version(head, &response->minor);
    if (result != HTTP_DONE)
        return result;
    if (head->at == head->end)
        return HTTP_MORE;
    if (*head->at != ' ')
        return head_refuse_byte(head, head->at, "bad-status-line");
    head->at++;
    result = read_status(head, response);
    return result == HTTP_DONE ? read_phrase(head, response) : result;
}

/* RFC 9112 section 6.3, in its order. */
static enum http_result read_framing(struct http_response *response, enum http_method method,
                                     struct http_fault *fault)
{
    struct head_framing framing;
    enum http_result result = head_framing(&response->fields, response->minor, &framing, fault);
    if (result != HTTP_DONE)
        return result;
    bool never = response->status < 200 || response->status == 204;
    if (never && (framing.chunked || framing.length > 0))
        return head_refuse(fault, 400, "body-not-allowed");
    response->has_content_length = framing.has_length;
    response->content_length = framing.length;
    if (never || response->status == 304 || method == HTTP_HEAD)
        response->framing = HTTP_BODY_NONE;
    else if (framing.chunked)
        response->framing = HTTP_BODY_CHUNKED;
    else
        response->framing = framing.has_length ? HTTP_BODY_LENGTH : HTTP_BODY_CLOSE;
    return HTTP_DONE;
}

static enum http_result read_head(struct head *head, struct http_response *response, enum http_method method,
                                  uint32_t max_fields)
{
    struct head_connection connection;
    enum http_result result = read_start_line(head, response);
    if (result == HTTP_DONE)
        result = head_fields(head, &response->fields, max_fields);
    if (result == HTTP_DONE)
        result = read_framing(response, method, head->fault);
    if (result == HTTP_DONE)
        result = head_connection(&response->fields, &connection, head->fault);
    if (result != HTTP_DONE)
        return result;
    response->upgrade = response->status == 101;
    response->keep_alive = head_keeps_alive(&connection, response->minor) && !response->upgrade &&
                           response->framing != HTTP_BODY_CLOSE;
    return HTTP_DONE;
}

static enum http_result parse(struct http_response *response, enum http_method method, const char *bytes,
                              size_t count, size_t *seen, const struct http_limits *limits,
                              struct http_fault *fault)
{
    size_t window = count < limits->head ? count : limits->head;
    bool full = window == limits->head;
    if (!full && *seen > 0 && !head_may_tell(bytes, window, *seen)) {
        *seen = window;
        return HTTP_MORE;
    }
    struct head head = {bytes, bytes + window, fault};
    enum http_result result = read_head(&head, response, method, limits->fields);
    *seen = window;
    if (result == HTTP_DONE)
        response->length = (uint32_t)(head.at - bytes);
    return result == HTTP_MORE && full ? head_refuse(fault, 400, "head-too-large") : result;
}

enum http_result http_response_parse(struct http_response *response, enum http_method method,
                                     const char *bytes, size_t count, size_t *seen,
                                     const struct http_limits *limits, struct http_fault *fault)
{
    enum http_result result = parse(response, method, bytes, count, seen, limits, fault);
    if (result == HTTP_BAD)
        fault->status = 502;
    return result;
}
