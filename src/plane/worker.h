/* worker: one thread of the data plane: a loop, and all that is used on its thread alone.
 *
 * Workers share nothing but the publisher, the crowd, the rates, who writes the log, and counters in which
 * each has its own cells; other threads speak to one by mail. */
#pragma once

#include "http/answer.h"
#include "http/forward.h"
#include "io/loop.h"
#include "io/mac.h"
#include "io/mailbox.h"
#include "link/counters.h"
#include "plane/access_log.h"
#include "plane/balance.h"
#include "plane/budget.h"
#include "plane/buffers.h"
#include "plane/client.h"
#include "plane/connection.h"
#include "plane/cork.h"
#include "plane/crowd.h"
#include "plane/newcomers.h"
#include "plane/pause.h"
#include "plane/queue.h"
#include "plane/random.h"
#include "plane/rate.h"
#include "plane/relay.h"
#include "plane/warm.h"
#include "route/publish.h"

#include <sys/queue.h>

struct contexts;
struct listeners;
struct log_writer;
struct h2_tools;
struct mirrors;

/* What a worker is told; an order is freed by the worker. */
enum order_type {
    ORDER_COUNTERS, /* here are your cells; the first order */
    ORDER_LISTENER, /* fd accepts for listener `id` */
    ORDER_CONTEXTS, /* these are the TLS contexts; a reference comes with them */
    ORDER_WORLD,    /* a snapshot was published */
    ORDER_QUEUE,    /* there may be room for who waits for the pool in slot `id` */
    ORDER_STOP,     /* finish what is in flight, then end */
    ORDER_FINISH,   /* the same, while others accept on the same sockets */
    ORDER_QUIT      /* end */
};

struct order {
    struct mail mail;
    enum order_type type;
    struct counters *counters;
    uint32_t id;
    int fd;
    bool passed; /* the service manager holds fd's socket as well */
    struct contexts *contexts;
};

/* What a worker tells. */
enum report_type { REPORT_ROOM, REPORT_ENDED };

struct report {
    struct mail mail;
    enum report_type type;
    unsigned worker; /* of REPORT_ROOM: who is to have ORDER_QUEUE, for the pool in `slot` */
    uint32_t slot;
};

struct worker_options {
    unsigned index;
    struct publisher *publisher;
    struct crowd *crowd;
    struct rate *rate;
    struct log_writer *log;  /* where lines go */
    struct mailbox *reports; /* where reports go */
};

struct worker {
    struct worker_options options;
    struct loop *loop;
    struct mailbox *orders;
    struct counters *counters;
    struct counters_worker *cells;
    const struct snapshot *snapshot; /* the present world; NULL: none yet. An exchange has its own view */
    const struct snapshot_settings *settings;
    struct contexts *contexts;      /* of listeners' TLS; NULL: none have come */
    struct contexts *next_contexts; /* come before the world that they are for; NULL: none */
    struct http_limits limits;
    uint32_t connections_max; /* of the whole proxy */
    size_t head_most;         /* bytes that an inlet may hold while a head or trailers are incomplete */
    bool stopping;
    bool finishing; /* stopping, while another proxy serves and worlds still come: who is paused waits on */
    uint32_t grace_ms;   /* what an idle client that is to go has for one more request */
    uint64_t stopped_ms; /* when it began to stop */
    bool ended;          /* the thread has nothing left but to end */

    struct random random;
    struct mac *mac;
    struct buffers *buffers;
    struct conduits *conduits;
    struct balance balance;
    struct vitals vitals;
    struct queue *queue;
    struct pause pause;
    struct budget *budgets; /* of retries, by pool slot */
    uint32_t *canaries;     /* how far the draws of each have come, by pool slot */
    struct upstreams *upstreams;
    struct listeners *listeners;
    struct access_log *log;
    TAILQ_HEAD(, client) clients;
    struct newcomers newcomers;
    struct cork cork;
    uint32_t client_count;
    TAILQ_HEAD(, exchange) exchanges;
    struct exchange *spare; /* free list of exchanges */
    struct mirrors *mirrors;
    struct warms warms;

    /* Lent for one step each. */
    struct http_request request;
    struct http_response response;
    struct http_fields trailer_fields;
    struct http_location location;
    char *head; /* room for a response head to send */
    size_t head_room;
    char *trailers; /* as struct relay_tools wants it */
    struct relay_tools tools;

    struct h2_tools *h2_tools;

    char date[HTTP_DATE_SIZE];
    uint64_t date_until_ms;
    uint64_t complaint_ms;    /* when an instance was last complained of */
    uint32_t complaints_held; /* not written since */
};

/* Makes a worker that waits for orders, and starts its thread. NULL: no thread could be had. */
struct worker *worker_start(const struct worker_options *options, struct err *err) MUST_CHECK;
/* From any thread; the order (malloc'd) is the worker's then. */
void worker_order(struct worker *worker, struct order *order);
/* Waits for the thread's end, which it has reported, and frees the worker. */
void worker_join(struct worker *worker);

/* Is the client to go, after one more request at most? */
static inline bool client_is_leaving(const struct client *client)
{
    return client->worker->stopping || client->peer.orphan_ms != 0;
}

/* A sentence for the log about what is wrong with an instance: "instance NAME of SERVICE WHY"; one a second
 * at most, the next one tells how many were held back. */
void worker_complain(struct worker *worker, struct str service, struct str instance, const char *why);
/* The date for a Date field. */
struct str worker_date(struct worker *worker);
/* Sets a deadline by a setting, of which 0 means none. */
static inline void worker_deadline(struct deadline *deadline, uint32_t ms)
{
    if (ms != 0)
        deadline_set(deadline, ms);
    else
        deadline_clear(deadline);
}
/* How many bytes an inlet may read: a head or trailers wait in it until they are complete. */
static inline size_t worker_fill_most(const struct worker *worker, const struct inlet *inlet, size_t burst)
{
    return inlet->n > 0 && burst < worker->head_most ? worker->head_most : burst;
}
/* A client has gone, or none is left to wait for: a stopping worker without any ends. */
void worker_client_left(struct worker *worker);
