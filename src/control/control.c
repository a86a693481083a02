/* control.c: the role's main: what the keeper says, the order of the start, and of the end. */
#include "control/control.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "config/token.h"
#include "control/admin.h"
#include "control/conduct.h"
#include "control/config_text.h"
#include "control/credentials.h"
#include "control/finishing.h"
#include "control/kept.h"
#include "control/proxy_user.h"
#include "control/secrets.h"
#include "control/state.h"
#include "control/steady.h"
#include "io/cgroup.h"
#include "io/child.h"
#include "io/file.h"
#include "io/nursery.h"
#include "io/open_files.h"
#include "io/tls_memory.h"
#include "link/privileges.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_WAIT_MS 3000
#define NAME_CONFIG "config"
#define NAME_COUNTERS "counters"
#define NAME_STATE "state"

struct control {
    const struct control_options *options;
    struct loop *loop;
    struct channel *keeper;
    struct message_start start;
    int32_t proxy_pid;              /* as the keeper says */
    uint64_t records_before;        /* that the journal of the control before this one had; 0: not known */
    bool reload_due;                /* a signal came before there was a conductor */
    uint32_t reloads, reloads_told; /* that the keeper has asked for, and knows to be over */
    struct kept *kept;              /* NULL: the keeper has not said yet how much there is */
    int lock;
    struct event_log *events;
    struct archive *archive;
    struct registry *registry;
    struct journal *journal;
    unsigned workers;
    int counters_fd;
    struct counters *counters;
    struct finishing *finishing;
    struct sockets *sockets;
    struct secrets *secrets;
    struct credentials *credentials;
    struct conductor *conductor;
    struct behalf proxy; /* its rights */
    struct proxy_user proxy_user;
    struct admin *admin;
    char *token, *next_token; /* NULL: none */
    bool stopping;
    int exit_status;
};

static void end(struct control *control, int exit_status)
{
    control->exit_status = exit_status;
    loop_stop(control->loop);
}

static void cannot_start(struct control *control, const char *sentence)
{
    log_last_word(sentence);
    end(control, 1);
}

/* ---- what the keeper keeps ---- */

