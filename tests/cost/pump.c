/* Both directions in one thread, since a connection of OpenSSL is for one thread only. */
#include "pump.h"

#include "unit.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct pump {
    SSL *ssl;
    int plain, sealed;
};

/* False: this side has ended. What is sent is taken, as the rest of the test reads one answer behind the
 * other.
 */
static bool move_out(struct pump *pump)
{
    char bytes[16384];
    ssize_t n = recv(pump->plain, bytes, sizeof bytes, 0);
    return n > 0 && SSL_write(pump->ssl, bytes, (int)n) == n;
}

static bool move_in(struct pump *pump)
{
    char bytes[16384];
    int n = SSL_read(pump->ssl, bytes, sizeof bytes);
    if (n <= 0)
        return SSL_get_error(pump->ssl, n) == SSL_ERROR_WANT_READ; /* a ticket */
    return send(pump->plain, bytes, (size_t)n, MSG_NOSIGNAL) == n;
}

static void *run(void *arg)
{
    struct pump *pump = arg;
    bool goes_on = true;
    while (goes_on) {
        struct pollfd wait[] = {{.fd = pump->plain, .events = POLLIN},
                                {.fd = pump->sealed, .events = POLLIN}};
        poll(wait, 2, -1);
        if (wait[0].revents != 0)
            goes_on = move_out(pump);
        if (goes_on && wait[1].revents != 0)
            goes_on = move_in(pump);
    }
    SSL_free(pump->ssl);
    close(pump->plain);
    close(pump->sealed);
    free(pump);
    return NULL;
}

static SSL *shake_hands(int fd, bool h2)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    const char *names = h2 ? "\2h2" : "\10http/1.1";
    assert_int_equal(SSL_CTX_set_alpn_protos(context, (const uint8_t *)names, (unsigned)strlen(names)), 0);
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_fd(ssl, fd);
    assert_int_equal(SSL_connect(ssl), 1);
    return ssl;
}

int pump_start(int fd, bool h2)
{
    int pair[2];
    pthread_t thread;
    struct pump *pump = malloc(sizeof *pump);
    assert_non_null(pump);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    *pump = (struct pump){.ssl = shake_hands(fd, h2), .plain = pair[1], .sealed = fd};
    assert_int_equal(pthread_create(&thread, NULL, run, pump), 0);
    pthread_detach(thread);
    return pair[0];
}
