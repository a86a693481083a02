#include "io/child.h"

#include "base/buf.h"
#include "base/clock.h"
#include "descriptors.h"
#include "io/cgroup.h"
#include "io/nursery.h"
#include "io/open_files.h"
#include "io/with_loop.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH "PATH=/usr/local/bin:/usr/bin:/bin"

static struct child *child;
static struct err err;
static char folder[] = "/tmp/upswap-child-XXXXXX";
static const char *const environment[] = {PATH, NULL};

/* What the last run gave. */
static struct child_result result;
static struct buf output, pieces;
static bool has_groups;
static char label[64];
static unsigned done_calls;
static uint64_t took_ms;

static void keep_result(void *arg, const struct child_result *given)
{
    (void)arg;
    result = *given;
    output.n = 0;
    buf_add_str(&output, given->output);
    done_calls++;
    loop_stop(loop);
}

static void count_piece(void *arg, struct str bytes)
{
    (void)arg;
    buf_add_str(&pieces, bytes);
}

static void stop_at_the_first_piece(void *arg, struct str bytes)
{
    count_piece(arg, bytes);
    child_stop(child);
}

static void add_up(void *arg, struct str bytes)
{
    *(uint64_t *)arg += bytes.n;
}

#define BEGUN_MS 500 /* a shell has set its traps by then, on a busy machine, too */

/* A shell that runs `script`, with times short enough for a test. */
static struct child_spec shell(const char *const argv[])
{
    return (struct child_spec){.argv = argv,
                               .envp = environment,
                               .directory = folder,
                               .kill_after_ms = 150,
                               .linger_ms = 150,
                               .output_max = 65536};
}

#define SHELL(script) shell((const char *const[]){"/bin/sh", "-c", script, NULL})

static void start(const struct child_spec *spec, void *arg)
{
    done_calls = 0;
    pieces.n = 0;
    child = child_start(loop, spec, keep_result, arg, &err);
    assert_non_null(child);
    assert_int_equal(done_calls, 0);
}

/* Without those of wardens, and control groups, that wait for their next program. */
static unsigned our_descriptors(void)
{
    return open_descriptors() - 2 * (unsigned)(nursery_kept() + cgroup_kept());
}

/* The nursery is our only child, and lives. */
static void assert_nobody_is_left_to_reap(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);
}

static pid_t our_nursery(void)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &pid), 1);
    fclose(file);
    return pid;
}

static void drop_kept_wardens(void)
{
    struct nursling warden;
    while (nursery_kept() > 0) {
        assert_true(nursery_take(&warden));
        nursery_drop(&warden);
    }
}

/* So that the next program's is forked from what we are now. */
static void end_nursery(void)
{
    drop_kept_wardens();
    assert_return_code(kill(our_nursery(), SIGKILL), errno);
}

static void run(struct child_spec spec)
{
    uint64_t began = clock_mono_ms();
    unsigned descriptors = our_descriptors();
    start(&spec, NULL);
    loop_run(loop);
    took_ms = clock_mono_ms() - began;
    assert_int_equal(done_calls, 1);
    assert_nobody_is_left_to_reap();
    assert_int_equal(our_descriptors(), descriptors);
}

static void assert_exited(int status)
{
    assert_true(result.started);
    assert_int_equal(result.signal, 0);
    assert_int_equal(result.exit_status, status);
}

static void assert_killed(int number)
{
    assert_true(result.started);
    assert_int_equal(result.signal, number);
    assert_int_equal(result.exit_status, -1);
}

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *put_file(const char *name, const char *text, mode_t mode)
{
    const char *path = in_folder(name);
    unlink(path);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_return_code(fd, errno);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_return_code(fchmod(fd, mode), errno);
    close(fd);
    return path;
}

/* A fifo whose end is read when every process that holds it for writing is gone. */
static int open_witness(void)
{
    const char *path = in_folder("witness");
    unlink(path);
    assert_return_code(mkfifo(path, 0666), errno);
    assert_return_code(chmod(path, 0666), errno);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_return_code(fd, errno);
    return fd;
}

/* Returns what was written; waits until all writers are gone. The one that began has opened it by now. */
static size_t read_witness(int fd, char *bytes, size_t room)
{
    size_t count = 0;
    ssize_t n;
    assert_return_code(fcntl(fd, F_SETFL, 0), errno);
    while ((n = read(fd, bytes + count, room - count)) > 0)
        count += (size_t)n;
    assert_int_equal(n, 0);
    close(fd);
    return count;
}

static void exit_status_and_both_outputs_are_reported(void **state)
{
    (void)state;
    run(SHELL("echo one; echo two >&2; exit 7"));
    assert_exited(7);
    assert_str_equal(buf_str(&output), "one\ntwo\n");
    assert_false(result.truncated || result.timed_out || result.stopped || result.overflowed);
    assert_in_range(result.ns, 1, (took_ms + 1) * 1000000);
    run(SHELL("exit 0"));
    assert_exited(0);
    assert_int_equal(output.n, 0);
}

static void a_signal_is_reported_as_such(void **state)
{
    (void)state;
    run(SHELL("kill -SEGV $$"));
    assert_killed(SIGSEGV);
}

