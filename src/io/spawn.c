/* All that allocates, looks up or may fail for want of something happens before the fork; between it and the
 * exec, in the warden and in the program, stand system calls only. Invariant: a step that fails there is
 * reported, by its number and errno, and the file is then not executed.
 */
#include "io/spawn.h"

#include "base/fault.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

enum step {
    STEP_FORK,
    STEP_DESCRIPTORS,
    STEP_LIMITS,
    STEP_USER,
    STEP_DIRECTORY,
    STEP_EXEC,
    STEP_EXEC_MISSING,
    STEP_EXEC_INTERPRETER,
    STEP_EXEC_MODE,
    STEP_EXEC_INTERPRETER_MODE,
    STEP_EXEC_FORMAT,
    STEP_COUNT
};

/* What each step has to say, around the name of the file (or the folder). */
static const struct {
    const char *before, *after;
} explanations[STEP_COUNT] = {
    [STEP_FORK] = {"while making a process for ", "; raise the limits of processes and memory"},
    [STEP_DESCRIPTORS] = {"while preparing the descriptors of ", ""},
    [STEP_LIMITS] = {"while setting the limits of ", ""},
    [STEP_USER] = {"while changing the user of ", "; only a daemon started as root can do that"},
    [STEP_DIRECTORY] = {"the working directory ", ""},
    [STEP_EXEC] = {"", ""},
    [STEP_EXEC_MISSING] = {"", " is missing"},
    [STEP_EXEC_INTERPRETER] = {"", " is there, but the interpreter in its first line is missing"},
    [STEP_EXEC_MODE] = {"", " is not executable; chmod +x mends that"},
    [STEP_EXEC_INTERPRETER_MODE] = {"", " is executable, but its interpreter or its file system is not"},
    [STEP_EXEC_FORMAT] = {"", " is neither a program nor has it a first line with #!"},
};

/* What the child needs, made before the fork. */
struct plan {
    const struct child_spec *spec;
    char **files;                              /* to be tried in this order; NULL-terminated */
    const struct child_user *become;           /* NULL: stay */
    uid_t uid;                                 /* as which it will run */
    int null_fd, output_fd, stdout_fd, socket; /* the program's and the warden's */
    const struct cgroup *cgroup;
};

static void report(int socket, struct warden_report report)
{
    (void)!send(socket, &report, sizeof report, MSG_NOSIGNAL);
}

static _Noreturn void fail_on(int socket, enum step step)
{
    report(socket, (struct warden_report){.word = WARDEN_FAILED, .step = step, .error = errno});
    _exit(127);
}

static _Noreturn void fail(enum step step)
{
    fail_on(WARDEN_SOCKET_FD, step);
}

/* An ignored signal would stay ignored over exec; a handler would have run our code in the child, were not
 * all signals blocked until here. */
