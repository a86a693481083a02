/* keyring: what the proxy needs for TLS and must not find in the world: certificates, keys, authorities and
 * ticket keys, as one run of records in a sealed memfd.
 *
 * The world may be looked at by whoever debugs; this may not. It is whole each time, as the world is. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

/* A record's kind says what its bytes are. */
enum keyring_kind {
    KEYRING_TICKETS = 1, /* struct tls_ticket_key, all that are in use, the one that seals first */
    KEYRING_CONFIG,      /* what control knows of all this; for control alone */
    KEYRING_LISTENER,    /* struct keyring_listener; what follows is this listener's: */
    KEYRING_CLIENT_CA,   /* PEM */
    KEYRING_CERTIFICATE, /* PEM; begins a pair */
    KEYRING_KEY,         /* PEM, of the certificate before it */
    KEYRING_OCSP,        /* DER, likewise */
    KEYRING_UPSTREAM,    /* struct keyring_upstream; what follows is for a service's instances: */
    KEYRING_AUTHORITIES, /* PEM: whom to believe; then a certificate and key to show, or none */
    KEYRING_KINDS
};

struct keyring_listener {
    uint32_t id;        /* as in the snapshot */
    uint32_t minimum;   /* enum tls_minimum */
    uint32_t verify;    /* enum tls_verify */
    uint32_t protocols; /* enum tls_protocols */
};

/* Texts end with NUL. */
struct keyring_upstream {
    char service[64];
    char server_name[256]; /* empty: the instance's host */
    uint32_t minimum;      /* enum tls_minimum */
    uint32_t verify;       /* bool */
    uint32_t h2;           /* bool: HTTP/2 by ALPN, else HTTP/1.1 */
};

/* Bytes of a record with its head, for the size that the whole must be given. */
size_t keyring_size(size_t bytes);
/* Adds a record. The image must have its whole room from the start (buf_reserve): growing would leave copies
 * of keys behind. */
void keyring_add(struct buf *image, enum keyring_kind kind, struct str bytes);
/* The image as a sealed memfd; -1 with a sentence. The image is wiped and freed either way. */
int keyring_seal(struct buf *image, struct err *err) MUST_CHECK;

struct keyring_record {
    enum keyring_kind kind;
    struct str bytes;
};

/* A mapped image, to be read record by record. */
struct keyring {
    const char *p;
    size_t n, at;
};

/* Maps a sealed memfd (the descriptor stays the caller's). False with a sentence. */
bool keyring_map(struct keyring *keyring, int fd, struct err *err) MUST_CHECK;
/* False: there are no more, or what follows is no record (then keyring->at is not keyring->n). */
bool keyring_next(struct keyring *keyring, struct keyring_record *record);
void keyring_unmap(struct keyring *keyring);
