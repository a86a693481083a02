/* All that allocates or looks up has happened before; here are system calls only, since the memory may be the
 * warden's (share.h). Invariant: a step that fails is reported, by its number and errno, and the file is then
 * not executed.
 */
#include "io/exec.h"

#include "base/fault.h"
#include "io/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What each step has to say, around the name of the file (or the folder). */
static const struct {
    const char *before, *after;
} explanations[EXEC_STEPS] = {
    [EXEC_FORK] = {"while making a process for ", "; raise the limits of processes and memory"},
    [EXEC_DESCRIPTORS] = {"while preparing the descriptors of ", ""},
    [EXEC_LIMITS] = {"while setting the limits of ", ""},
    [EXEC_USER] = {"while changing the user of ", "; only a daemon started as root can do that"},
    [EXEC_DIRECTORY] = {"the working directory ", ""},
    [EXEC_FILE] = {"", ""},
    [EXEC_FILE_MISSING] = {"", " is missing"},
    [EXEC_FILE_INTERPRETER] = {"", " is there, but the program that is to load it is missing"},
    [EXEC_FILE_MODE] = {"", " is not executable; chmod +x mends that"},
    [EXEC_FILE_INTERPRETER_MODE] = {"", " is executable, but its interpreter or its file system is not"},
    [EXEC_FILE_FORMAT] = {"", " is neither a program nor has it a first line with #!"},
};

static bool begins(const char *head, const char *with)
{
    return strncmp(head, with, strlen(with)) == 0;
}

/* What the first line has to say about a missing interpreter: to the kernel a CR is a part of its name. */
static void explain_line(struct buf *why, const char *file, const char *head)
{
    const char *name = head + strlen("#!");
    name += strspn(name, " \t");
    size_t n = strcspn(name, " \t\n");
    if (n > 0 && name[n - 1] == '\r')
        buf_printf(why, "the first line of %s ends with a carriage return; write the file with LF ends",
                   file);
    else
        buf_printf(why, "%s is there, but %.*s, the interpreter in its first line, is missing", file, (int)n,
                   name);
}

void exec_explain(struct buf *why, enum exec_step step, int error, const char *file, const char *directory,
                  const char *head)
{
    buf_printf(why, "cannot be started: %s (", strerror(error));
    if (step == EXEC_FILE_INTERPRETER && begins(head, "#!"))
        explain_line(why, file, head);
    else if (step == EXEC_FILE_FORMAT && begins(head, "\xef\xbb\xbf#!"))
        buf_printf(why, "%s has a byte order mark before its #!; write the file without it", file);
    else
        buf_printf(why, "%s%s%s", explanations[step].before, step == EXEC_DIRECTORY ? directory : file,
                   explanations[step].after);
    buf_printf(why, ")");
}

static _Noreturn void fail(enum exec_step step)
{
    warden_report(&(struct warden_report){.word = WARDEN_FAILED, .step = (int)step, .error = errno});
    _exit(127);
}

/* The same, of the file that was not executed: only here, as its user and in its folder, can it be looked
 * into. */
static _Noreturn void fail_of_file(enum exec_step step, int error, const char *file)
{
    struct warden_report report = {.word = WARDEN_FAILED, .step = (int)step, .error = error};
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0)
        (void)!read(fd, report.head, sizeof report.head - 1);
    warden_report(&report);
    _exit(127);
}

static void report_start(void)
{
    struct warden_report started = {.word = WARDEN_STARTED, .pid = getpid()};
    getrusage(RUSAGE_SELF, &started.usage);
    warden_report(&started);
}

/* All are as by default by now, see the nursery. */
static void unblock_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* All others are closed by the exec. */
static void set_descriptors(const struct job *job, int output_fd, int stdout_fd)
{
    if (dup2(job->apart ? stdout_fd : output_fd, STDOUT_FILENO) < 0 || dup2(output_fd, STDERR_FILENO) < 0)
        fail(EXEC_DESCRIPTORS);
}

