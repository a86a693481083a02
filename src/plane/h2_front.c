/* The server's side of HTTP/2. Invariant: a stream's struct is given back only when both the connection and
 * the client that stood on it have left, and never within the turn in which the client was closed. */
#include "plane/h2_front.h"

#include "base/mem.h"
#include "http/h2_text.h"
#include "plane/exchange.h"
#include "plane/h2_stream.h"
#include "plane/h2_tools.h"

#include <stdlib.h>

#define STOP_MS 1000 /* a client that does not answer the ping has heard of the end by then */

/* Which deadline holds. */
enum front_waits { WAITS_FOR_NOTHING, WAITS_FOR_HEAD, WAITS_IDLE, WAITS_FOR_FLUSH, WAITS_FOR_PONG };

struct h2_front {
    struct h2 h2;
    struct client *client;
    enum front_waits waits;
    size_t unsent; /* WAITS_FOR_FLUSH: bytes when that began */
    bool stopping; /* the first GOAWAY is sent */
    bool last;     /* the second is */
    struct loop_deferred freeing;
};

struct h2_front_stream {
    struct client client;
    struct h2_stream h2;
    bool refused; /* its head was over the limit */
    bool left;    /* the client has */
    bool forgotten;
};

static const struct end too_large = {"head-too-large", 431, END_NO_ERROR};

/* ---- streams ---- */

static void give_back(struct h2_front_stream *stream)
{
    buffers_give_block(stream->client.worker->buffers, stream);
}

static void run_leaving(struct loop_deferred *deferred)
{
    struct h2_front_stream *stream = mem_container(deferred, struct h2_front_stream, client.freeing);
    stream->left = true;
    if (stream->forgotten)
        give_back(stream);
}

static void left(struct client *client)
{
    client->freeing.run = run_leaving;
    loop_defer(client->worker->loop, &client->freeing);
}

static void forget(struct h2_stream *s)
{
    struct h2_front_stream *stream = mem_container(s, struct h2_front_stream, h2);
    stream->forgotten = true;
    if (stream->left)
        give_back(stream);
}

static void lose(struct h2_stream *s)
{
    struct h2_front_stream *stream = mem_container(s, struct h2_front_stream, h2);
    if (stream->client.exchange != NULL)
        exchange_end(stream->client.exchange, &end_client_closed);
    if (!s->closed)
        client_close(&stream->client, true);
    forget(s);
}

static void stream_ready(struct stream *virtual)
{
    struct h2_front_stream *stream = mem_container(virtual, struct h2_front_stream, client.stream);
    if (!stream->refused || stream->client.state != CLIENT_HEAD)
        client_ready(virtual);
    else
        client_refuse(&stream->client, &too_large);
}

static struct h2_stream *begin(struct h2 *h2)
{
    struct h2_front *front = mem_container(h2, struct h2_front, h2);
    struct h2_front_stream *stream = buffers_take_block(h2->worker->buffers, sizeof *stream);
    if (stream == NULL)
        return NULL;
    memset(stream, 0, sizeof *stream);
    stream->client.stream.ready = stream_ready;
    h2_stream_start(&stream->h2, h2, &stream->client.stream, true);
    client_begin(h2->worker, &stream->client, &front->client->peer, left);
    return &stream->h2;
}

/* Any key will do: it proves that the instance has read the request. */
static struct str make_key(struct worker *worker, char key[RANDOM_ID_SIZE])
{
    random_id(&worker->random, key);
    memcpy(key + 21, "A==", 3);
    return (struct str){key, 24};
}

static bool head(struct h2_stream *s, const struct h2_block *block, bool ended)
{
    struct h2_front_stream *stream = mem_container(s, struct h2_front_stream, h2);
    struct h2_tools *tools = s->worker->h2_tools;
    char key[RANDOM_ID_SIZE];
    struct h2_text how = {.ended = ended, .websocket = make_key(s->worker, key)};
    size_t size = h2_text_request(block, &how, tools->text, tools->text_room);
    if (size == 0)
        return false;
    s->in_headed = true;
    s->in_framing = (uint8_t)how.framing;
    s->in_measured = how.measured;
    s->in_left = how.length;
    stream->client.announced = how.measured && how.framing == HTTP_BODY_CHUNKED ? how.length : 0;
    s->head = how.head;
    s->tunnel = how.tunnel;
    if (how.tunnel) {
        digest_sha1_base64(how.websocket, STR(WEBSOCKET_GUID), s->websocket);
        stream->client.websocket_accept = s->websocket;
    }
    return h2_stream_take_head(s, (struct str){tools->text, size});
}

static bool refuse_head(struct h2_stream *s)
{
    struct h2_front_stream *stream = mem_container(s, struct h2_front_stream, h2);
    stream->refused = true;
    s->in_headed = true;
    s->in_framing = HTTP_BODY_CLOSE;
    h2_tell(s);
    return true;
}

