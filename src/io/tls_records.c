/* A server's records of TLS 1.3 (RFC 8446 section 5), once OpenSSL has shaken hands. The bytes of a record
 * are touched by its cipher alone: it opens them from where they were received to where they are wanted.
 * Invariant: no more is received than the room that waits for it, or one record where that is more; so what
 * is held is little: what has no room yet, a record that is not there as a whole, and one that the kernel had
 * no room for. A connection that is quiet holds nothing. */
#include "base/mem.h"
#include "io/tls_layer.h"
#include "io/tls_state.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <string.h>

#define INPUT 65536    /* bytes that are received at once, at most */
#define INPUT_MIN 4096 /* the same for who has less room */
/* In one call, so that nobody else waits for long; an update costs us ten times what it costs the peer. */
#define OPENED_MAX 128
#define UPDATES_MAX 16
#define REST_MS 1                       /* before more updates are heard; the wheel makes it some 10 */
#define NOTHINGS_MAX 32                 /* messages in turn that come to nothing */
#define RECORDS_MAX (UINT64_C(1) << 24) /* sealed with one key (section 5.5) */

#define ALERT_WARNING 1
#define ALERT_FATAL 2
#define ALERT_CLOSE_NOTIFY 0
#define ALERT_USER_CANCELED 90

static _Thread_local unsigned char input[INPUT], output[TLS_RECORD_MAX];

/* What a recv has brought together. */
struct gain {
    unsigned char *bytes;
    size_t room, n;
    unsigned records; /* opened for it */
    unsigned updates; /* of keys, among these */
};

/* ---- the beginning ---- */

static void go_on(struct deadline *rest)
{
    struct stream *stream = mem_container(rest, struct tls, rest)->stream;
    stream->readable = stream->kernel_readable = true;
    stream->ready(stream);
}

void tls_records_init(struct stream *stream, struct loop *loop)
{
    struct tls *tls = stream->tls;
    tls->stream = stream;
    deadline_init(&tls->rest, loop, go_on);
}

/* Is what is known of the handshake all that there is to know? A number of records that is too small would
 * have two of them sealed alike. */
static bool is_known(const struct tls *tls)
{
    uint64_t sealed = tls->sending.sequence;
    return SSL_version(tls->ssl) == TLS1_3_VERSION && !SSL_has_pending(tls->ssl) &&
           (sealed > 0) == (tls->said > 0) && sealed * TLS_RECORD_TEXT >= tls->said;
}

static bool make_keys(struct tls *tls)
{
    const struct tls_suite *suite = tls_suite_find(tls->cipher_name);
    return suite != NULL && tls_key_begin(&tls->receiving, suite) && tls_key_begin(&tls->sending, suite);
}

/* RFC 6066 section 4: a client may have asked for less. */
static uint16_t text_most(const SSL_SESSION *session)
{
    uint8_t asked = SSL_SESSION_get_max_fragment_length(session);
    return asked == TLSEXT_max_fragment_length_DISABLED ? TLS_RECORD_TEXT : (uint16_t)(256U << asked);
}

void tls_records_take_over(struct stream *stream)
{
    struct tls *tls = stream->tls;
    if (!tls->is_server || !is_known(tls) || !make_keys(tls)) {
        tls_key_end(&tls->receiving);
        tls_key_end(&tls->sending);
        return;
    }
    tls->text_most = text_most(SSL_get_session(tls->ssl));
    tls_free_ssl(tls->ssl);
    tls->ssl = NULL;
    stream->ops = &tls_records_ops;
}

/* ---- sending ---- */

/* Sends a record that stands in `output`; what the kernel has no room for is held. False with errno. */
static bool send_record(struct stream *stream, size_t size, size_t text)
{
    struct tls *tls = stream->tls;
    ssize_t sent = tls_layer_send(stream, output, size);
    if (sent < 0 && errno != EAGAIN)
        return false;
    size_t taken = sent > 0 ? (size_t)sent : 0;
    if (taken == size)
        return true;
    tls->sealed = held_new(output + taken, size - taken);
    tls->sealed_text = (uint16_t)text;
    if (tls->sealed != NULL)
        return true;
    tls->source = TLS_SOURCE_FAILED; /* nothing may follow half a record */
    errno = ENOMEM;
    return false;
}

/* Seals so many bytes that stand in `output`, of which `text` are the application's. False with errno. */
static bool seal_and_send(struct stream *stream, uint8_t type, size_t bytes, size_t text)
{
    size_t size = tls_key_seal(&stream->tls->sending, output, type, bytes);
    if (size > 0)
        return send_record(stream, size, text);
    errno = ENOMEM;
    return false;
}

