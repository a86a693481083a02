/* listeners: a worker's listening sockets by id: which of them accept is for the present world to say. */
#pragma once

#include "io/listener.h"
#include "route/snapshot.h"

struct worker;
struct listeners;

struct listener_entry {
    struct listeners *all;
    uint32_t id;
    int fd;                    /* owned; -1: none */
    uint64_t socket;           /* inode of the present or last one; 0: there was none */
    bool passed;               /* the service manager holds its socket as well */
    struct listener *listener; /* NULL: does not accept */
    char port[6];
    uint8_t port_length;
    uint16_t port_number;
    uint8_t address[16]; /* IPv4-mapped */
    bool any;            /* it is the unspecified one: each connection has an address of its own */
};

struct listeners *listeners_new(struct worker *worker);
void listeners_free(struct listeners *listeners);

/* A descriptor for a listener; owned from now on. It takes the place of an earlier one, whose backlog it has
 * where both are of one socket. `passed`: the service manager holds the socket as well. */
void listeners_add(struct listeners *listeners, uint32_t id, int fd, bool passed);
/* A new world: starts the listeners that it names, closes the others. */
void listeners_turn(struct listeners *listeners, const struct snapshot *snapshot);
/* Takes what the kernel still holds, and closes the sockets for all processes; what was passed is left to the
 * service manager. */
void listeners_stop(struct listeners *listeners);
/* Accepts no more; what the kernel holds is for others who accept on the same sockets. */
void listeners_leave(struct listeners *listeners);
/* A descriptor was given back. */
void listeners_wake(struct listeners *listeners, uint32_t id);
