/* Servers' contexts: one SSL_CTX for each set of certificates that some name has, and the callbacks that
 * choose among them. Invariant: all of one server agree in everything but their certificates, so that it does
 * not matter for a session which of them it was begun with. */
#include "base/mem.h"
#include "io/tls_memory.h"
#include "io/tls_names.h"
#include "io/tls_policy.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SESSION_S (8 * 3600) /* how long a session can be resumed */

struct staple {
    unsigned char *bytes; /* NULL: none */
    size_t size;
    time_t until; /* it is not shown from then on */
};

struct tls_server {
    struct certificate **certificates;
    struct staple *staples; /* one a certificate */
    size_t count;
    struct tls_names names;
    SSL_CTX **contexts;
    size_t context_count;
    enum tls_protocols protocols;
    X509_STORE *authorities; /* of clients; NULL: none is asked for a certificate */
    STACK_OF(X509_NAME) * authority_names;
    struct tls_ticket_key *tickets; /* a secret; NULL: there are none */
    size_t ticket_count;
};

/* ---- choices during a handshake ---- */

#define H2 "\x02h2"
#define HTTP1 "\x08http/1.1\x08http/1.0" /* whoever has the first speaks the second */
#define PROTOCOLS(TEXT)       \
    {                         \
        TEXT, sizeof TEXT - 1 \
    }

/* What the client offers, in our order. Who has nothing in common with us may have been led here by somebody
 * between, who would have it take our answers for those of another protocol (ALPACA). */
static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                           const unsigned char *offered, unsigned size, void *arg)
{
    static const struct str lists[TLS_PROTOCOLS] = {[TLS_HTTP1] = PROTOCOLS(HTTP1),
                                                    [TLS_H2_HTTP1] = PROTOCOLS(H2 HTTP1),
                                                    [TLS_H2] = PROTOCOLS(H2),
                                                    [TLS_HTTP1_H2] = PROTOCOLS(HTTP1 H2)};
    const struct tls_server *server = arg;
    struct str ours = lists[server->protocols];
    unsigned char *chosen;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_size, (const unsigned char *)ours.p, (unsigned)ours.n, offered,
                              size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int select_certificate(SSL *ssl, int *alert, void *arg)
{
    const struct tls_server *server = arg;
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct tls_name *name = asked == NULL ? NULL : tls_names_find(&server->names, asked);
    (void)alert;
    if (name == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_SSL_CTX(ssl, name->context);
    return SSL_TLSEXT_ERR_OK;
}

static const struct staple *staple_of(const struct tls_server *server, const X509 *leaf)
{
    for (size_t i = 0; i < server->count; i++) {
        if (server->certificates[i]->leaf == leaf && server->staples[i].bytes != NULL)
            return &server->staples[i];
    }
    return NULL;
}

static int staple(SSL *ssl, void *arg)
{
    const struct staple *staple = staple_of(arg, SSL_get_certificate(ssl));
    if (staple == NULL || time(NULL) >= staple->until)
        return SSL_TLSEXT_ERR_NOACK;
    unsigned char *copy = OPENSSL_memdup(staple->bytes, staple->size);
    if (copy == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->size);
    return SSL_TLSEXT_ERR_OK;
}

/* ---- tickets ---- */

static const struct tls_ticket_key *ticket_key(const struct tls_server *server, const unsigned char *name)
{
    for (size_t i = 0; i < server->ticket_count; i++) {
        if (memcmp(server->tickets[i].name, name, sizeof server->tickets[i].name) == 0)
            return &server->tickets[i];
    }
    return NULL;
}

static bool set_mac(EVP_MAC_CTX *mac, const struct tls_ticket_key *key)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof key->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb(3) wants it: 0: unknown key, a full handshake follows; 2: good, but
 * renew it, which is always done where clients use a ticket only once (RFC 8446 appendix C.4). */
static int seal_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                       EVP_MAC_CTX *mac, int sealing)
{
    const struct tls_server *server = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct tls_ticket_key *key = sealing ? server->tickets : ticket_key(server, name);
    if (key == NULL)
        return 0;
    if (sealing) {
        memcpy(name, key->name, sizeof key->name);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1 ||
            EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv) != 1)
            return -1;
    } else if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv) != 1) {
        return -1;
    }
    if (!set_mac(mac, key))
        return -1;
    return sealing || (key == server->tickets && SSL_version(ssl) < TLS1_3_VERSION) ? 1 : 2;
}