static void the_usage_of_what_it_waited_for_is_reported(void **state)
{
    (void)state;
    run(SHELL("dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; i=0; "
              "while [ $i -lt 20000 ]; do i=$((i+1)); done"));
    assert_exited(0);
    assert_true(result.usage.known);
    assert_false(result.usage.bound);
    assert_true(result.usage.memory > 64 << 20);
    assert_true(result.usage.user_us + result.usage.system_us >= 1000);
}

/* The kernel counts the memory of who forks as the program's: that of the nursery, which is small. */
static void memory_that_was_ours_is_not_the_program_s(void **state)
{
    (void)state;
    size_t size = 48 << 20;
    char *ours = malloc(size);
    memset(ours, 1, size);
    run(SHELL("exit 0"));
    assert_true(result.usage.known);
    assert_true(result.usage.memory < size / 2);
    run(SHELL("dd if=/dev/zero of=/dev/null bs=256M count=1 2>/dev/null"));
    assert_false(result.usage.bound);
    assert_int_equal(ours[size - 1], 1);
    free(ours);
}

static void nothing_of_the_daemon_is_inherited(void **state)
{
    (void)state;
    struct rlimit core, some = {4096, 4096};
    assert_return_code(getrlimit(RLIMIT_CORE, &core), errno);
    setrlimit(RLIMIT_CORE, &some); /* not where the machine allows none anyway */
    assert_return_code(setenv("SECRET", "1", 1), errno);
    int leak = dup2(0, 57); /* without close-on-exec */
    assert_int_equal(leak, 57);
    mode_t old = umask(0);
    end_nursery();
    run(SHELL("env | grep -c SECRET; ls /proc/$$/fd; cat; pwd; umask; ulimit -c"));
    umask(old);
    close(leak);
    setrlimit(RLIMIT_CORE, &core);
    char expected[256];
    snprintf(expected, sizeof expected, "0\n0\n1\n2\n%s\n0022\n0\n", folder);
    assert_str_equal(buf_str(&output), expected);
}

