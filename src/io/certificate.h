/* certificate: a certificate with the chain behind it and its private key, read from PEM text.
 *
 * It reads memory, never files: whoever holds the bytes decides who sees them, and wipes them. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <openssl/ssl.h>
#include <time.h>

struct certificate {
    X509 *leaf;
    STACK_OF(X509) * chain; /* behind the leaf, in the order in which they were written; may be empty */
    EVP_PKEY *key;
};

/* Reads a PEM chain, the leaf first, and the PEM key that belongs to the leaf. NULL: a sentence that says
 * which of the two is at fault: no PEM, an encrypted key, a key of another certificate, one of a kind that
 * clients do not take, or one too weak for OpenSSL's default security level. */
struct certificate *certificate_read(struct str chain, struct str key, struct err *err) MUST_CHECK;
void certificate_free(struct certificate *certificate);

/* Is this OCSP response (DER) a good one about the certificate? False: a sentence. *until gets the moment
 * from which on it says nothing any more, which may have passed. */
bool certificate_check_staple(const struct certificate *certificate, struct str response, time_t *until,
                              struct err *err) MUST_CHECK;

/* All certificates of a PEM text. NULL: a sentence; there is at least one. Free with sk_X509_pop_free. */
STACK_OF(X509) * certificate_read_all(struct str text, struct err *err) MUST_CHECK;

/* When the first of the certificates of a PEM text expires, in seconds since 1970; 0: it cannot be told. */
int64_t certificate_end(struct str text);

/* What OpenSSL's queue of errors holds, as a reason for people; the queue is empty then. Never NULL. */
const char *certificate_reason(void);
