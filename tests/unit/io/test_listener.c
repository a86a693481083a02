#include "io/listener.h"

#include "base/mem.h"
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct loop *loop;
static struct listener *listener;
static int listening;
static struct address address;
static struct err err;
static int got[512];
static unsigned got_count, wanted;
static char folder[] = "/tmp/upswap-listener-XXXXXX";

static unsigned accepts; /* calls */

int __real_accept4(int fd, struct sockaddr *peer, socklen_t *length, int flags);
int __wrap_accept4(int fd, struct sockaddr *peer, socklen_t *length, int flags);

int __wrap_accept4(int fd, struct sockaddr *peer, socklen_t *length, int flags)
{
    accepts++;
    return __real_accept4(fd, peer, length, flags);
}

static void keep(void *arg, int fd, const struct sockaddr_storage *peer)
{
    (void)arg;
    (void)peer;
    got[got_count++] = fd;
    if (got_count == wanted)
        loop_stop(loop);
}

static int connect_to(const struct address *to)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(to->port)};
    inet_pton(AF_INET, to->host, &name.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(fd, errno);
    assert_return_code(connect(fd, (struct sockaddr *)&name, sizeof name), errno);
    return fd;
}

static int connect_to_unix(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(fd, errno);
    if (connect(fd, (struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    close(fd);
    return -1;
}

static void run_until(unsigned count)
{
    wanted = count;
    if (got_count < wanted)
        loop_run(loop);
}

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    got_count = 0;
    address = (struct address){.kind = ADDRESS_IPV4, .host = "127.0.0.1"};
    assert_true(listener_open(&address, 1, &listening, &err));
    listener = listener_new(loop, listening, keep, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < got_count; i++)
        close(got[i]);
    if (listener != NULL)
        listener_free(listener);
    close(listening);
    loop_free(loop);
    return 0;
}

static void accepted_descriptors_are_nonblocking_private_and_without_delay(void **state)
{
    (void)state;
    int client = connect_to(&address), nodelay = 0;
    run_until(1);
    assert_true(fcntl(got[0], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
    assert_return_code(getsockopt(got[0], IPPROTO_TCP, TCP_NODELAY, &nodelay, &(socklen_t){sizeof nodelay}),
                       errno);
    assert_int_equal(nodelay, 1);
    close(client);
}

static void several_sockets_share_one_free_port_and_all_serve(void **state)
{
    (void)state;
    int fds[3], clients[64];
    struct address shared = {.kind = ADDRESS_IPV4, .host = "127.0.0.1"};
    assert_true(listener_open(&shared, 3, fds, &err));
    assert_int_not_equal(shared.port, 0);
    for (int i = 0; i < 64; i++)
        clients[i] = connect_to(&shared);
    unsigned served = 0;
    for (int i = 0; i < 3; i++) {
        unsigned before = got_count;
        struct listener *one = listener_new(loop, fds[i], keep, NULL);
        listener_drain(one, 1000);
        served += got_count > before;
        listener_free(one);
        close(fds[i]);
    }
    assert_int_equal(got_count, 64);
    assert_true(served >= 2);
    for (int i = 0; i < 64; i++)
        close(clients[i]);
}

static void a_port_that_another_listens_on_is_refused_even_if_it_would_share(void **state)
{
    (void)state;
    int fds[2];
    assert_false(listener_open(&address, 2, fds, &err));
    assert_non_null(strstr(err.text, "cannot listen on 127.0.0.1:"));
    assert_non_null(strstr(err.text, "Address already in use; another program listens there"));
}

static void addresses_that_cannot_be_had_are_refused_with_the_reason(void **state)
{
    (void)state;
    int fds[1];
    struct address name = {.kind = ADDRESS_NAME, .host = "localhost"};
    assert_false(listener_open(&name, 1, fds, &err));
    assert_non_null(strstr(err.text, "write an IP address"));
    struct address strange = {.kind = ADDRESS_IPV4, .host = "192.0.2.1"};
    assert_false(listener_open(&strange, 1, fds, &err));
    assert_non_null(strstr(err.text, "192.0.2.1:0"));
    assert_non_null(strstr(err.text, "no interface of this machine"));
}

static void ipv6_sockets_leave_ipv4_to_others(void **state)
{
    (void)state;
    int fd, only = 0;
    struct address six = {.kind = ADDRESS_IPV6, .host = "::"};
    assert_true(listener_open(&six, 1, &fd, &err));
    assert_return_code(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &(socklen_t){sizeof only}), errno);
    assert_int_equal(only, 1);
    close(fd);
}

/* Leaves no descriptor beyond those in use. Returns the limit that was. */
static rlim_t use_up_descriptors(void)
{
    struct rlimit limit;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    rlim_t old = limit.rlim_cur;
    int next = dup(0);
    close(next);
    limit.rlim_cur = (rlim_t)next;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
    return old;
}

static void give_descriptors_back(rlim_t old)
{
    struct rlimit limit;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    limit.rlim_cur = old;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
}

static void give_up_waiting(struct deadline *deadline)
{
    (void)deadline;
    loop_stop(loop);
}

static void out_of_descriptors_accepting_rests_and_goes_on_when_woken(void **state)
{
    (void)state;
    struct deadline pause;
    int client = connect_to(&address);
    rlim_t old = use_up_descriptors();
    deadline_init(&pause, loop, give_up_waiting);
    deadline_set(&pause, 30);
    uint64_t turns = loop_turns(loop);
    run_until(1);
    assert_int_equal(got_count, 0);
    assert_true(loop_turns(loop) - turns < 10); /* it does not spin */
    give_descriptors_back(old);
    uint64_t before = loop_ms(loop);
    listener_wake(listener);
    run_until(1);
    assert_int_equal(got_count, 1);
    assert_true(loop_ms(loop) - before < 60); /* not by the pause of 100 ms */
    close(client);
}

static void out_of_descriptors_accepting_goes_on_by_itself(void **state)
{
    (void)state;
    struct deadline pause;
    int client = connect_to(&address);
    rlim_t old = use_up_descriptors();
    deadline_init(&pause, loop, give_up_waiting);
    deadline_set(&pause, 20);
    run_until(1);
    assert_int_equal(got_count, 0);
    give_descriptors_back(old);
    run_until(1);
    assert_int_equal(got_count, 1);
    close(client);
}

static void at_most_64_are_accepted_in_a_turn(void **state)
{
    (void)state;
    int clients[70];
    for (int i = 0; i < 70; i++)
        clients[i] = connect_to(&address);
    run_until(1);
    assert_int_equal(got_count, 64);
    run_until(70);
    assert_int_equal(got_count, 70);
    for (int i = 0; i < 70; i++)
        close(clients[i]);
}

static void no_more_accepts_are_tried_than_there_are_connections(void **state)
{
    (void)state;
    int clients[4];
    accepts = 0;
    for (int i = 0; i < 3; i++)
        clients[i] = connect_to(&address);
    run_until(3);
    clients[3] = connect_to(&address);
    run_until(4);
    assert_int_equal(accepts, 4);
    for (int i = 0; i < 4; i++)
        close(clients[i]);
}

static void free_the_listener(void *arg, int fd, const struct sockaddr_storage *peer)
{
    listener_free(listener);
    listener = NULL;
    keep(arg, fd, peer);
}

static void the_callback_may_free_the_listener(void **state)
{
    (void)state;
    listener_free(listener);
    listener = listener_new(loop, listening, free_the_listener, NULL);
    int clients[2] = {connect_to(&address), connect_to(&address)};
    run_until(1);
    assert_int_equal(got_count, 1);
    close(clients[0]);
    close(clients[1]);
}

/* The descriptor stays open, and what comes over it is for another. */
static void who_is_freed_accepts_nobody(void **state)
{
    (void)state;
    struct deadline deadline;
    listener_free(listener);
    listener = NULL;
    int client = connect_to(&address);
    deadline_init(&deadline, loop, give_up_waiting);
    deadline_set(&deadline, 50);
    loop_run(loop);
    assert_true(loop_turns(loop) < 20); /* nor is the loop woken for it again and again */
    assert_int_equal(got_count, 0);
    close(client);
}

static void drain_takes_what_the_kernel_holds_and_no_more_than_asked(void **state)
{
    (void)state;
    int clients[5];
    for (int i = 0; i < 5; i++)
        clients[i] = connect_to(&address);
    listener_drain(listener, 3);
    assert_int_equal(got_count, 3);
    listener_drain(listener, 100);
    assert_int_equal(got_count, 5);
    for (int i = 0; i < 5; i++)
        close(clients[i]);
}

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void a_unix_socket_has_its_mode_and_replaces_a_dead_one_only(void **state)
{
    (void)state;
    struct stat found;
    const char *path = in_folder("socket");
    mode_t old = umask(077);
    int first = listener_open_unix(path, 0660, (gid_t)-1, &err);
    umask(old);
    assert_return_code(first, errno);
    assert_return_code(stat(path, &found), errno);
    assert_int_equal(found.st_mode & 07777, 0660);
    assert_int_equal(listener_open_unix(path, 0660, (gid_t)-1, &err), -1);
    assert_non_null(strstr(err.text, "another process answers"));
    close(first);
    int second = listener_open_unix(path, 0600, (gid_t)-1, &err);
    assert_return_code(second, errno);
    int client = connect_to_unix(path);
    assert_return_code(client, errno);
    close(client);
    close(second);
    unlink(path);
}

static int open_as_nobody(const char *path)
{
    bool is_root = geteuid() == 0;
    if (is_root)
        assert_return_code(seteuid(65534), errno);
    int fd = listener_open_unix(path, 0660, (gid_t)-1, &err);
    if (is_root)
        assert_return_code(seteuid(0), errno);
    return fd;
}

/* A daemon of root that was killed leaves one. */
static void a_unix_socket_that_may_not_be_asked_is_not_said_to_answer(void **state)
{
    (void)state;
    const char *path = in_folder("others");
    int dead = listener_open_unix(path, 0, (gid_t)-1, &err);
    assert_return_code(dead, errno);
    close(dead);
    assert_return_code(chmod(folder, 0755), errno);
    assert_int_equal(open_as_nobody(path), -1);
    assert_null(strstr(err.text, "another process answers"));
    assert_non_null(strstr(err.text, "may not be asked"));
    assert_non_null(strstr(err.text, "remove it or give it to this user"));
    assert_return_code(unlink(path), errno);
}

static void a_unix_socket_spares_what_is_no_socket(void **state)
{
    (void)state;
    const char *path = in_folder("precious");
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(listener_open_unix(path, 0660, (gid_t)-1, &err), -1);
    assert_non_null(strstr(err.text, "no socket"));
    assert_return_code(access(path, F_OK), errno);
    unlink(path);
    char longer[300];
    memset(longer, 'a', sizeof longer - 1);
    longer[0] = '/';
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(listener_open_unix(longer, 0660, (gid_t)-1, &err), -1);
    assert_non_null(strstr(err.text, "longer than 107 bytes"));
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(accepted_descriptors_are_nonblocking_private_and_without_delay,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_sockets_share_one_free_port_and_all_serve, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_port_that_another_listens_on_is_refused_even_if_it_would_share,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(addresses_that_cannot_be_had_are_refused_with_the_reason, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(ipv6_sockets_leave_ipv4_to_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(out_of_descriptors_accepting_rests_and_goes_on_when_woken, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(out_of_descriptors_accepting_goes_on_by_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(at_most_64_are_accepted_in_a_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_accepts_are_tried_than_there_are_connections, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_callback_may_free_the_listener, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_freed_accepts_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drain_takes_what_the_kernel_holds_and_no_more_than_asked, set_up,
                                        tear_down),
        cmocka_unit_test(a_unix_socket_has_its_mode_and_replaces_a_dead_one_only),
        cmocka_unit_test(a_unix_socket_that_may_not_be_asked_is_not_said_to_answer),
        cmocka_unit_test(a_unix_socket_spares_what_is_no_socket),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
