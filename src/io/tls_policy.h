/* tls_policy: the inside of a context, for io/tls_context.c and io/tls_server.c. */
#pragma once

#include "io/certificate.h"
#include "io/tls_context.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

struct tls_server;

struct tls_context {
    atomic_uint references;
    SSL_CTX *ssl;              /* what a connection begins with */
    struct tls_server *server; /* NULL: a client's */
};

/* An SSL_CTX that keeps the policy. */
SSL_CTX *tls_policy_new(const SSL_METHOD *method, enum tls_minimum minimum);

/* Whom to believe: the certificates of a PEM text. NULL: a sentence. */
X509_STORE *tls_policy_authorities(struct str text, struct err *err);

/* Gives it a certificate, which it shares. */
bool tls_policy_use(SSL_CTX *ssl, const struct certificate *certificate, struct err *err);

/* Is the certificate in the session valid now, as it was when it was verified? True also where there is none.
 * A resumption verifies nothing, and gives a ticket that is as good as a first one: else the certificate
 * would never run out. */
bool tls_policy_may_resume(const SSL_SESSION *session);

void tls_server_free(struct tls_server *server);
