/* Invariant: what is static here belongs to the process `owner`; a fork of that lets go of it before it does
 * anything, so that nothing of ours outlives us by its sockets. A warden's socket has two ends, and the other
 * one is ours alone by the time that we hear of the warden.
 */
#include "io/nursery.h"

#include "base/fault.h"
#include "base/log.h"
#include "io/open_files.h"
#include "io/parcel.h"
#include "io/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MS 5000 /* then it is killed, and another one is forked */
#define END_MS 2000    /* without the end of any warden, until the nursery does not wait for them any more */

enum { NURSERY_SOCKET_FD = WARDEN_SOCKET_FD };

static struct {
    pid_t owner; /* 0: nobody yet */
    pid_t pid;   /* a child of ours that is not reaped; 0: there is none */
    int socket;
    struct nursling kept[NURSERY_KEEPS]; /* the last one is the next to be taken */
    size_t kept_count;
} nursery;

/* ---- in the nursery ---- */

/* In what ps shows, the arguments of whom it was forked from stay behind the name. */
void nursery_name(const char *name)
{
    char whole[32];
    snprintf(whole, sizeof whole, "upswapd:%s", name);
    prctl(PR_SET_NAME, whole);
    snprintf(program_invocation_name, strlen(program_invocation_name) + 1, "upswapd: %s", name);
}

/* Nothing of ours stays open, and there is room again where that was short. */
static bool settle(int socket)
{
    if ((socket != NURSERY_SOCKET_FD && dup3(socket, NURSERY_SOCKET_FD, O_CLOEXEC) < 0) ||
        close_range(NURSERY_SOCKET_FD + 1, ~0U, 0) != 0)
        return false;
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC), out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    return in >= 0 && out >= 0 && dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
           dup2(out, STDERR_FILENO) >= 0 && close_range(NURSERY_SOCKET_FD + 1, ~0U, 0) == 0;
}

/* errno, or 0 and a pidfd. */
static void answer(int error, int pidfd)
{
    struct parcel parcel = {.fd_count = 0};
    if (error == 0)
        parcel = (struct parcel){{pidfd}, 1};
    parcel_send(NURSERY_SOCKET_FD, &error, sizeof error, &parcel);
}

static _Noreturn void become_warden(int socket)
{
    if (dup3(socket, WARDEN_SOCKET_FD, O_CLOEXEC) < 0 || close_range(WARDEN_SOCKET_FD + 1, ~0U, 0) != 0)
        _exit(127);
    warden_run();
}

/* Makes a process group, and in it a warden that leads neither that nor the session, so that it can leave
 * both; the nursery is its parent. Raw, as there is no fork for that. */
static _Noreturn void found(int socket, int *error, pid_t *warden)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* who was stopped does not stay; the warden does not inherit it */
    setpgid(0, 0);
    long pid =
        FAULTY("nursery.clone", EAGAIN, syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0UL, 0UL, 0UL, 0UL));
    if (pid == 0)
        become_warden(socket);
    if (pid > 0)
        *warden = (pid_t)pid;
    else
        *error = errno;
    _exit(0);
}

/* What a founder has made, in memory that it shares. */
static struct founding {
    int error;
    pid_t warden; /* 0: none */
} * founding;

/* Returns errno, or 0. The founder has ended then, and with it its copy of the socket. */
static int make_warden(int socket)
{
    *founding = (struct founding){.error = ECHILD}; /* it was killed */
    pid_t founder = FAULTY("nursery.fork", EAGAIN, fork());
    if (founder == 0)
        found(socket, &founding->error, &founding->warden);
    if (founder < 0)
        return errno;
    int status;
    while (waitpid(founder, &status, WUNTRACED) == founder && WIFSTOPPED(status))
        kill(founder, SIGCONT); /* while it is stopped the nursery does nothing else */
    return founding->warden > 0 ? 0 : founding->error;
}

