/* Invariant: a process is taken for ended only where the kernel says so; what could not be asked, for want of
 * a descriptor or of memory, is not known, and is asked again when it matters. */
#include "control/process.h"

#include "base/buf.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uthash.h>

#define START_FIELD 22 /* of /proc/PID/stat; see proc(5) */

struct held {
    uint64_t instance;
    int fd; /* -1: it could not be opened yet */
    int64_t pid;
    uint64_t start;
    UT_hash_handle hh;
};

struct processes {
    struct held *held;
};

/* The program's name, the second field, may hold spaces and brackets: fields are counted behind its last one.
 */
static bool parse_start(const char *stat, uint64_t *start)
{
    const char *name_end = strrchr(stat, ')');
    if (name_end == NULL)
        return false;
    struct str rest = str_of(name_end + 1), field;
    for (int i = 2; i < START_FIELD + 1; i++) {
        if (!str_split(&rest, ' ', &field))
            return false;
    }
    return str_to_u64(field, start);
}

static bool read_start(int64_t pid, uint64_t *start)
{
    char path[64], stat[1024];
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    int fd = FAULTY("process.open", EMFILE, open(path, O_RDONLY | O_CLOEXEC));
    if (fd < 0)
        return false;
    ssize_t n = read(fd, stat, sizeof stat - 1);
    int error = n < 0 ? errno : EBADMSG;
    close(fd);
    errno = error;
    if (n <= 0)
        return false;
    stat[n] = '\0';
    return parse_start(stat, start);
}

static bool has_ended(int fd)
{
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    return poll(&ended, 1, 0) == 1;
}

static int open_pidfd(int64_t pid)
{
    errno = ESRCH;
    return pid > 0 && pid <= INT32_MAX
               ? FAULTY("process.pidfd", EMFILE, (int)syscall(SYS_pidfd_open, (pid_t)pid, 0))
               : -1;
}

int process_open(int64_t pid, uint64_t *start, bool *gone, struct err *err)
{
    int fd = open_pidfd(pid);
    /* Read after the pidfd was opened: then it is of the same process, or that one has ended. */
    if (fd >= 0 && read_start(pid, start))
        return fd;
    int error = errno;
    /* EINVAL: the number is a thread's. */
    *gone = fd >= 0 ? has_ended(fd) : error == ESRCH || error == EINVAL;
    if (fd >= 0)
        close(fd);
    if (*gone)
        err_set(err,
                "there is no process with pid %" PRId64 "; name the one that serves the instance, or none",
                pid);
    else
        err_set(err, "the process with pid %" PRId64 " cannot be looked at: %s", pid, strerror(error));
    return -1;
}

struct processes *processes_new(void)
{
    return mem_zero(1, sizeof(struct processes));
}

static void let_go(struct processes *processes, struct held *held)
{
    HASH_DEL(processes->held, held);
    if (held->fd >= 0)
        close(held->fd);
    free(held);
}

void processes_free(struct processes *processes)
{
    struct held *held, *next;
    HASH_ITER(hh, processes->held, held, next)
    {
        let_go(processes, held);
    }
    free(processes);
}

static struct held *find(struct processes *processes, uint64_t instance)
{
    struct held *held;
    HASH_FIND(hh, processes->held, &instance, sizeof instance, held);
    return held;
}

static void hold(struct processes *processes, const struct held *what)
{
    struct held *held = mem_alloc(sizeof *held);
    *held = *what;
    HASH_ADD(hh, processes->held, instance, sizeof held->instance, held);
}

void processes_hold(struct processes *processes, uint64_t instance, int fd)
{
    hold(processes, &(struct held){.instance = instance, .fd = fd});
}

void processes_recover(struct processes *processes, uint64_t instance, int64_t pid, uint64_t start)
{
    bool gone = false;
    uint64_t found = start;
    struct err ignored;
    int fd = process_open(pid, &found, &gone, &ignored);
    if (!gone && found == start)
        hold(processes, &(struct held){.instance = instance, .fd = fd, .pid = pid, .start = start});
    else if (fd >= 0)
        close(fd);
}

/* What is held for the instance, open. NULL with a sentence: its process has ended, or cannot be looked at.
 */
static struct held *open_held(struct processes *processes, uint64_t instance, struct err *err)
{
    struct held *held = find(processes, instance);
    if (held != NULL && held->fd < 0) {
        const struct held again = *held;
        bool gone = false;
        uint64_t found = again.start;
        held->fd = process_open(again.pid, &found, &gone, err);
        if (held->fd < 0 && !gone)
            return NULL;
        if (gone || found != again.start) {
            let_go(processes, held);
            held = NULL;
        }
    }
    if (held == NULL)
        err_set(err, "the process had ended when the daemon was started again");
    return held;
}

bool processes_signal(struct processes *processes, uint64_t instance, int number, struct err *err)
{
    struct held *held = open_held(processes, instance, err);
    if (held == NULL)
        return false;
    if (syscall(SYS_pidfd_send_signal, held->fd, number, NULL, 0) == 0)
        return true;
    return err_set(err, "%s", errno == ESRCH ? "the process has ended already" : strerror(errno));
}

bool processes_is_alive(struct processes *processes, uint64_t instance, struct err *err)
{
    struct held *held = open_held(processes, instance, err);
    return held != NULL && (!has_ended(held->fd) || err_set(err, "the process has ended"));
}

void processes_drop(struct processes *processes, uint64_t instance)
{
    struct held *held = find(processes, instance);
    if (held != NULL)
        let_go(processes, held);
}