static void signals_that_the_daemon_ignores_or_blocks_are_as_by_default(void **state)
{
    (void)state;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR1, SIG_IGN);
    end_nursery();
    run(SHELL("kill -USR1 $$; echo survived"));
    assert_killed(SIGUSR1);
    run(SHELL("kill -USR2 $$; echo survived"));
    assert_killed(SIGUSR2);
    signal(SIGUSR1, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void it_leads_a_process_group_of_its_own(void **state)
{
    (void)state;
    run(SHELL("read -r _ _ _ _ group _ < /proc/$$/stat; [ $group = $$ ]"));
    assert_exited(0);
}

static void a_hanging_file_gets_term_at_its_timeout(void **state)
{
    (void)state;
    struct child_spec spec = SHELL("echo begun; sleep 100");
    spec.timeout_ms = BEGUN_MS;
    spec.kill_after_ms = 60000;
    run(spec);
    assert_true(result.timed_out);
    assert_killed(SIGTERM);
    assert_str_equal(buf_str(&output), "begun\n");
    assert_in_range(took_ms, BEGUN_MS, 5000);
}

static void start_late(struct loop_deferred *deferred)
{
    (void)deferred;
    loop_ms(loop);
    usleep(1100 * 1000);
    struct child_spec spec = SHELL("sleep 0.1; exit 3");
    spec.timeout_ms = 1000;
    start(&spec, NULL);
}

static void a_timeout_is_that_of_the_program_and_not_of_the_turn_that_starts_it(void **state)
{
    (void)state;
    struct loop_deferred deferred = {.run = start_late};
    loop_defer(loop, &deferred);
    loop_run(loop);
    assert_int_equal(done_calls, 1);
    assert_false(result.timed_out);
    assert_exited(3);
}

static void who_ignores_term_is_killed_with_the_whole_group(void **state)
{
    (void)state;
    char bytes[8];
    int witness = open_witness();
    struct child_spec spec = SHELL("trap '' TERM; exec 9>witness; sleep 100 & sleep 100; sleep 100");
    spec.timeout_ms = BEGUN_MS;
    run(spec);
    assert_true(result.timed_out);
    assert_killed(SIGKILL);
    assert_in_range(took_ms, BEGUN_MS + 150, 5000);
    assert_int_equal(read_witness(witness, bytes, sizeof bytes), 0);
}

static void a_clean_exit_after_term_is_still_a_timeout(void **state)
{
    (void)state;
    struct child_spec spec = SHELL("trap 'exit 0' TERM; while :; do sleep 0.01; done");
    spec.timeout_ms = BEGUN_MS;
    spec.kill_after_ms = 60000;
    run(spec);
    assert_true(result.timed_out);
    assert_exited(0);
}

static void what_holds_the_output_after_the_exit_is_killed_when_it_has_lingered(void **state)
{
    (void)state;
    char bytes[8];
    int witness = open_witness();
    run(SHELL("exec 9>witness; sleep 100 & echo out; exit 5"));
    assert_exited(5);
    assert_str_equal(buf_str(&output), "out\n");
    assert_in_range(took_ms, 150, 5000);
    assert_true(result.ns < took_ms * 1000000 - 100 * 1000000);
    assert_int_equal(read_witness(witness, bytes, sizeof bytes), 0);
}

static void what_lingers_without_the_output_is_killed_too(void **state)
{
    (void)state;
    char bytes[8];
    int witness = open_witness();
    run(SHELL("exec 9>witness; sleep 100 >/dev/null 2>&1 & exit 5"));
    assert_exited(5);
    assert_in_range(took_ms, 150, 5000);
    assert_int_equal(read_witness(witness, bytes, sizeof bytes), 0);

    witness = open_witness();
    run(SHELL("exec 9>witness; (sleep 0.05; exec >&- 2>&-; exec sleep 100) & exit 5"));
    assert_exited(5);
    assert_in_range(took_ms, 150, 5000);
    assert_int_equal(read_witness(witness, bytes, sizeof bytes), 0);
}

static void what_ends_by_itself_while_it_lingers_is_heard_and_not_waited_for(void **state)
{
    (void)state;
    char bytes[8];
    struct child_spec spec = SHELL("(sleep 0.1; echo late) & exit 0");
    spec.linger_ms = 60000;
    run(spec);
    assert_exited(0);
    assert_str_equal(buf_str(&output), "late\n");
    assert_in_range(took_ms, 100, 20000);

    int witness = open_witness();
    spec.argv = (const char *const[]){
        "/bin/sh", "-c", "exec 9>witness; (sleep 0.1; echo late >&9) >/dev/null 2>&1 & exit 0", NULL};
    run(spec);
    assert_exited(0);
    assert_in_range(took_ms, 100, 20000);
    assert_int_equal(read_witness(witness, bytes, sizeof bytes), 5);
}

static void output_that_a_stranger_holds_is_not_waited_for(void **state)
{
    (void)state;
    struct child_spec spec = SHELL("setsid sh -c 'echo $$; exec sleep 100' & sleep 0.2; exit 4");
    spec.linger_ms = 60000;
    run(spec);
    assert_exited(4);
    pid_t stranger = atoi(output.p);
    assert_true(stranger > 1);
    assert_return_code(kill(stranger, SIGKILL), errno); /* it lives: it is of no group of ours */
    assert_in_range(took_ms, 200, 20000);
}

/* A program that is told to contain what it starts. */
static void run_contained(struct child_spec spec)
{
    spec.contained = true;
    run(spec);
}

static void of_what_is_contained_nothing_gets_away(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "setsid sleep 100 & exit 5",                                       /* another session */
        "(setsid sh -c 'sleep 100 & sleep 100' & ) & exit 5",              /* twice forked, with a child */
        "setsid sh -c 'setsid sleep 100 >&- 2>&- &' >&- & exit 5",         /* without the output */
        "setsid sh -c 'setsid sh -c \"setsid sleep 100; :\"; :' & exit 5", /* each waits for the next */
        "setsid sh -c \"trap '' TERM HUP INT; kill -STOP \\$\\$\" & exit 5",
        "perl -e 'setpgrp(0, getpgrp($ARGV[0])) or die; exec qw(sleep 100)' $PPID & exit 5", /* the warden's
                                                                                                group */
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char bytes[8], script[256];
        int witness = open_witness();
        snprintf(script, sizeof script, "exec 9>witness; %s", ways[i]);
        run_contained(SHELL(script));
        assert_exited(5);
        assert_in_range(took_ms, 150, 2500);
        assert_int_equal(read_witness(witness, bytes, sizeof bytes), 0);
    }
}

static void of_what_is_contained_a_timeout_ends_all(void **state)
{
    (void)state;
    char bytes[8];
    int witness = open_witness();
    struct child_spec spec = SHELL("exec 9>witness; setsid sh -c \"trap '' TERM; sleep 100; sleep 100\"");
    spec.timeout_ms = BEGUN_MS;
    spec.kill_after_ms = 60000; /* it hears the TERM before, however late it is given a processor */
    run_contained(spec);
    assert_true(result.timed_out);
    assert_int_equal(result.signal, SIGTERM);
    assert_int_equal(read_witness(witness, bytes, sizeof bytes), 0);
}

static void who_stops_itself_hears_the_term(void **state)
{
    (void)state;
    struct child_spec spec = SHELL("trap 'exit 6' TERM; kill -STOP $$; sleep 100 & wait");
    spec.timeout_ms = BEGUN_MS;
    spec.kill_after_ms = 60000;
    run(spec);
    assert_true(result.timed_out);
    assert_exited(6);
}

/* Of the last program that ran `echo $PPID`. */
static pid_t told_warden(void)
{
    assert_exited(0);
    pid_t pid = (pid_t)atoi(output.p);
    assert_true(pid > 0);
    return pid;
}

static void a_warden_runs_one_program_after_the_other(void **state)
{
    (void)state;
    struct child_spec hanging = SHELL("sleep 100");
    hanging.timeout_ms = 20;
    run_contained(SHELL("echo $PPID"));
    pid_t warden = told_warden();
    run_contained(SHELL("echo $PPID; exit 3"));
    assert_int_equal(atoi(output.p), warden);
    run_contained(SHELL("exec ./missing"));
    run_contained(hanging); /* ends at its TERM */
    run_contained(SHELL("echo $PPID"));
    assert_int_equal(told_warden(), warden);
}

