/* The socket below TLS, and a BIO over it for OpenSSL. Invariant: a false kernel_* flag means that an edge is
 * owed for it. */
#include "io/tls_layer.h"

#include "io/tls_state.h"

#include <errno.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define AHEAD 4096 /* bytes that are read for a handshake at once */

static BIO_METHOD *method;

ssize_t tls_layer_recv(struct stream *stream, void *bytes, size_t room)
{
    ssize_t taken;
    bool spent = stream->limited && stream->allowance == 0;
    if (!stream->kernel_readable || spent) {
        errno = stream->kernel_readable ? EMSGSIZE : EAGAIN;
        return -1;
    }
    do
        taken = recv(stream->fd, bytes, room, 0);
    while (taken < 0 && errno == EINTR);
    stream->kernel_readable = taken > 0 && (taken == (ssize_t)room || stream->hung_up);
    uint32_t count = taken > 0 ? (uint32_t)taken : 0;
    stream->allowance -= count < stream->allowance ? count : stream->allowance;
    return taken;
}

ssize_t tls_layer_send(struct stream *stream, const void *bytes, size_t n)
{
    ssize_t sent;
    errno = EAGAIN;
    if (!stream->kernel_writable)
        return -1;
    do
        sent = send(stream->fd, bytes, n, stream_send_flags(stream));
    while (sent < 0 && errno == EINTR);
    stream->kernel_writable = sent == (ssize_t)n;
    if (sent < 0 && errno != EAGAIN)
        stream->kernel_readable = true; /* as in a plain stream: what has come, and its end, are due */
    return sent;
}

/* ---- OpenSSL's way ---- */

static struct stream *stream_of(BIO *bio)
{
    return BIO_get_data(bio);
}

/* No more than was asked for; the rest is held. */
static ssize_t read_ahead(struct stream *stream, char *bytes, size_t room)
{
    char ahead[AHEAD];
    ssize_t taken = tls_layer_recv(stream, ahead, sizeof ahead);
    if (taken <= 0)
        return taken;
    size_t given = (size_t)taken < room ? (size_t)taken : room;
    memcpy(bytes, ahead, given);
    if ((size_t)taken == given)
        return taken;
    stream->tls->raw = held_new(ahead + given, (size_t)taken - given);
    errno = ENOMEM;
    return stream->tls->raw == NULL ? -1 : (ssize_t)given;
}

static int layer_read(BIO *bio, char *bytes, int room)
{
    struct stream *stream = stream_of(bio);
    struct tls *tls = stream->tls;
    ssize_t taken = (ssize_t)held_take(&tls->raw, bytes, (size_t)room);
    BIO_clear_retry_flags(bio);
    if (taken == 0)
        taken = tls->is_server && !tls->up ? read_ahead(stream, bytes, (size_t)room)
                                           : tls_layer_recv(stream, bytes, (size_t)room);
    if (taken < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    if (taken == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)taken;
}

static int layer_write(BIO *bio, const char *bytes, int size)
{
    ssize_t sent = tls_layer_send(stream_of(bio), bytes, (size_t)size);
    BIO_clear_retry_flags(bio);
    if (sent < 0 && errno == EAGAIN)
        BIO_set_retry_write(bio);
    return (int)sent;
}

static long layer_control(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    default:
        return 0;
    }
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (method == NULL || BIO_meth_set_read(method, layer_read) != 1 ||
        BIO_meth_set_write(method, layer_write) != 1 || BIO_meth_set_ctrl(method, layer_control) != 1)
        abort();
}

bool tls_layer_join(SSL *ssl, struct stream *stream)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    BIO *bio = BIO_new(method);
    if (bio == NULL)
        return false;
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return true;
}
