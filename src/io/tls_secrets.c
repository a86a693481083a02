/* A provider of one algorithm, TLS13-KDF, which is OpenSSL's own with an ear on it. Invariant: what is
 * derived is what OpenSSL's KDF makes of the same parameters, whether or not it is of use here. */
#include "io/tls_secrets.h"

#include "base/str.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NAME "upswap"

static EVP_KDF *inner; /* OpenSSL's; NULL: there is none */
static bool provided;
static _Thread_local struct tls_secret *client, *server; /* that learn */

/* ---- what is of use ---- */

static struct str octets(const OSSL_PARAM params[], const char *key)
{
    const OSSL_PARAM *param = OSSL_PARAM_locate_const(params, key);
    const void *bytes = NULL;
    size_t size = 0;
    if (param == NULL || OSSL_PARAM_get_octet_string_ptr(param, &bytes, &size) != 1)
        return STR("");
    return (struct str){bytes, size};
}

static void remember(uint8_t *to, uint8_t *size, size_t room, const unsigned char *bytes, size_t n)
{
    if (n > room)
        return;
    memcpy(to, bytes, n);
    *size = (uint8_t)n;
}

/* A secret anew: what was made of the last one no longer counts. */
static void remember_secret(struct tls_secret *secret, const unsigned char *bytes, size_t n)
{
    *secret = (struct tls_secret){.secret_size = 0};
    remember(secret->secret, &secret->secret_size, sizeof secret->secret, bytes, n);
}

static bool is_of(const struct tls_secret *secret, struct str key)
{
    return secret->secret_size > 0 &&
           str_equal(key, (struct str){(char *)secret->secret, secret->secret_size});
}

/* RFC 8446 sections 7.1 and 7.3: the labels of what is derived from what. */
static void learn(const OSSL_PARAM params[], const unsigned char *out, size_t n)
{
    struct str label = octets(params, OSSL_KDF_PARAM_LABEL), key = octets(params, OSSL_KDF_PARAM_KEY);
    if (str_equal(label, STR("c ap traffic")))
        remember_secret(client, out, n);
    else if (str_equal(label, STR("s ap traffic")))
        remember_secret(server, out, n);
    struct tls_secret *of = is_of(client, key) ? client : is_of(server, key) ? server : NULL;
    if (of != NULL && str_equal(label, STR("key")))
        remember(of->key, &of->key_size, sizeof of->key, out, n);
    else if (of != NULL && str_equal(label, STR("iv")))
        remember(of->iv, &of->iv_size, sizeof of->iv, out, n);
}

/* ---- the algorithm, as provider-kdf(7) wants it ---- */

static void *new_context(void *provider)
{
    (void)provider;
    return EVP_KDF_CTX_new(inner);
}

static void free_context(void *context)
{
    EVP_KDF_CTX_free(context);
}

static void *copy_context(void *context)
{
    return EVP_KDF_CTX_dup(context);
}

static void reset_context(void *context)
{
    EVP_KDF_CTX_reset(context);
}

static int derive(void *context, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
    int done = EVP_KDF_derive(context, out, n, params);
    if (done == 1 && client != NULL && params != NULL)
        learn(params, out, n);
    return done;
}

static const OSSL_PARAM *settable(void *context, void *provider)
{
    (void)context;
    (void)provider;
    return EVP_KDF_settable_ctx_params(inner);
}

static int set_params(void *context, const OSSL_PARAM params[])
{
    return EVP_KDF_CTX_set_params(context, params);
}

static const OSSL_PARAM *gettable(void *context, void *provider)
{
    (void)context;
    (void)provider;
    return EVP_KDF_gettable_ctx_params(inner);
}

static int get_params(void *context, OSSL_PARAM params[])
{
    return EVP_KDF_CTX_get_params(context, params);
}

/* ---- the provider, as provider(7) wants it ---- */

#define ENTRY(id, function)            \
    {                                  \
        id, (void (*)(void))(function) \
    }

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
    static const OSSL_DISPATCH functions[] = {
        ENTRY(OSSL_FUNC_KDF_NEWCTX, new_context),
        ENTRY(OSSL_FUNC_KDF_FREECTX, free_context),
        ENTRY(OSSL_FUNC_KDF_DUPCTX, copy_context),
        ENTRY(OSSL_FUNC_KDF_RESET, reset_context),
        ENTRY(OSSL_FUNC_KDF_DERIVE, derive),
        ENTRY(OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, settable),
        ENTRY(OSSL_FUNC_KDF_SET_CTX_PARAMS, set_params),
        ENTRY(OSSL_FUNC_KDF_GETTABLE_CTX_PARAMS, gettable),
        ENTRY(OSSL_FUNC_KDF_GET_CTX_PARAMS, get_params),
        {0, NULL},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {OSSL_KDF_NAME_TLS1_3_KDF, "provider=" NAME, functions, NULL},
        {NULL, NULL, NULL, NULL},
    };
    (void)provider;
    *no_cache = 0;
    return operation == OSSL_OP_KDF ? algorithms : NULL;
}

static int begin(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                 void **provider)
{
    static const OSSL_DISPATCH functions[] = {
        ENTRY(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
        {0, NULL},
    };
    (void)handle;
    (void)in;
    *out = functions;
    *provider = &inner;
    return 1;
}

/* The providers that OpenSSL's config names, or its usual one, stay what they were: this one is loaded beside
 * them, and found only by who asks for it. */
static void provide(void)
{
    inner = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
    provided = inner != NULL && OSSL_PROVIDER_add_builtin(NULL, NAME, begin) == 1 &&
               OSSL_PROVIDER_try_load(NULL, NAME, 1) != NULL;
}

const char *tls_secrets_properties(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, provide);
    return provided ? "?provider=" NAME : NULL;
}

void tls_secrets_learn(struct tls_secret *of_client, struct tls_secret *of_server)
{
    client = of_client;
    server = of_server;
}
