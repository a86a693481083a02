/* Watches one process group from its start to its end. Invariant: its leader is left unreaped while anything
 * may have to be signalled and output is awaited, so that the number of the group cannot be another's.
 */
#include "io/child.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
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
#define ABANDON_MS 500    /* after KILL, for the output to end */
#define LOOK_AGAIN_MS 10  /* between looks at whether the group is gone */

enum phase {
    RUNNING,    /* timer: timeout, if any */
    ENDING,     /* TERM was sent; timer: KILL */
    KILLED,     /* KILL was sent, the exit is awaited; no timer */
    LINGERING,  /* exited, unreaped, the output is open; timer: KILL for the rest of the group */
    ABANDONING, /* exited, unreaped, KILL was sent, the output is open; timer: the end */
    VANISHING   /* reaped, the output has ended, but the group has members; timer: look again */
};

struct child {
    struct loop *loop;
    struct spawn spawn;
    enum phase phase;
    struct event exit_event, output_event, stdout_event;
    struct deadline timer;
    uint64_t kill_after_ms, linger_ms;
    uint64_t vanish_by_ms; /* while VANISHING: then KILL */
    size_t output_max;
    uint64_t output_limit, output_total;
    uint64_t stdout_total; /* what stands apart */
    struct buf output;
    uint64_t start_ns;
    struct child_result result;
    void (*done)(void *arg, const struct child_result *result);
    void (*on_output)(void *arg, struct str bytes);
    void (*on_stdout)(void *arg, struct str bytes);
    void *arg;
};

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

/* The leader is unreaped here, or a look has just found the group not empty: a number stays taken as long as
 * any process has it as its group's. */
static void signal_group(const struct child *child, int number)
{
    kill(-child->spawn.pid, number);
    if (child->phase != VANISHING && getpgid(child->spawn.pid) != child->spawn.pid)
        kill(child->spawn.pid, number); /* it has left its own group */
}

