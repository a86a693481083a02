/* OpenSSL between an application and a socket. Invariant: OpenSSL reads and writes through a BIO that knows
 * what the kernel last said (stream->kernel_*), so no call is made that would say EAGAIN; and whatever makes
 * an operation wait leaves that operation's flag false and an edge owed for it. */
#include "io/tls.h"

#include "base/mem.h"
#include "io/tls_layer.h"
#include "io/tls_policy.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RECORD 16384     /* bytes of text that a record holds at most (RFC 8446 section 5.1) */
#define SUBJECT_MAX 4096 /* bytes that are passed on */

/* What has become of the peer's direction. */
enum source { SOURCE_OPEN, SOURCE_ENDED, SOURCE_FAILED };

struct tls {
    SSL *ssl;
    struct tls_context *context;
    struct tls_identity *identity; /* NULL: none */
    unsigned long failure;         /* OpenSSL's code of the first one; 0: none, or the socket's */
    enum source source;
    bool up;
};

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
    struct tls *tls = stream->tls;
    int number = error == SSL_ERROR_SYSCALL ? errno : EPROTO;
    unsigned long code = ERR_peek_error();
    if (tls->failure == 0)
        tls->failure = code;
    if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING || number == 0)
        number = ECONNRESET;
    if (stream->error == 0)
        stream->error = number;
    ERR_clear_error();
    return STREAM_FAILED;
}

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
    if (certificate == NULL || tls->context->server == NULL)
        return;
    tls->identity = mem_zero(1, sizeof *tls->identity);
    tls->identity->subject = subject_of(certificate);
    X509_digest(certificate, EVP_sha256(), digest, &size);
    for (unsigned i = 0; i < size; i++)
        snprintf(tls->identity->fingerprint + 2 * (size_t)i, 3, "%02x", digest[i]);
}

static void release(struct tls *tls)
{
    SSL_free(tls->ssl);
    tls_context_free(tls->context);
    if (tls->identity != NULL)
        free(tls->identity->subject);
    free(tls->identity);
    free(tls);
}

/* The handshake has ended: what either direction waited for may be there. */
static void rise(struct stream *stream)
{
    struct tls *tls = stream->tls;
    tls->up = true;
    identify(tls);
    stream->readable = stream->kernel_readable || SSL_has_pending(tls->ssl);
    stream->writable = stream->kernel_writable;
    stream->recv_awaits_write = stream->send_awaits_read = false;
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
    if (!tls->up && SSL_is_init_finished(tls->ssl))
        rise(stream);
    if (done == 1)
        return (ssize_t)count;
    if (error == SSL_ERROR_ZERO_RETURN) {
        tls->source = SOURCE_ENDED;
        return 0;
    }
    if (waits(stream, error, &stream->readable, &stream->recv_awaits_write))
        return STREAM_AGAIN;
    tls->source = SOURCE_FAILED;
    return fail(stream, error);
}

/* Nothing more can come: the flag falls, as after the end of a plain stream. */
static ssize_t ended(struct stream *stream)
{
    stream->readable = false;
    return stream->tls->source == SOURCE_ENDED ? 0 : STREAM_FAILED;
}

/* Reads on while OpenSSL holds bytes, or the kernel may: else a second call would be needed to learn whether
 * what it holds is a whole record. */
static ssize_t tls_recv(struct stream *stream, void *bytes, size_t room)
{
    struct tls *tls = stream->tls;
    size_t total = 0;
    ssize_t count = 0;
    stream->kernel_readable |= stream->unsure;
    stream->unsure = false;
    stream->recv_awaits_write = false;
    if (tls->source != SOURCE_OPEN)
        return ended(stream);
    do {
        count = read_some(stream, (char *)bytes + total, room - total);
        total += count > 0 ? (size_t)count : 0;
    } while (count > 0 && total < room && (stream->kernel_readable || SSL_has_pending(tls->ssl)));
    if (count > 0)
        stream->readable = stream->kernel_readable || SSL_has_pending(tls->ssl);
    if (total > 0) {
        stream->readable |= tls->source != SOURCE_OPEN;
        stream->unsure = !stream->readable;
        return (ssize_t)total;
    }
    return count == STREAM_AGAIN ? count : ended(stream);
}

/* The next record's text: from the one part where it stands, or gathered from several, so that a small head
 * and its body are one record. Returns its length. */
