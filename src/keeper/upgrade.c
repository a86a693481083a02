/* upgrade: this process goes on as another program, and back again where that one does not come up.
 *
 * Before the exec the other program is tried as a child, on a copy of what it would get. After it, the new
 * program lets the old control end, starts its own, and then its own proxy; the old proxy serves until the
 * new one has published a world. Invariant: until then all that the old program needs is kept, it included.
 */
#include "keeper/keep.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "keeper/program.h"
#include "keeper/trial.h"
#include "link/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLUSH_MS 100
#define MAKE_WAY_MS 5000
#define SERVING_MS 30000

static void set_program(struct keeper *keeper, int program)
{
    if (keeper->upgrade.program >= 0)
        close(keeper->upgrade.program);
    keeper->upgrade.program = program;
}

static void refused(struct keeper *keeper, const char *sentence)
{
    struct message_sentence message = {0};
    log_error("no upgrade: %s", sentence);
    snprintf(message.sentence, sizeof message.sentence, "%s", sentence);
    keeper_tell_control(keeper, MESSAGE_UPGRADE_REFUSED, &message, sizeof message, -1);
}

/* The lowest generation that no proxy has; COUNTERS_GENERATIONS: none is free. */
static unsigned free_generation(const struct keeper *keeper, uint32_t taken)
{
    unsigned generation = 0;
    taken |= elders_generations(keeper);
    while (generation < COUNTERS_GENERATIONS && (taken >> generation & 1) != 0)
        generation++;
    return generation;
}

/* ---- what is handed over ---- */

static struct handover_role of_role(const struct keeper *keeper, int which)
{
    const struct role *role = &keeper->roles[which];
    return (struct handover_role){.pid = role->pid,
                                  .channel = role->channel == NULL ? -1 : role->channel_fd,
                                  .starts = role->starts,
                                  .control_end = keeper->pair.control_end,
                                  .proxy_end = keeper->pair.proxy_end,
                                  .generation = keeper->generation};
}

static struct handover_role of_elder(const struct elder *elder)
{
    return (struct handover_role){.pid = elder->pid,
                                  .channel = elder->channel_fd,
                                  .starts = elder->starts,
                                  .control_end = elder->pair.control_end,
                                  .proxy_end = elder->pair.proxy_end,
                                  .generation = elder->generation,
                                  .finishes = elder->finishes,
                                  .finished_ms = elder->overdue.at_ms};
}

/* The first is the proxy that serves: of a return, the one that was not told to finish. Where that has died,
 * the old program starts another in what was meant for the new one. */
static void fill_proxies(const struct keeper *keeper, struct handover *handover, bool is_return)
{
    const struct elder *elder;
    handover->proxies[handover->proxy_count++] = of_role(keeper, PROXY);
    LIST_FOREACH (elder, &keeper->elders, link) {
        if (is_return && !elder->finishes)
            handover->proxies[0] = of_elder(elder);
        else
            handover->proxies[handover->proxy_count++] = of_elder(elder);
    }
}

static void fill(const struct keeper *keeper, struct handover *handover, const char *sentence)
{
    *handover =
        (struct handover){.program = keeper->program, .ready = keeper->ready, .is_return = sentence != NULL};
    snprintf(handover->version, sizeof handover->version, "%s", version_text);
    snprintf(handover->program_path, sizeof handover->program_path, "%s", keeper->program_path);
    snprintf(handover->sentence, sizeof handover->sentence, "%s", sentence != NULL ? sentence : "");
    handover->control = of_role(keeper, CONTROL);
    handover->control.control_end = handover->control.proxy_end = -1;
    fill_proxies(keeper, handover, sentence != NULL);
}

/* ---- the exec ---- */

static void flush(struct channel *channel)
{
    if (channel != NULL && !channel_flush(channel, FLUSH_MS))
        log_warn("what was to be said before the exec has not all been said");
}

static void flush_all(struct keeper *keeper)
{
    const struct elder *elder;
    for (int i = 0; i < ROLES; i++)
        flush(keeper->roles[i].channel);
    LIST_FOREACH (elder, &keeper->elders, link)
        flush(elder->channel);
}

/* Signals that come before the next program is ready for them wait: their default is to end it. */
static void block_signals(bool block)
{
    sigset_t set;
    block ? sigfillset(&set) : sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
}

/* Comes back only where it has failed, and then nothing has changed. */
static void become(struct keeper *keeper, int program, const char *sentence, struct err *err)
{
    struct handover *handover = mem_alloc(sizeof *handover);
    char number[16];
    fill(keeper, handover, sentence);
    int fd = handover_write(handover, keeper->store, err);
    if (fd >= 0) {
        flush_all(keeper);
        snprintf(number, sizeof number, "%d", fd);
        setenv(HANDOVER_VARIABLE, number, 1);
        block_signals(true);
        if (keeper_owes_reload(keeper)) /* whatever its version, it hears of it as this one has */
            kill(getpid(), SIGHUP);
        handover_keep(handover, keeper->store, true);
        fcntl(fd, F_SETFD, 0);
        fault_die("upgrade.before", NULL);
        FAULTY("upgrade.exec", ENOMEM, fexecve(program, keeper->options.argv, environ));
        err_set(err, "%s cannot be executed: %s", keeper->program_path, strerror(errno));
        handover_keep(handover, keeper->store, false);
        block_signals(false);
        unsetenv(HANDOVER_VARIABLE);
        close(fd);
    }
    free(handover);
}

