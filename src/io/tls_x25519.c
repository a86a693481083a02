/* Invariant: what OpenSSL can tell of these keys is what it tells of its own, and a private key is wiped
 * where its memory is given back. */
#include "io/tls_x25519.h"

#include "io/tls_provider.h"
#include "io/x25519.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/prov_ssl.h>
#include <openssl/proverr.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME "X25519"
#define GROUP "x25519"    /* its name in TLS */
#define BITS 253          /* as many as OpenSSL says */
#define SECURITY_BITS 128 /* RFC 7748 section 7 */

/* ---- keys ---- */

/* With a private one there is always the public one. */
struct key {
    struct x25519_pair pair;
    bool has_public, has_private;
};

static void *new_key(void *arg)
{
    (void)arg;
    return calloc(1, sizeof(struct key));
}

static void free_key(void *arg)
{
    if (arg != NULL)
        explicit_bzero(arg, sizeof(struct key));
    free(arg);
}

static int has(const void *arg, int selection)
{
    const struct key *key = arg;
    return key != NULL && ((selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) == 0 || key->has_public) &&
           ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 || key->has_private);
}

/* There are no parameters in which keys could differ. */
static int match(const void *arg, const void *other_arg, int selection)
{
    const struct key *key = arg, *other = other_arg;
    return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0 ||
           (key->has_public && other->has_public &&
            memcmp(key->pair.public, other->pair.public, X25519_SIZE) == 0);
}

/* Parameters alone, which is no bytes; or all. */
static void *copy_key(const void *arg, int selection)
{
    const struct key *from = arg;
    struct key *key = new_key(NULL);
    if (key == NULL)
        return NULL;
    if ((selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 && from->has_public) {
        memcpy(key->pair.public, from->pair.public, X25519_SIZE);
        key->has_public = true;
    }
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 && from->has_private) {
        key->pair = from->pair;
        key->has_public = key->has_private = true;
    }
    return key;
}

static const OSSL_PARAM *gettable(void *arg)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_END,
    };
    (void)arg;
    return params;
}

static bool get_int(OSSL_PARAM params[], const char *name, int value)
{
    OSSL_PARAM *param = OSSL_PARAM_locate(params, name);
    return param == NULL || OSSL_PARAM_set_int(param, value) == 1;
}

static int get_params(void *arg, OSSL_PARAM params[])
{
    struct key *key = arg;
    OSSL_PARAM *encoded = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY);
    return get_int(params, OSSL_PKEY_PARAM_BITS, BITS) &&
           get_int(params, OSSL_PKEY_PARAM_SECURITY_BITS, SECURITY_BITS) &&
           get_int(params, OSSL_PKEY_PARAM_MAX_SIZE, X25519_SIZE) &&
           (encoded == NULL ||
            (key->has_public && OSSL_PARAM_set_octet_string(encoded, key->pair.public, X25519_SIZE) == 1));
}

static const OSSL_PARAM *settable(void *arg)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_END,
    };
    (void)arg;
    return params;
}

/* A peer's key share (RFC 8446 section 4.2.8.2). */
static int set_params(void *arg, const OSSL_PARAM params[])
{
    struct key *key = arg;
    const OSSL_PARAM *param = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY);
    if (param == NULL)
        return 1;
    if (param->data_type != OSSL_PARAM_OCTET_STRING || param->data_size != X25519_SIZE)
        return 0;
    memcpy(key->pair.public, param->data, X25519_SIZE);
    key->has_public = true;
    explicit_bzero(key->pair.private, X25519_SIZE);
    key->has_private = false;
    return 1;
}

/* ---- their making ---- */

struct making {
    int selection;
};

static const OSSL_PARAM *making_settable(void *arg, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_END,
    };
    (void)arg;
    (void)provider;
    return params;
}

/* There is only one group, which may be named. */
static int making_set_params(void *arg, const OSSL_PARAM params[])
{
    const OSSL_PARAM *param = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
    (void)arg;
    return param == NULL ||
           (param->data_type == OSSL_PARAM_UTF8_STRING && strcasecmp(param->data, NAME) == 0);
}

static void *begin_making(void *arg, int selection, const OSSL_PARAM params[])
{
    (void)arg;
    struct making *making = making_set_params(NULL, params) ? calloc(1, sizeof *making) : NULL;
    if (making != NULL)
        making->selection = selection;
    return making;
}

