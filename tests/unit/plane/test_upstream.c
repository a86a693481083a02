#include "bench.h"

#include "unit.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

static struct connection *lend(struct bench *bench, bool fresh, bool sure)
{
    struct lending lending = {.fresh = fresh, .sure = sure, .ready = bench_ready, .arg = bench};
    return upstream_lend(upstream_of(bench->upstreams, &bench->instance), &bench->instance, &lending);
}

/* A new connection, made, and the instance's end of it. */
static struct connection *connected(struct bench *bench, int *peer)
{
    struct connection *connection = lend(bench, true, false);
    assert_non_null(connection);
    *peer = accept(bench->listening, NULL, NULL);
    bench->news = 0;
    while (bench->news == 0)
        bench_turn(bench);
    assert_int_equal(connection_check(connection), 0);
    return connection;
}

static void a_lease_counts_from_its_lending_to_its_release(void **state)
{
    struct bench *bench = *state;
    int peer;
    struct connection *connection = connected(bench, &peer);
    assert_int_equal(bench_cells(bench)->in_flight, 1);
    assert_int_equal(bench->balance.loads[5], 1);
    connection_release(connection, KEEP, false);
    assert_int_equal(bench_cells(bench)->in_flight, 0);
    assert_int_equal(bench->balance.loads[5], 0);
    assert_int_equal(bench_cells(bench)->connections, 1);
    close(peer);
}

static void what_was_used_last_is_lent_first(void **state)
{
    struct bench *bench = *state;
    int peers[3];
    struct connection *connections[3];
    for (int i = 0; i < 3; i++)
        connections[i] = connected(bench, &peers[i]);
    for (int i = 0; i < 3; i++)
        connection_release(connections[i], KEEP, false);
    for (int i = 2; i >= 0; i--) {
        assert_ptr_equal(lend(bench, false, false), connections[i]);
        assert_true(connections[i]->kept);
    }
    for (int i = 0; i < 3; i++) {
        connection_release(connections[i], 0, false);
        close(peers[i]);
    }
}

static void one_that_closed_while_idle_is_never_lent(void **state)
{
    struct bench *bench = *state;
    int peer;
    connection_release(connected(bench, &peer), KEEP, false);
    close(peer);
    while (bench_cells(bench)->connections > 0)
        bench_turn(bench);
    struct connection *next = lend(bench, false, false);
    assert_int_equal(next->state, CONNECTION_CONNECTING);
    connection_release(next, 0, false);
}

static void one_that_speaks_while_idle_is_closed(void **state)
{
    struct bench *bench = *state;
    int peer;
    connection_release(connected(bench, &peer), KEEP, false);
    assert_int_equal(send(peer, "x", 1, 0), 1);
    while (bench_cells(bench)->connections > 0)
        bench_turn(bench);
    close(peer);
}

static void whoever_must_be_sure_gets_none_whose_end_has_come_but_was_not_seen(void **state)
{
    struct bench *bench = *state;
    int peer;
    connection_release(connected(bench, &peer), KEEP, false);
    close(peer);
    struct connection *next = lend(bench, false, true);
    assert_int_equal(next->state, CONNECTION_CONNECTING);
    connection_release(next, 0, false);
}

static void one_with_unread_bytes_is_not_kept(void **state)
{
    struct bench *bench = *state;
    int peer;
    struct connection *connection = connected(bench, &peer);
    assert_int_equal(send(peer, "x", 1, 0), 1);
    bench->news = 0;
    while (bench->news == 0)
        bench_turn(bench);
    connection_release(connection, KEEP, false);
    assert_int_equal(bench_cells(bench)->connections, 0);
    close(peer);
}

static void a_refused_connection_says_so(void **state)
{
    struct bench *bench = *state;
    close(bench->listening);
    bench->listening = -1;
    struct connection *connection = lend(bench, false, false);
    if (connection == NULL) {
        assert_int_equal(errno, ECONNREFUSED);
        return;
    }
    while (bench->news == 0)
        bench_turn(bench);
    assert_int_equal(connection_check(connection), ECONNREFUSED);
    connection_release(connection, 0, false);
}

/* Of the client with this port. */
static struct lending as_client(struct bench *bench, uint16_t port, uint32_t version)
{
    struct lending lending = {.ready = bench_ready, .arg = bench, .owner = {.version = version}};
    lending.owner.ends.source_port = port;
    return lending;
}

