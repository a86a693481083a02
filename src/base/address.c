#include "base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/un.h>

#define MAPPED_BITS 96

static bool is_name(struct str host)
{
    char last = '.';
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!letter && !(c == '-' && last != '.') && !(c == '.' && last != '.' && last != '-'))
            return false;
        last = c;
    }
    return host.n > 0 && last != '-';
}

/* A name whose last label is all digits would be taken for an IPv4 address by others: refused. */
static bool looks_numeric(struct str host)
{
    size_t label = host.n;
    while (label > 0 && host.p[label - 1] != '.')
        label--;
    uint64_t ignored;
    return str_to_u64((struct str){host.p + label, host.n - label}, &ignored);
}

static bool classify(struct str host, bool bracketed, struct address *address)
{
    uint8_t bytes[16];
    if (host.n == 0 || host.n >= ADDRESS_HOST_MAX)
        return false;
    memcpy(address->host, host.p, host.n);
    address->host[host.n] = '\0';
    if (memchr(host.p, '\0', host.n) != NULL)
        return false;
    if (bracketed) {
        address->kind = ADDRESS_IPV6;
        return inet_pton(AF_INET6, address->host, bytes) == 1;
    }
    if (inet_pton(AF_INET, address->host, bytes) == 1) {
        address->kind = ADDRESS_IPV4;
        return true;
    }
    address->kind = ADDRESS_NAME;
    return is_name(host) && !looks_numeric(host);
}

bool address_parse(struct str text, bool any_port, struct address *address, struct err *err)
{
    struct address found;
    struct str host = text, port = {NULL, 0};
    for (size_t i = text.n; i > 0 && port.p == NULL; i--) {
        if (text.p[i - 1] == ':') {
            host.n = i - 1;
            port = (struct str){text.p + i, text.n - i};
        }
    }
    bool bracketed = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (bracketed)
        host = (struct str){host.p + 1, host.n - 2};
    uint64_t number;
    if (bracketed && memchr(host.p, '%', host.n) != NULL)
        return err_set(err,
                       "\"%.*s\" is not an address: link-local addresses with a scope (%%) are not taken; "
                       "write one that is valid on the whole machine",
                       STR_ARG(text));
    if (port.p == NULL || !str_to_u64(port, &number) || number > 65535 || (number == 0 && !any_port))
        return err_set(err, "\"%.*s\" is not an address: write HOST:PORT with a port from 1 to 65535",
                       STR_ARG(text));
    if (!classify(host, bracketed, &found))
        return err_set(err,
                       "\"%.*s\" is not an address: the host must be an IPv4 address, an IPv6 address in "
                       "brackets, or a name",
                       STR_ARG(text));
    found.port = (uint16_t)number;
    *address = found;
    return true;
}

#define UNIX "unix:"

/* Is it the only way to write this path? Then equal texts are one socket, and different ones are two, as far
 * as there are no links. */
static bool is_plain_path(struct str path)
{
    struct str rest = {path.p + 1, path.n - 1}, part;
    while (str_split(&rest, '/', &part)) {
        if (part.n == 0 || str_equal(part, STR(".")) || str_equal(part, STR("..")))
            return false;
    }
    for (size_t i = 0; i < path.n; i++) {
        if ((unsigned char)path.p[i] <= ' ' || path.p[i] == 0x7f || path.p[i] == ',')
            return false;
    }
    return true;
}

static bool parse_unix(struct str text, struct address *address, struct err *err)
{
    size_t most = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    struct str path = {text.p + sizeof UNIX - 1, text.n - (sizeof UNIX - 1)};
    if (path.n == 0 || path.p[0] != '/')
        return err_set(err, "\"%.*s\" is not an address: the path of a Unix socket must begin with /",
                       STR_ARG(text));
    if (path.n > most)
        return err_set(err,
                       "\"%.*s\" is not an address: its path has %zu bytes, and that of a Unix socket "
                       "at most %zu; shorten it",
                       STR_ARG(text), path.n, most);
    if (!is_plain_path(path))
        return err_set(err,
                       "\"%.*s\" is not an address: the path of a Unix socket is written without spaces, "
                       "commas, control bytes, \"//\", \".\" and \"..\"",
                       STR_ARG(text));
    address->kind = ADDRESS_UNIX;
    memcpy(address->host, text.p, text.n);
    address->host[text.n] = '\0';
    address->port = 0;
    return true;
}

bool address_parse_instance(struct str text, struct address *address, struct err *err)
{
    return str_starts_with(text, STR(UNIX)) ? parse_unix(text, address, err)
                                            : address_parse(text, false, address, err);
}

const char *address_path(const struct address *address)
{
    return address->host + sizeof UNIX - 1;
}

char *address_text(const struct address *address, char out[ADDRESS_TEXT_MAX])
{
    if (address->kind == ADDRESS_UNIX) {
        snprintf(out, ADDRESS_TEXT_MAX, "%s", address->host);
        return out;
    }
    bool brackets = address->kind == ADDRESS_IPV6;
    snprintf(out, ADDRESS_TEXT_MAX, "%s%s%s:%u", brackets ? "[" : "", address->host, brackets ? "]" : "",
             address->port);
    return out;
}

static const uint8_t mapped[MAPPED_BITS / 8] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool address_is_mapped(const uint8_t bytes[16])
{
    return memcmp(bytes, mapped, sizeof mapped) == 0;
}

void address_map(const uint8_t ip4[4], uint8_t bytes[16])
{
    memcpy(bytes, mapped, sizeof mapped);
    memcpy(bytes + sizeof mapped, ip4, 4);
}

/* Reads either family into the mapped form; *base is how many bits stand before the address's own. */
static bool parse_ip(struct str text, uint8_t bytes[16], unsigned *base)
{
    char copy[INET6_ADDRSTRLEN];
    if (text.n >= sizeof copy)
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    *base = 0;
    if (inet_pton(AF_INET6, copy, bytes) == 1)
        return true;
    uint8_t ip4[4];
    *base = MAPPED_BITS;
    if (inet_pton(AF_INET, copy, ip4) != 1)
        return false;
    address_map(ip4, bytes);
    return true;
}

static bool host_bits_are_zero(const uint8_t bytes[16], unsigned bits)
{
    for (unsigned i = bits; i < 128; i++) {
        if (bytes[i / 8] & (0x80 >> (i % 8)))
            return false;
    }
    return true;
}

bool address_prefix_parse(struct str text, struct address_prefix *prefix, struct err *err)
{
    struct address_prefix found;
    struct str rest = text, ip;
    unsigned base;
    uint64_t bits;
    if (!str_split(&rest, '/', &ip) || !parse_ip(ip, found.bytes, &base))
        return err_set(err, "\"%.*s\" is not a network: write an IP address, or ADDRESS/BITS", STR_ARG(text));
    if (rest.p == NULL)
        bits = 128 - base;
    else if (!str_to_u64(rest, &bits) || bits > 128 - base)
        return err_set(err, "\"%.*s\" is not a network: the bits after / go from 0 to %u", STR_ARG(text),
                       128 - base);
    found.bits = (uint8_t)(bits + base);
    if (!host_bits_are_zero(found.bytes, found.bits))
        return err_set(err,
                       "\"%.*s\" is not a network: bits behind the prefix are set; write its first address",
                       STR_ARG(text));
    *prefix = found;
    return true;
}

bool address_prefix_covers(const struct address_prefix *prefix, const uint8_t address[16])
{
    unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;
    if (memcmp(prefix->bytes, address, whole) != 0)
        return false;
    if (rest == 0)
        return true;
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return (prefix->bytes[whole] & mask) == (address[whole] & mask);
}
