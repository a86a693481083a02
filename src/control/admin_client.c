/* A connection has at most one request under way; what comes behind it waits in the input buffer, which is
 * bounded, and the next one is begun only when most of the answers before it has been read. A connection that
 * is closed is taken off all lists at once and freed after the event turn. */
#include "control/admin_client.h"

#include "base/mem.h"
#include "control/admin_browser.h"
#include "http/answer.h"
#include "http/body.h"
#include "http/request.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX ((size_t)1024 * 1024)
#define INPUT_MAX ((size_t)64 * 1024)

static const struct http_limits head_limits = {.head = 32 * 1024, .fields = 100};

enum state {
    READING_HEAD,
    READING_BODY,
    ANSWERING, /* the request is with its handler, or will be when it is known who asks */
    CLOSING,   /* the last answer is written; the rest of the input is thrown away */
};

struct admin_client {
    struct admin_host *host;
    struct bufferevent *stream;
    bool tcp;
    struct admin_peer peer;         /* where it is not by TCP */
    struct names_question question; /* what that is called: under way before a request is dispatched */
    enum state state;
    bool idle;       /* is in host->idle */
    bool ended;      /* the client has sent its end */
    bool processing; /* `process` stands on the stack */
    bool closed;
    size_t seen; /* of the head */
    struct http_body body;
    struct admin_request *request; /* READING_BODY and ANSWERING */
    struct deadline deadline;      /* of head, body, idleness or closing */
    TAILQ_ENTRY(admin_client) of_host, of_idle;
    struct loop_deferred freeing;
};

static void process(struct admin_client *client);

/* ---- requests ---- */

static char *field_text(const struct http_request *head, struct str name)
{
    const struct http_field *field = http_fields_named(&head->fields, name);
    return field == NULL ? NULL : str_dup(field->value);
}

static bool accepts_events(const struct http_request *head)
{
    const struct http_field *accept = http_fields_find(&head->fields, HTTP_FIELD_ACCEPT);
    return accept != NULL && memmem(accept->value.p, accept->value.n, "text/event-stream", 17) != NULL;
}

static struct admin_request *request_new(struct admin_client *client, const struct http_request *head)
{
    struct admin_request *request = mem_zero(1, sizeof *request);
    request->client = client;
    request->method = head->method;
    request->path = str_dup(head->path);
    request->query =
        head->query.n > 0 ? str_dup((struct str){head->query.p + 1, head->query.n - 1}) : mem_dup("");
    request->wants_events = accepts_events(head);
    request->last_event = field_text(head, STR("Last-Event-ID"));
    request->minor = head->minor;
    request->keep_alive = head->keep_alive && head->minor > 0;
    return request;
}

/* ---- the connection's end ---- */

static void leave_idle(struct admin_client *client)
{
    if (client->idle)
        TAILQ_REMOVE(&client->host->idle, client, of_idle);
    client->idle = false;
}

static void run_freeing(struct loop_deferred *deferred)
{
    free(mem_container(deferred, struct admin_client, freeing));
}

/* The handler keeps the request, unless it wants to know. */
static void abandon_request(struct admin_client *client)
{
    struct admin_request *request = client->request;
    bool is_kept = client->state == READING_BODY || client->question.names != NULL;
    client->request = NULL;
    names_cancel(&client->question);
    if (request == NULL)
        return;
    request->client = NULL;
    if (is_kept) {
        admin_request_free(request);
    } else if (request->gone != NULL) {
        request->gone(request->arg);
        admin_request_free(request);
    }
}

void admin_client_close(struct admin_client *client)
{
    if (client->closed)
        return;
    client->closed = true;
    abandon_request(client);
    leave_idle(client);
    TAILQ_REMOVE(&client->host->clients, client, of_host);
    client->host->count--;
    deadline_clear(&client->deadline);
    bufferevent_free(client->stream);
    client->stream = NULL;
    client->freeing.run = run_freeing;
    loop_defer(client->host->loop, &client->freeing);
    client->host->closed(client->host->arg);
}

struct evbuffer *admin_client_output(const struct admin_client *client)
{
    return bufferevent_get_output(client->stream);
}

/* A close with bytes unread would reset the connection and take the answer from the client: sends the end,
 * and throws away what still comes, for a while. */
