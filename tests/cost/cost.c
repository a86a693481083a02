/* cost: has the data plane's one worker answer requests over kept connections, for tools that count what they
 * cost it. What N requests cost is the difference between a run with N more and one without: all the rest is
 * in both. Invariant: no more than AT_ONCE requests are under way, and the next ones are sent when all of
 * these have been answered. The worker is the third thread. usage: cost clear|h2c|tls|h2 N [AT_ONCE] AT_ONCE
 * (1): connections with a request each, or streams of one connection over HTTP/2; N is cut to a multiple of
 * it. */
#include "pump.h"
#include "unit.h"

#include "io/issue.h"
#include "io/tls_context.h"
#include "link/keyring.h"
#include "plane/h2_end.h"
#include "plane/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define AT_ONCE_MAX 100

#define GET                                                                               \
    "GET /static/app.js HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0\r\n" \
    "Accept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789\r\n\r\n"
#define BODY "hello, world\n"
#define ANSWER                                                                    \
    "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\n" \
    "Content-Type: text/plain\r\nContent-Length: 13\r\nConnection: keep-alive\r\n\r\n" BODY

struct cost {
    struct rig *rig;
    unsigned at_once;
    bool tls, h2;
    int clients[AT_ONCE_MAX], instances[AT_ONCE_MAX]; /* h2: one client */
    struct h2_end *h2_client;
    nghttp2_hd_deflater *deflater;
    int32_t stream; /* the client's next */
};

/* ---- requests and answers ---- */

/* Reads until what has come ends with this. */
static void take(int fd, const char *end)
{
    char text[4096];
    size_t n = 0, length = strlen(end);
    while (n < length || memcmp(text + n - length, end, length) != 0) {
        ssize_t got = recv(fd, text + n, sizeof text - n, 0);
        assert_true(got > 0);
        n += (size_t)got;
    }
}

#define FIELD(name, value)                                                            \
    {                                                                                 \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, 0 \
    }

static void ask_h2(struct cost *cost)
{
    const nghttp2_nv fields[] = {FIELD(":method", "GET"),
                                 FIELD(":scheme", "https"),
                                 FIELD(":authority", "www.example.com"),
                                 FIELD(":path", "/static/app.js"),
                                 FIELD("user-agent", "Mozilla/5.0"),
                                 FIELD("accept", "*/*"),
                                 FIELD("accept-encoding", "gzip, deflate, br"),
                                 FIELD("cookie", "session=0123456789")};
    uint8_t block[1024];
    ssize_t n =
        nghttp2_hd_deflate_hd(cost->deflater, block, sizeof block, fields, sizeof fields / sizeof *fields);
    assert_true(n > 0);
    h2_end_send(cost->h2_client, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM,
                cost->stream, block, (size_t)n);
    cost->stream += 2;
}

static void ask(struct cost *cost, unsigned i)
{
    if (cost->h2)
        ask_h2(cost);
    else
        rig_say(cost->clients[i], GET);
}

static void take_answer(struct cost *cost, unsigned i)
{
    if (!cost->h2) {
        take(cost->clients[i], BODY);
        return;
    }
    do
        h2_end_next(cost->h2_client);
    while ((cost->h2_client->flags & NGHTTP2_FLAG_END_STREAM) == 0);
}

static void answer(struct cost *cost, unsigned i)
{
    take(cost->instances[i], "\r\n\r\n");
    rig_say(cost->instances[i], ANSWER);
}

static void run(struct cost *cost, unsigned long rounds)
{
    for (unsigned long round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < cost->at_once; i++)
            ask(cost, i);
        for (unsigned i = 0; i < cost->at_once; i++)
            answer(cost, i);
        for (unsigned i = 0; i < cost->at_once; i++)
            take_answer(cost, i);
    }
}

/* ---- beginning and end ---- */

#define BYTES(thing) ((struct str){(const char *)&(thing), sizeof(thing)})

static void send_keyring(struct cost *cost)
{
    const struct keyring_listener listener = {
        .id = 1, .minimum = TLS_MINIMUM_1_3, .protocols = cost->h2 ? TLS_H2 : TLS_HTTP1};
    const struct tls_ticket_key ticket = {.name = "k"};
    struct issued site = issue("DNS:www.example.com", false);
    struct buf image = BUF_EMPTY;
    struct err err;
    buf_reserve(&image, 65536);
    keyring_add(&image, KEYRING_TICKETS, BYTES(ticket));
    keyring_add(&image, KEYRING_LISTENER, BYTES(listener));
    keyring_add(&image, KEYRING_CERTIFICATE, str_of(site.certificate));
    keyring_add(&image, KEYRING_KEY, str_of(site.key));
    issued_free(&site);
    int fd = keyring_seal(&image, &err);
    assert_true(fd >= 0);
    rig_keyring(cost->rig, fd);
    close(fd);
}

static int open_client(struct cost *cost)
{
    int fd = rig_client(cost->rig);
    return cost->tls ? pump_start(fd, cost->h2) : fd;
}

/* Each has an instance's connection of its own, since all are asked at once. */
static void begin(struct cost *cost)
{
    cost->rig = rig_start(1);
    rig_world(cost->rig)->instances = 1;
    rig_world(cost->rig)->door_speaks_tls = cost->tls;
    if (cost->tls)
        send_keyring(cost);
    rig_publish(cost->rig);
    for (unsigned i = 0; i < (cost->h2 ? 1 : cost->at_once); i++)
        cost->clients[i] = open_client(cost);
    if (cost->h2) {
        cost->h2_client = h2_end_client(cost->clients[0]);
        cost->stream = 1;
        assert_int_equal(nghttp2_hd_deflate_new(&cost->deflater, 4096), 0);
    }
    for (unsigned i = 0; i < cost->at_once; i++) {
        ask(cost, i);
        cost->instances[i] = rig_accept(cost->rig, 0);
    }
    for (unsigned i = 0; i < cost->at_once; i++) {
        answer(cost, i);
        take_answer(cost, i);
    }
}

static void end(struct cost *cost)
{
    for (unsigned i = 0; !cost->h2 && i < cost->at_once; i++)
        close(cost->clients[i]);
    if (cost->h2) {
        h2_end_free(cost->h2_client);
        nghttp2_hd_deflate_del(cost->deflater);
    }
    for (unsigned i = 0; i < cost->at_once; i++)
        close(cost->instances[i]);
    rig_stop(cost->rig);
}

static bool set_kind(struct cost *cost, const char *kind)
{
    cost->h2 = strcmp(kind, "h2c") == 0 || strcmp(kind, "h2") == 0;
    cost->tls = strcmp(kind, "tls") == 0 || strcmp(kind, "h2") == 0;
    return cost->h2 || cost->tls || strcmp(kind, "clear") == 0;
}

int main(int argc, char **argv)
{
    static struct cost cost = {.at_once = 1};
    unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    if (argc > 3)
        cost.at_once = (unsigned)strtoul(argv[3], NULL, 10);
    if (argc < 3 || argc > 4 || !set_kind(&cost, argv[1]) || cost.at_once == 0 ||
        cost.at_once > AT_ONCE_MAX || count < cost.at_once) {
        fputs("usage: cost clear|h2c|tls|h2 N [AT_ONCE]\n", stderr);
        return 2;
    }
    begin(&cost);
    run(&cost, count / cost.at_once);
    end(&cost);
    return 0;
}
