/* tls_key: the records of one direction of TLS 1.3, sealed or opened one by one (RFC 8446 section 5).
 *
 * Keys belong to one thread. A key is some 130 bytes; the cipher that works with it is ten times that, so
 * only those keys have one that were used last (TLS_KEYS_READY of a thread): another one takes over the
 * cipher of whoever has had his the longest. */
#pragma once

#include "io/tls_secrets.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <sys/types.h>

#define TLS_KEYS_READY 512

/* A record: a head, the text, its type, a tag. Lengths are bytes. */
#define TLS_RECORD_HEAD 5
#define TLS_RECORD_TAG 16
#define TLS_RECORD_TAIL (1 + TLS_RECORD_TAG)
#define TLS_RECORD_TEXT 16384                          /* section 5.1 */
#define TLS_RECORD_MAX (TLS_RECORD_HEAD + 16384 + 256) /* section 5.2 */

/* Types of what is in a record (section 5.1). */
enum { TLS_TYPE_ALERT = 21, TLS_TYPE_HANDSHAKE = 22, TLS_TYPE_DATA = 23 };

/* What a record can be refused for, and what is said then (section 6.2). */
enum {
    TLS_ALERT_UNEXPECTED = 10,
    TLS_ALERT_BAD_MAC = 20,
    TLS_ALERT_OVERFLOW = 22,
    TLS_ALERT_DECODE = 50,
    TLS_ALERT_INTERNAL = 80,
};

struct tls_suite; /* static */
struct evp_cipher_ctx_st;

struct tls_key {
    const struct tls_suite *suite;
    struct evp_cipher_ctx_st *cipher; /* NULL: none now */
    TAILQ_ENTRY(tls_key) link;        /* among those that have one */
    struct tls_secret secret;
    uint64_t sequence; /* of the next record */
};

/* The suite of a name like "TLS_AES_128_GCM_SHA256". NULL: no such suite, or OpenSSL lacks it. From any
 * thread; the first call looks for all of them. */
const struct tls_suite *tls_suite_find(const char *name);

/* Makes a key of what stands in its secret, for the record that `sequence` says. False: the secret is not
 * known, or does not fit the suite. */
bool tls_key_begin(struct tls_key *key, const struct tls_suite *suite);
/* Wipes it. Zeros are fine. */
void tls_key_end(struct tls_key *key);

/* Seals the text that stands at `record` + TLS_RECORD_HEAD, with TLS_RECORD_TAIL bytes of room behind it; it
 * is TLS_RECORD_TEXT at most. Returns the record's size; 0: OpenSSL cannot (no memory). */
size_t tls_key_seal(struct tls_key *key, unsigned char *record, uint8_t type, size_t text);

/* The size of a record by its first TLS_RECORD_HEAD bytes, or an alert less 0: it can be none. */
ssize_t tls_record_size(const unsigned char *head);

/* Opens a whole record to `text`, which has room for its size less the head and the tag (and which may be its
 * own place). Returns the text's size, or an alert less 0; then what stands at `text` is worth nothing. */
ssize_t tls_key_open(struct tls_key *key, const unsigned char *record, size_t size, unsigned char *text,
                     uint8_t *type);

/* Goes on to the next key of its direction (section 7.2). False: OpenSSL cannot. */
bool tls_key_update(struct tls_key *key);
