/* What upswap tells a client itself. */
#include "http/answer.h"
#include "plane/access_log.h"
#include "plane/client_parts.h"
#include "plane/worker.h"

uint32_t client_hsts(const struct client *client)
{
    const struct peer *peer = &client->peer;
    return peer->tls ? peer->door.hsts_s : 0;
}

size_t client_answer(struct client *client, const struct own_answer *own)
{
    struct http_answer answer = {.status = own->end->status,
                                 .reason = own->end->word,
                                 .detail = own->detail,
                                 .client_minor = own->minor,
                                 .head = own->head,
                                 .json = own->json,
                                 .grpc = own->grpc,
                                 .keep_alive = own->keep_alive,
                                 .retry_after = own->retry_after,
                                 .date = worker_date(client->worker),
                                 .request_id = own->request_id,
                                 .location = own->location,
                                 .hsts_s = client_hsts(client),
                                 .page = own->page,
                                 .rules = own->rules,
                                 .variables = own->variables};
    struct worker *worker = client->worker;
    size_t size = http_answer_write(&answer, worker->head, worker->head_room);
    struct iovec part = {worker->head, size};
    if (size == 0)
        return 0;
    client->stream.last = !own->keep_alive;
    switch (outlet_send(&client->out, worker->buffers, &client->stream, &part, 1)) {
    case OUTLET_EMPTY:
    case OUTLET_WAITING:
        return size;
    case OUTLET_FAILED:
    case OUTLET_NO_MEMORY:
        break;
    }
    return 0;
}

void client_log_refusal(struct client *client, const struct end *end, struct str id, size_t sent)
{
    struct worker *worker = client->worker;
    counters_add(&worker->cells->refused[counters_refused(end->status)], 1);
    if (worker->settings->access_log == SNAPSHOT_LOG_NONE)
        return;
    struct access_log_entry entry = {.client = peer_text(&client->peer),
                                     .minor = 1,
                                     .http2 = client_is_stream(client),
                                     .status = end->status,
                                     .bytes_in = client->in.n,
                                     .bytes_out = sent,
                                     .body_out = sent,
                                     .request_id = id,
                                     .reason = str_of(end->word)};
    access_log_write(worker->log, worker->settings->access_log, &entry);
}
