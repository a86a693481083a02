/* OpenSSL between an application and a socket: handshakes, and all records of TLS 1.2 and of clients.
 * Invariant: OpenSSL reads and writes through a BIO that knows what the kernel last said (io/tls_layer.c), so
 * no call is made that would say EAGAIN; and whatever makes an operation wait leaves that operation's flag
 * false and an edge owed for it. */
#include "base/mem.h"
#include "io/tls_state.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBJECT_MAX 4096 /* bytes that are passed on */

/* ---- flags ---- */

/* After an operation of OpenSSL that did not do: what it waits for. False: it waits for nothing, it failed.
 */
static bool waits(struct stream *stream, int error, bool *flag, bool *crossed)
{
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        return false;
    bool for_write = error == SSL_ERROR_WANT_WRITE;
    *flag = false;
    *crossed = for_write != (flag == &stream->writable);
    return true;
}

static int fail(struct stream *stream, int error)
{
    int number = error == SSL_ERROR_SYSCALL ? errno : EPROTO;
    unsigned long code = ERR_peek_error();
    if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING || number == 0)
        number = ECONNRESET;
    ERR_clear_error();
    return tls_fail(stream, code, number);
}

bool tls_openssl_holds(const struct tls *tls)
{
    return tls->raw != NULL || (tls->ssl != NULL && SSL_has_pending(tls->ssl));
}

/* ---- the handshake ---- */

static char *subject_of(const X509 *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;
    if (bio == NULL || X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) < 0)
        abort();
    long n = BIO_get_mem_data(bio, &bytes);
    char *text = str_dup((struct str){bytes, n <= SUBJECT_MAX ? (size_t)n : 0});
    BIO_free(bio);
    return text;
}

static void identify(struct tls *tls)
{
    X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (certificate == NULL || !tls->is_server)
        return;
    tls->identity = mem_zero(1, sizeof *tls->identity);
    tls->identity->subject = subject_of(certificate);
    X509_digest(certificate, EVP_sha256(), digest, &size);
    for (unsigned i = 0; i < size; i++)
        snprintf(tls->identity->fingerprint + 2 * (size_t)i, 3, "%02x", digest[i]);
}

/* Only what this program offers can have been chosen (io/tls_context.h). */
static struct str alpn_of(const SSL *ssl)
{
    const unsigned char *name;
    unsigned size;
    SSL_get0_alpn_selected(ssl, &name, &size);
    struct str chosen = {(const char *)name, size};
    if (size == 0)
        return STR("");
    return str_equal(chosen, STR("h2")) ? STR("h2") : STR("http/1.1");
}

/* The handshake has ended: what either direction waited for may be there. */
static void rise(struct stream *stream)
{
    struct tls *tls = stream->tls;
    tls->up = true;
    identify(tls);
    tls->alpn = alpn_of(tls->ssl);
    tls->cipher_name = SSL_get_cipher_name(tls->ssl);
    tls->is_resumed = SSL_session_reused(tls->ssl) == 1;
    tls->asks = SSL_get_verify_mode(tls->ssl) != SSL_VERIFY_NONE;
    tls_records_take_over(stream);
    if (tls->ssl != NULL)
        SSL_set_read_ahead(tls->ssl, 1);
    stream->readable = stream->kernel_readable || tls_openssl_holds(tls);
    stream->writable = stream->kernel_writable;
    stream->recv_awaits_write = stream->send_awaits_read = false;
}

int tls_openssl_shake(struct stream *stream, bool *flag, bool *crossed)
{
    struct tls *tls = stream->tls;
    ERR_clear_error();
    errno = 0;
    if (tls->is_server)
        tls_secrets_learn(&tls->receiving.secret, &tls->sending.secret);
    int done = SSL_do_handshake(tls->ssl), error = SSL_get_error(tls->ssl, done);
    tls_secrets_learn(NULL, NULL);
    if (done == 1) {
        rise(stream);
        return 0;
    }
    if (flag == NULL)
        flag = error == SSL_ERROR_WANT_WRITE ? &stream->writable : &stream->readable;
    if (waits(stream, error, flag, crossed))
        return STREAM_AGAIN;
    tls->source = error == SSL_ERROR_ZERO_RETURN ? TLS_SOURCE_ENDED : TLS_SOURCE_FAILED;
    return fail(stream, error);
}

/* ---- a stream's operations ---- */

/* One read of OpenSSL's: a count, 0 for the end, or STREAM_*. */
static ssize_t read_some(struct stream *stream, char *bytes, size_t room)
{
    struct tls *tls = stream->tls;
    size_t count = 0;
    ERR_clear_error();
    errno = 0;
    int done = SSL_read_ex(tls->ssl, bytes, room, &count);
    int error = done == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, done);
    if (done == 1)
        return (ssize_t)count;
    if (error == SSL_ERROR_ZERO_RETURN) {
        tls->source = TLS_SOURCE_ENDED;
        return 0;
    }
    if (waits(stream, error, &stream->readable, &stream->recv_awaits_write))
        return STREAM_AGAIN;
    tls->source = TLS_SOURCE_FAILED;
    return fail(stream, error);
}