static struct connection *lend_to(struct bench *bench, uint16_t port, uint32_t version)
{
    struct lending lending = as_client(bench, port, version);
    struct upstream *upstream = upstream_of(bench->upstreams, &bench->instance);
    struct connection *connection = upstream_lend(upstream, &bench->instance, &lending);
    assert_non_null(connection);
    while (connection->state == CONNECTION_CONNECTING && connection_check(connection) == EINPROGRESS)
        bench_turn(bench);
    return connection;
}

static void an_owned_one_is_lent_to_its_owner_only(void **state)
{
    struct bench *bench = *state;
    struct connection *first = lend_to(bench, 1, 2), *second = lend_to(bench, 2, 2);
    connection_release(first, KEEP, false);
    connection_release(second, KEEP, false);
    struct connection *third = lend_to(bench, 3, 2), *of_nobody = lend_to(bench, 0, 0);
    struct connection *other_version = lend_to(bench, 1, 1);
    assert_false(third->kept || of_nobody->kept || other_version->kept);
    connection_release(of_nobody, KEEP, false);
    assert_ptr_equal(lend_to(bench, 1, 2), first);
    assert_ptr_equal(lend_to(bench, 2, 2), second);
    assert_ptr_equal(lend_to(bench, 0, 0), of_nobody);
    /* Nobody needs two. */
    struct connection *one_more = lend_to(bench, 1, 2);
    connection_release(first, KEEP, false);
    connection_release(one_more, KEEP, false);
    assert_int_equal(one_more->state, CONNECTION_CLOSED);
    assert_ptr_equal(lend_to(bench, 1, 2), first);
    connection_release(first, KEEP, false);
    connection_release(second, KEEP, false);
    connection_release(third, KEEP, false);
    connection_release(of_nobody, KEEP, false);
    connection_release(other_version, KEEP, false);
    upstreams_stop(bench->upstreams);
    assert_int_equal(counters_read(&counters_instance(bench->counters, 0, 5)->connections), 0);
}

static void a_fresh_one_begins_with_its_owners_header(void **state)
{
    struct bench *bench = *state;
    struct connection *connection = lend_to(bench, 4711, 1);
    assert_int_equal(send(connection->stream.fd, "x", 1, MSG_NOSIGNAL), 1); /* the header waits for company */
    int fd = accept(bench->listening, NULL, NULL);
    char bytes[100];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_WAITALL | MSG_DONTWAIT);
    const char *header = "PROXY TCP6 :: :: 4711 0\r\nx";
    assert_int_equal(n, strlen(header));
    assert_memory_equal(bytes, header, n);
    connection_release(connection, 0, false);
    close(fd);
}

/* An instance at a Unix socket with room for one connection. */
static int listen_unix(struct bench *bench, struct sockaddr_un *name)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(name->sun_path, sizeof name->sun_path, "/tmp/upswap-test-%d.sock", (int)getpid());
    unlink(name->sun_path);
    assert_int_equal(bind(fd, (struct sockaddr *)name, sizeof *name), 0);
    assert_int_equal(listen(fd, 0), 0);
    bench->instance.address = (struct sockaddr *)name;
    bench->instance.address_length =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name->sun_path) + 1);
    return fd;
}

struct rest {
    struct deadline deadline;
    struct loop *loop;
};

static void rest_is_over(struct deadline *deadline)
{
    loop_stop(mem_container(deadline, struct rest, deadline)->loop);
}

/* Runs the loop for a moment, so that its deadlines come. */
static void rest(struct bench *bench)
{
    struct rest rest = {.loop = bench->loop};
    deadline_init(&rest.deadline, bench->loop, rest_is_over);
    deadline_set(&rest.deadline, 5);
    loop_run(bench->loop);
}

