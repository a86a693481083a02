/* The providers that OpenSSL's config names, or its usual one, stay what they were: this one is loaded beside
 * them, and found only by who asks for it. */
#include "io/tls_provider.h"

#include "io/tls_secrets.h"

#include <openssl/core_dispatch.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stddef.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static OSSL_PROVIDER *provider; /* NULL: nothing can be provided */

static const OSSL_ALGORITHM *query(void *arg, int operation, int *no_cache)
{
    (void)arg;
    *no_cache = 0;
    return operation == OSSL_OP_KDF ? tls_secrets_algorithms() : NULL;
}

static int begin(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                 void **arg)
{
    static const OSSL_DISPATCH functions[] = {
        TLS_PROVIDER_ROW(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
        {0, NULL},
    };
    (void)handle;
    (void)in;
    *out = functions;
    *arg = &provider;
    return 1;
}

static void provide(void)
{
    if (tls_secrets_algorithms() != NULL && OSSL_PROVIDER_add_builtin(NULL, TLS_PROVIDER_NAME, begin) == 1)
        provider = OSSL_PROVIDER_try_load(NULL, TLS_PROVIDER_NAME, 1);
}

const char *tls_provider_properties(void)
{
    pthread_once(&once, provide);
    return provider != NULL ? "?" TLS_PROVIDER_MARK : NULL;
}
