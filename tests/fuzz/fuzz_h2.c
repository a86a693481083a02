/* Sessions of HTTP/2 through a whole worker: connection, streams, exchanges and the other side. With an even
 * first byte the input is a client's, and the instance answers by itself; with an odd one it is an instance's
 * that speaks HTTP/2, and the client asks by itself over HTTP/1.1. What upswap says to the side that keeps
 * the rules must keep them too, and in the end nothing is left over.
 *
 * The rest of the input are steps, each a byte (modulo STEPS) and what it needs. */
#include "plane.h"

#include "base/buf.h"
#include "http/body.h"
#include "http/request.h"
#include "http/response.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum step {
    STEP_FRAME,   /* type, flags, stream, length, payload */
    STEP_HEADERS, /* flags, stream, length, lines "name: value" */
    STEP_SPLIT,   /* the same, in HEADERS and CONTINUATION */
    STEP_DATA,    /* flags, stream, length: so many bytes */
    STEP_RAW,     /* length, bytes */
    STEP_TURN,
    STEP_LATER, /* how many times 50 ms */
    STEP_SHUT,
    STEPS
};

enum { ANSWERS = 16, FRAME_MOST = 16384, STREAMS = 128, INSTANCES = 8 };

static const struct http_limits limits = {.head = 65536, .fields = HTTP_FIELDS_MAX};

/* ---- what comes, as HTTP/1.1 ---- */

/* A message at the front of what has come; its head is parsed again each time. */
struct reading {
    struct buf bytes;
    unsigned messages; /* whole ones so far */
    bool ended;
    bool tunnel; /* an upgrade is asked for: what follows is no message */
};

static void receive(int fd, struct reading *reading)
{
    ssize_t n;
    while ((n = recv(fd, buf_reserve(&reading->bytes, 65536), 65536, MSG_DONTWAIT)) > 0)
        reading->bytes.n += (size_t)n;
    reading->ended |= n == 0 || (n < 0 && errno != EAGAIN);
}

/* The length of the body that follows the head; -1: it is not whole. It must be right as far as it goes. */
static ssize_t body_size(struct str rest, enum http_framing framing, uint64_t length)
{
    static struct http_fields fields;
    struct http_body body;
    struct http_fault fault;
    struct str data, trailers;
    size_t used, at = 0;
    http_body_start(&body, framing, length);
    while (!body.done) {
        enum http_result result =
            http_body_step(&body, rest.p + at, rest.n - at, &limits, &used, &data, &trailers, &fault);
        fuzz_check(result != HTTP_BAD);
        at += used;
        if (result == HTTP_DONE && framing == HTTP_BODY_CHUNKED)
            fuzz_check(http_trailers_parse(&fields, trailers, &limits, &fault) == HTTP_DONE);
        if (result == HTTP_MORE && used == 0)
            return -1;
    }
    return (ssize_t)at;
}

/* True: a whole request was taken off. What an instance gets is requests and nothing else. */
static bool take_request(struct reading *reading)
{
    static struct http_request request;
    struct http_fault fault;
    size_t seen = 0;
    if (reading->bytes.n == 0 || reading->tunnel)
        return false;
    enum http_result result =
        http_request_parse(&request, reading->bytes.p, reading->bytes.n, &seen, &limits, &fault);
    fuzz_check(result != HTTP_BAD);
    if (result == HTTP_MORE)
        return false;
    const struct http_field *via = http_fields_find(&request.fields, HTTP_FIELD_VIA);
    fuzz_check(via != NULL && str_ends_with(via->value, STR("2.0 upswap")));
    fuzz_check(!request.upgrade || http_fields_named(&request.fields, STR("sec-websocket-key")) != NULL);
    struct str rest = {reading->bytes.p + request.length, reading->bytes.n - request.length};
    ssize_t size = body_size(rest, request.framing, request.content_length);
    if (size < 0)
        return false;
    buf_drop(&reading->bytes, request.length + (size_t)size);
    reading->messages++;
    reading->tunnel = request.upgrade;
    return !request.upgrade;
}

/* True: a whole response was taken off. */
static bool take_response(struct reading *reading)
{
    static struct http_response response;
    struct http_fault fault;
    size_t seen = 0;
    if (reading->bytes.n == 0)
        return false;
    enum http_result result =
        http_response_parse(&response, HTTP_GET, reading->bytes.p, reading->bytes.n, &seen, &limits, &fault);
    fuzz_check(result != HTTP_BAD);
    if (result == HTTP_MORE)
        return false;
    struct str rest = {reading->bytes.p + response.length, reading->bytes.n - response.length};
    ssize_t size = body_size(rest, response.framing, response.content_length);
    if (size < 0)
        return false;
    buf_drop(&reading->bytes, response.length + (size_t)size);
    reading->messages += response.status >= 200;
    return true;
}

/* ---- what comes, as HTTP/2 ---- */

struct frames {
    struct reading in;
    nghttp2_hd_inflater *inflater;
    uint8_t state[STREAMS]; /* of the streams 2n + 1: what has come */
    bool blind;             /* the table's size was changed: header blocks are not read */
};

