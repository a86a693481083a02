/* The key schedule here beside OpenSSL's own. */
#include "io/tls_secrets.h"

#include "io/tls_provider.h"

#include "unit.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

static EVP_KDF *ours, *usual;

/* What a derivation is made of; a text that is NULL is not told. */
struct given {
    int mode;
    const char *digest;
    size_t secret, salt, context; /* sizes; 0: not told */
    const char *prefix, *label;
};

static uint8_t bytes[400];

static size_t add_octets(OSSL_PARAM *params, const char *key, const void *from, size_t n)
{
    if (n > 0)
        params[0] = OSSL_PARAM_construct_octet_string(key, (void *)from, n);
    return n > 0 ? 1 : 0;
}

static void make_params(OSSL_PARAM params[8], struct given *given)
{
    size_t n = 0;
    params[n++] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &given->mode);
    params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)given->digest, 0);
    n += add_octets(params + n, OSSL_KDF_PARAM_KEY, bytes, given->secret);
    n += add_octets(params + n, OSSL_KDF_PARAM_SALT, bytes + 50, given->salt);
    n += add_octets(params + n, OSSL_KDF_PARAM_DATA, bytes + 100, given->context);
    if (given->prefix != NULL)
        n += add_octets(params + n, OSSL_KDF_PARAM_PREFIX, given->prefix, strlen(given->prefix));
    if (given->label != NULL)
        n += add_octets(params + n, OSSL_KDF_PARAM_LABEL, given->label, strlen(given->label));
    params[n] = OSSL_PARAM_construct_end();
}

static int derive(EVP_KDF *kdf, struct given given, uint8_t *out, size_t n)
{
    OSSL_PARAM params[8];
    make_params(params, &given);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    int done = EVP_KDF_derive(context, out, n, params);
    EVP_KDF_CTX_free(context);
    return done;
}

static void assert_same(struct given given, size_t n)
{
    uint8_t here[128] = {0}, there[128] = {0};
    int done = derive(ours, given, here, n);
    assert_int_equal(done > 0, derive(usual, given, there, n) > 0);
    assert_memory_equal(here, there, sizeof here);
}

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + i / 7);
    assert_non_null(tls_provider_properties());
    ours = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, tls_provider_properties());
    usual = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, "provider=default");
    assert_non_null(ours);
    assert_non_null(usual);
    assert_ptr_not_equal(EVP_KDF_get0_provider(ours), EVP_KDF_get0_provider(usual));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    EVP_KDF_free(ours);
    EVP_KDF_free(usual);
    return 0;
}

static void who_asks_for_no_provider_gets_openssls_own(void **state)
{
    (void)state;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
    assert_ptr_equal(EVP_KDF_get0_provider(kdf), EVP_KDF_get0_provider(usual));
    EVP_KDF_free(kdf);
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL); /* which is still there */
    assert_non_null(md);
    EVP_MD_free(md);
}

static void what_config_says_of_providers_stays_in_force(void **state)
{
    (void)state;
    assert_int_equal(EVP_set_default_properties(NULL, "provider=nonesuch"), 1);
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", tls_provider_properties());
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, tls_provider_properties());
    assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
    assert_null(md);
    assert_null(kdf);
}

static const char *const labels[] = {"c hs traffic", "s hs traffic", "c ap traffic", "s ap traffic",
                                     "exp master",   "res master",   "derived",      "finished",
                                     "resumption",   "key",          "iv",           "res binder"};
static const char *const names[] = {"SHA256", "SHA2-256", "SHA384", "SHA2-384"};
static const size_t sizes[] = {32, 32, 48, 48};

static void labels_are_expanded_as_openssl_does_it(void **state)
{
    (void)state;
    for (size_t d = 0; d < 4; d++) {
        for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
            for (size_t n = 1; n <= sizes[d]; n++)
                assert_same((struct given){EVP_KDF_HKDF_MODE_EXPAND_ONLY, names[d], sizes[d], 0,
                                           n % 3 * sizes[d] / 2, "tls13 ", labels[i]},
                            n);
        }
    }
}

