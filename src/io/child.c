/* Watches one program from its start to its end, by what its warden reports. Invariant: `done` is called when
 * the warden is done, and all that it answers for has ended; or, should the kernel not let go of a process
 * that was killed, LATE_MS later.
 */
#include "io/child.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "io/capabilities.h"
#include "io/job.h"
#include "io/spawn.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE (64 * 1024) /* read in one turn: as much as a pipe holds */
#define PIECES_LEFT 16    /* read at the end: as much as a pipe can be made to hold by its user */
#define LATE_MS 10000     /* after KILL, for the end of all */
#define GREW_KIB 2048     /* at most, between the report of the program and its exec */

enum phase {
    RUNNING,   /* timer: timeout, if any */
    ENDING,    /* TERM was sent; timer: KILL */
    LINGERING, /* the file has exited, but something is left; timer: KILL for that */
    KILLED,    /* KILL was sent to all; timer: it is told before the end is seen */
    TOLD       /* the end is awaited, and nobody else waits for it; no timer */
};

struct child {
    struct loop *loop;
    struct spawn spawn;
    enum phase phase;
    bool exited; /* the file has */
    struct event report_event, output_event, stdout_event;
    struct deadline timer;
    uint64_t kill_after_ms, linger_ms;
    size_t output_max;
    uint64_t output_limit, output_total;
    uint64_t stdout_total; /* what stands apart */
    uint64_t timely_total; /* of the output, when the time was over */
    struct buf output;
    uint64_t start_ns;
    struct child_result result;
    void (*done)(void *arg, const struct child_result *result);
    void (*on_output)(void *arg, struct str bytes);
    void (*on_stdout)(void *arg, struct str bytes);
    void *arg;
};

static size_t children; /* that are not destroyed */

bool child_user_find(const char *name, struct child_user *user, struct err *err)
{
    struct passwd entry, *found = NULL;
    char room[16 * 1024];
    int error = getpwnam_r(name, &entry, room, sizeof room, &found);
    if (found == NULL)
        return error == 0 ? err_set(err, "there is no user \"%s\"; create it, or name another", name)
                          : err_set(err, "cannot look up the user \"%s\": %s", name, strerror(error));
    struct child_user made = {.uid = entry.pw_uid, .gid = entry.pw_gid};
    made.group_count = sizeof made.groups / sizeof *made.groups;
    if (getgrouplist(name, made.gid, made.groups, &made.group_count) < 0)
        return err_set(err, "the user \"%s\" is in %d groups; more than %zu are not supported", name,
                       made.group_count, sizeof made.groups / sizeof *made.groups);
    *user = made;
    return true;
}

bool child_user_check(const char *name, struct err *err)
{
    uint64_t needed = CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID);
    struct child_user user;
    if (!child_user_find(name, &user, err))
        return false;
    if (user.uid != geteuid())
        needed |= CAPABILITY(CAP_KILL);
    return !job_must_become(&user) || (capabilities_permitted() & needed) == needed ||
           err_set(
               err,
               "no program can be run as \"%s\", and ended, from here: that takes CAP_SETUID, CAP_SETGID "
               "and CAP_KILL; start the daemon with these, as root has them where no container drops them",
               name);
}

static void close_pipe(struct event *event, int *fd)
{
    if (*fd < 0)
        return;
    event_del(event);
    close(*fd);
    *fd = -1;
}

static void close_output(struct child *child)
{
    close_pipe(&child->output_event, &child->spawn.output_fd);
    close_pipe(&child->stdout_event, &child->spawn.stdout_fd);
}

/* ---- output ---- */

/* Twice the size is kept before the front is dropped, so that each byte is moved about once. */
static void keep(struct child *child, const char *bytes, size_t count)
{
    child->output_total += count;
    buf_add(&child->output, bytes, count);
    if (child->output.n > 2 * child->output_max)
        buf_drop(&child->output, child->output.n - child->output_max);
}

static void take(struct child *child, bool apart, struct str piece)
{
    void (*tell)(void *arg, struct str bytes) = apart ? child->on_stdout : child->on_output;
    if (apart)
        child->stdout_total += piece.n;
    else
        keep(child, piece.p, piece.n);
    if (tell != NULL)
        tell(child->arg, piece);
}

