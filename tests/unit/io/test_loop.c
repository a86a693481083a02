#include "io/loop.h"

#include "base/clock.h"
#include "base/mem.h"
#include "io/with_loop.h"
#include "unit.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct alarm {
    struct deadline deadline;
    uint64_t set_at_ms, fired_at_ms; /* fired_at_ms 0: not yet */
};

static unsigned fired, wanted;

static void alarm_fires(struct deadline *deadline)
{
    struct alarm *alarm = mem_container(deadline, struct alarm, deadline);
    assert_false(deadline_is_set(deadline));
    alarm->fired_at_ms = clock_mono_ms();
    if (++fired == wanted)
        loop_stop(loop);
}

static void alarm_set(struct alarm *alarm, uint64_t ms)
{
    alarm->set_at_ms = loop_ms(loop);
    alarm->fired_at_ms = 0;
    deadline_set(&alarm->deadline, ms);
}

static void run_until_fired(unsigned count)
{
    fired = 0;
    wanted = count;
    loop_run(loop);
}

static void deadlines_fire_at_their_time_and_not_before(void **state)
{
    (void)state;
    static const uint64_t waits[] = {0, 1, 7, 8, 9, 30, 31, 64, 100};
    enum { COUNT = sizeof waits / sizeof *waits };
    struct alarm alarms[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        deadline_init(&alarms[i].deadline, loop, alarm_fires);
        alarm_set(&alarms[i], waits[i]);
    }
    run_until_fired(COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t took = alarms[i].fired_at_ms - alarms[i].set_at_ms;
        assert_in_range(took, waits[i], waits[i] + 20 + 30); /* 30: the machine may be busy */
    }
}

static void many_thousand_deadlines_fire_once_each(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct alarm *alarms = mem_zero(COUNT, sizeof *alarms);
    for (unsigned i = 0; i < COUNT; i++) {
        deadline_init(&alarms[i].deadline, loop, alarm_fires);
        alarm_set(&alarms[i], i % 150);
    }
    unsigned left = COUNT;
    for (unsigned i = 0; i < COUNT; i += 3, left--)
        deadline_clear(&alarms[i].deadline);
    run_until_fired(left);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(i % 3 == 0, alarms[i].fired_at_ms == 0);
        if (i % 3 != 0)
            assert_true(alarms[i].fired_at_ms - alarms[i].set_at_ms >= i % 150);
    }
    free(alarms);
}

static void a_deadline_moved_later_or_earlier_keeps_to_its_new_time(void **state)
{
    (void)state;
    struct alarm later, earlier;
    deadline_init(&later.deadline, loop, alarm_fires);
    deadline_init(&earlier.deadline, loop, alarm_fires);
    alarm_set(&later, 10);
    alarm_set(&later, 90);
    alarm_set(&earlier, 3600 * 1000);
    alarm_set(&earlier, 20);
    run_until_fired(2);
    assert_in_range(later.fired_at_ms - later.set_at_ms, 90, 140);
    assert_in_range(earlier.fired_at_ms - earlier.set_at_ms, 20, 70);
}

static void moving_a_deadline_later_leaves_it_where_it_is_linked(void **state)
{
    (void)state;
    struct deadline deadline;
    deadline_init(&deadline, loop, alarm_fires);
    deadline_set(&deadline, 1000);
    uint64_t slot_ms = deadline.slot_ms, at_ms = deadline.at_ms;
    struct deadline **link = deadline.link;
    deadline_set(&deadline, 2000);
    assert_int_equal(deadline.slot_ms, slot_ms);
    assert_ptr_equal(deadline.link, link);
    assert_in_range(deadline.at_ms, at_ms + 1000, at_ms + 1100);
    deadline_clear(&deadline);
    deadline_clear(&deadline);
    assert_false(deadline_is_set(&deadline));
    assert_null(deadline.link);
}

/* A deadline that in firing clears and frees its neighbour of the same slot, and sets itself again. */
struct neighbour {
    struct alarm self;
    struct neighbour *other;
};

static void neighbour_fires(struct deadline *deadline)
{
    struct neighbour *self = mem_container(deadline, struct neighbour, self.deadline);
    if (self->other != NULL) {
        deadline_clear(&self->other->self.deadline);
        free(self->other);
        self->other = NULL;
        deadline_set(deadline, 0);
    } else {
        free(self);
        loop_stop(loop);
    }
}

