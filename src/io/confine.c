/* The filter is made of confine_rows.h, row by row, for the kernel's BPF. Invariant: a call for which no row
 * fits does nothing. */
#include "io/confine.h"

#include "io/confine_rows.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__ || defined UNDER_VALGRIND
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

/* The kernel numbers calls by machine; a filter must know whose numbers it reads. */
#if defined __x86_64__ && defined __LP64__
#define MACHINE AUDIT_ARCH_X86_64
#elif defined __aarch64__ && defined __AARCH64EL__
#define MACHINE AUDIT_ARCH_AARCH64
#elif defined __riscv && __riscv_xlen == 64
#define MACHINE AUDIT_ARCH_RISCV64
#endif

#define X32_BIT 0x40000000U /* calls of another table on the same machine */

/* ---- memory ---- */

/* LeakSanitizer looks into the process by ptrace, and must be let. */
bool confine_memory(struct err *err)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return err_set(err, "cores cannot be turned off: %s", strerror(errno));
#ifndef SANITIZED
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
        return err_set(err, "its memory cannot be closed to other processes: %s", strerror(errno));
#endif
    return true;
}

/* Without it neither of the two that follow may be had by who is not root. */
static bool gain_nothing(struct err *err)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ||
           err_set(err, "no_new_privs cannot be set: %s", strerror(errno));
}

/* ---- files ---- */

/* LeakSanitizer reads its own maps in the end. */
#if defined SYS_landlock_create_ruleset && !defined SANITIZED

/* As of version 6; older headers have less of it. */
struct ruleset {
    uint64_t files, net, scoped;
};

#define LANDLOCK_VERSION 1U /* flag: which version is there? */
#define ALL_FILES(rights) (((uint64_t)1 << (rights)) - 1)
#define NET_BIND ((uint64_t)1)
#define SCOPE_ABSTRACT_SOCKETS ((uint64_t)1)
#define SCOPE_SIGNALS ((uint64_t)2)

/* All that this version can forbid, but for connections, which are our work. Bytes of it that the kernel must
 * be told. */
static size_t forbid(unsigned version, struct ruleset *ruleset)
{
    *ruleset = (struct ruleset){.files = ALL_FILES(version >= 5   ? 16
                                                   : version >= 3 ? 15
                                                   : version == 2 ? 14
                                                                  : 13)};
    if (version >= 4)
        ruleset->net = NET_BIND;
    if (version >= 6)
        ruleset->scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS;
    return version >= 6   ? sizeof *ruleset
           : version >= 4 ? offsetof(struct ruleset, scoped)
                          : offsetof(struct ruleset, net);
}

/* A ruleset without a rule: nothing is allowed. */
static bool restrict_files(unsigned version, struct err *err)
{
    struct ruleset ruleset;
    size_t size = forbid(version, &ruleset);
    long fd = syscall(SYS_landlock_create_ruleset, &ruleset, size, 0);
    bool ok = fd >= 0 && syscall(SYS_landlock_restrict_self, (int)fd, 0) == 0;
    int error = errno;
    if (fd >= 0)
        close((int)fd);
    return ok || err_set(err, "Landlock cannot be set up: %s", strerror(error));
}

bool confine_files(struct confinement *confinement, struct err *err)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);
    confinement->landlock = 0;
    if (version <= 0) /* not compiled in, not turned on, or not let through to by who started us */
        return true;
    confinement->landlock = (unsigned)version;
    return gain_nothing(err) && restrict_files((unsigned)version, err);
}

#else

bool confine_files(struct confinement *confinement, struct err *err)
{
    (void)err;
    confinement->landlock = 0;
    return true;
}

#endif

/* ---- calls ---- */

#if defined MACHINE && !defined SANITIZED

bool confine_has_filter(void)
{
    return true;
}

#define PROGRAM_MOST 2048

struct program {
    struct sock_filter code[PROGRAM_MOST];
    unsigned short length;
};

static void add(struct program *program, struct sock_filter instruction)
{
    assert(program->length < PROGRAM_MOST);
    program->code[program->length++] = instruction;
}