/* False: there is none now, or none any more. */
static bool read_piece(struct child *child, bool apart)
{
    int fd = apart ? child->spawn.stdout_fd : child->spawn.output_fd;
    char piece[PIECE];
    ssize_t count = fd < 0 ? -1 : read(fd, piece, sizeof piece);
    if (count > 0)
        take(child, apart, (struct str){piece, (size_t)count});
    else if (count == 0)
        close_pipe(apart ? &child->stdout_event : &child->output_event,
                   apart ? &child->spawn.stdout_fd : &child->spawn.output_fd);
    return count > 0;
}

static void kill_all(struct child *child)
{
    spawn_order(&child->spawn, WARDEN_KILL);
    child->phase = KILLED;
    deadline_set(&child->timer, LATE_MS);
}

static void output_came(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct child *child = arg;
    read_piece(child, fd == child->spawn.stdout_fd);
    bool over = child->output_limit != 0 && child->output_total + child->stdout_total > child->output_limit;
    if (over && (child->phase == RUNNING || child->phase == ENDING)) {
        child->result.overflowed = true;
        kill_all(child);
    }
}

/* What was written is in the pipes. Who still writes is none of those that are waited for. */
static void read_the_rest(struct child *child)
{
    for (int apart = 0; apart < 2; apart++) {
        for (int pieces = 0; pieces < PIECES_LEFT && read_piece(child, apart != 0);)
            pieces++;
    }
}

/* ---- the end ---- */

/* The kept output: the last output_max bytes. */
static struct str kept(const struct child *child)
{
    size_t count = child->output.n < child->output_max ? child->output.n : child->output_max;
    return (struct str){count == 0 ? "" : child->output.p + child->output.n - count, count};
}

static void tell(struct child *child)
{
    struct child_result *result = &child->result;
    child->phase = TOLD;
    read_the_rest(child);
    close_output(child);
    deadline_clear(&child->timer);
    result->truncated = child->output_total > child->output_max;
    result->started = spawn_was_executed(&child->spawn, &child->output);
    if (!result->started) {
        result->exit_status = -1;
        result->truncated = false;
        result->usage.known = false;
    }
    result->output = result->started ? kept(child) : buf_str(&child->output);
    if (result->started && result->timed_out) {
        uint64_t late = child->output_total - child->timely_total;
        result->late = late < result->output.n ? (size_t)late : result->output.n;
    }
    child->done(child->arg, result);
}

static void destroy(struct child *child, bool done)
{
    children--;
    event_del(&child->report_event);
    spawn_close(&child->spawn, done);
    buf_free(&child->output);
    free(child);
}

