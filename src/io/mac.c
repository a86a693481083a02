/* One context, told another key for each text. OpenSSL can refuse none of this once it has the algorithm. */
#include "io/mac.h"

#include "base/log.h"
#include "base/mem.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>

struct mac {
    EVP_MAC_CTX *context;
};

static void must(bool done)
{
    if (done)
        return;
    log_error("OpenSSL gives no HMAC-SHA256");
    abort();
}

struct mac *mac_new(void)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                                 OSSL_PARAM_construct_end()};
    struct mac *mac = mem_zero(1, sizeof *mac);
    EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    must(algorithm != NULL);
    mac->context = EVP_MAC_CTX_new(algorithm);
    EVP_MAC_free(algorithm);
    must(mac->context != NULL && EVP_MAC_CTX_set_params(mac->context, params) == 1);
    return mac;
}

void mac_free(struct mac *mac)
{
    if (mac == NULL)
        return;
    EVP_MAC_CTX_free(mac->context);
    free(mac);
}

void mac_sum(struct mac *mac, const uint8_t key[MAC_KEY_SIZE], const void *bytes, size_t n,
             uint8_t sum[MAC_SIZE])
{
    size_t size;
    must(EVP_MAC_init(mac->context, key, MAC_KEY_SIZE, NULL) == 1 &&
         EVP_MAC_update(mac->context, bytes, n) == 1 &&
         EVP_MAC_final(mac->context, sum, &size, MAC_SIZE) == 1 && size == MAC_SIZE);
}

bool mac_is_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}