/* Reads on while OpenSSL holds bytes, or the kernel may: else a second call would be needed to learn whether
 * what it holds is a whole record. Behind the last bytes of a peer that has hung up that call finds the end;
 * one that comes without a close_notify makes OpenSSL give up the session, which is good until then. */
static ssize_t read_all(struct stream *stream, void *bytes, size_t room)
{
    struct tls *tls = stream->tls;
    size_t total = 0;
    ssize_t count = 0;
    do {
        count = read_some(stream, (char *)bytes + total, room - total);
        total += count > 0 ? (size_t)count : 0;
    } while (count > 0 && total < room &&
             ((stream->kernel_readable && !stream->hung_up) || tls_openssl_holds(tls)));
    if (count > 0)
        stream->readable = stream->kernel_readable || tls_openssl_holds(tls);
    if (total > 0) {
        stream->readable |= tls->source != TLS_SOURCE_OPEN;
        return (ssize_t)total;
    }
    return count == STREAM_AGAIN ? count : tls_ended(stream);
}

static ssize_t openssl_recv(struct stream *stream, void *bytes, size_t room)
{
    struct tls *tls = stream->tls;
    stream->recv_awaits_write = false;
    if (tls->source != TLS_SOURCE_OPEN)
        return tls_ended(stream);
    if (tls->up)
        return read_all(stream, bytes, room);
    switch (tls_openssl_shake(stream, &stream->readable, &stream->recv_awaits_write)) {
    case 0:
        return stream_recv(stream, bytes, room); /* by whichever operations it has now */
    case STREAM_AGAIN:
        return STREAM_AGAIN;
    default:
        return tls_ended(stream);
    }
}

/* The next record's text: from the one part where it stands, or gathered from several, so that a small head
 * and its body are one record. Returns its length. */
static size_t next_record(const struct iovec *parts, int count, size_t skip, const char **text)
{
    static _Thread_local char gathered[TLS_RECORD_TEXT];
    size_t n = 0;
    for (int i = 0; i < count && n < TLS_RECORD_TEXT; i++) {
        if (skip >= parts[i].iov_len) {
            skip -= parts[i].iov_len;
            continue;
        }
        const char *from = (const char *)parts[i].iov_base + skip;
        size_t here = parts[i].iov_len - skip;
        skip = 0;
        if (n == 0 && (i == count - 1 || here >= TLS_RECORD_TEXT)) {
            *text = from;
            return here < TLS_RECORD_TEXT ? here : TLS_RECORD_TEXT;
        }
        here = here < TLS_RECORD_TEXT - n ? here : TLS_RECORD_TEXT - n;
        memcpy(gathered + n, from, here);
        n += here;
    }
    *text = gathered;
    return n;
}

static ssize_t write_some(struct stream *stream, const char *text, size_t size)
{
    struct tls *tls = stream->tls;
    size_t count = 0;
    ERR_clear_error();
    errno = 0;
    int done = SSL_write_ex(tls->ssl, text, size, &count);
    int error = done == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, done);
    if (done == 1)
        return (ssize_t)count;
    if (waits(stream, error, &stream->writable, &stream->send_awaits_read))
        return STREAM_AGAIN;
    stream->readable = stream->kernel_readable = true; /* as in a plain stream: what has come is due */
    return fail(stream, error);
}

static ssize_t openssl_send(struct stream *stream, const struct iovec *parts, int count)
{
    size_t total = 0, sent = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    assert(total > 0 && count <= IOV_MAX && stream->tls->up);
    stream->send_awaits_read = false;
    while (sent < total) {
        const char *text;
        size_t size = next_record(parts, count, sent, &text);
        ssize_t written = write_some(stream, text, size);
        if (written == STREAM_FAILED)
            return STREAM_FAILED;
        if (written == STREAM_AGAIN)
            break;
        sent += (size_t)written;
    }
    return sent > 0 ? (ssize_t)sent : STREAM_AGAIN;
}

/* close_notify, as far as the kernel has room for it. */
static void say_end(const struct stream *stream)
{
    const struct tls *tls = stream->tls;
    if (stream->gone || !tls->up || tls->source == TLS_SOURCE_FAILED ||
        (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return;
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

static void openssl_shut(struct stream *stream)
{
    say_end(stream);
    stream_plain.shut(stream);
}

static void openssl_close(struct stream *stream, bool reset)
{
    if (!reset)
        say_end(stream);
    tls_leave(stream);
    stream_plain.close(stream, reset);
}

const struct stream_ops tls_openssl_ops = {openssl_recv, openssl_send, openssl_shut, openssl_close};