static void a_full_unix_socket_is_waited_for(void **state)
{
    struct bench *bench = *state;
    struct sockaddr_un name;
    int listening = listen_unix(bench, &name);
    struct connection *first = lend_to(bench, 0, 0), *second = lend(bench, true, false);
    assert_non_null(second);
    for (int i = 0; i < 3; i++)
        rest(bench);
    assert_int_equal(connection_check(second), EINPROGRESS);
    int peer = accept(listening, NULL, NULL);
    while (connection_check(second) == EINPROGRESS)
        rest(bench);
    assert_int_equal(second->state, CONNECTION_LENT);
    /* Whoever waits learns that nobody listens any more. */
    struct connection *third = lend(bench, true, false);
    assert_non_null(third);
    assert_int_equal(connection_check(third), EINPROGRESS);
    close(listening);
    int error;
    while ((error = connection_check(third)) == EINPROGRESS)
        rest(bench);
    assert_int_equal(error, ECONNREFUSED);
    connection_release(first, 0, false);
    connection_release(second, 0, false);
    connection_release(third, 0, false);
    assert_int_equal(bench_cells(bench)->connections, 0);
    close(peer);
    unlink(name.sun_path);
}

static void another_instance_in_the_same_slot_gets_none_of_its_connections(void **state)
{
    struct bench *bench = *state;
    int peer;
    connection_release(connected(bench, &peer), KEEP, false);
    bench->instance.id = 8;
    struct connection *next = lend(bench, false, false);
    assert_int_equal(next->state, CONNECTION_CONNECTING);
    assert_int_equal(bench_cells(bench)->connections, 1);
    connection_release(next, 0, false);
    close(peer);
}

/* A world of two services, of which the first has a pool with the instance; live unless it drains. `ground`:
 * what it amends, in which the service `amended` is to be another one; NULL: it is whole. */
static const struct snapshot *world_of(struct bench *bench, uint64_t version, bool drains, void **image,
                                       const struct snapshot *ground, uint32_t amended)
{
    static const char *paths[] = {"/", "/rest"};
    bool is_whole = ground == NULL, has_pool = is_whole || amended == 0;
    struct snapshot_instance_spec one = {.name = "127.0.0.1:80",
                                         .address = bench->instance.address,
                                         .address_length = bench->instance.address_length,
                                         .id = bench->instance.id,
                                         .slot = bench->instance.slot};
    struct snapshot_pool_spec pool = {
        .deployment = "web-1", .release = "", .slot = 1, .instances = &one, .instance_count = 1};
    pool.drain.requests_until_ms = drains;
    struct snapshot_service_spec services[] = {
        {.name = "web",
         .paths = &paths[0],
         .path_count = 1,
         .pool_count = has_pool,
         .live = drains || !has_pool ? SNAPSHOT_NONE : 0},
        {.name = "rest", .paths = &paths[1], .path_count = 1, .live = SNAPSHOT_NONE}};
    struct snapshot_spec spec = {.version = version,
                                 .ground_version = is_whole ? 0 : snapshot_version(ground),
                                 .ground_services = 2,
                                 .amended = &amended,
                                 .services = services,
                                 .service_count = is_whole ? 2 : 1,
                                 .pools = &pool,
                                 .pool_count = has_pool};
    spec.settings.head_max = 4096;
    spec.settings.fields_max = 10;
    struct err err;
    size_t size;
    *image = snapshot_freeze(&spec, &size, &err);
    assert_non_null(*image);
    return is_whole ? snapshot_open(*image, size, &err) : snapshot_amend(*image, size, ground, &err);
}

static const struct snapshot *world(struct bench *bench, uint64_t version, bool drains, void **image)
{
    return world_of(bench, version, drains, image, NULL, 0);
}

static void a_world_that_drains_the_pool_closes_idle_ones_and_keeps_none(void **state)
{
    struct bench *bench = *state;
    int peers[2];
    void *images[2];
    struct connection *lent = connected(bench, &peers[0]);
    connection_release(connected(bench, &peers[1]), KEEP, false);
    upstreams_turn(bench->upstreams, world(bench, 1, false, &images[0]));
    assert_int_equal(bench_cells(bench)->connections, 2);
    upstreams_turn(bench->upstreams, world(bench, 2, true, &images[1]));
    bench_turn(bench);
    assert_int_equal(bench_cells(bench)->connections, 1);
    connection_release(lent, KEEP, false);
    bench_turn(bench);
    assert_int_equal(bench_cells(bench)->connections, 0);
    free(images[0]);
    free(images[1]);
    close(peers[0]);
    close(peers[1]);
}

