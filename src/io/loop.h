/* loop: one event loop of one thread: epoll, with a coarse clock, cheap deadlines and a place where what is
 * done with is freed after the event turn. Who needs libevent (bufferevents, signals) gets its base, which
 * then does the waiting. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct loop;

/* A new loop; never NULL. */
struct loop *loop_new(void);
/* Frees a loop that does not run; runs what was deferred first. */
void loop_free(struct loop *loop);
/* Turns until loop_stop. */
void loop_run(struct loop *loop);
/* Ends loop_run after the present turn; from the loop's own thread. */
void loop_stop(struct loop *loop);
/* libevent's base; from the first call on the loop turns that, and so costs more. The first call makes
 * descriptors, so it belongs to the start of a role; it never gives NULL. */
struct event_base *loop_base(struct loop *loop);

/* A descriptor that is watched: embedded in its owner. `ready` gets what epoll says (EPOLL*); it may unwatch
 * any descriptor, and free what it stands in itself. */
struct loop_watch {
    void (*ready)(struct loop_watch *watch, uint32_t events);
};

/* Calls `ready` for these events (EPOLLIN, EPOLLET, ...; epoll_ctl(2)). False: the kernel cannot watch it. */
bool loop_watch(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events);
/* No `ready` comes any more, also not for what has happened already. Before the descriptor is closed. */
void loop_unwatch(struct loop *loop, struct loop_watch *watch, int fd);

/* Monotonic ms (clock_mono_ms) of the present turn: read once a turn, at its first use. And the ns of it. */
uint64_t loop_ms(struct loop *loop);
uint64_t loop_ns(struct loop *loop);
/* How many turns have ended. */
uint64_t loop_turns(const struct loop *loop);

/* Has any watched descriptor had news since the last call? */
bool loop_was_busy(struct loop *loop);

/* Something to be run after the event turn, when no callback stands on it any more. Embedded in its owner. */
struct loop_deferred {
    void (*run)(struct loop_deferred *deferred);
    struct loop_deferred *next; /* the loop's own */
};

/* Runs deferred->run once, after this turn, in the order of the calls. Must not be deferred twice at once.
 * What is deferred from inside a run comes after the next turn, for which the loop does not sleep. */
void loop_defer(struct loop *loop, struct loop_deferred *deferred);

/* Sends that are made together: each is deferred->run, soon, in the order of the calls. That is as soon as
 * LOOP_BATCH of them wait and the callback that runs has returned; at the latest before what was deferred in
 * this turn is run, or when that has been. For sends that nothing here waits for: one behind the other they
 * cost less, since their code and what lies between them do not drive each other out of the caches. Whatever
 * frees the owner must itself be deferred. */
void loop_batch(struct loop *loop, struct loop_deferred *deferred);
#define LOOP_BATCH 16

/* Run at the end of every turn, before what was deferred; at most one a loop. */
void loop_on_turn(struct loop *loop, void (*run)(void *arg), void *arg);

/* A deadline: embedded in its owner, set and cleared without a system call or allocation. Moving one later
 * costs a store: it is looked at again only when its old time comes. Fires up to 20 ms late, never early. */
struct deadline {
    uint64_t at_ms; /* monotonic; 0: not set. Readable by all, written by deadline_* only */
    uint64_t slot_ms;
    struct loop *loop;
    struct deadline *next, **link; /* the wheel's own */
    void (*fire)(struct deadline *deadline);
};

/* Must come before any other use; fire gets the deadline, which is cleared then. */
void deadline_init(struct deadline *deadline, struct loop *loop, void (*fire)(struct deadline *deadline));
/* (Re)sets it to `ms` from loop_ms. 0 ms fires in the next turns. */
void deadline_set(struct deadline *deadline, uint64_t ms);
/* Forgets it; allowed at any time after init. Required before the owner is freed. */
void deadline_clear(struct deadline *deadline);
static inline bool deadline_is_set(const struct deadline *deadline)
{
    return deadline->at_ms != 0;
}
