/* TLS13-KDF, for the provider. It expands labels by OpenSSL's HMAC, whose contexts it keeps for
 * each thread, where OpenSSL's own KDF would make all anew for each derivation; all else is left to that.
 * Invariant: what is derived is what OpenSSL's KDF makes of the same parameters, whether or not it is of use
 * here. */
#include "io/tls_secrets.h"

#include "base/mem.h"
#include "io/tls_provider.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define INFO_MAX (2 + 1 + 255 + 1 + 255 + 1) /* an HkdfLabel and a counter */

/* HMAC by one digest. */
struct digest {
    const char *name, *other_name;
    size_t size;
    uint8_t of_nothing[TLS_SECRET_MAX]; /* what it makes of an empty text */
};
static struct digest digests[] = {{"SHA256", "SHA2-256", 32, {0}}, {"SHA384", "SHA2-384", 48, {0}}};
enum { DIGESTS = sizeof digests / sizeof *digests };

/* A thread's. */
struct macs {
    EVP_MAC_CTX *of[DIGESTS]; /* NULL: not used yet */
    bool used[DIGESTS];       /* it has the key of a secret */
};

static EVP_KDF *usual; /* OpenSSL's; NULL: there is none */
static EVP_MAC *hmac;
static pthread_key_t macs_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool ready;                                       /* all that is needed is there */
static _Thread_local struct tls_secret *client, *server; /* that learn; NULL: nobody does */

/* ---- the key schedule (RFC 8446 section 7.1, RFC 5869) ---- */

static void free_macs(void *arg)
{
    struct macs *macs = arg;
    for (size_t i = 0; i < DIGESTS; i++)
        EVP_MAC_CTX_free(macs->of[i]);
    free(macs);
}

static struct macs *thread_macs(void)
{
    struct macs *macs = pthread_getspecific(macs_key);
    if (macs != NULL)
        return macs;
    macs = mem_zero(1, sizeof *macs);
    pthread_setspecific(macs_key, macs);
    return macs;
}

static EVP_MAC_CTX *make_mac(const struct digest *digest)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)digest->name, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(hmac);
    if (mac != NULL && EVP_MAC_CTX_set_params(mac, params) == 1)
        return mac;
    EVP_MAC_CTX_free(mac);
    return NULL;
}

static EVP_MAC_CTX *mac_of(const struct digest *digest)
{
    struct macs *macs = thread_macs();
    size_t i = (size_t)(digest - digests);
    if (macs->of[i] == NULL)
        macs->of[i] = make_mac(digest);
    macs->used[i] = true;
    return macs->of[i];
}

/* Another key in place of the last one. */
static void forget_keys(void)
{
    static const uint8_t zeros[TLS_SECRET_MAX];
    struct macs *macs = pthread_getspecific(macs_key);
    for (size_t i = 0; macs != NULL && i < DIGESTS; i++) {
        if (macs->used[i] && macs->of[i] != NULL)
            (void)EVP_MAC_init(macs->of[i], zeros, digests[i].size, NULL);
        macs->used[i] = false;
    }
}

static bool sum(const struct digest *digest, struct str key, struct str text, uint8_t *out)
{
    EVP_MAC_CTX *mac = mac_of(digest);
    size_t made;
    return mac != NULL && EVP_MAC_init(mac, (const uint8_t *)key.p, key.n, NULL) == 1 &&
           EVP_MAC_update(mac, (const uint8_t *)text.p, text.n) == 1 &&
           EVP_MAC_final(mac, out, &made, digest->size) == 1;
}

/* What a derivation is made of. */
struct derivation {
    const struct digest *digest;
    struct str secret, prefix, label, context;
    struct str salt; /* to extract with: the secret before it; empty: none */
};

static size_t put(uint8_t *to, struct str bytes)
{
    if (bytes.n > 0)
        memcpy(to, bytes.p, bytes.n);
    return bytes.n;
}

/* HKDF-Expand-Label. Only the first block of the expansion, which is all that a digest's size holds. False:
 * that is not enough, or OpenSSL cannot. */
static bool expand(const struct derivation *derivation, uint8_t *out, size_t n)
{
    const struct digest *digest = derivation->digest;
    uint8_t info[INFO_MAX], block[TLS_SECRET_MAX];
    size_t size = 0, labels = derivation->prefix.n + derivation->label.n;
    if (n > digest->size || labels > 255 || derivation->context.n > 255 ||
        derivation->secret.n != digest->size)
        return false;
    info[size++] = (uint8_t)(n >> 8);
    info[size++] = (uint8_t)n;
    info[size++] = (uint8_t)labels;
    size += put(info + size, derivation->prefix);
    size += put(info + size, derivation->label);
    info[size++] = (uint8_t)derivation->context.n;
    size += put(info + size, derivation->context);
    info[size++] = 1;
    if (!sum(digest, derivation->secret, (struct str){(char *)info, size}, block))
        return false;
    memcpy(out, block, n);
    explicit_bzero(block, sizeof block);
    return true;
}

