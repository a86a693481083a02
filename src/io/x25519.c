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

/* What libsodium may have left there of a private key. (Its own function for this takes 1 us.) */
static __attribute__((noinline)) void wipe_stack(void)
{
    char below[4096];
    explicit_bzero(below, sizeof below);
}

/* A thread's: pairs that nobody has had yet. */
struct stock {
    BN_CTX *numbers; /* to compute with; NULL: not needed so far */
    uint8_t points[AT_ONCE][X25519_SIZE], secrets[AT_ONCE][X25519_SIZE];
    size_t left;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t stock_key;
static BIGNUM *prime;      /* 2^255 - 19 */
static BN_MONT_CTX *field; /* to multiply by it */
static bool ready;

static bool set_field(void)
{
    BN_CTX *numbers = BN_CTX_new();
    prime = BN_new();
    field = BN_MONT_CTX_new();
    bool good = numbers != NULL && prime != NULL && field != NULL && BN_set_bit(prime, 255) == 1 &&
                BN_sub_word(prime, 19) == 1 && BN_MONT_CTX_set(field, prime, numbers) == 1;
    BN_CTX_free(numbers);
    return good;
}

static void free_stock(void *arg)
{
    struct stock *stock = arg;
    BN_CTX_free(stock->numbers);
    explicit_bzero(stock, sizeof *stock);
    free(stock);
}

static void prepare(void)
{
    ready = sodium_init() >= 0 && set_field() && pthread_key_create(&stock_key, free_stock) == 0;
}

bool x25519_ready(void)
{
    pthread_once(&once, prepare);
    return ready;
}

/* NULL: without memory. */
static struct stock *thread_stock(void)
{
    struct stock *stock = pthread_getspecific(stock_key);
    if (stock != NULL)
        return stock;
    stock = mem_zero(1, sizeof *stock);
    if (pthread_setspecific(stock_key, stock) == 0)
        return stock;
    free(stock);
    return NULL;
}

/* Points on their way from y of the Edwards curve to u of the Montgomery curve: u = (1 + y) / (1 - y)
 * (RFC 7748 section 4.1). Montgomery's multiplication leaves its factor R behind in whatever is made of what
 * stands above and below alike, so that only their quotient is brought back from it. */
struct way {
    BN_CTX *numbers;
    BIGNUM *y, *u, *inverse;
    BIGNUM *above[AT_ONCE], *below[AT_ONCE];
    BIGNUM *product[AT_ONCE]; /* of all below, up to this one */
};

static bool begin(struct way *way)
{
    way->y = BN_CTX_get(way->numbers);
    way->u = BN_CTX_get(way->numbers);
    way->inverse = BN_CTX_get(way->numbers);
    for (size_t i = 0; i < AT_ONCE; i++) {
        way->above[i] = BN_CTX_get(way->numbers);
        way->below[i] = BN_CTX_get(way->numbers);
        way->product[i] = BN_CTX_get(way->numbers);
    }
    return way->product[AT_ONCE - 1] != NULL;
}

static bool multiply(struct way *way, BIGNUM *product, const BIGNUM *one, const BIGNUM *other)
{
    return BN_mod_mul_montgomery(product, one, other, field, way->numbers) == 1;
}

/* The sign of x, which is written with y (RFC 8032 section 5.1.2), does not matter. */
static bool set_out(struct way *way, size_t i, const uint8_t point[X25519_SIZE])
{
    uint8_t y[X25519_SIZE];
    memcpy(y, point, sizeof y);
    y[X25519_SIZE - 1] &= 0x7f;
    return BN_lebin2bn(y, sizeof y, way->y) != NULL &&
           BN_mod_add_quick(way->above[i], BN_value_one(), way->y, prime) == 1 &&
           BN_mod_sub_quick(way->below[i], BN_value_one(), way->y, prime) == 1 &&
           (i == 0 ? BN_copy(way->product[0], way->below[0]) != NULL
                   : multiply(way, way->product[i], way->product[i - 1], way->below[i]));
}

/* The inverse of the product of all. It is short of R twice: once for what it was made of, once for itself.
 */
static bool invert(struct way *way)
{
    return BN_mod_inverse(way->inverse, way->product[AT_ONCE - 1], prime, way->numbers) != NULL &&
           BN_to_montgomery(way->inverse, way->inverse, field, way->numbers) == 1 &&
           BN_to_montgomery(way->inverse, way->inverse, field, way->numbers) == 1;
}

/* From the last to the first: the inverse of the product of all up to this one, times the product of all
 * before it, is the inverse of this one; times this one it is that of all before. */
static bool arrive(struct way *way, size_t i, uint8_t point[X25519_SIZE])
{
    return multiply(way, way->u, way->above[i], way->inverse) &&
           (i == 0 || multiply(way, way->u, way->u, way->product[i - 1])) &&
           multiply(way, way->inverse, way->inverse, way->below[i]) &&
           BN_from_montgomery(way->u, way->u, field, way->numbers) == 1 &&
           BN_bn2lebinpad(way->u, point, X25519_SIZE) == X25519_SIZE;
}

static bool bring_over(BN_CTX *numbers, uint8_t points[AT_ONCE][X25519_SIZE])
{
    struct way way = {.numbers = numbers};
    BN_CTX_start(numbers);
    bool good = begin(&way);
    for (size_t i = 0; good && i < AT_ONCE; i++)
        good = set_out(&way, i, points[i]);
    good = good && invert(&way);
    for (size_t i = AT_ONCE; good && i-- > 0;)
        good = arrive(&way, i, points[i]);
    BN_CTX_end(numbers);
    return good;
}

/* The base points of both curves are the same one, and libsodium makes the same number of the private key's
 * bytes for either (RFC 7748 section 5, RFC 8032 section 5.1.5). */
static bool make_points(struct stock *stock)
{
    bool good = RAND_priv_bytes(stock->secrets[0], sizeof stock->secrets) == 1;
    for (size_t i = 0; good && i < AT_ONCE; i++)
        good = crypto_scalarmult_ed25519_base(stock->points[i], stock->secrets[i]) == 0;
    return good;
}

/* Pairs that came to nothing. */
static void forget(struct stock *stock)
{
    BN_CTX *numbers = stock->numbers;
    explicit_bzero(stock, sizeof *stock);
    stock->numbers = numbers;
}

static bool fill(struct stock *stock)
{
    if (stock->numbers == NULL)
        stock->numbers = BN_CTX_new();
    bool good = stock->numbers != NULL && make_points(stock) && bring_over(stock->numbers, stock->points);
    wipe_stack();
    stock->left = good ? AT_ONCE : 0;
    if (!good)
        forget(stock);
    return good;
}

bool x25519_new(struct x25519_pair *pair)
{
    struct stock *stock = thread_stock();
    if (stock == NULL || (stock->left == 0 && !fill(stock)))
        return false;
    size_t last = --stock->left;
    memcpy(pair->public, stock->points[last], X25519_SIZE);
    memcpy(pair->private, stock->secrets[last], X25519_SIZE);
    explicit_bzero(stock->secrets[last], X25519_SIZE);
    return true;
}

bool x25519_agree(uint8_t shared[X25519_SIZE], const uint8_t private[X25519_SIZE],
                  const uint8_t peer[X25519_SIZE])
{
    bool good = crypto_scalarmult_curve25519(shared, private, peer) == 0;
    wipe_stack();
    return good;
}