static void a_warden_that_had_to_kill_or_has_let_go_of_something_is_not_used_again(void **state)
{
    (void)state;
    run_contained(SHELL("echo $PPID"));
    pid_t first = told_warden();
    run_contained(SHELL("sleep 100 & exit 0"));
    run_contained(SHELL("echo $PPID"));
    pid_t second = told_warden();
    assert_int_not_equal(second, first);
    run(SHELL("echo $PPID"));
    pid_t third = told_warden();
    run(SHELL("echo $PPID"));
    assert_int_not_equal(told_warden(), third);
}

static void a_kept_warden_that_was_killed_or_stopped_is_no_hindrance(void **state)
{
    (void)state;
    run_contained(SHELL("echo $PPID"));
    pid_t first = told_warden();
    assert_return_code(kill(first, SIGKILL), errno);
    while (kill(first, 0) == 0)
        usleep(1000);
    run_contained(SHELL("echo $PPID"));
    pid_t second = told_warden();
    assert_int_not_equal(second, first);
    assert_return_code(kill(second, SIGSTOP), errno);
    run_contained(SHELL("echo $PPID"));
    assert_int_equal(told_warden(), second);
}

static void a_nursery_that_was_killed_or_stopped_is_no_hindrance(void **state)
{
    (void)state;
    pid_t first = our_nursery();
    end_nursery();
    run(SHELL("exit 4"));
    assert_exited(4);
    pid_t second = our_nursery();
    assert_int_not_equal(second, first);
    assert_return_code(kill(second, SIGSTOP), errno);
    drop_kept_wardens();
    run(SHELL("exit 4"));
    assert_exited(4);
    assert_int_equal(our_nursery(), second);
}

/* Also from a nursery that is forked when the limit is raised already. */
static void programs_have_the_limit_of_open_files_that_was_there_before_it_was_raised(void **state)
{
    (void)state;
    struct rlimit before, limit;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    limit = (struct rlimit){.rlim_cur = 200, .rlim_max = before.rlim_max};
    assert_true(before.rlim_max > 200);
    assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
    open_files_raise();
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    assert_int_equal(limit.rlim_cur, before.rlim_max);
    end_nursery();
    run(SHELL("ulimit -Sn"));
    assert_str_equal(buf_str(&output), "200\n");
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
}

static void others_go_before_what_is_contained(void **state)
{
    (void)state;
    run(SHELL("nice"));
    assert_str_equal(buf_str(&output), "0\n");
    run_contained(SHELL("nice; cut -d' ' -f2- /proc/self/autogroup 2>/dev/null"));
    if (geteuid() == 0 && access("/proc/self/autogroup", F_OK) == 0)
        assert_str_equal(buf_str(&output), "5\nnice 5\n");
    else
        assert_true(str_starts_with(buf_str(&output), STR("5\n")));
}

static void who_sets_the_niceness_of_all_does_so_until_the_next_program(void **state)
{
    (void)state;
    if (geteuid() != 0 || access("/proc/self/autogroup", F_OK) != 0)
        skip();
    run_contained(SHELL("echo 19 >/proc/self/autogroup"));
    assert_exited(0);
    run_contained(SHELL("cut -d' ' -f2- /proc/self/autogroup"));
    assert_str_equal(buf_str(&output), "nice 5\n");
}

