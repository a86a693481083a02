/* tls_layer: how TLS reads and writes the socket of its stream, below OpenSSL and below records of our own.
 * It asks the kernel only where stream->kernel_readable and kernel_writable let it hope, and keeps both as
 * stream_recv and stream_send keep a plain stream's flags. */
#pragma once

#include "io/stream.h"

#include <openssl/ssl.h>

/* As recv and send on the descriptor: a count, or -1 with errno; EAGAIN also where nothing is to be hoped
 * for, EMSGSIZE where the peer has had all that it may (tls_limit). */
ssize_t tls_layer_recv(struct stream *stream, void *bytes, size_t room);
ssize_t tls_layer_send(struct stream *stream, const void *bytes, size_t n);

/* Gives OpenSSL its way to the socket. What stream->tls->raw holds comes first. While a server is not up,
 * OpenSSL gets no byte more than it asks for, and what has come with these is held there. The descriptor
 * stays the stream's. False: no memory. */
bool tls_layer_join(SSL *ssl, struct stream *stream);
