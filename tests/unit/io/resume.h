/* TLS sessions given and resumed. Both sides of each handshake are in this process and speak through memory.
 */
#pragma once

#include "io/certificate.h"
#include "io/tls_context.h"
#include "unit.h"

#include <openssl/ssl.h>

static SSL_SESSION *given;              /* by the last handshake, the last one */
static unsigned given_count;            /* by the last handshake */
static const struct certificate *shown; /* by the client; NULL: it has none */

static int keep(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(given);
    given = session;
    given_count++;
    return 1;
}

/* A handshake that offers this session (NULL: none). Was it resumed? Whichever, it has to end well. */
static bool resumes(struct tls_context *server, SSL_SESSION *session, int version)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (shown != NULL)
        assert_int_equal(SSL_CTX_use_cert_and_key(context, shown->leaf, shown->key, NULL, 1), 1);
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep);
    SSL *here = SSL_new(context), *there = tls_context_connection(server);
    BIO *left, *right;
    char byte;
    assert_int_equal(BIO_new_bio_pair(&left, 65536, &right, 65536), 1);
    SSL_set_bio(here, left, left);
    SSL_set_bio(there, right, right);
    SSL_set_connect_state(here);
    SSL_set_accept_state(there);
    if (session != NULL)
        assert_int_equal(SSL_set_session(here, session), 1);
    SSL_SESSION_free(given);
    given = NULL;
    given_count = 0;
    for (unsigned i = 0; i < 4; i++) {
        SSL_do_handshake(here);
        SSL_do_handshake(there);
    }
    assert_int_equal(SSL_read(here, &byte, 1), -1); /* takes the tickets */
    assert_true(SSL_is_init_finished(here) && SSL_is_init_finished(there));
    bool resumed = SSL_session_reused(here);
    if (resumed && version == TLS1_2_VERSION)
        given = SSL_get1_session(here); /* which OpenSSL does not count as new */
    SSL_shutdown(here);                 /* a session of a connection that was cut is not offered again */
    SSL_free(here);
    SSL_free(there);
    SSL_CTX_free(context);
    return resumed;
}

static SSL_SESSION *take_given(void)
{
    SSL_SESSION *session = given;
    assert_non_null(session);
    given = NULL;
    return session;
}
