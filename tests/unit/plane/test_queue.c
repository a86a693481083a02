#include "plane/queue.h"

#include "unit.h"

#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

#define SLOT 7
#define WORKER 1
#define WORKERS 3

static struct loop *loop;
static struct counters *counters;
static struct queue *queue;
static unsigned room;      /* how many will be served */
static char order[64];     /* the names of those that were, in this order */
static unsigned woken[16]; /* workers that were told, in this order */
static unsigned woken_count;

struct waiter {
    struct queue_place place;
    char name;
};

static bool serve(struct queue_place *place)
{
    struct waiter *waiter = mem_container(place, struct waiter, place);
    if (room == 0)
        return false;
    room--;
    queue_leave(place);
    order[strlen(order)] = waiter->name;
    return true;
}

static void wake(void *arg, unsigned worker, uint32_t slot)
{
    (void)arg;
    assert_int_equal(slot, SLOT);
    woken[woken_count++] = worker;
}

static int open_queue(void **state)
{
    (void)state;
    struct err err;
    loop = loop_new();
    int fd = counters_create(WORKERS, &err);
    counters = counters_map(fd, &err);
    close(fd);
    queue = queue_new(&(struct queue_options){
        .loop = loop, .counters = counters, .worker = WORKER, .serve = serve, .wake = wake});
    room = woken_count = 0;
    memset(order, 0, sizeof order);
    return 0;
}

static int close_queue(void **state)
{
    (void)state;
    loop_free(loop);
    queue_free(queue);
    counters_unmap(counters);
    return 0;
}

static void stop_loop(struct deadline *deadline)
{
    loop_stop(deadline->loop);
}

/* Lets the loop turn for so long. */
static void turn(uint64_t ms)
{
    struct deadline end;
    deadline_init(&end, loop, stop_loop);
    deadline_set(&end, ms);
    loop_run(loop);
}

static void join(struct waiter *waiter, char name)
{
    *waiter = (struct waiter){.name = name};
    assert_true(queue_join(queue, SLOT, &waiter->place, 16));
}

/* Somebody waits in another worker. */
static void wait_elsewhere(unsigned worker, uint64_t count)
{
    counters_add(&counters_pool(counters, worker, SLOT)->queued, count);
}

static void who_comes_first_is_served_first(void **state)
{
    (void)state;
    struct waiter a, b, c;
    join(&a, 'a');
    join(&b, 'b');
    join(&c, 'c');
    room = 2;
    queue_returned(queue, SLOT);
    assert_string_equal(order, ""); /* not from inside the call */
    turn(1);
    assert_string_equal(order, "ab");
    assert_true(queue_is_waiting(&c.place));
    queue_leave(&c.place);
}

static void who_leaves_is_not_served(void **state)
{
    (void)state;
    struct waiter a, b;
    join(&a, 'a');
    join(&b, 'b');
    queue_leave(&a.place);
    assert_false(queue_is_waiting(&a.place));
    room = 2;
    queue_serve(queue, SLOT);
    turn(1);
    assert_string_equal(order, "b");
}

static void a_line_takes_no_more_than_it_may(void **state)
{
    (void)state;
    struct waiter some[3] = {{.name = 'a'}, {.name = 'b'}, {.name = 'c'}};
    assert_false(queue_join(queue, SLOT, &some[0].place, 0));
    assert_true(queue_join(queue, SLOT, &some[0].place, 2));
    assert_true(queue_join(queue, SLOT, &some[1].place, 2));
    assert_false(queue_join(queue, SLOT, &some[2].place, 2));
    assert_false(queue_is_waiting(&some[2].place));
    queue_leave(&some[0].place);
    assert_true(queue_join(queue, SLOT, &some[2].place, 2));
    queue_leave(&some[1].place);
    queue_leave(&some[2].place);
}

static void how_many_wait_is_shown(void **state)
{
    (void)state;
    struct waiter a, b;
    assert_false(queue_is_used(queue, SLOT));
    join(&a, 'a');
    join(&b, 'b');
    assert_int_equal(counters_read(&counters_pool(counters, WORKER, SLOT)->queued), 2);
    assert_true(queue_is_used(queue, SLOT));
    assert_false(queue_is_used(queue, SLOT + 1));
    queue_leave(&a.place);
    queue_leave(&b.place);
    assert_false(queue_is_used(queue, SLOT));
    wait_elsewhere(0, 1);
    assert_true(queue_is_used(queue, SLOT));
}

static void a_line_looks_again_though_nobody_tells(void **state)
{
    (void)state;
    struct waiter a;
    join(&a, 'a');
    turn(3 * QUEUE_LOOK_MS);
    assert_string_equal(order, "");
    room = 1;
    turn(5 * QUEUE_LOOK_MS);
    assert_string_equal(order, "a");
}

static void other_workers_have_their_turn_before_this_one(void **state)
{
    (void)state;
    struct waiter a;
    join(&a, 'a');
    wait_elsewhere(0, 1);
    queue_returned(queue, SLOT);
    wait_elsewhere(2, 1);
    queue_returned(queue, SLOT);
    assert_int_equal(woken_count, 2);
    assert_int_equal(woken[0], 0);
    assert_int_equal(woken[1], 2);
    queue_leave(&a.place);
}

static void a_line_that_is_done_passes_the_word_on(void **state)
{
    (void)state;
    struct waiter a;
    join(&a, 'a');
    wait_elsewhere(2, 1);
    room = 5;
    queue_serve(queue, SLOT);
    turn(1);
    assert_string_equal(order, "a");
    assert_int_equal(woken_count, 1);
    assert_int_equal(woken[0], 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_queue, close_queue)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_comes_first_is_served_first),        TEST(who_leaves_is_not_served),
        TEST(a_line_takes_no_more_than_it_may),       TEST(how_many_wait_is_shown),
        TEST(a_line_looks_again_though_nobody_tells), TEST(other_workers_have_their_turn_before_this_one),
        TEST(a_line_that_is_done_passes_the_word_on),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
