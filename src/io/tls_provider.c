/* The providers that OpenSSL's config names, or its usual one, stay what they were: this one is loaded beside
 * them, and found only by who asks for it. */
#include "io/tls_provider.h"

#include "io/tls_secrets.h"
#include "io/tls_x25519.h"
#include "io/x25519.h"

#include <openssl/core_dispatch.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static OSSL_PROVIDER *provider; /* NULL: nothing can be provided */
static bool has_keys;           /* of X25519 */

static const OSSL_ALGORITHM *query(void *arg, int operation, int *no_cache)
{
    (void)arg;
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KDF:
        return tls_secrets_algorithms();
    case OSSL_OP_KEYMGMT:
        return has_keys ? tls_x25519_keys() : NULL;
    case OSSL_OP_KEYEXCH:
        return has_keys ? tls_x25519_exchanges() : NULL;
    case OSSL_OP_KEM:
        return has_keys ? tls_x25519_answers() : NULL;
    default:
        return NULL;
    }
}

/* provider-base(7): a group is used only if its keys come from who tells of it. */
static int tell(void *arg, const char *capability, OSSL_CALLBACK *hear, void *hear_arg)
{
    (void)arg;
    return strcasecmp(capability, "TLS-GROUP") != 0 || !has_keys || tls_x25519_tell(hear, hear_arg);
}

static int begin(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                 void **arg)
{
    static const OSSL_DISPATCH functions[] = {
        TLS_PROVIDER_ROW(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
        TLS_PROVIDER_ROW(OSSL_FUNC_PROVIDER_GET_CAPABILITIES, tell),
        {0, NULL},
    };
    (void)handle;
    (void)in;
    *out = functions;
    *arg = &provider;
    return 1;
}

/* Whoever has loaded others than OpenSSL's usual provider (FIPS) wants keys to be made by them. */
static bool makes_usual_keys(void)
{
    EVP_KEYMGMT *keys = EVP_KEYMGMT_fetch(NULL, "X25519", NULL);
    bool usual =
        keys != NULL && strcmp(OSSL_PROVIDER_get0_name(EVP_KEYMGMT_get0_provider(keys)), "default") == 0;
    EVP_KEYMGMT_free(keys);
    return usual;
}

/* What the algorithms need of OpenSSL is looked for before it could find this provider instead. */
static void provide(void)
{
    bool has_secrets = tls_secrets_algorithms() != NULL;
    has_keys = makes_usual_keys() && x25519_ready();
    if ((has_secrets || has_keys) && OSSL_PROVIDER_add_builtin(NULL, TLS_PROVIDER_NAME, begin) == 1)
        provider = OSSL_PROVIDER_try_load(NULL, TLS_PROVIDER_NAME, 1);
}

const char *tls_provider_properties(void)
{
    pthread_once(&once, provide);
    return provider != NULL ? "?" TLS_PROVIDER_MARK : NULL;
}
