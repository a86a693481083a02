/* Contexts over OpenSSL's. Invariant: every context, whichever its side, has passed policy(). */
#include "io/tls_context.h"

#include "base/mem.h"
#include "io/certificate.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Mozilla's "intermediate" less finite-field Diffie-Hellman, which no client of today needs. */
#define CIPHERS                                                  \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

struct tls_context {
    atomic_uint references;
    SSL_CTX *ssl;
    bool h2;
};

/* A client without AES in hardware puts ChaCha20 first, and then gets it. */
#define OPTIONS                                                                          \
    (SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | \
     SSL_OP_PRIORITIZE_CHACHA | SSL_OP_ENABLE_KTLS)

/* Idle connections own no buffers; a record is read with one call; what the outlet offers again after a full
 * socket may stand elsewhere by then. */
static bool policy(SSL_CTX *ssl)
{
    SSL_CTX_set_options(ssl, OPTIONS);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ssl, CIPHERS) == 1 && SSL_CTX_set_ciphersuites(ssl, SUITES) == 1 &&
           SSL_CTX_set1_groups_list(ssl, GROUPS) == 1;
}

static struct tls_context *make(const SSL_METHOD *method)
{
    struct tls_context *context = mem_zero(1, sizeof *context);
    context->references = 1;
    context->ssl = SSL_CTX_new(method);
    if (context->ssl == NULL || !policy(context->ssl))
        abort(); /* OpenSSL without the algorithms that it is made for */
    return context;
}

static bool use(SSL_CTX *ssl, const struct tls_pair *pair, struct err *err)
{
    struct certificate *certificate = certificate_read(pair->certificate, pair->key, err);
    if (certificate == NULL)
        return false;
    bool used =
        SSL_CTX_use_cert_and_key(ssl, certificate->leaf, certificate->key, certificate->chain, 1) == 1;
    certificate_free(certificate);
    return used || err_set(err, "the certificate cannot be used: %s", certificate_reason());
}

/* What the client offers, in our order. Where nothing is common the connection goes on as HTTP/1.1: many
 * clients offer what they do not insist on. */
static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                           const unsigned char *offered, unsigned size, void *arg)
{
    static const unsigned char protocols[] = "\x02h2\x08http/1.1";
    const struct tls_context *context = arg;
    const unsigned char *ours = context->h2 ? protocols : protocols + 3;
    unsigned char *chosen;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_size, ours, context->h2 ? 12 : 9, offered, size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

struct tls_context *tls_server_new(const struct tls_server_options *options, struct err *err)
{
    struct tls_context *context = make(TLS_server_method());
    context->h2 = options->h2;
    SSL_CTX_set_alpn_select_cb(context->ssl, select_protocol, context);
    for (size_t i = 0; i < options->count; i++) {
        if (!use(context->ssl, &options->pairs[i], err)) {
            tls_context_free(context);
            return NULL;
        }
    }
    return context;
}

static bool believe(SSL_CTX *ssl, struct str authorities, struct err *err)
{
    STACK_OF(X509) *all = certificate_read_all(authorities, err);
    if (all == NULL)
        return err_prefix(err, "the authorities cannot be used");
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    bool good = true;
    for (int i = 0; i < sk_X509_num(all); i++)
        good = X509_STORE_add_cert(store, sk_X509_value(all, i)) == 1 && good;
    sk_X509_pop_free(all, X509_free);
    return good || err_set(err, "the authorities cannot be used: %s", certificate_reason());
}

struct tls_context *tls_client_new(const struct tls_client_options *options, struct err *err)
{
    struct tls_context *context = make(TLS_client_method());
    const unsigned char *protocols = (const unsigned char *)(options->h2 ? "\x02h2" : "\x08http/1.1");
    if (SSL_CTX_set_alpn_protos(context->ssl, protocols, options->h2 ? 3 : 9) != 0)
        abort();
    SSL_CTX_set_verify(context->ssl, options->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if ((!options->verify || believe(context->ssl, options->authorities, err)) &&
        (options->pair == NULL || use(context->ssl, options->pair, err)))
        return context;
    tls_context_free(context);
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void tls_context_free(struct tls_context *context)
{
    if (context == NULL || atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) > 1)
        return;
    SSL_CTX_free(context->ssl);
    free(context);
}

struct ssl_st *tls_context_connection(struct tls_context *context)
{
    return SSL_new(context->ssl);
}
