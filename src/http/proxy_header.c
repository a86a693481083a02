/* The PROXY protocol. Both versions begin with bytes of their own, so one wrong byte at the front is enough
 * to refuse; a header is believed only when it is whole. */
#include "http/proxy_header.h"

#include "base/address.h"
#include "base/crc32c.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 107 /* of version 1, the CR LF included */
#define HEAD 16            /* of version 2, before the addresses */
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TLV_CRC32C 0x03
#define TLV_HEAD 3

/* The lower half of byte 13: commands. */
enum { COMMAND_LOCAL, COMMAND_PROXY };
/* Byte 14: families and transports. */
enum {
    UNSPEC = 0x00,
    TCP4 = 0x11,
    UDP4 = 0x12,
    TCP6 = 0x21,
    UDP6 = 0x22,
    UNIX_STREAM = 0x31,
    UNIX_DGRAM = 0x32
};

/* ---- version 1: a line ---- */

static bool read_address(struct str text, bool is_ip4, uint8_t bytes[16])
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t ip4[4];
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, '\0', text.n) != NULL)
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (!is_ip4)
        return inet_pton(AF_INET6, copy, bytes) == 1;
    if (inet_pton(AF_INET, copy, ip4) != 1)
        return false;
    address_map(ip4, bytes);
    return true;
}

/* "Heading zeroes are not permitted" (section 2.1). */
static bool read_port(struct str text, uint16_t *port)
{
    uint64_t value;
    if (!str_to_u64(text, &value) || value > UINT16_MAX || (text.n > 1 && text.p[0] == '0'))
        return false;
    *port = (uint16_t)value;
    return true;
}

/* The line without "PROXY " and CR LF. */
static bool read_line(struct proxy_header *header, struct str line)
{
    struct proxy_ends *ends = &header->ends;
    struct str family, source, destination, source_port, destination_port;
    if (!str_split(&line, ' ', &family))
        return false;
    header->known = !str_equal(family, STR("UNKNOWN"));
    if (!header->known)
        return true; /* whatever follows means nothing */
    bool is_ip4 = str_equal(family, STR("TCP4"));
    return (is_ip4 || str_equal(family, STR("TCP6"))) && str_split(&line, ' ', &source) &&
           str_split(&line, ' ', &destination) && str_split(&line, ' ', &source_port) &&
           str_split(&line, ' ', &destination_port) && line.p == NULL &&
           read_address(source, is_ip4, ends->source) &&
           read_address(destination, is_ip4, ends->destination) &&
           read_port(source_port, &ends->source_port) && read_port(destination_port, &ends->destination_port);
}

static enum http_result read_version_1(struct proxy_header *header, struct str text)
{
    struct str start = STR("PROXY ");
    size_t most = text.n < LINE_MAX_BYTES ? text.n : LINE_MAX_BYTES;
    if (text.n < start.n)
        return memcmp(text.p, start.p, text.n) == 0 ? HTTP_MORE : HTTP_BAD;
    if (!str_starts_with(text, start))
        return HTTP_BAD;
    const char *end = memmem(text.p, most, "\r\n", 2);
    if (end == NULL)
        return most < LINE_MAX_BYTES ? HTTP_MORE : HTTP_BAD;
    header->length = (size_t)(end - text.p) + 2;
    struct str line = {text.p + start.n, (size_t)(end - text.p) - start.n};
    return read_line(header, line) ? HTTP_DONE : HTTP_BAD;
}

/* ---- version 2: binary ---- */

static uint16_t number16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* The checksum is over the whole header, with zeros where it stands itself (section 2.2.3). */
static bool sum_is_right(const uint8_t *header, size_t length, const uint8_t *sum)
{
    uint8_t copy[PROXY_HEADER_MAX];
    memcpy(copy, header, length);
    memset(copy + (sum - header), 0, 4);
    uint32_t said = (uint32_t)number16(sum) << 16 | number16(sum + 2);
    return crc32c(copy, length) == said;
}

static bool check_tlvs(const uint8_t *header, size_t length, const uint8_t *tlv)
{
    const uint8_t *end = header + length;
    while (tlv < end) {
        if (end - tlv < TLV_HEAD)
            return false;
        size_t n = number16(tlv + 1);
        const uint8_t *value = tlv + TLV_HEAD;
        if ((size_t)(end - value) < n)
            return false;
        if (tlv[0] == TLV_CRC32C && (n != 4 || !sum_is_right(header, length, value)))
            return false;
        tlv = value + n;
    }
    return true;
}

/* Bytes of both addresses and ports; -1: the document knows no such family. */
static int addresses_size(uint8_t family)
{
    switch (family) {
    case TCP4:
    case UDP4:
        return 12;
    case TCP6:
    case UDP6:
        return 36;
    case UNIX_STREAM:
    case UNIX_DGRAM:
        return 216;
    case UNSPEC:
        return 0;
    default:
        return -1;
    }
}