static void secrets_are_extracted_as_openssl_does_it(void **state)
{
    (void)state;
    for (size_t d = 0; d < 4; d++) {
        for (size_t secret = 0; secret <= 133; secret += 19) {
            assert_same(
                (struct given){EVP_KDF_HKDF_MODE_EXTRACT_ONLY, names[d], secret, 0, 0, "tls13 ", "derived"},
                sizes[d]);
            assert_same((struct given){EVP_KDF_HKDF_MODE_EXTRACT_ONLY, names[d], secret, sizes[d], 0,
                                       "tls13 ", "derived"},
                        sizes[d]);
        }
    }
}

static void what_is_unusual_is_as_openssl_has_it(void **state)
{
    (void)state;
    int expand = EVP_KDF_HKDF_MODE_EXPAND_ONLY, extract = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
    assert_same((struct given){expand, "SHA512", 64, 0, 0, "tls13 ", "key"}, 64);
    assert_same((struct given){expand, "SHA256", 32, 0, 0, "tls13 ", "key"}, 33);
    assert_same((struct given){expand, "SHA256", 32, 0, 0, "tls13 ", "key"}, 100);
    assert_same((struct given){expand, "SHA256", 31, 0, 0, "tls13 ", "key"}, 32);
    assert_same((struct given){expand, "SHA256", 0, 0, 0, "tls13 ", "key"}, 32);
    assert_same((struct given){expand, "SHA256", 32, 0, 0, NULL, "key"}, 32);
    assert_same((struct given){expand, "SHA256", 32, 0, 0, "tls13 ", NULL}, 32);
    assert_same((struct given){expand, "SHA256", 32, 32, 0, "tls13 ", "key"}, 32);
    assert_same((struct given){expand, "no digest", 32, 0, 0, "tls13 ", "key"}, 32);
    assert_same((struct given){extract, "SHA256", 32, 31, 0, "tls13 ", "derived"}, 32);
    assert_same((struct given){extract, "SHA256", 32, 32, 5, "tls13 ", "derived"}, 32);
    assert_same((struct given){extract, "SHA256", 32, 32, 0, "tls13 ", "derived"}, 31);
    assert_same((struct given){extract, "SHA256", 32, 32, 0, NULL, NULL}, 32);
    assert_same((struct given){EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, "SHA256", 32, 32, 0, "tls13 ", "key"},
                32);
    char label[257] = "";
    for (size_t n = 240; n < sizeof label; n++) {
        memset(label, 'x', n);
        assert_same((struct given){expand, "SHA256", 32, 0, 0, "tls13 ", label}, 32);
    }
    assert_same((struct given){expand, "SHA256", 32, 0, 256, "tls13 ", "key"}, 32);
    assert_same((struct given){77, "SHA256", 32, 0, 0, "tls13 ", "key"}, 32);
}