/* As SSL_CTX_set_session_ticket_cb(3) wants it. */
static SSL_TICKET_RETURN judge_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t size,
                                      SSL_TICKET_STATUS status, void *arg)
{
    (void)ssl;
    (void)name;
    (void)size;
    (void)arg;
    if (session != NULL && !tls_policy_may_resume(session))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    switch (status) {
    case SSL_TICKET_SUCCESS:
        return SSL_TICKET_RETURN_USE;
    case SSL_TICKET_SUCCESS_RENEW:
        return SSL_TICKET_RETURN_USE_RENEW;
    default:
        return SSL_TICKET_RETURN_IGNORE_RENEW; /* there is no session in it */
    }
}

/* A ticket costs a twentieth of a full handshake; who resumes gets the next one, so one is enough. */
static void set_tickets(SSL_CTX *ssl, const struct tls_server *server)
{
    SSL_CTX_set_timeout(ssl, SESSION_S);
    SSL_CTX_set_num_tickets(ssl, 1);
    if (server->ticket_count > 0) {
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, seal_ticket);
        return;
    }
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ssl, 0);
}

/* ---- contexts ---- */

/* A session is resumed only where clients are verified in the same way: its name tells how. */
static void name_sessions(SSL_CTX *ssl, const struct tls_server_options *options)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint32_t verify = options->verify;
    if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(md, &verify, sizeof verify) != 1 ||
        EVP_DigestUpdate(md, options->client_ca.p, options->client_ca.n) != 1 ||
        EVP_DigestFinal_ex(md, digest, &size) != 1 || SSL_CTX_set_session_id_context(ssl, digest, size) != 1)
        abort();
    EVP_MD_CTX_free(md);
}

static void ask_clients(SSL_CTX *ssl, const struct tls_server *server, enum tls_verify verify)
{
    if (server->authorities == NULL)
        return;
    int required = verify == TLS_VERIFY_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | required, NULL);
    SSL_CTX_set1_cert_store(ssl, server->authorities);
    SSL_CTX_set_client_CA_list(ssl, SSL_dup_CA_list(server->authority_names));
    SSL_CTX_set_session_ticket_cb(ssl, NULL, judge_ticket, NULL);
}

static SSL_CTX *make_context(struct tls_server *server, const struct tls_server_options *options,
                             const struct tls_name *name, struct err *err)
{
    SSL_CTX *ssl = tls_policy_new(TLS_server_method(), options->minimum);
    SSL_CTX_set_app_data(ssl, server);
    SSL_CTX_set_alpn_select_cb(ssl, select_protocol, server);
    SSL_CTX_set_tlsext_servername_callback(ssl, select_certificate);
    SSL_CTX_set_tlsext_servername_arg(ssl, server);
    SSL_CTX_set_tlsext_status_cb(ssl, staple);
    SSL_CTX_set_tlsext_status_arg(ssl, server);
    set_tickets(ssl, server);
    name_sessions(ssl, options);
    ask_clients(ssl, server, options->verify);
    server->contexts = mem_resize(server->contexts, server->context_count + 1, sizeof *server->contexts);
    server->contexts[server->context_count++] = ssl;
    for (size_t i = 0; i < name->count; i++) {
        if (!tls_policy_use(ssl, server->certificates[name->certificates[i]], err))
            return NULL;
    }
    return ssl;
}

/* Names with the same certificates share a context. */
static void *find_context(const struct tls_server *server, const struct tls_name *name)
{
    for (const struct tls_name *other = server->names.list; other < name; other++) {
        if (other->count == name->count &&
            memcmp(other->certificates, name->certificates, name->count * sizeof *name->certificates) == 0)
            return other->context;
    }
    return NULL;
}

static bool make_contexts(struct tls_server *server, const struct tls_server_options *options,
                          struct err *err)
{
    for (size_t i = 0; i < server->names.count; i++) {
        struct tls_name *name = &server->names.list[i];
        name->context = find_context(server, name);
        if (name->context == NULL)
            name->context = make_context(server, options, name, err);
        if (name->context == NULL)
            return false;
    }
    return true;
}