/* Asked for parameters alone, a key with neither half. */
static void *make(void *arg, OSSL_CALLBACK *progress, void *progress_arg)
{
    const struct making *making = arg;
    struct key *key = new_key(NULL);
    (void)progress;
    (void)progress_arg;
    if (key == NULL || (making->selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0)
        return key;
    if (x25519_new(&key->pair)) {
        key->has_public = key->has_private = true;
        return key;
    }
    free_key(key);
    return NULL;
}

/* ---- exchanges ---- */

/* In TLS 1.2 what both sides have is put together once both are known. In 1.3 a server answers the client's
 * share with one that is made for it, and the client takes the answer: a KEM, of which OpenSSL makes less
 * than of keys (220 us of a resumed handshake's CPU for 226). OpenSSL goes on only where what begins it was
 * good. */
struct exchange {
    uint8_t private[X25519_SIZE], peer[X25519_SIZE];
    bool has_peer;
};

static void *new_exchange(void *arg)
{
    (void)arg;
    return calloc(1, sizeof(struct exchange));
}

static void free_exchange(void *arg)
{
    if (arg != NULL)
        explicit_bzero(arg, sizeof(struct exchange));
    free(arg);
}

static int set_private(void *arg, void *key_arg, const OSSL_PARAM params[])
{
    struct exchange *exchange = arg;
    const struct key *key = key_arg;
    (void)params;
    memcpy(exchange->private, key->pair.private, X25519_SIZE);
    return key->has_private;
}

static int set_peer(void *arg, void *key_arg)
{
    struct exchange *exchange = arg;
    const struct key *key = key_arg;
    exchange->has_peer = key->has_public;
    memcpy(exchange->peer, key->pair.public, X25519_SIZE);
    return key->has_public;
}

/* Without a place for it, only its size is told. */
static int agree(void *arg, unsigned char *secret, size_t *n, size_t room)
{
    const struct exchange *exchange = arg;
    if (!exchange->has_peer)
        return 0;
    *n = X25519_SIZE;
    return secret == NULL || (room >= X25519_SIZE && x25519_agree(secret, exchange->private, exchange->peer));
}

/* To OpenSSL, which of a KEM only says that it failed. */
static int refuse(int reason)
{
    ERR_raise(ERR_LIB_PROV, reason);
    return 0;
}

static int begin_answer(void *arg, void *key_arg, const OSSL_PARAM params[])
{
    (void)params;
    return set_peer(arg, key_arg);
}

/* A share and what it comes to with the peer's: `n` and `secret_n` are the room, then the size. Without a
 * place for them, only their sizes are told. */
static int answer(void *arg, unsigned char *share, size_t *n, unsigned char *secret, size_t *secret_n)
{
    struct exchange *exchange = arg;
    struct x25519_pair pair;
    bool room = share == NULL || (secret != NULL && *n >= X25519_SIZE && *secret_n >= X25519_SIZE);
    if (!room)
        return 0;
    *n = *secret_n = X25519_SIZE;
    if (share == NULL)
        return 1;
    if (!x25519_new(&pair))
        return refuse(PROV_R_FAILED_TO_GENERATE_KEY);
    memcpy(share, pair.public, X25519_SIZE);
    bool good = x25519_agree(secret, pair.private, exchange->peer);
    explicit_bzero(&pair, sizeof pair);
    return good || refuse(PROV_R_INVALID_KEY);
}

/* What the answer and one's own share, sent before, come to. Without a place for it, only its size is told.
 */
static int take_answer(void *arg, unsigned char *secret, size_t *secret_n, const unsigned char *share,
                       size_t n)
{
    const struct exchange *exchange = arg;
    bool room = secret == NULL || *secret_n >= X25519_SIZE;
    if (n != X25519_SIZE || !room)
        return refuse(PROV_R_INVALID_KEY_LENGTH);
    *secret_n = X25519_SIZE;
    return secret == NULL || x25519_agree(secret, exchange->private, share) || refuse(PROV_R_INVALID_KEY);
}

/* ---- what the provider has of this ---- */

const OSSL_ALGORITHM *tls_x25519_keys(void)
{
    static const OSSL_DISPATCH functions[] = {
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_NEW, new_key),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_FREE, free_key),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_HAS, has),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_MATCH, match),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_DUP, copy_key),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, gettable),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_GET_PARAMS, get_params),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, settable),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_SET_PARAMS, set_params),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_GEN_INIT, begin_making),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, making_settable),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, making_set_params),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_GEN, make),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYMGMT_GEN_CLEANUP, free),
        {0, NULL},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {NAME, TLS_PROVIDER_PROPERTIES, functions, NULL},
        {NULL, NULL, NULL, NULL},
    };
    return algorithms;
}

const OSSL_ALGORITHM *tls_x25519_exchanges(void)
{
    static const OSSL_DISPATCH functions[] = {
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYEXCH_NEWCTX, new_exchange),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYEXCH_FREECTX, free_exchange),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYEXCH_INIT, set_private),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYEXCH_SET_PEER, set_peer),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEYEXCH_DERIVE, agree),
        {0, NULL},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {NAME, TLS_PROVIDER_PROPERTIES, functions, NULL},
        {NULL, NULL, NULL, NULL},
    };
    return algorithms;
}

const OSSL_ALGORITHM *tls_x25519_answers(void)
{
    static const OSSL_DISPATCH functions[] = {
        TLS_PROVIDER_ROW(OSSL_FUNC_KEM_NEWCTX, new_exchange),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEM_FREECTX, free_exchange),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEM_ENCAPSULATE_INIT, begin_answer),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEM_ENCAPSULATE, answer),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEM_DECAPSULATE_INIT, set_private),
        TLS_PROVIDER_ROW(OSSL_FUNC_KEM_DECAPSULATE, take_answer),
        {0, NULL},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {NAME, TLS_PROVIDER_PROPERTIES, functions, NULL},
        {NULL, NULL, NULL, NULL},
    };
    return algorithms;
}

/* TLS of any version from 1.0 on, as OpenSSL has it; no DTLS here (-1). */
bool tls_x25519_tell(OSSL_CALLBACK *hear, void *arg)
{
    static unsigned number = 29 /* RFC 8446 section 4.2.7 */, security_bits = SECURITY_BITS, answers = 1;
    static int least = TLS1_VERSION, most = 0 /* no end */, none = -1;
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME, (char *)GROUP, sizeof GROUP),
        OSSL_PARAM_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL, (char *)NAME, sizeof NAME),
        OSSL_PARAM_utf8_string(OSSL_CAPABILITY_TLS_GROUP_ALG, (char *)NAME, sizeof NAME),
        OSSL_PARAM_uint(OSSL_CAPABILITY_TLS_GROUP_ID, &number),
        OSSL_PARAM_uint(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS, &security_bits),
        OSSL_PARAM_uint(OSSL_CAPABILITY_TLS_GROUP_IS_KEM, &answers),
        OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, &least),
        OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, &most),
        OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, &none),
        OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, &none),
        OSSL_PARAM_END,
    };
    return hear(params, arg) == 1;
}
