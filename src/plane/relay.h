/* relay: one direction of an exchange's body: finds the body in what is read, and writes it on in the framing
 * of the other side.
 *
 * Takes bytes from an inlet, gives them to an outlet, and is only run while that outlet is empty, or nothing
 * of a head that waits there was sent: this is the back-pressure. A long body between plain streams goes past
 * user space, by a conduit, as soon as its beginning is read. */
#pragma once

#include "http/body.h"
#include "http/event_stream.h"
#include "http/grpc.h"
#include "io/conduit.h"
#include "plane/inlet.h"
#include "plane/outlet.h"

/* What a worker lends for a step. */
struct relay_tools {
    struct buffers *buffers;
    struct conduits *conduits;
    const struct http_limits *limits;
    struct http_fields *fields; /* for trailers */
    char *trailers;             /* room for a trailer section to send: limits->head bytes + RELAY_END_MAX */
};

#define RELAY_END_MAX 16
#define RELAY_SPLICE_LEAST 12288 /* bytes to come; fewer are copied sooner than spliced */

/* What a payload is made of, where it may end early, behind a whole one. */
enum relay_units { RELAY_BYTES, RELAY_EVENTS, RELAY_MESSAGES };

/* Where it stands; all zero but for the kind is the beginning. */
struct relay_rests {
    enum relay_units units; /* not RELAY_BYTES */
    union {
        struct event_stream events;
        struct grpc_messages messages;
    };
};

struct relay {
    struct http_body body;     /* how it comes */
    enum http_framing out;     /* how it goes */
    bool done;                 /* the body's end has been put into the outlet */
    bool hungry;               /* what the inlet holds is not enough to go on */
    uint32_t burst;            /* bytes to read at once */
    uint64_t bytes;            /* of payload so far */
    uint64_t most;             /* of payload; more is RELAY_BAD. 0: no limit */
    struct relay_rests *rests; /* the payload is looked at for these; NULL: it is not */
    bool parting;              /* the body ends where it rests next (relay_part) */
    bool left;                 /* it has ended there, not where its source ends it */
    struct str rules;          /* that trailers are held to; empty: none */
    bool request;
    uint32_t cork_most; /* bytes of the last send that may wait for what others send (outlet_cork) */
    bool closes;        /* the sink's end follows that of the body at once (stream->last) */
    bool sole;   /* for the next relay_splice: what it takes has just come, and nothing may behind it */
    bool copies; /* no conduit is to be had for this body */
    struct conduit *conduit; /* its bytes wait behind those of the outlet; NULL: none do */
    struct http_fault fault;
};

enum relay_result {
    RELAY_GOES_ON, /* all is sent */
    RELAY_WAITING, /* the outlet is not empty */
    RELAY_BAD,     /* the framing is broken: relay->fault */
    RELAY_BROKEN,  /* the sink is */
    RELAY_NO_MEMORY
};

void relay_start(struct relay *relay, enum http_framing in, uint64_t length, enum http_framing out);

/* Takes what is in the inlet, at most one send. `prefix` (may be empty) goes before it: the head. Where the
 * sink is NULL it waits in the outlet, for relay_flush. */
enum relay_result relay_step(struct relay *relay, struct inlet *inlet, struct outlet *outlet,
                             struct stream *sink, const struct relay_tools *tools, struct str prefix);

/* Is what comes behind the inlet's bytes to go by a conduit? Then it has one, and relay_splice is the next
 * step as soon as nothing is in the inlet. */
bool relay_may_splice(struct relay *relay, const struct stream *source, const struct stream *sink,
                      const struct relay_tools *tools);
/* Moves what the source has; what waits in the outlet goes before it, in one packet with its beginning.
 * Returns what stream_recv would, and has sent nothing then; of a count, *result tells what came of it. An
 * outlet that holds goes on to do so as long as all fits that was put in; beyond, until some of what is more
 * has gone. */
ssize_t relay_splice(struct relay *relay, struct stream *source, struct outlet *outlet, struct stream *sink,
                     const struct relay_tools *tools, enum relay_result *result);

/* Bytes that wait for the sink. */
static inline size_t relay_waiting(const struct relay *relay, const struct outlet *outlet)
{
    return outlet_waiting(outlet) + (relay->conduit != NULL ? conduit_holds(relay->conduit) : 0);
}
/* Sends what waits. */
enum outlet_result relay_flush_conduit(struct relay *relay, struct outlet *outlet, struct stream *sink,
                                       const struct relay_tools *tools);
static inline enum outlet_result relay_flush(struct relay *relay, struct outlet *outlet, struct stream *sink,
                                             const struct relay_tools *tools)
{
    return relay->conduit == NULL ? outlet_flush(outlet, tools->buffers, sink)
                                  : relay_flush_conduit(relay, outlet, sink, tools);
}

/* Drops what waits in the conduit: the message goes no further. */
static inline void relay_drop(struct relay *relay, const struct relay_tools *tools)
{
    if (relay->conduit != NULL)
        conduits_give(tools->conduits, relay->conduit);
    relay->conduit = NULL;
}

/* The body, of events or messages, shall end before its source ends it: at once if none is begun, else with
 * the next step that comes to where events rest, or a message has begun behind another. */
enum relay_result relay_part(struct relay *relay, struct outlet *outlet, struct stream *sink,
                             const struct relay_tools *tools);
/* Is none begun? The least that is needed for that. */
bool relay_is_whole(const struct relay *relay);
/* It ends here. */
enum relay_result relay_leave(struct relay *relay, struct outlet *outlet, struct stream *sink,
                              const struct relay_tools *tools);

/* The source has ended cleanly. Finishes a body that may end so; false: it may not. */
bool relay_end(struct relay *relay, struct outlet *outlet, struct stream *sink,
               const struct relay_tools *tools, enum relay_result *result);
