/* Invariant: what is computed with OpenSSL's numbers, which take more or less time with what they hold, is
 * made of public keys alone. */
#include "io/x25519.h"

#include "base/mem.h"

#include <openssl/bn.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE 8 /* some 140 us; with 16 a pair would cost 0.6 us less */

/* A thread's: pairs that nobody has had yet. */
struct stock {
    uint8_t public[AT_ONCE][X25519_SIZE], private[AT_ONCE][X25519_SIZE];
    size_t left;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t stock_key;
static bool ready;

static void free_stock(void *arg)
{
    explicit_bzero(arg, sizeof(struct stock));
    free(arg);
}

static void prepare(void)
{
    ready = sodium_init() >= 0 && pthread_key_create(&stock_key, free_stock) == 0;
}

bool x25519_ready(void)
{
    pthread_once(&once, prepare);
    return ready;
}

static struct stock *thread_stock(void)
{
    struct stock *stock = pthread_getspecific(stock_key);
    if (stock != NULL)
        return stock;
    stock = mem_zero(1, sizeof *stock);
    pthread_setspecific(stock_key, stock);
    return stock;
}

/* Points on their way from y of the Edwards curve to u of the Montgomery curve: u = (1 + y) / (1 - y)
 * (RFC 7748 section 4.1). */
struct way {
    BN_CTX *numbers;
    BIGNUM *p, *inverse, *u;
    BIGNUM *above[AT_ONCE], *below[AT_ONCE];
    BIGNUM *product[AT_ONCE]; /* of all below, up to this one */
};

static bool begin(struct way *way)
{
    way->p = BN_CTX_get(way->numbers);
    way->inverse = BN_CTX_get(way->numbers);
    way->u = BN_CTX_get(way->numbers);
    for (size_t i = 0; i < AT_ONCE; i++) {
        way->above[i] = BN_CTX_get(way->numbers);
        way->below[i] = BN_CTX_get(way->numbers);
        way->product[i] = BN_CTX_get(way->numbers);
    }
    return way->product[AT_ONCE - 1] != NULL && BN_set_bit(way->p, 255) && BN_sub_word(way->p, 19);
}

/* The sign of x, which is written with y (RFC 8032 section 5.1.2), does not matter. */
static bool set_out(struct way *way, size_t i, const uint8_t point[X25519_SIZE])
{
    uint8_t y[X25519_SIZE];
    memcpy(y, point, sizeof y);
    y[X25519_SIZE - 1] &= 0x7f;
    return BN_lebin2bn(y, sizeof y, way->u) != NULL &&
           BN_mod_add(way->above[i], BN_value_one(), way->u, way->p, way->numbers) &&
           BN_mod_sub(way->below[i], BN_value_one(), way->u, way->p, way->numbers) &&
           BN_mod_mul(way->product[i], i > 0 ? way->product[i - 1] : BN_value_one(), way->below[i], way->p,
                      way->numbers);
}

/* From the last to the first: the inverse of the product of all up to this one, times the product of all
 * before it, is the inverse of this one; times this one it is that of all before. */
static bool arrive(struct way *way, size_t i, uint8_t point[X25519_SIZE])
{
    return BN_mod_mul(way->u, way->above[i], way->inverse, way->p, way->numbers) &&
           (i == 0 || BN_mod_mul(way->u, way->u, way->product[i - 1], way->p, way->numbers)) &&
           BN_mod_mul(way->inverse, way->inverse, way->below[i], way->p, way->numbers) &&
           BN_bn2lebinpad(way->u, point, X25519_SIZE) == X25519_SIZE;
}

static bool bring_over(struct way *way, uint8_t points[AT_ONCE][X25519_SIZE])
{
    bool good = begin(way);
    for (size_t i = 0; good && i < AT_ONCE; i++)
        good = set_out(way, i, points[i]);
    good = good && BN_mod_inverse(way->inverse, way->product[AT_ONCE - 1], way->p, way->numbers) != NULL;
    for (size_t i = AT_ONCE; good && i-- > 0;)
        good = arrive(way, i, points[i]);
    return good;
}

/* The base points of both curves are the same one, and libsodium makes the same number of the private key's
 * bytes for either (RFC 7748 section 5, RFC 8032 section 5.1.5). */
static bool multiply(struct stock *stock)
{
    bool good = RAND_priv_bytes(stock->private[0], sizeof stock->private) == 1;
    for (size_t i = 0; good && i < AT_ONCE; i++)
        good = crypto_scalarmult_ed25519_base(stock->public[i], stock -> private[i]) == 0;
    return good;
}

static bool fill(struct stock *stock)
{
    struct way way = {.numbers = BN_CTX_new()};
    bool good = way.numbers != NULL && multiply(stock);
    if (good) {
        BN_CTX_start(way.numbers);
        good = bring_over(&way, stock->public);
        BN_CTX_end(way.numbers);
    }
    BN_CTX_free(way.numbers);
    stock->left = good ? AT_ONCE : 0;
    return good;
}

bool x25519_new(struct x25519_pair *pair)
{
    struct stock *stock = thread_stock();
    if (stock->left == 0 && !fill(stock))
        return false;
    size_t last = --stock->left;
    memcpy(pair->public, stock->public[last], X25519_SIZE);
    memcpy(pair->private, stock->private[last], X25519_SIZE);
    explicit_bzero(stock->private[last], X25519_SIZE);
    return true;
}

bool x25519_agree(uint8_t shared[X25519_SIZE], const uint8_t private[X25519_SIZE],
                  const uint8_t peer[X25519_SIZE])
{
    return crypto_scalarmult_curve25519(shared, private, peer) == 0;
}