static void let_the_other_end(void *arg, const struct child_result *ended)
{
    *(int *)arg = ended->exit_status;
    int fd = open(in_folder("over"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_return_code(fd, errno);
    close(fd);
}

static void stop_the_loop(void *arg, const struct child_result *ended)
{
    *(int *)arg = ended->exit_status;
    loop_stop(loop);
}

/* All wardens are in one session, so a program may join any group in it, and what it has left there is
 * killed. */
static void who_joins_a_group_of_others_is_killed_alone(void **state)
{
    (void)state;
    static const char *const groups[] = {"$program", "$(number 5 $warden)",
                                         "$(number 5 $(number 4 $warden))"};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        int witness = open_witness(), joined = -1, other = -1;
        char script[512], bytes[8];
        run(SHELL("true")); /* there is a nursery */
        pid_t first = our_nursery();
        struct child_spec specs[] = {
            SHELL("echo $PPID $$ >new; mv new pids; until [ -e over ]; do sleep 0.02; done"), SHELL(script)};
        snprintf(
            script, sizeof script,
            "number() { cut -d ' ' -f $1 /proc/$2/stat; }; " /* 4: its parent, 5: its process group */
            "until [ -e pids ]; do sleep 0.02; done; read -r warden program <pids; group=%s; exec 9>witness; "
            "perl -e 'setpgrp(0, $ARGV[0]) or die; exec qw(sleep 100)' $group >&- 2>&- & "
            "until [ $(number 5 $!) = $group ]; do sleep 0.02; done",
            groups[i]);
        specs[0].contained = specs[1].contained = true;
        assert_non_null(child_start(loop, &specs[0], stop_the_loop, &other, &err));
        assert_non_null(child_start(loop, &specs[1], let_the_other_end, &joined, &err));
        loop_run(loop);
        assert_int_equal(joined, 0);
        assert_int_equal(other, 0);
        assert_int_equal(read_witness(witness, bytes, sizeof bytes), 0);
        assert_int_equal(our_nursery(), first);
        assert_return_code(unlink(in_folder("over")), errno);
        assert_return_code(unlink(in_folder("pids")), errno);
    }
}

/* It can be killed by a program that runs as we do. */
static void who_kills_its_warden_has_not_passed(void **state)
{
    (void)state;
    char bytes[8];
    int witness = open_witness();
    run_contained(SHELL("exec 9>witness; sleep 100 & kill -9 $PPID; sleep 100"));
    assert_int_equal(result.exit_status, -1);
    assert_int_equal(result.signal, SIGKILL);
    assert_false(result.usage.known);
    assert_int_equal(read_witness(witness, bytes, sizeof bytes), 0);
}

/* What has fled from the program's process group is then held by its control group alone. */
static void who_flees_and_kills_its_warden_is_killed_where_there_are_control_groups(void **state)
{
    (void)state;
    char bytes[8];
    if (!has_groups)
        skip();
    int witness = open_witness();
    run_contained(SHELL("exec 9>witness; setsid sleep 100 & sleep 0.1; kill -9 $PPID; sleep 100"));
    assert_int_equal(result.exit_status, -1);
    assert_int_equal(read_witness(witness, bytes, sizeof bytes), 0);
}

static void a_stopped_warden_does_its_work(void **state)
{
    (void)state;
    char bytes[8];
    int witness = open_witness();
    struct child_spec spec = SHELL("exec 9>witness; kill -STOP $PPID; sleep 100");
    spec.timeout_ms = 100;
    run_contained(spec);
    assert_true(result.timed_out);
    assert_int_equal(read_witness(witness, bytes, sizeof bytes), 0);
}

static void who_closes_its_output_and_goes_on_is_waited_for(void **state)
{
    (void)state;
    run(SHELL("echo said; exec >&- 2>&-; sleep 0.1; exit 3"));
    assert_exited(3);
    assert_str_equal(buf_str(&output), "said\n");
    assert_in_range(took_ms, 100, 20000);
    struct child_spec spec = SHELL("exec >&- 2>&-; sleep 100");
    spec.timeout_ms = 100;
    run(spec);
    assert_true(result.timed_out);
    assert_killed(SIGTERM);
}

static void of_much_output_the_last_bytes_are_kept(void **state)
{
    (void)state;
    uint64_t total = 0;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    struct child_spec spec = SHELL("head -c 67108864 /dev/zero; echo END");
    spec.output_max = 1000;
    start(&spec, &total);
    child_on_output(child, add_up);
    uint64_t turns = loop_turns(loop);
    loop_run(loop);
    assert_exited(0);
    assert_int_equal(total, 67108864 + 4);
    assert_true(loop_turns(loop) - turns >= 1024); /* a turn reads 64 KiB, and others have theirs between */
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 16 * 1024); /* KiB */
    assert_true(result.truncated);
    assert_int_equal(output.n, 1000);
    assert_memory_equal(output.p + 990, "\0\0\0\0\0\0END\n", 10);
}

static void output_of_exactly_what_is_kept_is_whole(void **state)
{
    (void)state;
    struct child_spec spec = SHELL("printf 12345");
    spec.output_max = 5;
    run(spec);
    assert_false(result.truncated);
    spec.output_max = 4;
    run(spec);
    assert_true(result.truncated);
    assert_str_equal(buf_str(&output), "2345");
    spec.output_max = 0;
    run(spec);
    assert_true(result.truncated);
    assert_int_equal(output.n, 0);
}

static void who_writes_beyond_the_limit_is_killed(void **state)
{
    (void)state;
    struct child_spec spec = SHELL("yes");
    spec.output_limit = 1 << 20;
    run(spec);
    assert_true(result.overflowed);
    assert_true(result.truncated);
    assert_killed(SIGKILL);
}

static void stopping_ends_it_and_says_so(void **state)
{
    (void)state;
    struct child_spec spec =
        SHELL("exec 2>/dev/null; trap 'echo stopped; exit 9' TERM; echo up; while :; do sleep 0.01; done");
    start(&spec, NULL);
    child_on_output(child, stop_at_the_first_piece);
    loop_run(loop);
    assert_exited(9);
    assert_true(result.stopped);
    assert_false(result.timed_out);
    assert_str_equal(buf_str(&output), "up\nstopped\n");
    assert_str_equal(buf_str(&pieces), "up\nstopped\n");
}

static void run_apart(struct child_spec spec)
{
    spec.apart = true;
    start(&spec, NULL);
    child_on_stdout(child, count_piece);
    loop_run(loop);
}

static void stdout_may_stand_apart(void **state)
{
    (void)state;
    unsigned descriptors = our_descriptors();
    run_apart(SHELL("echo one; echo two >&2; echo three; exit 7"));
    assert_exited(7);
    assert_str_equal(buf_str(&output), "two\n");
    assert_str_equal(buf_str(&pieces), "one\nthree\n");
    assert_int_equal(our_descriptors(), descriptors);
}

