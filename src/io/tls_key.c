/* OpenSSL's AEADs, one call a record. Invariant: a key has a cipher exactly while it is in its thread's list,
 * and that cipher was begun with this key; and no number of a record is used twice with one key. */
#include "io/tls_key.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 0x0303 /* of all records (section 5.1) */

struct tls_suite {
    const char *name, *cipher_name, *digest;
    uint8_t key_size, secret_size;
    EVP_CIPHER *cipher;
};

static struct tls_suite suites[] = {
    {"TLS_AES_128_GCM_SHA256", "AES-128-GCM", "SHA256", 16, 32, NULL},
    {"TLS_AES_256_GCM_SHA384", "AES-256-GCM", "SHA384", 32, 48, NULL},
    {"TLS_CHACHA20_POLY1305_SHA256", "ChaCha20-Poly1305", "SHA256", 32, 32, NULL},
};

/* ---- suites ---- */

static void fetch(void)
{
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++)
        suites[i].cipher = EVP_CIPHER_fetch(NULL, suites[i].cipher_name, NULL);
}

const struct tls_suite *tls_suite_find(const char *name)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch);
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
        if (strcmp(suites[i].name, name) == 0)
            return suites[i].cipher != NULL ? &suites[i] : NULL;
    }
    return NULL;
}

/* ---- ciphers ---- */

static _Thread_local struct {
    TAILQ_HEAD(keys, tls_key) list; /* the newest first */
    unsigned count;
} ready;

static void part(struct tls_key *key)
{
    TAILQ_REMOVE(&ready.list, key, link);
    ready.count--;
    key->cipher = NULL;
}

static EVP_CIPHER_CTX *cipher_for_another(void)
{
    if (ready.count < TLS_KEYS_READY)
        return EVP_CIPHER_CTX_new();
    struct tls_key *oldest = TAILQ_LAST(&ready.list, keys);
    EVP_CIPHER_CTX *cipher = oldest->cipher;
    part(oldest);
    return cipher;
}

/* Whether it seals or opens is said with each record. */
static bool prepare(struct tls_key *key)
{
    if (key->cipher != NULL)
        return true;
    if (ready.list.tqh_last == NULL)
        TAILQ_INIT(&ready.list);
    EVP_CIPHER_CTX *cipher = cipher_for_another();
    if (cipher == NULL ||
        EVP_CipherInit_ex(cipher, key->suite->cipher, NULL, key->secret.key, NULL, 1) != 1) {
        EVP_CIPHER_CTX_free(cipher);
        return false;
    }
    key->cipher = cipher;
    TAILQ_INSERT_HEAD(&ready.list, key, link);
    ready.count++;
    return true;
}

static void drop_cipher(struct tls_key *key)
{
    EVP_CIPHER_CTX *cipher = key->cipher;
    if (cipher == NULL)
        return;
    part(key);
    EVP_CIPHER_CTX_free(cipher);
}

/* ---- keys ---- */

bool tls_key_begin(struct tls_key *key, const struct tls_suite *suite)
{
    const struct tls_secret *secret = &key->secret;
    key->suite = suite;
    key->cipher = NULL;
    return secret->secret_size == suite->secret_size && secret->key_size == suite->key_size &&
           secret->iv_size == TLS_IV_SIZE;
}

void tls_key_end(struct tls_key *key)
{
    drop_cipher(key);
    OPENSSL_cleanse(&key->secret, sizeof key->secret);
}

/* Section 5.3. */
static void make_nonce(const struct tls_key *key, unsigned char nonce[TLS_IV_SIZE])
{
    memcpy(nonce, key->secret.iv, TLS_IV_SIZE);
    for (int i = 0; i < 8; i++)
        nonce[TLS_IV_SIZE - 1 - i] ^= (unsigned char)(key->sequence >> (8 * i));
}

/* Begins a record; its head is authenticated with it (section 5.2). */
static bool begin_record(struct tls_key *key, const unsigned char *head, int seals)
{
    unsigned char nonce[TLS_IV_SIZE];
    int n;
    make_nonce(key, nonce);
    return prepare(key) && EVP_CipherInit_ex(key->cipher, NULL, NULL, NULL, nonce, seals) == 1 &&
           EVP_CipherUpdate(key->cipher, NULL, &n, head, TLS_RECORD_HEAD) == 1;
}

