#include "rig.h"

#include "unit.h"

#include "base/clock.h"

#include <sched.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* The live pool has the first instance; the candidate has it, too, and both others. */
static int start(void **state)
{
    *state = rig_start_with_one();
    return 0;
}

static int stop(void **state)
{
    return rig_stop(*state);
}

static void publish_candidate(struct rig *rig, bool warms)
{
    rig_world(rig)->candidate = 2;
    rig_world(rig)->warms = warms;
    rig_publish(rig);
}

static uint64_t warming(struct rig *rig)
{
    return counters_pool_warming(rig_counters(rig), 2);
}

/* It is live, with one instance in rotation. */
static void publish_swap(struct rig *rig, unsigned instance)
{
    struct rig_world *world = rig_world(rig);
    world->candidate = 0;
    world->warms = false;
    world->pool = 2;
    world->instances = RIG_INSTANCES;
    for (unsigned i = 0; i < RIG_INSTANCES; i++)
        world->drained[i] = i != instance;
    rig_publish(rig);
}

static void finish(int client, int instance)
{
    rig_say(instance, OK);
    assert_memory_equal(rig_head(client), "HTTP/1.1 200 ", 13);
    assert_string_equal(rig_bytes(client, 2), "ok");
}

static void a_pool_that_takes_over_finds_the_connections_that_the_one_before_it_used(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig), old = rig_ask(rig, client, GET);
    publish_candidate(rig, true);
    int warm = rig_accept(rig, 1);
    rig_until(warming(rig) == 0);
    finish(client, old);
    publish_swap(rig, 1);
    rig_say(client, GET);
    assert_memory_equal(rig_head(warm), "GET / ", 6);
    finish(client, warm);
    assert_false(rig_is_called(rig, 1));
    close(client);
    close(old);
    close(warm);
}

static void nothing_is_connected_to_before_it_is_time(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig), old = rig_ask(rig, client, GET);
    publish_candidate(rig, false);
    finish(client, old);
    rig_say(client, GET); /* the worker has had a turn since the world */
    rig_head(old);
    assert_int_equal(warming(rig), 0);
    assert_false(rig_is_called(rig, 1));
    finish(client, old);
    close(client);
    close(old);
}

static void as_many_are_made_as_were_in_use_spread_over_the_instances(void **state)
{
    struct rig *rig = *state;
    int clients[2], olds[2];
    for (int i = 0; i < 2; i++) {
        clients[i] = rig_client(rig);
        olds[i] = rig_ask(rig, clients[i], GET);
    }
    finish(clients[0], olds[0]);
    publish_candidate(rig, true);
    int warms[2] = {rig_accept(rig, 1), rig_accept(rig, 2)};
    rig_until(warming(rig) == 0);
    assert_false(rig_is_called(rig, 1));
    assert_false(rig_is_called(rig, 2));
    finish(clients[1], olds[1]);
    for (int i = 0; i < 2; i++) {
        close(clients[i]);
        close(olds[i]);
        close(warms[i]);
    }
}

static void without_traffic_none_is_made(void **state)
{
    struct rig *rig = *state;
    publish_candidate(rig, true);
    assert_int_equal(warming(rig), 0);
    int client = rig_client(rig), old = rig_ask(rig, client, GET);
    assert_false(rig_is_called(rig, 1));
    finish(client, old);
    close(client);
    close(old);
}

static void one_that_cannot_be_made_is_given_up(void **state)
{
    struct rig *rig = *state;
    rig_refuse(rig, 1);
    rig_refuse(rig, 2);
    int client = rig_client(rig), old = rig_ask(rig, client, GET);
    publish_candidate(rig, true);
    rig_until(warming(rig) == 0);
    finish(client, old);
    assert_int_equal(counters_instance_in_flight(rig_counters(rig), 2), 0);
    close(client);
    close(old);
}

static void an_instance_out_of_rotation_gets_none(void **state)
{
    struct rig *rig = *state;
    int client = rig_client(rig), old = rig_ask(rig, client, GET);
    rig_world(rig)->drained[1] = true;
    publish_candidate(rig, true);
    int warm = rig_accept(rig, 2);
    rig_until(warming(rig) == 0);
    assert_false(rig_is_called(rig, 1));
    finish(client, old);
    close(client);
    close(old);
    close(warm);
}

static void who_has_enough_gets_no_more(void **state)
{
    struct rig *rig = *state;
    int clients[2], olds[2];
    for (int i = 0; i < 2; i++) {
        clients[i] = rig_client(rig);
        olds[i] = rig_ask(rig, clients[i], GET);
    }
    publish_candidate(rig, true);
    int warms[2] = {rig_accept(rig, 1), rig_accept(rig, 2)};
    publish_candidate(rig, true);
    rig_until(warming(rig) == 0);
    assert_false(rig_is_called(rig, 1));
    assert_false(rig_is_called(rig, 2));
    for (int i = 0; i < 2; i++) {
        finish(clients[i], olds[i]);
        close(clients[i]);
        close(olds[i]);
        close(warms[i]);
    }
}

static void where_connections_are_few_none_is_made(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->rules.concurrency_per_instance = 8;
    int client = rig_client(rig), old = rig_ask(rig, client, GET);
    publish_candidate(rig, true);
    assert_int_equal(warming(rig), 0);
    finish(client, old);
    rig_say(client, GET);
    rig_head(old);
    assert_false(rig_is_called(rig, 1));
    finish(client, old);
    close(client);
    close(old);
}

static void what_is_not_made_in_the_time_for_a_connect_is_given_up(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->drained[2] = true;
    rig_world(rig)->rules.connect_ms = 50;
    int client = rig_client(rig), old = rig_ask(rig, client, GET), filler = rig_choke(rig, 1);
    publish_candidate(rig, true);
    rig_until(warming(rig) == 0);
    finish(client, old);
    close(filler);
    close(client);
    close(old);
}

static void a_worker_that_stops_gives_up_what_is_being_made(void **state)
{
    struct rig *rig = *state;
    rig_world(rig)->drained[2] = true;
    int client = rig_client(rig), old = rig_ask(rig, client, GET), filler = rig_choke(rig, 1);
    publish_candidate(rig, true);
    finish(client, old);
    assert_int_equal(warming(rig), 1);
    close(filler);
    close(client);
    close(old);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pool_that_takes_over_finds_the_connections_that_the_one_before_it_used),
        TEST(nothing_is_connected_to_before_it_is_time),
        TEST(as_many_are_made_as_were_in_use_spread_over_the_instances),
        TEST(without_traffic_none_is_made),
        TEST(one_that_cannot_be_made_is_given_up),
        TEST(an_instance_out_of_rotation_gets_none),
        TEST(who_has_enough_gets_no_more),
        TEST(where_connections_are_few_none_is_made),
        TEST(what_is_not_made_in_the_time_for_a_connect_is_given_up),
        TEST(a_worker_that_stops_gives_up_what_is_being_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