static void linger(struct admin_client *client)
{
    if (evbuffer_get_length(admin_client_output(client)) > 0)
        return;
    if (client->ended) {
        admin_client_close(client);
        return;
    }
    shutdown(bufferevent_getfd(client->stream), SHUT_WR);
    deadline_set(&client->deadline, client->host->limits.linger);
}

static void begin_closing(struct admin_client *client)
{
    client->state = CLOSING;
    deadline_clear(&client->deadline);
    evbuffer_drain(bufferevent_get_input(client->stream), SIZE_MAX);
    linger(client);
}

static void dismiss(struct admin_client *client)
{
    switch (client->state) {
    case READING_HEAD:
    case READING_BODY:
        abandon_request(client);
        leave_idle(client);
        begin_closing(client);
        break;
    case ANSWERING:
        assert(client->request != NULL);
        client->request->keep_alive = false;
        if (client->request->ends_with_input)
            admin_client_close(client);
        break;
    case CLOSING:
        break;
    }
}

void admin_client_dismiss_tcp(struct admin_host *host)
{
    struct admin_client *client = TAILQ_FIRST(&host->clients), *next;
    for (; client != NULL; client = next) {
        next = TAILQ_NEXT(client, of_host);
        if (client->tcp)
            dismiss(client);
    }
}

void admin_client_answered(struct admin_client *client, bool keep_alive)
{
    client->request = NULL;
    if (!keep_alive) {
        begin_closing(client);
        return;
    }
    client->state = READING_HEAD;
    client->seen = 0;
    if (!client->processing)
        process(client);
}

/* ---- reading ---- */

/* The whole input in one piece. */
static struct str input(const struct admin_client *client)
{
    struct evbuffer *in = bufferevent_get_input(client->stream);
    size_t count = evbuffer_get_length(in);
    return (struct str){count == 0 ? "" : (const char *)evbuffer_pullup(in, -1), count};
}

static void consume(struct admin_client *client, size_t count)
{
    evbuffer_drain(bufferevent_get_input(client->stream), count);
}

/* Takes as long whatever the bytes are. */
static bool same_secret(struct str given, struct str secret)
{
    size_t differs = given.n ^ secret.n;
    for (size_t i = 0; i < given.n; i++)
        differs |= (size_t)(unsigned char)(given.p[i] ^ secret.p[i % secret.n]);
    return differs == 0;
}

static bool knows_token(const struct admin_client *client, const struct http_request *head)
{
    const struct http_field *field = http_fields_named(&head->fields, STR("Authorization"));
    const char *token = client->host->token;
    if (field == NULL || token == NULL || token[0] == '\0' || field->value.n < 7 ||
        !str_equal_nocase((struct str){field->value.p, 7}, STR("Bearer ")))
        return false;
    return same_secret(str_trim((struct str){field->value.p + 7, field->value.n - 7}), str_of(token));
}

/* The dashboard's files are for everybody who comes by TCP: a browser has no token before the page has asked
 * for it, and they hold no data. */
static bool is_let_in(const struct admin_client *client, const struct http_request *head)
{
    if (client->tcp)
        return admin_browser_wants_page(head) || knows_token(client, head);
    return client->peer.let_in;
}

/* Says why not. */
static bool may_enter(struct admin_client *client, const struct http_request *head)
{
    struct err err;
    bool allowed = admin_browser_allows(head, client->tcp, &err);
    if (allowed && is_let_in(client, head))
        return true;
    client->state = ANSWERING;
    client->request->keep_alive &= client->body.done;
    if (!allowed)
        admin_problem(client->request, 403, "%s", err.text);
    else if (client->tcp)
        admin_problem_with(client->request, 401, "WWW-Authenticate: Bearer realm=\"upswap\"",
                           "this address is for those who know the token: send Authorization: Bearer TOKEN "
                           "with what is in admin.token_file");
    else
        admin_problem(
            client->request, 403,
            "this socket is for root, user %u and group %u, and you are user %u; be one of them, or "
            "name a group that you are in as admin.group",
            (unsigned)client->host->owners.user, (unsigned)client->host->owners.group,
            (unsigned)client->peer.uid);
    return false;
}