static void what_is_set_before_counts(void **state)
{
    (void)state;
    uint8_t out[2][32], again[2][32];
    EVP_KDF *both[] = {ours, usual};
    struct given all = {EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", 32, 0, 0, "tls13 ", "key"};
    for (size_t i = 0; i < 2; i++) {
        OSSL_PARAM params[8];
        make_params(params, &all);
        EVP_KDF_CTX *context = EVP_KDF_CTX_new(both[i]);
        assert_int_equal(EVP_KDF_CTX_set_params(context, params), 1);
        assert_int_equal(EVP_KDF_derive(context, out[i], 32, NULL), 1);
        all.prefix = NULL; /* told, but not again */
        make_params(params, &all);
        assert_int_equal(EVP_KDF_derive(context, again[i], 32, params), 1);
        assert_memory_equal(out[i], again[i], 32);
        all.prefix = "tls13 ";
        make_params(params, &all);
        EVP_KDF_CTX_reset(context);
        assert_true(EVP_KDF_derive(context, out[i], 32, NULL) <= 0); /* nothing is set */
        assert_int_equal(EVP_KDF_derive(context, out[i], 32, params), 1);
        EVP_KDF_CTX_free(context);
    }
    assert_memory_equal(out[0], out[1], 32);
}

static const char *hex(const uint8_t *from, size_t n)
{
    static char text[2 * 64 + 1];
    for (size_t i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", from[i]);
    return text;
}

/* RFC 8448 section 3: the early secret without a PSK, and what is derived from it. */
static void the_schedule_is_that_of_the_rfc(void **state)
{
    (void)state;
    uint8_t early[32], derived[32], nothing[32];
    struct given none = {EVP_KDF_HKDF_MODE_EXTRACT_ONLY, "SHA256", 0, 0, 0, "tls13 ", "derived"};
    assert_int_equal(derive(ours, none, early, 32), 1);
    assert_string_equal(hex(early, 32), "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a");
    EVP_Q_digest(NULL, "SHA256", NULL, "", 0, nothing, NULL);
    memcpy(bytes, early, 32);
    memcpy(bytes + 100, nothing, 32);
    struct given next = {EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", 32, 0, 32, "tls13 ", "derived"};
    assert_int_equal(derive(ours, next, derived, 32), 1);
    assert_string_equal(hex(derived, 32), "6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba");
}

static void expand_from(const uint8_t *secret, const char *label, uint8_t *out, size_t n)
{
    memcpy(bytes, secret, 32);
    assert_int_equal(
        derive(ours, (struct given){EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", 32, 0, 0, "tls13 ", label}, out,
               n),
        1);
}

static void only_what_traffic_behind_the_handshake_needs_is_learned(void **state)
{
    (void)state;
    struct tls_secret client = {.key_size = 9}, server = {.secret_size = 0};
    uint8_t master[32] = {1}, hs[32], c[32], s[32], key[16], iv[12], other[16];
    tls_secrets_learn(&client, &server);
    expand_from(master, "c hs traffic", hs, 32);
    expand_from(hs, "key", other, 16);
    assert_int_equal(client.secret_size, 0);
    expand_from(master, "s ap traffic", s, 32);
    expand_from(s, "key", key, 16);
    expand_from(s, "iv", iv, 12);
    expand_from(hs, "iv", other, 12); /* another's */
    expand_from(master, "c ap traffic", c, 32);
    assert_int_equal(client.key_size, 0); /* not what was there before */
    tls_secrets_learn(NULL, NULL);
    expand_from(c, "key", other, 16);
    assert_int_equal(server.secret_size, 32);
    assert_memory_equal(server.secret, s, 32);
    assert_int_equal(server.key_size, 16);
    assert_memory_equal(server.key, key, 16);
    assert_int_equal(server.iv_size, 12);
    assert_memory_equal(server.iv, iv, 12);
    assert_int_equal(client.secret_size, 32);
    assert_memory_equal(client.secret, c, 32);
    assert_int_equal(client.key_size, 0); /* nobody was learning */
}

static void the_label_of_the_next_secret_is_expanded_by_name(void **state)
{
    (void)state;
    uint8_t here[48], there[48];
    for (size_t d = 0; d < 4; d++) {
        assert_true(tls_secrets_expand(names[d], (struct str){(char *)bytes, sizes[d]}, STR("traffic upd"),
                                       here, sizes[d]));
        assert_int_equal(derive(usual,
                                (struct given){EVP_KDF_HKDF_MODE_EXPAND_ONLY, names[d], sizes[d], 0, 0,
                                               "tls13 ", "traffic upd"},
                                there, sizes[d]),
                         1);
        assert_memory_equal(here, there, sizes[d]);
    }
    assert_false(tls_secrets_expand("MD5", (struct str){(char *)bytes, 16}, STR("traffic upd"), here, 16));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_asks_for_no_provider_gets_openssls_own),
        TEST(what_config_says_of_providers_stays_in_force),
        TEST(labels_are_expanded_as_openssl_does_it),
        TEST(secrets_are_extracted_as_openssl_does_it),
        TEST(what_is_unusual_is_as_openssl_has_it),
        TEST(what_is_set_before_counts),
        TEST(the_schedule_is_that_of_the_rfc),
        TEST(only_what_traffic_behind_the_handshake_needs_is_learned),
        TEST(the_label_of_the_next_secret_is_expanded_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
