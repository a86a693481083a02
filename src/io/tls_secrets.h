/* tls_secrets: what OpenSSL has agreed on with a peer in a handshake of TLS 1.3, for who goes on without it.
 *
 * OpenSSL has no function that tells the secrets of the traffic but the log of keys, which writes them out in
 * hexadecimal digits and takes 16 us of a handshake's 220. But it derives them by a KDF that others may
 * provide (provider-kdf(7)), and so can be heard. The one here is also quicker than its own: a handshake has
 * twenty derivations. */
#pragma once

#include "base/str.h"

#include <openssl/core.h>
#include <stdbool.h>
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

/* The KDF, for the provider (io/tls_provider). NULL: OpenSSL has not what it needs, and nothing will be
 * learned. From any thread; the first call looks for that. */
const OSSL_ALGORITHM *tls_secrets_algorithms(void);

/* HKDF-Expand-Label (section 7.1) with an empty context, to n bytes; by "SHA256" or "SHA384", whose size the
 * secret has. False: OpenSSL cannot. */
bool tls_secrets_expand(const char *digest, struct str secret, struct str label, uint8_t *out, size_t n);

/* From now on, what this thread derives for what clients and servers send behind their handshakes is
 * remembered there; NULL: nowhere. */
void tls_secrets_learn(struct tls_secret *client, struct tls_secret *server);