/* The pidfd is of the very process, since that is not reaped yet. */
static void raise_warden(int socket)
{
    int error = make_warden(socket);
    int pidfd = error != 0 ? -1 : FAULTY("nursery.pidfd", EMFILE, pidfd_open(founding->warden, 0));
    answer(error == 0 && pidfd < 0 ? errno : error, pidfd);
    if (pidfd >= 0)
        close(pidfd);
}

static void take_signals(int signals)
{
    struct signalfd_siginfo info;
    (void)!read(signals, &info, sizeof info);
}

static void reap(int signals)
{
    take_signals(signals);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
}

/* The daemon is dead, and wardens end by themselves, once those that were stopped go on. The nursery's end
 * kills those that a program still holds before its exec (warden.c, start): they cannot. But it must not kill
 * one whose program was executed just now, as nobody would then end what that runs. */
static void let_wardens_end(int signals)
{
    struct pollfd ended = {.fd = signals, .events = POLLIN};
    pid_t pid;
    int status;
    do {
        take_signals(signals);
        while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
            if (WIFSTOPPED(status))
                kill(pid, SIGCONT);
        }
    } while (pid == 0 && poll(&ended, 1, END_MS) == 1);
}

/* False: we are dead. */
static bool answer_one(void)
{
    char byte;
    struct parcel parcel;
    ssize_t n = parcel_receive(NURSERY_SOCKET_FD, &byte, sizeof byte, &parcel, MSG_DONTWAIT);
    if (n < 0 && errno == EMFILE)
        answer(EMFILE, -1);
    if (n < 0)
        return errno == EAGAIN || errno == EMFILE;
    fault_die("nursery.asked", NULL);
    if (parcel.fd_count == 1)
        raise_warden(parcel.fds[0]);
    parcel_close(&parcel);
    return n > 0;
}

/* An ignored signal would stay ignored over the exec of programs; a handler would run our code, were not all
 * signals blocked until then. That a child was stopped is not told, only its end. */
static void reset_signals(void)
{
    const struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL);
}

