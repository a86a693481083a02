/* OpenSSL's secure heap, and its allocator. Invariant: once open, what a thread that wipes gives back holds
 * nothing. */
#include "io/tls_memory.h"

#include "io/tls_policy.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Of private keys of RSA some 3 KiB, of others less; of each handshake under way 64 bytes. Only what is
 * touched is taken. The smaller one is for who runs the daemon by hand, with the usual limit of 8 MiB. */
#define SIZE ((size_t)32 << 20)
#define SIZE_SMALL ((size_t)4 << 20)
#define PIECE 32

static _Thread_local bool wiping;

static void *get(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return malloc(size);
}

static void give_back(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    if (wiping && p != NULL)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

/* realloc would leave behind what it moves. */
static void *resize(void *p, size_t size, const char *file, int line)
{
    if (!wiping || p == NULL)
        return realloc(p, size);
    size_t old = malloc_usable_size(p);
    void *moved = malloc(size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, p, old < size ? old : size);
    give_back(p, file, line);
    return moved;
}

static size_t heap_size(void)
{
    struct rlimit limit;
    bool is_small =
        getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < SIZE && limit.rlim_cur >= SIZE_SMALL;
    return is_small ? SIZE_SMALL : SIZE;
}

bool tls_memory_open(void)
{
    if (CRYPTO_set_mem_functions(get, resize, give_back) != 1)
        abort();                                                      /* somebody was earlier */
    bool locked = CRYPTO_secure_malloc_init(heap_size(), PIECE) == 1; /* 2: it is not locked */
    SSL_CTX_free(tls_policy_new(TLS_server_method(), TLS_MINIMUM_1_2));
    SSL_CTX_free(tls_policy_new(TLS_client_method(), TLS_MINIMUM_1_2));
    return locked;
}

void *tls_memory_new(size_t size)
{
    return OPENSSL_secure_zalloc(size);
}

void tls_memory_free(void *secret, size_t size)
{
    OPENSSL_secure_clear_free(secret, size);
}

void tls_memory_begin_wiping(void)
{
    wiping = true;
}

void tls_memory_end_wiping(void)
{
    wiping = false;
}
