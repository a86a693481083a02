/* A pair of sockets has the identity of who made it at both ends, so a child that has become somebody asks
 * itself. */
#include "control/admin_peer.h"

#include "unit.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { USER = 7000, GROUP = 6000, OTHER_GROUP = 5000, NOBODY_ELSE = 1 };

static bool is_let_in(uid_t user, gid_t group)
{
    const struct admin_owners owners = {user, group};
    struct admin_peer peer;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        _exit(2);
    admin_peer_ask(&peer, ends[0], &owners);
    close(ends[0]);
    close(ends[1]);
    if (!peer.known || peer.pid != getpid() || peer.uid != getuid())
        _exit(2);
    return peer.let_in;
}

static void become(uid_t user, gid_t group, size_t more)
{
    gid_t groups[1024];
    for (size_t i = 0; i < more; i++)
        groups[i] = OTHER_GROUP + (gid_t)(more - 1 - i);
    if (setgroups(more, groups) != 0 || setresgid(group, group, group) != 0 ||
        setresuid(user, user, user) != 0)
        _exit(2);
}

static bool by_its_user(void)
{
    become(USER, GROUP, 0);
    return is_let_in(USER, NOBODY_ELSE);
}

static bool by_its_group(void)
{
    become(USER, GROUP, 0);
    return is_let_in(NOBODY_ELSE, GROUP);
}

static bool by_one_of_its_groups(void)
{
    become(USER, GROUP, 1);
    return is_let_in(NOBODY_ELSE, OTHER_GROUP);
}

static bool by_the_last_of_a_thousand(void)
{
    become(USER, GROUP, 1000);
    return is_let_in(NOBODY_ELSE, OTHER_GROUP);
}

static bool by_being_root(void)
{
    become(0, GROUP, 0);
    return is_let_in(NOBODY_ELSE, NOBODY_ELSE);
}

static bool by_nothing(void)
{
    become(USER, GROUP, 1);
    return is_let_in(NOBODY_ELSE, NOBODY_ELSE);
}

static int status_of(bool (*enters)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(enters() ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void the_user_the_group_and_root_are_let_in_and_nobody_else(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(status_of(by_its_user), 0);
    assert_int_equal(status_of(by_its_group), 0);
    assert_int_equal(status_of(by_one_of_its_groups), 0);
    assert_int_equal(status_of(by_the_last_of_a_thousand), 0);
    assert_int_equal(status_of(by_being_root), 0);
    assert_int_equal(status_of(by_nothing), 1);
}

static void who_is_no_peer_is_not_known(void **state)
{
    (void)state;
    const struct admin_owners owners = {getuid(), getgid()};
    struct admin_peer peer;
    struct asker asker;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    admin_peer_ask(&peer, fd, &owners);
    close(fd);
    assert_false(peer.known || peer.let_in);
    admin_peer_name(&peer, "somebody", &asker);
    assert_int_equal(asker.uid, -1);
    assert_string_equal(asker.user, "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_user_the_group_and_root_are_let_in_and_nobody_else),
        cmocka_unit_test(who_is_no_peer_is_not_known),
    };
    return cmocka_run_group_tests_name("admin_peer", tests, NULL, NULL);
}
