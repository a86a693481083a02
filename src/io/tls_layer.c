/* A BIO that is OpenSSL's socket BIO in all but its reads and writes. So what OpenSSL asks a socket BIO to do
 * for TLS in the kernel works as ever, while plain records go by recv and send without SIGPIPE. Invariant:
 * a false kernel_* flag means that an edge is owed for it. */
#include "io/tls_layer.h"

#include <errno.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

static BIO_METHOD *method;
static int (*socket_read)(BIO *bio, char *bytes, int room);
static int (*socket_write)(BIO *bio, const char *bytes, int size);

static struct stream *stream_of(BIO *bio)
{
    return (struct stream *)(void *)BIO_get_callback_arg(bio);
}

static void count(struct stream *stream, ssize_t taken)
{
    uint32_t bytes = taken > 0 ? (uint32_t)taken : 0;
    stream->allowance -= bytes < stream->allowance ? bytes : stream->allowance;
}

/* The kernel decrypts and gives one record a call, however much it has. */
static int read_record(BIO *bio, struct stream *stream, char *bytes, int room)
{
    int taken = socket_read(bio, bytes, room);
    stream->kernel_readable = taken > 0;
    count(stream, taken);
    return taken;
}

static int layer_read(BIO *bio, char *bytes, int room)
{
    struct stream *stream = stream_of(bio);
    BIO_clear_retry_flags(bio);
    if (!stream->kernel_readable) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (stream->limited && stream->allowance == 0) {
        errno = EMSGSIZE;
        return -1;
    }
    if (BIO_get_ktls_recv(bio))
        return read_record(bio, stream, bytes, room);
    ssize_t taken;
    do
        taken = recv(stream->fd, bytes, (size_t)room, 0);
    while (taken < 0 && errno == EINTR);
    stream->kernel_readable = taken > 0 && (taken == room || stream->hung_up);
    count(stream, taken);
    if (taken < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    if (taken == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)taken;
}

static int layer_write(BIO *bio, const char *bytes, int size)
{
    struct stream *stream = stream_of(bio);
    BIO_clear_retry_flags(bio);
    if (!stream->kernel_writable) {
        BIO_set_retry_write(bio);
        return -1;
    }
    ssize_t count;
    do
        count = BIO_get_ktls_send(bio) ? socket_write(bio, bytes, size)
                                       : send(stream->fd, bytes, (size_t)size, stream_send_flags(stream));
    while (count < 0 && errno == EINTR);
    stream->kernel_writable = count == size;
    if (count < 0 && errno == EAGAIN)
        BIO_set_retry_write(bio);
    return (int)count;
}

static void make_method(void)
{
    const BIO_METHOD *base = BIO_s_socket();
    method = BIO_meth_new(BIO_TYPE_SOCKET, "stream");
    if (method == NULL)
        abort();
    socket_read = BIO_meth_get_read(base);
    socket_write = BIO_meth_get_write(base);
    BIO_meth_set_read(method, layer_read);
    BIO_meth_set_write(method, layer_write);
    BIO_meth_set_ctrl(method, BIO_meth_get_ctrl(base));
    BIO_meth_set_create(method, BIO_meth_get_create(base));
    BIO_meth_set_destroy(method, BIO_meth_get_destroy(base));
}

bool tls_layer_join(SSL *ssl, struct stream *stream)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    BIO *bio = BIO_new(method);
    if (bio == NULL)
        return false;
    BIO_set_fd(bio, stream->fd, BIO_NOCLOSE);
    BIO_set_callback_arg(bio, (char *)stream);
    SSL_set_bio(ssl, bio, bio);
    return true;
}
