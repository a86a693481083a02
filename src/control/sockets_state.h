/* sockets_state: the inside of sockets, for control/sockets.c and control/sockets_reach.c. */
#pragma once

#include "control/passed.h"
#include "control/sockets.h"

#include <string.h>

/* One socket of the API. */
struct door {
    const char *prefix; /* of its name at the keeper; the address follows */
    int fd, next_fd;    /* -1: none */
    int old_fd;         /* replaced, and still looked at by the API's server; -1: none */
    char *address;      /* path, or HOST:PORT as configured; NULL: none */
    char *next_address; /* what is prepared */
    char *bound;        /* of a TCP socket */
};

struct sockets {
    struct counters *counters; /* borrowed */
    unsigned workers;
    struct channel *keeper;
    struct passed *passed;
    struct listening *list;
    size_t count;
    size_t opened;
    uint32_t next_id; /* ids go round, so that one is not soon used again */
    struct door admin, admin_tcp;
    mode_t mode;                        /* of the Unix socket's file, as prepared */
    gid_t group;                        /* -1: as it is */
    char *group_name, *next_group_name; /* as configured; NULL: none */
    bool is_committed;                  /* a config was taken up by this process */
    bool is_cut_off;                    /* prepared: nobody reaches the Unix socket, and it stays so */
};

/* Is its socket the one with this address, as configured? */
static inline bool door_is_there(const struct door *door, const char *address)
{
    return door->fd >= 0 && strcmp(door->address, address) == 0;
}

/* What we listen on that leaves no room for this address, as bound; NULL: nothing. */
const char *sockets_beside(const struct sockets *sockets, const struct address *address);