/* The accepted text, so that a restart is not at the mercy of a file that is being edited. */
static void store_config(struct control *control, struct str text)
{
    int fd = FAULTY("config.memfd", EMFILE, memfd_create("upswap-config", MFD_CLOEXEC));
    bool ok = fd >= 0 && FAULTY("config.write", ENOMEM, pwrite(fd, text.p, text.n, 0)) == (ssize_t)text.n;
    if (ok)
        kept_store(control->kept, NAME_CONFIG, fd);
    else
        log_warn("the accepted config cannot be kept for a restart: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* ---- parts of the start ---- */

static struct config *read_config(struct control *control, struct buf *text, struct err *err)
{
    const char *path = control->options->config_path;
    int fd = kept_take(control->kept, NAME_CONFIG);
    bool ok = fd >= 0 ? config_text_from(fd, text, err) : file_read(path, CONFIG_TEXT_MAX, text, NULL, err);
    if (fd >= 0)
        close(fd);
    return ok ? config_text_parse(buf_str(text), path, err) : NULL;
}

static unsigned count_workers(const struct config *config)
{
    cpu_set_t cpus;
    uint64_t count = config->workers;
    if (count == 0)
        count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (uint64_t)CPU_COUNT(&cpus) : 1;
    return count > COUNTERS_WORKERS_MAX ? COUNTERS_WORKERS_MAX : (unsigned)count;
}

static bool open_counters(struct control *control, const struct config *config, struct err *err)
{
    control->counters_fd = kept_take(control->kept, NAME_COUNTERS);
    bool is_new = control->counters_fd < 0;
    if (is_new)
        control->counters_fd = counters_create(count_workers(config), err);
    if (control->counters_fd < 0)
        return false;
    control->counters = counters_map(control->counters_fd, err);
    if (control->counters == NULL)
        return false;
    control->workers = counters_workers(control->counters);
    if (is_new)
        kept_store(control->kept, NAME_COUNTERS, control->counters_fd);
    event_log_carry(control->events, counters_last_event(control->counters));
    return true;
}

static void forgotten(void *arg, const char *pool)
{
    struct control *control = arg;
    archive_drop(control->archive, pool);
}

static bool find_state(struct control *control, const struct config *config, struct err *err)
{
    int mark = kept_take(control->kept, NAME_STATE); /* an earlier program may have left none */
    control->records_before = state_records(mark);
    bool ok = state_find(config, control->start.restarts == 0, mark, err);
    if (mark >= 0)
        close(mark);
    return ok;
}

static void mark_state(struct control *control, const char *directory)
{
    int mark = state_mark_for_next(directory);
    if (mark < 0)
        return;
    kept_store(control->kept, NAME_STATE, mark);
    journal_mark(control->journal, mark);
}

static bool open_state(struct control *control, const struct config *config, struct err *err)
{
    const char *directory = config->state_directory;
    char *lock = mem_printf("%s/lock", directory);
    bool ok = find_state(control, config, err);
    if (ok)
        control->lock = file_lock(lock, LOCK_WAIT_MS, err);
    free(lock);
    if (!ok || control->lock < 0)
        return false;
    steady_open(directory);
    clock_may_be_set();
    control->secrets = secrets_open(directory, clock_steady_ns() / 1000000000, err);
    control->events = control->secrets == NULL ? NULL : event_log_open(directory, err);
    control->archive = control->events == NULL ? NULL : archive_open(control->loop, directory, err);
    if (control->archive == NULL)
        return false;
    control->registry = registry_new();
    control->journal = journal_open(control->loop, directory, control->registry, JOURNAL_COMPACT_BYTES,
                                    forgotten, control, err);
    if (control->journal != NULL)
        mark_state(control, directory);
    return control->journal != NULL;
}

/* The state directory is ours alone, so its numbers are no other daemon's. */
static void hold_uptests(const struct control *control)
{
    struct stat status = {0};
    struct err why;
    fstat(control->lock, &status);
    char *label = mem_printf("upswap-uptest-%jx-%jx", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    if (cgroup_begin(label, &why))
        log_info("each uptest runs in a control group of its own");
    else
        log_info("uptests run without control groups: %s", why.text);
    free(label);
}

static bool restore_socket(void *arg, const char *name, int fd)
{
    const struct control *control = arg;
    return sockets_restore(control->sockets, name, fd);
}

/* ---- what the conductor tells ---- */

static bool acceptable(void *arg, const struct config *config, struct err *err)
{
    struct control *control = arg;
    free(control->next_token);
    control->next_token = NULL;
    return proxy_user_find(config, &control->proxy_user, err) &&
           token_read(config, &control->next_token, err) &&
           credentials_prepare(control->credentials, config, err);
}

static void refused(void *arg)
{
    struct control *control = arg;
    credentials_discard(control->credentials);
}

static bool is_proxy(void *arg, pid_t pid)
{
    const struct control *control = arg;
    return pid == control->proxy_pid || finishing_has(control->finishing, pid);
}

static void configured(void *arg, const struct config *config, struct str text)
{
    struct control *control = arg;
    struct message_ready ready = proxy_user_ready(&control->proxy_user, config, control->workers);
    proxy_user_rights(&ready, &control->proxy);
    log_configure(config->log_level, config->log_format);
    store_config(control, text);
    credentials_commit(control->credentials, config, text, control->sockets);
    free(control->token);
    control->token = control->next_token;
    control->next_token = NULL;
    struct admin_options options = {.unix_fd = sockets_admin(control->sockets),
                                    .owners = {geteuid(), sockets_admin_group(control->sockets)},
                                    .tcp_fd = sockets_admin_tcp(control->sockets),
                                    .token = control->token,
                                    .is_proxy = is_proxy,
                                    .arg = control,
                                    .conductor = control->conductor,
                                    .events = control->events};
    if (control->admin == NULL)
        control->admin = admin_start(control->loop, &options);
    else
        admin_configure(control->admin, &options);
    channel_send(control->keeper, MESSAGE_READY, &ready, sizeof ready, -1);
}

static void credentials_changed(void *arg, int fd)
{
    struct control *control = arg;
    conductor_keyring(control->conductor, fd);
}

static void restore_credentials(struct control *control)
{
    int fd = kept_take(control->kept, CREDENTIALS_NAME);
    control->credentials = credentials_new(control->loop, control->keeper, credentials_changed, control);
    if (fd >= 0)
        credentials_restore(control->credentials, fd);
}

static void serving(void *arg)
{
    struct control *control = arg;
    channel_send(control->keeper, MESSAGE_SERVING, NULL, 0, -1);
}

static void reloaded(void *arg)
{
    struct control *control = arg;
    const struct message_reloaded message = {control->reloads};
    if (control->reloads_told == control->reloads)
        return;
    control->reloads_told = control->reloads;
    channel_send(control->keeper, MESSAGE_RELOADED, &message, sizeof message, -1);
}

static void ask_for_upgrade(void *arg)
{
    struct control *control = arg;
    channel_send(control->keeper, MESSAGE_UPGRADE, NULL, 0, -1);
}

/* Whoever gave up the end of a journal, or put a shorter one back, has another live pool now. */
static void started_again(const struct control *control)
{
    uint64_t records = journal_read(control->journal);
    if (records < control->records_before)
        log_error("control was started again, and its journal has lost what was behind record %" PRIu64
                  ": live is what it says up to there; stage again what is missing",
                  records);
    else
        log_warn("control was started again%s",
                 control->start.proxy_pid != 0 ? "; traffic did not notice" : "");
}

static void begun(void *arg, const struct outcome *outcome)
{
    struct control *control = arg;
    if (outcome->status >= 400) {
        cannot_start(control, outcome->detail);
        return;
    }
    if (control->start.restarts == 0)
        event_log_add(control->events, "daemon.started", NULL, NULL,
                      json_pack("{s:s}", "version", version_text));
    else if (control->start.proxy_pid != 0 || control->start.finishing == 0) /* else it is an upgrade */
        started_again(control);
}

/* ---- the start ---- */

static void begin(struct control *control)
{
    struct buf text = BUF_EMPTY;
    struct err err;
    struct config *config = read_config(control, &text, &err);
    if (config != NULL)
        log_configure(config->log_level, config->log_format);
    if (config == NULL || !open_state(control, config, &err) || !open_counters(control, config, &err)) {
        config_free(config);
        buf_free(&text);
        cannot_start(control, err.text);
        return;
    }
    control->finishing =
        finishing_new(control->loop, control->counters, control->start.finishing, control->start.generation);
    hold_uptests(control);
    restore_credentials(control);
    control->sockets = sockets_new(control->counters, control->keeper);
    kept_give_rest(control->kept, restore_socket, control);
    control->conductor = conductor_new(&(struct conductor_options){
        .loop = control->loop,
        .config_path = control->options->config_path,
        .events = control->events,
        .registry = control->registry,
        .journal = control->journal,
        .archive = control->archive,
        .counters = control->counters,
        .counters_fd = control->counters_fd,
        .sockets = control->sockets,
        .secrets = control->secrets,
        .credentials = control->credentials,
        .finishing = control->finishing,
        .proxy = &control->proxy,
        .generation = control->start.generation,
        .proxy_fd = control->options->proxy_fd,
        .proxy_pid = control->proxy_pid,
        .has_served = control->start.proxy_pid != 0,
        .keeper_pid = getppid(),
        .acceptable = acceptable,
        .refused = refused,
        .configured = configured,
        .reloaded = reloaded,
        .serving = serving,
        .upgrade = ask_for_upgrade,
        .arg = control,
    });
    if (control->reload_due)
        conductor_reload(control->conductor, NULL, NULL, NULL);
    conductor_begin(control->conductor, config, buf_str(&text), begun, control);
    buf_free(&text);
}

/* ---- what the keeper says ---- */

static void begin_if_told_all(struct control *control)
{
    if (kept_is_whole(control->kept))
        begin(control);
}

static void take_start(struct control *control, const struct message_start *start)
{
    control->start = *start;
    control->proxy_pid = start->proxy_pid;
    control->kept = kept_new(control->keeper, start->stored);
    begin_if_told_all(control);
}

/* Returns whether the descriptor was taken. */
static bool take_one_stored(struct control *control, const struct message_name *name, int fd)
{
    if (control->kept == NULL || kept_is_whole(control->kept))
        return false;
    kept_add(control->kept, name, fd);
    begin_if_told_all(control);
    return true;
}

static void proxy_started(struct control *control, const struct message_proxy *proxy)
{
    control->proxy_pid = proxy->pid;
    if (control->conductor != NULL)
        conductor_proxy_started(control->conductor, proxy->pid);
    if (proxy->restarts == 0)
        return;
    log_warn("the proxy ended (wait status %d) and was started again as pid %d", (int)proxy->status,
             (int)proxy->pid);
    if (control->events != NULL)
        event_log_add(
            control->events, "daemon.proxy_restarted", NULL, NULL,
            json_pack("{s:i, s:I}", "pid", (int)proxy->pid, "restarts", (json_int_t)proxy->restarts));
}

static void proxy_ended(struct control *control, const struct message_ended *ended)
{
    if (control->proxy_pid == ended->pid)
        control->proxy_pid = 0;
    if (control->conductor != NULL)
        conductor_proxy_ended(control->conductor, ended->pid);
}

static void upgraded(struct control *control, const char *from)
{
    if (control->events != NULL)
        event_log_add(control->events, "daemon.upgraded", NULL, NULL,
                      json_pack("{s:s, s:s}", "from", from, "version", version_text));
}

/* Returns whether the descriptor was taken. */
static bool take_elder(struct control *control, const struct message_finishing *who, int fd)
{
    if (control->finishing == NULL)
        return false;
    finishing_add(control->finishing, who, fd);
    return true;
}

static void stop(struct control *control)
{
    control->stopping = true;
    if (control->conductor == NULL) {
        end(control, 0);
        return;
    }
    conductor_stop(control->conductor);
    sockets_close_listeners(control->sockets);
}

/* How far an upgrade has come. */
static void upgrade_told(struct control *control, const struct message *message)
{
    const struct message_release *release = message->payload;
    const struct message_sentence *why = message->payload;
    if (message->type == MESSAGE_UPGRADED)
        upgraded(control, release->version);
    else if (control->conductor == NULL)
        return;
    else if (message->type == MESSAGE_UPGRADING)
        conductor_upgrading(control->conductor, release->version);
    else
        conductor_upgrade_refused(control->conductor, why->sentence);
}

static void received(void *arg, const struct message *message)
{
    struct control *control = arg;
    switch (message->type) {
    case MESSAGE_START:
        take_start(control, message->payload);
        break;
    case MESSAGE_STORED:
        if (take_one_stored(control, message->payload, message->fd))
            return;
        break;
    case MESSAGE_RELOAD:
        control->reloads++;
        if (control->conductor != NULL)
            conductor_reload(control->conductor, NULL, NULL, NULL);
        else
            control->reload_due = true;
        break;
    case MESSAGE_REOPEN:
        if (control->conductor != NULL)
            conductor_reopen(control->conductor);
        break;
    case MESSAGE_PROXY_STARTED:
        proxy_started(control, message->payload);
        break;
    case MESSAGE_FINISHING:
        if (take_elder(control, message->payload, message->fd))
            return;
        break;
    case MESSAGE_FINISHED:
        if (control->finishing != NULL)
            finishing_end(control->finishing, message->payload);
        break;
    case MESSAGE_PROXY_ENDED:
        proxy_ended(control, message->payload);
        break;
    case MESSAGE_STOP:
        stop(control);
        break;
    case MESSAGE_MAKE_WAY:
        log_info("another control takes over");
        end(control, 0);
        break;
    case MESSAGE_UPGRADING:
    case MESSAGE_UPGRADED:
    case MESSAGE_UPGRADE_REFUSED:
        upgrade_told(control, message);
        break;
    default:
        log_error("the keeper sent message %d, which control does not know; it is ignored", message->type);
    }
    if (message->fd >= 0)
        close(message->fd);
}

/* While stopping it closes when the proxy has finished. Otherwise the keeper is gone, and with it everything
 * that this process could decide about. */
static void closed(void *arg, const char *why)
{
    struct control *control = arg;
    if (!control->stopping)
        log_error("the channel to the keeper is closed: %s", why);
    end(control, control->stopping ? 0 : 1);
}

static void leave_signals_to_keeper(void)
{
    static const int numbers[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        signal(numbers[i], SIG_IGN);
}

/* What runs in the background dies with the process, and is taken up by the next one. */
static void finish(struct control *control)
{
    if (control->admin != NULL)
        admin_stop(control->admin);
    cgroup_end();
    archive_close(control->archive);
    journal_close(control->journal);
    if (control->events != NULL)
        event_log_close(control->events);
    /* Without a config it was told to stop before its first one was taken up. */
    const struct config *config = control->conductor == NULL ? NULL : conductor_config(control->conductor);
    if (control->stopping && config != NULL)
        sockets_unlink_admin(control->sockets);
}

int control_main(const struct control_options *options)
{
    static const struct channel_callbacks callbacks = {received, closed};
    static struct control control; /* its parts live as long as the process */
    struct err err;
    if (!capabilities_limit(PRIVILEGES_CONTROL, false)) {
        fprintf(stderr, "upswapd: capabilities that are not needed cannot be dropped: %s\n", strerror(errno));
        return 1;
    }
    open_files_raise(); /* each uptest that runs needs some */
    if (!nursery_begin(&err))
        log_warn("%s", err.text);
    if (!tls_memory_open())
        log_debug("keys are in memory that may be written to swap; the proxy has said why");
    leave_signals_to_keeper();
    control.options = options;
    control.lock = control.counters_fd = -1;
    control.loop = loop_new();
    control.keeper = channel_open(control.loop, options->keeper_fd, &callbacks, &control);
    loop_run(control.loop);
    finish(&control);
    return control.exit_status;
}