/* The next secret of the key schedule: HKDF-Extract with what is derived from the one before. */
static bool extract(const struct derivation *derivation, uint8_t *out, size_t n)
{
    static const char zeros[TLS_SECRET_MAX];
    const struct digest *digest = derivation->digest;
    uint8_t salt[TLS_SECRET_MAX] = {0};
    struct str none = {zeros, digest->size};
    struct derivation before = *derivation;
    before.secret = derivation->salt;
    before.context = (struct str){(const char *)digest->of_nothing, digest->size};
    if (n != digest->size || (derivation->salt.n > 0 && !expand(&before, salt, digest->size)))
        return false;
    bool done = sum(digest, (struct str){(char *)salt, digest->size},
                    derivation->secret.n > 0 ? derivation->secret : none, out);
    explicit_bzero(salt, sizeof salt);
    return done;
}

/* ---- what is of use ---- */

static void remember(uint8_t *to, uint8_t *size, size_t room, const uint8_t *bytes, size_t n)
{
    if (n > room)
        return;
    memcpy(to, bytes, n);
    *size = (uint8_t)n;
}

/* A secret anew: what was made of the last one no longer counts. */
static void remember_secret(struct tls_secret *secret, const uint8_t *bytes, size_t n)
{
    *secret = (struct tls_secret){.secret_size = 0};
    remember(secret->secret, &secret->secret_size, sizeof secret->secret, bytes, n);
}

static bool is_of(const struct tls_secret *secret, struct str key)
{
    return secret->secret_size > 0 &&
           str_equal(key, (struct str){(char *)secret->secret, secret->secret_size});
}

/* Sections 7.1 and 7.3: the labels of what is derived from what. */
static void learn(const struct derivation *derivation, const uint8_t *out, size_t n)
{
    struct str label = derivation->label, secret = derivation->secret;
    if (str_equal(label, STR("c ap traffic")))
        remember_secret(client, out, n);
    else if (str_equal(label, STR("s ap traffic")))
        remember_secret(server, out, n);
    struct tls_secret *of = is_of(client, secret) ? client : is_of(server, secret) ? server : NULL;
    if (of != NULL && str_equal(label, STR("key")))
        remember(of->key, &of->key_size, sizeof of->key, out, n);
    else if (of != NULL && str_equal(label, STR("iv")))
        remember(of->iv, &of->iv_size, sizeof of->iv, out, n);
}

void tls_secrets_learn(struct tls_secret *of_client, struct tls_secret *of_server)
{
    client = of_client;
    server = of_server;
    if (client == NULL && ready)
        forget_keys();
}

/* ---- the algorithm, as provider-kdf(7) wants it ---- */

static void prepare(void)
{
    usual = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
    hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    bool known = true;
    for (size_t i = 0; i < DIGESTS; i++)
        known &= EVP_Q_digest(NULL, digests[i].name, NULL, "", 0, digests[i].of_nothing, NULL) == 1;
    ready = known && usual != NULL && hmac != NULL && pthread_key_create(&macs_key, free_macs) == 0;
}

struct kdf {
    EVP_KDF_CTX *usual; /* NULL: not needed so far */
};

static void *new_context(void *arg)
{
    (void)arg;
    return calloc(1, sizeof(struct kdf));
}

static void free_context(void *context)
{
    struct kdf *kdf = context;
    if (kdf != NULL)
        EVP_KDF_CTX_free(kdf->usual);
    free(kdf);
}

static void reset_context(void *context)
{
    struct kdf *kdf = context;
    if (kdf->usual != NULL)
        EVP_KDF_CTX_reset(kdf->usual);
}

static EVP_KDF_CTX *usual_context(struct kdf *kdf)
{
    if (kdf->usual == NULL)
        kdf->usual = EVP_KDF_CTX_new(usual);
    return kdf->usual;
}

static const struct digest *digest_named(const char *name)
{
    for (size_t i = 0; i < DIGESTS; i++) {
        if (strcmp(digests[i].name, name) == 0 || strcmp(digests[i].other_name, name) == 0)
            return &digests[i];
    }
    return NULL;
}

