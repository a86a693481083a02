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
    int fd;
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
    close(fd);
    if (n <= 0)
        return false;
    stat[n] = '\0';
    return parse_start(stat, start);
}

int process_open(int64_t pid, uint64_t *start, struct err *err)
{
    int fd = pid > 0 && pid <= INT32_MAX
                 ? FAULTY("process.pidfd", EMFILE, (int)syscall(SYS_pidfd_open, (pid_t)pid, 0))
                 : -1;
    /* Read after the pidfd was opened: then it is of the same process, or that one has ended. */
    if (fd >= 0 && read_start(pid, start))
        return fd;
    if (fd >= 0)
        close(fd);
    err_set(err, "there is no process with pid %" PRId64 "; name the one that serves the instance, or none",
            pid);
    return -1;
}

struct processes *processes_new(void)
{
    return mem_zero(1, sizeof(struct processes));
}

static void let_go(struct processes *processes, struct held *held)
{
    HASH_DEL(processes->held, held);
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

void processes_hold(struct processes *processes, uint64_t instance, int fd)
{
    struct held *held = mem_alloc(sizeof *held);
    *held = (struct held){.instance = instance, .fd = fd};
    HASH_ADD(hh, processes->held, instance, sizeof held->instance, held);
}

void processes_recover(struct processes *processes, uint64_t instance, int64_t pid, uint64_t start)
{
    uint64_t found;
    struct err ignored;
    int fd = process_open(pid, &found, &ignored);
    if (fd >= 0 && found == start)
        processes_hold(processes, instance, fd);
    else if (fd >= 0)
        close(fd);
}

bool processes_signal(struct processes *processes, uint64_t instance, int number, struct err *err)
{
    struct held *held = find(processes, instance);
    if (held == NULL)
        return err_set(err, "the process had ended when the daemon was started again");
    if (syscall(SYS_pidfd_send_signal, held->fd, number, NULL, 0) == 0)
        return true;
    return err_set(err, "%s", errno == ESRCH ? "the process has ended already" : strerror(errno));
}

bool processes_is_alive(struct processes *processes, uint64_t instance)
{
    struct held *held = find(processes, instance);
    struct pollfd ended = {.fd = held == NULL ? -1 : held->fd, .events = POLLIN};
    return held != NULL && poll(&ended, 1, 0) == 0;
}

void processes_drop(struct processes *processes, uint64_t instance)
{
    struct held *held = find(processes, instance);
    if (held != NULL)
        let_go(processes, held);
}
