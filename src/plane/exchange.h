/* exchange: one request and its response.
 *
 * It keeps the view of the world that it began with (where it waits, only the choice of an instance, and how
 * that is spoken to, are of a later one), holds its pool's in-flight cell from its beginning to
 * its end, and ends in exchange_end, whatever happened. The parts of its life have files of their own:
 * intake (its head), attempt (which instance), sticky (what binds a request to one), upload (request body),
 * reply (response), pace (how fast the client is), patience (how fast a body comes), tunnel (after a 101),
 * drain (its deadlines), mode (of its service), entry (in the access log); they share this struct and nobody
 * else looks inside. */
#pragma once

#include "http/trace.h"
#include "http/websocket.h"
#include "io/loop.h"
#include "plane/balance.h"
#include "plane/client.h"
#include "plane/connection.h"
#include "plane/ends.h"
#include "plane/mirror.h"
#include "plane/origin.h"
#include "plane/pause.h"
#include "plane/queue.h"
#include "plane/random.h"
#include "plane/relay.h"
#include "plane/worker.h"
#include "route/publish.h"

enum exchange_state {
    EXCHANGE_PAUSED, /* waits, without a pool; its head is still in the client's inlet */
    EXCHANGE_LOST,   /* its connection was closed: waits for whether the instance goes with all that it has */
    EXCHANGE_QUEUED, /* until an instance has room */
    EXCHANGE_CONNECTING, /* to an instance */
    EXCHANGE_ASKING,     /* no byte of a response has come */
    EXCHANGE_HEARING,    /* no final head has */
    EXCHANGE_ANSWERING,  /* the client has been sent a head */
    EXCHANGE_TUNNEL,     /* bytes both ways */
    EXCHANGE_ENDED       /* freed after the turn */
};

/* Which of the drain's deadlines holds. */
enum exchange_class {
    EXCHANGE_IS_REQUEST,
    EXCHANGE_IS_STREAM,    /* server-sent events, or messages of gRPC */
    EXCHANGE_IS_WEBSOCKET, /* a tunnel of frames */
    EXCHANGE_IS_TUNNEL     /* any other protocol after a 101 */
};

/* One direction of a WebSocket. */
struct exchange_talk {
    struct websocket frames; /* what its source has said */
    bool told;               /* a Close of ours has gone to its sink, or nothing more can */
};

/* A span of pace. */
struct exchange_pace {
    uint64_t sent, taken;     /* bytes of the bodies at its beginning */
    bool instance_waited_for; /* in it, so that nothing can be said of the client's body */
    bool all_taken;           /* in it nothing more waited for the client */
};

/* What the access log wants of a request; the texts follow in the buffer. */
struct exchange_texts {
    struct buffer *buffer; /* NULL: nothing is logged */
    struct str method, host, target, user_agent, referer;
};

/* The most that the header rules of a direction can write: each variable has its place. */
#define EXCHANGE_VARIABLE_MAX 264 /* bytes: a host, or a host and its port */
#define EXCHANGE_RULES_ROOM (HTTP_RULES_TEXT_MAX + HTTP_RULES_TEXT_MAX / 7 * EXCHANGE_VARIABLE_MAX)

/* The same of an error page: its bytes, and each mark with its value. */
#define EXCHANGE_PAGE_ROOM (SNAPSHOT_PAGE_MAX + 64 * HTTP_DETAIL_ROOM)

#define EXCHANGE_ID_MAX 128     /* bytes of an X-Request-Id, as of http_forward_request_id */
#define EXCHANGE_ACCEPT_MAX 192 /* bytes of an Accept: browsers' have up to 135 */