static struct str *octets_of(struct derivation *derivation, const char *key)
{
    if (strcmp(key, OSSL_KDF_PARAM_KEY) == 0)
        return &derivation->secret;
    if (strcmp(key, OSSL_KDF_PARAM_SALT) == 0)
        return &derivation->salt;
    if (strcmp(key, OSSL_KDF_PARAM_PREFIX) == 0)
        return &derivation->prefix;
    if (strcmp(key, OSSL_KDF_PARAM_LABEL) == 0)
        return &derivation->label;
    return strcmp(key, OSSL_KDF_PARAM_DATA) == 0 ? &derivation->context : NULL;
}

/* One pass over the parameters. Returns the mode, or -1: it is for OpenSSL's own KDF. */
static int read(struct derivation *derivation, const OSSL_PARAM params[])
{
    int mode = -1;
    for (const OSSL_PARAM *param = params; param != NULL && param->key != NULL; param++) {
        struct str *octets = octets_of(derivation, param->key);
        if (octets != NULL)
            *octets = (struct str){param->data, param->data_size};
        else if (strcmp(param->key, OSSL_KDF_PARAM_DIGEST) == 0)
            derivation->digest = digest_named(param->data);
        else if (strcmp(param->key, OSSL_KDF_PARAM_MODE) != 0 || OSSL_PARAM_get_int(param, &mode) != 1)
            return -1;
    }
    return derivation->digest != NULL ? mode : -1;
}

static bool derive_here(const OSSL_PARAM params[], uint8_t *out, size_t n)
{
    struct derivation derivation = {.digest = NULL};
    int mode = read(&derivation, params);
    if (mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
        return extract(&derivation, out, n);
    if (mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY || !expand(&derivation, out, n))
        return false;
    if (client != NULL)
        learn(&derivation, out, n);
    return true;
}

static int derive(void *context, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
    struct kdf *kdf = context;
    if (kdf->usual == NULL && derive_here(params, out, n))
        return 1;
    return usual_context(kdf) == NULL ? 0 : EVP_KDF_derive(kdf->usual, out, n, params);
}

static const OSSL_PARAM *settable(void *context, void *arg)
{
    (void)context;
    (void)arg;
    return EVP_KDF_settable_ctx_params(usual);
}

/* What is set before is OpenSSL's to know; then all of it is. */
static int set_params(void *context, const OSSL_PARAM params[])
{
    struct kdf *kdf = context;
    return usual_context(kdf) == NULL ? 0 : EVP_KDF_CTX_set_params(kdf->usual, params);
}

static const OSSL_PARAM *gettable(void *context, void *arg)
{
    (void)context;
    (void)arg;
    return EVP_KDF_gettable_ctx_params(usual);
}

static int get_params(void *context, OSSL_PARAM params[])
{
    struct kdf *kdf = context;
    return usual_context(kdf) == NULL ? 0 : EVP_KDF_CTX_get_params(kdf->usual, params);
}

const OSSL_ALGORITHM *tls_secrets_algorithms(void)
{
    static const OSSL_DISPATCH functions[] = {
        TLS_PROVIDER_ROW(OSSL_FUNC_KDF_NEWCTX, new_context),
        TLS_PROVIDER_ROW(OSSL_FUNC_KDF_FREECTX, free_context),
        TLS_PROVIDER_ROW(OSSL_FUNC_KDF_RESET, reset_context),
        TLS_PROVIDER_ROW(OSSL_FUNC_KDF_DERIVE, derive),
        TLS_PROVIDER_ROW(OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, settable),
        TLS_PROVIDER_ROW(OSSL_FUNC_KDF_SET_CTX_PARAMS, set_params),
        TLS_PROVIDER_ROW(OSSL_FUNC_KDF_GETTABLE_CTX_PARAMS, gettable),
        TLS_PROVIDER_ROW(OSSL_FUNC_KDF_GET_CTX_PARAMS, get_params),
        {0, NULL},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {OSSL_KDF_NAME_TLS1_3_KDF, TLS_PROVIDER_PROPERTIES, functions, NULL},
        {NULL, NULL, NULL, NULL},
    };
    pthread_once(&once, prepare);
    return ready ? algorithms : NULL;
}

bool tls_secrets_expand(const char *digest, struct str secret, struct str label, uint8_t *out, size_t n)
{
    struct derivation derivation = {
        .digest = digest_named(digest), .secret = secret, .prefix = STR("tls13 "), .label = label};
    pthread_once(&once, prepare);
    return ready && derivation.digest != NULL && expand(&derivation, out, n);
}
