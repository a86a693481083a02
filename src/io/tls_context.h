/* tls_context: what the connections of one TLS server or client have in common: certificates, policy, and
 * whom they believe.
 *
 * It never changes once made: new certificates are a new context, and a connection keeps the one that it
 * began with. Shared by threads; the last reference frees it. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

struct tls_context;
struct ssl_st;

enum tls_minimum { TLS_MINIMUM_1_2, TLS_MINIMUM_1_3 };
enum tls_verify { TLS_VERIFY_OFF, TLS_VERIFY_OPTIONAL, TLS_VERIFY_REQUIRED };

/* A certificate with its chain, and its key, both as PEM; an OCSP response as DER, or empty. Read while the
 * context is made, never kept. */
struct tls_pair {
    struct str certificate, key, ocsp;
};

/* What tickets are sealed with. */
struct tls_ticket_key {
    uint8_t name[16], aes[32], mac[32];
};
#define TLS_TICKET_KEYS_MAX 8

/* What a server chooses from by ALPN, in its order; a client that offers none of it is refused (RFC 7301
 * section 3.2), one that does not ask has HTTP/1.1 in any case. */
enum tls_protocols { TLS_HTTP1, TLS_H2_HTTP1, TLS_H2, TLS_HTTP1_H2, TLS_PROTOCOLS };

struct tls_server_options {
    const struct tls_pair *pairs; /* at least one; the first is shown to who names none, or an unknown one */
    size_t count;
    enum tls_minimum minimum;
    enum tls_protocols protocols;
    const struct tls_ticket_key *tickets; /* the first seals, all open; none: sessions are not resumed */
    size_t ticket_count;
    enum tls_verify verify; /* of clients */
    struct str client_ca;   /* PEM: who signs for them; empty where nothing is verified */
};

/* A server's context, with one reference. The policy: TLS 1.2 and 1.3, forward secrecy and AEAD only, no
 * compression, no renegotiation, no early data. The certificate is chosen by the name that a client asks for
 * (SNI): the names are those of each certificate's subjectAltName, or its common name where it has none; an
 * exact one beats a wildcard, which stands for one label (RFC 6125 section 6.4.3). Of several for one name
 * the first of each kind of key is used. NULL: a sentence. */
struct tls_context *tls_server_new(const struct tls_server_options *options, struct err *err) MUST_CHECK;

struct tls_client_options {
    bool verify;                 /* the server's chain and name */
    struct str authorities;      /* PEM: whom to believe; may be empty only where nothing is verified */
    const struct tls_pair *pair; /* to show to a server that asks; NULL: none */
    enum tls_minimum minimum;
    bool h2; /* offer HTTP/2 only, by ALPN; else HTTP/1.1 only */
};

/* A client's context, with one reference, of the same policy. NULL: a sentence. */
struct tls_context *tls_client_new(const struct tls_client_options *options, struct err *err) MUST_CHECK;

/* From any thread. */
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_free(struct tls_context *context); /* gives one reference back; NULL is fine */

/* For io/tls.c: a connection of this context, or NULL without memory. */
struct ssl_st *tls_context_connection(struct tls_context *context);
