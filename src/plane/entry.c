/* What the access log is told of a request. Invariant: its texts are kept in one buffer, from the head's
 * arrival to the exchange's end, and only where a log is written. */
#include "plane/exchange.h"

static struct str cut(struct str text, size_t most)
{
    return (struct str){text.p, text.n < most ? text.n : most};
}

static struct str keep_text(char **to, struct str text)
{
    struct str kept = {*to, text.n};
    if (kept.n > 0)
        memcpy(*to, text.p, kept.n);
    *to += kept.n;
    return kept;
}

/* The head's bytes are gone when the line is written. */
void entry_keep(struct exchange *x, const struct http_request *request)
{
    struct exchange_texts *texts = &x->texts;
    struct str method = cut(request->method_text, ACCESS_LOG_TEXT_MAX);
    struct str host = cut(request->host, ACCESS_LOG_TEXT_MAX);
    struct str target = cut(request->target, ACCESS_LOG_TARGET_MAX);
    struct str user_agent =
        cut(http_fields_value(&request->fields, HTTP_FIELD_USER_AGENT), ACCESS_LOG_TEXT_MAX);
    struct str referer = cut(http_fields_value(&request->fields, HTTP_FIELD_REFERER), ACCESS_LOG_TEXT_MAX);
    texts->buffer = buffers_take(x->worker->buffers, method.n + host.n + target.n + user_agent.n + referer.n);
    if (texts->buffer == NULL)
        return;
    char *to = texts->buffer->bytes;
    texts->method = keep_text(&to, method);
    texts->host = keep_text(&to, host);
    texts->target = keep_text(&to, target);
    texts->user_agent = keep_text(&to, user_agent);
    texts->referer = keep_text(&to, referer);
}

void entry_write(struct exchange *x, const struct end *end, uint64_t duration_ns)
{
    const struct exchange_texts *texts = &x->texts;
    const struct snapshot *snapshot = x->view->snapshot;
    struct access_log_entry entry = {
        .client = peer_text(x->peer),
        .host = texts->host,
        .method = texts->method,
        .target = texts->target,
        .user_agent = texts->user_agent,
        .referer = texts->referer,
        .request_id = {x->id, x->id_length},
        .trace_id = {x->trace, x->traced ? sizeof x->trace : 0},
        .minor = x->minor,
        .http2 = client_is_stream(x->client),
        .status = x->status,
        .retries = x->retries,
        .bytes_in = x->head_in + x->up.bytes,
        .bytes_out = x->head_out + x->down.bytes,
        .body_out = x->down.bytes,
        .duration_ns = duration_ns,
        .tls_version = x->client->peer.tls_version,
        .tls_cipher = x->client->peer.tls_cipher,
        .reason = str_of(end->word),
    };
    if (x->service != NULL)
        entry.service = snapshot_service_name(snapshot, x->service);
    if (x->pool != NULL)
        entry.pool = snapshot_pool_deployment(exchange_choices(x), x->pool);
    if (x->attempted)
        entry.instance = x->instance.name;
    access_log_write(x->worker->log, (enum snapshot_access_log)snapshot_settings(snapshot)->access_log,
                     &entry);
    buffers_give(x->worker->buffers, x->texts.buffer);
}
