/* Waits by epoll, one turn at a time, so that work can be put between two turns. Where somebody wants
 * libevent's base, that waits, and finds epoll's descriptor among its own. Invariant: it never sleeps while
 * something is deferred, nor longer than the wheel wants; and no event is told of what is not watched any
 * more.
 *
 * The clock is thrown away before the wait and read by the first who asks after it: no callback runs between
 * the two. A turn in which libevent polls a second time (a callback has made an event active) keeps its time;
 * that poll does not sleep. */
#include "io/loop.h"

#include "base/clock.h"
#include "base/mem.h"
#include "io/direct.h"
#include "io/wheel.h"

#include <event2/event.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <sys/epoll.h>
#include <unistd.h>

#define NS_PER_MS 1000000
#define EVENTS_A_TURN 256

struct loop_list {
    struct loop_deferred *first, **end;
};

struct loop {
    int epoll_fd;
    /* Of the present turn. data.ptr is NULL: it is not watched any more. */
    struct epoll_event events[EVENTS_A_TURN];
    int event, event_count;       /* the next one to be told, and how many there are */
    bool busy;                    /* there was any since loop_was_busy */
    struct event_base *base;      /* NULL: nobody has asked for it */
    struct event *polled, *timer; /* of the base: for epoll_fd, and for the wheel */
    uint64_t armed_ms;            /* what timer is set to; WHEEL_NEVER: it is not */
    struct wheel *wheel;
    uint64_t now_ns, now_ms; /* of the present turn; 0: not read yet */
    uint64_t turns;
    bool running, stopping;
    struct loop_list deferred, batch;
    unsigned batched; /* how many are in batch */
    void (*on_turn)(void *arg);
    void *on_turn_arg;
};

static noreturn void give_up(void)
{
    fputs("upswap: no event loop could be made: epoll is missing, or descriptors or memory are used up\n",
          stderr);
    abort();
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_zero(1, sizeof *loop);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        give_up();
    loop->wheel = wheel_new();
    loop->deferred.end = &loop->deferred.first;
    loop->batch.end = &loop->batch.first;
    return loop;
}

/* ---- what is put off ---- */

static void append(struct loop_list *list, struct loop_deferred *deferred)
{
    deferred->next = NULL;
    *list->end = deferred;
    list->end = &deferred->next;
}

/* The list is empty then. */
static struct loop_deferred *take_all(struct loop_list *list)
{
    struct loop_deferred *first = list->first;
    list->first = NULL;
    list->end = &list->first;
    return first;
}

void loop_defer(struct loop *loop, struct loop_deferred *deferred)
{
    append(&loop->deferred, deferred);
}

void loop_batch(struct loop *loop, struct loop_deferred *deferred)
{
    append(&loop->batch, deferred);
    loop->batched++;
}

static void run_batch(struct loop *loop)
{
    struct loop_deferred *next, *deferred = take_all(&loop->batch);
    loop->batched = 0;
    for (; deferred != NULL; deferred = next) {
        next = deferred->next;
        __builtin_prefetch(next, 1);
        deferred->run(deferred);
    }
}

static void run_full_batch(struct loop *loop)
{
    if (loop->batched >= LOOP_BATCH)
        run_batch(loop);
}

static void end_batch(struct loop *loop)
{
    while (loop->batch.first != NULL)
        run_batch(loop);
}

/* What is deferred meanwhile is left for the next turn, so that a turn ends. */
static void run_deferred(struct loop *loop)
{
    end_batch(loop); /* of what may be freed now */
    struct loop_deferred *next, *deferred = take_all(&loop->deferred);
    for (; deferred != NULL; deferred = next) {
        next = deferred->next;
        __builtin_prefetch(next, 1);
        deferred->run(deferred);
        run_full_batch(loop);
    }
    end_batch(loop);
}

/* ---- what is watched ---- */

