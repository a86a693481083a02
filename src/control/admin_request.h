/* admin_request: one request of the admin API as a handler sees it, and the ways to answer it.
 *
 * Whoever has got a request answers it once, now or later: with an answer or a problem, or by opening a
 * stream and ending it. Each of these ends the request; it must not be touched afterwards. When its client
 * goes away first, `gone` is called where it is set, and that ends it too; where it is not set, the answer is
 * still due and goes nowhere. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "control/conductor.h"
#include "http/http.h"

#include <jansson.h>

struct admin_client;

struct admin_request {
    enum http_method method; /* HEAD is answered as GET; the body is left out here */
    char *path;              /* without query */
    char *query;             /* without '?'; "" where there is none */
    bool wants_events;       /* Accept: text/event-stream */
    char *last_event;        /* Last-Event-ID, or NULL */
    struct buf body;         /* at most 1 MiB */
    struct asker asker;

    /* For a handler that answers later. */
    void (*gone)(void *arg);
    bool ends_with_input; /* the client's end of input counts as its going: the answer may never end */
    /* For a stream: what was sent has left for the most part; send more. */
    void (*drained)(void *arg);
    void *arg; /* for both */

    /* the rest is the server's own */
    struct admin_client *client; /* NULL: it has gone */
    uint8_t minor;
    bool keep_alive;
    bool streaming, chunked;
};

/* Appends JSON as answers have it, without a line end. */
void admin_write_json(struct buf *out, const json_t *json);

/* Answers with JSON; `body` is borrowed. */
void admin_answer_json(struct admin_request *request, unsigned status, const json_t *body);
void admin_answer_text(struct admin_request *request, const char *content_type, struct str body);
/* The same with field lines of its own, each with its line end. */
void admin_answer_file(struct admin_request *request, const char *content_type, const char *fields,
                       struct str body);

/* Answers with application/problem+json (RFC 9457); the sentence names field, value and remedy. */
void admin_problem(struct admin_request *request, unsigned status, const char *format, ...) PRINTF_LIKE(3, 4);
/* The same with a field line of its own, without line end: "Allow: GET". */
void admin_problem_with(struct admin_request *request, unsigned status, const char *field,
                        const char *sentence);

/* Begins an answer of unknown length. */
void admin_stream_begin(struct admin_request *request, const char *content_type);
/* Sends a piece. False: enough for now, wait for `drained`. */
bool admin_stream_send(struct admin_request *request, struct str bytes);
void admin_stream_end(struct admin_request *request);