static void load(struct program *program, size_t offset)
{
    add(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void answer(struct program *program, uint32_t what)
{
    add(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what));
}

/* Jumps over `count` instructions unless what is loaded is `value`. */
static void skip_unless(struct program *program, uint32_t value, size_t count)
{
    add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, (uint8_t)count));
}

/* Where the 32 bits of an argument that count stand. */
static size_t argument_at(unsigned number)
{
    return offsetof(struct seccomp_data, args) +
           number * sizeof(uint64_t); /* little-endian, as all MACHINEs */
}

static uint32_t action(enum confine_answer answer)
{
    switch (answer) {
    case CONFINE_ALLOW:
        return SECCOMP_RET_ALLOW;
    case CONFINE_DENY:
        return SECCOMP_RET_ERRNO | EACCES;
    case CONFINE_KILL:
        break;
    }
    return SECCOMP_RET_KILL_PROCESS;
}

/* With tests, what is loaded is an argument afterwards, so the number is loaded again behind the row. */
static void add_row(struct program *program, const struct confine_row *row)
{
    size_t tests = 0;
    while (tests < CONFINE_TESTS && row->tests[tests].mask != 0)
        tests++;
    size_t left = 3 * tests + 1;
    skip_unless(program, row->call, left);
    for (size_t i = 0; i < tests; i++) {
        const struct confine_test *test = &row->tests[i];
        uint32_t value = test->value == CONFINE_SELF ? (uint32_t)getpid() : test->value;
        left -= 3;
        load(program, argument_at(test->argument));
        add(program, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, test->mask));
        skip_unless(program, value, left);
    }
    answer(program, action(row->answer));
    if (tests > 0)
        load(program, offsetof(struct seccomp_data, nr));
}

static void compile(struct program *program)
{
    program->length = 0;
    load(program, offsetof(struct seccomp_data, arch));
    skip_unless(program, MACHINE, 1);
    add(program, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 1));
    answer(program, SECCOMP_RET_KILL_PROCESS);
    load(program, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < confine_row_count; i++)
        add_row(program, &confine_rows[i]);
#ifdef __x86_64__
    add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1));
    answer(program, SECCOMP_RET_KILL_PROCESS);
#endif
    answer(program, SECCOMP_RET_ERRNO | ENOSYS);
}

/* Can it be had here at all? Whoever started us may have it turned off. */
static bool is_filter_known(void)
{
    const uint32_t needed = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &needed) == 0;
}

/* Old kernels slow a filtered process down against a leak to what else runs in it; nothing else does. */
static long install(const struct program *program)
{
    const struct sock_fprog filter = {program->length, (struct sock_filter *)program->code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                   SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter);
}

static bool filter_calls(struct confinement *confinement, struct err *err)
{
    struct program program;
    confinement->calls = is_filter_known();
    if (!confinement->calls)
        return true;
    compile(&program);
    long result = install(&program);
    if (result > 0)
        return err_set(err, "thread %ld cannot be given the filter of system calls", result);
    return result == 0 || err_set(err, "the filter of system calls cannot be had: %s", strerror(errno));
}

#else

bool confine_has_filter(void)
{
    return false;
}

static bool filter_calls(struct confinement *confinement, struct err *err)
{
    (void)err;
    confinement->calls = false;
    return true;
}

#endif

bool confine_calls(struct confinement *confinement, struct err *err)
{
#ifndef SANITIZED
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_NPROC, &none) != 0)
        return err_set(err, "the limit of processes cannot be set: %s", strerror(errno));
#endif
    return gain_nothing(err) && filter_calls(confinement, err);
}

void confine_describe(const struct confinement *confinement, char out[128])
{
    const char *lacks = confine_has_filter() ? "no filter of system calls in this kernel"
                                             : "no filter of system calls in this build";
    char landlock[32] = "no Landlock";
    if (confinement->landlock > 0)
        snprintf(landlock, sizeof landlock, "Landlock %u", confinement->landlock);
    snprintf(out, 128, "%s, %s", confinement->calls ? "a filter of system calls" : lacks, landlock);
}