/* For who names nothing known: the first certificate, and those of other keys that stand beside it. */
static SSL_CTX *first_context(struct tls_server *server, const struct tls_server_options *options,
                              struct err *err)
{
    for (size_t i = 0; i < server->names.count; i++) {
        if (server->names.list[i].certificates[0] == 0)
            return server->names.list[i].context;
    }
    return make_context(server, options, &(struct tls_name){.certificates = {0}, .count = 1}, err);
}

/* ---- what is read ---- */

static bool read_staple(struct tls_server *server, size_t index, struct str ocsp, struct err *err)
{
    struct staple *staple = &server->staples[index];
    if (ocsp.n == 0)
        return true;
    if (!certificate_check_staple(server->certificates[index], ocsp, &staple->until, err))
        return false;
    staple->bytes = OPENSSL_memdup(ocsp.p, ocsp.n);
    staple->size = staple->bytes == NULL ? 0 : ocsp.n;
    return true;
}

static bool read_pairs(struct tls_server *server, const struct tls_server_options *options, struct err *err)
{
    server->certificates = mem_zero(options->count, sizeof *server->certificates);
    server->staples = mem_zero(options->count, sizeof *server->staples);
    for (size_t i = 0; i < options->count; i++) {
        const struct tls_pair *pair = &options->pairs[i];
        struct certificate *certificate = certificate_read(pair->certificate, pair->key, err);
        if (certificate == NULL)
            return false;
        server->certificates[server->count++] = certificate;
        if (!read_staple(server, i, pair->ocsp, err))
            return false;
    }
    tls_names_make(&server->names, server->certificates, server->count);
    return true;
}

static bool take_tickets(struct tls_server *server, const struct tls_server_options *options, struct err *err)
{
    size_t most = TLS_TICKET_KEYS_MAX;
    size_t count = options->ticket_count < most ? options->ticket_count : most;
    size_t size = count * sizeof *server->tickets;
    if (count == 0)
        return true;
    server->tickets = tls_memory_new(size);
    if (server->tickets == NULL)
        return err_set(err, "no memory is left for secrets");
    memcpy(server->tickets, options->tickets, size);
    server->ticket_count = count;
    return true;
}

static bool read_authorities(struct tls_server *server, const struct tls_server_options *options,
                             struct err *err)
{
    if (options->verify == TLS_VERIFY_OFF)
        return true;
    server->authorities = tls_policy_authorities(options->client_ca, err);
    if (server->authorities == NULL)
        return false;
    STACK_OF(X509) *all = X509_STORE_get1_all_certs(server->authorities);
    server->authority_names = sk_X509_NAME_new_null();
    for (int i = 0; i < sk_X509_num(all); i++)
        sk_X509_NAME_push(server->authority_names,
                          X509_NAME_dup(X509_get_subject_name(sk_X509_value(all, i))));
    sk_X509_pop_free(all, X509_free);
    return true;
}

void tls_server_free(struct tls_server *server)
{
    for (size_t i = 0; i < server->context_count; i++)
        SSL_CTX_free(server->contexts[i]);
    free(server->contexts);
    tls_names_free(&server->names);
    for (size_t i = 0; i < server->count; i++) {
        certificate_free(server->certificates[i]);
        OPENSSL_free(server->staples[i].bytes);
    }
    free(server->certificates);
    free(server->staples);
    X509_STORE_free(server->authorities);
    sk_X509_NAME_pop_free(server->authority_names, X509_NAME_free);
    tls_memory_free(server->tickets, server->ticket_count * sizeof *server->tickets);
    free(server);
}

struct tls_context *tls_server_new(const struct tls_server_options *options, struct err *err)
{
    struct tls_context *context = mem_zero(1, sizeof *context);
    struct tls_server *server = mem_zero(1, sizeof *server);
    context->references = 1;
    context->server = server;
    server->protocols = options->protocols;
    SSL_CTX *first = NULL;
    if (take_tickets(server, options, err) && read_pairs(server, options, err) &&
        read_authorities(server, options, err) && make_contexts(server, options, err))
        first = first_context(server, options, err);
    if (first != NULL) {
        SSL_CTX_up_ref(first);
        context->ssl = first;
        return context;
    }
    tls_context_free(context);
    return NULL;
}