struct exchange {
    struct worker *worker; /* stays, while it is spare; the rest up to `origin` is cleared */
    struct client *client;
    struct connection *lease; /* NULL: none */
    uint8_t state;            /* enum exchange_state */
    uint8_t class;            /* enum exchange_class */
    uint8_t method;           /* enum http_method */
    uint8_t minor;
    bool keep_alive;      /* the client's connection, as far as is known */
    bool expect_continue; /* and has not been told to go on */
    bool upgrade;
    bool websocket;   /* is what it asks to upgrade to, among others */
    bool grpc;        /* own answers are of gRPC */
    bool json;        /* own answers; of most it is not known before, see `accept` */
    bool send_failed; /* the instance takes no more; it may still have answered */
    bool keep_lease;  /* the instance's connection is good for another request */
    bool choosing;    /* may still go to any instance of its pool, and counts as such there */
    bool waited;      /* it was paused, and has been let go */
    bool draining;    /* `until` holds */
    bool parting;     /* is being ended properly: its class's deadline has passed, `drain` is the last */
    bool again;       /* waits in the loop's deferred list */
    bool asks;        /* and in its batch */
    bool lease_ended; /* tunnel: the instance's end has been read */
    bool hungry;      /* what the lease's inlet holds is no complete head */
    bool moved;       /* something has, in the pump that runs */
    bool judged;      /* the chosen instance has had its verdict, or there is nobody to judge */
    bool faulted;     /* `trouble` is its, and was counted */
    bool https;       /* the client speaks TLS, with upswap or with the trusted proxy in front */
    bool pinned;      /* to a pool that drains, by the client's cookie */
    bool pins;        /* the client is given a pin to the pool */
    bool preview;     /* of a pool that is staged: no session of a client */
    bool canary;      /* of the share of a pool that is not live yet */
    bool draws;       /* the client is told on which side it is */
    bool traced;      /* it is of `trace` */
    bool resigns;     /* the affinity cookie holds, but was signed with the key before */
    uint8_t forged;   /* cookies under our names that are none of ours */
    uint8_t retries;
    uint8_t id_length;
    uint8_t accept_length;

    const struct peer *peer;              /* whose request it is: the client's, or `origin` */
    const struct http_location *location; /* where the own answer sends the client; NULL: nowhere */
    uint32_t retry_after;                 /* seconds, for the own answer; 0: none is told */
    uint32_t interim;                     /* bytes of interim heads since the client had all */
    struct view *view;
    const struct snapshot_service *service; /* NULL: none was found */
    const struct snapshot_rules *rules;
    struct view *later; /* a later world, in which it chooses since it waited; NULL: `view` */
    const struct snapshot_rules *speech; /* how instances are spoken to, as the world of its choice says */
    const struct snapshot_pool *pool;    /* as that world has it */
    uint64_t looked_at;                  /* version of the last world that was asked for that; 0: none */
    const struct end *stopped; /* why its service's mode keeps it from any pool; NULL: it does not */
    bool attempted;
    struct counters_pool *cells; /* NULL: no pool */
    struct balance_wish wish;
    struct queue_place place;
    struct pause_place pause;
    uint64_t waited_ns; /* while it was paused */

    struct outlet request; /* head and body to the instance */
    struct relay up, down;
    struct exchange_talk says_up, says_down; /* of EXCHANGE_IS_WEBSOCKET */
    struct relay_rests rests;                /* of EXCHANGE_IS_STREAM */
    size_t seen;                             /* bytes of a partial response head */
    const struct end *trouble;               /* why the last instance did not serve */
    uint32_t losses;                         /* of EXCHANGE_LOST: the lease's upstream's, with this one */

    uint16_t status;       /* of the response; 0: none yet */
    uint64_t head_in;      /* bytes */
    uint64_t head_out;     /* bytes */
    uint64_t started_ns;   /* of the turn in which its head was read; its end's is the turn's, too */
    struct mirror *mirror; /* drawn, and waits for the head of the answer; NULL: none */
    struct exchange_texts texts;

    /* What follows is not cleared, and written before it is read. */
    struct peer origin;                /* if `peer` is this */
    struct snapshot_instance instance; /* the present or last one, if `attempted` */
    struct snapshot_drain until;       /* if `draining` */
    struct exchange_pace pace;         /* if `pacing` is set */
    char id[EXCHANGE_ID_MAX];          /* id_length bytes of it */
    char accept[EXCHANGE_ACCEPT_MAX];  /* accept_length bytes of it, to be understood for an own answer */
    char trace[HTTP_TRACE_ID_SIZE];    /* if `traced` */
    struct deadline deadline;          /* queue, connect, first byte, stall, or EXCHANGE_LOST */
    struct deadline drain, pacing, patience;
    struct loop_deferred freeing, running, asking;
    struct exchange *next; /* free list */
    TAILQ_ENTRY(exchange) link;
};

#define EXCHANGE_RETRY_AFTER 1 /* s, told to whom the queue has no place for, or no end */

/* Steps of one direction in a turn; then others have theirs. */
#define EXCHANGE_STEPS 16

/* Begins with a complete head, which lies at the front of client->in and is consumed. */
void exchange_start(struct client *client, const struct http_request *request);

/* The client's stream has news. */
void exchange_client_ready(struct exchange *exchange);
/* The instance's stream has: for leases. */
void exchange_lease_ready(void *arg);
/* Goes on with both directions after the other events of this turn. */
void exchange_again(struct exchange *exchange);
/* After a step of `relay` that has spliced so many bytes: may it go on at once? False: it goes on after the
 * other events of this turn. */
bool exchange_splices_on(struct exchange *exchange, const struct relay *relay, ssize_t count);