/* Refuses what is not worth reading on for. True: refused. */
static bool refuse_head(struct admin_client *client, const struct http_request *head)
{
    if (!may_enter(client, head))
        return true;
    if (head->framing != HTTP_BODY_LENGTH || head->content_length <= BODY_MAX)
        return false;
    client->state = ANSWERING;
    client->request->keep_alive = false;
    admin_problem(client->request, 413, "the body has %llu bytes; at most 1 MiB is taken",
                  (unsigned long long)head->content_length);
    return true;
}

/* Ends the connection with a problem, in whatever part of a request it is. */
static void refuse(struct admin_client *client, unsigned status, const char *sentence, const char *detail)
{
    if (client->request == NULL) {
        client->request = mem_zero(1, sizeof *client->request);
        client->request->client = client;
        client->request->minor = 1;
    }
    client->state = ANSWERING;
    client->request->keep_alive = false;
    admin_problem(client->request, status, "%s%s", sentence, detail);
}

static void refuse_fault(struct admin_client *client, const struct http_fault *fault)
{
    refuse(client, fault->status, "the request is not valid HTTP/1.1: ", fault->reason);
}

/* Returns false while bytes are missing. */
static bool read_head(struct admin_client *client)
{
    /* Of 10 KiB, used between two callbacks at most, and there is one thread. */
    static struct http_request head;
    struct http_fault fault;
    struct str bytes = input(client);
    if (bytes.n == 0)
        return false;
    switch (http_request_parse(&head, bytes.p, bytes.n, &client->seen, &head_limits, &fault)) {
    case HTTP_MORE:
        return false;
    case HTTP_BAD:
        refuse_fault(client, &fault);
        return true;
    case HTTP_DONE:
        break;
    }
    client->request = request_new(client, &head);
    http_body_start(&client->body, head.framing, head.content_length);
    client->state = READING_BODY;
    deadline_clear(&client->deadline);
    if (!refuse_head(client, &head)) {
        deadline_set(&client->deadline, client->host->limits.body);
        if (head.expect_continue && !client->body.done)
            evbuffer_add(admin_client_output(client), http_continue.p, http_continue.n);
    }
    if (!client->closed && client->state != CLOSING)
        consume(client, head.length);
    return true;
}

static void on_name(struct names_question *question, const char *name)
{
    struct admin_client *client = mem_container(question, struct admin_client, question);
    admin_peer_name(&client->peer, name, &client->request->asker);
    client->host->dispatch(client->host->arg, client->request);
}

/* The kernel says who is at the other end of a Unix socket; over TCP the token does. Who only looks is not
 * asked for. */
static void dispatch(struct admin_client *client)
{
    struct admin_request *request = client->request;
    assert(request != NULL);
    client->state = ANSWERING;
    deadline_clear(&client->deadline);
    if (request->method == HTTP_POST && !client->tcp) {
        names_ask(client->host->names, client->peer.uid, &client->question, on_name);
        return;
    }
    request->asker = (struct asker){.uid = -1, .user = "token"};
    client->host->dispatch(client->host->arg, request);
}

/* Returns false while bytes are missing. */
static bool read_body(struct admin_client *client)
{
    struct admin_request *request = client->request;
    assert(request != NULL); /* its head has been read */
    while (!client->body.done) {
        struct str bytes = input(client), data, trailers;
        struct http_fault fault;
        size_t used;
        if (http_body_step(&client->body, bytes.p, bytes.n, &head_limits, &used, &data, &trailers, &fault) ==
            HTTP_BAD) {
            refuse_fault(client, &fault);
            return true;
        }
        buf_add(&request->body, data.p, data.n);
        consume(client, used);
        if (request->body.n > BODY_MAX) {
            refuse(client, 413, "the body has more than 1 MiB, which is all that is taken", "");
            return true;
        }
        if (used == 0 && !client->body.done)
            return false;
    }
    dispatch(client);
    return true;
}

/* Nothing of a request is there, and every answer has left. */
static void become_idle(struct admin_client *client)
{
    if (client->idle)
        return;
    client->idle = true;
    TAILQ_INSERT_TAIL(&client->host->idle, client, of_idle);
    deadline_set(&client->deadline, client->host->limits.idle);
}

