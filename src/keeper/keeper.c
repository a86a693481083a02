/* The keeper's own work: two processes, the channels to them, and the signals of the service manager.
 * Invariant: unless it is stopping, whichever of the two has died is started again, on descriptors that never
 * left the keeper. */
#include "keeper/keep.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/notify.h"
#include "keeper/passed.h"
#include "keeper/trial.h"
#include "link/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESTART_PAUSE_MIN_MS 100
#define RESTART_PAUSE_MAX_MS 5000
#define EXIT_MS 1000        /* between a role's last word and its end */
#define SAME_STOP_MS 10     /* signals that come so close are one wish to stop, told twice */
#define LIVED_LONG_MS 10000 /* a role that ran this long is started again without a pause */

static void stop(struct keeper *keeper, int exit_status)
{
    keeper->exit_status = exit_status;
    loop_stop(keeper->loop);
}

void keeper_tell_control(struct keeper *keeper, enum message_type type, const void *payload, size_t size,
                         int fd)
{
    if (keeper->roles[CONTROL].channel != NULL)
        channel_send(keeper->roles[CONTROL].channel, type, payload, size, fd);
}

/* ---- what control says ---- */

static void on_ready(struct keeper *keeper, const struct message_ready *ready)
{
    keeper->ready = *ready;
    keeper->is_ready = true;
    log_configure(ready->log_level, ready->log_format);
    struct role *proxy = &keeper->roles[PROXY];
    if (proxy->pid == 0 && !keeper->stopping && !deadline_is_set(&proxy->restart))
        keeper_start_role(keeper, PROXY);
}

static bool makes_way(const struct keeper *keeper)
{
    return keeper->upgrade.phase == UPGRADE_MAKING_WAY;
}

/* What a control that makes way has heard, an earlier program has asked it. */
static void on_reloaded(struct keeper *keeper, const struct message_reloaded *reloaded)
{
    if (makes_way(keeper))
        return;
    keeper->reloads_over = reloaded->heard;
    keeper->reload_is_left &= keeper_owes_reload(keeper);
}

static void control_received(void *arg, const struct message *message)
{
    struct keeper *keeper = arg;
    const struct message_name *name = message->payload;
    switch (message->type) {
    case MESSAGE_STORE:
        store_put(keeper->store, name->name, message->fd);
        return;
    case MESSAGE_DROP:
        store_drop(keeper->store, name->name);
        break;
    case MESSAGE_READY:
        on_ready(keeper, message->payload);
        break;
    case MESSAGE_SERVING:
        keeper->has_served = true;
        notify_ready();
        upgrade_serving(keeper);
        break;
    case MESSAGE_UPGRADE:
        upgrade_ask(keeper, false);
        break;
    case MESSAGE_RELOADED:
        on_reloaded(keeper, message->payload);
        break;
    default:
        log_error("control sent message %d, which the keeper does not know; it is ignored", message->type);
    }
    if (message->fd >= 0)
        close(message->fd);
}

static void proxy_received(void *arg, const struct message *message)
{
    (void)arg;
    log_error("the proxy sent message %d, but it has nothing to say to the keeper; it is ignored",
              message->type);
    if (message->fd >= 0)
        close(message->fd);
}

static void role_closed(struct role *role, const char *why)
{
    /* A channel closes when its process ends, which the wait for it reports; one that closes long before is
     * broken. */
    log_debug("the channel to %s is closed: %s", role->name, why);
    channel_close(role->channel);
    role->channel = NULL;
    if (role->pid > 0 && !deadline_is_set(&role->overdue))
        deadline_set(&role->overdue, EXIT_MS);
}

static void on_overdue(struct deadline *deadline)
{
    struct role *role = mem_container(deadline, struct role, overdue);
    log_error("%s has closed its channel and does not end; it is killed", role->name);
    kill(role->pid, SIGKILL);
}

