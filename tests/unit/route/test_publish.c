#include "route/publish.h"

#include "unit.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

static unsigned disposed;

static void count_disposal(struct view *view)
{
    disposed++;
    *(int *)view->arg = 1;
}

/* The publisher never looks into a snapshot, so any address will do. */
static const struct snapshot *fake(const void *at)
{
    return at;
}

static void before_the_first_snapshot_there_is_none(void **state)
{
    (void)state;
    struct publisher *publisher = publisher_new(1);
    assert_null(publisher_take(publisher, 0));
    assert_null(publisher_turn(publisher, 0));
    publisher_reap(publisher);
    publisher_free(publisher);
}

static void every_take_after_the_store_sees_the_new_world(void **state)
{
    (void)state;
    int gone[2] = {0};
    struct publisher *publisher = publisher_new(2);
    uint64_t start = clock_mono_ns();
    uint64_t at = publisher_publish(publisher, fake(&gone[0]), count_disposal, &gone[0]);
    assert_in_range(at, start, clock_mono_ns());
    struct view *first = publisher_take(publisher, 0);
    assert_ptr_equal(first->snapshot, &gone[0]);
    publisher_publish(publisher, fake(&gone[1]), count_disposal, &gone[1]);
    struct view *second = publisher_take(publisher, 0);
    assert_ptr_equal(second->snapshot, &gone[1]);
    assert_ptr_equal(publisher_turn(publisher, 1), second);
    view_release(first, 0);
    view_release(second, 0);
    publisher_free(publisher);
    assert_true(gone[0] && gone[1]);
}

static void a_view_goes_when_all_workers_have_turned_and_its_last_exchange_has_ended(void **state)
{
    (void)state;
    int gone[2] = {0};
    struct publisher *publisher = publisher_new(2);
    publisher_publish(publisher, fake(gone), count_disposal, &gone[0]);
    publisher_turn(publisher, 0);
    publisher_turn(publisher, 1);
    struct view *kept = publisher_take(publisher, 1);
    publisher_publish(publisher, fake(gone), count_disposal, &gone[1]);
    publisher_reap(publisher);
    assert_false(gone[0]);
    publisher_turn(publisher, 1);
    view_release(kept, 1);
    publisher_reap(publisher);
    assert_false(gone[0]); /* worker 0 may be between its load and its add */
    publisher_turn(publisher, 0);
    publisher_reap(publisher);
    assert_true(gone[0]);
    assert_false(gone[1]);
    publisher_free(publisher);
    assert_true(gone[1]);
}

static void an_exchange_keeps_its_view_over_any_number_of_turns_and_publications(void **state)
{
    (void)state;
    int gone[4] = {0};
    struct publisher *publisher = publisher_new(1);
    publisher_publish(publisher, fake(gone), count_disposal, &gone[0]);
    struct view *first = publisher_take(publisher, 0), *again = publisher_take(publisher, 0);
    assert_ptr_equal(first, again);
    for (int i = 1; i < 4; i++) {
        publisher_publish(publisher, fake(gone), count_disposal, &gone[i]);
        publisher_turn(publisher, 0);
        publisher_reap(publisher);
    }
    assert_false(gone[0]);
    assert_true(gone[1] && gone[2]); /* nobody took them */
    view_release(first, 0);
    publisher_reap(publisher);
    assert_false(gone[0]);
    view_release(again, 0);
    publisher_reap(publisher);
    assert_true(gone[0]);
    publisher_free(publisher);
}

static void a_view_newer_than_the_last_turn_may_be_taken(void **state)
{
    (void)state;
    int gone[3] = {0};
    struct publisher *publisher = publisher_new(1);
    publisher_publish(publisher, fake(gone), count_disposal, &gone[0]);
    publisher_turn(publisher, 0);
    publisher_publish(publisher, fake(gone), count_disposal, &gone[1]);
    struct view *kept = publisher_take(publisher, 0);
    publisher_publish(publisher, fake(gone), count_disposal, &gone[2]);
    publisher_reap(publisher);
    assert_false(gone[0] || gone[1]);
    publisher_turn(publisher, 0);
    publisher_reap(publisher);
    assert_true(gone[0]);
    assert_false(gone[1]);
    view_release(kept, 0);
    publisher_reap(publisher);
    assert_true(gone[1]);
    publisher_free(publisher);
}

#define WORKERS 3
#define PUBLICATIONS 20000
#define HELD 4  /* views that a worker keeps */
#define ALIVE 6 /* views that are left before the next is published */

static struct publisher *shared;
static atomic_uint running, bad;

static void free_world(struct view *view)
{
    uint64_t *world = view->arg;
    *world = 0;
    free(world);
    disposed++;
}

/* Worlds only get newer for one thread, and the one that is held stays readable. */
static void *work(void *arg)
{
    unsigned worker = *(unsigned *)arg;
    struct view *held[HELD] = {NULL};
    uint64_t newest = 0;
    for (unsigned i = 0; newest < PUBLICATIONS; i++) {
        struct view **slot = &held[i % HELD];
        if (*slot != NULL) {
            bad += *(const uint64_t *)(*slot)->arg == 0;
            view_release(*slot, worker);
            sched_yield(); /* here nothing but the release speaks for what was read */
        }
        *slot = publisher_take(shared, worker);
        uint64_t number = *(const uint64_t *)(*slot)->arg;
        bad += number < newest;
        newest = number;
        if (i % 3 == 0)
            bad += *(const uint64_t *)publisher_turn(shared, worker)->arg < newest;
    }
    for (unsigned i = 0; i < HELD; i++) {
        if (held[i] != NULL)
            view_release(held[i], worker);
    }
    publisher_turn(shared, worker);
    running--;
    return NULL;
}

static void publish_number(uint64_t number)
{
    uint64_t *world = malloc(sizeof *world);
    *world = number;
    publisher_publish(shared, fake(world), free_world, world);
}

static void workers_read_while_worlds_come_and_go(void **state)
{
    (void)state;
    pthread_t threads[WORKERS];
    unsigned ids[WORKERS];
    disposed = 0;
    shared = publisher_new(WORKERS);
    publish_number(1);
    running = WORKERS;
    for (unsigned i = 0; i < WORKERS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &ids[i]), 0);
    }
    for (unsigned i = 2; i <= PUBLICATIONS; i++) {
        publish_number(i);
        /* so that views go while workers read, not all at the end */
        for (publisher_reap(shared); i - disposed > ALIVE; publisher_reap(shared))
            sched_yield();
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(running, 0);
    publisher_reap(shared);
    assert_int_equal(disposed, PUBLICATIONS - 1);
    publisher_free(shared);
    assert_int_equal(disposed, PUBLICATIONS);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_the_first_snapshot_there_is_none),
        cmocka_unit_test(every_take_after_the_store_sees_the_new_world),
        cmocka_unit_test(a_view_goes_when_all_workers_have_turned_and_its_last_exchange_has_ended),
        cmocka_unit_test(an_exchange_keeps_its_view_over_any_number_of_turns_and_publications),
        cmocka_unit_test(a_view_newer_than_the_last_turn_may_be_taken),
        cmocka_unit_test(workers_read_while_worlds_come_and_go),
    };
    return cmocka_run_group_tests_name("publish", tests, NULL, NULL);
}