static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_descriptors(const struct plan *plan)
{
    int stdout_fd = plan->spec->apart ? plan->stdout_fd : plan->output_fd;
    bool placed = dup2(plan->null_fd, STDIN_FILENO) >= 0 && dup2(stdout_fd, STDOUT_FILENO) >= 0 &&
                  dup2(plan->output_fd, STDERR_FILENO) >= 0 &&
                  (plan->socket == WARDEN_SOCKET_FD || dup3(plan->socket, WARDEN_SOCKET_FD, O_CLOEXEC) >= 0);
    if (!placed)
        fail_on(plan->socket, STEP_DESCRIPTORS);
    if (close_range(WARDEN_SOCKET_FD + 1, ~0U, 0) != 0)
        fail(STEP_DESCRIPTORS);
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

static void set_limits(const struct plan *plan)
{
    const struct child_spec *spec = plan->spec;
    umask(022);
    if (!limit(RLIMIT_CORE, 0) || (spec->memory_max != 0 && !limit(RLIMIT_AS, spec->memory_max)) ||
        (spec->file_max != 0 && !limit(RLIMIT_FSIZE, spec->file_max)) ||
        (spec->processes_max != 0 && plan->uid != 0 && !limit(RLIMIT_NPROC, spec->processes_max)))
        fail(STEP_LIMITS);
}

/* Raw calls: those of libc would make all threads follow, by means that a forked child must not use. What was
 * asked for is then read back. */
static void become(const struct child_user *user)
{
    if (syscall(SYS_setgroups, user->group_count, user->groups) != 0 ||
        syscall(SYS_setresgid, user->gid, user->gid, user->gid) != 0 ||
        syscall(SYS_setresuid, user->uid, user->uid, user->uid) != 0)
        fail(STEP_USER);
    uid_t uid[3];
    gid_t gid[3];
    errno = EPERM;
    if (getresuid(&uid[0], &uid[1], &uid[2]) != 0 || getresgid(&gid[0], &gid[1], &gid[2]) != 0)
        fail(STEP_USER);
    for (int i = 0; i < 3; i++) {
        if (uid[i] != user->uid || gid[i] != user->gid)
            fail(STEP_USER);
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
static enum step explain(const char *file, int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return access(file, F_OK) == 0 ? STEP_EXEC_INTERPRETER : STEP_EXEC_MISSING;
    case EACCES:
        return access(file, X_OK) == 0 ? STEP_EXEC_INTERPRETER_MODE : STEP_EXEC_MODE;
    case ENOEXEC:
        return STEP_EXEC_FORMAT;
    default:
        return STEP_EXEC;
    }
}

/* Along a path, the first file that is there and cannot be executed says more than those that are missing. */
static _Noreturn void execute(const struct plan *plan)
{
    enum step worst = STEP_EXEC_MISSING;
    int error = ENOENT;
    for (char **file = plan->files; *file != NULL; file++) {
        FAULTY("spawn.exec", ENOMEM,
               execve(*file, (char *const *)plan->spec->argv, (char *const *)plan->spec->envp));
        int now = errno;
        enum step step = explain(*file, now);
        if (worst == STEP_EXEC_MISSING) {
            worst = step;
            error = now;
        }
        if (now != ENOENT && now != ENOTDIR && now != EACCES)
            break;
    }
    errno = error;
    fail(worst);
}

static void in_program(const void *arg, pid_t warden)
{
    const struct plan *plan = arg;
    setsid();
    struct warden_report started = {.word = WARDEN_STARTED, .pid = getpid()};
    getrusage(RUSAGE_SELF, &started.usage);
    report(plan->socket, started);
    set_descriptors(plan);
    reset_signals();
    set_limits(plan);
    if (plan->become != NULL)
        become(plan->become);
    die_with(warden);
    if (chdir(plan->spec->directory != NULL ? plan->spec->directory : "/") != 0)
        fail(STEP_DIRECTORY);
    execute(plan);
}

static struct str path_of(const char *const *envp)
{
    for (; *envp != NULL; envp++) {
        if (str_starts_with(str_of(*envp), STR("PATH=")))
            return str_of(*envp + strlen("PATH="));
    }
    return STR(DEFAULT_PATH);
}

/* All names under which the file may be found. An empty part of PATH, the present folder by tradition, is
 * left out. */
static char **files_of(const struct child_spec *spec)
{
    const char *name = spec->argv[0];
    struct str path = strchr(name, '/') == NULL ? path_of(spec->envp) : STR(""), folder;
    char **files = mem_zero(path.n + 2, sizeof *files); /* more parts than bytes it cannot have */
    size_t count = 0;
    if (strchr(name, '/') != NULL)
        files[count++] = mem_dup(name);
    while (str_split(&path, ':', &folder)) {
        if (folder.n > 0)
            files[count++] = mem_printf("%.*s/%s", STR_ARG(folder), name);
    }
    return files;
}

static void files_free(char **files)
{
    for (char **file = files; *file != NULL; file++)
        free(*file);
    free(files);
}

/* Forks with all signals blocked, so that no handler of ours runs in the child. */
static pid_t fork_quietly(const struct plan *plan)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = FAULTY("spawn.fork", EAGAIN, fork());
    if (pid == 0) {
        const struct warden_spec spec = {.socket = plan->socket,
                                         .null_fd = plan->null_fd,
                                         .contained = plan->spec->contained,
                                         .group_fd = plan->cgroup->fd,
                                         .kill_fd = plan->cgroup->kill_fd,
                                         .group_path = plan->cgroup->path,
                                         .program = in_program,
                                         .arg = plan,
                                         .fork_step = STEP_FORK};
        warden_run(&spec);
    }
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

/* A daemon that runs as this user already, and not as root, could not change its groups, and need not. */
static bool must_become(const struct child_user *user)
{
    return user != NULL && (geteuid() == 0 || geteuid() != user->uid);
}

static bool start(struct spawn *spawn, struct plan *plan)
{
    fault_die("spawn.before", NULL);
    spawn->warden = fork_quietly(plan);
    fault_die("spawn.after", NULL);
    if (spawn->warden < 0)
        return false;
    spawn->pidfd = FAULTY("spawn.pidfd", EMFILE, pidfd_open(spawn->warden, 0));
    if (spawn->pidfd >= 0)
        return true;
    int error = errno;
    spawn_order(spawn, WARDEN_KILL);
    waitpid(spawn->warden, NULL, 0);
    errno = error;
    return false;
}

/* They come after 0 to 2 where those are open, as they are in every process that main starts. */
static bool open_pipe(int *from, int *to)
{
    int ends[2];
    if (FAULTY("spawn.pipe", EMFILE, pipe2(ends, O_CLOEXEC)) != 0)
        return false;
    *from = ends[0];
    *to = ends[1];
    errno = EBADF;
    return ends[0] > STDERR_FILENO && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
}

static bool open_socket(int *ours, int *theirs)
{
    int ends[2];
    if (FAULTY("spawn.socket", EMFILE, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) != 0)
        return false;
    *ours = ends[0];
    *theirs = ends[1];
    return true;
}

static bool open_pipes(struct spawn *spawn, struct plan *plan)
{
    if (!open_pipe(&spawn->output_fd, &plan->output_fd) || !open_socket(&spawn->socket, &plan->socket) ||
        (plan->spec->apart && !open_pipe(&spawn->stdout_fd, &plan->stdout_fd)))
        return false;
    plan->null_fd = FAULTY("spawn.open", EMFILE, open("/dev/null", O_RDONLY | O_CLOEXEC));
    return plan->null_fd >= 0;
}

static void close_if_open(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

bool spawn_start(struct spawn *spawn, const struct child_spec *spec, struct err *err)
{
    struct plan plan = {.spec = spec,
                        .null_fd = -1,
                        .output_fd = -1,
                        .stdout_fd = -1,
                        .socket = -1,
                        .cgroup = &spawn->cgroup};
    plan.become = must_become(spec->user) ? spec->user : NULL;
    plan.uid = spec->user != NULL ? spec->user->uid : getuid();
    plan.files = files_of(spec);
    *spawn = (struct spawn){.pidfd = -1, .output_fd = -1, .stdout_fd = -1, .socket = -1};
    spawn->cgroup = spec->contained ? cgroup_make() : CGROUP_NONE;
    spawn->file = mem_dup(spec->argv[0]);
    spawn->directory = mem_dup(spec->directory != NULL ? spec->directory : "/");
    bool started = open_pipes(spawn, &plan) && start(spawn, &plan);
    int error = errno;
    close_if_open(&plan.null_fd);
    close_if_open(&plan.output_fd);
    close_if_open(&plan.stdout_fd);
    close_if_open(&plan.socket);
    files_free(plan.files);
    if (started)
        return true;
    spawn_close(spawn);
    return err_set(err, "cannot start %s: %s; raise the limits of processes and open files", spec->argv[0],
                   strerror(error));
}

bool spawn_hear(struct spawn *spawn, struct warden_report *report)
{
    if (recv(spawn->socket, report, sizeof *report, MSG_DONTWAIT) != (ssize_t)sizeof *report)
        return false;
    if (report->word == WARDEN_STARTED) {
        spawn->program = report->pid;
        spawn->memory_kib = report->usage.ru_maxrss;
    }
    if (report->word == WARDEN_FAILED) {
        spawn->step = report->step;
        spawn->error = report->error;
    }
    return true;
}

/* A warden that the program has stopped is woken. */
void spawn_order(const struct spawn *spawn, enum warden_order order)
{
    const char byte = (char)order;
    if (order == WARDEN_KILL)
        cgroup_kill(spawn->cgroup.kill_fd);
    (void)!send(spawn->socket, &byte, sizeof byte, MSG_NOSIGNAL | MSG_DONTWAIT);
    kill(spawn->warden, SIGCONT);
}

bool spawn_was_executed(const struct spawn *spawn, struct buf *why)
{
    if (spawn->error == 0)
        return true;
    bool folder = spawn->step == STEP_DIRECTORY;
    why->n = 0;
    buf_printf(why, "cannot be started: %s (%s%s%s)", strerror(spawn->error),
               explanations[spawn->step].before, folder ? spawn->directory : spawn->file,
               explanations[spawn->step].after);
    return false;
}

void spawn_close(struct spawn *spawn)
{
    close_if_open(&spawn->pidfd);
    close_if_open(&spawn->output_fd);
    close_if_open(&spawn->stdout_fd);
    close_if_open(&spawn->socket);
    cgroup_remove(&spawn->cgroup);
    free(spawn->file);
    free(spawn->directory);
    spawn->file = spawn->directory = NULL;
}
