/* Keys and exchanges as OpenSSL's handshakes ask for them, beside its own. */
#include "io/tls_x25519.h"

#include "io/tls_context.h"
#include "io/tls_provider.h"
#include "io/x25519.h"
#include "issue.h"
#include "unit.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/proverr.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <string.h>

#define USUAL "provider=default"

static const char *ours;

static int set_up(void **state)
{
    (void)state;
    ours = tls_provider_properties();
    return ours != NULL ? 0 : -1;
}

/* With the group named, as libssl does it; parameters alone where it asks for those. */
static EVP_PKEY *make(const char *properties, const char *group, bool parameters)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "X25519", properties);
    assert_non_null(context);
    assert_int_equal(parameters ? EVP_PKEY_paramgen_init(context) : EVP_PKEY_keygen_init(context), 1);
    if (EVP_PKEY_CTX_set_group_name(context, group) == 1)
        assert_int_equal(parameters ? EVP_PKEY_paramgen(context, &key) : EVP_PKEY_keygen(context, &key), 1);
    EVP_PKEY_CTX_free(context);
    return key;
}

static void read_share(EVP_PKEY *key, uint8_t share[X25519_SIZE])
{
    unsigned char *bytes;
    assert_int_equal(EVP_PKEY_get1_encoded_public_key(key, &bytes), X25519_SIZE);
    memcpy(share, bytes, X25519_SIZE);
    OPENSSL_free(bytes);
}

static EVP_PKEY *peer_of(const char *properties, EVP_PKEY *other)
{
    uint8_t share[X25519_SIZE];
    EVP_PKEY *peer = make(properties, "X25519", true);
    read_share(other, share);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(peer, share, sizeof share), 1);
    return peer;
}

/* What libssl does with its own key and the peer's. */
static void agree(const char *properties, EVP_PKEY *key, EVP_PKEY *other, uint8_t secret[X25519_SIZE])
{
    size_t n;
    EVP_PKEY *peer = peer_of(properties, other);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, properties);
    assert_int_equal(EVP_PKEY_derive_init(context), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(context, peer), 1);
    assert_int_equal(EVP_PKEY_derive(context, NULL, &n), 1);
    assert_int_equal(n, X25519_SIZE);
    assert_int_equal(EVP_PKEY_derive(context, secret, &n), 1);
    assert_int_equal(n, X25519_SIZE);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
}

static void ours_and_openssls_come_to_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        uint8_t here[X25519_SIZE], there[X25519_SIZE];
        EVP_PKEY *key = make(ours, "X25519", false), *other = make(USUAL, "X25519", false);
        assert_ptr_not_equal(EVP_PKEY_get0_provider(key), EVP_PKEY_get0_provider(other));
        assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), TLS_PROVIDER_NAME);
        agree(ours, key, other, here);
        agree(USUAL, other, key, there);
        assert_memory_equal(here, there, sizeof here);
        EVP_PKEY_free(key);
        EVP_PKEY_free(other);
    }
}

static void who_asks_for_no_provider_gets_openssls_own(void **state)
{
    (void)state;
    EVP_PKEY *key = make(NULL, "X25519", false), *usual = make(USUAL, "X25519", false);
    assert_ptr_equal(EVP_PKEY_get0_provider(key), EVP_PKEY_get0_provider(usual));
    EVP_PKEY_free(usual);
    EVP_PKEY_free(key);
}

static void of_a_key_is_told_what_openssl_tells_of_its_own(void **state)
{
    EVP_PKEY *key = make(ours, "x25519", false), *usual = make(USUAL, "x25519", false);
    (void)state;
    assert_int_equal(EVP_PKEY_get_bits(key), EVP_PKEY_get_bits(usual));
    assert_int_equal(EVP_PKEY_get_security_bits(key), EVP_PKEY_get_security_bits(usual));
    assert_int_equal(EVP_PKEY_get_size(key), EVP_PKEY_get_size(usual));
    assert_int_equal(EVP_PKEY_is_a(key, "X25519"), 1);
    EVP_PKEY_free(usual);
    EVP_PKEY_free(key);
}

static void another_group_is_refused(void **state)
{
    (void)state;
    assert_null(make(ours, "X448", false));
    assert_null(make(ours, "X448", true));
    assert_null(make(ours, "", false));
}

