/* sockets.c: a socket is known by the address as it is written in the config, so that one with port 0 stays
 * what it is over reloads and restarts; else by the one that it is bound to. Invariant: between prepare and
 * commit or discard, `opened` counts the listeners at the list's end that are new. */
#include "control/sockets_state.h"

#include "base/log.h"
#include "base/mem.h"
#include "config/places.h"
#include "control/sockaddr.h"
#include "control/socket_file.h"
#include "io/listener.h"
#include "route/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_ADMIN "admin "
#define NAME_ADMIN_TCP "admin-tcp "
#define NAME_LISTENER "listener "
#define NAME_PASSED "passed "
#define FIRST_PASSED_FD 3 /* as sd_listen_fds(3) has it */

struct sockets *sockets_new(struct counters *counters, struct channel *keeper)
{
    struct sockets *sockets = mem_zero(1, sizeof *sockets);
    sockets->counters = counters;
    sockets->workers = counters_workers(counters);
    sockets->keeper = keeper;
    sockets->passed = passed_new();
    sockets->admin = (struct door){.prefix = NAME_ADMIN, .fd = -1, .next_fd = -1, .old_fd = -1};
    sockets->admin_tcp = (struct door){.prefix = NAME_ADMIN_TCP, .fd = -1, .next_fd = -1, .old_fd = -1};
    return sockets;
}

/* ---- the keeper ---- */

/* Has the keeper keep fd under this name; -1: forget it. */
static void PRINTF_LIKE(3, 4) keep(struct sockets *sockets, int fd, const char *format, ...)
{
    struct message_name name = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(name.name, sizeof name.name, format, args);
    va_end(args);
    channel_send(sockets->keeper, fd < 0 ? MESSAGE_DROP : MESSAGE_STORE, &name, sizeof name, fd);
}

static void keep_listening(struct sockets *sockets, const struct listening *listening, bool stays)
{
    for (unsigned worker = 0; worker < sockets->workers; worker++)
        keep(sockets, stays ? listening->fds[worker] : -1, NAME_LISTENER "%" PRIu32 " %s/%u", listening->id,
             listening->address, worker);
}

/* ---- what an earlier control left ---- */

static struct listening *add_listening(struct sockets *sockets, uint32_t id, struct str address)
{
    sockets->list = mem_resize(sockets->list, sockets->count + 1, sizeof *sockets->list);
    struct listening *listening = &sockets->list[sockets->count++];
    *listening = (struct listening){.id = id, .address = str_dup(address)};
    listening->fds = mem_zero(sockets->workers, sizeof *listening->fds);
    for (unsigned i = 0; i < sockets->workers; i++)
        listening->fds[i] = -1;
    return listening;
}

static struct listening *by_id(struct sockets *sockets, uint32_t id)
{
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->list[i].id == id)
            return &sockets->list[i];
    }
    return NULL;
}

/* Of "listener 3 127.0.0.1:0/1". */
static bool restore_listening(struct sockets *sockets, struct str name, int fd)
{
    struct str id_text, worker_text;
    uint64_t id, worker;
    size_t slash = name.n;
    while (slash > 0 && name.p[slash - 1] != '/')
        slash--;
    if (slash == 0)
        return false;
    worker_text = (struct str){name.p + slash, name.n - slash};
    name.n = slash - 1;
    if (!str_split(&name, ' ', &id_text) || name.p == NULL || !str_to_u64(id_text, &id) ||
        !str_to_u64(worker_text, &worker) || id >= SNAPSHOT_LISTENERS_MAX || worker >= sockets->workers)
        return false;
    struct listening *listening = by_id(sockets, (uint32_t)id);
    if (listening == NULL)
        listening = add_listening(sockets, (uint32_t)id, name);
    listening->fds[worker] = fd;
    if (listening->bound == NULL)
        listening->bound = sockaddr_bound(fd);
    return true;
}

static void restore_door(struct door *door, struct str address, int fd)
{
    door->fd = fd;
    door->address = str_dup(address);
    door->bound = sockaddr_bound(fd);
}

static bool take_prefix(struct str *name, const char *prefix)
{
    struct str start = str_of(prefix);
    if (!str_starts_with(*name, start))
        return false;
    *name = (struct str){name->p + start.n, name->n - start.n};
    return true;
}

