/* sockets: every socket that the daemon listens on: the proxy's, one a worker, and the admin API's. The
 * keeper holds a copy of each, so that they outlive this process. A change is prepared first, then committed
 * as a whole or discarded. */
#pragma once

#include "base/err.h"
#include "config/config.h"
#include "link/channel.h"
#include "link/counters.h"

#include <jansson.h>

struct sockets;

/* For the workers that `counters` have room for. `keeper` (may change its process, not itself) gets what is
 * to be kept. */
struct sockets *sockets_new(struct counters *counters, struct channel *keeper);

/* A descriptor that the keeper holds, by its name: an earlier control stored it, or the service manager
 * passed it. Owned from now on. Returns false if the name is none of a socket. */
bool sockets_restore(struct sockets *sockets, const char *name, int fd);

/* One of the proxy's listening sockets. */
struct listening {
    uint32_t id;
    char *address; /* as configured when it was opened */
    char *bound;   /* as bound: the port is known */
    int *fds;      /* one a worker; -1: missing */
    size_t place;  /* in the list of listeners of the config */
    bool wanted;   /* by the config that is being prepared */
    size_t wanted_place;
};
/* Those of the config in force, without what is only prepared. */
size_t sockets_count(const struct sockets *sockets);
const struct listening *sockets_at(const struct sockets *sockets, size_t index);
/* Has it a socket for each worker? One that was being stored when an earlier control died may not: it is used
 * by nobody, and gone with the next config that is taken up. */
bool sockets_is_complete(const struct sockets *sockets, const struct listening *listening);
/* Does the service manager hold its sockets as well? */
bool sockets_is_passed(const struct sockets *sockets, const struct listening *listening);
int sockets_admin(const struct sockets *sockets);
/* The group of the admin socket's file: the one that the config names, or the one that it got. */
gid_t sockets_admin_group(const struct sockets *sockets);
int sockets_admin_tcp(const struct sockets *sockets);
/* The bound address, or NULL where the API does not listen on TCP. */
const char *sockets_admin_bound(const struct sockets *sockets);

/* The address, as configured, of the one that a connection to `target` (in the registry's form) would come
 * to, so that who sends requests there sends them to itself; NULL: none. */
enum sockets_which {
    SOCKETS_ALL,    /* what is only prepared included */
    SOCKETS_WANTED, /* by the config that is prepared */
    SOCKETS_NEW     /* that only this config brings */
};
const char *sockets_reached(const struct sockets *sockets, const char *target, enum sockets_which which);

/* Opens what the config asks for and is not there; where the service manager has passed a socket with that
 * address, this is the one. False with a sentence "PATH:LINE: ...", and nothing is
 * changed. */
bool sockets_prepare(struct sockets *sockets, const struct config *config, struct err *err) MUST_CHECK;
/* Takes up what was prepared: from now on these are the sockets. What is not wanted is closed, save the
 * sockets of the API: they stay open until sockets_settle. */
void sockets_commit(struct sockets *sockets);
void sockets_settle(struct sockets *sockets);
/* Closes what was prepared. */
void sockets_discard(struct sockets *sockets);
/* The daemon stops: no listener of the proxy's is kept any longer, here or at the keeper. */
void sockets_close_listeners(struct sockets *sockets);
/* The daemon ends: removes the file of the admin socket, unless it is the service manager's. */
void sockets_unlink_admin(const struct sockets *sockets);
