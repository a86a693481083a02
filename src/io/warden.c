/* What descends from the program becomes the warden's child when its parent ends (PR_SET_CHILD_SUBREAPER). So
 * it can kill its own children until it has none, whatever group or session they have fled to, and no zombie
 * is left to somebody who does not reap. Invariant: a number is signalled only while it is taken: by a child
 * that is not reaped, or by a group that was just seen not to be empty.
 */
#include "io/warden.h"

#include "base/fault.h"
#include "io/cgroup.h"
#include "io/descent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_AGAIN_MS 10 /* between looks at whether all are gone, where no signal tells it */

struct warden {
    bool contained;
    bool killing;   /* all are to end */
    bool exited;    /* the program has */
    bool childless; /* no child is left */
    pid_t program;
    int signals; /* readable when a child has ended */
    int kill_fd; /* of its control group; -1: it has none */
};

static void report(struct warden_report report)
{
    /* Nobody hears it: then we are dead, which the next read tells. */
    (void)!send(WARDEN_SOCKET_FD, &report, sizeof report, MSG_NOSIGNAL);
}

/* ---- signals ---- */

static bool group_is_empty(const struct warden *warden)
{
    return kill(-warden->program, 0) != 0 && errno == ESRCH;
}

static void kill_all(const struct warden *warden)
{
    cgroup_kill(warden->kill_fd);
    if (!warden->exited)
        kill(warden->program, SIGKILL);
    if (!warden->exited || !warden->contained)
        kill(-warden->program, SIGKILL);
    if (warden->contained)
        descent_kill();
}

static void term(const struct warden *warden)
{
    if (warden->exited)
        return;
    kill(-warden->program, SIGTERM);
    if (getpgid(warden->program) != warden->program)
        kill(warden->program, SIGTERM); /* it has left its own group */
    kill(-warden->program, SIGCONT);    /* who has stopped itself hears it, too */
}

/* Who forks without end has all processors busy, and must not outrun this. As far as we may. */
static void hurry(void)
{
    const struct sched_param lowest = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &lowest) != 0)
        setpriority(PRIO_PROCESS, 0, -20);
}

/* ---- the program ---- */

/* No lock, socket or pipe of ours is kept open by the warden. */
static void settle(struct warden *warden, const struct warden_spec *spec)
{
    int kill_fd = spec->kill_fd < 0 ? -1 : fcntl(spec->kill_fd, F_DUPFD, WARDEN_KILL_FD + 1);
    for (int fd = 0; fd < WARDEN_SOCKET_FD; fd++)
        dup2(spec->null_fd, fd);
    if (spec->socket != WARDEN_SOCKET_FD)
        dup2(spec->socket, WARDEN_SOCKET_FD);
    warden->kill_fd = kill_fd < 0 ? -1 : dup2(kill_fd, WARDEN_KILL_FD);
    close_range(warden->kill_fd < 0 ? WARDEN_KILL_FD : WARDEN_KILL_FD + 1, ~0U, 0);
}

/* It inherits what we had; only then is that let go of here. */
static void start(struct warden *warden, const struct warden_spec *spec)
{
    pid_t self = getpid();
    fault_die("warden.before", NULL);
    warden->program = FAULTY("warden.fork", EAGAIN, cgroup_fork(spec->group_fd));
    if (warden->program == 0)
        spec->program(spec->arg, self);
    int error = errno;
    fault_die("warden.after", NULL);
    settle(warden, spec);
    if (warden->program >= 0)
        return;
    report((struct warden_report){.word = WARDEN_FAILED, .step = spec->fork_step, .error = error});
    _exit(0);
}

static void reap(struct warden *warden)
{
    struct warden_report ended = {.word = WARDEN_EXITED};
    struct signalfd_siginfo info;
    (void)!read(warden->signals, &info, sizeof info);
    pid_t pid;
    while ((pid = wait4(-1, &ended.status, WNOHANG | __WALL, &ended.usage)) > 0) {
        if (pid != warden->program)
            continue;
        warden->exited = true;
        report(ended);
    }
    warden->childless = pid < 0;
}

/* ---- the loop ---- */

static void begin_to_kill(struct warden *warden)
{
    warden->killing = true;
    hurry();
}

static void take_orders(struct warden *warden)
{
    char order;
    ssize_t n;
    while ((n = recv(WARDEN_SOCKET_FD, &order, sizeof order, MSG_DONTWAIT)) > 0) {
        if (order == WARDEN_KILL)
            begin_to_kill(warden);
        else if (order == WARDEN_TERM)
            term(warden);
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        begin_to_kill(warden); /* we are dead */
}

static void sleep_until_something(const struct warden *warden)
{
    /* When the socket has ended it would be readable for ever. */
    struct pollfd fds[] = {{.fd = warden->signals, .events = POLLIN},
                           {.fd = warden->killing ? -1 : WARDEN_SOCKET_FD, .events = POLLIN}};
    bool look = warden->killing || (warden->exited && !warden->contained) || warden->signals < 0;
    poll(fds, 2, look ? LOOK_AGAIN_MS : -1);
}

static bool is_over(const struct warden *warden)
{
    return warden->exited && (warden->contained ? warden->childless : group_is_empty(warden));
}

/* We may be dead, and could not remove it. */
static _Noreturn void leave(const struct warden_spec *spec)
{
    if (spec->group_path != NULL)
        rmdir(spec->group_path);
    _exit(0);
}

void warden_run(const struct warden_spec *spec)
{
    struct warden warden = {.contained = spec->contained};
    sigset_t child_signal;
    /* Children of who ignores it are reaped by the kernel. */
    signal(SIGCHLD, SIG_DFL);
    prctl(PR_SET_NAME, "upswapd: warden");
    prctl(PR_SET_CHILD_SUBREAPER, 1UL);
    start(&warden, spec);
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    warden.signals = signalfd(-1, &child_signal, SFD_NONBLOCK | SFD_CLOEXEC);
    for (;;) {
        reap(&warden);
        if (is_over(&warden))
            leave(spec);
        if (warden.killing)
            kill_all(&warden);
        sleep_until_something(&warden);
        if (!warden.killing)
            take_orders(&warden);
    }
}