static void a_share_of_another_size_is_refused_and_changes_nothing(void **state)
{
    uint8_t share[X25519_SIZE + 1] = {9}, kept[X25519_SIZE];
    EVP_PKEY *key = make(ours, "X25519", false), *peer = peer_of(ours, key);
    (void)state;
    for (size_t n = 0; n <= X25519_SIZE + 1; n++)
        assert_int_equal(EVP_PKEY_set1_encoded_public_key(peer, share, n) == 1, n == X25519_SIZE);
    read_share(peer, kept);
    assert_memory_equal(kept, share, sizeof kept);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(peer, kept, sizeof kept - 1), 0);
    read_share(peer, kept);
    assert_memory_equal(kept, share, sizeof kept);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
}

static void a_key_that_is_given_another_public_half_has_no_private_one(void **state)
{
    uint8_t share[X25519_SIZE] = {9};
    EVP_PKEY *key = make(ours, "X25519", false);
    (void)state;
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(key, share, sizeof share), 1);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, ours);
    assert_int_not_equal(EVP_PKEY_derive_init(context), 1);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
}

static void parameters_alone_are_no_key(void **state)
{
    unsigned char *bytes = NULL;
    size_t n = X25519_SIZE;
    uint8_t secret[X25519_SIZE];
    EVP_PKEY *key = make(ours, "X25519", false), *blank = make(ours, "X25519", true);
    (void)state;
    assert_int_equal(EVP_PKEY_get1_encoded_public_key(blank, &bytes), 0);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, blank, ours);
    assert_int_not_equal(EVP_PKEY_derive_init(context), 1);
    EVP_PKEY_CTX_free(context);
    context = EVP_PKEY_CTX_new_from_pkey(NULL, key, ours);
    assert_int_equal(EVP_PKEY_derive_init(context), 1);
    assert_int_not_equal(EVP_PKEY_derive_set_peer(context, blank), 1);
    assert_int_not_equal(EVP_PKEY_derive(context, NULL, &n), 1);
    assert_int_not_equal(EVP_PKEY_derive(context, secret, &n), 1);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(blank);
    EVP_PKEY_free(key);
}

/* What a client of TLS does with its own key to hold the server's. */
static void a_copy_of_the_parameters_holds_neither_half_until_it_is_given_one(void **state)
{
    uint8_t share[X25519_SIZE], kept[X25519_SIZE];
    unsigned char *bytes = NULL;
    EVP_PKEY *key = make(ours, "X25519", false), *copy = EVP_PKEY_new();
    (void)state;
    assert_int_equal(EVP_PKEY_copy_parameters(copy, key), 1);
    assert_int_equal(EVP_PKEY_get1_encoded_public_key(copy, &bytes), 0);
    read_share(key, share);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(copy, share, sizeof share), 1);
    read_share(copy, kept);
    assert_memory_equal(share, kept, sizeof share);
    assert_int_equal(EVP_PKEY_eq(copy, key), 1);
    EVP_PKEY_free(copy);
    EVP_PKEY_free(key);
}

static void a_whole_copy_comes_to_the_same(void **state)
{
    uint8_t here[X25519_SIZE], there[X25519_SIZE];
    EVP_PKEY *key = make(ours, "X25519", false), *other = make(ours, "X25519", false);
    EVP_PKEY *copy = EVP_PKEY_dup(key);
    (void)state;
    assert_int_equal(EVP_PKEY_eq(copy, key), 1);
    assert_int_not_equal(EVP_PKEY_eq(copy, other), 1);
    agree(ours, key, other, here);
    agree(ours, copy, other, there);
    assert_memory_equal(here, there, sizeof here);
    EVP_PKEY_free(copy);
    EVP_PKEY_free(other);
    EVP_PKEY_free(key);
}

static void a_secret_without_enough_room_is_not_written(void **state)
{
    uint8_t secret[X25519_SIZE] = {0}, zeros[X25519_SIZE] = {0};
    size_t n = X25519_SIZE - 1;
    EVP_PKEY *key = make(ours, "X25519", false), *peer = peer_of(ours, key);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, ours);
    (void)state;
    assert_int_equal(EVP_PKEY_derive_init(context), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(context, peer), 1);
    assert_int_not_equal(EVP_PKEY_derive(context, secret, &n), 1);
    assert_memory_equal(secret, zeros, sizeof secret);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
}

/* A context in which a share is answered (with the peer's), or an answer taken (with one's own key). */
static EVP_PKEY_CTX *begin_answer(EVP_PKEY *peer)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, peer, ours);
    assert_int_equal(EVP_PKEY_encapsulate_init(context, NULL), 1);
    return context;
}

static EVP_PKEY_CTX *begin_taking(EVP_PKEY *key)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, ours);
    assert_int_equal(EVP_PKEY_decapsulate_init(context, NULL), 1);
    return context;
}

