/* Invariant: a warden and a control group are kept for another program only if the warden said that all of
 * the last one has ended, and nothing was told to kill.
 */
#include "io/spawn.h"

#include "base/fault.h"
#include "base/mem.h"
#include "io/exec.h"
#include "io/parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

static void close_if_open(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- the start ---- */

/* The program's ends. */
struct ends {
    int job_fd, output_fd, stdout_fd;
};

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

static struct parcel pack(const struct spawn *spawn, const struct ends *ends)
{
    struct parcel parcel = {.fd_count = 0};
    parcel.fds[parcel.fd_count++] = ends->job_fd;
    parcel.fds[parcel.fd_count++] = ends->output_fd;
    if (ends->stdout_fd >= 0)
        parcel.fds[parcel.fd_count++] = ends->stdout_fd;
    if (spawn->cgroup.path != NULL) {
        parcel.fds[parcel.fd_count++] = spawn->cgroup.fd;
        parcel.fds[parcel.fd_count++] = spawn->cgroup.kill_fd;
    }
    return parcel;
}

/* One that was kept may have died. */
static bool give_to_a_warden(struct spawn *spawn, const struct parcel *parcel)
{
    const char order = WARDEN_RUN;
    for (unsigned tries = 0; tries <= NURSERY_KEEPS; tries++) {
        if (!nursery_take(&spawn->warden))
            return false;
        if (parcel_send(spawn->warden.socket, &order, sizeof order, parcel))
            return true;
        int error = errno;
        nursery_drop(&spawn->warden);
        errno = error;
        if (error != EPIPE && error != ECONNRESET)
            return false;
    }
    return false;
}

static bool start(struct spawn *spawn, const struct child_spec *spec, struct ends *ends)
{
    ends->job_fd = job_write(spec, spawn->cgroup.path);
    if (ends->job_fd < 0 || !open_pipe(&spawn->output_fd, &ends->output_fd) ||
        (spec->apart && !open_pipe(&spawn->stdout_fd, &ends->stdout_fd)))
        return false;
    struct parcel parcel = pack(spawn, ends);
    fault_die("spawn.before", NULL);
    bool started = give_to_a_warden(spawn, &parcel);
    fault_die("spawn.after", NULL);
    return started;
}

bool spawn_start(struct spawn *spawn, const struct child_spec *spec, struct err *err)
{
    struct ends ends = {-1, -1, -1};
    *spawn =
        (struct spawn){.warden = {-1, -1}, .output_fd = -1, .stdout_fd = -1, .reusable = spec->contained};
    spawn->cgroup = spec->contained ? cgroup_make() : CGROUP_NONE;
    spawn->file = mem_dup(spec->argv[0]);
    spawn->directory = mem_dup(spec->directory != NULL ? spec->directory : "/");
    bool started = start(spawn, spec, &ends);
    int error = errno;
    close_if_open(&ends.job_fd);
    close_if_open(&ends.output_fd);
    close_if_open(&ends.stdout_fd);
    if (started)
        return true;
    spawn_close(spawn, false);
    return err_set(err, "cannot start %s: %s; raise the limits of processes and open files", spec->argv[0],
                   strerror(error));
}

/* ---- its warden ---- */

enum spawn_news spawn_hear(struct spawn *spawn, struct warden_report *report)
{
    ssize_t n = recv(spawn->warden.socket, report, sizeof *report, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return SPAWN_NOTHING;
    if (n != (ssize_t)sizeof *report)
        return SPAWN_DEAD;
    if (report->word == WARDEN_STARTED) {
        spawn->program = report->pid;
        spawn->memory_kib = report->usage.ru_maxrss;
    }
    if (report->word == WARDEN_FAILED) {
        spawn->step = report->step;
        spawn->error = report->error;
        memcpy(spawn->head, report->head, sizeof spawn->head);
    }
    return SPAWN_REPORT;
}

/* A warden that the program has stopped is woken. */
void spawn_order(struct spawn *spawn, enum warden_order order)
{
    const char byte = (char)order;
    if (order == WARDEN_KILL) {
        spawn->reusable = false;
        cgroup_kill(spawn->cgroup.kill_fd);
    }
    (void)!send(spawn->warden.socket, &byte, sizeof byte, MSG_NOSIGNAL | MSG_DONTWAIT);
    pidfd_send_signal(spawn->warden.pidfd, SIGCONT, NULL, 0);
}

bool spawn_was_executed(const struct spawn *spawn, struct buf *why)
{
    if (spawn->error == 0)
        return true;
    why->n = 0;
    exec_explain(why, (enum exec_step)spawn->step, spawn->error, spawn->file, spawn->directory, spawn->head);
    return false;
}

void spawn_close(struct spawn *spawn, bool done)
{
    close_if_open(&spawn->output_fd);
    close_if_open(&spawn->stdout_fd);
    if (done && spawn->reusable && spawn->error == 0) {
        cgroup_keep(&spawn->cgroup);
        nursery_keep(&spawn->warden);
    } else {
        cgroup_remove(&spawn->cgroup);
        if (spawn->warden.socket >= 0)
            nursery_drop(&spawn->warden);
    }
    free(spawn->file);
    free(spawn->directory);
    spawn->file = spawn->directory = NULL;
}