static void control_closed(void *arg, const char *why)
{
    struct keeper *keeper = arg;
    role_closed(&keeper->roles[CONTROL], why);
}

static void proxy_closed(void *arg, const char *why)
{
    struct keeper *keeper = arg;
    role_closed(&keeper->roles[PROXY], why);
}

/* ---- starting ---- */

static void tell_stored(void *arg, const char *name, int fd)
{
    struct message_name message = {0};
    snprintf(message.name, sizeof message.name, "%s", name);
    channel_send(arg, MESSAGE_STORED, &message, sizeof message, fd);
}

static bool role_run(struct keeper *keeper, struct role *role, struct role_spec *spec,
                     const struct channel_callbacks *callbacks)
{
    struct err err;
    int ends[2];
    role->started_ms = clock_mono_ms(); /* also where it fails: it has not lived */
    if (!channel_pair(ends, &err)) {
        log_error("%s", err.text);
        return false;
    }
    spec->program = keeper->program;
    spec->keeper_fd = ends[1];
    role->pid = role_start(spec, &err);
    close(ends[1]);
    if (role->pid < 0) {
        log_error("%s", err.text);
        role->pid = 0;
        close(ends[0]);
        return false;
    }
    role->starts++;
    role->channel_fd = ends[0];
    role->channel = channel_open(keeper->loop, ends[0], callbacks, keeper);
    return true;
}

static const struct channel_callbacks callbacks[ROLES] = {
    [CONTROL] = {control_received, control_closed},
    [PROXY] = {proxy_received, proxy_closed},
};

void keeper_take_role(struct keeper *keeper, int which, const struct handover_role *from)
{
    struct role *role = &keeper->roles[which];
    role->pid = from->pid;
    role->starts = from->starts;
    role->started_ms = clock_mono_ms();
    role->channel_fd = from->channel;
    if (from->channel >= 0)
        role->channel = channel_open(keeper->loop, from->channel, &callbacks[which], keeper);
}

static void tell(struct keeper *keeper, int role, enum message_type type)
{
    if (keeper->roles[role].channel != NULL)
        channel_send(keeper->roles[role].channel, type, NULL, 0, -1);
}

/* ---- reloads ---- */

bool keeper_owes_reload(const struct keeper *keeper)
{
    return keeper->reloads > keeper->reloads_over;
}

static void ask_for_reload(struct keeper *keeper)
{
    keeper->reloads++;
    keeper->reload_is_told = !makes_way(keeper) && keeper->roles[CONTROL].channel != NULL;
    if (keeper->reload_is_told)
        tell(keeper, CONTROL, MESSAGE_RELOAD);
}

/* Once: it may be the reload that ends them. */
static void ask_again(struct keeper *keeper)
{
    bool is_due = keeper_owes_reload(keeper);
    bool was_left = keeper->reload_is_left, was_told = keeper->reload_is_told;
    keeper->reloads = keeper->reloads_over = 0;
    keeper->reload_is_left = is_due && was_told && !was_left;
    if (is_due && was_left)
        log_error("control has ended in a reload again: it is not done; mend the file, and reload again");
    else if (is_due)
        ask_for_reload(keeper);
}

bool keeper_start_control(struct keeper *keeper)
{
    const char *argv[] = {"upswapd: control", "--role=control", keeper->options.config_path, NULL};
    struct role_spec spec = {.argv = argv, .peer_fd = keeper->pair.control_end};
    struct role *role = &keeper->roles[CONTROL];
    if (!role_run(keeper, role, &spec, &callbacks[CONTROL]))
        return false;
    struct message_start start = {
        .stored = (uint32_t)store_count(keeper->store),
        .restarts = role->starts - 1,
        .proxy_pid = keeper->roles[PROXY].pid,
        .generation = keeper->generation,
        .finishing = elders_generations(keeper),
    };
    channel_send(role->channel, MESSAGE_START, &start, sizeof start, -1);
    store_each(keeper->store, tell_stored, role->channel);
    elders_introduce(keeper);
    ask_again(keeper);
    return true;
}