/* ---- asking ---- */

static void trial_done(void *arg, const char *version, const char *sentence)
{
    struct keeper *keeper = arg;
    struct upgrade *upgrade = &keeper->upgrade;
    struct message_release release = {0};
    struct err err;
    upgrade->trial = NULL;
    upgrade->phase = UPGRADE_NONE;
    if (version == NULL) {
        err_set(&err, "%s cannot take over: %s", keeper->program_path, sentence);
    } else if (keeper->roles[PROXY].pid == 0) {
        err_set(&err, "the proxy has just ended; try again when the next one serves");
    } else {
        log_info("version %s takes over from %s", version, version_text);
        snprintf(release.version, sizeof release.version, "%s", version);
        keeper_tell_control(keeper, MESSAGE_UPGRADING, &release, sizeof release, -1);
        become(keeper, upgrade->program, NULL, &err);
    }
    set_program(keeper, -1);
    refused(keeper, err.text);
}

/* Why not now; NULL: it may be. */
static const char *obstacle(const struct keeper *keeper)
{
    if (keeper->stopping)
        return "the daemon is stopping";
    if (keeper->upgrade.phase != UPGRADE_NONE)
        return "an upgrade is under way; wait for its end";
    if (!keeper->is_ready || keeper->roles[PROXY].pid == 0)
        return "the proxy is just being started; try again in a moment";
    if (free_generation(keeper, 1U << keeper->generation) == COUNTERS_GENERATIONS)
        return "the proxies of three upgrades before still finish what is in flight; wait until one has "
               "ended, "
               "`upswap status` lists them";
    return NULL;
}

static bool start_trial(struct keeper *keeper, struct err *err)
{
    struct handover *handover = mem_alloc(sizeof *handover);
    fill(keeper, handover, NULL);
    int fd = handover_write(handover, keeper->store, err);
    free(handover);
    if (fd < 0)
        return false;
    struct trial_spec spec = {.loop = keeper->loop,
                              .program = keeper->upgrade.program,
                              .config_path = keeper->options.config_path,
                              .handover = fd,
                              .counters = store_get(keeper->store, "counters"),
                              .config = store_get(keeper->store, "config"),
                              .done = trial_done,
                              .arg = keeper};
    if (spec.counters < 0 || spec.config < 0)
        err_set(err, "control has not left all with the keeper that it needs to start again");
    else
        keeper->upgrade.trial = trial_start(&spec, err);
    close(fd);
    return keeper->upgrade.trial != NULL;
}

/* Control would take the refusal of another for the end of the one that is under way. A signal waits for no
 * answer, and whoever asked control has had one with UPGRADING. */
static bool is_for_log_only(const struct keeper *keeper, bool by_signal)
{
    enum upgrade_phase phase = keeper->upgrade.phase;
    return phase == UPGRADE_MAKING_WAY || (by_signal && phase != UPGRADE_NONE);
}

void upgrade_ask(struct keeper *keeper, bool by_signal)
{
    struct err err;
    const char *why = obstacle(keeper);
    if (why != NULL && is_for_log_only(keeper, by_signal)) {
        log_warn("no other upgrade: %s", why);
        return;
    }
    if (why != NULL) {
        refused(keeper, why);
        return;
    }
    set_program(keeper, FAULTY("upgrade.open", EMFILE, open(keeper->program_path, O_PATH | O_CLOEXEC)));
    if (keeper->upgrade.program < 0)
        err_set(&err, "%s cannot be opened: %s", keeper->program_path, strerror(errno));
    else if (start_trial(keeper, &err))
        keeper->upgrade.phase = UPGRADE_TRIAL;
    if (keeper->upgrade.phase == UPGRADE_TRIAL)
        return;
    set_program(keeper, -1);
    refused(keeper, err.text);
}

/* ---- the new program ---- */

static void end_role(struct role *role)
{
    if (role->pid <= 0)
        return;
    kill(role->pid, SIGKILL);
    waitpid(role->pid, NULL, 0);
    role->pid = 0;
    deadline_clear(&role->overdue);
    channel_close(role->channel);
    role->channel = NULL;
}

/* Where even the old program cannot be had again, this one goes on as best it can. */
static void give_back(struct keeper *keeper, const char *sentence)
{
    struct err err;
    log_error("%s; version %s has all back", sentence, keeper->upgrade.version);
    for (int i = 0; i < ROLES; i++)
        end_role(&keeper->roles[i]);
    become(keeper, keeper->upgrade.program, sentence, &err);
    log_error("there is no way back to version %s either: %s; going on", keeper->upgrade.version, err.text);
    upgrade_forget(keeper);
    keeper_start_role(keeper, CONTROL);
}