static void a_firing_deadline_may_free_another_and_set_itself_again(void **state)
{
    (void)state;
    struct neighbour *a = mem_zero(1, sizeof *a), *b = mem_zero(1, sizeof *b);
    deadline_init(&a->self.deadline, loop, neighbour_fires);
    deadline_init(&b->self.deadline, loop, neighbour_fires);
    a->other = b;
    b->other = a;
    deadline_set(&a->self.deadline, 5);
    deadline_set(&b->self.deadline, 5);
    loop_run(loop);
}

static void a_deadline_beyond_the_wheel_is_not_fired_early(void **state)
{
    (void)state;
    struct alarm far, near;
    deadline_init(&far.deadline, loop, alarm_fires);
    deadline_init(&near.deadline, loop, alarm_fires);
    alarm_set(&far, UINT64_MAX);
    alarm_set(&near, 20);
    run_until_fired(1);
    assert_int_equal(far.fired_at_ms, 0);
    assert_true(deadline_is_set(&far.deadline));
    assert_int_equal(near.deadline.at_ms, 0);
    deadline_clear(&far.deadline);
}

static void stop_later(struct loop_watch *watch, uint32_t events)
{
    (void)watch;
    (void)events;
    loop_stop(loop);
}

static void a_loop_whose_deadlines_are_gone_does_not_wake_up(void **state)
{
    (void)state;
    struct alarm gone;
    deadline_init(&gone.deadline, loop, alarm_fires);
    alarm_set(&gone, 1);
    run_until_fired(1);
    uint64_t turns = loop_turns(loop);
    struct loop_watch watch = {.ready = stop_later};
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    assert_int_equal(timerfd_settime(timer, 0, &(struct itimerspec){.it_value.tv_nsec = 100000000}, NULL), 0);
    assert_true(loop_watch(loop, &watch, timer, EPOLLIN));
    loop_run(loop);
    assert_int_equal(loop_turns(loop) - turns, 1);
    loop_unwatch(loop, &watch, timer);
    close(timer);
}

struct step {
    struct loop_deferred deferred;
    unsigned again; /* so often it defers itself again */
    unsigned *order, at, ran;
};

static void step_runs(struct loop_deferred *deferred)
{
    struct step *step = mem_container(deferred, struct step, deferred);
    step->at = ++*step->order;
    step->ran++;
    if (step->again > 0) {
        step->again--;
        loop_defer(loop, deferred);
    } else {
        loop_stop(loop);
    }
}

static void count_turn(void *arg)
{
    ++*(unsigned *)arg;
}

static void what_is_deferred_runs_in_order_after_the_turn_s_hook(void **state)
{
    (void)state;
    unsigned order = 0;
    struct step first = {.deferred.run = step_runs, .order = &order};
    struct step second = {.deferred.run = step_runs, .order = &order};
    loop_on_turn(loop, count_turn, &order);
    loop_defer(loop, &first.deferred);
    loop_defer(loop, &second.deferred);
    assert_int_equal(order, 0);
    loop_run(loop);
    assert_int_equal(first.at, 2);
    assert_int_equal(second.at, 3);
}

static void the_loop_does_not_sleep_while_something_is_deferred(void **state)
{
    (void)state;
    unsigned order = 0;
    struct step step = {.deferred.run = step_runs, .order = &order, .again = 1000};
    uint64_t turns = loop_turns(loop);
    loop_defer(loop, &step.deferred);
    loop_run(loop); /* there is no event at all that could wake it */
    assert_int_equal(step.ran, 1001);
    assert_int_equal(loop_turns(loop) - turns, 1001);
}

/* Puts what it holds into the batch. */
struct sender {
    struct step step;
    struct step *batches;
};

static void sender_runs(struct loop_deferred *deferred)
{
    struct sender *sender = mem_container(deferred, struct sender, step.deferred);
    sender->step.at = ++*sender->step.order;
    loop_batch(loop, &sender->batches->deferred);
}

static void a_batch_is_run_before_what_was_deferred_and_behind_it(void **state)
{
    (void)state;
    unsigned order = 0;
    struct step early = {.deferred.run = step_runs, .order = &order};
    struct step last = {.deferred.run = step_runs, .order = &order};
    struct sender late = {.step = {.deferred.run = sender_runs, .order = &order}, .batches = &last};
    struct sender batched = {.step = {.deferred.run = sender_runs, .order = &order}, .batches = &early};
    loop_defer(loop, &late.step.deferred);
    loop_batch(loop, &batched.step.deferred);
    loop_run(loop); /* there is no event at all that could wake it */
    assert_int_equal(batched.step.at, 1);
    assert_int_equal(early.at, 2); /* what is batched by a batch does not wait, either */
    assert_int_equal(late.step.at, 3);
    assert_int_equal(last.at, 4);
}

