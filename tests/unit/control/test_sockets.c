#include "control/sockets.h"

#include "unit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder for the admin socket, and the channel to a keeper that does not listen. */
struct place {
    char folder[64], socket[96];
    struct loop *loop;
    struct channel *keeper;
    int other_end;
    struct config *config;
    int counters_fd;
    struct counters *counters;
    struct sockets *sockets;
};

static struct config *parse(const struct place *place, const char *address)
{
    char text[512];
    struct err err;
    int n = snprintf(text, sizeof text,
                     "admin = { socket = \"%s\"; };\nlisteners = ({ address = \"%s\"; });\n"
                     "services = ({ name = \"web\"; });\n",
                     place->socket, address);
    FILE *file = fmemopen(text, (size_t)n, "r");
    struct config *config = config_parse(file, "test.conf", &err);
    fclose(file);
    if (config == NULL)
        fail_msg("%s", err.text);
    return config;
}

static int set_up(void **state)
{
    static const struct channel_callbacks callbacks = {NULL, NULL};
    static struct place place;
    struct err err;
    int ends[2];
    strcpy(place.folder, "/tmp/upswap-sockets-XXXXXX");
    assert_non_null(mkdtemp(place.folder));
    snprintf(place.socket, sizeof place.socket, "%s/admin.sock", place.folder);
    assert_true(channel_pair(ends, &err));
    place.loop = loop_new();
    place.keeper = channel_open(place.loop, ends[0], &callbacks, NULL);
    place.other_end = ends[1];
    place.config = parse(&place, "127.0.0.1:0");
    place.counters_fd = counters_create(2, &err);
    place.counters = counters_map(place.counters_fd, &err);
    assert_non_null(place.counters);
    place.sockets = sockets_new(place.counters, place.keeper);
    *state = &place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    config_free(place->config);
    channel_close(place->keeper);
    close(place->other_end);
    loop_free(place->loop);
    counters_unmap(place->counters);
    close(place->counters_fd);
    unlink(place->socket);
    return rmdir(place->folder);
}

static void what_is_discarded_leaves_nothing(void **state)
{
    struct place *place = *state;
    struct stat found;
    struct err err;
    assert_true(sockets_prepare(place->sockets, place->config, &err));
    assert_int_equal(sockets_count(place->sockets), 0);
    assert_int_equal(stat(place->socket, &found), 0);
    sockets_discard(place->sockets);
    assert_int_equal(sockets_count(place->sockets), 0);
    assert_int_not_equal(stat(place->socket, &found), 0);
}

static void a_stop_while_a_config_is_prepared_leaves_no_listener(void **state)
{
    struct place *place = *state;
    struct err err;
    assert_true(sockets_prepare(place->sockets, place->config, &err));
    sockets_close_listeners(place->sockets);
    sockets_discard(place->sockets);
    assert_int_equal(sockets_count(place->sockets), 0);
}

/* The id that the one listener of a config gets now. */
static uint32_t next_id(const struct place *place)
{
    struct err err;
    assert_true(sockets_prepare(place->sockets, place->config, &err));
    sockets_commit(place->sockets);
    sockets_settle(place->sockets);
    uint32_t id = sockets_at(place->sockets, 0)->id;
    sockets_close_listeners(place->sockets);
    return id;
}

static void an_id_is_given_again_when_no_number_is_left_of_it(void **state)
{
    struct place *place = *state;
    struct counters_worker *cells = counters_worker(place->counters, 1);
    for (uint32_t id = 0; id < COUNTERS_LISTENERS; id++)
        cells->connections[id] = 1;
    cells->connections[3] = cells->connections[8] = cells->connections[20] = 0;
    cells->handshakes[3][0] = cells->handshakes[8][COUNTERS_HANDSHAKES - 1] = 1;
    assert_int_equal(next_id(place), 20);
    cells->connections[20] =
        1; /* somebody is still there by it; of others only sums are left, which is better */
    assert_int_equal(next_id(place), 3);
    assert_int_equal(next_id(place), 8);
    cells->connections[3] = cells->connections[8] = 1;
    assert_int_equal(next_id(place), 9);
}