static bool start_proxy(struct keeper *keeper)
{
    const struct message_ready *ready = &keeper->ready;
    char workers[16], level[16], format[16], generation[16];
    snprintf(workers, sizeof workers, "%u", ready->workers);
    snprintf(level, sizeof level, "%u", ready->log_level);
    snprintf(format, sizeof format, "%u", ready->log_format);
    snprintf(generation, sizeof generation, "%u", keeper->generation);
    const char *argv[] = {"upswapd: proxy", "--role=proxy", workers, level, format, generation, NULL};
    struct role_spec spec = {.argv = argv,
                             .peer_fd = keeper->pair.proxy_end,
                             .change_user = ready->change_user,
                             .uid = ready->uid,
                             .gid = ready->gid,
                             .confined = true};
    struct role *role = &keeper->roles[PROXY];
    if (!role_run(keeper, role, &spec, &callbacks[PROXY]))
        return false;
    struct message_proxy started = {role->pid, role->starts - 1, role->status};
    keeper_tell_control(keeper, MESSAGE_PROXY_STARTED, &started, sizeof started, -1);
    return true;
}

/* ---- ends ---- */

void keeper_describe(int status, char out[KEEPER_HOW_MAX])
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        snprintf(out, KEEPER_HOW_MAX,
                 "was killed for a system call that it must not make (SIGSYS): it may have been taken over; "
                 "the kernel's log names the call");
    else if (WIFSIGNALED(status))
        snprintf(out, KEEPER_HOW_MAX, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(out, KEEPER_HOW_MAX, "ended with status %d", WEXITSTATUS(status));
}

static void start_again(struct role *role)
{
    uint64_t lived = clock_mono_ms() - role->started_ms;
    if (lived >= LIVED_LONG_MS)
        role->pause_ms = 0;
    deadline_set(&role->restart, role->pause_ms);
    uint64_t next = role->pause_ms * 2;
    if (next < RESTART_PAUSE_MIN_MS)
        next = RESTART_PAUSE_MIN_MS;
    role->pause_ms = next < RESTART_PAUSE_MAX_MS ? next : RESTART_PAUSE_MAX_MS;
}

static void start_or_try_again(struct role *role)
{
    if (!role->start(role->keeper))
        start_again(role);
}

void keeper_start_role(struct keeper *keeper, int which)
{
    start_or_try_again(&keeper->roles[which]);
}

static void on_restart(struct deadline *deadline)
{
    start_or_try_again(mem_container(deadline, struct role, restart));
}

/* The last step of a stop: with the proxies gone, control has nothing left to watch and ends when its channel
 * closes. */
void keeper_proxy_gone(struct keeper *keeper)
{
    struct role *control = &keeper->roles[CONTROL];
    if (keeper->roles[PROXY].pid != 0 || !LIST_EMPTY(&keeper->elders))
        return;
    channel_close(control->channel);
    control->channel = NULL;
    if (control->pid == 0)
        stop(keeper, keeper->exit_status);
}

/* The stop goes on. */
static void ended_while_stopping(struct role *role, const char *how)
{
    if (WIFSIGNALED(role->status)) {
        log_error("%s %s in the middle of the stop, which has not finished everything", role->name, how);
        role->keeper->exit_status = 1;
    } else {
        log_info("%s %s", role->name, how);
    }
    keeper_proxy_gone(role->keeper);
}

static void begin_stop(struct keeper *keeper);

/* What it has said is the cause. It may last, as a user that is not there, or pass, as a want of memory:
 * which is not known here, so who started the daemon is to hear of it, and to decide whether it is started
 * again. */
static void proxy_cannot_start(struct keeper *keeper, const char *how)
{
    log_error("the proxy %s before it served; the daemon ends: mend what is said above, and start it again",
              how);
    keeper->exit_status = 1;
    begin_stop(keeper);
}