static EVP_PKEY *openssls_holder_of(const uint8_t share[X25519_SIZE])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", USUAL, share, X25519_SIZE);
    assert_non_null(key);
    return key;
}

static void a_share_of_openssls_is_answered_and_both_come_to_the_same(void **state)
{
    uint8_t share[2][X25519_SIZE], here[X25519_SIZE], there[X25519_SIZE];
    size_t n, secret_n;
    EVP_PKEY *key = make(USUAL, "X25519", false), *peer = peer_of(ours, key);
    EVP_PKEY_CTX *context = begin_answer(peer);
    (void)state;
    assert_int_equal(EVP_PKEY_encapsulate(context, NULL, &n, NULL, &secret_n), 1);
    assert_int_equal(n, X25519_SIZE);
    assert_int_equal(secret_n, X25519_SIZE);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(EVP_PKEY_encapsulate(context, share[i], &n, here, &secret_n), 1);
        assert_int_equal(n, X25519_SIZE);
        assert_int_equal(secret_n, X25519_SIZE);
        EVP_PKEY *answer = openssls_holder_of(share[i]);
        agree(USUAL, key, answer, there);
        assert_memory_equal(here, there, sizeof here);
        EVP_PKEY_free(answer);
    }
    assert_memory_not_equal(share[0], share[1], X25519_SIZE); /* each time another one */
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
}

static void an_answer_of_openssls_is_taken_and_both_come_to_the_same(void **state)
{
    uint8_t share[X25519_SIZE], here[X25519_SIZE], there[X25519_SIZE];
    size_t n;
    EVP_PKEY *key = make(ours, "X25519", false), *other = make(USUAL, "X25519", false);
    EVP_PKEY_CTX *context = begin_taking(key);
    (void)state;
    read_share(other, share);
    assert_int_equal(EVP_PKEY_decapsulate(context, NULL, &n, share, sizeof share), 1);
    assert_int_equal(n, X25519_SIZE);
    assert_int_equal(EVP_PKEY_decapsulate(context, here, &n, share, sizeof share), 1);
    assert_int_equal(n, X25519_SIZE);
    agree(USUAL, other, key, there);
    assert_memory_equal(here, there, sizeof here);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(other);
    EVP_PKEY_free(key);
}

/* Zero is a share of small order. */
static void a_share_that_everybody_knows_the_outcome_of_is_neither_answered_nor_taken(void **state)
{
    uint8_t zeros[X25519_SIZE] = {0}, share[X25519_SIZE], secret[X25519_SIZE];
    size_t n = X25519_SIZE, secret_n = X25519_SIZE;
    EVP_PKEY *key = make(ours, "X25519", false), *peer = make(ours, "X25519", true);
    (void)state;
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(peer, zeros, sizeof zeros), 1);
    EVP_PKEY_CTX *context = begin_answer(peer);
    ERR_clear_error();
    assert_int_not_equal(EVP_PKEY_encapsulate(context, share, &n, secret, &secret_n), 1);
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), PROV_R_INVALID_KEY);
    EVP_PKEY_CTX_free(context);
    context = begin_taking(key);
    ERR_clear_error();
    assert_int_not_equal(EVP_PKEY_decapsulate(context, secret, &secret_n, zeros, sizeof zeros), 1);
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), PROV_R_INVALID_KEY);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
}

static void answers_of_another_size_or_without_enough_room_are_refused(void **state)
{
    uint8_t share[X25519_SIZE + 1] = {9}, secret[X25519_SIZE] = {0}, zeros[X25519_SIZE] = {0};
    size_t n, secret_n;
    EVP_PKEY *key = make(ours, "X25519", false), *peer = peer_of(ours, key);
    EVP_PKEY_CTX *context = begin_taking(key);
    (void)state;
    for (size_t size = 0; size <= X25519_SIZE + 1; size++) {
        n = X25519_SIZE;
        assert_int_equal(EVP_PKEY_decapsulate(context, NULL, &n, share, size) == 1, size == X25519_SIZE);
    }
    n = X25519_SIZE - 1;
    assert_int_not_equal(EVP_PKEY_decapsulate(context, secret, &n, share, X25519_SIZE), 1);
    EVP_PKEY_CTX_free(context);
    context = begin_answer(peer);
    n = X25519_SIZE - 1;
    secret_n = X25519_SIZE;
    assert_int_not_equal(EVP_PKEY_encapsulate(context, share, &n, secret, &secret_n), 1);
    n = X25519_SIZE;
    secret_n = X25519_SIZE - 1;
    assert_int_not_equal(EVP_PKEY_encapsulate(context, share, &n, secret, &secret_n), 1);
    assert_memory_equal(secret, zeros, sizeof secret);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
}

