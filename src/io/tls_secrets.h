/* tls_secrets: what OpenSSL has agreed on with a peer in a handshake of TLS 1.3, for who goes on without it.
 *
 * OpenSSL has no function that tells the secrets of the traffic but the log of keys, which writes them out in
 * hexadecimal digits and takes 16 us of a handshake's 220. But it derives them by a KDF that whoever provides
 * one may give it (provider-kdf(7)). The one here leaves each derivation to OpenSSL's own and remembers what
 * came of those that are of use. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TLS_SECRET_MAX 48 /* bytes: a SHA-384 */
#define TLS_KEY_MAX 32    /* bytes: of AES-256 and ChaCha20 */
#define TLS_IV_SIZE 12    /* bytes (RFC 8446 section 5.3) */

/* Of one direction (RFC 8446 section 7.3). */
struct tls_secret {
    uint8_t secret[TLS_SECRET_MAX], key[TLS_KEY_MAX], iv[TLS_IV_SIZE];
    uint8_t secret_size, key_size, iv_size; /* 0: not known */
};

/* The properties by which an SSL_CTX finds the KDF (SSL_CTX_new_ex). NULL: it cannot be provided, and nothing
 * will be learned. From any thread; the first call looks for OpenSSL's own KDF. */
const char *tls_secrets_properties(void);

/* From now on, what this thread derives for what clients and servers send behind their handshakes is
 * remembered there; NULL: nowhere. */
void tls_secrets_learn(struct tls_secret *client, struct tls_secret *server);
