/* Pairs of keys beside OpenSSL's own, which make the public one from the private one another way. */
#include "io/x25519.h"

#include "unit.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

#define PAIRS 100 /* more than are made at once, and no multiple of that */

static bool random_fails;

int __real_RAND_priv_bytes(unsigned char *bytes, int n);
int __wrap_RAND_priv_bytes(unsigned char *bytes, int n);
int __wrap_RAND_priv_bytes(unsigned char *bytes, int n)
{
    return random_fails ? 0 : __real_RAND_priv_bytes(bytes, n);
}

static int set_up(void **state)
{
    (void)state;
    return x25519_ready() ? 0 : -1;
}

static void read_hex(uint8_t out[X25519_SIZE], const char *digits)
{
    size_t n;
    assert_int_equal(OPENSSL_hexstr2buf_ex(out, X25519_SIZE, &n, digits, 0), 1);
    assert_int_equal(n, X25519_SIZE);
}

static EVP_PKEY *openssls_private(const uint8_t private[X25519_SIZE])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", "provider=default", private, X25519_SIZE);
    assert_non_null(key);
    return key;
}

static void assert_openssl_makes_the_same(const struct x25519_pair *pair)
{
    uint8_t public[X25519_SIZE];
    size_t n = sizeof public;
    EVP_PKEY *key = openssls_private(pair->private);
    assert_int_equal(EVP_PKEY_get_raw_public_key(key, public, &n), 1);
    assert_memory_equal(pair->public, public, sizeof public);
    EVP_PKEY_free(key);
}

/* False: OpenSSL refuses. */
static bool openssl_agrees(uint8_t shared[X25519_SIZE], const uint8_t private[X25519_SIZE],
                           const uint8_t peer[X25519_SIZE])
{
    size_t n = X25519_SIZE;
    EVP_PKEY *ours = openssls_private(private);
    EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", "provider=default", peer, X25519_SIZE);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, ours, "provider=default");
    assert_int_equal(EVP_PKEY_derive_init(context), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(context, theirs), 1);
    bool agreed = EVP_PKEY_derive(context, shared, &n) == 1;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(theirs);
    EVP_PKEY_free(ours);
    return agreed;
}

static void a_public_key_is_what_openssl_makes_of_the_private_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIRS; i++) {
        struct x25519_pair pair;
        assert_true(x25519_new(&pair));
        assert_openssl_makes_the_same(&pair);
    }
}

static void *take(void *arg)
{
    struct x25519_pair *pairs = arg;
    for (size_t i = 0; i < PAIRS; i++)
        assert_true(x25519_new(&pairs[i]));
    return NULL;
}

static void no_pair_is_given_twice_and_none_to_two_threads(void **state)
{
    static struct x25519_pair pairs[2 * PAIRS];
    pthread_t thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, take, pairs), 0);
    take(pairs + PAIRS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (size_t i = 0; i < 2 * PAIRS; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_memory_not_equal(pairs[i].private, pairs[k].private, X25519_SIZE);
            assert_memory_not_equal(pairs[i].public, pairs[k].public, X25519_SIZE);
        }
    }
}

static void without_anything_random_there_is_no_pair_and_later_there_is(void **state)
{
    struct x25519_pair pair;
    size_t given = 0;
    (void)state;
    random_fails = true;
    while (given < PAIRS && x25519_new(&pair))
        given++;
    random_fails = false;
    assert_in_range(given, 0, PAIRS - 1); /* those that were there */
    assert_true(x25519_new(&pair));
    assert_openssl_makes_the_same(&pair);
}

/* RFC 7748 section 6.1. */
static void two_sides_come_to_what_the_rfc_says(void **state)
{
    uint8_t alice[X25519_SIZE], public_of_alice[X25519_SIZE], bob[X25519_SIZE], public_of_bob[X25519_SIZE];
    uint8_t agreed[X25519_SIZE], shared[X25519_SIZE];
    (void)state;
    read_hex(alice, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    read_hex(public_of_alice, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    read_hex(bob, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    read_hex(public_of_bob, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    read_hex(agreed, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_true(x25519_agree(shared, alice, public_of_bob));
    assert_memory_equal(shared, agreed, X25519_SIZE);
    assert_true(x25519_agree(shared, bob, public_of_alice));
    assert_memory_equal(shared, agreed, X25519_SIZE);
}

static void assert_alike(const uint8_t private[X25519_SIZE], const uint8_t peer[X25519_SIZE])
{
    uint8_t here[X25519_SIZE], there[X25519_SIZE];
    assert_true(x25519_agree(here, private, peer));
    assert_true(openssl_agrees(there, private, peer));
    assert_memory_equal(here, there, X25519_SIZE);
}

/* Any 32 bytes are a public key: the highest bit is not looked at, and what is not below the prime 2^255 - 19
 * counts as what is left of it (section 5). */
static void any_bytes_of_a_peer_are_taken_as_openssl_takes_them(void **state)
{
    struct x25519_pair pair;
    uint8_t peer[X25519_SIZE];
    (void)state;
    for (size_t i = 0; i < PAIRS; i++) {
        assert_true(x25519_new(&pair));
        assert_int_equal(RAND_bytes(peer, sizeof peer), 1);
        assert_alike(pair.private, peer);
        memset(peer, 0xff, sizeof peer);
        peer[0] = (uint8_t)(0xef + i % 17); /* from 2 on */
        peer[X25519_SIZE - 1] = i % 2 == 0 ? 0x7f : 0xff;
        assert_alike(pair.private, peer);
    }
}

static void keys_of_small_order_are_refused(void **state)
{
    static const char *const peers[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    struct x25519_pair pair;
    (void)state;
    assert_true(x25519_new(&pair));
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
        uint8_t peer[X25519_SIZE], shared[X25519_SIZE];
        read_hex(peer, peers[i]);
        assert_false(openssl_agrees(shared, pair.private, peer));
        assert_false(x25519_agree(shared, pair.private, peer));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_public_key_is_what_openssl_makes_of_the_private_one),
        cmocka_unit_test(no_pair_is_given_twice_and_none_to_two_threads),
        cmocka_unit_test(without_anything_random_there_is_no_pair_and_later_there_is),
        cmocka_unit_test(two_sides_come_to_what_the_rfc_says),
        cmocka_unit_test(any_bytes_of_a_peer_are_taken_as_openssl_takes_them),
        cmocka_unit_test(keys_of_small_order_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