/* Of "passed 0 upswapd.socket". One without a name is called by the number that it was passed as. */
static bool restore_passed(struct sockets *sockets, struct str name, int fd)
{
    struct str text;
    char number[24];
    uint64_t index = 0;
    if (str_split(&name, ' ', &text) && !str_to_u64(text, &index))
        return false;
    snprintf(number, sizeof number, "%" PRIu64, FIRST_PASSED_FD + index);
    passed_add(sockets->passed, name.p == NULL || name.n == 0 ? str_of(number) : name, fd);
    return true;
}

bool sockets_restore(struct sockets *sockets, const char *text, int fd)
{
    struct str name = str_of(text);
    if (take_prefix(&name, NAME_PASSED))
        return restore_passed(sockets, name, fd);
    if (take_prefix(&name, NAME_LISTENER))
        return restore_listening(sockets, name, fd);
    struct door *door = take_prefix(&name, NAME_ADMIN)       ? &sockets->admin
                        : take_prefix(&name, NAME_ADMIN_TCP) ? &sockets->admin_tcp
                                                             : NULL;
    if (door == NULL || door->fd >= 0)
        return false;
    restore_door(door, name, fd);
    return true;
}

/* ---- what they are ---- */

size_t sockets_count(const struct sockets *sockets)
{
    return sockets->count - sockets->opened;
}

const struct listening *sockets_at(const struct sockets *sockets, size_t index)
{
    return &sockets->list[index];
}

bool sockets_is_passed(const struct sockets *sockets, const struct listening *listening)
{
    return passed_has(sockets->passed, listening->bound);
}

int sockets_admin(const struct sockets *sockets)
{
    return sockets->admin.fd;
}

gid_t sockets_admin_group(const struct sockets *sockets)
{
    struct stat status;
    if (sockets->group != (gid_t)-1)
        return sockets->group;
    return stat(sockets->admin.address, &status) == 0 ? status.st_gid : getegid();
}

int sockets_admin_tcp(const struct sockets *sockets)
{
    return sockets->admin_tcp.fd;
}

const char *sockets_admin_bound(const struct sockets *sockets)
{
    return sockets->admin_tcp.bound;
}

/* ---- changes ---- */

static void close_listening(struct sockets *sockets, struct listening *listening)
{
    for (unsigned i = 0; i < sockets->workers; i++) {
        if (listening->fds[i] >= 0)
            close(listening->fds[i]);
    }
    free(listening->fds);
    free(listening->address);
    free(listening->bound);
}

bool sockets_is_complete(const struct sockets *sockets, const struct listening *listening)
{
    for (unsigned i = 0; i < sockets->workers; i++) {
        if (listening->fds[i] < 0)
            return false;
    }
    return true;
}

/* The one with this address, as it is written or as it is bound (the other is NULL), that no line of the
 * config has taken yet. One that an earlier control could not store whole is opened anew. */
static struct listening *find_free(struct sockets *sockets, const char *written, const char *bound)
{
    for (size_t i = 0; i < sockets->count; i++) {
        struct listening *listening = &sockets->list[i];
        bool is_it =
            written != NULL ? strcmp(listening->address, written) == 0 : str_is_same(listening->bound, bound);
        if (is_it && !listening->wanted && sockets_is_complete(sockets, listening))
            return listening;
    }
    return NULL;
}

static void take_there(struct listening *there, size_t place)
{
    there->wanted = true;
    there->wanted_place = place;
}

static bool is_taken(const struct sockets *sockets, size_t place)
{
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->list[i].wanted && sockets->list[i].wanted_place == place)
            return true;
    }
    return false;
}

/* What an earlier listener of this id has left in the counters, that would be taken for the next one's. */
enum trace { TRACE_NONE, TRACE_SUMS, TRACE_CONNECTIONS, TRACES };

static enum trace trace_of(const struct counters_worker *all, uint32_t id)
{
    if (all->connections[id] > 0)
        return TRACE_CONNECTIONS;
    for (unsigned result = 0; result < COUNTERS_HANDSHAKES; result++) {
        if (all->handshakes[id][result] > 0)
            return TRACE_SUMS;
    }
    return TRACE_NONE;
}