static void role_ended(struct role *role, int status)
{
    struct keeper *keeper = role->keeper;
    bool is_control = role == &keeper->roles[CONTROL];
    const struct message_ended ended = {role->pid};
    char how[KEEPER_HOW_MAX];
    keeper_describe(status, how);
    deadline_clear(&role->overdue);
    role->pid = 0;
    role->status = status;
    channel_close(role->channel);
    role->channel = NULL;
    if (keeper->stopping) {
        ended_while_stopping(role, how);
    } else if (upgrade_role_ended(keeper, is_control ? CONTROL : PROXY, how)) {
        return;
    } else if (is_control && !keeper->is_ready) {
        stop(keeper, 1);
    } else if (!is_control && !keeper->has_served && WIFEXITED(status)) {
        proxy_cannot_start(keeper, how);
    } else {
        if (!is_control)
            keeper_tell_control(keeper, MESSAGE_PROXY_ENDED, &ended, sizeof ended, -1);
        log_error("%s %s; it is started again", role->name, how);
        start_again(role);
    }
}

static bool is_known(const struct keeper *keeper, pid_t pid)
{
    return pid == keeper->roles[CONTROL].pid || pid == keeper->roles[PROXY].pid || elders_have(keeper, pid) ||
           (keeper->upgrade.trial != NULL && trial_pid(keeper->upgrade.trial) == pid);
}

/* In a container the keeper may be the first process: what the programs that control starts leave behind
 * comes to it, and nobody else would ever reap it. */
static void reap_strangers(const struct keeper *keeper)
{
    siginfo_t ended = {.si_pid = 0};
    while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid > 0 &&
           !is_known(keeper, ended.si_pid)) {
        waitpid(ended.si_pid, NULL, 0);
        ended.si_pid = 0;
    }
}

static void reap(struct keeper *keeper)
{
    for (int i = 0; i < ROLES; i++) {
        struct role *role = &keeper->roles[i];
        int status;
        if (role->pid > 0 && waitpid(role->pid, &status, WNOHANG) == role->pid)
            role_ended(role, status);
    }
    elders_reap(keeper);
    if (keeper->upgrade.trial != NULL)
        trial_reap(keeper->upgrade.trial);
    reap_strangers(keeper);
}

/* ---- signals ---- */

static void kill_roles(struct keeper *keeper)
{
    for (int i = 0; i < ROLES; i++) {
        if (keeper->roles[i].pid > 0)
            kill(keeper->roles[i].pid, SIGKILL);
    }
    elders_kill(keeper);
}

static void begin_stop(struct keeper *keeper)
{
    keeper->stopping = true;
    keeper->stop_ms = clock_mono_ms();
    notify_stopping();
    log_info("stopping: no new connections, what is in flight finishes within the drain times; "
             "a second signal ends it at once");
    for (int i = 0; i < ROLES; i++)
        deadline_clear(&keeper->roles[i].restart);
    upgrade_forget(keeper);
    tell(keeper, CONTROL, MESSAGE_STOP);
    tell(keeper, PROXY, MESSAGE_STOP);
    elders_tell(keeper, MESSAGE_STOP);
    keeper_proxy_gone(keeper);
}

/* Who signals a process and then its whole group, as timeout(1) does, or a wrapper under a terminal that
 * passes on what we have had from that, does not ask twice. */
static void on_stop_signal(struct keeper *keeper)
{
    if (!keeper->stopping) {
        begin_stop(keeper);
    } else if (clock_mono_ms() - keeper->stop_ms >= SAME_STOP_MS) {
        log_warn("a second signal: ending at once");
        kill_roles(keeper);
        stop(keeper, 1);
    }
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    (void)what;
    struct keeper *keeper = arg;
    switch (number) {
    case SIGCHLD:
        reap(keeper);
        break;
    case SIGHUP:
        keeper->reload_is_left = false;
        ask_for_reload(keeper);
        break;
    case SIGUSR1:
        tell(keeper, CONTROL, MESSAGE_REOPEN);
        break;
    case SIGUSR2:
        upgrade_ask(keeper, true);
        break;
    default:
        on_stop_signal(keeper);
    }
}