static size_t next_record(const struct iovec *parts, int count, size_t skip, const char **text)
{
    static _Thread_local char gathered[RECORD];
    size_t n = 0;
    for (int i = 0; i < count && n < RECORD; i++) {
        if (skip >= parts[i].iov_len) {
            skip -= parts[i].iov_len;
            continue;
        }
        const char *from = (const char *)parts[i].iov_base + skip;
        size_t here = parts[i].iov_len - skip;
        skip = 0;
        if (n == 0 && (i == count - 1 || here >= RECORD)) {
            *text = from;
            return here < RECORD ? here : RECORD;
        }
        here = here < RECORD - n ? here : RECORD - n;
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
    if (!tls->up && SSL_is_init_finished(tls->ssl))
        rise(stream);
    if (done == 1)
        return (ssize_t)count;
    if (waits(stream, error, &stream->writable, &stream->send_awaits_read))
        return STREAM_AGAIN;
    stream->readable = stream->kernel_readable = true; /* as in a plain stream: what has come is due */
    return fail(stream, error);
}

static ssize_t tls_send(struct stream *stream, const struct iovec *parts, int count)
{
    size_t total = 0, sent = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    assert(total > 0 && count <= IOV_MAX);
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
static void say_end(const struct tls *tls)
{
    if (!tls->up || tls->source == SOURCE_FAILED || (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return;
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

static void tls_shut(struct stream *stream)
{
    say_end(stream->tls);
    stream_plain.shut(stream);
}

static void tls_close(struct stream *stream, bool reset)
{
    struct tls *tls = stream->tls;
    if (tls != NULL) {
        if (!reset)
            say_end(tls);
        release(tls);
    }
    stream->tls = NULL;
    stream_plain.close(stream, reset);
}

static const struct stream_ops operations = {tls_recv, tls_send, tls_shut, tls_close};

/* ---- beginnings ---- */

static bool begin(struct stream *stream, struct tls_context *context)
{
    struct tls *tls = calloc(1, sizeof *tls);
    SSL *ssl = tls == NULL ? NULL : tls_context_connection(context);
    if (ssl == NULL || !tls_layer_join(ssl, stream)) {
        SSL_free(ssl);
        free(tls);
        ERR_clear_error();
        return false;
    }
    *tls = (struct tls){.ssl = ssl, .context = tls_context_ref(context)};
    stream->kernel_readable = stream->readable;
    stream->kernel_writable = stream->writable;
    stream->tls = tls;
    stream->ops = &operations;
    return true;
}

bool tls_accept(struct stream *stream, struct tls_context *context)
{
    if (!begin(stream, context))
        return false;
    SSL_set_accept_state(stream->tls->ssl);
    return true;
}

/* RFC 9525: a name by DNS or an IP address, as it is meant; no partial wildcards. */
static bool expect(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
        return true;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

bool tls_connect(struct stream *stream, struct tls_context *context, const char *name)
{
    if (!begin(stream, context))
        return false;
    struct tls *tls = stream->tls;
    SSL_set_connect_state(tls->ssl);
    if (name == NULL || expect(tls->ssl, name))
        return true;
    release(tls);
    stream->tls = NULL;
    stream->ops = &stream_plain;
    return false;
}

void tls_limit(struct stream *stream, uint32_t bytes)
{
    stream->limited = true;
    stream->allowance = bytes;
}

int tls_handshake(struct stream *stream)
{
    struct tls *tls = stream->tls;
    if (tls->up)
        return 0;
    if (tls->source == SOURCE_FAILED)
        return STREAM_FAILED;
    ERR_clear_error();
    errno = 0;
    int done = SSL_do_handshake(tls->ssl), error = SSL_get_error(tls->ssl, done);
    if (done == 1) {
        rise(stream);
        return 0;
    }
    bool *flag = error == SSL_ERROR_WANT_WRITE ? &stream->writable : &stream->readable, crossed;
    if (waits(stream, error, flag, &crossed))
        return STREAM_AGAIN;
    tls->source = SOURCE_FAILED;
    return fail(stream, error);
}

/* ---- questions ---- */

static SSL *ssl_of(const struct stream *stream)
{
    return stream->tls->ssl;
}

bool tls_is_up(const struct stream *stream)
{
    return stream->tls != NULL && stream->tls->up;
}

bool tls_is_unanswered(const struct stream *stream)
{
    return tls_is_on(stream) && BIO_number_read(SSL_get_rbio(ssl_of(stream))) > 0 &&
           BIO_number_written(SSL_get_wbio(ssl_of(stream))) == 0;
}

struct str tls_alpn(const struct stream *stream)
{
    const unsigned char *name;
    unsigned size;
    SSL_get0_alpn_selected(ssl_of(stream), &name, &size);
    return (struct str){(const char *)name, size};
}

bool tls_asks(const struct stream *stream)
{
    return SSL_get_verify_mode(stream->tls->ssl) != SSL_VERIFY_NONE;
}

const struct tls_identity *tls_identity(const struct stream *stream)
{
    return stream->tls->identity;
}

const char *tls_version(const struct stream *stream)
{
    return SSL_get_version(ssl_of(stream));
}

const char *tls_cipher(const struct stream *stream)
{
    return SSL_get_cipher_name(ssl_of(stream));
}

bool tls_is_resumed(const struct stream *stream)
{
    return SSL_session_reused(ssl_of(stream)) == 1;
}

bool tls_why(const struct stream *stream, struct err *err)
{
    const struct tls *tls = stream->tls;
    const char *reason = tls->failure == 0 ? NULL : ERR_reason_error_string(tls->failure);
    if (ERR_GET_REASON(tls->failure) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return err_set(err, "%s: %s", reason, X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl)));
    if (reason == NULL)
        reason = stream->error != 0 ? strerror(stream->error) : "it did not come to an end";
    return err_set(err, "%s", reason);
}

bool tls_is_unverified(const struct stream *stream)
{
    const struct tls *tls = stream->tls;
    return tls != NULL && ERR_GET_REASON(tls->failure) == SSL_R_CERTIFICATE_VERIFY_FAILED;
}

bool tls_is_refused(const struct stream *stream)
{
    const struct tls *tls = stream->tls;
    return tls != NULL && ERR_GET_LIB(tls->failure) == ERR_LIB_SSL &&
           ERR_GET_REASON(tls->failure) >= SSL_AD_REASON_OFFSET;
}

/* ---- sessions ---- */

void tls_resume(struct stream *stream, struct ssl_session_st *session)
{
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    if (copy == NULL || SSL_set_session(ssl_of(stream), copy) != 1)
        ERR_clear_error(); /* then the handshake is a whole one */
    SSL_SESSION_free(copy);
}

/* A copy: OpenSSL spoils the connection's own when that one is cut. */
struct ssl_session_st *tls_session(const struct stream *stream)
{
    SSL_SESSION *session = SSL_get0_session(ssl_of(stream));
    if (session == NULL || !SSL_SESSION_is_resumable(session))
        return NULL;
    return SSL_SESSION_dup(session);
}

void tls_session_free(struct ssl_session_st *session)
{
    SSL_SESSION_free(session);
}