static void stdout_that_stands_apart_is_awaited_when_stderr_is_closed(void **state)
{
    (void)state;
    run_apart(SHELL("exec 2>&-; (sleep 0.05; echo late) & exit 0"));
    assert_exited(0);
    assert_str_equal(buf_str(&pieces), "late\n");
    run_apart(SHELL("exec >&-; (sleep 0.05; echo late >&2) & exit 0"));
    assert_exited(0);
    assert_str_equal(buf_str(&output), "late\n");
}

static void stdout_that_stands_apart_counts_for_the_limit(void **state)
{
    (void)state;
    struct child_spec spec = SHELL("yes");
    spec.output_limit = 1 << 20;
    run_apart(spec);
    assert_true(result.overflowed);
    assert_false(result.truncated);
    assert_killed(SIGKILL);
}

/* `why` is after "cannot be started: ". */
static void assert_not_started(const char *why)
{
    char text[512];
    assert_false(result.started);
    assert_false(result.usage.known);
    assert_int_equal(result.exit_status, -1);
    assert_int_equal(result.signal, 0);
    snprintf(text, sizeof text, "cannot be started: %s", why);
    assert_str_equal(buf_str(&output), text);
}

static void run_file(const char *path)
{
    run(shell((const char *const[]){path, NULL}));
}

static void what_cannot_be_started_says_why(void **state)
{
    (void)state;
    char why[512], path[128];
    run_file("/nonexistent/file");
    assert_not_started("No such file or directory (/nonexistent/file is missing)");

    strcpy(path, put_file("lost", "#!/nonexistent/interpreter\n", 0755));
    run_file(path);
    snprintf(why, sizeof why,
             "No such file or directory (%s is there, but /nonexistent/interpreter, the interpreter in its "
             "first line, is missing)",
             path);
    assert_not_started(why);

    strcpy(path, put_file("plain", "#!/bin/sh\n", 0644));
    run_file(path);
    snprintf(why, sizeof why, "Permission denied (%s is not executable; chmod +x mends that)", path);
    assert_not_started(why);

    strcpy(path, put_file("headless", "echo hello\n", 0755));
    run_file(path);
    snprintf(why, sizeof why, "Exec format error (%s is neither a program nor has it a first line with #!)",
             path);
    assert_not_started(why);

    struct child_spec spec = SHELL("exit 0");
    spec.directory = "/nonexistent/folder";
    run(spec);
    assert_not_started("No such file or directory (the working directory /nonexistent/folder)");
}