/* What is not text of the application's. */
static bool send_message(struct stream *stream, uint8_t type, const void *message, size_t size)
{
    memcpy(output + TLS_RECORD_HEAD, message, size);
    return seal_and_send(stream, type, size, 0);
}

/* As far as the kernel has room for it: nobody waits for that. */
static void say(struct stream *stream, uint8_t level, uint8_t alert)
{
    struct tls *tls = stream->tls;
    if (tls->sealed == NULL && stream->kernel_writable)
        (void)send_message(stream, TLS_TYPE_ALERT, (uint8_t[]){level, alert}, 2);
}

/* ---- what has come ---- */

static int reason_of(unsigned alert)
{
    switch (alert) {
    case TLS_ALERT_UNEXPECTED:
        return SSL_R_UNEXPECTED_MESSAGE;
    case TLS_ALERT_BAD_MAC:
        return SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC;
    case TLS_ALERT_OVERFLOW:
        return SSL_R_PACKET_LENGTH_TOO_LONG;
    case TLS_ALERT_DECODE:
        return SSL_R_BAD_LENGTH;
    default:
        return ERR_R_INTERNAL_ERROR;
    }
}

static void refuse(struct stream *stream, unsigned alert)
{
    stream->tls->source = TLS_SOURCE_FAILED;
    say(stream, ALERT_FATAL, (uint8_t)alert);
    tls_fail(stream, ERR_PACK(ERR_LIB_SSL, 0, reason_of(alert)), EPROTO);
}

/* Nobody needs more than a few. */
static bool bear(struct stream *stream)
{
    if (++stream->tls->nothings <= NOTHINGS_MAX)
        return true;
    refuse(stream, TLS_ALERT_UNEXPECTED);
    return false;
}

/* Section 6: whatever is no end is an error, and the peer has closed. */
static bool hear_alert(struct stream *stream, const unsigned char *text, size_t n)
{
    struct tls *tls = stream->tls;
    if (n != 2) {
        refuse(stream, TLS_ALERT_DECODE);
        return false;
    }
    if (text[1] == ALERT_USER_CANCELED)
        return bear(stream);
    if (text[1] == ALERT_CLOSE_NOTIFY) {
        tls->source = TLS_SOURCE_ENDED;
        return false;
    }
    tls->source = TLS_SOURCE_FAILED;
    tls_fail(stream, ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_REASON_OFFSET + text[1]), EPROTO);
    return false;
}

/* Section 4.6.3: a client has nothing to say after its handshake but that its next record has another key.
 * The message is five bytes, and the last with that key, so it is a record's only one. There may be many:
 * some ask for another key of ours with each record that they read until they read that we have one. */
static bool hear_handshake(struct stream *stream, const unsigned char *text, size_t n, struct gain *gain)
{
    static const unsigned char update[] = {24, 0, 0, 1};
    struct tls *tls = stream->tls;
    if (n != sizeof update + 1 || memcmp(text, update, sizeof update) != 0 || text[4] > 1) {
        refuse(stream, TLS_ALERT_UNEXPECTED);
        return false;
    }
    if (!tls_key_update(&tls->receiving)) {
        refuse(stream, TLS_ALERT_INTERNAL);
        return false;
    }
    tls->update_due |= text[4] == 1;
    gain->updates++;
    return true;
}

/* Text that was opened elsewhere, since it may have no room. */
static bool hold_text(struct stream *stream, struct gain *gain, const unsigned char *text, size_t n)
{
    struct tls *tls = stream->tls;
    size_t fits = gain->room - gain->n < n ? gain->room - gain->n : n;
    memcpy(gain->bytes + gain->n, text, fits);
    gain->n += fits;
    tls->text = fits < n ? held_new(text + fits, n - fits) : NULL;
    if (fits == n || tls->text != NULL)
        return true;
    refuse(stream, TLS_ALERT_INTERNAL);
    return false;
}

