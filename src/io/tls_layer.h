/* tls_layer: how OpenSSL reads and writes the socket of a stream: io/tls.c's lower half. */
#pragma once

#include "io/stream.h"

#include <openssl/ssl.h>

/* Gives the connection its way to the socket. It asks the kernel only where stream->kernel_readable and
 * kernel_writable let it hope, and keeps both as stream_recv and stream_send keep a plain stream's flags. The
 * descriptor stays the stream's. False: no memory. */
bool tls_layer_join(SSL *ssl, struct stream *stream);
