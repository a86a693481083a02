/* sockets_reach: which of our own sockets an address meets: who connects to it comes to one of them, or who
 * listens on it has no room beside one. */
#include "base/mem.h"
#include "base/reach.h"
#include "control/sockaddr.h"
#include "control/sockets_state.h"

#include <stdlib.h>
#include <unistd.h>

/* What the service manager has passed may be of another network, where our addresses are others'. */
static bool is_of_our_network(int fd)
{
    uint64_t own, passed;
    socklen_t length = sizeof own;
    int any = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool known = any >= 0 && getsockopt(any, SOL_SOCKET, SO_NETNS_COOKIE, &own, &length) == 0 &&
                 getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &passed, &length) == 0;
    if (any >= 0)
        close(any);
    return !known || own == passed;
}

static bool arrives(const struct address *target, const char *listening)
{
    struct address address;
    struct err ignored;
    return listening != NULL && address_parse_instance(str_of(listening), &address, &ignored) &&
           reach_arrives(target, &address);
}

/* By the folder's real name, as the target has it. */
static bool arrives_at_path(const struct address *target, const char *path)
{
    char *text = mem_printf("unix:%s", path);
    struct address address;
    struct err ignored;
    bool found = address_parse_instance(str_of(text), &address, &ignored);
    free(text);
    if (!found || target->kind != ADDRESS_UNIX)
        return false;
    struct sockaddr_storage name;
    sockaddr_from(&address, &name);
    text = sockaddr_target(&name);
    found = arrives(target, text);
    free(text);
    return found;
}

static bool arrives_at_fd(const struct address *target, int fd)
{
    char *text = fd < 0 ? NULL : sockaddr_bound(fd);
    bool found = arrives(target, text);
    free(text);
    return found;
}

static const char *reached_api(const struct sockets *sockets, const struct address *target,
                               enum sockets_which which)
{
    const struct door *door = &sockets->admin, *tcp = &sockets->admin_tcp;
    bool door_is_new = door->next_address != NULL && !door_is_there(door, door->next_address);
    bool tcp_is_new = tcp->next_address != NULL && !door_is_there(tcp, tcp->next_address);
    if (door->next_address != NULL && (door_is_new || which != SOCKETS_NEW) &&
        arrives_at_path(target, door->next_address))
        return door->next_address;
    if (tcp->next_address != NULL && (tcp_is_new || which != SOCKETS_NEW) &&
        arrives_at_fd(target, tcp_is_new ? tcp->next_fd : tcp->fd))
        return tcp->next_address;
    if (which != SOCKETS_ALL)
        return NULL;
    if (door->address != NULL && arrives_at_path(target, door->address))
        return door->address;
    return arrives(target, tcp->bound) ? tcp->address : NULL;
}

static bool is_one_of(const struct sockets *sockets, size_t i, enum sockets_which which)
{
    switch (which) {
    case SOCKETS_ALL:
        return true;
    case SOCKETS_WANTED:
        return sockets->list[i].wanted;
    case SOCKETS_NEW:
        break;
    }
    return i >= sockets_count(sockets);
}

const char *sockets_reached(const struct sockets *sockets, const char *target, enum sockets_which which)
{
    struct address address;
    struct err ignored;
    if (!address_parse_instance(str_of(target), &address, &ignored))
        return NULL;
    for (size_t i = 0; i < sockets->count; i++) {
        const struct listening *listening = &sockets->list[i];
        if (is_one_of(sockets, i, which) && arrives(&address, listening->bound) &&
            is_of_our_network(listening->fds[0]))
            return listening->address;
    }
    return reached_api(sockets, &address, which);
}

static bool is_beside(int fd, const struct sockaddr_storage *address)
{
    struct sockaddr_storage held;
    socklen_t length = sizeof held;
    return fd >= 0 && getsockname(fd, (struct sockaddr *)&held, &length) == 0 &&
           sockaddr_overlaps(&held, address) && is_of_our_network(fd);
}

const char *sockets_beside(const struct sockets *sockets, const struct address *address)
{
    struct sockaddr_storage wanted;
    if (address->kind == ADDRESS_NAME || address->port == 0)
        return NULL;
    sockaddr_from(address, &wanted);
    for (size_t i = 0; i < sockets->count; i++) {
        if (is_beside(sockets->list[i].fds[0], &wanted))
            return sockets->list[i].bound;
    }
    return is_beside(sockets->admin_tcp.fd, &wanted) ? sockets->admin_tcp.bound : NULL;
}
