/* A program whose OpenSSL is told of no provider that could be found when ours is made. */
#include "io/tls_provider.h"

#include "unit.h"

#include <openssl/evp.h>
#include <openssl/provider.h>

static void who_has_keys_made_elsewhere_goes_on_doing_so(void **state)
{
    (void)state;
    assert_int_equal(EVP_set_default_properties(NULL, "provider=nonesuch"), 1);
    const char *properties = tls_provider_properties();
    assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
    EVP_KEYMGMT *keys = EVP_KEYMGMT_fetch(NULL, "X25519", properties);
    assert_non_null(keys);
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KEYMGMT_get0_provider(keys)), "default");
    EVP_KEYMGMT_free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_keys_made_elsewhere_goes_on_doing_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
