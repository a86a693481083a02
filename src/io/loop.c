/* Turns libevent's base one turn at a time, so that work can be put between two turns. Invariant: it never
 * sleeps while something is deferred, and before it sleeps the one timer stands at what the wheel wants.
 *
 * The clock: libevent 2.1 tells nobody when its wait is over. The time is therefore thrown away before the
 * wait and read by the first callback that asks after it: no callback runs between the two. A turn in which
 * libevent polls a second time (a callback has made an event active) keeps its time; that poll does not
 * sleep.
 */
#include "io/loop.h"

#include "base/clock.h"
#include "base/mem.h"
#include "io/wheel.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

struct loop {
    struct event_base *base;
    struct event *timer; /* wakes for the wheel */
    uint64_t armed_ms;   /* what timer is set to; WHEEL_NEVER: it is not */
    struct wheel *wheel;
    uint64_t now_ms; /* of the present turn; 0: not read yet */
    uint64_t turns;
    bool running, stopping;
    struct loop_deferred *deferred, **deferred_end;
    void (*on_turn)(void *arg);
    void *on_turn_arg;
};

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop *loop = arg;
    loop->armed_ms = WHEEL_NEVER;
    wheel_turn(loop->wheel, loop_ms(loop));
}

/* Streams register once, edge-triggered, and learn of the peer's end by EPOLLRDHUP; a base without both would
 * not serve. What the environment says about backends is not for a daemon to heed. */
static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config != NULL &&
        event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV) == 0)
        base = event_base_new_with_config(config);
    if (config != NULL)
        event_config_free(config);
    return base;
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_zero(1, sizeof *loop);
    loop->base = base_new();
    loop->timer = loop->base == NULL ? NULL : event_new(loop->base, -1, 0, timer_fired, loop);
    if (loop->timer == NULL) {
        fputs("upswap: no event loop could be made: epoll is missing, or descriptors or memory are used up\n",
              stderr);
        abort();
    }
    loop->armed_ms = WHEEL_NEVER;
    loop->wheel = wheel_new();
    loop->deferred_end = &loop->deferred;
    return loop;
}

/* What is deferred meanwhile is left for the next turn, so that a turn ends. */
static void run_deferred(struct loop *loop)
{
    struct loop_deferred *deferred = loop->deferred;
    loop->deferred = NULL;
    loop->deferred_end = &loop->deferred;
    while (deferred != NULL) {
        struct loop_deferred *next = deferred->next;
        deferred->next = NULL;
        deferred->run(deferred);
        deferred = next;
    }
}

void loop_free(struct loop *loop)
{
    while (loop->deferred != NULL)
        run_deferred(loop);
    wheel_free(loop->wheel);
    event_free(loop->timer);
    event_base_free(loop->base);
    free(loop);
}

/* The clock is read anew: what the turn took must not be added to the wait. */
static void arm_timer(struct loop *loop)
{
    uint64_t at_ms = wheel_next_ms(loop->wheel);
    if (at_ms == WHEEL_NEVER || at_ms >= loop->armed_ms)
        return;
    uint64_t now_ms = clock_mono_ms();
    uint64_t wait_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000),
                           .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};
    event_add(loop->timer, &wait);
    loop->armed_ms = at_ms;
}

static void turn(struct loop *loop)
{
    arm_timer(loop);
    loop->now_ms = 0;
    /* EVLOOP_NONBLOCK alone would go on for as long as each poll finds something. */
    event_base_loop(loop->base,
                    EVLOOP_NO_EXIT_ON_EMPTY | EVLOOP_ONCE | (loop->deferred != NULL ? EVLOOP_NONBLOCK : 0));
    if (loop->on_turn != NULL)
        loop->on_turn(loop->on_turn_arg);
    run_deferred(loop);
    loop->turns++;
}

void loop_run(struct loop *loop)
{
    loop->running = true;
    while (!loop->stopping)
        turn(loop);
    loop->running = false;
    loop->stopping = false;
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

struct wheel *loop_wheel(struct loop *loop)
{
    return loop->wheel;
}

uint64_t loop_ms(struct loop *loop)
{
    if (!loop->running)
        return clock_mono_ms();
    if (loop->now_ms == 0)
        loop->now_ms = clock_mono_ms();
    return loop->now_ms;
}

uint64_t loop_turns(const struct loop *loop)
{
    return loop->turns;
}

bool loop_was_busy(struct loop *loop)
{
    return event_base_get_max_events(loop->base, EVENT_BASE_COUNT_ACTIVE, 1) > 0;
}

void loop_defer(struct loop *loop, struct loop_deferred *deferred)
{
    deferred->next = NULL;
    *loop->deferred_end = deferred;
    loop->deferred_end = &deferred->next;
}

void loop_on_turn(struct loop *loop, void (*run)(void *arg), void *arg)
{
    loop->on_turn = run;
    loop->on_turn_arg = arg;
}
