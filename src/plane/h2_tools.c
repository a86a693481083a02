/* Invariant: a stream's final head is written once, and with an end exactly if no body follows. */
#include "plane/h2_tools.h"

#include "base/mem.h"
#include "http/h2_text.h"
#include "io/digest.h"
#include "io/tls.h"
#include "plane/h2_session.h"
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
    free(tools->block);
    free(tools);
}

void h2_tools_resize(struct h2_tools *tools, size_t head_max)
{
    size_t room = head_max + HTTP_FORWARD_EXTRA + H2_TEXT_EXTRA;
    tools->names = mem_resize(tools->names, room, 1);
    tools->text = mem_resize(tools->text, room, 1);
    tools->text_room = room;
    tools->block_room = head_max + H2_FIELD_ROOM;
    tools->block = mem_resize(tools->block, tools->block_room, 1);
    tools->list.names = tools->names;
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
    struct h2_answer answer;
    size_t length = h2_list_response(&tools->list, &answer, s->head, bytes, count);
    if (length == 0)
        return 0;
    if (answer.status >= 200 || answer.status == 101) {
        start_body(s, answer.framing, answer.length);
        /* A request for a tunnel that is refused gets an answer as any other. */
        s->tunnel &= answer.status == 101;
    }
    h2_write_head(s, &tools->list, s->out_ended);
    return length;
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
    /* It may have been lent before the instance has said how many it takes (RFC 9113 section 5.1.2), or that
     * it takes no more. */
    s->refused = s->h2->open_count >= s->h2->peer.streams || !h2_takes_requests(s->h2);
    if (s->refused || http_request_parse(request, bytes, count, &seen, &limits, &fault) != HTTP_DONE)
        return 0;
    struct h2 *h2 = s->h2;
    bool tunnel = request->upgrade;
    s->head = request->method == HTTP_HEAD;
    if (tunnel)
        expect_tunnel(s, request);
    start_body(s, tunnel ? HTTP_BODY_CLOSE : request->framing, request->content_length);
    h2_list_request(&tools->list, request, tls_is_on(h2->wire) ? STR("https") : STR("http"), tunnel);
    h2_open(s, h2->next);
    h2->next += 2;
    h2_write_head(s, &tools->list, s->out_ended);
    return request->length;
}

const struct h2_list *h2_tools_trailers(struct h2_stream *s, struct str text)
{
    struct h2_tools *tools = s->worker->h2_tools;
    struct http_limits limits = limits_of(s);
    struct http_fault fault;
    if (http_trailers_parse(&tools->fields, text, &limits, &fault) == HTTP_BAD)
        return NULL;
    h2_list_trailers(&tools->list, &tools->fields);
    return &tools->list;
}