static void those_of_a_pool_that_has_gone_close_one_a_turn(void **state)
{
    struct bench *bench = *state;
    int peers[3];
    void *images[2];
    struct connection *connections[3];
    upstreams_turn(bench->upstreams, world(bench, 1, false, &images[0]));
    for (int i = 0; i < 3; i++)
        connections[i] = connected(bench, &peers[i]);
    for (int i = 0; i < 3; i++)
        connection_release(connections[i], KEEP, false);
    upstreams_turn(bench->upstreams, world(bench, 2, true, &images[1]));
    for (uint64_t left = 3; left > 0; left--) {
        assert_int_equal(bench_cells(bench)->connections, left);
        bench_turn(bench);
    }
    assert_int_equal(bench_cells(bench)->connections, 0);
    for (int i = 0; i < 3; i++)
        close(peers[i]);
    free(images[0]);
    free(images[1]);
}

static void those_of_a_pool_that_comes_back_in_time_are_kept(void **state)
{
    struct bench *bench = *state;
    int peers[2];
    void *images[3];
    struct connection *connections[2];
    const struct snapshot *ground = world(bench, 1, false, &images[0]);
    upstreams_turn(bench->upstreams, ground);
    const struct snapshot_pool *pool = snapshot_pool_of_slot(ground, 1);
    bench->instance = snapshot_pool_instance(ground, pool, 0);
    for (int i = 0; i < 2; i++)
        connections[i] = connected(bench, &peers[i]);
    for (int i = 0; i < 2; i++)
        connection_release(connections[i], KEEP, false);
    upstreams_turn(bench->upstreams, world_of(bench, 2, true, &images[1], ground, 0));
    bench_turn(bench);
    upstreams_turn(bench->upstreams, world_of(bench, 3, false, &images[2], ground, 0));
    bench_turn(bench);
    bench_turn(bench);
    assert_int_equal(bench_cells(bench)->connections, 1);
    for (int i = 0; i < 2; i++)
        close(peers[i]);
    for (size_t i = 0; i < 3; i++)
        free(images[i]);
}

static void what_was_in_use_is_told_from_what_has_long_been_idle(void **state)
{
    struct bench *bench = *state;
    int peers[3];
    struct connection *connections[3];
    for (int i = 0; i < 3; i++)
        connections[i] = connected(bench, &peers[i]);
    connection_release(connections[0], 1000, false);
    connection_release(connections[1], KEEP, false);
    uint64_t now_ms = loop_ms(bench->loop);
    assert_int_equal(upstream_connections(bench->upstreams, &bench->instance), 3);
    assert_int_equal(upstream_connections_until(bench->upstreams, &bench->instance, now_ms), 3);
    assert_int_equal(upstream_connections_until(bench->upstreams, &bench->instance, now_ms + KEEP / 2), 2);
    assert_int_equal(upstream_connections_until(bench->upstreams, &bench->instance, now_ms + 2 * KEEP), 1);
    connection_release(connections[2], 0, false);
    for (int i = 0; i < 3; i++)
        close(peers[i]);
}

/* The worker asks at an instance as a world describes it. */
static struct connection *connected_by(struct bench *bench, const struct snapshot *snapshot, int *peer)
{
    const struct snapshot_pool *pool = snapshot_pool_of_slot(snapshot, 1);
    bench->instance = snapshot_pool_instance(snapshot, pool, 0);
    return connected(bench, peer);
}

static void an_amendment_of_another_service_leaves_idle_connections_alone(void **state)
{
    struct bench *bench = *state;
    int peer;
    void *images[4];
    const struct snapshot *ground = world(bench, 1, false, &images[0]);
    upstreams_turn(bench->upstreams, ground);
    connection_release(connected_by(bench, ground, &peer), KEEP, false);
    upstreams_turn(bench->upstreams, world_of(bench, 2, false, &images[1], ground, 1));
    assert_int_equal(bench_cells(bench)->connections, 1);
    const struct snapshot *amended = world_of(bench, 3, false, &images[2], ground, 0);
    upstreams_turn(bench->upstreams, amended);
    assert_int_equal(bench_cells(bench)->connections, 1);
    upstreams_turn(bench->upstreams, world_of(bench, 4, false, &images[3], ground, 0));
    assert_int_equal(bench_cells(bench)->connections, 1);
    for (size_t i = 0; i < 4; i++)
        free(images[i]);
    close(peer);
}