/* What is stricter already stays so: only root could raise it. */
static bool limit(__rlimit_resource_t resource, uint64_t most)
{
    struct rlimit value;
    if (getrlimit(resource, &value) != 0)
        return false;
    if (value.rlim_max > most)
        value.rlim_max = most;
    value.rlim_cur = value.rlim_max;
    return setrlimit(resource, &value) == 0;
}

static void set_limits(const struct job *job)
{
    umask(022);
    if (!limit(RLIMIT_CORE, 0) || (job->memory_max != 0 && !limit(RLIMIT_AS, job->memory_max)) ||
        (job->file_max != 0 && !limit(RLIMIT_FSIZE, job->file_max)) ||
        (job->processes_max != 0 && job->uid != 0 && !limit(RLIMIT_NPROC, job->processes_max)))
        fail(EXEC_LIMITS);
}

/* One that is contained stays in the session of all wardens, with all others that are: see warden.c. */
static void be_apart(const struct job *job)
{
    if (!job->contained) {
        setsid();
        return;
    }
    setpgid(0, 0);
    if (getpriority(PRIO_PROCESS, 0) < EXEC_NICE)
        setpriority(PRIO_PROCESS, 0, EXEC_NICE);
}

/* Raw calls: those of libc would make all threads follow, by means that a forked child must not use. What was
 * asked for is then read back. */
static void become(const struct child_user *user)
{
    if (syscall(SYS_setgroups, user->group_count, user->groups) != 0 ||
        syscall(SYS_setresgid, user->gid, user->gid, user->gid) != 0 ||
        syscall(SYS_setresuid, user->uid, user->uid, user->uid) != 0)
        fail(EXEC_USER);
    prctl(PR_SET_DUMPABLE, 0UL); /* the memory may be the warden's; the exec gives another one */
    uid_t uid[3];
    gid_t gid[3];
    errno = EPERM;
    if (getresuid(&uid[0], &uid[1], &uid[2]) != 0 || getresgid(&gid[0], &gid[1], &gid[2]) != 0)
        fail(EXEC_USER);
    for (int i = 0; i < 3; i++) {
        if (uid[i] != user->uid || gid[i] != user->gid)
            fail(EXEC_USER);
    }
}

/* After the change of user, which would clear it. The warden may have died before it was set. */
static void die_with(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
}

/* Why exec has failed with `error`; asked as the user and in the folder in which it was tried. */
static enum exec_step reason(const char *file, int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return access(file, F_OK) == 0 ? EXEC_FILE_INTERPRETER : EXEC_FILE_MISSING;
    case EACCES:
        return access(file, X_OK) == 0 ? EXEC_FILE_INTERPRETER_MODE : EXEC_FILE_MODE;
    case ENOEXEC:
        return EXEC_FILE_FORMAT;
    default:
        return EXEC_FILE;
    }
}

/* Along a path, the first file that is there and cannot be executed says more than those that are missing. */
static _Noreturn void execute(const struct job *job)
{
    enum exec_step worst = EXEC_FILE_MISSING;
    int error = ENOENT;
    const char *blamed = "";
    for (char **file = job->files; *file != NULL; file++) {
        FAULTY("spawn.exec", ENOMEM, execve(*file, job->argv, job->envp));
        int now = errno;
        enum exec_step step = reason(*file, now);
        if (worst == EXEC_FILE_MISSING) {
            worst = step;
            error = now;
            blamed = *file;
        }
        if (now != ENOENT && now != ENOTDIR && now != EACCES)
            break;
    }
    fail_of_file(worst, error, blamed);
}

void exec_program(void *arg)
{
    const struct exec *exec = arg;
    const struct job *job = exec->job;
    be_apart(job);
    report_start();
    set_descriptors(job, exec->output_fd, exec->stdout_fd);
    unblock_signals();
    set_limits(job);
    if (job->becomes)
        become(&job->user);
    die_with(exec->warden);
    if (chdir(job->directory) != 0)
        fail(EXEC_DIRECTORY);
    execute(job);
}