/* The next one that has the least of that. */
static bool free_id(struct sockets *sockets, uint32_t *id)
{
    struct counters_worker all;
    unsigned least = TRACES;
    counters_worker_sum(sockets->counters, &all);
    for (uint32_t i = 0; i < SNAPSHOT_LISTENERS_MAX && least != TRACE_NONE; i++) {
        uint32_t candidate = (sockets->next_id + i) % SNAPSHOT_LISTENERS_MAX;
        unsigned trace = trace_of(&all, candidate);
        if (trace < least && by_id(sockets, candidate) == NULL) {
            *id = candidate;
            least = trace;
        }
    }
    if (least != TRACES)
        sockets->next_id = *id + 1;
    return least != TRACES;
}

/* To share the port with the one that goes would leave a moment in which a handshake that it has begun ends
 * nowhere, so it is for whoever writes the config to say when. */
static bool open_own(const struct sockets *sockets, struct address *address, unsigned count, int *fds,
                     struct err *err)
{
    char text[ADDRESS_TEXT_MAX];
    const char *own = sockets_beside(sockets, address);
    if (own == NULL)
        return listener_open(address, count, fds, err);
    return err_set(err,
                   "cannot listen on %s while upswapd itself listens on %s: take that one away by a reload "
                   "first and add this one by the next, or restart upswapd",
                   address_text(address, text), own);
}

/* One that was passed goes before one of our own, which could not be bound beside it. */
static bool open_tcp(const struct sockets *sockets, struct address *address, unsigned count, int *fds,
                     struct err *err)
{
    char *text = sockaddr_plain(address);
    bool passed = text != NULL && passed_has(sockets->passed, text);
    bool ok = passed ? passed_dup(sockets->passed, text, count, fds, err)
                     : open_own(sockets, address, count, fds, err);
    free(text);
    return ok;
}

static bool open_listening(struct sockets *sockets, const struct config *config, size_t place,
                           struct err *err)
{
    const struct config_listener *wanted = &config->listeners[place];
    uint32_t id = 0;
    struct address address = wanted->address;
    int *fds = mem_zero(sockets->workers, sizeof *fds);
    bool ok = free_id(sockets, &id) ||
              err_set(err, "there are %d listeners already; remove some first", SNAPSHOT_LISTENERS_MAX);
    if (ok && open_tcp(sockets, &address, sockets->workers, fds, err)) {
        struct listening *listening = add_listening(sockets, id, str_of(wanted->text));
        memcpy(listening->fds, fds, sockets->workers * sizeof *fds);
        listening->bound = sockaddr_bound(fds[0]);
        take_there(listening, place);
        sockets->opened++;
    } else {
        ok = false;
    }
    free(fds);
    return ok;
}

/* A line takes what is there by its own words before another takes it by the port that it got. */
static void take_all_there(struct sockets *sockets, const struct config *config)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        struct listening *there = find_free(sockets, config->listeners[i].text, NULL);
        if (there != NULL)
            take_there(there, i);
    }
    for (size_t i = 0; i < config->listener_count; i++) {
        char *bound = sockaddr_plain(&config->listeners[i].address);
        struct listening *there =
            bound == NULL || is_taken(sockets, i) ? NULL : find_free(sockets, NULL, bound);
        free(bound);
        if (there != NULL)
            take_there(there, i);
    }
}

static bool prepare_listeners(struct sockets *sockets, const struct config *config, struct err *err)
{
    take_all_there(sockets, config);
    for (size_t i = 0; i < config->listener_count; i++) {
        if (!is_taken(sockets, i) && !open_listening(sockets, config, i, err))
            return err_prefix(err, "%s:%u", config->path, config->listeners[i].line);
    }
    return true;
}

static bool is_passed_path(const struct sockets *sockets, const char *path)
{
    char *text = mem_printf("unix:%s", path);
    bool passed = passed_has(sockets->passed, text);
    free(text);
    return passed;
}

