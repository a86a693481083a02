/* Records of TLS 1.3, of a server that has shaken hands: whatever comes, in whatever pieces, and however
 * little room there is for it, a stream gives the text that a plain reading of the messages gives, then what
 * ends it; and what it sends can be opened in order. The first byte chooses the suite; then come steps: a
 * record that is sealed as a client would, of any type and padding; bytes that are none; text of ours; and
 * room. */
#include "fuzz.h"

#include "io/tls_state.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEXT_MAX 300    /* bytes of a message */
#define TOTAL_MAX 60000 /* bytes of text in all */
#define NOTHINGS_MAX 32 /* see io/tls_records.c */
#define ROOM_MAX 4096

enum end { OPEN, ENDED, REFUSED, UNKNOWN };

static const char *const suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                     "TLS_CHACHA20_POLY1305_SHA256"};
static struct loop *loop;
static struct stream stream;
static int peer;

/* What a plain reading gives. */
static struct {
    struct tls_key client, server; /* what the peer seals and opens with */
    char text[TOTAL_MAX + TEXT_MAX];
    size_t n, got;
    unsigned nothings;
    enum end end;
    bool over; /* the stream has told its end */
    char sent[TOTAL_MAX + TEXT_MAX];
    size_t sent_n, heard;
    unsigned char wire[65536]; /* from the stream */
    size_t wire_n;
} model;

/* ---- the peer ---- */

static void take(size_t room);