static void on_late(struct deadline *deadline)
{
    struct keeper *keeper = mem_container(deadline, struct keeper, upgrade.late);
    struct err err;
    err_set(&err, "version %s did not serve within %d s", version_text, SERVING_MS / 1000);
    give_back(keeper, err.text);
}

static void start_new(struct keeper *keeper)
{
    keeper->upgrade.phase = UPGRADE_STARTING;
    deadline_set(&keeper->upgrade.late, SERVING_MS);
    if (!keeper_start_control(keeper))
        give_back(keeper, "the new control could not be started");
}

bool upgrade_role_ended(struct keeper *keeper, int which, const char *how)
{
    struct err err;
    if (keeper->upgrade.phase == UPGRADE_MAKING_WAY && which == CONTROL) {
        start_new(keeper);
        return true;
    }
    if (keeper->upgrade.phase != UPGRADE_STARTING)
        return false;
    err_set(&err, "%s of version %s %s before it served", keeper->roles[which].name, version_text, how);
    give_back(keeper, err.text);
    return true;
}

void upgrade_serving(struct keeper *keeper)
{
    struct upgrade *upgrade = &keeper->upgrade;
    struct message_release before = {0};
    elders_finish(keeper);
    if (upgrade->phase != UPGRADE_STARTING)
        return;
    log_info("upgraded from version %s to %s", upgrade->version, version_text);
    snprintf(before.version, sizeof before.version, "%s", upgrade->version);
    upgrade_forget(keeper);
    keeper_tell_control(keeper, MESSAGE_UPGRADED, &before, sizeof before, -1);
}

void upgrade_forget(struct keeper *keeper)
{
    struct upgrade *upgrade = &keeper->upgrade;
    if (upgrade->trial != NULL)
        trial_stop(upgrade->trial);
    upgrade->trial = NULL;
    upgrade->phase = UPGRADE_NONE;
    deadline_clear(&upgrade->late);
    set_program(keeper, -1);
}

void upgrade_init(struct keeper *keeper)
{
    program_find(keeper->options.argv[0], keeper->options.program, keeper->program_path);
    deadline_init(&keeper->upgrade.late, keeper->loop, on_late);
}

/* ---- taking over ---- */

static bool take_over(struct keeper *keeper, const struct handover *handover, struct err *err)
{
    struct upgrade *upgrade = &keeper->upgrade;
    int ends[2];
    if (!channel_pair(ends, err))
        return false;
    keeper->pair = (struct pair){ends[0], ends[1]};
    for (uint32_t i = 0; i < handover->proxy_count; i++)
        elder_add(keeper, &handover->proxies[i]);
    keeper->generation = free_generation(keeper, 0);
    snprintf(upgrade->version, sizeof upgrade->version, "%s", handover->version);
    upgrade->program = handover->program;
    upgrade->phase = UPGRADE_MAKING_WAY;
    keeper_take_role(keeper, CONTROL, &handover->control);
    if (keeper->roles[CONTROL].pid == 0) {
        start_new(keeper);
        return true;
    }
    keeper_tell_control(keeper, MESSAGE_MAKE_WAY, NULL, 0, -1);
    deadline_set(&keeper->roles[CONTROL].overdue, MAKE_WAY_MS);
    return true;
}

static void take_back(struct keeper *keeper, const struct handover *handover)
{
    const struct handover_role *proxy = &handover->proxies[0];
    close(handover->program);
    for (uint32_t i = 1; i < handover->proxy_count; i++)
        elder_add(keeper, &handover->proxies[i]);
    keeper->pair = (struct pair){proxy->control_end, proxy->proxy_end};
    keeper->generation = proxy->generation;
    keeper_take_role(keeper, PROXY, proxy);
    keeper->roles[CONTROL].starts = handover->control.starts;
    keeper_start_role(keeper, CONTROL);
    refused(keeper, handover->sentence);
}

bool upgrade_take(struct keeper *keeper, struct err *err)
{
    struct handover *handover = mem_alloc(sizeof *handover);
    fault_die("upgrade.after", NULL);
    bool ok = handover_read(keeper->options.handover, handover, keeper->store, err);
    close(keeper->options.handover);
    if (ok) {
        handover_keep(handover, keeper->store, false);
        keeper->ready = handover->ready;
        keeper->is_ready = keeper->has_served = true;
        log_configure(keeper->ready.log_level, keeper->ready.log_format);
        snprintf(keeper->program_path, sizeof keeper->program_path, "%s", handover->program_path);
        if (handover->is_return)
            take_back(keeper, handover);
        else
            ok = take_over(keeper, handover, err);
        block_signals(false);
    }
    free(handover);
    return ok;
}
