/* client: a client's connection, HTTP/1.1 and 1.0, or one stream of an HTTP/2 one: the front that reads
 * heads, starts exchanges, and answers requests in the order in which they came.
 *
 * At any time it waits for a head, belongs to one exchange, writes the rest of an answer, or lingers; an
 * idle one owns no buffer. */
#pragma once

#include "base/str.h"
#include "io/stream.h"
#include "plane/ends.h"
#include "plane/inlet.h"
#include "plane/outlet.h"
#include "plane/peer.h"

#include <sys/queue.h>

struct worker;
struct exchange;
struct client_arrival;
struct h2_front;

enum client_state {
    CLIENT_ARRIVING,  /* comes from a proxy, which has not yet told whom it speaks for */
    CLIENT_HEAD,      /* waits for a head, or for the rest of one */
    CLIENT_EXCHANGE,  /* an exchange has it */
    CLIENT_HTTP2,     /* its streams are clients of their own: see h2_front.h */
    CLIENT_FLUSHING,  /* the rest of an answer goes out; `next` tells what then */
    CLIENT_LINGERING, /* our end is sent; what still comes is dropped, so that no reset destroys the answer */
    CLIENT_CLOSED     /* freed after the turn */
};

/* What becomes of a client after an exchange. */
enum client_next {
    CLIENT_NEXT_REQUEST,
    CLIENT_NEXT_CLOSE, /* after what waits is sent */
    CLIENT_NEXT_CUT,   /* what waits is dropped; what was sent, answers before this one among it, arrives */
    CLIENT_NEXT_RESET  /* at once, and so that what was sent cannot look complete */
};

struct client {
    /* What a request moves comes first, so that it lies together. */
    struct worker *worker;
    struct stream stream;
    struct outlet out;
    uint8_t state; /* enum client_state */
    uint8_t next;  /* enum client_next */
    bool hungry;   /* what `in` holds is no complete head */
    bool linger;   /* more may come that nobody will read: see client_return */
    bool pumping;
    bool again;   /* waits in the loop's deferred list */
    bool leaves;  /* and its answer in the loop's batch */
    bool used;    /* has had a request */
    bool ended;   /* its end has been read */
    bool counted; /* by its address */
    bool corked;  /* the worker's cork holds it */
    bool young;   /* one of the worker's newcomers */
    bool shaken;  /* its handshake has ended well */
    bool heeded;  /* its first request has come whole, or what came of it was acknowledged */
    struct inlet in;
    struct loop_deferred leaving, running;
    struct deadline deadline; /* of the head, idleness, flushing or lingering; means nothing in an exchange */
    struct exchange *exchange;
    size_t seen;               /* bytes of a partial head, or PROXY header, that the parser has looked at */
    uint64_t head_since_ms;    /* when the head began that is being read */
    uint64_t lingers_until_ms; /* at most, whatever comes */
    struct peer peer;
    struct h2_front *h2;                 /* what speaks HTTP/2 here; NULL: nothing */
    void (*left)(struct client *client); /* of a stream of HTTP/2: it is closed, and not used after this turn;
                                            NULL: this is a connection */
    uint64_t
        announced; /* bytes of a request's body over HTTP/2 that its text, which is chunked, does not tell */
    const char *websocket_accept; /* the Sec-WebSocket-Accept that upswap expects for this client,
                                     DIGEST_SHA1_BASE64 bytes; NULL: none */
    struct loop_deferred freeing;
    TAILQ_ENTRY(client) link;
    TAILQ_ENTRY(client) waiting; /* among the newcomers, and after that in the cork */
};

/* Takes over an accepted descriptor, which has entered the crowd. */
void client_accept(struct worker *worker, const struct client_arrival *arrival);

/* The same for a stream of HTTP/2, whose `stream` is set: it is a client of this peer. `left` is called when
 * it is closed. */
void client_begin(struct worker *worker, struct client *client, const struct peer *peer,
                  void (*left)(struct client *client));
static inline bool client_is_stream(const struct client *client)
{
    return client->left != NULL;
}
/* Was the stream of HTTP/2 reset, or lost with its connection, before both its messages had ended? */
bool client_was_reset(const struct client *client);
/* For a client that waits: has it ended, which is taken for going, since most who do are gone, and there is a
 * line behind it? Elsewhere an end is a half-close. It may stand behind a body that nobody reads. A stream of
 * HTTP/2 ends with each request. */
bool client_is_gone(const struct client *client);
/* Is all that was written to it with the kernel? */
bool client_is_sent(const struct client *client);
/* Its stream has news. */
void client_ready(struct stream *stream);
/* Answers what is no request, and closes. */
void client_refuse(struct client *client, const struct end *end);
/* HTTP/2 is over: what waits is sent, for a while, then the connection is closed. */
void client_h2_over(struct client *client, bool floods);
/* How long the last bytes of answers over HTTP/2 wait for the client to take some: as timeouts.stall has it,
 * where nothing is said. Those of HTTP/1.1 wait in their exchange. */
#define CLIENT_FLUSH_MS 60000

/* Reads ahead of the running exchange, within bounds: a next request, or the client's end, which is no reason
 * to give up. False: the client is gone. */
bool client_read_ahead(struct client *client);

/* While it is answered, and its request was read to the end: has it sent what comes next already? */
static inline bool client_has_asked_again(const struct client *client)
{
    return client->in.n > 0 && !client_is_stream(client);
}

/* What was held back goes out. */
void client_push(struct client *client);

/* Strict-Transport-Security's max-age for this client, in seconds; 0: it is told of none, as whoever cannot
 * be told in private (RFC 6797 section 7.2). */
uint32_t client_hsts(const struct client *client);

/* The answer to a request that upswap gives itself. Queued; the exchange then ends with client_return. */
struct own_answer {
    const struct end *end;
    uint8_t minor;
    bool head, json, grpc, keep_alive;
    uint32_t retry_after; /* seconds; 0: none is told */
    struct str request_id;
    struct str detail;                    /* empty: the word's own */
    const struct http_location *location; /* NULL: none */
    struct str page, rules;               /* of the service; empty: none */
    const struct http_variable *variables;
};
/* Returns its length in bytes; 0: it could not be sent. */
size_t client_answer(struct client *client, const struct own_answer *answer);

/* The exchange has ended and gives the client back. `unread`: more of the request may come; a close then
 * lingers. */
void client_return(struct client *client, enum client_next next, bool unread);

/* The worker stops, or the listener is gone: what is idle goes soon, answering at most one more request. */
void client_stop(struct client *client);
/* Its listener is named no more: what is under way goes on, then the connection goes as at a stop. A stream
 * of HTTP/2 goes with its connection. */
void client_orphan(struct client *client);
/* Closes whatever state it is in, without an answer; it must not be in an exchange. */
void client_close(struct client *client, bool reset);
