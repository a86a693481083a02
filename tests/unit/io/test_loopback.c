#include "io/loopback.h"

#include "base/address.h"
#include "base/mem.h"
#include "io/listener.h"
#include "io/stream.h"
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL_MAX 16 /* bytes of the name of a congestion control, with the NUL */

static void assert_control(int fd, const char *expected)
{
    char control[CONTROL_MAX] = "";
    assert_return_code(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, control, &(socklen_t){sizeof control}),
                       errno);
    assert_string_equal(control, expected);
}

/* One that is not upswap's choice: empty if the kernel has none that this user may choose. */
static const char *another_control(void)
{
    static char names[4][CONTROL_MAX];
    FILE *file = fopen("/proc/sys/net/ipv4/tcp_available_congestion_control", "re");
    int n = file == NULL ? 0 : fscanf(file, "%15s %15s %15s %15s", names[0], names[1], names[2], names[3]);
    if (file != NULL)
        fclose(file);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    const char *found = "";
    for (int i = 0; i < n && *found == '\0'; i++)
        if (strcmp(names[i], "reno") != 0 &&
            setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, names[i], (socklen_t)strlen(names[i])) == 0)
            found = names[i];
    close(fd);
    return found;
}

/* What a socket with another control has when it has been told that it has this address. */
static void assert_becomes(const char *host, bool reno)
{
    const char *before = another_control();
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    bool is_v6 = inet_pton(AF_INET6, host, &v6.sin6_addr) == 1;
    assert_true(is_v6 || inet_pton(AF_INET, host, &v4.sin_addr) == 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_return_code(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, before, (socklen_t)strlen(before)), errno);
    loopback_unpace(fd, is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4);
    assert_control(fd, reno ? "reno" : before);
    close(fd);
}

static void loopback_addresses_are_not_paced_and_all_others_keep_what_the_system_says(void **state)
{
    (void)state;
    if (*another_control() == '\0')
        skip();
    assert_becomes("127.0.0.1", true);
    assert_becomes("127.255.9.1", true);
    assert_becomes("::1", true);
    assert_becomes("126.0.0.1", false);
    assert_becomes("128.0.0.1", false);
    assert_becomes("0.0.0.0", false);
    assert_becomes("10.0.0.127", false);
    assert_becomes("::", false);
    assert_becomes("::7f00:1", false);
    assert_becomes("2001:db8::1", false);
}

static void take(void *arg, int fd, const struct sockaddr_storage *peer)
{
    (void)peer;
    *(int *)arg = fd;
}

static void neither_end_of_a_loopback_connection_of_upswaps_is_paced(void **state)
{
    (void)state;
    struct address address = {.kind = ADDRESS_IPV4, .host = "127.0.0.1"};
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listening, accepted = -1;
    struct err err;
    assert_true(listener_open(&address, 1, &listening, &err));
    const char *another = another_control(); /* where the system's is reno, only this can tell */
    setsockopt(listening, IPPROTO_TCP, TCP_CONGESTION, another, (socklen_t)strlen(another));
    struct loop *loop = loop_new();
    struct listener *listener = listener_new(loop, listening, take, &accepted);
    name.sin_port = htons(address.port);
    int connected = stream_connect((struct sockaddr *)&name, sizeof name);
    assert_return_code(connected, errno);
    listener_drain(listener, 1);
    assert_return_code(accepted, EAGAIN);
    assert_control(connected, "reno");
    assert_control(accepted, "reno");
    close(connected);
    close(accepted);
    listener_free(listener);
    close(listening);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loopback_addresses_are_not_paced_and_all_others_keep_what_the_system_says),
        cmocka_unit_test(neither_end_of_a_loopback_connection_of_upswaps_is_paced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
