/* Each test is a process of its own that confines itself, and then does what it should not get away with. */
#include "io/confine.h"

#include "io/confine_rows.h"
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS 600 /* more than any kernel numbers today */

enum { EXIT_YES, EXIT_NO, EXIT_NO_FILTER };

/* How a process that does this ends: its wait status. */
static int status_of(int (*does)(void *), void *arg)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(does(arg));
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void confine(void)
{
    struct confinement confinement;
    struct err err;
    if (!confine_calls(&confinement, &err))
        _exit(EXIT_NO);
    if (!confinement.calls)
        _exit(EXIT_NO_FILTER);
}

/* Under a sanitizer, or on a kernel without. */
static int confines(void *arg)
{
    (void)arg;
    confine();
    return EXIT_YES;
}

static void skip_without_filter(void)
{
    int status = status_of(confines, NULL);
    if (WEXITSTATUS(status) == EXIT_NO_FILTER)
        skip();
    assert_int_equal(status, 0);
}

static void assert_killed(int status)
{
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* ---- attacks, by what an attacker would call ---- */

static long runs_a_shell(void)
{
    static char name[] = "sh";
    char *argv[] = {name, NULL};
    return execve("/bin/sh", argv, argv + 1);
}

static long forks(void)
{
    return fork();
}

static void *nothing(void *arg)
{
    return arg;
}

static long starts_a_thread(void)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, nothing, NULL);
}

static long traces(void)
{
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static long reads_another(void)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {&byte, 1};
    return process_vm_readv(getppid(), &here, 1, &there, 1, 0);
}

static long writes_another(void)
{
    char byte = 0;
    struct iovec here = {&byte, 1}, there = {&byte, 1};
    return process_vm_writev(getppid(), &here, 1, &there, 1, 0);
}

static long kills(void)
{
    return kill(getppid(), 0);
}

static long kills_a_thread_of_another(void)
{
    return syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static long maps_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

static long makes_data_code(void)
{
    static char page[8192] __attribute__((aligned(4096)));
    return mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static long listens(void)
{
    return listen(STDIN_FILENO, 1);
}

static long binds(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return bind(fd, (const struct sockaddr *)&address, sizeof address);
}

static long speaks_netlink(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long sends_datagrams(void)
{
    return socket(AF_INET, SOCK_DGRAM, 0);
}

static long sends_raw(void)
{
    return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static long sends_frames(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0);
}

static long asks_the_kernel_to_encrypt(void)
{
    return socket(AF_ALG, SOCK_SEQPACKET, 0);
}

static long speaks_another_protocol(void)
{
    return socket(AF_INET, SOCK_STREAM, 132 /* SCTP */);
}

static long local_datagrams(void)
{
    return socket(AF_UNIX, SOCK_DGRAM, 0);
}

static long becomes_root(void)
{
    return setresuid(0, 0, 0);
}

static long loads_bpf(void)
{
    return syscall(SYS_bpf, 0, NULL, 0);
}

static long makes_a_ring(void)
{
    return syscall(SYS_io_uring_setup, 1, NULL);
}

static long leaves_its_namespace(void)
{
    return syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */);
}

/* Not PROT_EXEC in the call, but it would come with the data. */
static long makes_reading_executing(void)
{
    return syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */);
}

#ifdef __x86_64__
static long calls_by_another_table(void)
{
    return syscall(0x40000000 + SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}
#endif

static int attacks(void *arg)
{
    long (**attack)(void) = arg;
    confine();
    (*attack)();
    return EXIT_NO;
}

static void who_attacks_is_killed(void **state)
{
    (void)state;
    static long (*const all[])(void) = {
        runs_a_shell,
        forks,
        starts_a_thread,
        traces,
        reads_another,
        writes_another,
        kills,
        kills_a_thread_of_another,
        maps_code,
        makes_data_code,
        listens,
        binds,
        speaks_netlink,
        sends_datagrams,
        sends_raw,
        sends_frames,
        asks_the_kernel_to_encrypt,
        speaks_another_protocol,
        local_datagrams,
        becomes_root,
        loads_bpf,
        makes_a_ring,
        leaves_its_namespace,
        makes_reading_executing,
#ifdef __x86_64__
        calls_by_another_table,
#endif
    };
    skip_without_filter();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        int status = status_of(attacks, (void *)&all[i]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            print_message("attack %zu\n", i);
        assert_killed(status);
    }
}

/* ---- the table, row by row ---- */

static int calls(void *arg)
{
    const struct confine_row *row = arg;
    confine();
    /* Arguments that fit no test, and that no call can do harm with. */
    syscall(row->call, -2, -2, 0x7ff7, 0, -2, -2);
    return EXIT_NO;
}

static void each_row_that_kills_does(void **state)
{
    (void)state;
    skip_without_filter();
    for (unsigned i = 0; i < confine_row_count; i++) {
        struct confine_row row = confine_rows[i];
        if (row.answer != CONFINE_KILL)
            continue;
        int status = status_of(calls, &row);
        if (!WIFSIGNALED(status))
            print_message("call %u\n", row.call);
        assert_killed(status);
    }
}

static bool has_row(long number)
{
    for (unsigned i = 0; i < confine_row_count; i++) {
        if (confine_rows[i].call == number)
            return true;
    }
    return false;
}

/* The kernel's own traps on x86_64 (uretprobe, uprobe), which it answers before any filter, with SIGILL. */
static bool is_trap(long number)
{
#ifdef __x86_64__
    return number == 335 || number == 336;
#else
    return number < 0;
#endif
}

static int tries_all_others(void *arg)
{
    (void)arg;
    confine();
    for (long number = 0; number < CALLS; number++) {
        if (!has_row(number) && !is_trap(number) &&
            (syscall(number, -1, -1, -1, -1, -1, -1) != -1 || errno != ENOSYS))
            return EXIT_NO;
    }
    return EXIT_YES;
}

static void a_call_without_a_row_is_as_if_there_were_none(void **state)
{
    (void)state;
    skip_without_filter();
    assert_int_equal(status_of(tries_all_others, NULL), 0);
}

static bool is_denied(long result)
{
    return result == -1 && errno == EACCES;
}

static int looks_for_files(void *arg)
{
    (void)arg;
    struct stat status;
    char text[64];
    confine();
    bool ok = is_denied(open("/etc/passwd", O_RDONLY)) &&
              is_denied(open("/tmp/upswap-test", O_CREAT | O_WRONLY, 0600)) &&
              is_denied(stat("/etc/passwd", &status)) && is_denied(access("/etc/passwd", R_OK)) &&
              is_denied(readlink("/proc/self/exe", text, sizeof text));
    for (unsigned i = 0; i < confine_row_count; i++) {
        if (confine_rows[i].answer == CONFINE_DENY)
            ok = ok && is_denied(syscall(confine_rows[i].call, AT_FDCWD, "/etc/passwd", 0, 0, 0));
    }
    return ok ? EXIT_YES : EXIT_NO;
}

static void no_file_is_found_by_its_name(void **state)
{
    (void)state;
    skip_without_filter();
    assert_int_equal(status_of(looks_for_files, NULL), 0);
}

/* ---- what must still be possible ---- */

static int listener(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) != 0 || listen(fd, 1) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &(socklen_t){sizeof *address}) != 0)
        return -1;
    return fd;
}