bool loop_watch(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

void loop_unwatch(struct loop *loop, struct loop_watch *watch, int fd)
{
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    for (int i = loop->event; i < loop->event_count; i++) {
        if (loop->events[i].data.ptr == watch)
            loop->events[i].data.ptr = NULL;
    }
}

static void poll_once(struct loop *loop, int wait_ms)
{
    int count = direct_epoll_wait(loop->epoll_fd, loop->events, EVENTS_A_TURN, wait_ms);
    loop->event = 0;
    loop->event_count = count > 0 ? count : 0;
    loop->busy |= count > 0;
    while (loop->event < loop->event_count) {
        const struct epoll_event *event = &loop->events[loop->event++];
        struct loop_watch *watch = event->data.ptr;
        if (loop->event < loop->event_count)
            __builtin_prefetch(loop->events[loop->event].data.ptr, 1); /* the kernel has driven it out */
        if (watch != NULL)
            watch->ready(watch, event->events);
        run_full_batch(loop);
    }
}

/* ---- by libevent's base ---- */

static void epoll_has_events(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    poll_once(arg, 0);
}

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop *loop = arg;
    loop->armed_ms = WHEEL_NEVER;
    wheel_turn(loop->wheel, loop_ms(loop));
}

/* What the environment says about backends is not for a daemon to heed. */
static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV) == 0)
        base = event_base_new_with_config(config);
    if (config != NULL)
        event_config_free(config);
    return base;
}

struct event_base *loop_base(struct loop *loop)
{
    if (loop->base != NULL)
        return loop->base;
    loop->base = base_new();
    if (loop->base == NULL)
        give_up();
    loop->polled = event_new(loop->base, loop->epoll_fd, EV_READ | EV_PERSIST, epoll_has_events, loop);
    loop->timer = event_new(loop->base, -1, 0, timer_fired, loop);
    if (loop->polled == NULL || loop->timer == NULL || event_add(loop->polled, NULL) != 0)
        give_up();
    loop->armed_ms = WHEEL_NEVER;
    return loop->base;
}

static void free_base(struct loop *loop)
{
    if (loop->base == NULL)
        return;
    event_free(loop->polled);
    event_free(loop->timer);
    event_base_free(loop->base);
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

/* EVLOOP_NONBLOCK alone would go on for as long as each poll finds something. */
static void turn_base(struct loop *loop)
{
    arm_timer(loop);
    loop->now_ms = 0;
    event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY | EVLOOP_ONCE |
                                    (loop->deferred.first != NULL ? EVLOOP_NONBLOCK : 0));
}

/* ---- turns ---- */

void loop_free(struct loop *loop)
{
    while (loop->deferred.first != NULL || loop->batch.first != NULL)
        run_deferred(loop);
    wheel_free(loop->wheel);
    free_base(loop);
    close(loop->epoll_fd);
    free(loop);
}

/* For epoll_wait. The clock is read anew: what the turn took must not be added to the wait. */
static int wait_ms(const struct loop *loop)
{
    if (loop->deferred.first != NULL)
        return 0;
    uint64_t at_ms = wheel_next_ms(loop->wheel);
    if (at_ms == WHEEL_NEVER)
        return -1;
    uint64_t now_ms = clock_mono_ms();
    if (at_ms <= now_ms)
        return 0;
    return at_ms - now_ms < INT_MAX ? (int)(at_ms - now_ms) : INT_MAX;
}

static void turn_epoll(struct loop *loop)
{
    int wait = wait_ms(loop);
    loop->now_ms = 0;
    poll_once(loop, wait);
    if (wheel_next_ms(loop->wheel) <= loop_ms(loop))
        wheel_turn(loop->wheel, loop_ms(loop));
}

static void turn(struct loop *loop)
{
    if (loop->base != NULL)
        turn_base(loop);
    else
        turn_epoll(loop);
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

struct wheel *loop_wheel(struct loop *loop)
{
    return loop->wheel;
}

/* A loop that does not run has no turns. */
static void read_clock(struct loop *loop)
{
    if (loop->running && loop->now_ms != 0)
        return;
    loop->now_ns = clock_mono_ns();
    loop->now_ms = loop->now_ns / NS_PER_MS;
}

uint64_t loop_ms(struct loop *loop)
{
    read_clock(loop);
    return loop->now_ms;
}

uint64_t loop_ns(struct loop *loop)
{
    read_clock(loop);
    return loop->now_ns;
}

uint64_t loop_turns(const struct loop *loop)
{
    return loop->turns;
}

bool loop_was_busy(struct loop *loop)
{
    bool busy = loop->busy;
    loop->busy = false;
    return busy;
}

void loop_on_turn(struct loop *loop, void (*run)(void *arg), void *arg)
{
    loop->on_turn = run;
    loop->on_turn_arg = arg;
}
