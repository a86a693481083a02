/* The policy, and clients' contexts. Invariant: every SSL_CTX of this program, whichever its side, comes from
 * tls_policy_new. */
#include "io/tls_context.h"

#include "base/mem.h"
#include "io/tls_policy.h"
#include "io/tls_provider.h"

#include <stdlib.h>

/* Mozilla's "intermediate" less finite-field Diffie-Hellman, which no client of today needs. */
#define CIPHERS                                                  \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

/* A client without AES in hardware puts ChaCha20 first, and then gets it. */
#define OPTIONS                                                                          \
    (SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | \
     SSL_OP_PRIORITIZE_CHACHA)

/* Idle connections own no buffers; a record is read with one call; what the outlet offers again after a full
 * socket may stand elsewhere by then. */
SSL_CTX *tls_policy_new(const SSL_METHOD *method, enum tls_minimum minimum)
{
    SSL_CTX *ssl = SSL_CTX_new_ex(NULL, tls_provider_properties(), method);
    int version = minimum == TLS_MINIMUM_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (ssl == NULL || SSL_CTX_set_min_proto_version(ssl, version) != 1 ||
        SSL_CTX_set_cipher_list(ssl, CIPHERS) != 1 || SSL_CTX_set_ciphersuites(ssl, SUITES) != 1 ||
        SSL_CTX_set1_groups_list(ssl, GROUPS) != 1)
        abort(); /* an OpenSSL without what it is for */
    SSL_CTX_set_options(ssl, OPTIONS);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    return ssl;
}

bool tls_policy_use(SSL_CTX *ssl, const struct certificate *certificate, struct err *err)
{
    return SSL_CTX_use_cert_and_key(ssl, certificate->leaf, certificate->key, certificate->chain, 1) == 1 ||
           err_set(err, "the certificate cannot be used: %s", certificate_reason());
}

bool tls_policy_may_resume(const SSL_SESSION *session)
{
    const X509 *shown = SSL_SESSION_get0_peer((SSL_SESSION *)session); /* which does not change it */
    return shown == NULL ||
           X509_cmp_timeframe(NULL, X509_get0_notBefore(shown), X509_get0_notAfter(shown)) == 0;
}

X509_STORE *tls_policy_authorities(struct str text, struct err *err)
{
    STACK_OF(X509) *all = certificate_read_all(text, err);
    if (all == NULL) {
        err_prefix(err, "the authorities cannot be used");
        return NULL;
    }
    X509_STORE *store = X509_STORE_new();
    bool good = store != NULL;
    for (int i = 0; good && i < sk_X509_num(all); i++)
        good = X509_STORE_add_cert(store, sk_X509_value(all, i)) == 1;
    sk_X509_pop_free(all, X509_free);
    if (good)
        return store;
    X509_STORE_free(store);
    err_set(err, "the authorities cannot be used: %s", certificate_reason());
    return NULL;
}

static bool show(SSL_CTX *ssl, const struct tls_pair *pair, struct err *err)
{
    struct certificate *certificate = certificate_read(pair->certificate, pair->key, err);
    if (certificate == NULL)
        return false;
    bool used = tls_policy_use(ssl, certificate, err);
    certificate_free(certificate);
    return used;
}

static bool believe(SSL_CTX *ssl, struct str authorities, struct err *err)
{
    X509_STORE *store = tls_policy_authorities(authorities, err);
    if (store != NULL)
        SSL_CTX_set_cert_store(ssl, store);
    return store != NULL;
}

struct tls_context *tls_client_new(const struct tls_client_options *options, struct err *err)
{
    struct tls_context *context = mem_zero(1, sizeof *context);
    context->references = 1;
    context->ssl = tls_policy_new(TLS_client_method(), options->minimum);
    const unsigned char *protocols = (const unsigned char *)(options->h2 ? "\x02h2" : "\x08http/1.1");
    if (SSL_CTX_set_alpn_protos(context->ssl, protocols, options->h2 ? 3 : 9) != 0)
        abort();
    SSL_CTX_set_verify(context->ssl, options->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if ((!options->verify || believe(context->ssl, options->authorities, err)) &&
        (options->pair == NULL || show(context->ssl, options->pair, err)))
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
    if (context->server != NULL)
        tls_server_free(context->server);
    SSL_CTX_free(context->ssl);
    free(context);
}

struct ssl_st *tls_context_connection(struct tls_context *context)
{
    return SSL_new(context->ssl);
}
