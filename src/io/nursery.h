/* nursery: the process that forks wardens. What a fork costs is the memory of who forks, so this one is
 * forked while we are small, does nothing else, and wardens are kept for the next program. Inside the room io
 * only, but for nursery_begin.
 *
 * It dies with us: its socket ends. When it has died, or does not answer, another one is forked, from what we
 * are by then. */
#pragma once

#include "base/err.h"

#include <stddef.h>

/* Forks it. To be called once, early: while this process is small and has one thread. Without, or when it
 * fails, the first program does it. */
bool nursery_begin(struct err *err);

/* A warden (warden.h) that runs nothing. */
struct nursling {
    int socket; /* SOCK_SEQPACKET, not non-blocking */
    int pidfd;
};

/* One that is kept, else a new one, for which it waits: some ms, and 5 s twice at most. One that is kept may
 * have been killed: then its socket has ended. It has been told to go on, should it have been stopped. False
 * with errno, and no descriptors. */
bool nursery_take(struct nursling *warden);

/* It is done with a program, and may be used again. */
void nursery_keep(const struct nursling *warden);

/* It is not used any more: when what it runs is killed, it ends. */
void nursery_drop(struct nursling *warden);

/* How many are kept; for tests. */
size_t nursery_kept(void);

enum { NURSERY_KEEPS = 16 }; /* more than that are not kept */

/* What this process is called from now on; for the nursery and its wardens. */
void nursery_name(const char *name);
