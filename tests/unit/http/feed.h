/* feed: gives a head to its parser whole, byte by byte, and split in two at every place; the three must
 * agree. */
#pragma once

#include "unit.h"

#include "http/request.h"
#include "http/response.h"

static const struct http_limits feed_limits = {.head = 4096, .fields = 16};

/* What one parse came to. */
struct feed_result {
    enum http_result result;
    struct http_fault fault;
    size_t length;
};

/* A parser under test; `into` is a struct http_request or http_response. */
typedef struct feed_result feed_parser(void *into, const char *bytes, size_t count, size_t *seen);

static inline struct feed_result feed_request(void *into, const char *bytes, size_t count, size_t *seen)
{
    struct http_request *request = into;
    struct feed_result result = {.fault = {0, ""}};
    result.result = http_request_parse(request, bytes, count, seen, &feed_limits, &result.fault);
    result.length = result.result == HTTP_DONE ? request->length : 0;
    return result;
}

static inline struct feed_result feed_response(void *into, const char *bytes, size_t count, size_t *seen)
{
    struct http_response *response = into;
    struct feed_result result = {.fault = {0, ""}};
    result.result = http_response_parse(response, HTTP_GET, bytes, count, seen, &feed_limits, &result.fault);
    result.length = result.result == HTTP_DONE ? response->length : 0;
    return result;
}

static inline void feed_compare(struct feed_result a, struct feed_result b)
{
    assert_int_equal(a.result, b.result);
    assert_int_equal(a.length, b.length);
    assert_int_equal(a.fault.status, b.fault.status);
    assert_string_equal(a.fault.reason, b.fault.reason);
}

/* The head, once whole and then in every way of splitting it. Fills *into from the whole. */
static inline struct feed_result feed_all_ways(feed_parser *parse, void *into, struct str head)
{
    struct feed_result part;
    size_t seen = 0;
    for (size_t count = 1; count <= head.n; count++) {
        part = parse(into, head.p, count, &seen);
        if (part.result != HTTP_MORE)
            break;
    }
    seen = 0;
    struct feed_result whole = parse(into, head.p, head.n, &seen);
    feed_compare(whole, part);
    for (size_t first = 1; first < head.n; first++) {
        seen = 0;
        part = parse(into, head.p, first, &seen);
        if (part.result == HTTP_MORE)
            part = parse(into, head.p, head.n, &seen);
        feed_compare(whole, part);
    }
    seen = 0;
    return parse(into, head.p, head.n, &seen);
}