/* A whole record. False: nothing more is to be read. */
static bool take_record(struct stream *stream, unsigned char *record, size_t size, struct gain *gain)
{
    struct tls *tls = stream->tls;
    bool fits = gain->room - gain->n >= size - TLS_RECORD_HEAD - TLS_RECORD_TAG;
    unsigned char *text = fits ? gain->bytes + gain->n : record + TLS_RECORD_HEAD;
    uint8_t type = 0;
    ssize_t n = tls_key_open(&tls->receiving, record, size, text, &type);
    if (n < 0) {
        refuse(stream, (unsigned)-n);
        return false;
    }
    if (type == TLS_TYPE_ALERT)
        return hear_alert(stream, text, (size_t)n);
    if (type == TLS_TYPE_HANDSHAKE)
        return hear_handshake(stream, text, (size_t)n, gain);
    if (type != TLS_TYPE_DATA) {
        refuse(stream, TLS_ALERT_UNEXPECTED);
        return false;
    }
    if (n == 0)
        return bear(stream);
    tls->nothings = 0;
    if (!fits)
        return hold_text(stream, gain, text, (size_t)n);
    gain->n += (size_t)n;
    return true;
}

/* The size of the record at `at`: 0 where too little of it is there to tell, or it can be none. */
static size_t size_at(struct stream *stream, const unsigned char *at, size_t n)
{
    ssize_t size = n < TLS_RECORD_HEAD ? 0 : tls_record_size(at);
    if (size < 0)
        refuse(stream, (unsigned)-size);
    return size > 0 ? (size_t)size : 0;
}

/* Has the caller enough, or have we done enough for one call? */
static bool is_enough(const struct gain *gain)
{
    return gain->n == gain->room || gain->records == OPENED_MAX || gain->updates == UPDATES_MAX;
}

/* The records that are there as wholes, until it is enough. Returns how many bytes they were. */
static size_t take_records(struct stream *stream, unsigned char *bytes, size_t n, struct gain *gain)
{
    size_t at = 0;
    while (!is_enough(gain)) {
        size_t size = size_at(stream, bytes + at, n - at);
        if (size == 0 || size > n - at)
            break;
        at += size;
        gain->records++;
        if (!take_record(stream, bytes + at - size, size, gain))
            break;
    }
    return at;
}

/* Receives more behind the n bytes that are in `input`: so much as may hold what there is room for, and the
 * whole of a record that has begun. A count, or what the kernel says instead. */
static ssize_t receive(struct stream *stream, size_t n, size_t room)
{
    ssize_t begun = n < TLS_RECORD_HEAD ? 0 : tls_record_size(input);
    size_t most = room + TLS_RECORD_HEAD + TLS_RECORD_TAIL;
    most = most < INPUT_MIN ? INPUT_MIN : most;
    most = most < (size_t)begun ? (size_t)begun : most;
    most = most < INPUT ? most : INPUT;
    return tls_layer_recv(stream, input + n, most - n);
}

/* The connection has ended, or broken. */
static void lose(struct stream *stream, ssize_t count)
{
    if (count < 0 && errno == EAGAIN)
        return;
    stream->tls->source = TLS_SOURCE_FAILED;
    tls_fail(stream, 0, count == 0 ? ECONNRESET : errno);
}

/* What is left in `input` of what was received waits for the next recv. */
static void hold_rest(struct stream *stream, const unsigned char *bytes, size_t n)
{
    struct tls *tls = stream->tls;
    if (n == 0 || tls->source != TLS_SOURCE_OPEN)
        return;
    tls->raw = held_new(bytes, n);
    if (tls->raw == NULL)
        refuse(stream, TLS_ALERT_INTERNAL);
}

/* Opens what is there, and receives more as long as that brings nothing, or the kernel may have more. */
static void gather(struct stream *stream, struct gain *gain)
{
    struct tls *tls = stream->tls;
    size_t n = held_take(&tls->raw, input, sizeof input), at;
    for (;;) {
        at = take_records(stream, input, n, gain);
        if (tls->source != TLS_SOURCE_OPEN || is_enough(gain) || (!stream->kernel_readable && gain->n > 0))
            break;
        n -= at;
        memmove(input, input + at, n);
        at = 0;
        ssize_t count = receive(stream, n, gain->room - gain->n);
        if (count <= 0) {
            lose(stream, count);
            break;
        }
        n += (size_t)count;
    }
    hold_rest(stream, input + at, n - at);
}

/* Would another recv give, or refuse, what has come already? */
static bool has_more(const struct tls *tls)
{
    size_t n = held_count(tls->raw);
    return tls->text != NULL || (n >= TLS_RECORD_HEAD && tls_record_size(held_bytes(tls->raw)) <= (ssize_t)n);
}

/* ---- a stream's operations ---- */