enum { NOTHING, INTERIM, FINAL, ENDED };

/* True: it is a final head. */
static bool read_block(struct frames *frames, const uint8_t *at, size_t n)
{
    int flags = 0;
    bool final = true;
    if (frames->blind)
        return true;
    while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
        nghttp2_nv nv;
        ssize_t used = nghttp2_hd_inflate_hd2(frames->inflater, &nv, &flags, at, n, 1);
        fuzz_check(used >= 0);
        at += used;
        n -= (size_t)used;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0)
            continue;
        struct str name = {(char *)nv.name, nv.namelen}, value = {(char *)nv.value, nv.valuelen};
        for (size_t i = 0; i < name.n; i++)
            fuzz_check(name.p[i] > ' ' && !(name.p[i] >= 'A' && name.p[i] <= 'Z'));
        for (size_t i = 0; i < value.n; i++)
            fuzz_check(value.p[i] != '\r' && value.p[i] != '\n' && value.p[i] != '\0');
        fuzz_check(!str_equal(name, STR("connection")) && !str_equal(name, STR("transfer-encoding")));
        if (str_equal(name, STR(":status")))
            final = value.n == 3 && value.p[0] != '1';
    }
    nghttp2_hd_inflate_end_headers(frames->inflater);
    return final;
}

static void check_frame(struct frames *frames, const uint8_t *head, const uint8_t *payload, size_t n)
{
    uint8_t type = head[3], flags = head[4];
    uint32_t id = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8];
    uint8_t other = 0, *state = id % 2 == 1 && id / 2 < STREAMS ? &frames->state[id / 2] : &other;
    switch (type) {
    case NGHTTP2_HEADERS:
        fuzz_check(id % 2 == 1 && *state != ENDED && (flags & NGHTTP2_FLAG_PADDED) == 0);
        if ((flags & NGHTTP2_FLAG_END_HEADERS) == 0)
            frames->blind = true;
        bool final = read_block(frames, payload, n);
        fuzz_check(frames->blind || *state != FINAL || (flags & NGHTTP2_FLAG_END_STREAM) != 0); /* trailers */
        *state = *state == FINAL || final ? FINAL : INTERIM;
        break;
    case NGHTTP2_DATA:
        fuzz_check(*state == FINAL || state == &other);
        break;
    case NGHTTP2_RST_STREAM:
        fuzz_check(id != 0 && n == 4);
        *state = ENDED;
        return;
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PING:
    case NGHTTP2_GOAWAY:
        fuzz_check(id == 0);
        return;
    case NGHTTP2_CONTINUATION:
    case NGHTTP2_WINDOW_UPDATE:
        return;
    default:
        fuzz_check(false);
    }
    if ((flags & NGHTTP2_FLAG_END_STREAM) != 0)
        *state = ENDED;
}

static void check_frames(struct frames *frames)
{
    struct buf *bytes = &frames->in.bytes;
    size_t at = 0;
    while (bytes->n - at >= 9) {
        const uint8_t *head = (const uint8_t *)bytes->p + at;
        size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        fuzz_check(n <= FRAME_MOST);
        if (bytes->n - at - 9 < n)
            break;
        check_frame(frames, head, head + 9, n);
        at += 9 + n;
    }
    buf_drop(bytes, at);
}

/* ---- steps ---- */

struct script {
    struct fuzz_reader reader;
    int fd; /* -1: not yet */
    bool resizes;
};

