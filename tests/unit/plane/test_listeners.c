#include "plane/listeners.h"

#include "unit.h"

#include "plane/client.h"
#include "plane/worker.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

/* As much of a worker as accepting needs; its loop is never turned, so nothing is accepted but by a drain. */
struct door {
    struct worker worker;
    struct snapshot_settings settings;
    struct address address;
    int fd;
    void *image;
    int counters_fd;
};

static const struct snapshot *world(struct door *door)
{
    struct snapshot_listener_spec listener = {.id = 2, .address = "127.0.0.1:80"};
    struct snapshot_spec spec = {.version = 1, .listeners = &listener, .listener_count = 1};
    struct err err;
    size_t size;
    spec.settings.head_max = 4096;
    spec.settings.fields_max = 10;
    door->image = snapshot_freeze(&spec, &size, &err);
    assert_non_null(door->image);
    return snapshot_open(door->image, size, &err);
}

static int set_up(void **state)
{
    struct door *door = calloc(1, sizeof *door);
    struct worker *worker = &door->worker;
    struct err err;
    worker->loop = loop_new();
    worker->buffers = buffers_new();
    worker->options.crowd = crowd_new();
    door->counters_fd = counters_create(1, &err);
    worker->counters = counters_map(door->counters_fd, &err);
    worker->cells = counters_worker(worker->counters, 0);
    worker->connections_max = 2;
    worker->settings = &door->settings;
    TAILQ_INIT(&worker->clients);
    newcomers_init(&worker->newcomers, worker->loop);
    worker->listeners = listeners_new(worker);
    assert_true(address_parse(STR("127.0.0.1:0"), true, &door->address, &err));
    assert_true(listener_open(&door->address, 1, &door->fd, &err));
    worker->snapshot = world(door);
    *state = door;
    return 0;
}

static int tear_down(void **state)
{
    struct door *door = *state;
    struct worker *worker = &door->worker;
    struct client *client;
    while ((client = TAILQ_FIRST(&worker->clients)) != NULL)
        client_close(client, false);
    assert_int_equal(crowd_size(worker->options.crowd), 0);
    assert_int_equal(worker->cells->connections[2], 0);
    listeners_free(worker->listeners);
    loop_free(worker->loop);
    crowd_free(worker->options.crowd);
    buffers_free(worker->buffers);
    counters_unmap(worker->counters);
    close(door->counters_fd);
    free(door->image);
    free(door);
    return 0;
}

static int visit(struct door *door)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons(door->address.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    close(fd);
    return -1;
}

static void a_stop_takes_whom_the_kernel_holds_and_closes_for_every_process(void **state)
{
    struct door *door = *state;
    int elsewhere = dup(door->fd), visitor = visit(door);
    listeners_add(door->worker.listeners, 2, door->fd, false);
    assert_int_equal(door->worker.client_count, 0);
    door->worker.stopping = true;
    listeners_stop(door->worker.listeners);
    assert_int_equal(door->worker.client_count, 1);
    struct client *client = TAILQ_FIRST(&door->worker.clients);
    assert_str_equal(peer_text(&client->peer), "127.0.0.1");
    assert_int_equal(visit(door), -1);
    close(visitor);
    close(elsewhere);
}

static void a_stop_leaves_a_passed_socket_to_the_service_manager(void **state)
{
    struct door *door = *state;
    int elsewhere = dup(door->fd), visitor = visit(door);
    listeners_add(door->worker.listeners, 2, door->fd, true);
    door->worker.stopping = true;
    listeners_stop(door->worker.listeners);
    assert_int_equal(door->worker.client_count, 1);
    int waits = visit(door);
    assert_true(waits >= 0);
    close(waits);
    close(visitor);
    close(elsewhere);
}

static void the_same_socket_twice_is_one_listener(void **state)
{
    struct door *door = *state;
    int again = dup(door->fd), visitor = visit(door);
    listeners_add(door->worker.listeners, 2, door->fd, false);
    listeners_add(door->worker.listeners, 2, again, false);
    int second = visit(door);
    listeners_stop(door->worker.listeners);
    assert_int_equal(door->worker.client_count, 2);
    close(visitor);
    close(second);
}

static void an_id_that_no_world_can_name_is_not_kept(void **state)
{
    struct door *door = *state;
    listeners_add(door->worker.listeners, SNAPSHOT_LISTENERS_MAX, door->fd, false);
    assert_int_equal(visit(door), -1);
}

static void a_full_house_does_not_accept(void **state)
{
    struct door *door = *state;
    int visitors[3];
    for (int i = 0; i < 3; i++)
        visitors[i] = visit(door);
    listeners_add(door->worker.listeners, 2, door->fd, false);
    listeners_stop(door->worker.listeners);
    assert_int_equal(door->worker.client_count, 2);
    for (int i = 0; i < 3; i++)
        close(visitors[i]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_stop_takes_whom_the_kernel_holds_and_closes_for_every_process),
        TEST(a_stop_leaves_a_passed_socket_to_the_service_manager),
        TEST(the_same_socket_twice_is_one_listener),
        TEST(an_id_that_no_world_can_name_is_not_kept),
        TEST(a_full_house_does_not_accept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