/* One that was passed has the group that the service manager gave it, where we may not change that. */
static bool find_group(struct sockets *sockets, const struct config_admin *admin, struct err *err)
{
    sockets->group = (gid_t)-1;
    if (admin->group == NULL)
        return true;
    const struct group *group = getgrnam(admin->group);
    if (group == NULL)
        return err_set(err, "there is no group \"%s\"; add it, or name another one", admin->group);
    if (!is_passed_path(sockets, admin->socket) && !socket_file_may_have(admin->socket, group->gr_gid))
        return err_set(
            err,
            "the daemon's user is not in group \"%s\", so it may not give the socket to that; add "
            "the user to it (SupplementaryGroups= of the unit) and restart, or take admin.group out",
            admin->group);
    sockets->group = group->gr_gid;
    return true;
}

/* Returns it, or -1. */
static int open_unix(const struct sockets *sockets, const char *path, struct err *err)
{
    int fd = -1;
    char *text = mem_printf("unix:%s", path);
    if (!passed_has(sockets->passed, text))
        fd = listener_open_unix(path, sockets->mode, sockets->group, err);
    else if (!passed_dup(sockets->passed, text, 1, &fd, err))
        fd = -1;
    free(text);
    return fd;
}

/* Somebody may have removed the file of our own, which nobody can connect to then. */
static bool is_reachable(const struct sockets *sockets, const char *path)
{
    return door_is_there(&sockets->admin, path) &&
           (is_passed_path(sockets, path) || listener_is_answered(path));
}

static bool prepare_admin(struct sockets *sockets, const struct config_admin *admin, struct err *err)
{
    struct door *door = &sockets->admin;
    sockets->mode = (mode_t)admin->mode;
    door->next_address = mem_dup(admin->socket);
    if (is_reachable(sockets, admin->socket))
        return true;
    door->next_fd = open_unix(sockets, admin->socket, err);
    return door->next_fd >= 0;
}

static bool prepare_admin_tcp(struct sockets *sockets, const struct config_admin *admin, struct err *err)
{
    struct door *door = &sockets->admin_tcp;
    struct address address = admin->listen_address;
    if (admin->listen == NULL)
        return true;
    door->next_address = mem_dup(admin->listen);
    return door_is_there(door, admin->listen) || open_tcp(sockets, &address, 1, &door->next_fd, err);
}

/* Puts the place of a key before the sentence; one that is not written has no line. Returns false. */
static bool at(const struct config *config, const void *field, const char *key, struct err *err)
{
    unsigned line = places_line(config->places, field, 0);
    err_prefix(err, "%s", key);
    return line == 0 ? err_prefix(err, "%s", config->path) : err_prefix(err, "%s:%u", config->path, line);
}

/* Was its group given to the socket already? The first config of a control that takes the place of another is
 * the one that was in force. */
static bool had_group(const struct sockets *sockets, const struct config_admin *admin)
{
    return door_is_there(&sockets->admin, admin->socket) &&
           (!sockets->is_committed || str_is_same(sockets->group_name, admin->group));
}

/* What was in force already is no reason to refuse a config, nor to end: without its file the socket is
 * reached by nobody, yet all else goes on. */
static bool prepare_local(struct sockets *sockets, const struct config *config, struct err *err)
{
    const struct config_admin *admin = &config->admin;
    sockets->is_cut_off = false;
    sockets->next_group_name = admin->group == NULL ? NULL : mem_dup(admin->group);
    if (!find_group(sockets, admin, err)) {
        at(config, &admin->group, "admin.group", err);
        if (!had_group(sockets, admin))
            return false;
        log_warn("%s; until then the admin socket has the group that it has, or the daemon's own", err->text);
    }
    if (!prepare_admin(sockets, admin, err)) {
        at(config, &admin->socket, "admin.socket", err);
        if (!door_is_there(&sockets->admin, admin->socket))
            return false;
        log_warn("%s; nobody reaches the admin socket until that is done and the daemon is told to reload "
                 "(SIGHUP)",
                 err->text);
        sockets->is_cut_off = true;
    }
    return true;
}

static bool prepare_doors(struct sockets *sockets, const struct config *config, struct err *err)
{
    const struct config_admin *admin = &config->admin;
    return prepare_local(sockets, config, err) &&
           (prepare_admin_tcp(sockets, admin, err) || at(config, &admin->listen, "admin.listen", err));
}

bool sockets_prepare(struct sockets *sockets, const struct config *config, struct err *err)
{
    bool ok = passed_check(sockets->passed, config, err) && prepare_listeners(sockets, config, err) &&
              prepare_doors(sockets, config, err);
    if (!ok)
        sockets_discard(sockets);
    return ok;
}

