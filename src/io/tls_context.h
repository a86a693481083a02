/* tls_context: what the connections of one TLS server or client have in common: certificates, policy, and
 * whom they believe.
 *
 * It never changes once made: new certificates are a new context, and a connection keeps the one that it
 * began with. Shared by threads; the last reference frees it. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>

struct tls_context;
struct ssl_st;

/* A certificate with its chain, and its key, both as PEM. Read while the context is made, never kept. */
struct tls_pair {
    struct str certificate, key;
};

struct tls_server_options {
    const struct tls_pair *pairs; /* at least one */
    size_t count;
    bool h2; /* offer HTTP/2 by ALPN before HTTP/1.1 */
};

/* A server's context, with one reference. The policy: TLS 1.2 and 1.3, forward secrecy and AEAD only, no
 * compression, no renegotiation, no early data. NULL: a sentence. */
struct tls_context *tls_server_new(const struct tls_server_options *options, struct err *err) MUST_CHECK;

struct tls_client_options {
    bool verify;                 /* the server's chain and name */
    struct str authorities;      /* PEM: whom to believe; may be empty only where nothing is verified */
    const struct tls_pair *pair; /* to show to a server that asks; NULL: none */
    bool h2;                     /* offer HTTP/2 only, by ALPN; else HTTP/1.1 only */
};

/* A client's context, with one reference, of the same policy. NULL: a sentence. */
struct tls_context *tls_client_new(const struct tls_client_options *options, struct err *err) MUST_CHECK;

/* From any thread. */
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_free(struct tls_context *context); /* gives one reference back; NULL is fine */

/* For io/tls.c: a connection of this context, or NULL without memory. */
struct ssl_st *tls_context_connection(struct tls_context *context);
