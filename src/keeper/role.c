/* Between fork and exec nothing is done but system calls on what was prepared before. */
#include "keeper/role.h"

#include "base/fault.h"
#include "io/capabilities.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define PROGRAM_FD (ROLE_PEER_FD + 1) /* until the exec */

#define FEW_PROCESSES                                                                               \
    "; too many processes run: end some, or raise the limit (of the user: ulimit -u; of the unit: " \
    "TasksMax; "                                                                                    \
    "of the container: its limit of pids)"

static void say(const char *what, const char *why)
{
    struct iovec parts[] = {{(char *)what, strlen(what)}, {(char *)why, strlen(why)}, {(char *)"\n", 1}};
    if (writev(STDERR_FILENO, parts, 3) < 0)
        return;
}

static bool place_standard(const struct role_spec *spec)
{
    if (spec->input > 0 && dup2(spec->input, STDIN_FILENO) < 0)
        return false;
    return spec->output <= 0 ||
           (dup2(spec->output, STDOUT_FILENO) >= 0 && dup2(spec->output, STDERR_FILENO) >= 0);
}

/* Moves the two descriptors to their numbers by way of numbers that are free of both, and closes all others.
 */
static bool place_descriptors(const struct role_spec *spec)
{
    int keeper = fcntl(spec->keeper_fd, F_DUPFD, ROLE_PEER_FD + 1);
    int peer = fcntl(spec->peer_fd, F_DUPFD, ROLE_PEER_FD + 1);
    int program = fcntl(spec->program, F_DUPFD_CLOEXEC, ROLE_PEER_FD + 1);
    if (keeper < 0 || peer < 0 || program < 0 || !place_standard(spec))
        return false;
    if (dup2(keeper, ROLE_KEEPER_FD) < 0 || dup2(peer, ROLE_PEER_FD) < 0)
        return false;
    return program == PROGRAM_FD || dup3(program, PROGRAM_FD, O_CLOEXEC) == PROGRAM_FD;
}

static void default_signals(void)
{
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool is_user(uid_t uid, gid_t gid)
{
    uid_t r, e, s;
    gid_t gr, ge, gs;
    return getresuid(&r, &e, &s) == 0 && getresgid(&gr, &ge, &gs) == 0 && r == uid && e == uid && s == uid &&
           gr == gid && ge == gid && gs == gid;
}

/* Who is that user already and may not give up its groups keeps them, as the proxy of a daemon does that is
 * not root. */
static bool become_user(uid_t uid, gid_t gid)
{
    if (setgroups(0, NULL) != 0 && !is_user(uid, gid))
        return false;
    return setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0 && is_user(uid, gid);
}

_Noreturn static void give_up(const char *what)
{
    say(what, strerrordesc_np(errno));
    _exit(ROLE_CANNOT_START);
}

_Noreturn static void become_role(const struct role_spec *spec, pid_t parent)
{
    default_signals();
    if (spec->confined && !capabilities_bound(0))
        give_up("upswapd: what the proxy may ever be capable of could not be limited: ");
    if (spec->change_user && !become_user(spec->uid, spec->gid))
        give_up("upswapd: the proxy's user could not be changed to: ");
    if (spec->confined && (!capabilities_limit(0, false) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0))
        give_up("upswapd: the proxy's capabilities could not be dropped: ");
    /* After the change of user, which would clear it; the keeper may have died before it was set. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent)
        _exit(ROLE_CANNOT_START);
    if (place_descriptors(spec)) {
        close_range(PROGRAM_FD + 1, ~0U, 0);
        FAULTY("role.exec", ENOMEM, fexecve(PROGRAM_FD, (char *const *)spec->argv, environ));
    }
    give_up("upswapd: the program could not be executed: ");
}

pid_t role_start(const struct role_spec *spec, struct err *err)
{
    const char *name = spec->argv[0] + strlen("upswapd: "); /* NOLINT: for fault points alone */
    pid_t parent = getpid();
    fault_birth(name);
    fault_die("role.before", name);
    pid_t pid = FAULTY("role.fork", EAGAIN, fork());
    if (pid == 0)
        become_role(spec, parent);
    if (pid < 0)
        err_set(err, "%s could not be started: %s%s", spec->argv[0], strerror(errno),
                errno == EAGAIN ? FEW_PROCESSES : "");
    fault_die("role.after", name);
    return pid;
}