static void commit_door(struct sockets *sockets, struct door *door)
{
    bool stays = door->next_address != NULL && door->next_fd < 0;
    if (!stays && door->fd >= 0) {
        keep(sockets, -1, "%s%s", door->prefix, door->address);
        door->old_fd = door->fd;
        free(door->address);
        free(door->bound);
        door->fd = -1;
        door->address = door->bound = NULL;
    }
    if (!stays && door->next_address != NULL) {
        restore_door(door, str_of(door->next_address), door->next_fd);
        keep(sockets, door->fd, "%s%s", door->prefix, door->address);
    }
    door->next_fd = -1;
    free(door->next_address);
    door->next_address = NULL;
}

/* The socket stays while its file's mode and group may have changed; and to one that was passed they were not
 * given yet. */
static void commit_admin(struct sockets *sockets)
{
    char *old = mem_dup(sockets->admin.address);
    if (sockets->admin.next_fd >= 0 && str_is_same(old, sockets->admin.next_address))
        log_warn("nobody could reach the admin socket %s any more; it is made anew", old);
    commit_door(sockets, &sockets->admin);
    const char *path = sockets->admin.address;
    assert(path != NULL); /* every config has one */
    if (old != NULL && strcmp(old, path) != 0)
        unlink(old);
    else if ((old != NULL || is_passed_path(sockets, path)) && !sockets->is_cut_off &&
             (chmod(path, sockets->mode) != 0 || chown(path, (uid_t)-1, sockets->group) != 0))
        log_warn("%s: mode or group cannot be changed: %s", path, strerror(errno));
    free(old);
    free(sockets->group_name);
    sockets->group_name = sockets->next_group_name;
    sockets->next_group_name = NULL;
    sockets->is_committed = true;
}

void sockets_commit(struct sockets *sockets)
{
    size_t kept = 0, first_new = sockets->count - sockets->opened;
    for (size_t i = 0; i < sockets->count; i++) {
        struct listening *listening = &sockets->list[i];
        if (i >= first_new) {
            log_info("listening on %s", listening->bound);
            keep_listening(sockets, listening, true);
        } else if (!listening->wanted) {
            log_info("no longer listening on %s", listening->bound);
            keep_listening(sockets, listening, false);
            close_listening(sockets, listening);
            continue;
        }
        listening->wanted = false;
        listening->place = listening->wanted_place;
        sockets->list[kept++] = *listening;
    }
    sockets->count = kept;
    sockets->opened = 0;
    commit_admin(sockets);
    commit_door(sockets, &sockets->admin_tcp);
}

static void settle_door(struct door *door)
{
    if (door->old_fd >= 0)
        close(door->old_fd);
    door->old_fd = -1;
}

void sockets_settle(struct sockets *sockets)
{
    settle_door(&sockets->admin);
    settle_door(&sockets->admin_tcp);
}

static void discard_door(struct door *door)
{
    if (door->next_fd >= 0)
        close(door->next_fd);
    door->next_fd = -1;
    free(door->next_address);
    door->next_address = NULL;
}

void sockets_discard(struct sockets *sockets)
{
    if (sockets->admin.next_fd >= 0 && !is_passed_path(sockets, sockets->admin.next_address))
        unlink(sockets->admin.next_address);
    discard_door(&sockets->admin);
    discard_door(&sockets->admin_tcp);
    free(sockets->next_group_name);
    sockets->next_group_name = NULL;
    while (sockets->opened > 0) {
        close_listening(sockets, &sockets->list[--sockets->count]);
        sockets->opened--;
    }
    for (size_t i = 0; i < sockets->count; i++)
        sockets->list[i].wanted = false;
}

void sockets_close_listeners(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++) {
        keep_listening(sockets, &sockets->list[i], false);
        close_listening(sockets, &sockets->list[i]);
    }
    sockets->count = sockets->opened = 0; /* a reload may be under way */
}

void sockets_unlink_admin(const struct sockets *sockets)
{
    if (sockets->admin.address != NULL && !is_passed_path(sockets, sockets->admin.address))
        unlink(sockets->admin.address);
}