static void a_full_batch_is_run_between_two_callbacks(void **state)
{
    enum { COUNT = LOOP_BATCH + 2 };
    (void)state;
    unsigned order = 0;
    struct sender senders[COUNT];
    struct step batched[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        batched[i] = (struct step){.deferred.run = step_runs, .order = &order};
        senders[i] =
            (struct sender){.step = {.deferred.run = sender_runs, .order = &order}, .batches = &batched[i]};
        loop_defer(loop, &senders[i].step.deferred);
    }
    loop_run(loop);
    assert_int_equal(senders[LOOP_BATCH - 1].step.at, LOOP_BATCH);
    assert_int_equal(batched[0].at, LOOP_BATCH + 1);
    assert_int_equal(batched[LOOP_BATCH - 1].at, 2 * LOOP_BATCH);
    assert_int_equal(senders[LOOP_BATCH].step.at, 2 * LOOP_BATCH + 1);
    assert_int_equal(batched[COUNT - 1].at, 2 * COUNT);
}

static unsigned calls;

static void count_call(struct loop_watch *watch, uint32_t events)
{
    (void)watch;
    assert_int_equal(events, EPOLLIN);
    if (++calls == 100)
        loop_stop(loop);
}

static void stop_deferred(struct loop_deferred *deferred)
{
    (void)deferred;
    loop_stop(loop);
}

/* Or what is deferred, the clock and every deadline would wait until nobody has news. */
static void a_turn_ends_although_there_is_always_news(void **state)
{
    (void)state;
    int ends[2];
    struct loop_deferred deferred = {.run = stop_deferred};
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    struct loop_watch watch = {.ready = count_call};
    assert_true(loop_watch(loop, &watch, ends[0], EPOLLIN));
    calls = 0;
    loop_defer(loop, &deferred);
    loop_run(loop);
    assert_int_equal(calls, 1);
    loop_unwatch(loop, &watch, ends[0]);
    close(ends[0]);
    close(ends[1]);
}

/* Each of many has news, and the first that is told takes all the others out. */
#define MANY 300 /* more than a turn tells of */
static struct crowd {
    struct loop_watch watches[MANY];
    int fds[MANY];
    unsigned told[MANY];
} * crowd;
static bool takes_others_out;

static void is_told(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    size_t at = (size_t)(watch - crowd->watches);
    crowd->told[at]++;
    for (size_t i = 0; takes_others_out && i < MANY; i++) {
        if (i != at)
            loop_unwatch(loop, &crowd->watches[i], crowd->fds[i]);
    }
    if (++calls == (takes_others_out ? 1 : MANY))
        loop_stop(loop);
}

static void gather_crowd(bool out)
{
    crowd = mem_zero(1, sizeof *crowd);
    takes_others_out = out;
    calls = 0;
    for (size_t i = 0; i < MANY; i++) {
        crowd->watches[i].ready = is_told;
        crowd->fds[i] = eventfd(1, EFD_CLOEXEC);
        assert_true(loop_watch(loop, &crowd->watches[i], crowd->fds[i], EPOLLIN | EPOLLET));
    }
}

static void disperse_crowd(void)
{
    for (size_t i = 0; i < MANY; i++) {
        loop_unwatch(loop, &crowd->watches[i], crowd->fds[i]);
        close(crowd->fds[i]);
    }
    free(crowd);
}

static void all_that_have_news_are_told_once_however_many_they_are(void **state)
{
    (void)state;
    gather_crowd(false);
    loop_run(loop);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(crowd->told[i], 1);
    disperse_crowd();
}

static void who_is_taken_out_is_not_told_of_what_has_happened_before(void **state)
{
    (void)state;
    gather_crowd(true);
    loop_run(loop);
    struct loop_deferred deferred = {.run = stop_deferred};
    loop_defer(loop, &deferred);
    loop_run(loop); /* nor in the next turn */
    assert_int_equal(calls, 1);
    disperse_crowd();
}

static void what_cannot_be_watched_says_so(void **state)
{
    (void)state;
    struct loop_watch watch = {.ready = count_call};
    assert_false(loop_watch(loop, &watch, -1, EPOLLIN));
    assert_int_equal(errno, EBADF);
}

