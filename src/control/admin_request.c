/* Writes what handlers answer into their client's output. A request is freed by the call that ends it,
 * whether or not its client is still there. */
#include "control/admin_request.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "control/admin_client.h"
#include "http/answer.h"
#include "http/body.h"

#include <assert.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>

void admin_request_free(struct admin_request *request)
{
    free(request->path);
    free(request->query);
    free(request->last_event);
    buf_free(&request->body);
    free(request);
}

static void put_head(struct admin_request *request, unsigned status, const char *content_type,
                     const char *field)
{
    char date[HTTP_DATE_SIZE];
    http_date_write(clock_wall_ns() / 1000000000, date);
    struct evbuffer *out = admin_client_output(request->client);
    evbuffer_add_printf(out,
                        "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\n%s%s",
                        status, http_status_phrase(status), date, content_type, field,
                        request->keep_alive ? "" : "Connection: close\r\n");
}

/* The answer is complete. */
static void finish(struct admin_request *request)
{
    struct admin_client *client = request->client;
    bool keep_alive = request->keep_alive;
    admin_request_free(request);
    admin_client_answered(client, keep_alive);
}

static void answer(struct admin_request *request, unsigned status, const char *content_type,
                   const char *field, struct str body)
{
    if (request->client == NULL) {
        admin_request_free(request);
        return;
    }
    assert(!request->streaming);
    put_head(request, status, content_type, field);
    evbuffer_add_printf(admin_client_output(request->client), "Content-Length: %zu\r\n\r\n", body.n);
    if (request->method != HTTP_HEAD)
        evbuffer_add(admin_client_output(request->client), body.p, body.n);
    finish(request);
}

static int add_json(const char *bytes, size_t size, void *arg)
{
    buf_add(arg, bytes, size);
    return 0;
}

void admin_write_json(struct buf *out, const json_t *json)
{
    int result = json_dump_callback(json, add_json, out, JSON_COMPACT | JSON_REAL_PRECISION(9));
    assert(result == 0);
    (void)result;
}

static void answer_object(struct admin_request *request, unsigned status, const char *content_type,
                          const char *field, const json_t *body)
{
    struct buf text = BUF_EMPTY;
    admin_write_json(&text, body);
    buf_add(&text, "\n", 1);
    answer(request, status, content_type, field, buf_str(&text));
    buf_free(&text);
}

void admin_answer_json(struct admin_request *request, unsigned status, const json_t *body)
{
    answer_object(request, status, "application/json", "", body);
}

void admin_answer_text(struct admin_request *request, const char *content_type, struct str body)
{
    answer(request, 200, content_type, "", body);
}

void admin_answer_file(struct admin_request *request, const char *content_type, const char *fields,
                       struct str body)
{
    answer(request, 200, content_type, fields, body);
}

void admin_problem_with(struct admin_request *request, unsigned status, const char *field,
                        const char *sentence)
{
    char line[256] = "";
    if (field[0] != '\0')
        snprintf(line, sizeof line, "%s\r\n", field);
    /* json_pack refuses what is no UTF-8, and a path or a value from the client may be anything. */
    size_t size;
    char *clean = utf8_tail(str_of(sentence), SIZE_MAX, false, &size);
    json_t *problem = json_pack("{s:s, s:s, s:i, s:s}", "type", "about:blank", "title",
                                http_status_phrase(status), "status", (int)status, "detail", clean);
    answer_object(request, status, "application/problem+json", line, problem);
    json_decref(problem);
    free(clean);
}

void admin_problem(struct admin_request *request, unsigned status, const char *format, ...)
{
    char sentence[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    admin_problem_with(request, status, "", sentence);
}

void admin_stream_begin(struct admin_request *request, const char *content_type)
{
    request->streaming = true;
    if (request->client == NULL)
        return;
    request->chunked = request->minor > 0;
    request->keep_alive &= request->chunked;
    put_head(request, 200, content_type, request->chunked ? "Transfer-Encoding: chunked\r\n" : "");
    evbuffer_add(admin_client_output(request->client), "\r\n", 2);
}

bool admin_stream_send(struct admin_request *request, struct str bytes)
{
    assert(request->streaming);
    if (request->client == NULL || request->method == HTTP_HEAD || bytes.n == 0)
        return true;
    struct evbuffer *out = admin_client_output(request->client);
    char size[HTTP_CHUNK_HEAD_MAX];
    if (request->chunked)
        evbuffer_add(out, size, http_chunk_head(size, bytes.n));
    evbuffer_add(out, bytes.p, bytes.n);
    if (request->chunked)
        evbuffer_add(out, "\r\n", 2);
    return evbuffer_get_length(out) < ADMIN_OUTPUT_MAX;
}

void admin_stream_end(struct admin_request *request)
{
    assert(request->streaming);
    if (request->client == NULL) {
        admin_request_free(request);
        return;
    }
    if (request->chunked && request->method != HTTP_HEAD)
        evbuffer_add(admin_client_output(request->client), "0\r\n\r\n", 5);
    finish(request);
}
