/* Which sockets accept. Invariant: an entry accepts only while the present world names it, the crowd has
 * room, and the worker does not stop. */
#include "plane/listeners.h"

#include "base/address.h"
#include "base/log.h"
#include "base/mem.h"
#include "plane/arrival.h"
#include "plane/client.h"
#include "plane/contexts.h"
#include "plane/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CROWDED_MS 20 /* until a full house is looked at again */

struct listeners {
    struct worker *worker;
    struct listener_entry at[SNAPSHOT_LISTENERS_MAX];
    bool crowded;
    struct deadline again;
};

static void accepted(void *arg, int fd, const struct sockaddr_storage *peer);

/* Without its certificates a listener that speaks TLS does not accept: nothing of it may go in plain text. */
static void start(struct listener_entry *entry)
{
    struct worker *worker = entry->all->worker;
    if (snapshot_door(worker->snapshot, entry->id)->tls &&
        contexts_listener(worker->contexts, entry->id) == NULL) {
        log_error("listener %u does not accept: its certificates have not come", entry->id);
        return;
    }
    if (entry->fd < 0 || entry->listener != NULL || entry->all->crowded)
        return;
    entry->listener = listener_new(entry->all->worker->loop, entry->fd, accepted, entry);
    listener_answers_first(entry->listener);
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
    return snapshot != NULL && snapshot_door(snapshot, id) != NULL;
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

/* A proxy's connection is counted by the address of the client whom it speaks for, when it has told (see
 * client.c). */
static void accepted(void *arg, int fd, const struct sockaddr_storage *peer)
{
    struct listener_entry *entry = arg;
    struct worker *worker = entry->all->worker;
    struct crowd *crowd = worker->options.crowd;
    uint32_t most = worker->settings->connections_per_address;
    struct client_arrival arrival = {.entry = entry, .fd = fd};
    arrival.port = peer_address(peer, arrival.address);
    arrival.proxied = snapshot_expects_proxy(worker->snapshot, entry->id, arrival.address);
    arrival.counted = most != 0 && !arrival.proxied;
    counters_add(&worker->cells->accepted[entry->id], 1);
    if (arrival.counted && !crowd_admit(crowd, arrival.address, most)) {
        close(fd);
        return;
    }
    crowd_enter(crowd);
    client_accept(worker, &arrival);
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

static void learn_address(struct listener_entry *entry)
{
    static const uint8_t none[16], none4[4];
    uint8_t mapped_none[16];
    address_map(none4, mapped_none);
    entry->port_number = peer_local(entry->fd, entry->address);
    entry->any = memcmp(entry->address, none, 16) == 0 || memcmp(entry->address, mapped_none, 16) == 0;
    entry->port_length = (uint8_t)snprintf(entry->port, sizeof entry->port, "%u", entry->port_number);
}

/* Of what is named no more. Its id may be given to another listener, whom they did not come to. */
static void orphan_clients(struct worker *worker, const bool gone[SNAPSHOT_LISTENERS_MAX])
{
    struct client *client, *next;
    for (client = TAILQ_FIRST(&worker->clients); client != NULL; client = next) {
        next = TAILQ_NEXT(client, link);
        if (gone[client->peer.listener])
            client_orphan(client);
    }
}

/* Where an id is given to another socket, the world between, which did not name it, may have been missed. */
static void learn_socket(struct listener_entry *entry)
{
    bool gone[SNAPSHOT_LISTENERS_MAX] = {false};
    struct stat found;
    uint64_t before = entry->socket;
    entry->socket = fstat(entry->fd, &found) == 0 ? found.st_ino : 0;
    gone[entry->id] = before != 0 && before != entry->socket;
    if (gone[entry->id])
        orphan_clients(entry->all->worker, gone);
}

void listeners_add(struct listeners *all, uint32_t id, int fd, bool passed)
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
    entry->passed = passed;
    learn_socket(entry);
    learn_address(entry);
    if (is_named(all->worker->snapshot, id))
        start(entry);
}

void listeners_turn(struct listeners *all, const struct snapshot *snapshot)
{
    if (all->worker->stopping)
        return;
    bool gone[SNAPSHOT_LISTENERS_MAX] = {false}, any = false;
    for (uint32_t id = 0; id < SNAPSHOT_LISTENERS_MAX; id++) {
        gone[id] = all->at[id].fd >= 0 && !is_named(snapshot, id);
        any |= gone[id];
        if (gone[id])
            drop(&all->at[id]);
    }
    if (any)
        orphan_clients(all->worker, gone);
    start_named(all);
}

/* Shutting a socket down ends listening for every process that holds it; whoever has shaken hands with the
 * kernel before is taken. Who comes to a socket that was passed waits for the next daemon. */
void listeners_stop(struct listeners *all)
{
    deadline_clear(&all->again);
    for (uint32_t id = 0; id < SNAPSHOT_LISTENERS_MAX; id++) {
        struct listener_entry *entry = &all->at[id];
        if (entry->listener != NULL)
            listener_drain(entry->listener, LISTENER_BACKLOG);
        if (entry->fd >= 0 && !entry->passed)
            shutdown(entry->fd, SHUT_RDWR);
        drop(entry);
    }
}

void listeners_leave(struct listeners *all)
{
    deadline_clear(&all->again);
    for (uint32_t id = 0; id < SNAPSHOT_LISTENERS_MAX; id++)
        drop(&all->at[id]);
}

void listeners_wake(struct listeners *all, uint32_t id)
{
    if (all->at[id].listener != NULL)
        listener_wake(all->at[id].listener);
}