/* The one end. Answers the client where `end` has a status and no head was sent, else cuts; releases the
 * lease, counts, logs, gives the client back. The exchange is freed after the turn. */
void exchange_end(struct exchange *exchange, const struct end *end);

/* The world in which it chooses, and which has its pool. */
static inline const struct snapshot *exchange_choices(const struct exchange *exchange)
{
    return exchange->later != NULL ? exchange->later->snapshot : exchange->view->snapshot;
}

/* Whether it may still go to any instance of its pool: none of them is taken for idle meanwhile. */
void exchange_choose(struct exchange *exchange, bool choosing);
/* Something has moved: the timeout of what is awaited next begins. */
void exchange_moved(struct exchange *exchange);
/* The drain's deadline ends it, whatever that does to the client; counted as cut. */
void exchange_cut(struct exchange *exchange);
/* An instance has failed: counts it. */
void exchange_count_error(struct exchange *exchange, const struct end *end);

static inline bool exchange_is_ended(const struct exchange *exchange)
{
    return exchange->state == EXCHANGE_ENDED;
}

/* Frees the spare ones. */
void exchange_free_spares(struct worker *worker);

/* intake: takes from the head, whose bytes may go then, all that its exchange needs: its view and its pool,
 * what the instance is told, the texts for the log. NULL: the request may go on its way; else why not. */
const struct end *intake_read(struct exchange *exchange, const struct http_request *request);
/* It has waited, or asks again, and the worker has another world: which instances there are, what they may
 * have and how they are spoken to is looked at as it is now, where its pool is still there; all else stays as
 * its own world has it.
 * Not while it holds a lease. */
void intake_catch_up(struct exchange *exchange);
/* Its service as the world has it in which it chooses. NULL: it has it no more. */
const struct snapshot_service *intake_service(const struct exchange *exchange);

/* sticky: what in the head binds the request. */
/* To a pool: sets another than the live one where a pin holds, or the client is of a canary's share. */
void sticky_pool(struct exchange *exchange, const struct http_request *request);
/* Is it a look at the staged pool: over a listener for that, or by the secret? */
bool sticky_is_preview(const struct exchange *exchange, const struct http_request *request);
/* To an instance of its pool; and what the app must not see. */
void sticky_instance(struct exchange *exchange, const struct http_request *request, struct http_forward *how);
/* No instance of the pool that it is pinned to, or of the canary, can be reached. True: the live pool has it
 * now. */
bool sticky_unpin(struct exchange *exchange);
/* The Set-Cookie lines for the head of the answer. */
#define STICKY_LINE_MAX 1280
#define STICKY_LINES 3
struct str sticky_lines(struct exchange *exchange, char out[STICKY_LINES * STICKY_LINE_MAX]);

/* attempt: finds an instance and a connection, waits in the queue for one that has room, or ends the
 * exchange. */
void attempt_start(struct exchange *exchange);
/* It is first in line: as queue_options.serve. */
bool attempt_serve(struct queue_place *place);
/* Gives the lease back, as connection_release: what waits for its place is told. */
void attempt_release(struct exchange *exchange, uint32_t keep_ms, bool reset);
/* What the chosen instance has done tells of its health: counts for ejection, once an attempt. */
enum verdict { VERDICT_PASSED, VERDICT_FAILED, VERDICT_UNDECIDED };
void attempt_give_verdict(struct exchange *exchange, enum verdict verdict);
static inline void attempt_judge(struct exchange *exchange, enum verdict verdict)
{
    if (exchange->wish.guarded)
        attempt_give_verdict(exchange, verdict);
}
/* Does the client wait for the instance to ask for the body? Not who has begun to send it (RFC 9110 section
 * 10.1.1). */
static inline bool exchange_awaits_continue(const struct exchange *exchange)
{
    return exchange->expect_continue && exchange->up.bytes == 0;
}
/* The lease has broken, and nothing is sent again: ends it with what that was. Logs what cannot be told so.
 */
void attempt_end_lost(struct exchange *exchange);
/* The connection that is being made has news. True: it is made. */
bool attempt_connected(struct exchange *exchange);
void attempt_timed_out(struct exchange *exchange);
/* The instance has closed the connection within its answer. */
void attempt_note_cut(const struct exchange *exchange);
/* It has been EXCHANGE_LOST for long enough. */
void attempt_doubt_is_over(struct exchange *exchange);
/* The lease has broken before a response came: tries again where the rules allow it, or ends the exchange. */
void attempt_lost(struct exchange *exchange);

/* Does this error, of a connection, come of means of our own being used up? */
bool attempt_is_ours(int error);

