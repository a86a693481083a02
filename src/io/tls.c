/* Beginnings and ends of TLS on a stream, and questions. What is read and written goes by OpenSSL
 * (io/tls_openssl.c) or by records of our own (io/tls_records.c). */
#include "io/tls_layer.h"
#include "io/tls_memory.h"
#include "io/tls_policy.h"
#include "io/tls_state.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* ---- for both ---- */

int tls_fail(struct stream *stream, unsigned long code, int error)
{
    if (stream->tls->failure == 0)
        stream->tls->failure = code;
    if (stream->error == 0)
        stream->error = error;
    return STREAM_FAILED;
}

ssize_t tls_ended(struct stream *stream)
{
    stream->readable = false;
    return stream->tls->source == TLS_SOURCE_ENDED ? 0 : STREAM_FAILED;
}

void tls_free_ssl(SSL *ssl)
{
    tls_memory_begin_wiping();
    SSL_free(ssl);
    tls_memory_end_wiping();
}

void tls_leave(struct stream *stream)
{
    struct tls *tls = stream->tls;
    stream->tls = NULL;
    stream->ops = &stream_plain;
    tls_free_ssl(tls->ssl);
    tls_context_free(tls->context);
    if (tls->is_server)
        deadline_clear(&tls->rest);
    tls_key_end(&tls->receiving);
    tls_key_end(&tls->sending);
    held_free(tls->raw);
    held_free(tls->text);
    held_free(tls->sealed);
    if (tls->identity != NULL)
        free(tls->identity->subject);
    free(tls->identity);
    free(tls);
}

/* ---- beginnings ---- */

/* How many records the key of what we send has sealed: its first one follows the secret that it is made of.
 */
static void count_record(int written, int version, int type, const void *bytes, size_t size, SSL *ssl,
                         void *arg)
{
    struct tls *tls = arg;
    (void)version;
    (void)bytes;
    (void)ssl;
    if (!written || tls->sending.secret.secret_size == 0)
        return;
    if (type == SSL3_RT_HEADER)
        tls->sending.sequence++;
    else if (type == SSL3_RT_HANDSHAKE)
        tls->said += size;
}

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
    stream->ops = &tls_openssl_ops;
    return true;
}

bool tls_accept(struct stream *stream, struct loop *loop, struct tls_context *context)
{
    if (!begin(stream, context))
        return false;
    struct tls *tls = stream->tls;
    tls->is_server = true;
    SSL_set_accept_state(tls->ssl);
    SSL_set_read_ahead(tls->ssl, 0); /* what comes behind the handshake may not be for OpenSSL */
    tls_records_init(stream, loop);
    SSL_set_msg_callback(tls->ssl, count_record);
    SSL_set_msg_callback_arg(tls->ssl, tls);
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
    tls_leave(stream);
    return false;
}

void tls_limit(struct stream *stream, uint32_t bytes)
{
    stream->limited = true;
    stream->allowance = bytes;
}

int tls_handshake(struct stream *stream)
{
    const struct tls *tls = stream->tls;
    bool crossed;
    if (tls->up)
        return 0;
    if (tls->source != TLS_SOURCE_OPEN)
        return STREAM_FAILED;
    return tls_openssl_shake(stream, NULL, &crossed);
}

/* ---- questions ---- */

bool tls_is_up(const struct stream *stream)
{
    return stream->tls != NULL && stream->tls->up;
}

bool tls_is_unanswered(const struct stream *stream)
{
    const SSL *ssl = tls_is_on(stream) ? stream->tls->ssl : NULL;
    return ssl != NULL && BIO_number_read(SSL_get_rbio(ssl)) > 0 &&
           BIO_number_written(SSL_get_wbio(ssl)) == 0;
}

struct str tls_alpn(const struct stream *stream)
{
    return stream->tls->alpn;
}

bool tls_asks(const struct stream *stream)
{
    return stream->tls->asks;
}

const struct tls_identity *tls_identity(const struct stream *stream)
{
    return stream->tls->identity;
}

const char *tls_version(const struct stream *stream)
{
    const SSL *ssl = stream->tls->ssl;
    return ssl != NULL ? SSL_get_version(ssl) : "TLSv1.3";
}

const char *tls_cipher(const struct stream *stream)
{
    return stream->tls->cipher_name;
}

bool tls_is_resumed(const struct stream *stream)
{
    return stream->tls->is_resumed;
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
    SSL *ssl = stream->tls->ssl;
    if (SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && !tls_policy_may_resume(session))
        return;
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    if (copy == NULL || SSL_set_session(ssl, copy) != 1)
        ERR_clear_error(); /* then the handshake is a whole one */
    SSL_SESSION_free(copy);
}

/* A copy: OpenSSL spoils the connection's own when that one is cut. */
struct ssl_session_st *tls_session(const struct stream *stream)
{
    SSL_SESSION *session = SSL_get0_session(stream->tls->ssl);
    if (session == NULL || !SSL_SESSION_is_resumable(session))
        return NULL;
    return SSL_SESSION_dup(session);
}

void tls_session_free(struct ssl_session_st *session)
{
    SSL_SESSION_free(session);
}