static void it_was_busy_if_there_was_news_since_that_was_asked_last(void **state)
{
    (void)state;
    struct loop_deferred deferred = {.run = stop_deferred};
    gather_crowd(false);
    loop_run(loop);
    assert_true(loop_was_busy(loop));
    assert_false(loop_was_busy(loop));
    loop_defer(loop, &deferred);
    loop_run(loop);
    assert_false(loop_was_busy(loop));
    disperse_crowd();
}

static void stop_by_libevent(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    loop_stop(loop);
}

/* From whenever on somebody has asked for the base. */
static void events_of_libevent_come_too(void **state)
{
    (void)state;
    gather_crowd(false);
    loop_run(loop);
    struct event *timer = event_new(loop_base(loop), -1, 0, stop_by_libevent, NULL);
    event_add(timer, &(struct timeval){.tv_usec = 1000});
    loop_run(loop);
    struct alarm alarm;
    deadline_init(&alarm.deadline, loop, alarm_fires);
    alarm_set(&alarm, 10);
    run_until_fired(1);
    event_free(timer);
    disperse_crowd();
}

static void freeing_a_loop_runs_what_was_deferred_and_batched(void **state)
{
    (void)state;
    unsigned order = 0;
    struct step step = {.deferred.run = step_runs, .order = &order};
    struct step batched = {.deferred.run = step_runs, .order = &order};
    struct loop *mine = loop_new();
    loop_defer(mine, &step.deferred);
    loop_free(mine);
    assert_int_equal(step.ran, 1);
    mine = loop_new();
    loop_batch(mine, &batched.deferred);
    loop_free(mine);
    assert_int_equal(batched.ran, 1);
}

static uint64_t seen_ms[2];

static void look_at_the_clock(struct deadline *deadline)
{
    (void)deadline;
    seen_ms[0] = loop_ms(loop);
    uint64_t until = clock_mono_ms() + 5;
    while (clock_mono_ms() < until)
        ;
    seen_ms[1] = loop_ms(loop);
    loop_stop(loop);
}

static void the_clock_stands_still_within_a_turn_and_is_new_in_the_next(void **state)
{
    (void)state;
    struct deadline deadline;
    deadline_init(&deadline, loop, look_at_the_clock);
    deadline_set(&deadline, 1);
    loop_run(loop);
    assert_int_equal(seen_ms[0], seen_ms[1]);
    uint64_t old = seen_ms[1];
    deadline_set(&deadline, 0);
    loop_run(loop);
    assert_true(seen_ms[0] >= old + 5);
}

#define BOTH(test) \
    cmocka_unit_test_setup_teardown(test, set_up, tear_down), BY_LIBEVENT(test, #test ", by libevent")
#define BY_LIBEVENT(test, title)                                                                    \
    {                                                                                               \
        .name = (title), .test_func = (test), .setup_func = set_up_base, .teardown_func = tear_down \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(deadlines_fire_at_their_time_and_not_before),
        BOTH(many_thousand_deadlines_fire_once_each),
        BOTH(a_deadline_moved_later_or_earlier_keeps_to_its_new_time),
        BOTH(moving_a_deadline_later_leaves_it_where_it_is_linked),
        BOTH(a_firing_deadline_may_free_another_and_set_itself_again),
        BOTH(a_deadline_beyond_the_wheel_is_not_fired_early),
        BOTH(a_loop_whose_deadlines_are_gone_does_not_wake_up),
        BOTH(what_is_deferred_runs_in_order_after_the_turn_s_hook),
        BOTH(the_loop_does_not_sleep_while_something_is_deferred),
        BOTH(a_batch_is_run_before_what_was_deferred_and_behind_it),
        BOTH(a_full_batch_is_run_between_two_callbacks),
        BOTH(a_turn_ends_although_there_is_always_news),
        BOTH(all_that_have_news_are_told_once_however_many_they_are),
        BOTH(who_is_taken_out_is_not_told_of_what_has_happened_before),
        BOTH(what_cannot_be_watched_says_so),
        BOTH(it_was_busy_if_there_was_news_since_that_was_asked_last),
        BOTH(events_of_libevent_come_too),
        BOTH(freeing_a_loop_runs_what_was_deferred_and_batched),
        BOTH(the_clock_stands_still_within_a_turn_and_is_new_in_the_next),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