static void read_ends(struct proxy_ends *ends, const uint8_t *at, bool is_ip4)
{
    size_t n = is_ip4 ? 4 : 16;
    if (is_ip4) {
        address_map(at, ends->source);
        address_map(at + n, ends->destination);
    } else {
        memcpy(ends->source, at, n);
        memcpy(ends->destination, at + n, n);
    }
    ends->source_port = number16(at + 2 * n);
    ends->destination_port = number16(at + 2 * n + 2);
}

/* A whole header of version 2. What it says of itself (LOCAL), or of nothing (UNSPEC), is skipped unread. */
static bool read_block(struct proxy_header *header, const uint8_t *bytes)
{
    uint8_t command = bytes[12] & 0x0f, family = bytes[13];
    header->known = false;
    if (command == COMMAND_LOCAL)
        return true;
    int size = addresses_size(family);
    if (command != COMMAND_PROXY || size < 0 || header->length < HEAD + (size_t)size)
        return false;
    if (family == UNSPEC)
        return true;
    if (!check_tlvs(bytes, header->length, bytes + HEAD + size))
        return false;
    header->known = family == TCP4 || family == TCP6;
    if (header->known)
        read_ends(&header->ends, bytes + HEAD, family == TCP4);
    return true;
}

static enum http_result read_version_2(struct proxy_header *header, const uint8_t *bytes, size_t count)
{
    size_t start = sizeof SIGNATURE - 1;
    if (memcmp(bytes, SIGNATURE, count < start ? count : start) != 0)
        return HTTP_BAD;
    if (count > start && bytes[start] >> 4 != 2)
        return HTTP_BAD;
    if (count < HEAD)
        return HTTP_MORE;
    header->length = HEAD + (size_t)number16(bytes + 14);
    if (header->length > PROXY_HEADER_MAX)
        return HTTP_BAD;
    if (count < header->length)
        return HTTP_MORE;
    return read_block(header, bytes) ? HTTP_DONE : HTTP_BAD;
}

enum http_result proxy_header_read(struct proxy_header *header, const void *bytes, size_t count)
{
    if (count == 0)
        return HTTP_MORE;
    if (*(const char *)bytes == 'P')
        return read_version_1(header, (struct str){bytes, count});
    return read_version_2(header, bytes, count);
}

/* ---- writing ---- */

static size_t write_version_1(const struct proxy_ends *ends, bool is_ip4, char *out)
{
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
    if (ends == NULL)
        return (size_t)snprintf(out, PROXY_HEADER_ROOM, "PROXY UNKNOWN\r\n");
    int family = is_ip4 ? AF_INET : AF_INET6, skip = is_ip4 ? 12 : 0;
    inet_ntop(family, ends->source + skip, source, sizeof source);
    inet_ntop(family, ends->destination + skip, destination, sizeof destination);
    return (size_t)snprintf(out, PROXY_HEADER_ROOM, "PROXY TCP%c %s %s %u %u\r\n", is_ip4 ? '4' : '6', source,
                            destination, ends->source_port, ends->destination_port);
}

static char *put(char *to, const void *bytes, size_t count)
{
    memcpy(to, bytes, count);
    return to + count;
}

static size_t write_version_2(const struct proxy_ends *ends, bool is_ip4, char *out)
{
    uint8_t command = 0x20 | (ends == NULL ? COMMAND_LOCAL : COMMAND_PROXY);
    uint8_t family = ends == NULL ? UNSPEC : is_ip4 ? TCP4 : TCP6;
    uint16_t size = htons((uint16_t)addresses_size(family));
    char *to = put(out, SIGNATURE, sizeof SIGNATURE - 1);
    to = put(to, &command, 1);
    to = put(to, &family, 1);
    to = put(to, &size, sizeof size);
    if (ends == NULL)
        return (size_t)(to - out);
    size_t skip = is_ip4 ? 12 : 0, n = 16 - skip;
    uint16_t ports[] = {htons(ends->source_port), htons(ends->destination_port)};
    to = put(to, ends->source + skip, n);
    to = put(to, ends->destination + skip, n);
    return (size_t)(put(to, ports, sizeof ports) - out);
}

/* An end of each family: both are written as IPv6, of which IPv4 is a part. */
size_t proxy_header_write(unsigned version, const struct proxy_ends *ends, char out[PROXY_HEADER_ROOM])
{
    bool is_ip4 = ends != NULL && address_is_mapped(ends->source) && address_is_mapped(ends->destination);
    return version == 1 ? write_version_1(ends, is_ip4, out) : write_version_2(ends, is_ip4, out);
}