size_t tls_key_seal(struct tls_key *key, unsigned char *record, uint8_t type, size_t text)
{
    unsigned char *inner = record + TLS_RECORD_HEAD;
    size_t length = text + TLS_RECORD_TAIL;
    int n;
    assert(text <= TLS_RECORD_TEXT && key->sequence < UINT64_MAX);
    inner[text] = type;
    const unsigned char head[] = {TLS_TYPE_DATA, VERSION >> 8, VERSION & 0xff, (unsigned char)(length >> 8),
                                  (unsigned char)length};
    memcpy(record, head, sizeof head);
    if (!begin_record(key, record, 1) ||
        EVP_EncryptUpdate(key->cipher, inner, &n, inner, (int)text + 1) != 1 ||
        EVP_EncryptFinal_ex(key->cipher, inner + n, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(key->cipher, EVP_CTRL_AEAD_GET_TAG, TLS_RECORD_TAG, inner + text + 1) != 1)
        return 0;
    key->sequence++;
    return TLS_RECORD_HEAD + length;
}

ssize_t tls_record_size(const unsigned char *head)
{
    unsigned version = (unsigned)head[1] << 8 | head[2], length = (unsigned)head[3] << 8 | head[4];
    if (head[0] != TLS_TYPE_DATA || version != VERSION)
        return -TLS_ALERT_UNEXPECTED;
    if (length > TLS_RECORD_MAX - TLS_RECORD_HEAD)
        return -TLS_ALERT_OVERFLOW;
    if (length < TLS_RECORD_TAIL)
        return -TLS_ALERT_BAD_MAC; /* no room for a type and a tag */
    return (ssize_t)(TLS_RECORD_HEAD + length);
}

/* The type stands behind the text, and zeros behind that (section 5.4). */
static ssize_t without_padding(const unsigned char *inner, size_t n, uint8_t *type)
{
    if (n > TLS_RECORD_TEXT + 1)
        return -TLS_ALERT_OVERFLOW;
    while (n > 0 && inner[n - 1] == 0)
        n--;
    if (n == 0)
        return -TLS_ALERT_UNEXPECTED;
    *type = inner[n - 1];
    return (ssize_t)n - 1;
}

ssize_t tls_key_open(struct tls_key *key, const unsigned char *record, size_t size, unsigned char *text,
                     uint8_t *type)
{
    size_t inner = size - TLS_RECORD_HEAD - TLS_RECORD_TAG;
    unsigned char tag[TLS_RECORD_TAG];
    int n;
    assert(size >= TLS_RECORD_HEAD + TLS_RECORD_TAIL && size <= TLS_RECORD_MAX);
    memcpy(tag, record + size - TLS_RECORD_TAG, TLS_RECORD_TAG);
    if (!begin_record(key, record, 0) ||
        EVP_DecryptUpdate(key->cipher, text, &n, record + TLS_RECORD_HEAD, (int)inner) != 1 ||
        EVP_CIPHER_CTX_ctrl(key->cipher, EVP_CTRL_AEAD_SET_TAG, TLS_RECORD_TAG, tag) != 1)
        return -TLS_ALERT_INTERNAL;
    if (EVP_DecryptFinal_ex(key->cipher, text + n, &n) != 1)
        return -TLS_ALERT_BAD_MAC;
    key->sequence++;
    return without_padding(text, inner, type);
}

/* ---- the next key ---- */

static bool expand(const struct tls_key *key, const uint8_t *secret, struct str label, uint8_t *out, size_t n)
{
    struct str from = {(const char *)secret, key->suite->secret_size};
    return tls_secrets_expand(key->suite->digest, from, label, out, n);
}

bool tls_key_update(struct tls_key *key)
{
    struct tls_secret next = key->secret;
    if (!expand(key, key->secret.secret, STR("traffic upd"), next.secret, next.secret_size) ||
        !expand(key, next.secret, STR("key"), next.key, next.key_size) ||
        !expand(key, next.secret, STR("iv"), next.iv, next.iv_size)) {
        OPENSSL_cleanse(&next, sizeof next);
        return false;
    }
    tls_key_end(key);
    key->secret = next;
    key->sequence = 0;
    OPENSSL_cleanse(&next, sizeof next);
    return true;
}
