#include "control/sockaddr.h"

#include "base/address.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <stdlib.h>

socklen_t sockaddr_of(const char *resolved, struct sockaddr_storage *address)
{
    struct address parsed;
    struct err ignored;
    struct sockaddr_in *in = (struct sockaddr_in *)address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;
    *address = (struct sockaddr_storage){0};
    if (!address_parse(str_of(resolved), false, &parsed, &ignored))
        abort();
    if (parsed.kind == ADDRESS_IPV4 && inet_pton(AF_INET, parsed.host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(parsed.port);
        return sizeof *in;
    }
    if (parsed.kind != ADDRESS_IPV6 || inet_pton(AF_INET6, parsed.host, &in6->sin6_addr) != 1)
        abort();
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(parsed.port);
    return sizeof *in6;
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
    } else {
        return NULL;
    }
    return mem_dup(address_text(&address, text));
}