/* Of files that an editor of another system has written, too. */
static void a_first_line_that_cannot_be_followed_is_told_as_what_it_is(void **state)
{
    (void)state;
    static const struct {
        const char *text, *before, *after;
    } files[] = {
        {"#!/bin/sh\r\nexit 0\r\n", "No such file or directory (the first line of ",
         " ends with a carriage return; write the file with LF ends)"},
        {"#! /no/sh -e\r\n", "No such file or directory (",
         " is there, but /no/sh, the interpreter in its first line, is missing)"},
        {"#!\t/no/sh", "No such file or directory (",
         " is there, but /no/sh, the interpreter in its first line, is missing)"},
        {"\xef\xbb\xbf#!/bin/sh\nexit 0\n", "Exec format error (",
         " has a byte order mark before its #!; write the file without it)"},
        {"\xef\xbb\xbf"
         "exit 0\n",
         "Exec format error (", " is neither a program nor has it a first line with #!)"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char why[512], path[128];
        strcpy(path, put_file("odd", files[i].text, 0755));
        run_file(path);
        snprintf(why, sizeof why, "%s%s%s", files[i].before, path, files[i].after);
        assert_not_started(why);
    }
}

static void a_bare_name_is_found_along_the_path_it_is_given(void **state)
{
    (void)state;
    static const char *const nowhere[] = {"PATH=/nonexistent::/also/nonexistent", NULL};
    struct child_spec spec = shell((const char *const[]){"true", NULL});
    run(spec);
    assert_exited(0);
    spec.envp = nowhere;
    run(spec);
    assert_not_started("No such file or directory (true is missing)");
}

/* With fewer than `needed` it cannot be started. */
static void assert_needed(int needed)
{
    struct rlimit limit, none;
    struct child_spec spec = SHELL("exit 0");
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    int next = dup(0);
    unsigned descriptors = our_descriptors() - 1;
    close(next);
    for (int more = 0; more < needed; more++) {
        none = limit;
        none.rlim_cur = (rlim_t)(next + more);
        assert_return_code(setrlimit(RLIMIT_NOFILE, &none), errno);
        assert_null(child_start(loop, &spec, keep_result, NULL, &err));
        assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
        assert_non_null(strstr(err.text, "cannot start /bin/sh: Too many open files"));
        assert_nobody_is_left_to_reap();
        assert_int_equal(our_descriptors(), descriptors);
    }
}

static void descriptors_that_are_used_up_are_an_error_and_leave_nothing(void **state)
{
    (void)state;
    run_contained(SHELL("exit 0"));
    assert_needed(3); /* the job and the pipe; a warden is there */
    drop_kept_wardens();
    assert_needed(6); /* its sockets and its pidfd, too */
}

static void it_runs_as_another_user_when_the_daemon_is_root(void **state)
{
    (void)state;
    struct child_user user;
    char expected[64];
    gid_t own[64], strange = 4711;
    int own_count = getgroups(64, own);
    if (geteuid() == 0)
        assert_return_code(setgroups(1, &strange), errno);
    assert_true(child_user_find("nobody", &user, &err));
    struct child_spec spec = SHELL("id -u; id -g; id -ru; id -rg; id -G; ulimit -p");
    spec.user = &user;
    spec.processes_max = 1000;
    spec.directory = "/";
    run(spec);
    if (geteuid() != 0) {
        assert_not_started(
            "Operation not permitted (while changing the user of /bin/sh; only a daemon started "
            "as root can do that)");
        return;
    }
    assert_return_code(setgroups((size_t)own_count, own), errno);
    assert_int_equal(user.group_count, 1);
    snprintf(expected, sizeof expected, "%u\n%u\n%u\n%u\n%u\n1000\n", user.uid, user.gid, user.uid, user.gid,
             user.groups[0]);
    assert_str_equal(buf_str(&output), expected);
}

static void unknown_users_are_named(void **state)
{
    (void)state;
    struct child_user user;
    assert_false(child_user_find("no-such-user", &user, &err));
    assert_string_equal(err.text, "there is no user \"no-such-user\"; create it, or name another");
}

static void limits_are_set_and_those_of_processes_spare_root(void **state)
{
    (void)state;
    struct child_spec spec = SHELL("ulimit -v; ulimit -f; head -c 20000 /dev/zero > big; echo $?; ulimit -p");
    spec.memory_max = 1 << 30;
    spec.file_max = 10240;
    spec.processes_max = 12345;
    run(spec);
    assert_exited(0);
    assert_true(str_starts_with(buf_str(&output), STR("1048576\n20\n")));
    assert_non_null(strstr(output.p, "153\n")); /* 128 + SIGXFSZ */
    bool limited = strstr(output.p, "12345\n") != NULL;
    assert_int_equal(limited, geteuid() != 0);
}

static void die_at_the_first_piece(void *arg, struct str bytes)
{
    (void)arg;
    _exit(bytes.n > 0 ? 0 : 1);
}

static void it_dies_with_the_daemon_and_all_it_has_started(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        "exec 9>witness; setsid sleep 100 & echo begun; exec sleep 100",
        "exec 9>witness; setsid sleep 100 & kill -STOP $PPID; echo begun; exec sleep 100", /* its warden */
    };
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        char bytes[8];
        run_contained(SHELL("exit 0")); /* leaves a warden that is ours, not the daemon's */
        int witness = open_witness();
        pid_t daemon = fork();
        if (daemon == 0) {
            struct child_spec spec = SHELL(scripts[i]);
            spec.contained = true;
            loop = loop_new(); /* an epoll descriptor is not to be shared over fork */
            start(&spec, NULL);
            child_on_output(child, die_at_the_first_piece);
            loop_run(loop);
        }
        assert_int_equal(waitpid(daemon, NULL, 0), daemon);
        assert_int_equal(read_witness(witness, bytes, sizeof bytes), 0);
    }
}

static void wait_until_named(pid_t pid, const char *name)
{
    char path[64], now[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    while (strcmp(now, name) != 0) {
        FILE *file = fopen(path, "re");
        if (file == NULL || fgets(now, sizeof now, file) == NULL)
            _exit(1);
        fclose(file);
    }
}

static void a_nursery_that_was_stopped_dies_with_the_daemon_too(void **state)
{
    (void)state;
    pid_t pid;
    int ends[2], status;
    assert_return_code(pipe(ends), errno);
    assert_return_code(prctl(PR_SET_CHILD_SUBREAPER, 1UL), errno);
    pid_t daemon = fork();
    if (daemon == 0) {
        bool begun = nursery_begin(&err);
        pid = our_nursery();
        wait_until_named(pid, "upswapd:nursery\n"); /* it is up then */
        kill(pid, SIGSTOP);
        _exit(begun && write(ends[1], &pid, sizeof pid) == sizeof pid ? 0 : 1);
    }
    assert_int_equal(waitpid(daemon, NULL, 0), daemon);
    assert_int_equal(read(ends[0], &pid, sizeof pid), sizeof pid);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_return_code(prctl(PR_SET_CHILD_SUBREAPER, 0UL), errno);
    close(ends[0]);
    close(ends[1]);
}

static unsigned ended;

static void count_end(void *arg, const struct child_result *given)
{
    assert_int_equal(given->exit_status, (int)(uintptr_t)arg);
    if (++ended == 100)
        loop_stop(loop);
}

static void many_run_side_by_side(void **state)
{
    (void)state;
    for (uintptr_t i = 0; i < 100; i++) {
        char script[64];
        snprintf(script, sizeof script, "echo %d; exit %d", (int)i, (int)i);
        struct child_spec spec = SHELL(script);
        spec.contained = true;
        assert_non_null(child_start(loop, &spec, count_end, (void *)i, &err));
    }
    loop_run(loop);
    assert_nobody_is_left_to_reap();
    assert_in_range(nursery_kept(), NURSERY_KEEPS - 1,
                    NURSERY_KEEPS); /* the last one is told before it is done with */
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(label, sizeof label, "upswap-test-%d", (int)getpid());
    assert_true(nursery_begin(&err));
    return mkdtemp(folder) == NULL || chmod(folder, 0777) != 0;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"witness", "lost", "plain", "headless", "odd", "big"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_folder(names[i]));
    buf_free(&output);
    buf_free(&pieces);
    return rmdir(folder);
}

