/* Invariant: a stream's final head is submitted once, and with an end exactly if no body follows. */
#include "plane/h2_tools.h"

#include "base/mem.h"
#include "http/h2_text.h"
#include "io/digest.h"
#include "io/tls.h"
#include "plane/worker.h"

#include <stdlib.h>

struct h2_tools *h2_tools_new(void)
{
    return mem_zero(1, sizeof(struct h2_tools));
}

void h2_tools_free(struct h2_tools *tools)
{
    free(tools->names);
    free(tools->text);
    free(tools);
}

void h2_tools_resize(struct h2_tools *tools, size_t head_max)
{
    size_t room = head_max + HTTP_FORWARD_EXTRA + H2_TEXT_EXTRA;
    tools->names = mem_resize(tools->names, room, 1);
    tools->text = mem_resize(tools->text, room, 1);
    tools->text_room = room;
    tools->list.names = tools->names;
}

static ssize_t offer(nghttp2_session *session, int32_t id, uint8_t *bytes, size_t most, uint32_t *flags,
                     nghttp2_data_source *source, void *arg)
{
    (void)session;
    (void)id;
    (void)bytes;
    (void)arg;
    return h2_stream_offer(source->ptr, most, flags);
}

/* The heads of both directions may be written by upswap with more than the limit for what it takes. */
static struct http_limits limits_of(const struct h2_stream *s)
{
    return (struct http_limits){.head = (uint32_t)s->worker->h2_tools->text_room, .fields = HTTP_FIELDS_MAX};
}

static void start_body(struct h2_stream *s, enum http_framing framing, uint64_t length)
{
    http_body_start(&s->body, framing, length);
    s->out_headed = true;
    s->out_ended = s->body.done;
}

size_t h2_tools_respond(struct h2_stream *s, const char *bytes, size_t count)
{
    struct h2_tools *tools = s->worker->h2_tools;
    struct http_response *response = &tools->response;
    struct http_limits limits = limits_of(s);
    struct http_fault fault;
    size_t seen = 0;
    enum http_method method = s->head ? HTTP_HEAD : HTTP_GET;
    if (http_response_parse(response, method, bytes, count, &seen, &limits, &fault) != HTTP_DONE)
        return 0;
    nghttp2_session *session = s->h2->session;
    nghttp2_data_provider body = {.source.ptr = s, .read_callback = offer};
    h2_list_response(&tools->list, response);
    int result;
    if (response->status < 200 && response->status != 101) {
        result = nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, s->id, NULL, tools->list.at,
                                        tools->list.count, NULL);
    } else {
        bool tunnel = response->status == 101;
        start_body(s, tunnel ? HTTP_BODY_CLOSE : response->framing, response->content_length);
        /* A request for a tunnel that is refused gets an answer as any other. */
        s->tunnel &= tunnel;
        result = nghttp2_submit_response(session, s->id, tools->list.at, tools->list.count,
                                         s->out_ended ? NULL : &body);
    }
    return result == 0 ? response->length : 0;
}

static void expect_tunnel(struct h2_stream *s, const struct http_request *request)
{
    const struct http_field *key = http_fields_named(&request->fields, STR("sec-websocket-key"));
    s->has_websocket = true;
    digest_sha1_base64(key == NULL ? STR("") : key->value, STR(WEBSOCKET_GUID), s->websocket);
}

size_t h2_tools_ask(struct h2_stream *s, const char *bytes, size_t count)
{
    struct h2_tools *tools = s->worker->h2_tools;
    struct http_request *request = &tools->request;
    struct http_limits limits = limits_of(s);
    struct http_fault fault;
    size_t seen = 0;
    if (http_request_parse(request, bytes, count, &seen, &limits, &fault) != HTTP_DONE)
        return 0;
    nghttp2_data_provider body = {.source.ptr = s, .read_callback = offer};
    bool tunnel = request->upgrade;
    s->head = request->method == HTTP_HEAD;
    if (tunnel)
        expect_tunnel(s, request);
    start_body(s, tunnel ? HTTP_BODY_CLOSE : request->framing, request->content_length);
    h2_list_request(&tools->list, request, tls_is_on(s->h2->wire) ? STR("https") : STR("http"), tunnel);
    s->id = nghttp2_submit_request(s->h2->session, NULL, tools->list.at, tools->list.count,
                                   s->out_ended ? NULL : &body, s);
    s->open = s->id > 0;
    return s->open ? request->length : 0;
}

bool h2_tools_trailers(struct h2_stream *s, struct str text)
{
    struct h2_tools *tools = s->worker->h2_tools;
    struct http_limits limits = limits_of(s);
    struct http_fault fault;
    if (http_trailers_parse(&tools->fields, text, &limits, &fault) == HTTP_BAD)
        return false;
    h2_list_trailers(&tools->list, &tools->fields);
    return nghttp2_submit_trailer(s->h2->session, s->id, tools->list.at, tools->list.count) == 0;
}