/* header_rules: those of the exchange's service; empty: none. */
struct str header_rules_of(const struct exchange *exchange, enum snapshot_text direction);
#define HEADER_VARIABLES 10
/* What their variables stand for now; `host` is the request's. A service must be known. */
void header_rules_variables(const struct exchange *exchange, struct str host,
                            struct http_variable variables[HEADER_VARIABLES]);

/* redirect: NULL, or why the client is sent elsewhere; then the location is set, and lives as long as the
 * request's head. */
const struct end *redirect_of(struct exchange *exchange, const struct http_request *request);

/* Goes on with a request that was let go, as exchange_start. */
void exchange_resume(struct exchange *exchange, const struct http_request *request);

/* mode: why that of its service keeps the request from any pool; NULL: it does not. Asked only where some
 * service is not simply serving. `prefix`: of the path, by which the service was found. */
const struct end *mode_stops(struct exchange *exchange, const struct http_request *request, uint32_t prefix);
/* With end_paused: it waits from now on. Else why it cannot. */
const struct end *mode_wait(struct exchange *exchange);
/* The stream of a client whose request waits has news. */
void mode_client_ready(struct exchange *exchange);
/* It leaves the line for good. */
void mode_leave(struct exchange *exchange);
/* As pause.go. */
void mode_go(struct pause_place *place);
/* What the client is shown in place of the built-in page and its sentence; empty: nothing. */
struct str mode_page(const struct exchange *exchange, const struct end *end);
struct str mode_message(const struct exchange *exchange, const struct end *end);

/* entry: keeps the texts that the access log wants, if there is memory; and writes the line, with which they
 * go. */
void entry_keep(struct exchange *exchange, const struct http_request *request);
void entry_write(struct exchange *exchange, const struct end *end, uint64_t duration_ns);

/* upload: begins with the request, which goes to the instance as far as both sides allow; and goes on. */
void upload_start(struct exchange *exchange);
void upload_pump(struct exchange *exchange);
void upload_run(struct loop_deferred *asking); /* of what upload_start has put into the batch */
bool upload_is_complete(const struct exchange *exchange);

/* reply: moves the response to the client as far as both sides allow. */
void reply_pump(struct exchange *exchange);
/* Can it be ended so that the client sees a whole answer: an event stream behind an event, that of
 * gRPC behind a message? Then: begin that; and: its time is up. */
bool reply_may_part(const struct exchange *exchange);
void reply_part(struct exchange *exchange);
void reply_part_late(struct exchange *exchange);

/* pace: a client that goes slower than timeouts.minimum_rate through a whole span is not waited for. */
/* The request has been pumped, or the response: a span begins where the client has to do something. */
void pace_upload(struct exchange *exchange);
void pace_reply(struct exchange *exchange);
/* The span has ended. */
void pace_due(struct exchange *exchange);

/* patience: a long body that comes fast is read in large pieces. */
/* So much of what `relay` moves has been read from `source`, a plain stream. */
void patience_read(struct exchange *exchange, const struct relay *relay, struct stream *source, size_t count);
/* What is there is read, however little: the time is over, or the exchange. */
void patience_end(struct exchange *exchange);

/* tunnel: sends the head of the 101 and takes over. `extended`: the WebSocket has an extension. */
void tunnel_start(struct exchange *exchange, struct str head, bool websocket, bool extended);
void tunnel_pump(struct exchange *exchange);
/* The same for a tunnel: of a WebSocket, with a Close to both sides (RFC 6455 section 7). */
bool tunnel_may_part(const struct exchange *exchange);
void tunnel_part(struct exchange *exchange);
void tunnel_part_late(struct exchange *exchange);
/* Has the client of a tunnel been sent a Close, so that an end without a reset is what it expects? */
bool tunnel_client_is_told(const struct exchange *exchange);

/* drain: the deadlines of what is in flight on a pool that drains. */
/* The present world says which pools do. */
void drain_turn(struct worker *worker);
/* The worker stops: each exchange gets its service's times from now. */
void drain_stop(struct worker *worker);
/* One begins on a pool that drains. */
void drain_join(struct exchange *exchange);
/* One leaves such a pool for another. */
void drain_leave(struct exchange *exchange);
/* The same as drain_stop for one that begins later. */
void drain_stopping(struct exchange *exchange);
/* An exchange has become of this class, and no request any more. */
void drain_class(struct exchange *exchange, enum exchange_class class);
/* Where it is counted as of its class; it is no request. */
uint64_t *drain_cell(const struct exchange *exchange);
/* Its deadline, or the time it had for a proper end, is over. */
void drain_due(struct exchange *exchange);
