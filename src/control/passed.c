/* passed.c: Invariant: what was passed once stays open until the daemon ends, since the service manager holds
 * the address meanwhile, and nobody could bind it anew. */
#include "control/passed.h"

#include "base/mem.h"
#include "control/sockaddr.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One socket. */
struct gift {
    int fd;
    char *name;    /* as the service manager calls it */
    char *address; /* "IP:PORT" or "unix:PATH"; NULL: it has none of these */
};

struct passed {
    struct gift *gifts;
    size_t count;
};

struct passed *passed_new(void)
{
    return mem_zero(1, sizeof(struct passed));
}

static char *address_of(int fd)
{
    struct sockaddr_storage bound = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof bound;
    return getsockname(fd, (struct sockaddr *)&bound, &length) == 0 ? sockaddr_text(&bound) : NULL;
}

void passed_add(struct passed *passed, struct str name, int fd)
{
    passed->gifts = mem_resize(passed->gifts, passed->count + 1, sizeof *passed->gifts);
    passed->gifts[passed->count++] =
        (struct gift){.fd = fd, .name = str_dup(name), .address = address_of(fd)};
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static bool has_option(int fd, int level, int option, int wanted)
{
    int value = 0;
    return getsockopt(fd, level, option, &value, &(socklen_t){sizeof value}) == 0 && value == wanted;
}

static bool is_usable(const struct gift *gift, struct err *err)
{
    if (gift->address == NULL || !has_option(gift->fd, SOL_SOCKET, SO_TYPE, SOCK_STREAM) ||
        !has_option(gift->fd, SOL_SOCKET, SO_ACCEPTCONN, 1))
        return err_set(
            err,
            "descriptor \"%s\" of the service manager is no stream socket that listens; a socket unit "
            "has them by ListenStream=, without Accept=",
            gift->name);
    if (strncmp(gift->address, "[::]:", 5) == 0 && !has_option(gift->fd, IPPROTO_IPV6, IPV6_V6ONLY, 1))
        return err_set(err,
                       "socket %s (\"%s\") of the service manager is for IPv4 too; its unit needs "
                       "BindIPv6Only=ipv6-only, and a ListenStream= for 0.0.0.0",
                       gift->address, gift->name);
    return true;
}

static bool is_at(const struct gift *gift, const struct address *address)
{
    char *text = sockaddr_plain(address);
    bool same = text != NULL && strcmp(gift->address, text) == 0;
    free(text);
    return same;
}

static bool is_wanted(const struct gift *gift, const struct config *config)
{
    const struct config_admin *admin = &config->admin;
    for (size_t i = 0; i < config->listener_count; i++) {
        if (is_at(gift, &config->listeners[i].address))
            return true;
    }
    return (admin->listen != NULL && is_at(gift, &admin->listen_address)) ||
           (strncmp(gift->address, "unix:", 5) == 0 && strcmp(gift->address + 5, admin->socket) == 0);
}

bool passed_check(const struct passed *passed, const struct config *config, struct err *err)
{
    for (size_t i = 0; i < passed->count; i++) {
        const struct gift *gift = &passed->gifts[i];
        if (!is_usable(gift, err))
            return false;
        if (!is_wanted(gift, config))
            return err_set(err,
                           "%s: the service manager passes socket %s (\"%s\"), but no listener has this "
                           "address; add one, or take it out of the socket unit",
                           config->path, gift->address, gift->name);
    }
    return true;
}

static bool has_address(const struct gift *gift, const char *address)
{
    return gift->address != NULL && strcmp(gift->address, address) == 0;
}

bool passed_has(const struct passed *passed, const char *address)
{
    for (size_t i = 0; i < passed->count; i++) {
        if (has_address(&passed->gifts[i], address))
            return true;
    }
    return false;
}

/* Those with this address, up to `most`, in `from`; returns how many there are. */
static unsigned find(const struct passed *passed, const char *address, unsigned most, int *from)
{
    unsigned found = 0;
    for (size_t i = 0; i < passed->count; i++) {
        if (!has_address(&passed->gifts[i], address))
            continue;
        if (found < most)
            from[found] = passed->gifts[i].fd;
        found++;
    }
    return found;
}

bool passed_dup(const struct passed *passed, const char *address, unsigned count, int *fds, struct err *err)
{
    unsigned there = find(passed, address, count, fds), made = 0;
    assert(there > 0);
    if (there > count)
        return err_set(
            err,
            "the service manager passes %u sockets for %s, but %u accept there, one a worker; take "
            "some out of the socket unit",
            there, address, count);
    /* From the end, so that what is read is still a gift's. */
    for (made = 0; made < count; made++) {
        unsigned place = count - 1 - made;
        int fd = fcntl(fds[place % there], F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            break;
        fds[place] = fd;
    }
    if (made == count)
        return true;
    err_set(err, "the socket %s of the service manager cannot be used: %s", address, strerror(errno));
    while (made > 0)
        close(fds[count - made--]);
    return false;
}
