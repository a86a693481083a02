#include "control/admin_peer.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* By the groups besides its own, of which there may be thousands. */
static bool is_member(int fd, gid_t group)
{
    gid_t none;
    socklen_t size = 0; /* asks how much there is */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, &none, &size) == 0 || errno != ERANGE)
        return false;
    gid_t *groups = mem_alloc(size);
    bool found = false;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0) {
        for (size_t i = 0; i < size / sizeof *groups; i++)
            found |= groups[i] == group;
    }
    free(groups);
    return found;
}

void admin_peer_ask(struct admin_peer *peer, int fd, const struct admin_owners *owners)
{
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    *peer = (struct admin_peer){.known = false};
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 || credentials.uid == (uid_t)-1)
        return;
    *peer = (struct admin_peer){.known = true, .pid = credentials.pid, .uid = credentials.uid};
    peer->let_in = peer->uid == 0 || peer->uid == owners->user || credentials.gid == owners->group ||
                   is_member(fd, owners->group);
}

void admin_peer_name(const struct admin_peer *peer, const char *name, struct asker *asker)
{
    *asker = (struct asker){.uid = -1, .user = "unknown"};
    if (!peer->known)
        return;
    asker->uid = (int64_t)peer->uid;
    asker->pid = peer->pid;
    snprintf(asker->user, sizeof asker->user, "%s", name);
}
