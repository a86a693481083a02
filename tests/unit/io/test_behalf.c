/* Sockets that this user may connect to, and another may not. */
#include "io/behalf.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define UID 54321
#define GID 54322

static char folder[64];
static int listening;
static struct sockaddr_un name = {.sun_family = AF_UNIX};
static const struct behalf other = {.is_other = true, .uid = UID, .gid = GID, .name = "other"};
static const struct behalf self = {.name = "self"};

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/upswap-behalf-XXXXXX");
    assert_non_null(mkdtemp(folder));
    chmod(folder, 0755);
    snprintf(name.sun_path, sizeof name.sun_path, "%s/app.sock", folder);
    listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&name, sizeof name), 0);
    return listen(listening, 64);
}

static int tear_down(void **state)
{
    (void)state;
    close(listening);
    unlink(name.sun_path);
    return rmdir(folder);
}

/* 0, or the error. */
static int connected(const struct behalf *behalf)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;
    if (behalf_connect(behalf, fd, (struct sockaddr *)&name, sizeof name) != 0)
        error = errno;
    close(fd);
    return error;
}

static int with_mode(const struct behalf *behalf, uid_t uid, gid_t gid, mode_t mode)
{
    assert_int_equal(chown(name.sun_path, uid, gid), 0);
    assert_int_equal(chmod(name.sun_path, mode), 0);
    return connected(behalf);
}

static void need_root(void)
{
    if (geteuid() != 0)
        skip();
}

static void the_socket_s_mode_decides_by_the_other_user_and_its_group(void **state)
{
    (void)state;
    need_root();
    assert_int_equal(with_mode(&other, 0, 0, 0755), EACCES);
    assert_int_equal(with_mode(&other, 0, 0, 0777), 0);
    assert_int_equal(with_mode(&other, UID, 0, 0700), 0);
    assert_int_equal(with_mode(&other, 0, GID, 0770), 0);
    assert_int_equal(with_mode(&other, UID + 1, GID + 1, 0770), EACCES);
}

static void further_groups_of_this_process_do_not_count(void **state)
{
    (void)state;
    need_root();
    gid_t groups[] = {GID + 1};
    assert_int_equal(setgroups(1, groups), 0);
    assert_int_equal(with_mode(&other, 0, GID + 1, 0770), EACCES);
    assert_int_equal(setgroups(0, NULL), 0);
}

static void folders_above_must_let_the_other_user_in(void **state)
{
    (void)state;
    need_root();
    assert_int_equal(with_mode(&other, 0, 0, 0777), 0);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_int_equal(connected(&other), EACCES);
    assert_int_equal(chmod(folder, 0755), 0);
}

static void a_process_without_capabilities_is_no_master_of_others_sockets(void **state)
{
    (void)state;
    need_root();
    assert_int_equal(with_mode(&self, UID, GID, 0700), EACCES);
    assert_int_equal(with_mode(&self, 0, 0, 0700), 0);
    assert_int_equal(with_mode(NULL, UID, GID, 0700), 0);
}

static void this_process_stays_who_it_is(void **state)
{
    (void)state;
    need_root();
    int number = 0;
    assert_int_equal(prctl(PR_SET_PDEATHSIG, SIGTERM), 0);
    assert_int_equal(with_mode(&other, 0, 0, 0755), EACCES);
    assert_int_equal(setfsuid((uid_t)-1), 0);
    assert_int_equal(setfsgid((gid_t)-1), getegid());
    assert_int_equal(prctl(PR_GET_PDEATHSIG, &number), 0);
    assert_int_equal(number, SIGTERM);
    assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
    assert_int_equal(with_mode(NULL, UID, GID, 0700), 0);
}

static void what_mends_it_is_said_of_sockets_that_may_not_be_connected_to(void **state)
{
    (void)state;
    char *why = behalf_why(&other, (struct sockaddr *)&name, EACCES);
    assert_string_equal(why, "the proxy's user \"other\" may not connect to the socket (Permission denied); "
                             "let it write to the socket, and look into the folders above, by their mode, "
                             "owner or group");
    free(why);
    why = behalf_why(&other, (struct sockaddr *)&name, ECONNREFUSED);
    assert_string_equal(why, "Connection refused");
    free(why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_socket_s_mode_decides_by_the_other_user_and_its_group),
        cmocka_unit_test(further_groups_of_this_process_do_not_count),
        cmocka_unit_test(folders_above_must_let_the_other_user_in),
        cmocka_unit_test(a_process_without_capabilities_is_no_master_of_others_sockets),
        cmocka_unit_test(this_process_stays_who_it_is),
        cmocka_unit_test(what_mends_it_is_said_of_sockets_that_may_not_be_connected_to),
    };
    return cmocka_run_group_tests_name("behalf", tests, set_up, tear_down);
}
