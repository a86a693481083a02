/* One stream of one session. Invariant: nghttp2 is given no more once there is a verdict, and what it is
 * given has been counted by who gives it. */
#include "control/question_h2.h"

#include "base/mem.h"
#include "http/h2_text.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#define MALFORMED "a malformed head"

struct question_h2 {
    nghttp2_session *session;
    int32_t stream;
    struct question_verdict *verdict; /* while something is heard */
    bool settled;                     /* its settings came: it does speak HTTP/2 */
    struct h2_block block;
    char room[QUESTION_HEAD_MAX]; /* for the block */
};

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)session;
    (void)frame;
    struct question_h2 *question = arg;
    question->block.size = 0;
    return 0;
}

/* Not kept, it is not listened to either: a few bytes of HPACK can name much. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    (void)session;
    (void)frame;
    (void)flags;
    struct question_h2 *question = arg;
    if (h2_block_add(&question->block, (struct str){(const char *)name, name_n},
                     (struct str){(const char *)value, value_n}))
        return 0;
    question_blame(question->verdict, "a head of over %d bytes", QUESTION_HEAD_MAX);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* nghttp2 would pass over it, and the proxy would not. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    (void)session;
    (void)frame;
    (void)name;
    (void)name_n;
    (void)value;
    (void)value_n;
    (void)flags;
    struct question_h2 *question = arg;
    question_blame(question->verdict, MALFORMED);
    return 0;
}

static void take_head(struct question_h2 *question, bool ended)
{
    char text[QUESTION_HEAD_MAX + H2_TEXT_EXTRA];
    struct h2_text how = {.ended = ended};
    if (h2_text_response(&question->block, &how, text, sizeof text) == 0)
        question_blame(question->verdict, MALFORMED);
    else if (how.status >= 200)
        question->verdict->status = how.status;
}

static bool has_verdict(const struct question_h2 *question)
{
    return question->verdict->status != 0 || question->verdict->fault[0] != '\0';
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)session;
    struct question_h2 *question = arg;
    question->settled |= frame->hd.type == NGHTTP2_SETTINGS;
    if (has_verdict(question))
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->hd.stream_id == question->stream)
        take_head(question, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
    else if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        question_blame(question->verdict, "it said GOAWAY, %s",
                       nghttp2_http2_strerror(frame->goaway.error_code));
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    (void)session;
    (void)id;
    struct question_h2 *question = arg;
    if (question->verdict != NULL && question->verdict->status == 0)
        question_blame(question->verdict, "the stream was reset, %s", nghttp2_http2_strerror(code));
    return 0;
}

static bool open_session(struct question_h2 *question)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return false;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    bool opened = nghttp2_session_client_new(&question->session, callbacks, question) == 0;
    nghttp2_session_callbacks_del(callbacks);
    return opened;
}

static bool say_settings(struct question_h2 *question)
{
    static const nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, QUESTION_HEAD_MAX},
    };
    return nghttp2_submit_settings(question->session, NGHTTP2_FLAG_NONE, entries,
                                   sizeof entries / sizeof *entries) == 0;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static bool ask(struct question_h2 *question, const struct question_order *order)
{
    const nghttp2_nv fields[] = {
        field(":method", "GET"),
        field(":scheme", order->tls ? "https" : "http"),
        field(":authority", order->host),
        field(":path", order->path),
        field("user-agent", QUESTION_AGENT),
        field("accept", "*/*"),
        field("x-forwarded-proto", order->https ? "https" : "http"),
    };
    question->stream =
        nghttp2_submit_request(question->session, NULL, fields, sizeof fields / sizeof *fields, NULL, NULL);
    return question->stream > 0;
}

struct question_h2 *question_h2_new(const struct question_order *order)
{
    struct question_h2 *question = mem_zero(1, sizeof *question);
    question->block = (struct h2_block){.bytes = question->room, .room = sizeof question->room};
    if (open_session(question) && say_settings(question) && ask(question, order))
        return question;
    question_h2_free(question);
    return NULL;
}

void question_h2_free(struct question_h2 *question)
{
    if (question == NULL)
        return;
    nghttp2_session_del(question->session);
    free(question);
}

bool question_h2_gather(struct question_h2 *question, struct buf *out)
{
    const uint8_t *bytes;
    ssize_t count;
    while ((count = nghttp2_session_mem_send(question->session, &bytes)) > 0)
        buf_add(out, bytes, (size_t)count);
    return count == 0;
}

void question_h2_hear(struct question_h2 *question, const char *bytes, size_t count, struct buf *out,
                      struct question_verdict *verdict)
{
    question->verdict = verdict;
    ssize_t taken = nghttp2_session_mem_recv(question->session, (const uint8_t *)bytes, count);
    if (taken < 0 && verdict->status == 0)
        question_blame(verdict, "%s", nghttp2_strerror((int)taken));
    if (has_verdict(question))
        nghttp2_session_terminate_session(question->session, NGHTTP2_NO_ERROR);
    bool goes_on = question_h2_gather(question, out) && (nghttp2_session_want_read(question->session) ||
                                                         nghttp2_session_want_write(question->session));
    if (!goes_on && verdict->status == 0)
        question_blame(verdict, question->settled ? "it breaks the rules of HTTP/2" : "it speaks no HTTP/2");
    question->verdict = NULL;
}