bool h2_front_is_sent(const struct client *client)
{
    const struct h2_front_stream *stream = mem_container(client, struct h2_front_stream, client);
    const struct h2 *h2 = stream->h2.h2;
    return h2 == NULL || outlet_waiting(h2->out) == 0;
}

/* ---- the connection ---- */

static void wait_for(struct h2_front *front, enum front_waits what, uint32_t ms)
{
    if (front->waits == what)
        return;
    front->waits = what;
    worker_deadline(&front->client->deadline, ms);
}

/* Whoever takes some of it has time for the rest. */
static void wait_for_flush(struct h2_front *front)
{
    size_t unsent = outlet_waiting(front->h2.out);
    if (front->waits == WAITS_FOR_FLUSH && unsent < front->unsent)
        front->waits = WAITS_FOR_NOTHING;
    front->unsent = unsent;
    wait_for(front, WAITS_FOR_FLUSH, CLIENT_FLUSH_MS);
}

static void changed(struct h2 *h2)
{
    struct h2_front *front = mem_container(h2, struct h2_front, h2);
    const struct snapshot_settings *settings = h2->worker->settings;
    if (front->stopping && !front->last)
        return;
    if (h2->reading.open)
        wait_for(front, WAITS_FOR_HEAD, settings->head_ms);
    else if (h2->stream_count > 0)
        wait_for(front, WAITS_FOR_NOTHING, 0);
    else if (outlet_waiting(h2->out) > 0)
        wait_for_flush(front);
    else
        wait_for(front, WAITS_IDLE, settings->idle_ms);
}

static void say_last(struct h2_front *front)
{
    if (!front->stopping || front->last)
        return;
    front->last = true;
    front->waits = WAITS_FOR_NOTHING;
    deadline_clear(&front->client->deadline);
    h2_leave(&front->h2);
}

static void answered(struct h2 *h2)
{
    say_last(mem_container(h2, struct h2_front, h2));
}

static void run_freeing(struct loop_deferred *deferred)
{
    free(mem_container(deferred, struct h2_front, freeing));
}

void h2_front_close(struct h2_front *front)
{
    front->client->h2 = NULL;
    h2_free(&front->h2);
    front->freeing.run = run_freeing;
    loop_defer(front->h2.worker->loop, &front->freeing);
}

static void over(struct h2 *h2)
{
    struct h2_front *front = mem_container(h2, struct h2_front, h2);
    struct client *client = front->client;
    bool broken = h2->ended, floods = h2->calm != NULL;
    h2_front_close(front);
    if (broken)
        client_close(client, false);
    else
        client_h2_over(client, floods);
}

static const struct h2_role role = {begin, head, refuse_head, forget, lose, changed, answered, over};

/* The block that is open may be another one than that which was waited for. */
static bool is_late(const struct h2_front *front)
{
    const struct h2 *h2 = &front->h2;
    return h2->reading.open &&
           loop_ms(h2->worker->loop) >= h2->reading.since_ms + h2->worker->settings->head_ms;
}

void h2_front_timed_out(struct h2_front *front)
{
    enum front_waits waits = front->waits;
    front->waits = WAITS_FOR_NOTHING;
    switch (waits) {
    case WAITS_FOR_PONG:
        say_last(front);
        break;
    case WAITS_FOR_HEAD:
        if (is_late(front))
            h2_finish(&front->h2, H2_NO_ERROR);
        else
            changed(&front->h2);
        break;
    case WAITS_IDLE:
        h2_finish(&front->h2, H2_NO_ERROR);
        break;
    case WAITS_FOR_FLUSH:
        client_close(front->client, true);
        break;
    case WAITS_FOR_NOTHING:
        break;
    }
}

void h2_front_stop(struct h2_front *front)
{
    if (front->stopping)
        return;
    front->stopping = true;
    h2_give_notice(&front->h2);
    front->waits = WAITS_FOR_PONG;
    deadline_set(&front->client->deadline, STOP_MS);
}

void h2_front_ready(struct h2_front *front)
{
    h2_ready(&front->h2);
}

struct h2_front *h2_front_new(struct client *client)
{
    struct h2_front *front = malloc(sizeof *front);
    if (front == NULL)
        return NULL;
    front->client = client;
    front->waits = WAITS_FOR_NOTHING;
    front->stopping = front->last = false;
    if (!h2_start(&front->h2, client->worker, &role, true, &client->stream, &client->in, &client->out)) {
        free(front);
        return NULL;
    }
    if (client_is_leaving(client))
        h2_front_stop(front);
    return front;
}

enum h2_preface h2_front_preface(const char *bytes, size_t count)
{
    size_t n = count < H2_MAGIC_SIZE ? count : H2_MAGIC_SIZE;
    if (memcmp(bytes, H2_MAGIC, n) != 0)
        return H2_PREFACE_NONE;
    return n < H2_MAGIC_SIZE ? H2_PREFACE_PART : H2_PREFACE_WHOLE;
}
