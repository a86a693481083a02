/* tls_provider: what upswap does in OpenSSL's place in a handshake, as a provider (provider(7)) beside the
 * others. */
#pragma once

/* What marks the algorithms that come from here. It is a property of their own, so whatever OpenSSL's config
 * says of others stays in force. */
#define TLS_PROVIDER_NAME "upswap"
#define TLS_PROVIDER_MARK "upswap.tls=yes"
#define TLS_PROVIDER_PROPERTIES "provider=" TLS_PROVIDER_NAME "," TLS_PROVIDER_MARK

/* A row of an OSSL_DISPATCH. */
#define TLS_PROVIDER_ROW(id, function) \
    {                                  \
        id, (void (*)(void))(function) \
    }

/* The properties by which an SSL_CTX finds them (SSL_CTX_new_ex). NULL: there is none, and OpenSSL's own are
 * found. From any thread; the first call looks for what they need. */
const char *tls_provider_properties(void);