static void an_amendment_that_drains_the_pool_closes_idle_ones_of_ground_and_amendment(void **state)
{
    struct bench *bench = *state;
    int peer;
    void *images[4];
    const struct snapshot *ground = world(bench, 1, false, &images[0]);
    upstreams_turn(bench->upstreams, ground);
    connection_release(connected_by(bench, ground, &peer), KEEP, false);
    upstreams_turn(bench->upstreams, world_of(bench, 2, true, &images[1], ground, 0));
    bench_turn(bench);
    assert_int_equal(bench_cells(bench)->connections, 0);
    close(peer);
    const struct snapshot *back = world_of(bench, 3, false, &images[2], ground, 0);
    upstreams_turn(bench->upstreams, back);
    connection_release(connected_by(bench, back, &peer), KEEP, false);
    assert_int_equal(bench_cells(bench)->connections, 1);
    upstreams_turn(bench->upstreams, world_of(bench, 4, true, &images[3], ground, 0));
    bench_turn(bench);
    assert_int_equal(bench_cells(bench)->connections, 0);
    for (size_t i = 0; i < 4; i++)
        free(images[i]);
    close(peer);
}

static void an_idle_connection_makes_room_when_descriptors_are_used_up(void **state)
{
    struct bench *bench = *state;
    int peer;
    connection_release(connected(bench, &peer), KEEP, false);
    int next = dup(peer);
    close(next);
    rlim_t before = bench_descriptors((rlim_t)next);
    struct connection *first = lend(bench, true, false);
    struct connection *second = lend(bench, true, false);
    int error = errno;
    bench_descriptors(before);
    assert_non_null(first);
    assert_null(second);
    assert_int_equal(error, EMFILE);
    connection_release(first, 0, false);
    close(peer);
}

/* Whatever the instance, and whether or not they have an owner. */
static void above_the_workers_share_the_one_kept_for_longest_goes(void **state)
{
    struct bench *bench = *state;
    struct connection *connections[IDLE_MOST + 2];
    connections[0] = lend_to(bench, 1, 2);
    bench->instance.slot = 6;
    bench->instance.id = 8;
    for (int i = 1; i < IDLE_MOST + 2; i++)
        connections[i] = lend_to(bench, 0, 0);
    for (int i = 0; i < IDLE_MOST; i++)
        connection_release(connections[i], KEEP, false);
    assert_int_equal(bench_cells(bench)->connections, 1);
    connection_release(connections[IDLE_MOST], KEEP, false);
    assert_int_equal(bench_cells(bench)->connections, 0);
    assert_ptr_equal(lend_to(bench, 0, 0), connections[IDLE_MOST]); /* what is lent again grows young */
    connection_release(connections[IDLE_MOST], KEEP, false);
    connection_release(connections[IDLE_MOST + 1], KEEP, false);
    assert_int_equal(connections[1]->state, CONNECTION_CLOSED);
    assert_int_equal(counters_instance(bench->counters, 0, 6)->connections, IDLE_MOST);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_lease_counts_from_its_lending_to_its_release),
        TEST(what_was_used_last_is_lent_first),
        TEST(one_that_closed_while_idle_is_never_lent),
        TEST(one_that_speaks_while_idle_is_closed),
        TEST(whoever_must_be_sure_gets_none_whose_end_has_come_but_was_not_seen),
        TEST(one_with_unread_bytes_is_not_kept),
        TEST(a_refused_connection_says_so),
        TEST(an_owned_one_is_lent_to_its_owner_only),
        TEST(a_fresh_one_begins_with_its_owners_header),
        TEST(a_full_unix_socket_is_waited_for),
        TEST(another_instance_in_the_same_slot_gets_none_of_its_connections),
        TEST(a_world_that_drains_the_pool_closes_idle_ones_and_keeps_none),
        TEST(those_of_a_pool_that_has_gone_close_one_a_turn),
        TEST(those_of_a_pool_that_comes_back_in_time_are_kept),
        TEST(what_was_in_use_is_told_from_what_has_long_been_idle),
        TEST(an_amendment_of_another_service_leaves_idle_connections_alone),
        TEST(an_amendment_that_drains_the_pool_closes_idle_ones_of_ground_and_amendment),
        TEST(an_idle_connection_makes_room_when_descriptors_are_used_up),
        TEST(above_the_workers_share_the_one_kept_for_longest_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