static uint64_t us_of(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

/* A fork has all the memory of who forks, and the kernel never forgets how much that was. */
static struct child_usage usage_of(const struct spawn *spawn, const struct rusage *usage)
{
    return (struct child_usage){.known = true,
                                .bound = usage->ru_maxrss <= spawn->memory_kib + GREW_KIB,
                                .user_us = us_of(usage->ru_utime),
                                .system_us = us_of(usage->ru_stime),
                                .memory = (uint64_t)usage->ru_maxrss * 1024};
}

static void program_exited(struct child *child, const struct warden_report *report)
{
    child->exited = true;
    child->result.ns = clock_mono_ns() - child->start_ns;
    child->result.usage = usage_of(&child->spawn, &report->usage);
    if (WIFEXITED(report->status))
        child->result.exit_status = WEXITSTATUS(report->status);
    else
        child->result.signal = WTERMSIG(report->status);
}

/* What is left gets its time, but after a TERM no more than that has left it. */
static uint64_t linger_ms(const struct child *child)
{
    if (child->phase != ENDING)
        return child->linger_ms;
    uint64_t now_ms = loop_ms(child->loop);
    uint64_t left_ms = child->timer.at_ms > now_ms ? child->timer.at_ms - now_ms : 0;
    return left_ms < child->linger_ms ? left_ms : child->linger_ms;
}

static void begin_to_linger(struct child *child)
{
    if (child->phase != RUNNING && child->phase != ENDING)
        return;
    deadline_set(&child->timer, linger_ms(child));
    child->phase = LINGERING;
}

/* The program has had its KILL by that, if it is not beyond it. How it ended is unknown, and that is no
 * success. The warden blocks every other signal. */
static void warden_was_killed(struct child *child)
{
    cgroup_kill(child->spawn.cgroup.kill_fd);
    if (child->spawn.program > 0)
        kill(-child->spawn.program, SIGKILL);
    child->result.ns = clock_mono_ns() - child->start_ns;
    child->result.usage.known = false;
    child->result.exit_status = -1;
    child->result.signal = SIGKILL;
}

static void all_has_ended(struct child *child, bool done)
{
    if (!done)
        warden_was_killed(child);
    if (child->phase != TOLD)
        tell(child);
    destroy(child, done);
}

static void report_came(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct child *child = arg;
    struct warden_report report;
    enum spawn_news news;
    while ((news = spawn_hear(&child->spawn, &report)) == SPAWN_REPORT && report.word != WARDEN_DONE) {
        if (report.word == WARDEN_EXITED)
            program_exited(child, &report);
    }
    if (news != SPAWN_NOTHING)
        all_has_ended(child, news == SPAWN_REPORT);
    else if (child->exited)
        begin_to_linger(child);
}

/* ---- time ---- */

static void end_group(struct child *child)
{
    spawn_order(&child->spawn, WARDEN_TERM);
    child->phase = ENDING;
    deadline_set(&child->timer, child->kill_after_ms);
}

/* Even KILL did not end it: it hangs in the kernel, or is another user's by now. */
static void tell_late(struct child *child)
{
    cgroup_kill(child->spawn.cgroup.kill_fd); /* it may have been started since the KILL */
    if (!child->exited) {
        child->result.ns = clock_mono_ns() - child->start_ns;
        child->result.signal = SIGKILL;
    }
    tell(child);
}

static void timer_fires(struct deadline *deadline)
{
    struct child *child = mem_container(deadline, struct child, timer);
    switch (child->phase) {
    case RUNNING:
        child->result.timed_out = true;
        child->timely_total = child->output_total;
        end_group(child);
        return;
    case ENDING:
    case LINGERING:
        kill_all(child);
        return;
    case KILLED:
        tell_late(child);
        return;
    case TOLD:
        break;
    }
    abort();
}

/* ---- the start ---- */

/* Undoes a start. */
static void give_up(struct child *child)
{
    spawn_order(&child->spawn, WARDEN_KILL);
    close_output(child);
    deadline_clear(&child->timer);
    destroy(child, false);
}

static bool watch(struct child *child)
{
    struct event_base *base = loop_base(child->loop);
    bool apart = child->spawn.stdout_fd >= 0;
    event_assign(&child->report_event, base, child->spawn.warden.socket, EV_READ | EV_PERSIST, report_came,
                 child);
    event_assign(&child->output_event, base, child->spawn.output_fd, EV_READ | EV_PERSIST, output_came,
                 child);
    if (apart)
        event_assign(&child->stdout_event, base, child->spawn.stdout_fd, EV_READ | EV_PERSIST, output_came,
                     child);
    return event_add(&child->report_event, NULL) == 0 && event_add(&child->output_event, NULL) == 0 &&
           (!apart || event_add(&child->stdout_event, NULL) == 0);
}

/* How long the present turn has taken: one that starts many programs is long, and deadlines count from its
 * beginning. */
static uint64_t turn_ms(struct loop *loop)
{
    uint64_t began_ms = loop_ms(loop);
    return clock_mono_ms() - began_ms;
}

struct child *child_start(struct loop *loop, const struct child_spec *spec,
                          void (*done)(void *arg, const struct child_result *result), void *arg,
                          struct err *err)
{
    struct spawn spawn;
    uint64_t start_ns = clock_mono_ns();
    if (!spawn_start(&spawn, spec, err))
        return NULL;
    struct child *child = mem_alloc(sizeof *child);
    *child = (struct child){
        .loop = loop,
        .spawn = spawn,
        .phase = RUNNING,
        .kill_after_ms = spec->kill_after_ms,
        .linger_ms = spec->linger_ms,
        .output_max = spec->output_max,
        .output_limit = spec->output_limit,
        .start_ns = start_ns,
        .result = {.exit_status = -1},
        .done = done,
        .arg = arg,
    };
    children++;
    deadline_init(&child->timer, loop, timer_fires);
    if (spec->timeout_ms > 0)
        deadline_set(&child->timer, spec->timeout_ms + turn_ms(loop));
    if (watch(child))
        return child;
    give_up(child);
    err_set(err, "cannot start %s: the event loop cannot watch it; raise fs.epoll.max_user_watches",
            spec->argv[0]);
    return NULL;
}

void child_stop(struct child *child)
{
    if (child->phase != RUNNING)
        return;
    child->result.stopped = true;
    end_group(child);
}

size_t child_count(void)
{
    return children;
}

void child_on_output(struct child *child, void (*output)(void *arg, struct str bytes))
{
    child->on_output = output;
}

void child_on_stdout(struct child *child, void (*piece)(void *arg, struct str bytes))
{
    child->on_stdout = piece;
}