static bool connects(int listening, const struct sockaddr_in *address)
{
    char byte = 0;
    int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connect(client, (const struct sockaddr *)address, sizeof *address);
    int server = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    return setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) == 0 &&
           send(client, "x", 1, MSG_NOSIGNAL) == 1 && recv(server, &byte, 1, 0) == 1 && byte == 'x' &&
           close(client) == 0 && close(server) == 0;
}

static int serves(void *arg)
{
    (void)arg;
    struct sockaddr_in address;
    struct stat status;
    int listening = listener(&address);
    int file = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    confine();
    char *memory = malloc(1 << 20);
    memory = realloc(memory, 1 << 25);
    memory[(1 << 25) - 1] = 1;
    free(memory);
    int copy = fcntl(file, F_DUPFD_CLOEXEC, 0);
    bool ok = connects(listening, &address) && socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 &&
              copy >= 0 && fstat(copy, &status) == 0 && write(file, "line\n", 5) == 5 &&
              fcntl(file, F_GET_SEALS) == 0 && mmap(NULL, 5, PROT_READ, MAP_SHARED, file, 0) != MAP_FAILED;
    return ok ? EXIT_YES : EXIT_NO;
}

static void a_proxy_can_do_its_work(void **state)
{
    (void)state;
    skip_without_filter();
    assert_int_equal(status_of(serves, NULL), 0);
}

static int aborts(void *arg)
{
    (void)arg;
    confine();
    abort();
}