static void watch_signals(struct keeper *keeper)
{
    static const int numbers[SIGNALS] = {SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT};
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < SIGNALS; i++) {
        keeper->signals[i] = evsignal_new(loop_base(keeper->loop), numbers[i], on_signal, keeper);
        event_add(keeper->signals[i], NULL);
    }
}

/* ---- the whole ---- */

/* Root has them back by the exec of a role, which then drops them for itself; who is not root hands on what
 * is ambient, and so must keep what control needs. */
static bool limit_privileges(struct err *err)
{
    uint64_t kept = PRIVILEGES_KEEPER | (geteuid() == 0 ? 0 : PRIVILEGES_CONTROL);
    return capabilities_limit(kept, true) ||
           err_set(err, "capabilities that are not needed cannot be dropped: %s", strerror(errno));
}

static void role_init(struct keeper *keeper, int which, const char *name, bool (*start)(struct keeper *))
{
    struct role *role = &keeper->roles[which];
    *role = (struct role){.keeper = keeper, .name = name, .start = start, .channel_fd = -1};
    deadline_init(&role->restart, keeper->loop, on_restart);
    deadline_init(&role->overdue, keeper->loop, on_overdue);
}

static bool keeper_open(struct keeper *keeper, const struct keeper_options *options, struct err *err)
{
    struct store *store = store_new();
    bool taken = options->handover >= 0 || passed_take(store, err); /* while nothing else is open */
    *keeper = (struct keeper){
        .options = *options, .loop = loop_new(), .store = store, .pair = {-1, -1}, .upgrade.program = -1};
    LIST_INIT(&keeper->elders);
    role_init(keeper, CONTROL, "control", keeper_start_control);
    role_init(keeper, PROXY, "the proxy", start_proxy);
    upgrade_init(keeper);
    watch_signals(keeper);
    keeper->program = open(options->program, O_PATH | O_CLOEXEC);
    if (keeper->program < 0)
        return err_set(err, "%s cannot be opened: %s%s", options->program, strerror(errno),
                       errno == ENOENT ? "; mount /proc" : "");
    return taken;
}

/* What control says of a fault itself needs no sentence more. */
static bool keeper_start(struct keeper *keeper, struct err *err)
{
    int ends[2];
    if (keeper->options.handover >= 0)
        return upgrade_take(keeper, err);
    if (!channel_pair(ends, err))
        return false;
    keeper->pair = (struct pair){ends[0], ends[1]};
    return keeper_start_control(keeper) || err_set(err, "control could not be started");
}

static void keeper_close(struct keeper *keeper)
{
    for (int i = 0; i < ROLES; i++) {
        channel_close(keeper->roles[i].channel);
        deadline_clear(&keeper->roles[i].restart);
        deadline_clear(&keeper->roles[i].overdue);
    }
    for (int i = 0; i < SIGNALS; i++)
        event_free(keeper->signals[i]);
    elders_close(keeper);
    store_free(keeper->store);
    close(keeper->pair.control_end);
    close(keeper->pair.proxy_end);
    close(keeper->program);
    loop_free(keeper->loop);
}

int keeper_main(const struct keeper_options *options)
{
    struct keeper keeper;
    struct err err;
    log_open("keeper");
    fault_birth("keeper");
    fault_role("keeper");
    if (keeper_open(&keeper, options, &err) && limit_privileges(&err) && keeper_start(&keeper, &err)) {
        loop_run(keeper.loop);
    } else {
        log_last_word(err.text);
        keeper.exit_status = 1;
    }
    keeper_close(&keeper);
    return keeper.exit_status;
}