static void without_a_share_there_is_nothing_to_answer_and_without_a_key_nothing_to_take(void **state)
{
    EVP_PKEY *key = make(ours, "X25519", false), *blank = make(ours, "X25519", true);
    EVP_PKEY *peer = peer_of(ours, key);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, blank, ours);
    (void)state;
    assert_int_not_equal(EVP_PKEY_encapsulate_init(context, NULL), 1);
    EVP_PKEY_CTX_free(context);
    context = EVP_PKEY_CTX_new_from_pkey(NULL, peer, ours);
    assert_int_not_equal(EVP_PKEY_decapsulate_init(context, NULL), 1);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(blank);
    EVP_PKEY_free(key);
}

static struct tls_context *make_server(void)
{
    struct err err;
    struct issued site = issue("DNS:example.com", false);
    struct tls_pair pair = {.certificate = str_of(site.certificate), .key = str_of(site.key)};
    struct tls_context *server =
        tls_server_new(&(struct tls_server_options){.pairs = &pair, .count = 1}, &err);
    assert_non_null(server);
    issued_free(&site);
    return server;
}

/* Both contexts are those of the product, and speak through memory. */
static void shake_hands(SSL *here, SSL *there, int version)
{
    BIO *left, *right;
    assert_int_equal(BIO_new_bio_pair(&left, 65536, &right, 65536), 1);
    SSL_set_bio(here, left, left);
    SSL_set_bio(there, right, right);
    SSL_set_max_proto_version(here, version);
    SSL_set_connect_state(here);
    SSL_set_accept_state(there);
    for (unsigned i = 0; i < 3; i++) {
        SSL_do_handshake(here);
        SSL_do_handshake(there);
    }
    assert_true(SSL_is_init_finished(here) && SSL_is_init_finished(there));
    assert_int_equal(SSL_version(here), version);
}

static void assert_is_ours(EVP_PKEY *key)
{
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), TLS_PROVIDER_NAME);
    EVP_PKEY_free(key);
}

/* Of what it has made a key of, OpenSSL still holds the client's on either side; in TLS 1.2 the client what
 * the server has sent. */
static void handshakes_take_their_keys_from_here(void **state)
{
    struct err err;
    struct tls_context *server = make_server();
    struct tls_context *client = tls_client_new(&(struct tls_client_options){0}, &err);
    EVP_PKEY *key;
    (void)state;
    assert_non_null(client);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL *here = tls_context_connection(client), *there = tls_context_connection(server);
        shake_hands(here, there, version);
        if (version == TLS1_2_VERSION) {
            assert_int_equal(SSL_get_peer_tmp_key(here, &key), 1);
        } else {
            assert_int_equal(SSL_get_tmp_key(here, &key), 1);
            assert_is_ours(key);
            assert_int_equal(SSL_get_peer_tmp_key(there, &key), 1);
        }
        assert_is_ours(key);
        SSL_free(here);
        SSL_free(there);
    }
    tls_context_free(client);
    tls_context_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ours_and_openssls_come_to_the_same),
        cmocka_unit_test(who_asks_for_no_provider_gets_openssls_own),
        cmocka_unit_test(of_a_key_is_told_what_openssl_tells_of_its_own),
        cmocka_unit_test(another_group_is_refused),
        cmocka_unit_test(a_share_of_another_size_is_refused_and_changes_nothing),
        cmocka_unit_test(a_key_that_is_given_another_public_half_has_no_private_one),
        cmocka_unit_test(parameters_alone_are_no_key),
        cmocka_unit_test(a_copy_of_the_parameters_holds_neither_half_until_it_is_given_one),
        cmocka_unit_test(a_whole_copy_comes_to_the_same),
        cmocka_unit_test(a_secret_without_enough_room_is_not_written),
        cmocka_unit_test(a_share_of_openssls_is_answered_and_both_come_to_the_same),
        cmocka_unit_test(an_answer_of_openssls_is_taken_and_both_come_to_the_same),
        cmocka_unit_test(a_share_that_everybody_knows_the_outcome_of_is_neither_answered_nor_taken),
        cmocka_unit_test(answers_of_another_size_or_without_enough_room_are_refused),
        cmocka_unit_test(without_a_share_there_is_nothing_to_answer_and_without_a_key_nothing_to_take),
        cmocka_unit_test(handshakes_take_their_keys_from_here),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