static void an_assertion_that_fails_ends_as_ever(void **state)
{
    (void)state;
    skip_without_filter();
    int status = status_of(aborts, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static int raises_a_kill(void *arg)
{
    (void)arg;
    confine();
    return raise(SIGKILL);
}

/* So does fault_die(), and what the keeper sees is then a crash. */
static void who_raises_a_kill_is_killed_by_that_and_not_by_the_filter(void **state)
{
    (void)state;
    skip_without_filter();
    int status = status_of(raises_a_kill, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

struct baton {
    pthread_barrier_t barrier;
    int error;
};

static void *opens_later(void *arg)
{
    struct baton *baton = arg;
    pthread_barrier_wait(&baton->barrier);
    baton->error = open("/etc/passwd", O_RDONLY) >= 0 ? 0 : errno;
    return NULL;
}

static int has_a_thread(void *arg)
{
    (void)arg;
    struct baton baton;
    pthread_t thread;
    pthread_barrier_init(&baton.barrier, NULL, 2);
    if (pthread_create(&thread, NULL, opens_later, &baton) != 0)
        return EXIT_NO;
    confine();
    pthread_barrier_wait(&baton.barrier);
    pthread_join(thread, NULL);
    return baton.error == EACCES ? EXIT_YES : EXIT_NO;
}

static void a_thread_that_ran_before_is_confined_too(void **state)
{
    (void)state;
    skip_without_filter();
    assert_int_equal(status_of(has_a_thread, NULL), 0);
}

/* ---- Landlock, alone ---- */

static bool binds_a_port(void)
{
    struct sockaddr_in address;
    return listener(&address) >= 0;
}

static int is_locked_in(void *arg)
{
    struct confinement confinement;
    struct err err;
    int open_before = open("/etc/passwd", O_RDONLY);
    char byte;
    (void)arg;
    if (!confine_files(&confinement, &err))
        return EXIT_NO;
    if (confinement.landlock == 0)
        return EXIT_NO_FILTER;
    bool ok = is_denied(open("/etc/passwd", O_RDONLY)) && is_denied(mkdir("/tmp/upswap-test", 0700)) &&
              is_denied(runs_a_shell()) && read(open_before, &byte, 1) == 1 &&
              (confinement.landlock < 4 || !binds_a_port()) &&
              (confinement.landlock < 6 || (kill(getppid(), 0) == -1 && errno == EPERM));
    return ok ? EXIT_YES : EXIT_NO;
}

static void landlock_alone_shuts_files_ports_and_processes_away(void **state)
{
    (void)state;
    int status = status_of(is_locked_in, NULL);
    if (WEXITSTATUS(status) == EXIT_NO_FILTER)
        skip();
    assert_int_equal(status, 0);
}

/* ---- memory ---- */

#define NOBODY 65534

/* Who is no root any more would be closed by that alone; exec opens it again, as here. */
static bool becomes_nobody(void)
{
    return (getuid() != 0 || setresuid(NOBODY, NOBODY, NOBODY) == 0) && prctl(PR_SET_DUMPABLE, 1) == 0;
}

struct peek {
    bool closed;
    int waits[2], tells[2];
};

static int is_looked_into(void *arg)
{
    struct peek *peek = arg;
    struct err err;
    char byte = 'r';
    bool ok = becomes_nobody() && (!peek->closed || confine_memory(&err));
    close(peek->waits[1]);
    ok = ok && write(peek->tells[1], &byte, 1) == 1;
    return ok && read(peek->waits[0], &byte, 1) == 0 ? EXIT_YES : EXIT_NO;
}

/* By another process of the same user. */
static int looks_into(void *arg)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", *(const int *)arg);
    if (!becomes_nobody())
        return EXIT_NO;
    int fd = open(path, O_RDONLY);
    return fd >= 0 ? EXIT_YES : EXIT_NO;
}

static bool can_be_looked_into(bool closed)
{
    struct peek peek = {.closed = closed};
    char byte;
    assert_int_equal(pipe2(peek.waits, O_CLOEXEC), 0);
    assert_int_equal(pipe2(peek.tells, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(is_looked_into(&peek));
    assert_int_equal(read(peek.tells[0], &byte, 1), 1);
    int status = status_of(looks_into, &pid);
    for (int i = 0; i < 2; i++) {
        close(peek.waits[i]);
        close(peek.tells[i]);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return WEXITSTATUS(status) == EXIT_YES;
}

static int leaves_no_core(void *arg)
{
    struct rlimit limit;
    struct err err;
    (void)arg;
    return confine_memory(&err) && getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0 ? EXIT_YES
                                                                                              : EXIT_NO;
}

static void memory_is_closed_to_processes_of_the_same_user(void **state)
{
    (void)state;
    skip_without_filter(); /* a sanitizer needs it open */
    assert_true(can_be_looked_into(false));
    assert_false(can_be_looked_into(true));
    assert_int_equal(status_of(leaves_no_core, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_attacks_is_killed),
        cmocka_unit_test(each_row_that_kills_does),
        cmocka_unit_test(a_call_without_a_row_is_as_if_there_were_none),
        cmocka_unit_test(no_file_is_found_by_its_name),
        cmocka_unit_test(a_proxy_can_do_its_work),
        cmocka_unit_test(an_assertion_that_fails_ends_as_ever),
        cmocka_unit_test(who_raises_a_kill_is_killed_by_that_and_not_by_the_filter),
        cmocka_unit_test(a_thread_that_ran_before_is_confined_too),
        cmocka_unit_test(landlock_alone_shuts_files_ports_and_processes_away),
        cmocka_unit_test(memory_is_closed_to_processes_of_the_same_user),
    };
    return cmocka_run_group_tests_name("confine", tests, NULL, NULL);
}
