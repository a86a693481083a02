/* Starts a shell as a role, with a pipe in place of each channel, and reads what it finds. */
#include "keeper/role.h"

#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct run {
    char output[4096];
    int status;
};

static void run_shell(const char *script, struct role_spec spec, struct run *run)
{
    struct err err;
    int keeper[2], peer[2];
    const char *argv[] = {"upswapd: test", "-c", script, NULL};
    assert_int_equal(pipe2(keeper, O_CLOEXEC), 0);
    assert_int_equal(pipe2(peer, O_CLOEXEC), 0);
    spec.program = open("/bin/sh", O_PATH | O_CLOEXEC);
    spec.argv = argv;
    spec.keeper_fd = keeper[1];
    spec.peer_fd = peer[1];
    pid_t pid = role_start(&spec, &err);
    assert_true(pid > 0);
    close(keeper[1]);
    close(peer[1]);
    size_t n = 0;
    ssize_t got;
    while ((got = read(keeper[0], run->output + n, sizeof run->output - 1 - n)) > 0)
        n += (size_t)got;
    run->output[n] = '\0';
    assert_int_equal(waitpid(pid, &run->status, 0), pid);
    close(keeper[0]);
    close(peer[0]);
    close(spec.program);
}

static void a_role_has_its_two_descriptors_and_no_others(void **state)
{
    (void)state;
    struct run run;
    int leaked = dup(STDERR_FILENO); /* not close-on-exec: must not be inherited all the same */
    run_shell("cd /proc/self/fd && echo * >&3", (struct role_spec){0}, &run);
    close(leaked);
    assert_string_equal(run.output, "0 1 2 3 4 5\n"); /* 5 is the shell's, reading the folder */
}

static void a_role_starts_with_default_signals(void **state)
{
    (void)state;
    struct run run;
    signal(SIGPIPE, SIG_IGN);
    run_shell("grep SigIgn /proc/self/status >&3", (struct role_spec){0}, &run);
    signal(SIGPIPE, SIG_DFL);
    unsigned long ignored = strtoul(run.output + strlen("SigIgn:\t"), NULL, 16);
    assert_int_equal(ignored & 0x7fffffff, 0); /* those above are the C library's own */
}

static void a_confined_role_can_gain_no_privilege(void **state)
{
    (void)state;
    struct run run;
    run_shell("grep NoNewPrivs /proc/self/status >&3", (struct role_spec){.confined = true}, &run);
    assert_string_equal(run.output, "NoNewPrivs:\t1\n");
}

/* Also as root, who would have all back by the exec. */
static void a_confined_role_is_capable_of_nothing(void **state)
{
    (void)state;
    struct run run;
    if (getuid() != 0)
        skip();
    run_shell("grep -E '^Cap' /proc/self/status | cut -f 2 >&3", (struct role_spec){.confined = true}, &run);
    assert_string_equal(run.output, "0000000000000000\n0000000000000000\n0000000000000000\n"
                                    "0000000000000000\n0000000000000000\n");
}

static void a_role_runs_as_the_user_it_is_given(void **state)
{
    (void)state;
    struct run run;
    if (getuid() != 0)
        skip();
    struct role_spec spec = {.change_user = true, .uid = 65534, .gid = 65533};
    run_shell("echo $(id -u) $(id -g) $(id -G) >&3", spec, &run);
    assert_string_equal(run.output, "65534 65533 65533\n");
}

static void a_role_dies_with_the_keeper(void **state)
{
    (void)state;
    struct err err;
    int ends[2];
    char byte;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t keeper = fork();
    if (keeper == 0) {
        const char *argv[] = {"upswapd: test", "-c", "echo up >&4; while :; do read line <&3; done", NULL};
        int waits[2];
        struct role_spec spec = {
            .program = open("/bin/sh", O_PATH | O_CLOEXEC), .argv = argv, .peer_fd = ends[1]};
        if (pipe2(waits, O_CLOEXEC) != 0)
            _exit(1);
        spec.keeper_fd = waits[0];
        _exit(role_start(&spec, &err) > 0 && pause() ? 0 : 1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    kill(keeper, SIGKILL);
    assert_int_equal(waitpid(keeper, NULL, 0), keeper);
    while (read(ends[0], &byte, 1) == 1) {
    } /* ends only when the role's copy of the pipe is gone */
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_role_has_its_two_descriptors_and_no_others),
        cmocka_unit_test(a_role_starts_with_default_signals),
        cmocka_unit_test(a_confined_role_can_gain_no_privilege),
        cmocka_unit_test(a_confined_role_is_capable_of_nothing),
        cmocka_unit_test(a_role_runs_as_the_user_it_is_given),
        cmocka_unit_test(a_role_dies_with_the_keeper),
    };
    return cmocka_run_group_tests_name("role", tests, NULL, NULL);
}
