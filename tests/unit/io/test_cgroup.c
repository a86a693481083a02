/* Where this machine lets us make control groups; else each is skipped. */
#include "io/cgroup.h"
#include "io/share.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define TEST_S 60 /* then all of it ends, what was forked too */

static char label[64];
static struct err why;

static int set_up(void **state)
{
    (void)state;
    snprintf(label, sizeof label, "upswap-test-%d", (int)getpid());
    return 0;
}

static void begin_or_skip(void)
{
    if (!cgroup_begin(label, &why)) {
        print_message("%s\n", why.text);
        skip();
    }
}

/* What the program that start_two executes is told by its only argument: where to say that it runs. */
static void be_two(const char *fd)
{
    if (fork() == 0)
        setsid();
    alarm(TEST_S);
    (void)!write(atoi(fd), "x", 1);
    for (;;)
        pause();
}

static void execute_two(void *arg)
{
    char fd[16];
    snprintf(fd, sizeof fd, "%d", *(int *)arg);
    execl("/proc/self/exe", "two", fd, (char *)NULL);
    _exit(1);
}

/* A process of the group and a child of it in a session of its own. *witness is read to its end when both are
 * gone. */
static pid_t start_two(const struct cgroup *group, int *witness)
{
    int ends[2];
    char byte;
    assert_return_code(pipe(ends), errno);
    assert_return_code(fcntl(ends[0], F_SETFD, FD_CLOEXEC), errno);
    pid_t pid = cgroup_start(group->fd, execute_two, &ends[1]);
    assert_true(pid >= 0);
    close(ends[1]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(read(ends[0], &byte, 1), 1);
    *witness = ends[0];
    return pid;
}

static void assert_all_killed(pid_t pid, int witness)
{
    char byte;
    int status;
    assert_int_equal(read(witness, &byte, 1), 0);
    close(witness);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static bool is_there(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

/* A process that is dead may count for a moment more. */
static void assert_removed_soon(const char *path)
{
    for (int i = 0; i < 1000 && is_there(path); i++) {
        struct cgroup none = CGROUP_NONE;
        cgroup_remove(&none);
        usleep(1000);
    }
    assert_false(is_there(path));
}

static void one_kill_reaches_all_in_a_group_and_nobody_else(void **state)
{
    (void)state;
    begin_or_skip();
    struct cgroup a = cgroup_make(), b = cgroup_make();
    char *paths[] = {strdup(a.path), strdup(b.path)};
    int witness_a, witness_b;
    pid_t pid_a = start_two(&a, &witness_a), pid_b = start_two(&b, &witness_b);
    cgroup_kill(a.kill_fd);
    assert_all_killed(pid_a, witness_a);
    assert_int_equal(waitpid(pid_b, NULL, WNOHANG), 0);
    cgroup_kill(b.kill_fd);
    assert_all_killed(pid_b, witness_b);
    cgroup_remove(&a);
    cgroup_remove(&b);
    assert_null(a.path);
    for (int i = 0; i < 2; i++) {
        assert_removed_soon(paths[i]);
        free(paths[i]);
    }
}

static void a_group_in_which_something_runs_is_removed_when_that_has_ended(void **state)
{
    (void)state;
    begin_or_skip();
    struct cgroup group = cgroup_make();
    char *path = strdup(group.path);
    int witness, kill_fd = dup(group.kill_fd);
    pid_t pid = start_two(&group, &witness);
    cgroup_remove(&group);
    assert_true(is_there(path));
    cgroup_kill(kill_fd);
    close(kill_fd);
    assert_all_killed(pid, witness);
    assert_removed_soon(path);
    free(path);
}

static void a_group_that_is_kept_is_the_next_one(void **state)
{
    (void)state;
    begin_or_skip();
    struct cgroup groups[CGROUP_KEEPS + 1];
    char *paths[CGROUP_KEEPS + 1];
    for (int i = 0; i <= CGROUP_KEEPS; i++) {
        groups[i] = cgroup_make();
        paths[i] = strdup(groups[i].path);
    }
    for (int i = 0; i <= CGROUP_KEEPS; i++)
        cgroup_keep(&groups[i]);
    assert_null(groups[0].path);
    assert_false(is_there(paths[CGROUP_KEEPS])); /* one too many */
    struct cgroup next = cgroup_make();
    assert_string_equal(next.path, paths[CGROUP_KEEPS - 1]);
    int witness;
    pid_t pid = start_two(&next, &witness);
    cgroup_kill(next.kill_fd);
    assert_all_killed(pid, witness);
    cgroup_remove(&next);
    assert_removed_soon(paths[CGROUP_KEEPS - 1]);
    assert_int_equal(cgroup_kept(), CGROUP_KEEPS - 1);
    cgroup_end();
    for (int i = 0; i <= CGROUP_KEEPS; i++) {
        assert_false(is_there(paths[i]));
        free(paths[i]);
    }
}

static void write_to(const struct cgroup *group, const char *name, const char *text)
{
    int fd = openat(group->fd, name, O_WRONLY | O_CLOEXEC);
    assert_return_code(fd, errno);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void a_group_that_was_changed_or_removed_is_not_kept(void **state)
{
    (void)state;
    begin_or_skip();
    for (int way = 0; way < 4; way++) {
        struct cgroup group = cgroup_make();
        char *path = strdup(group.path), inner[512];
        snprintf(inner, sizeof inner, "%s/inner", path);
        if (way == 1)
            write_to(&group, "cgroup.freeze", "1");
        else if (way == 2)
            assert_return_code(mkdir(inner, 0755), errno);
        else if (way == 3)
            assert_return_code(rmdir(path), errno);
        cgroup_keep(&group);
        group = cgroup_make();
        assert_int_equal(strcmp(group.path, path) == 0, way == 0);
        cgroup_remove(&group);
        assert_removed_soon(path);
        free(path);
    }
}

static void the_end_kills_what_runs_in_groups_and_leaves_none(void **state)
{
    (void)state;
    begin_or_skip();
    struct cgroup group = cgroup_make();
    char *path = strdup(group.path);
    int witness;
    pid_t pid = start_two(&group, &witness);
    cgroup_end();
    assert_all_killed(pid, witness);
    assert_null(cgroup_make().path);
    begin_or_skip();
    assert_removed_soon(path);
    free(path);
    cgroup_remove(&group);
}

static void no_name_is_used_again_by_who_begins_anew(void **state)
{
    (void)state;
    begin_or_skip();
    struct cgroup first = cgroup_make();
    char *path = strdup(first.path);
    cgroup_remove(&first);
    begin_or_skip();
    struct cgroup second = cgroup_make();
    assert_string_not_equal(second.path, path);
    cgroup_remove(&second);
    free(path);
}

static void groups_that_a_program_has_made_in_its_own_go_with_it(void **state)
{
    (void)state;
    begin_or_skip();
    struct cgroup group = cgroup_make();
    char *path = strdup(group.path), inner[512];
    snprintf(inner, sizeof inner, "%s/inner", path);
    assert_return_code(mkdir(inner, 0755), errno);
    cgroup_remove(&group);
    assert_false(is_there(path));
    free(path);
}

static void what_an_earlier_process_has_left_is_killed_and_what_has_another_label_is_not(void **state)
{
    (void)state;
    begin_or_skip();
    struct cgroup left = cgroup_make();
    char *path = strdup(left.path), label_of_other[80];
    snprintf(label_of_other, sizeof label_of_other, "other-%s", label);
    assert_true(cgroup_begin(label_of_other, &why));
    struct cgroup other = cgroup_make();
    int witness_left, witness_other;
    pid_t pid_left = start_two(&left, &witness_left), pid_other = start_two(&other, &witness_other);
    assert_true(cgroup_begin(label, &why));
    assert_all_killed(pid_left, witness_left);
    assert_int_equal(waitpid(pid_other, NULL, WNOHANG), 0);
    assert_removed_soon(path);
    cgroup_kill(other.kill_fd);
    assert_all_killed(pid_other, witness_other);
    char *path_of_other = strdup(other.path);
    cgroup_remove(&other);
    assert_removed_soon(path_of_other);
    cgroup_remove(&left); /* it is gone already */
    free(path_of_other);
    free(path);
}

/* 0: there are groups; 1: there are not, since it is not delegated; 2: for another reason. */
static int begins_in(const char *path)
{
    char file[512];
    int status;
    snprintf(file, sizeof file, "%s/cgroup.procs", path);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(file, O_WRONLY | O_CLOEXEC);
        if (write(fd, "0", 1) != 1)
            _exit(3);
        _exit(cgroup_begin(label, &why) ? 0 : strstr(why.text, "Delegate=yes") != NULL ? 1 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

static void a_group_that_is_not_delegated_is_left_in_peace(void **state)
{
    (void)state;
    begin_or_skip();
    struct cgroup group = cgroup_make();
    assert_int_equal(begins_in(group.path), 1);
    assert_return_code(setxattr(group.path, "user.delegate", "1", 1, 0), errno);
    assert_int_equal(begins_in(group.path), 0);
    cgroup_remove(&group);
}

/* As RestrictNamespaces of systemd does it. */
static bool forbid_clone3(void)
{
    struct sock_filter rows[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof rows / sizeof *rows, rows};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void without_clone3_a_group_is_entered_after_the_fork(void **state)
{
    (void)state;
    begin_or_skip();
    struct cgroup group = cgroup_make();
    int status, witness;
    pid_t pid = fork();
    if (pid == 0) {
        bool forbidden = forbid_clone3();
        pid_t child = start_two(&group, &witness);
        cgroup_kill(group.kill_fd);
        assert_all_killed(child, witness);
        _exit(forbidden ? 7 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 7);
    cgroup_remove(&group);
}

static void end_with_7(void *arg)
{
    *(bool *)arg = true;
    _exit(7);
}

static void who_has_no_group_is_forked_all_the_same(void **state)
{
    (void)state;
    int status;
    int no_group = open("/", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        bool shared = false;
        pid_t pid = cgroup_start(i == 0 ? -1 : no_group, end_with_7, &shared);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 7);
        assert_false(shared);
    }
    close(no_group);
    cgroup_kill(-1);
}

static void in_a_group_nothing_of_our_memory_is_copied(void **state)
{
    (void)state;
    begin_or_skip();
    if (!SHARE_IS_BUILT || (syscall(SYS_clone3, NULL, (size_t)0) == -1 && errno == ENOSYS))
        skip();
    struct cgroup group = cgroup_make();
    int status;
    bool shared = false;
    pid_t pid = cgroup_start(group.fd, end_with_7, &shared);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_true(shared);
    cgroup_remove(&group);
}

static void hang(void *arg)
{
    (void)!write(*(int *)arg, "x", 1);
    for (;;)
        pause();
}

static void who_is_held_by_a_process_that_hangs_goes_on_when_its_group_is_killed(void **state)
{
    (void)state;
    begin_or_skip();
    struct cgroup group = cgroup_make();
    int ends[2], status;
    char byte;
    assert_return_code(pipe2(ends, O_CLOEXEC), errno);
    pid_t killer = fork();
    if (killer == 0) {
        (void)!read(ends[0], &byte, 1);
        cgroup_kill(group.kill_fd);
        _exit(0);
    }
    pid_t pid = cgroup_start(group.fd, hang, &ends[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(waitpid(killer, NULL, 0), killer);
    close(ends[0]);
    close(ends[1]);
    cgroup_remove(&group);
}

int main(int argc, char **argv)
{
    if (argc == 2)
        be_two(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_kill_reaches_all_in_a_group_and_nobody_else),
        cmocka_unit_test(a_group_in_which_something_runs_is_removed_when_that_has_ended),
        cmocka_unit_test(a_group_that_is_kept_is_the_next_one),
        cmocka_unit_test(a_group_that_was_changed_or_removed_is_not_kept),
        cmocka_unit_test(the_end_kills_what_runs_in_groups_and_leaves_none),
        cmocka_unit_test(no_name_is_used_again_by_who_begins_anew),
        cmocka_unit_test(groups_that_a_program_has_made_in_its_own_go_with_it),
        cmocka_unit_test(what_an_earlier_process_has_left_is_killed_and_what_has_another_label_is_not),
        cmocka_unit_test(a_group_that_is_not_delegated_is_left_in_peace),
        cmocka_unit_test(without_clone3_a_group_is_entered_after_the_fork),
        cmocka_unit_test(who_has_no_group_is_forked_all_the_same),
        cmocka_unit_test(in_a_group_nothing_of_our_memory_is_copied),
        cmocka_unit_test(who_is_held_by_a_process_that_hangs_goes_on_when_its_group_is_killed),
    };
    alarm(TEST_S);
    return cmocka_run_group_tests(tests, set_up, NULL);
}
