/* client: HTTP and JSON over the admin socket. One request at a time, beside at most one stream of events. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct client;

/* How a request or a turn of a stream went. */
enum client_result {
    CLIENT_ANSWERED,
    CLIENT_UNREACHABLE, /* no connection, so nothing was asked; the sentence names the socket */
    CLIENT_UNANSWERED,  /* asked, but the connection broke or the time was over: it may have been done */
    CLIENT_INTERRUPTED, /* Ctrl-C, after client_catch_interrupt; nothing was asked */
    CLIENT_ABANDONED,   /* Ctrl-C, too, but asked: it may have been done */
};

/* An answer. Free with client_reply_free. */
struct client_reply {
    unsigned status;
    struct buf text; /* the body as it came */
    json_t *json;    /* NULL: the body is no JSON */
};

struct client *client_new(const char *socket);
void client_free(struct client *client);

/* From now on Ctrl-C ends waiting instead of the process. May be called again. Does nothing where whoever has
 * started the process has it ignore Ctrl-C. */
void client_catch_interrupt(struct client *client);

#define CLIENT_FOREVER 0
#define CLIENT_COMING_UP_MS 1000 /* a daemon that is starting, or whose control is, is waited for */

/* `body` may be NULL; it is not taken. `timeout_ms`: of all of it; CLIENT_FOREVER: none. A daemon that does
 * not listen is given CLIENT_COMING_UP_MS of that. The reply is set, and must be freed, only with
 * CLIENT_ANSWERED. */
enum client_result client_request(struct client *client, const char *method, const char *path,
                                  const json_t *body, uint64_t timeout_ms, struct client_reply *reply,
                                  struct err *err) MUST_CHECK;
void client_reply_free(struct client_reply *reply);

/* The sentence of a refusal: the problem's detail, with the names of the path as they were typed, else what
 * can be said of the answer. */
void client_reply_refusal(const struct client_reply *reply, struct err *err);

/* A path with its parts in the right escapes: "/v1/services/%s/abort". To be freed. */
char *client_path(const char *before, const char *part, const char *after);

/* Lines of GET /v1/events, each without its line end. */
typedef void client_line_fn(void *arg, struct str line);
struct client_stream;

/* Opens a stream; the result of connecting shows in the first turn. One at a time. */
struct client_stream *client_stream_open(struct client *client, const char *path, client_line_fn *line,
                                         void *arg);
void client_stream_close(struct client_stream *stream);
/* Has the daemon begun to answer with events? */
bool client_stream_stands(const struct client_stream *stream);

enum client_turn {
    STREAM_OPEN,        /* goes on */
    STREAM_ENDED,       /* the daemon ended it in order */
    STREAM_BROKEN,      /* it broke, or there was no connection */
    STREAM_REFUSED,     /* the daemon refused it; the sentence is the daemon's */
    STREAM_BUSY,        /* so for now: too many follow the events already */
    STREAM_INTERRUPTED, /* Ctrl-C */
};

/* Waits at most so long for lines and hands them on. `err` is set with BROKEN, REFUSED and BUSY. */
enum client_turn client_stream_turn(struct client_stream *stream, uint64_t ms, struct err *err) MUST_CHECK;

/* Waits without a stream. False: interrupted. */
bool client_wait(struct client *client, uint64_t ms) MUST_CHECK;