static bool output_is_open(const struct child *child)
{
    return child->spawn.output_fd >= 0 || child->spawn.stdout_fd >= 0;
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

/* The kept output: the last output_max bytes. */
static struct str kept(const struct child *child)
{
    size_t count = child->output.n < child->output_max ? child->output.n : child->output_max;
    return (struct str){count == 0 ? "" : child->output.p + child->output.n - count, count};
}

/* Calls done and frees; the last thing that any callback does. */
static void finish(struct child *child)
{
    struct child_result *result = &child->result;
    event_del(&child->exit_event);
    close_output(child);
    deadline_clear(&child->timer);
    result->truncated = child->output_total > child->output_max;
    result->started = spawn_was_executed(&child->spawn, &child->output);
    if (!result->started) {
        result->exit_status = -1;
        result->truncated = false;
    }
    result->output = result->started ? kept(child) : buf_str(&child->output);
    child->done(child->arg, result);
    spawn_close(&child->spawn);
    buf_free(&child->output);
    free(child);
}

/* The exit was seen on the pidfd, so this does not wait. Should another have reaped it (SIGCHLD ignored),
 * then how it ended is unknown, and that is no success. */
static void reap(struct child *child)
{
    int status;
    if (wait4(child->spawn.pid, &status, WNOHANG, &child->result.usage) != child->spawn.pid)
        return;
    if (WIFEXITED(status))
        child->result.exit_status = WEXITSTATUS(status);
    else
        child->result.signal = WTERMSIG(status);
}

static void reap_and_finish(struct child *child)
{
    reap(child);
    finish(child);
}

/* What is left of the group may go by itself; while it is looked at so often, its number cannot have gone
 * round all process ids and have come to a stranger. */
static void vanish(struct child *child)
{
    bool empty = kill(-child->spawn.pid, 0) != 0 && errno == ESRCH;
    bool late = loop_ms(child->loop) >= child->vanish_by_ms;
    if (!empty && late)
        signal_group(child, SIGKILL);
    if (empty || late)
        finish(child);
    else
        deadline_set(&child->timer, LOOK_AGAIN_MS);
}

/* It has exited and its output has ended. Only now is it reaped: while it is there, even dead, its group is
 * not empty, and whether anything is left could not be told. */
static void reap_and_vanish(struct child *child, uint64_t by_ms)
{
    reap(child);
    child->phase = VANISHING;
    child->vanish_by_ms = by_ms;
    vanish(child);
}

static void end_group(struct child *child)
{
    signal_group(child, SIGTERM);
    child->phase = ENDING;
    deadline_set(&child->timer, child->kill_after_ms);
}

static void kill_group(struct child *child)
{
    signal_group(child, SIGKILL);
    child->phase = KILLED;
    deadline_clear(&child->timer);
}

static void abandon_later(struct child *child)
{
    child->phase = ABANDONING;
    deadline_set(&child->timer, ABANDON_MS);
}

static void timer_fires(struct deadline *deadline)
{
    struct child *child = mem_container(deadline, struct child, timer);
    switch (child->phase) {
    case RUNNING:
        child->result.timed_out = true;
        end_group(child);
        return;
    case ENDING:
        kill_group(child);
        return;
    case LINGERING:
        signal_group(child, SIGKILL);
        abandon_later(child);
        return;
    case ABANDONING:
        reap_and_finish(child);
        return;
    case VANISHING:
        vanish(child);
        return;
    case KILLED:
        break;
    }
    abort();
}

/* What is left of the group gets its time, but after a TERM no more than that has left it. */
static uint64_t linger_ms(const struct child *child)
{
    if (child->phase != ENDING)
        return child->linger_ms;
    uint64_t now_ms = loop_ms(child->loop);
    uint64_t left_ms = child->timer.at_ms > now_ms ? child->timer.at_ms - now_ms : 0;
    return left_ms < child->linger_ms ? left_ms : child->linger_ms;
}

static void exited(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct child *child = arg;
    child->result.ns = clock_mono_ns() - child->start_ns;
    if (child->phase == KILLED) {
        if (output_is_open(child))
            abandon_later(child);
        else
            reap_and_finish(child);
        return;
    }
    uint64_t rest_ms = linger_ms(child);
    if (!output_is_open(child)) {
        reap_and_vanish(child, loop_ms(child->loop) + rest_ms);
        return;
    }
    child->phase = LINGERING;
    deadline_set(&child->timer, rest_ms);
}

/* All of it. */
static void output_ended(struct child *child)
{
    if (child->phase == LINGERING)
        reap_and_vanish(child, child->timer.at_ms);
    else if (child->phase == ABANDONING)
        reap_and_finish(child);
}

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

static void output_came(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct child *child = arg;
    bool apart = fd == child->spawn.stdout_fd;
    char piece[PIECE];
    ssize_t count = read(fd, piece, sizeof piece);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0) {
        if (apart)
            close_pipe(&child->stdout_event, &child->spawn.stdout_fd);
        else
            close_pipe(&child->output_event, &child->spawn.output_fd);
        if (!output_is_open(child))
            output_ended(child);
        return;
    }
    take(child, apart, (struct str){piece, (size_t)count});
    bool over = child->output_limit != 0 && child->output_total + child->stdout_total > child->output_limit;
    if (over && (child->phase == RUNNING || child->phase == ENDING)) {
        child->result.overflowed = true;
        kill_group(child);
    }
}

/* Undoes a start. */
static void give_up(struct child *child)
{
    deadline_clear(&child->timer);
    event_del(&child->exit_event);
    event_del(&child->output_event);
    if (child->spawn.stdout_fd >= 0)
        event_del(&child->stdout_event);
    signal_group(child, SIGKILL);
    waitpid(child->spawn.pid, NULL, 0);
    spawn_close(&child->spawn);
    free(child);
}

static bool watch(struct child *child)
{
    struct event_base *base = loop_base(child->loop);
    bool apart = child->spawn.stdout_fd >= 0;
    event_assign(&child->exit_event, base, child->spawn.pidfd, EV_READ, exited, child);
    event_assign(&child->output_event, base, child->spawn.output_fd, EV_READ | EV_PERSIST, output_came,
                 child);
    if (apart)
        event_assign(&child->stdout_event, base, child->spawn.stdout_fd, EV_READ | EV_PERSIST, output_came,
                     child);
    return event_add(&child->exit_event, NULL) == 0 && event_add(&child->output_event, NULL) == 0 &&
           (!apart || event_add(&child->stdout_event, NULL) == 0);
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
    deadline_init(&child->timer, loop, timer_fires);
    if (spec->timeout_ms > 0)
        deadline_set(&child->timer, spec->timeout_ms);
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

void child_on_output(struct child *child, void (*output)(void *arg, struct str bytes))
{
    child->on_output = output;
}

void child_on_stdout(struct child *child, void (*piece)(void *arg, struct str bytes))
{
    child->on_stdout = piece;
}

pid_t child_pid(const struct child *child)
{
    return child->spawn.pid;
}