static ssize_t records_recv(struct stream *stream, void *bytes, size_t room)
{
    struct tls *tls = stream->tls;
    struct gain gain = {.bytes = bytes, .room = room};
    gain.n = held_take(&tls->text, bytes, room);
    if (tls->source == TLS_SOURCE_OPEN && gain.n < room)
        gather(stream, &gain);
    stream->readable = has_more(tls) || stream->kernel_readable || tls->source != TLS_SOURCE_OPEN;
    if (gain.n > 0)
        return (ssize_t)gain.n;
    if (tls->source != TLS_SOURCE_OPEN)
        return tls_ended(stream);
    if (is_enough(&gain))
        deadline_set(&tls->rest, REST_MS); /* it was updates alone: others, and all deadlines, come first */
    stream->readable = false;
    return STREAM_AGAIN;
}

/* Of what is sealed already. STREAM_AGAIN: it is not yet sent; or the count of its text's bytes. */
static ssize_t send_sealed(struct stream *stream)
{
    struct tls *tls = stream->tls;
    if (tls->sealed == NULL)
        return 0;
    ssize_t sent = tls_layer_send(stream, held_bytes(tls->sealed), held_count(tls->sealed));
    if (sent < 0)
        return errno == EAGAIN ? STREAM_AGAIN : STREAM_FAILED;
    held_take(&tls->sealed, NULL, (size_t)sent);
    return tls->sealed == NULL ? tls->sealed_text : STREAM_AGAIN;
}

/* Gathers a record's text from the parts, `most` bytes of it. */
static size_t fill(unsigned char *text, size_t most, const struct iovec *parts, int count, size_t skip)
{
    size_t n = 0;
    for (int i = 0; i < count && n < most; i++) {
        size_t all = parts[i].iov_len, from = skip < all ? skip : all;
        size_t here = all - from < most - n ? all - from : most - n;
        skip -= from;
        if (here > 0)
            memcpy(text + n, (const char *)parts[i].iov_base + from, here);
        n += here;
    }
    return n;
}

/* Section 4.6.3: before the next text, if the peer has asked for it, or this key has sealed enough. */
static bool update_key(struct stream *stream)
{
    struct tls *tls = stream->tls;
    static const unsigned char update[] = {24, 0, 0, 1, 0};
    if (!tls->update_due && tls->sending.sequence < RECORDS_MAX)
        return true;
    tls->update_due = false;
    if (!send_message(stream, TLS_TYPE_HANDSHAKE, update, sizeof update))
        return false;
    errno = ENOMEM;
    return tls_key_update(&tls->sending);
}

static ssize_t send_failed(struct stream *stream)
{
    int error = errno;
    stream->readable = stream->kernel_readable = true; /* as in a plain stream: what has come is due */
    return tls_fail(stream, 0, error);
}

/* STREAM_FAILED with errno, or how many bytes of the text have gone. */
static ssize_t send_text(struct stream *stream, const struct iovec *parts, int count, size_t total)
{
    struct tls *tls = stream->tls;
    errno = EPIPE;
    if (tls->source == TLS_SOURCE_FAILED)
        return STREAM_FAILED; /* section 6.2: nothing follows a fatal alert */
    ssize_t before = send_sealed(stream);
    size_t sent = before > 0 ? (size_t)before : 0;
    if (before < 0)
        return before == STREAM_AGAIN ? 0 : before;
    while (sent < total && tls->sealed == NULL) {
        if (!update_key(stream))
            return STREAM_FAILED;
        if (tls->sealed != NULL)
            break;
        size_t text = fill(output + TLS_RECORD_HEAD, tls->text_most, parts, count, sent);
        if (!seal_and_send(stream, TLS_TYPE_DATA, text, text))
            return STREAM_FAILED;
        sent += tls->sealed == NULL ? text : 0;
    }
    return (ssize_t)sent;
}

static ssize_t records_send(struct stream *stream, const struct iovec *parts, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    assert(total > 0 && count <= IOV_MAX);
    ssize_t sent = send_text(stream, parts, count, total);
    if (sent == STREAM_FAILED)
        return send_failed(stream);
    stream->writable = sent == (ssize_t)total;
    return sent > 0 ? sent : STREAM_AGAIN;
}

static void say_end(struct stream *stream)
{
    if (stream->tls->source != TLS_SOURCE_FAILED && !stream->gone)
        say(stream, ALERT_WARNING, ALERT_CLOSE_NOTIFY);
}

static void records_shut(struct stream *stream)
{
    say_end(stream);
    stream_plain.shut(stream);
}

static void records_close(struct stream *stream, bool reset)
{
    if (!reset)
        say_end(stream);
    tls_leave(stream);
    stream_plain.close(stream, reset);
}

const struct stream_ops tls_records_ops = {records_recv, records_send, records_shut, records_close};