/* Nothing can be done until something is read or written. */
static void await(struct admin_client *client)
{
    size_t unread = evbuffer_get_length(admin_client_output(client));
    if (client->state == READING_HEAD && unread >= ADMIN_OUTPUT_MAX)
        return;
    if (client->ended) {
        abandon_request(client); /* its rest will not come */
        begin_closing(client);
    } else if (client->state == READING_BODY) {
        assert(deadline_is_set(&client->deadline));
    } else if (evbuffer_get_length(bufferevent_get_input(client->stream)) > 0) {
        if (!deadline_is_set(&client->deadline))
            deadline_set(&client->deadline, client->host->limits.head);
    } else if (unread == 0) {
        become_idle(client);
    }
}

static bool step(struct admin_client *client)
{
    switch (client->state) {
    case READING_HEAD:
        return evbuffer_get_length(admin_client_output(client)) < ADMIN_OUTPUT_MAX && read_head(client);
    case READING_BODY:
        return read_body(client);
    case ANSWERING:
    case CLOSING:
        break;
    }
    return false;
}

/* Goes as far as the input and the handlers allow. */
static void process(struct admin_client *client)
{
    client->processing = true;
    while (!client->closed && step(client))
        ;
    client->processing = false;
    if (!client->closed && (client->state == READING_HEAD || client->state == READING_BODY))
        await(client);
}

/* ---- events ---- */

static void on_input(struct bufferevent *stream, void *arg)
{
    (void)stream;
    struct admin_client *client = arg;
    if (client->state == CLOSING) {
        consume(client, SIZE_MAX);
        return;
    }
    if (client->idle) {
        leave_idle(client);
        deadline_clear(&client->deadline);
    }
    process(client);
}

/* All that was written has left. */
static void on_output(struct bufferevent *stream, void *arg)
{
    (void)stream;
    struct admin_client *client = arg;
    struct admin_request *request = client->request;
    if (client->state == CLOSING)
        linger(client);
    else if (client->state == READING_HEAD)
        process(client);
    else if (request != NULL && request->streaming && request->drained != NULL)
        request->drained(request->arg);
}

static void on_event(struct bufferevent *stream, short what, void *arg)
{
    (void)stream;
    struct admin_client *client = arg;
    bool end_of_input = (what & BEV_EVENT_EOF) != 0 && (what & BEV_EVENT_READING) != 0;
    bool is_followed = client->request != NULL && client->request->ends_with_input;
    client->ended = true;
    if (!end_of_input || is_followed)
        admin_client_close(client);
    else if (client->state == CLOSING)
        linger(client);
    else if (client->state != ANSWERING)
        process(client);
}

static void on_deadline(struct deadline *deadline)
{
    struct admin_client *client = mem_container(deadline, struct admin_client, deadline);
    if (client->idle || client->state == CLOSING) {
        admin_client_close(client);
        return;
    }
    refuse(client, 408, "the rest of the request did not come in time", "");
}

struct admin_client *admin_client_spare(const struct admin_host *host, bool tcp)
{
    struct admin_client *client;
    TAILQ_FOREACH (client, &host->idle, of_idle) {
        if (client->tcp || !tcp)
            return client;
    }
    TAILQ_FOREACH (client, &host->clients, of_host) {
        if (client->state != ANSWERING && (client->tcp || !tcp))
            return client;
    }
    return NULL;
}

void admin_client_new(struct admin_host *host, int fd, const struct admin_peer *peer)
{
    struct admin_client *client = mem_zero(1, sizeof *client);
    struct timeval stall = {.tv_sec = (time_t)(host->limits.stall / 1000),
                            .tv_usec = (suseconds_t)(host->limits.stall % 1000 * 1000)};
    client->host = host;
    client->tcp = peer == NULL;
    if (peer != NULL)
        client->peer = *peer;
    client->stream = bufferevent_socket_new(loop_base(host->loop), fd, BEV_OPT_CLOSE_ON_FREE);
    assert(client->stream != NULL);
    deadline_init(&client->deadline, host->loop, on_deadline);
    TAILQ_INSERT_TAIL(&host->clients, client, of_host);
    host->count++;
    bufferevent_setcb(client->stream, on_input, on_output, on_event, client);
    bufferevent_setwatermark(client->stream, EV_READ, 0, INPUT_MAX);
    bufferevent_set_timeouts(client->stream, NULL, &stall);
    bufferevent_enable(client->stream, EV_READ | EV_WRITE);
    become_idle(client);
}
