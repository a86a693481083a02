/* Which sockets accept. Invariant: an entry accepts only while the present world names it, the crowd has
 * room, and the worker does not stop. */
#include "plane/listeners.h"

#include "base/log.h"
#include "base/mem.h"
#include "plane/client.h"
#include "plane/worker.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CROWDED_MS 20 /* until a full house is looked at again */

struct listeners {
    struct worker *worker;
    struct listener_entry at[SNAPSHOT_LISTENERS_MAX];
    bool crowded;
    struct deadline again;
};

static void accepted(void *arg, int fd, const struct sockaddr_storage *peer);

static void start(struct listener_entry *entry)
{
    if (entry->fd >= 0 && entry->listener == NULL && !entry->all->crowded)
        entry->listener = listener_new(entry->all->worker->loop, entry->fd, accepted, entry);
}

static void stop(struct listener_entry *entry)
{
    if (entry->listener != NULL)
        listener_free(entry->listener);
    entry->listener = NULL;
}

static void drop(struct listener_entry *entry)
{
    stop(entry);
    if (entry->fd >= 0)
        close(entry->fd);
    entry->fd = -1;
}

/* Does the present world name it? */
static bool is_named(const struct snapshot *snapshot, uint32_t id)
{
    for (size_t i = 0; snapshot != NULL && i < snapshot_listener_count(snapshot); i++) {
        if (snapshot_listener_id(snapshot, i) == id)
            return true;
    }
    return false;
}

static void start_named(struct listeners *all)
{
    for (uint32_t id = 0; id < SNAPSHOT_LISTENERS_MAX; id++) {
        if (is_named(all->worker->snapshot, id))
            start(&all->at[id]);
    }
}

static bool has_room(const struct worker *worker)
{
    return crowd_size(worker->options.crowd) < worker->connections_max;
}

static void look_again(struct deadline *deadline)
{
    struct listeners *all = mem_container(deadline, struct listeners, again);
    if (all->worker->stopping)
        return;
    if (!has_room(all->worker)) {
        deadline_set(&all->again, CROWDED_MS);
        return;
    }
    all->crowded = false;
    start_named(all);
}

/* What the kernel holds meanwhile waits in its backlog. */
static void pause_all(struct listeners *all)
{
    all->crowded = true;
    for (uint32_t id = 0; id < SNAPSHOT_LISTENERS_MAX; id++)
        stop(&all->at[id]);
    deadline_set(&all->again, CROWDED_MS);
}

static void accepted(void *arg, int fd, const struct sockaddr_storage *peer)
{
    struct listener_entry *entry = arg;
    struct worker *worker = entry->all->worker;
    struct crowd *crowd = worker->options.crowd;
    uint32_t most = worker->settings->connections_per_address;
    uint8_t address[16];
    peer_address(peer, address);
    counters_add(&worker->cells->accepted[entry->id], 1);
    if (most != 0 && !crowd_admit(crowd, address, most)) {
        close(fd);
        return;
    }
    crowd_enter(crowd);
    client_accept(worker, entry, fd, address, most != 0);
    if (!has_room(worker) && !worker->stopping)
        pause_all(entry->all);
}

struct listeners *listeners_new(struct worker *worker)
{
    struct listeners *all = mem_zero(1, sizeof *all);
    all->worker = worker;
    deadline_init(&all->again, worker->loop, look_again);
    for (uint32_t id = 0; id < SNAPSHOT_LISTENERS_MAX; id++)
        all->at[id] = (struct listener_entry){.all = all, .id = id, .fd = -1};
    return all;
}

void listeners_free(struct listeners *all)
{
    deadline_clear(&all->again);
    for (uint32_t id = 0; id < SNAPSHOT_LISTENERS_MAX; id++)
        drop(&all->at[id]);
    free(all);
}

static void learn_port(struct listener_entry *entry)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } name = {.room = {.ss_family = AF_UNSPEC}};
    getsockname(entry->fd, &name.any, &(socklen_t){sizeof name});
    in_port_t port = name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port;
    entry->port_length = (uint8_t)snprintf(entry->port, sizeof entry->port, "%u", ntohs(port));
}

void listeners_add(struct listeners *all, uint32_t id, int fd)
{
    if (id >= SNAPSHOT_LISTENERS_MAX) {
        log_error("listener %u is not used: ids end at %d", id, SNAPSHOT_LISTENERS_MAX - 1);
        close(fd);
        return;
    }
    struct listener_entry *entry = &all->at[id];
    if (all->worker->stopping) {
        close(fd);
        return;
    }
    drop(entry);
    entry->fd = fd;
    learn_port(entry);
    if (is_named(all->worker->snapshot, id))
        start(entry);
}

void listeners_turn(struct listeners *all, const struct snapshot *snapshot)
{
    if (all->worker->stopping)
        return;
    for (uint32_t id = 0; id < SNAPSHOT_LISTENERS_MAX; id++) {
        if (!is_named(snapshot, id))
            drop(&all->at[id]);
    }
    start_named(all);
}

/* Shutting a socket down ends listening for every process that holds it; whoever has shaken hands with the
 * kernel before is taken. */
void listeners_stop(struct listeners *all)
{
    deadline_clear(&all->again);
    for (uint32_t id = 0; id < SNAPSHOT_LISTENERS_MAX; id++) {
        struct listener_entry *entry = &all->at[id];
        if (entry->listener != NULL)
            listener_drain(entry->listener, LISTENER_BACKLOG);
        if (entry->fd >= 0)
            shutdown(entry->fd, SHUT_RDWR);
        drop(entry);
    }
}

void listeners_wake(struct listeners *all, uint32_t id)
{
    if (all->at[id].listener != NULL)
        listener_wake(all->at[id].listener);
}