static _Noreturn void run(int socket)
{
    sigset_t child_signal;
    prctl(PR_SET_PDEATHSIG, SIGCONT); /* also who was stopped finds then that its socket has ended */
    setsid();                         /* see warden.c, be_humble */
    reset_signals();
    open_files_restore();
    nursery_name("nursery");
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    int signals = settle(socket) ? signalfd(-1, &child_signal, SFD_NONBLOCK | SFD_CLOEXEC) : -1;
    founding = mmap(NULL, sizeof *founding, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (signals < 0 || founding == MAP_FAILED)
        _exit(1);
    struct pollfd fds[] = {{.fd = NURSERY_SOCKET_FD, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    do {
        reap(signals);
        poll(fds, 2, -1);
    } while (answer_one());
    close(NURSERY_SOCKET_FD);
    let_wardens_end(signals);
    _exit(0);
}

/* ---- its beginning and end, on our side ---- */

/* What belongs to a process that we are a fork of, we cannot use. */
static void be_owner(void)
{
    if (nursery.owner != getpid()) {
        while (nursery.kept_count > 0)
            nursery_drop(&nursery.kept[--nursery.kept_count]);
        if (nursery.pid != 0)
            close(nursery.socket);
        nursery.pid = 0;
    }
    nursery.owner = getpid();
}

static void end(void)
{
    close(nursery.socket);
    kill(nursery.pid, SIGKILL);
    waitpid(nursery.pid, NULL, 0);
    nursery.pid = 0;
}

/* All signals are blocked, so that no handler of ours runs in it; they stay blocked there. */
static pid_t fork_quietly(int socket)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = FAULTY("nursery.start", EAGAIN, fork());
    if (pid == 0)
        run(socket);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

static bool open_sockets(int *ours, int *theirs)
{
    int ends[2];
    if (FAULTY("nursery.socket", EMFILE, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) != 0)
        return false;
    *ours = ends[0];
    *theirs = ends[1];
    return true;
}

static bool begin(void)
{
    int ours, theirs;
    if (!open_sockets(&ours, &theirs))
        return false;
    pid_t pid = fork_quietly(theirs);
    int error = errno;
    close(theirs);
    if (pid > 0) {
        nursery.pid = pid;
        nursery.socket = ours;
        return true;
    }
    close(ours);
    errno = error;
    return false;
}

bool nursery_begin(struct err *err)
{
    be_owner();
    return nursery.pid != 0 || begin() ||
           err_set(err, "no process can be made that starts programs: %s; raise the limits of processes",
                   strerror(errno));
}

/* ---- wardens ---- */

/* One that has died is no zombie for longer than until the next program. */
static void look_after_nursery(void)
{
    if (nursery.pid == 0 || waitpid(nursery.pid, NULL, WNOHANG) != nursery.pid)
        return;
    close(nursery.socket);
    nursery.pid = 0;
    log_warn("the process that starts programs has died; another one is started when it is needed");
}

static bool take_kept(struct nursling *warden)
{
    if (nursery.kept_count == 0)
        return false;
    *warden = nursery.kept[--nursery.kept_count];
    pidfd_send_signal(warden->pidfd, SIGCONT, NULL, 0);
    return true;
}

/* Waits for the answer. A program that may signal it may have stopped it. */
static ssize_t hear(int *error, struct parcel *answer)
{
    struct pollfd socket = {.fd = nursery.socket, .events = POLLIN};
    kill(nursery.pid, SIGCONT);
    return poll(&socket, 1, ANSWER_MS) == 1
               ? parcel_receive(nursery.socket, error, sizeof *error, answer, MSG_DONTWAIT)
               : 0;
}

/* Returns errno, or 0; -1: it does not answer. */
static int ask(int theirs, struct nursling *warden)
{
    const struct parcel request = {{theirs}, 1};
    struct parcel answer;
    int error;
    if (!parcel_send(nursery.socket, "", 1, &request))
        return -1;
    ssize_t n = hear(&error, &answer);
    if (n < 0 && errno == EMFILE)
        return EMFILE; /* nobody has the pidfd, but the warden's socket ends */
    if (n != sizeof error || (error == 0 && answer.fd_count != 1))
        return -1;
    warden->pidfd = error == 0 ? answer.fds[0] : -1;
    return error;
}

/* The same, with sockets of its own: a warden that comes too late for one try ends with them. */
static int try_once(struct nursling *warden)
{
    int theirs;
    if (!open_sockets(&warden->socket, &theirs))
        return errno;
    int error = ask(theirs, warden);
    close(theirs);
    if (error != 0)
        close(warden->socket);
    return error;
}

static int try_twice(struct nursling *warden)
{
    int error = nursery.pid != 0 || begin() ? try_once(warden) : errno;
    if (error != -1)
        return error;
    end();
    log_warn("the process that starts programs did not answer; another one is started");
    error = begin() ? try_once(warden) : errno;
    return error == -1 ? ECHILD : error;
}

bool nursery_take(struct nursling *warden)
{
    be_owner();
    look_after_nursery();
    if (take_kept(warden))
        return true;
    int error = try_twice(warden);
    if (error == 0)
        return true;
    *warden = (struct nursling){-1, -1};
    errno = error;
    return false;
}

void nursery_keep(const struct nursling *warden)
{
    struct nursling given = *warden;
    if (nursery.owner == getpid() && nursery.kept_count < NURSERY_KEEPS)
        nursery.kept[nursery.kept_count++] = given;
    else
        nursery_drop(&given);
}

void nursery_drop(struct nursling *warden)
{
    close(warden->socket);
    close(warden->pidfd);
    *warden = (struct nursling){-1, -1};
}

size_t nursery_kept(void)
{
    return nursery.owner == getpid() ? nursery.kept_count : 0;
}
