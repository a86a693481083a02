/* What descends from the program becomes the warden's child when its parent ends (PR_SET_CHILD_SUBREAPER). So
 * it can kill its own children until it has none, whatever group or session they have fled to, and no zombie
 * is left to somebody who does not reap. Invariant: a number is signalled only while it is taken: by a child
 * that is not reaped, or by a group that was just seen not to be empty.
 */
#include "io/warden.h"

#include "base/fault.h"
#include "io/cgroup.h"
#include "io/descent.h"
#include "io/exec.h"
#include "io/nursery.h"
#include "io/parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_AGAIN_MS 10 /* between looks at whether all are gone, where no signal tells it */

struct warden {
    int signals;      /* readable when a child has ended */
    int autogroup_fd; /* its session's niceness; -1: there is no such thing, or it may not be set */
    pid_t session;    /* of all wardens; we leave it to kill */
    struct job *job;  /* of the program that runs, or what it has left */
    int kill_fd;      /* of its control group; -1: it has none */
    pid_t program;
    bool exited;    /* the program has */
    bool childless; /* no child is left */
    bool killing;   /* all are to end */
};

void warden_report(const struct warden_report *report)
{
    /* Nobody hears it: then we are dead, which the next read tells. */
    (void)!send(WARDEN_SOCKET_FD, report, sizeof *report, MSG_NOSIGNAL);
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
    if (!warden->exited || !warden->job->contained)
        kill(-warden->program, SIGKILL);
    if (warden->job->contained)
        descent_kill(warden->session, warden->program);
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

static int read_session_nice(const struct warden *warden)
{
    char text[64] = ""; /* "/autogroup-NUMBER nice NUMBER" */
    (void)!pread(warden->autogroup_fd, text, sizeof text - 1, 0);
    const char *space = strrchr(text, ' ');
    return space == NULL ? 0 : (int)strtol(space, NULL, 10);
}

/* Where the kernel gives time to sessions (CONFIG_SCHED_AUTOGROUP, sched(7)), niceness counts within a
 * session only, and this is that of all wardens' session, with all that is contained. A program can set it,
 * too, to what is not below 0, and the next one must not suffer for that. */
static void be_humble(const struct warden *warden)
{
    char nice[8];
    int n = snprintf(nice, sizeof nice, "%d", EXEC_NICE);
    if (warden->autogroup_fd >= 0 && read_session_nice(warden) != EXEC_NICE)
        (void)!write(warden->autogroup_fd, nice, (size_t)n);
}

/* ---- the program ---- */

/* What stands in the parcel of an order to run, each -1 if it has none. */
struct descriptors {
    int job_fd, output_fd, stdout_fd, group_fd, kill_fd;
};

static bool sort(const struct parcel *parcel, const struct job *job, struct descriptors *descriptors)
{
    const int *next = parcel->fds + 2;
    *descriptors = (struct descriptors){parcel->fds[0], parcel->fds[1], -1, -1, -1};
    if (job->apart)
        descriptors->stdout_fd = *next++;
    if (job->grouped) {
        descriptors->group_fd = *next++;
        descriptors->kill_fd = *next++;
    }
    return next == parcel->fds + parcel->fd_count;
}

static void close_all_but(struct parcel *parcel, int kept)
{
    for (size_t i = 0; i < parcel->fd_count; i++) {
        if (parcel->fds[i] != kept)
            close(parcel->fds[i]);
    }
}

/* Returns errno, or 0. */
static int start(struct warden *warden, const struct descriptors *descriptors)
{
    struct exec exec = {warden->job, descriptors->output_fd, descriptors->stdout_fd, getpid()};
    if (warden->job->contained)
        be_humble(warden);
    fault_die("warden.before", NULL);
    /* Who is held by a program that hangs before its exec does not see its socket end; the nursery ends soon
     * after that, and the program dies with us. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    warden->program = FAULTY("warden.fork", EAGAIN, cgroup_start(descriptors->group_fd, exec_program, &exec));
    int error = errno;
    prctl(PR_SET_PDEATHSIG, 0UL);
    fault_die("warden.after", NULL);
    return warden->program > 0 ? 0 : error;
}

static int take_up(struct warden *warden, struct parcel *parcel)
{
    struct descriptors descriptors = {-1, -1, -1, -1, -1};
    *warden = (struct warden){.signals = warden->signals,
                              .autogroup_fd = warden->autogroup_fd,
                              .session = warden->session,
                              .kill_fd = -1};
    warden->job = fault_fails("warden.map", ENOMEM) ? NULL : job_open(parcel->fds[0]);
    int error = errno;
    if (warden->job != NULL)
        error = sort(parcel, warden->job, &descriptors) ? start(warden, &descriptors) : EBADMSG;
    if (error == 0)
        warden->kill_fd = descriptors.kill_fd;
    close_all_but(parcel, warden->kill_fd);
    return error;
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
        warden_report(&ended);
    }
    warden->childless = pid < 0;
}

/* ---- until all has ended ---- */

/* A session of our own has its own time, and nobody that is to be killed can have come into our group. */
static void begin_to_kill(struct warden *warden)
{
    warden->killing = true;
    setsid();
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
    bool look = warden->killing || (warden->exited && !warden->job->contained) || warden->signals < 0;
    poll(fds, 2, look ? LOOK_AGAIN_MS : -1);
}

static bool is_over(const struct warden *warden)
{
    return warden->exited && (warden->job->contained ? warden->childless : group_is_empty(warden));
}

static void watch_over(struct warden *warden)
{
    for (;;) {
        reap(warden);
        if (is_over(warden))
            return;
        if (warden->killing)
            kill_all(warden);
        sleep_until_something(warden);
        if (!warden->killing)
            take_orders(warden);
    }
}

/* Who has killed without being told to does so since we are dead, and cannot remove it. */
static void leave_group(const struct warden *warden)
{
    if (warden->killing && warden->job->group_path != NULL)
        rmdir(warden->job->group_path);
    if (warden->kill_fd >= 0)
        close(warden->kill_fd);
}

/* ---- one after the other ---- */

static void run(struct warden *warden, struct parcel *parcel)
{
    int error = take_up(warden, parcel);
    if (error == 0) {
        watch_over(warden);
        leave_group(warden);
    } else {
        warden_report(&(struct warden_report){.word = WARDEN_FAILED, .step = EXEC_FORK, .error = error});
    }
    if (warden->job != NULL)
        job_close(warden->job);
    warden_report(&(struct warden_report){.word = WARDEN_DONE});
}

/* Nothing runs now: an order that came too late for the last one is of no meaning. */
static bool wait_for_order(struct parcel *parcel)
{
    char order;
    do {
        if (parcel_receive(WARDEN_SOCKET_FD, &order, sizeof order, parcel, 0) != sizeof order)
            return false;
    } while (order != WARDEN_RUN);
    return parcel->fd_count >= 2;
}

void warden_run(void)
{
    struct warden warden = {0};
    struct parcel parcel;
    sigset_t child_signal;
    nursery_name("warden");
    prctl(PR_SET_CHILD_SUBREAPER, 1UL);
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    warden.signals = signalfd(-1, &child_signal, SFD_NONBLOCK | SFD_CLOEXEC);
    warden.autogroup_fd = open("/proc/self/autogroup", O_RDWR | O_CLOEXEC);
    warden.session = getsid(0);
    while (wait_for_order(&parcel))
        run(&warden, &parcel);
    _exit(0);
}