/* From here on, where the machine allows it. */
static int set_up_groups(void **state)
{
    has_groups = has_groups || cgroup_begin(label, &err);
    return set_up_base(state);
}

/* What the killed daemon's warden could not remove is removed by the next one. */
static int tear_down_groups(void **state)
{
    if (has_groups)
        assert_true(cgroup_begin(label, &err));
    return tear_down(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_base, tear_down)
#define TEST_IN_GROUP(name) cmocka_unit_test_setup_teardown(name, set_up_groups, tear_down_groups)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(exit_status_and_both_outputs_are_reported),
        TEST(a_signal_is_reported_as_such),
        TEST(the_usage_of_what_it_waited_for_is_reported),
        TEST(memory_that_was_ours_is_not_the_program_s),
        TEST(nothing_of_the_daemon_is_inherited),
        TEST(signals_that_the_daemon_ignores_or_blocks_are_as_by_default),
        TEST(it_leads_a_process_group_of_its_own),
        TEST(a_hanging_file_gets_term_at_its_timeout),
        TEST(a_timeout_is_that_of_the_program_and_not_of_the_turn_that_starts_it),
        TEST(who_ignores_term_is_killed_with_the_whole_group),
        TEST(a_clean_exit_after_term_is_still_a_timeout),
        TEST(what_holds_the_output_after_the_exit_is_killed_when_it_has_lingered),
        TEST(what_lingers_without_the_output_is_killed_too),
        TEST(what_ends_by_itself_while_it_lingers_is_heard_and_not_waited_for),
        TEST(output_that_a_stranger_holds_is_not_waited_for),
        TEST(of_what_is_contained_nothing_gets_away),
        TEST(of_what_is_contained_a_timeout_ends_all),
        TEST(who_stops_itself_hears_the_term),
        TEST(a_warden_runs_one_program_after_the_other),
        TEST(a_warden_that_had_to_kill_or_has_let_go_of_something_is_not_used_again),
        TEST(a_kept_warden_that_was_killed_or_stopped_is_no_hindrance),
        TEST(a_nursery_that_was_killed_or_stopped_is_no_hindrance),
        TEST(others_go_before_what_is_contained),
        TEST(who_sets_the_niceness_of_all_does_so_until_the_next_program),
        TEST(who_joins_a_group_of_others_is_killed_alone),
        TEST(who_kills_its_warden_has_not_passed),
        TEST(a_stopped_warden_does_its_work),
        TEST(who_closes_its_output_and_goes_on_is_waited_for),
        TEST(of_much_output_the_last_bytes_are_kept),
        TEST(output_of_exactly_what_is_kept_is_whole),
        TEST(who_writes_beyond_the_limit_is_killed),
        TEST(stopping_ends_it_and_says_so),
        TEST(stdout_may_stand_apart),
        TEST(stdout_that_stands_apart_is_awaited_when_stderr_is_closed),
        TEST(stdout_that_stands_apart_counts_for_the_limit),
        TEST(what_cannot_be_started_says_why),
        TEST(a_first_line_that_cannot_be_followed_is_told_as_what_it_is),
        TEST(a_bare_name_is_found_along_the_path_it_is_given),
        TEST(descriptors_that_are_used_up_are_an_error_and_leave_nothing),
        TEST(it_runs_as_another_user_when_the_daemon_is_root),
        TEST(unknown_users_are_named),
        TEST(limits_are_set_and_those_of_processes_spare_root),
        TEST(it_dies_with_the_daemon_and_all_it_has_started),
        TEST(programs_have_the_limit_of_open_files_that_was_there_before_it_was_raised),
        TEST(a_nursery_that_was_stopped_dies_with_the_daemon_too),
        TEST(many_run_side_by_side),
        TEST_IN_GROUP(of_what_is_contained_nothing_gets_away),
        TEST_IN_GROUP(of_what_is_contained_a_timeout_ends_all),
        TEST_IN_GROUP(who_kills_its_warden_has_not_passed),
        TEST_IN_GROUP(who_flees_and_kills_its_warden_is_killed_where_there_are_control_groups),
        TEST_IN_GROUP(a_stopped_warden_does_its_work),
        TEST_IN_GROUP(who_writes_beyond_the_limit_is_killed),
        TEST_IN_GROUP(what_cannot_be_started_says_why),
        TEST_IN_GROUP(descriptors_that_are_used_up_are_an_error_and_leave_nothing),
        TEST_IN_GROUP(it_dies_with_the_daemon_and_all_it_has_started),
    };
    alarm(120);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
