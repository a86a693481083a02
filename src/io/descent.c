/* To kill children alone would be too slow for who forks without end: a child's children come to us only when
 * it has been given a processor to end on, and fork on until then. Invariant: who is signalled is a child
 * that is not reaped, or is held by a pidfd and was seen to be the child of one that is.
 */
#include "io/descent.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEPTH_MAX 48 /* what is deeper is met in a later round */
#define LIST_MAX 4096

/* "/proc/PID" and what follows. */
struct path {
    char text[64];
    size_t n;
};

static void add(struct path *path, const char *text)
{
    size_t n = strlen(text);
    memcpy(path->text + path->n, text, n + 1);
    path->n += n;
}

static void add_pid(struct path *path, pid_t pid)
{
    char digits[16], *at = digits + sizeof digits - 1;
    *at = '\0';
    for (; pid > 0; pid /= 10)
        *--at = (char)('0' + pid % 10);
    add(path, at);
}

/* The bytes read; 0: none. */
static size_t read_file(const struct path *path, char *out, size_t max)
{
    int fd = open(path->text, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, out, max);
    close(fd);
    return n > 0 ? (size_t)n : 0;
}

static pid_t parent_of(pid_t pid)
{
    char stat[512];
    uint64_t parent;
    struct path path = {.n = 0};
    add(&path, "/proc/");
    add_pid(&path, pid);
    add(&path, "/stat");
    size_t n = read_file(&path, stat, sizeof stat);
    const char *name_end = n > 0 ? memrchr(stat, ')', n) : NULL; /* then " STATE PARENT " */
    struct str rest = {name_end, name_end == NULL ? 0 : (size_t)(stat + n - name_end)}, field;
    for (int i = 0; i < 3; i++) {
        if (!str_split(&rest, ' ', &field))
            return -1;
    }
    return str_to_u64(field, &parent) ? (pid_t)parent : -1;
}

/* Whose children are killed: at depth 0 ourselves. */
struct parent {
    pid_t pid;
    int fd;
    unsigned depth;
};

/* As descent_kill is told. */
struct family {
    pid_t session, program;
};

static void kill_below(const struct parent *parent, const struct family *family);

/* A number may have gone to a stranger since it was listed, so it is held first and asked then. That the
 * parent is not reaped yet makes its number its own. */
static void kill_held(pid_t pid, const struct parent *parent, const struct family *family)
{
    struct parent child = {pid, pidfd_open(pid, 0), parent->depth + 1};
    if (child.fd < 0)
        return;
    if (parent_of(pid) == parent->pid && pidfd_send_signal(parent->fd, 0, NULL, 0) == 0) {
        pidfd_send_signal(child.fd, SIGKILL, NULL, 0);
        kill_below(&child, family);
    }
    close(child.fd);
}

/* The group of a child, if it may be killed as a whole; else 0. The session is asked for first, since nobody
 * comes back to one. */
static pid_t group_of(pid_t pid, const struct family *family)
{
    bool has_left = getsid(pid) != family->session;
    pid_t group = getpgid(pid);
    return group > 1 && (has_left || group == pid || group == family->program) ? group : 0;
}

static void kill_child(pid_t pid, const struct family *family)
{
    siginfo_t ignored;
    if (waitid(P_PID, (id_t)pid, &ignored, WEXITED | WNOHANG | WNOWAIT) != 0)
        return;
    pid_t group = group_of(pid, family);
    if (group != 0)
        kill(-group, SIGKILL);
    kill(pid, SIGKILL);
    struct parent child = {pid, pidfd_open(pid, 0), 1};
    if (child.fd < 0)
        return;
    kill_below(&child, family);
    close(child.fd);
}

static void kill_below(const struct parent *parent, const struct family *family)
{
    char list[LIST_MAX];
    struct path path = {.n = 0};
    if (parent->depth == DEPTH_MAX)
        return;
    add(&path, "/proc/");
    add_pid(&path, parent->pid);
    add(&path, "/task/");
    add_pid(&path, parent->pid);
    add(&path, "/children");
    struct str rest = {list, read_file(&path, list, sizeof list)}, word;
    uint64_t pid;
    /* Each number has a space behind it; one that was cut off has not. */
    while (rest.n > 0 && memchr(rest.p, ' ', rest.n) != NULL && str_split(&rest, ' ', &word)) {
        if (!str_to_u64(word, &pid) || pid < 2 || pid > INT32_MAX)
            continue;
        if (parent->depth == 0)
            kill_child((pid_t)pid, family);
        else
            kill_held((pid_t)pid, parent, family);
    }
}

/* Its numbers mean nothing here if it is that of another namespace of pids. */
static bool proc_is_ours(void)
{
    char link[16];
    uint64_t pid;
    ssize_t n = readlink("/proc/self", link, sizeof link);
    return n > 0 && str_to_u64((struct str){link, (size_t)n}, &pid) && (pid_t)pid == getpid();
}

void descent_kill(pid_t session, pid_t program)
{
    const struct family family = {session, program};
    if (proc_is_ours())
        kill_below(&(struct parent){getpid(), -1, 0}, &family);
}
