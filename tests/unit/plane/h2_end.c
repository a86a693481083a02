/* Heads are sent as literals, so the other side's table stays empty; what comes needs a decoder. */
#include "h2_end.h"

#include "unit.h"

#include "base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct h2_end *h2_end_of(int fd)
{
    struct h2_end *end = mem_zero(1, sizeof *end);
    end->fd = fd;
    int done = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    assert_true(done == 0 || errno == EOPNOTSUPP); /* what is no TCP has no delay */
    assert_int_equal(nghttp2_hd_inflate_new(&end->inflater), 0);
    return end;
}

struct h2_end *h2_end_client(int fd)
{
    struct h2_end *end = h2_end_of(fd);
    assert_int_equal(send(fd, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN, MSG_NOSIGNAL),
                     NGHTTP2_CLIENT_MAGIC_LEN);
    h2_end_send(end, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    return end;
}

struct h2_end *h2_end_server(int fd, uint32_t streams)
{
    struct h2_end *end = h2_end_of(fd);
    end->magic = NGHTTP2_CLIENT_MAGIC_LEN;
    uint8_t entry[] = {
        0, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0, 0, (uint8_t)(streams >> 8), (uint8_t)streams};
    h2_end_send(end, NGHTTP2_SETTINGS, 0, 0, entry, sizeof entry);
    return end;
}

void h2_end_free(struct h2_end *end)
{
    nghttp2_hd_inflate_del(end->inflater);
    close(end->fd);
    free(end);
}

void h2_end_send(struct h2_end *end, uint8_t type, uint8_t flags, int32_t stream, const void *payload,
                 size_t size)
{
    uint8_t frame[9 + sizeof end->payload] = {
        (uint8_t)(size >> 16),   (uint8_t)(size >> 8),    (uint8_t)size,          type,           flags,
        (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    assert_true(size <= sizeof end->payload);
    if (size > 0)
        memcpy(frame + 9, payload, size);
    assert_int_equal(send(end->fd, frame, 9 + size, MSG_NOSIGNAL), 9 + size);
}

static uint8_t *put_text(uint8_t *to, const char *text, size_t n)
{
    assert_true(n < 127);
    *to = (uint8_t)n;
    memcpy(to + 1, text, n);
    return to + 1 + n;
}

void h2_end_say(struct h2_end *end, int32_t stream, uint8_t flags, const char *fields)
{
    uint8_t block[4096], *to = block;
    while (*fields != '\0') {
        const char *value = strstr(fields, ": "), *line_end = strchr(fields, '\n');
        assert_true(value != NULL && line_end != NULL && to + 260 < block + sizeof block);
        *to++ = 0; /* a literal without a place in the table */
        to = put_text(to, fields, (size_t)(value - fields));
        to = put_text(to, value + 2, (size_t)(line_end - value - 2));
        fields = line_end + 1;
    }
    h2_end_send(end, NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_HEADERS, stream, block, (size_t)(to - block));
}

void h2_end_goaway(struct h2_end *end, int32_t last)
{
    uint8_t payload[8] = {(uint8_t)(last >> 24), (uint8_t)(last >> 16), (uint8_t)(last >> 8), (uint8_t)last};
    h2_end_send(end, NGHTTP2_GOAWAY, 0, 0, payload, sizeof payload);
}

static void decode(struct h2_end *end)
{
    const uint8_t *at = end->payload, *stop = at + end->size;
    int flags = 0, last = (end->flags & NGHTTP2_FLAG_END_HEADERS) != 0;
    if (end->type == NGHTTP2_HEADERS)
        end->fields[0] = '\0';
    size_t n = strlen(end->fields);
    while (last ? (flags & NGHTTP2_HD_INFLATE_FINAL) == 0 : at < stop) {
        nghttp2_nv nv;
        ssize_t used = nghttp2_hd_inflate_hd2(end->inflater, &nv, &flags, at, (size_t)(stop - at), last);
        assert_true(used >= 0);
        at += used;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0)
            continue;
        assert_true(n + nv.namelen + nv.valuelen + 4 < sizeof end->fields);
        n += (size_t)sprintf(end->fields + n, "%.*s: %.*s\n", (int)nv.namelen, (char *)nv.name,
                             (int)nv.valuelen, (char *)nv.value);
    }
    if (last)
        nghttp2_hd_inflate_end_headers(end->inflater);
}

static void take_settings(struct h2_end *end)
{
    for (size_t at = 0; at < end->size; at += 6) {
        size_t id = (size_t)end->payload[at] << 8 | end->payload[at + 1];
        if (id < sizeof end->settings / sizeof *end->settings)
            end->settings[id] = h2_end_number(end, at + 2);
    }
    h2_end_send(end, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
}

/* False: the connection has ended. */
static bool take(struct h2_end *end, void *bytes, size_t count)
{
    size_t n = 0;
    while (n < count) {
        while (end->turn != NULL && poll(&(struct pollfd){.fd = end->fd, .events = POLLIN}, 1, 0) == 0)
            end->turn(end->arg);
        ssize_t got = recv(end->fd, (char *)bytes + n, count - n, 0);
        if (n == 0 && (got == 0 || (got < 0 && errno == ECONNRESET)))
            return false;
        assert_true(got > 0);
        n += (size_t)got;
    }
    return true;
}

static void take_magic(struct h2_end *end)
{
    char magic[NGHTTP2_CLIENT_MAGIC_LEN];
    if (end->magic == 0)
        return;
    assert_true(take(end, magic, end->magic));
    assert_memory_equal(magic, NGHTTP2_CLIENT_MAGIC, end->magic);
    end->magic = 0;
}

/* False: the connection has ended. */
static bool read_any(struct h2_end *end)
{
    uint8_t head[9];
    take_magic(end);
    if (!take(end, head, sizeof head))
        return false;
    end->size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    end->type = head[3];
    end->flags = head[4];
    end->stream = head[5] << 24 | head[6] << 16 | head[7] << 8 | head[8];
    assert_true(end->size <= sizeof end->payload && take(end, end->payload, end->size));
    if (end->type == NGHTTP2_HEADERS || end->type == NGHTTP2_CONTINUATION)
        decode(end);
    if (end->type == NGHTTP2_SETTINGS && (end->flags & NGHTTP2_FLAG_ACK) == 0)
        take_settings(end);
    return true;
}

static bool is_usual(const struct h2_end *end)
{
    return end->type == NGHTTP2_SETTINGS || end->type == NGHTTP2_WINDOW_UPDATE;
}

void h2_end_next(struct h2_end *end)
{
    do
        assert_true(read_any(end));
    while (is_usual(end));
}

void h2_end_read(struct h2_end *end, uint8_t type)
{
    h2_end_next(end);
    assert_int_equal(end->type, type);
}

void h2_end_expect_field(const struct h2_end *end, const char *line)
{
    if (strstr(end->fields, line) == NULL)
        fail_msg("no \"%s\" in:\n%s", line, end->fields);
}

uint32_t h2_end_number(const struct h2_end *end, size_t at)
{
    const uint8_t *bytes = end->payload + at;
    assert_true(at + 4 <= end->size);
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

void h2_end_expect_close(struct h2_end *end)
{
    while (read_any(end))
        assert_true(is_usual(end));
}