/* Where the socket is full of what was not read, some is. */
static void say(const void *bytes, size_t n, struct fuzz_dice *dice)
{
    for (size_t at = 0; at < n && !model.over;) {
        size_t piece = fuzz_below(dice, 3) == 0 ? n - at : 1 + fuzz_below(dice, n - at);
        ssize_t sent = send(peer, (const char *)bytes + at, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
        fuzz_check(sent > 0 || errno == EAGAIN);
        at += sent > 0 ? (size_t)sent : 0;
        event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
        if (sent < 0)
            take(ROOM_MAX);
    }
}

/* A message that comes to nothing, of which there may be so many. */
static void nothing(void)
{
    if (++model.nothings > NOTHINGS_MAX)
        model.end = REFUSED;
}

static void read_alert(struct str text)
{
    if (text.n == 2 && text.p[1] == 90)
        nothing();
    else
        model.end = text.n == 2 && text.p[1] == 0 ? ENDED : REFUSED;
}

static void read_handshake(struct str text)
{
    if (text.n != 5 || memcmp(text.p, "\x18\0\0\1", 4) != 0 || (text.p[4] != 0 && text.p[4] != 1)) {
        model.end = REFUSED;
        return;
    }
    fuzz_check(tls_key_update(&model.client));
}

/* What a message that the peer has said means; `text` has no padding. */
static void read_message(uint8_t type, struct str text)
{
    if (model.end != OPEN)
        return;
    if (type == TLS_TYPE_ALERT) {
        read_alert(text);
    } else if (type == TLS_TYPE_HANDSHAKE) {
        read_handshake(text);
    } else if (type != TLS_TYPE_DATA) {
        model.end = REFUSED;
    } else if (text.n == 0) {
        nothing();
    } else {
        memcpy(model.text + model.n, text.p, text.n);
        model.n += text.n;
        model.nothings = 0;
    }
}

/* Padding is zeros behind the type, and the type is then a zero, too, to who seals. */
static void say_message(uint8_t type, size_t padding, struct str text, struct fuzz_dice *dice)
{
    unsigned char record[TLS_RECORD_HEAD + TEXT_MAX + 256 + TLS_RECORD_TAIL];
    unsigned char *inner = record + TLS_RECORD_HEAD;
    if (text.n > 0)
        memcpy(inner, text.p, text.n);
    size_t n = text.n;
    if (padding > 0) {
        inner[n++] = type;
        memset(inner + n, 0, padding - 1);
        n += padding - 1;
    }
    size_t size = tls_key_seal(&model.client, record, padding > 0 ? 0 : type, n);
    fuzz_check(size > 0);
    while (type == 0 && text.n > 0) { /* then the type stands before that */
        type = (uint8_t)text.p[--text.n];
    }
    read_message(type, text);
    say(record, size, dice);
}

/* What has come from the stream. */
static void hear_record(const unsigned char *record, size_t size)
{
    unsigned char text[TLS_RECORD_MAX];
    uint8_t type = 0;
    ssize_t n = tls_key_open(&model.server, record, size, text, &type);
    fuzz_check(n >= 0);
    if (type == TLS_TYPE_HANDSHAKE) {
        fuzz_check(n == 5 && memcmp(text, "\x18\0\0\1\0", 5) == 0 && tls_key_update(&model.server));
    } else if (type == TLS_TYPE_DATA) {
        fuzz_check((size_t)n <= model.sent_n - model.heard &&
                   memcmp(text, model.sent + model.heard, (size_t)n) == 0);
        model.heard += (size_t)n;
    } else {
        fuzz_check(type == TLS_TYPE_ALERT && n == 2);
    }
}

static void hear(void)
{
    ssize_t n;
    while ((n = recv(peer, model.wire + model.wire_n, sizeof model.wire - model.wire_n, MSG_DONTWAIT)) > 0)
        model.wire_n += (size_t)n;
    size_t at = 0;
    while (model.wire_n - at >= TLS_RECORD_HEAD) {
        ssize_t size = tls_record_size(model.wire + at);
        fuzz_check(size > 0);
        if ((size_t)size > model.wire_n - at)
            break;
        hear_record(model.wire + at, (size_t)size);
        at += (size_t)size;
    }
    model.wire_n -= at;
    memmove(model.wire, model.wire + at, model.wire_n);
}

/* ---- the stream ---- */

static void ready(struct stream *told)
{
    (void)told;
}

/* The end is told when all text has been. */
static void hear_end(ssize_t told)
{
    fuzz_check(model.end == UNKNOWN || (told == 0) == (model.end == ENDED));
    fuzz_check(model.end == UNKNOWN || model.got == model.n);
    fuzz_check(!stream.readable);
    model.over = true;
}

/* Is there more? A stream that rests from updates of keys goes on at once here. */
static bool is_readable(void)
{
    if (!stream.readable)
        event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    if (!stream.readable && deadline_is_set(&stream.tls->rest)) {
        deadline_clear(&stream.tls->rest);
        stream.tls->rest.fire(&stream.tls->rest);
    }
    return stream.readable;
}

/* Takes what there is, so much at once. */
static void take(size_t room)
{
    static char bytes[ROOM_MAX];
    while (!model.over && is_readable()) {
        ssize_t n = stream_recv(&stream, bytes, room);
        if (n == STREAM_AGAIN) {
            fuzz_check(!stream.readable);
        } else if (n <= 0) {
            hear_end(n);
        } else {
            fuzz_check((size_t)n <= room && (size_t)n <= model.n - model.got);
            fuzz_check(memcmp(bytes, model.text + model.got, (size_t)n) == 0);
            model.got += (size_t)n;
        }
    }
}

static void send_text(struct str text)
{
    struct iovec parts[2] = {{(void *)text.p, text.n / 3},
                             {(char *)(uintptr_t)text.p + text.n / 3, text.n - text.n / 3}};
    if (text.n == 0)
        return;
    memcpy(model.sent + model.sent_n, text.p, text.n);
    model.sent_n += text.n;
    fuzz_check(stream_send(&stream, parts, 2) == (ssize_t)text.n); /* the socket has room for all */
}

/* ---- steps ---- */

static void say_step(struct fuzz_reader *reader, uint8_t what, struct fuzz_dice *dice)
{
    static const uint8_t types[] = {23, 23, 23, 22, 21, 20, 0, 99};
    uint8_t padding = what & 4 ? fuzz_byte(reader) : 0;
    say_message(types[what >> 5], padding, fuzz_take(reader, fuzz_byte(reader)), dice);
}

static void say_noise(struct str bytes, struct fuzz_dice *dice)
{
    if (bytes.n == 0)
        return;
    model.end = UNKNOWN;
    say(bytes.p, bytes.n, dice);
}

static void step(struct fuzz_reader *reader, struct fuzz_dice *dice)
{
    uint8_t what = fuzz_byte(reader);
    if ((what & 3) < 2) {
        say_step(reader, what, dice);
    } else if ((what & 7) == 6) {
        say_noise(fuzz_take(reader, what >> 3), dice);
    } else if ((what & 7) == 2) {
        send_text(fuzz_take(reader, fuzz_byte(reader)));
        hear();
    } else {
        take(1 + (size_t)(what >> 2) * 8);
    }
}

static void begin_key(struct tls_key *key, size_t suite, int seed)
{
    *key = (struct tls_key){.suite = NULL};
    key->secret.secret_size = suite == 1 ? 48 : 32;
    key->secret.key_size = suite == 0 ? 16 : 32;
    key->secret.iv_size = TLS_IV_SIZE;
    memset(key->secret.secret, seed, key->secret.secret_size);
    memset(key->secret.key, seed + 1, key->secret.key_size);
    memset(key->secret.iv, seed + 2, key->secret.iv_size);
    fuzz_check(tls_key_begin(key, tls_suite_find(suites[suite])));
}

static void begin(size_t suite)
{
    int fds[2];
    if (loop == NULL)
        loop = loop_new();
    memset(&model, 0, sizeof model);
    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    peer = fds[1];
    fuzz_check(stream_open(&stream, loop, fds[0], ready));
    struct tls *tls = calloc(1, sizeof *tls);
    fuzz_check(tls != NULL);
    stream.tls = tls;
    tls_records_init(&stream, loop);
    tls->up = tls->is_server = true;
    tls->text_most = TLS_RECORD_TEXT;
    begin_key(&tls->receiving, suite, 3);
    begin_key(&tls->sending, suite, 70);
    begin_key(&model.client, suite, 3);
    begin_key(&model.server, suite, 70);
    event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    stream.kernel_readable = stream.readable;
    stream.kernel_writable = stream.writable;
    stream.ops = &tls_records_ops;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct fuzz_reader reader = {bytes, count};
    struct fuzz_dice dice = fuzz_dice(bytes, count);
    begin(fuzz_byte(&reader) % 3);
    while (reader.left > 0 && !model.over && model.n < TOTAL_MAX && model.sent_n < TOTAL_MAX)
        step(&reader, &dice);
    take(ROOM_MAX);
    if (model.end == OPEN)
        fuzz_check(!model.over && model.got == model.n);
    if (model.end == ENDED || model.end == REFUSED)
        fuzz_check(model.over);
    stream_close(&stream, false);
    hear();
    fuzz_check(model.heard == model.sent_n && model.wire_n == 0);
    tls_key_end(&model.client);
    tls_key_end(&model.server);
    close(peer);
    return 0;
}