static void say(struct script *script, const void *bytes, size_t n)
{
    if (script->fd >= 0 && n > 0)
        (void)!send(script->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void say_frame(struct script *script, uint8_t type, uint8_t flags, uint8_t stream, const void *payload,
                      size_t n)
{
    const uint8_t head[9] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, type, flags, 0, 0, 0, stream};
    script->resizes |= type == NGHTTP2_SETTINGS;
    say(script, head, sizeof head);
    say(script, payload, n);
}

static size_t put_text(uint8_t *to, struct str text)
{
    size_t n = text.n < 127 ? text.n : 126;
    *to = (uint8_t)n;
    memcpy(to + 1, text.p, n);
    return n + 1;
}

/* Literals without a place in the table. */
static size_t encode(struct str lines, uint8_t *block)
{
    struct str line;
    size_t n = 0;
    while (lines.n > 0 && str_split(&lines, '\n', &line)) {
        const char *colon = line.n < 3 ? NULL : memmem(line.p + 1, line.n - 1, ": ", 2);
        if (colon == NULL)
            continue;
        block[n++] = 0;
        n += put_text(block + n, (struct str){line.p, (size_t)(colon - line.p)});
        n += put_text(block + n, (struct str){colon + 2, (size_t)(line.p + line.n - colon - 2)});
    }
    return n;
}

static void say_headers(struct script *script, bool split)
{
    uint8_t flags = fuzz_byte(&script->reader), stream = fuzz_byte(&script->reader), block[1024];
    size_t n = encode(fuzz_take(&script->reader, fuzz_byte(&script->reader)), block);
    flags &= NGHTTP2_FLAG_END_STREAM;
    if (!split) {
        say_frame(script, NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_HEADERS, stream, block, n);
        return;
    }
    say_frame(script, NGHTTP2_HEADERS, flags, stream, block, n / 2);
    say_frame(script, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, stream, block + n / 2, n - n / 2);
}

static void do_frame(struct script *script)
{
    uint8_t type = fuzz_byte(&script->reader), flags = fuzz_byte(&script->reader);
    uint8_t stream = fuzz_byte(&script->reader);
    struct str payload = fuzz_take(&script->reader, fuzz_byte(&script->reader));
    say_frame(script, type, flags, stream, payload.p, payload.n);
}

static void do_data(struct script *script)
{
    static const char zeros[255 * 16];
    uint8_t flags = fuzz_byte(&script->reader), stream = fuzz_byte(&script->reader);
    say_frame(script, NGHTTP2_DATA, flags & NGHTTP2_FLAG_END_STREAM, stream, zeros,
              (size_t)fuzz_byte(&script->reader) * 16);
}

static void do_step(struct script *script)
{
    struct str bytes;
    switch ((enum step)(fuzz_byte(&script->reader) % STEPS)) {
    case STEP_FRAME:
        do_frame(script);
        break;
    case STEP_HEADERS:
        say_headers(script, false);
        break;
    case STEP_SPLIT:
        say_headers(script, true);
        break;
    case STEP_DATA:
        do_data(script);
        break;
    case STEP_RAW:
        bytes = fuzz_take(&script->reader, fuzz_byte(&script->reader));
        say(script, bytes.p, bytes.n);
        break;
    case STEP_LATER:
        plane_advance((uint64_t)fuzz_byte(&script->reader) * 50);
        break;
    case STEP_SHUT:
        if (script->fd >= 0)
            shutdown(script->fd, SHUT_WR);
        break;
    case STEP_TURN:
    case STEPS:
        break;
    }
}

/* ---- the instance of HTTP/1.1 ---- */

struct instance {
    int fd;
    struct reading in;
};

static void answer(struct instance *instance)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n0\r\nX-Trailer: y\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 500 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    };
    const char *text = answers[instance->in.messages % (sizeof answers / sizeof *answers)];
    (void)!send(instance->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void run_instances(struct instance instances[INSTANCES], unsigned *count)
{
    int fd;
    while (*count < INSTANCES && (fd = plane_accept(PLANE_HTTP1)) >= 0)
        instances[(*count)++] = (struct instance){.fd = fd};
    for (unsigned i = 0; i < *count; i++) {
        receive(instances[i].fd, &instances[i].in);
        while (take_request(&instances[i].in))
            answer(&instances[i]);
    }
}

/* ---- the two sides ---- */

static void as_client(struct script *script)
{
    static const char settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    struct instance instances[INSTANCES];
    struct frames frames = {.blind = false};
    unsigned count = 0;
    fuzz_check(nghttp2_hd_inflate_new(&frames.inflater) == 0);
    script->fd = plane_client();
    say(script, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    say(script, settings, sizeof settings);
    for (unsigned idle = 0; idle < ANSWERS; idle += script->reader.left == 0) {
        if (script->reader.left > 0)
            do_step(script);
        plane_turn();
        run_instances(instances, &count);
        receive(script->fd, &frames.in);
        frames.blind |= script->resizes;
        check_frames(&frames);
    }
    plane_close(script->fd);
    for (unsigned i = 0; i < count; i++) {
        plane_close(instances[i].fd);
        buf_free(&instances[i].in.bytes);
    }
    nghttp2_hd_inflate_del(frames.inflater);
    buf_free(&frames.in.bytes);
}

static void as_instance(struct script *script)
{
    static const char settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    static const char requests[] =
        "GET /1 HTTP/1.1\r\nHost: b\r\n\r\n"
        "POST /2 HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        "GET /3 HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n";
    struct reading client = {.bytes = BUF_EMPTY};
    int fd = plane_client();
    (void)!send(fd, requests, sizeof requests - 1, MSG_NOSIGNAL);
    for (unsigned idle = 0; idle < ANSWERS; idle += script->reader.left == 0) {
        plane_turn();
        if (script->fd < 0 && (script->fd = plane_accept(PLANE_HTTP2)) >= 0)
            say(script, settings, sizeof settings);
        if (script->reader.left > 0)
            do_step(script);
        receive(fd, &client);
        while (take_response(&client))
            fuzz_check(client.messages <= 3);
    }
    plane_close(fd);
    if (script->fd >= 0)
        plane_close(script->fd);
    buf_free(&client.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct script script = {.reader = {bytes, count}, .fd = -1};
    plane_worker();
    if (fuzz_byte(&script.reader) % 2 == 0)
        as_client(&script);
    else
        as_instance(&script);
    plane_settle();
    return 0;
}
