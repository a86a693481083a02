#include "control/sockaddr.h"

#include "base/file.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static socklen_t from_path(const char *path, struct sockaddr_un *un)
{
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, path); /* NOLINT: address_parse_instance has bounded it */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
}

socklen_t sockaddr_from(const struct address *parsed, struct sockaddr_storage *address)
{
    struct sockaddr_in *in = (struct sockaddr_in *)address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;
    *address = (struct sockaddr_storage){0};
    if (parsed->kind == ADDRESS_UNIX)
        return from_path(address_path(parsed), (struct sockaddr_un *)address);
    if (parsed->kind == ADDRESS_IPV4 && inet_pton(AF_INET, parsed->host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(parsed->port);
        return sizeof *in;
    }
    if (parsed->kind != ADDRESS_IPV6 || inet_pton(AF_INET6, parsed->host, &in6->sin6_addr) != 1)
        abort();
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(parsed->port);
    return sizeof *in6;
}

socklen_t sockaddr_of(const char *resolved, struct sockaddr_storage *address)
{
    struct address parsed;
    struct err ignored;
    if (!address_parse_instance(str_of(resolved), &parsed, &ignored))
        abort();
    return sockaddr_from(&parsed, address);
}

char *sockaddr_text(const struct sockaddr_storage *storage)
{
    struct address address = {.kind = ADDRESS_IPV4};
    char text[ADDRESS_TEXT_MAX];
    if (storage->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)storage;
        inet_ntop(AF_INET, &in->sin_addr, address.host, sizeof address.host);
        address.port = ntohs(in->sin_port);
    } else if (storage->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)storage;
        address.kind = ADDRESS_IPV6;
        inet_ntop(AF_INET6, &in6->sin6_addr, address.host, sizeof address.host);
        address.port = ntohs(in6->sin6_port);
    } else if (storage->ss_family == AF_UNIX) {
        return mem_printf("unix:%s", ((const struct sockaddr_un *)storage)->sun_path);
    } else {
        return NULL;
    }
    return mem_dup(address_text(&address, text));
}

char *sockaddr_bound(int fd)
{
    struct sockaddr_storage bound = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof bound;
    if (getsockname(fd, (struct sockaddr *)&bound, &length) != 0 || bound.ss_family == AF_UNIX)
        return NULL;
    return sockaddr_text(&bound);
}

/* One of IPv4 in the clothes of IPv6 becomes that one. */
static void unmap(struct sockaddr_storage *storage)
{
    const struct sockaddr_in6 in6 = *(const struct sockaddr_in6 *)storage;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = in6.sin6_port};
    if (storage->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
        return;
    memcpy(&in.sin_addr, in6.sin6_addr.s6_addr + 12, sizeof in.sin_addr);
    memcpy(storage, &in, sizeof in);
}

/* Who connects to the address that stands for all comes to its own machine. */
static void bring_home(struct sockaddr_storage *storage)
{
    struct sockaddr_in *in = (struct sockaddr_in *)storage;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)storage;
    if (storage->ss_family == AF_INET && in->sin_addr.s_addr == htonl(INADDR_ANY))
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (storage->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
        in6->sin6_addr = in6addr_loopback;
}

/* A folder may have other names by links, as /run is /var/run; the file in it need not be there yet. What
 * cannot be written as an address stays as it is. */
static char *target_of_path(const char *path)
{
    struct address parsed;
    struct err ignored;
    char *real = file_in_real_folder(path);
    char *target = real == NULL ? NULL : mem_printf("unix:%s", real);
    free(real);
    if (target != NULL && address_parse_instance(str_of(target), &parsed, &ignored))
        return target;
    free(target);
    return mem_printf("unix:%s", path);
}

char *sockaddr_target(const struct sockaddr_storage *address)
{
    struct sockaddr_storage same = *address;
    if (address->ss_family == AF_UNIX)
        return target_of_path(((const struct sockaddr_un *)address)->sun_path);
    unmap(&same);
    bring_home(&same);
    return sockaddr_text(&same);
}

char *sockaddr_plain(const struct address *parsed)
{
    struct sockaddr_storage address;
    if (parsed->kind == ADDRESS_NAME)
        return NULL;
    sockaddr_from(parsed, &address);
    return sockaddr_text(&address);
}

char *sockaddr_behind_name(const char *written, const char *resolved)
{
    struct address address;
    struct err ignored;
    bool is_name =
        address_parse_instance(str_of(written), &address, &ignored) && address.kind == ADDRESS_NAME;
    return is_name ? mem_printf(" (%s)", resolved) : mem_dup("");
}

static bool overlaps_v4(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
    return a->sin_port == b->sin_port &&
           (a->sin_addr.s_addr == b->sin_addr.s_addr || a->sin_addr.s_addr == htonl(INADDR_ANY) ||
            b->sin_addr.s_addr == htonl(INADDR_ANY));
}

static bool overlaps_v6(const struct sockaddr_in6 *a, const struct sockaddr_in6 *b)
{
    return a->sin6_port == b->sin6_port &&
           (IN6_ARE_ADDR_EQUAL(&a->sin6_addr, &b->sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&a->sin6_addr) ||
            IN6_IS_ADDR_UNSPECIFIED(&b->sin6_addr));
}

bool sockaddr_overlaps(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return overlaps_v4((const struct sockaddr_in *)a, (const struct sockaddr_in *)b);
    return a->ss_family == AF_INET6 &&
           overlaps_v6((const struct sockaddr_in6 *)a, (const struct sockaddr_in6 *)b);
}
