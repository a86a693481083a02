/* The providers that OpenSSL's config names, or its usual one, stay what they were: this one is loaded beside
 * them, and found only by who asks for it. */
#include "io/tls_provider.h"

#include "io/tls_secrets.h"
#include "io/tls_x25519.h"

#include <openssl/core_dispatch.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <strings.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static OSSL_PROVIDER *provider; /* NULL: nothing can be provided */

static const OSSL_ALGORITHM *query(void *arg, int operation, int *no_cache)
{
    (void)arg;
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KDF:
        return tls_secrets_algorithms();
    case OSSL_OP_KEYMGMT:
        return tls_x25519_keys();
    case OSSL_OP_KEYEXCH:
        return tls_x25519_exchanges();
    case OSSL_OP_KEM:
        return tls_x25519_answers();
    default:
        return NULL;
    }
}

/* provider-base(7): a group is used only if its keys come from who tells of it. */
static int tell(void *arg, const char *capability, OSSL_CALLBACK *hear, void *hear_arg)
{
    (void)arg;
    return strcasecmp(capability, "TLS-GROUP") != 0 || tls_x25519_tell(hear, hear_arg);
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

/* What the algorithms need of OpenSSL is looked for before it could find this provider instead. */
static void provide(void)
{
    bool secrets = tls_secrets_algorithms() != NULL, keys = tls_x25519_keys() != NULL;
    if ((secrets || keys) && OSSL_PROVIDER_add_builtin(NULL, TLS_PROVIDER_NAME, begin) == 1)
        provider = OSSL_PROVIDER_try_load(NULL, TLS_PROVIDER_NAME, 1);
}

const char *tls_provider_properties(void)
{
    pthread_once(&once, provide);
    return provider != NULL ? "?" TLS_PROVIDER_MARK : NULL;
}
