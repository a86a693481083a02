/* tls_x25519: the keys of io/x25519 as OpenSSL's handshakes ask for them (provider-keymgmt(7),
 * provider-keyexch(7)). Beside being made faster they come without the locks and the copies of OpenSSL's own.
 */
#pragma once

#include <openssl/core.h>
#include <stdbool.h>

/* Keys, and what is done with them, for the provider (io/tls_provider), where x25519_ready. */
const OSSL_ALGORITHM *tls_x25519_keys(void);
const OSSL_ALGORITHM *tls_x25519_exchanges(void); /* of two keys; for TLS 1.2 */
const OSSL_ALGORITHM *tls_x25519_answers(void); /* to a share, with another (provider-kem(7)); for TLS 1.3 */

/* The group of these keys (provider-base(7), "TLS-GROUP"), to who asks for groups. False: it was not taken.
 */
bool tls_x25519_tell(OSSL_CALLBACK *hear, void *arg);