/* As in minimal.conf, where no folder was made for it. */
static void an_admin_socket_that_is_not_in_the_file_is_refused_without_a_line(void **state)
{
    struct place *place = *state;
    struct err err;
    char text[] = "listeners = ({ address = \"127.0.0.1:0\"; });\nservices = ({ name = \"web\"; });\n";
    FILE *file = fmemopen(text, strlen(text), "r");
    struct config *config = config_parse(file, "test.conf", &err);
    fclose(file);
    assert_non_null(config);
    free(config->admin.socket);
    config->admin.socket = strdup("/nonexistent/admin.sock");
    assert_false(sockets_prepare(place->sockets, config, &err));
    assert_string_equal(err.text,
                        "test.conf: admin.socket: cannot listen on /nonexistent/admin.sock: No such "
                        "file or directory; make its folder, or choose another path");
    config_free(config);
}

/* A socket that listens on 127.0.0.1, and its port. */
static int listen_anywhere(uint16_t *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &length), 0);
    *port = ntohs(name.sin_port);
    return fd;
}

/* As a service manager may pass it. */
static int listen_in_another_network(uint16_t *port)
{
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (unshare(CLONE_NEWNET) != 0)
        skip();
    int fd = listen_anywhere(port);
    assert_int_equal(setns(own, CLONE_NEWNET), 0);
    close(own);
    return fd;
}

/* Has it for a listener of one worker, as if an earlier control had left it. */
static void have_listener(const struct place *place, int fd, uint16_t port, char address[32])
{
    char name[64];
    snprintf(address, 32, "127.0.0.1:%u", port);
    snprintf(name, sizeof name, "listener 0 %s/0", address);
    assert_true(sockets_restore(place->sockets, name, fd));
}

static void an_address_meets_the_listener_that_has_it(void **state)
{
    struct place *place = *state;
    struct err err;
    uint16_t port;
    char address[32], all[32];
    int fd = listen_anywhere(&port);
    have_listener(place, fd, port, address);
    assert_string_equal(sockets_reached(place->sockets, address, SOCKETS_ALL), address);
    snprintf(all, sizeof all, "0.0.0.0:%u", port);
    struct config *config = parse(place, all);
    assert_false(sockets_prepare(place->sockets, config, &err));
    assert_non_null(strstr(err.text, "while upswapd itself listens on"));
    config_free(config);
    assert_null(sockets_reached(place->sockets, "no address", SOCKETS_ALL));
    sockets_close_listeners(place->sockets);
}

static void an_address_does_not_meet_a_listener_of_another_network(void **state)
{
    struct place *place = *state;
    struct err err;
    uint16_t port;
    char address[32], all[32];
    int fd = listen_in_another_network(&port);
    have_listener(place, fd, port, address);
    assert_null(sockets_reached(place->sockets, address, SOCKETS_ALL));
    snprintf(all, sizeof all, "0.0.0.0:%u", port);
    struct config *config = parse(place, all);
    assert_true(sockets_prepare(place->sockets, config, &err));
    sockets_discard(place->sockets);
    sockets_close_listeners(place->sockets);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_discarded_leaves_nothing),
        cmocka_unit_test(a_stop_while_a_config_is_prepared_leaves_no_listener),
        cmocka_unit_test(an_id_is_given_again_when_no_number_is_left_of_it),
        cmocka_unit_test(an_admin_socket_that_is_not_in_the_file_is_refused_without_a_line),
        cmocka_unit_test(an_address_meets_the_listener_that_has_it),
        cmocka_unit_test(an_address_does_not_meet_a_listener_of_another_network),
    };
    return cmocka_run_group_tests_name("sockets", tests, set_up, tear_down);
}
