/* tls_state: what the halves of io/tls.h share. A connection begins with OpenSSL (io/tls_openssl.c). A
 * server's that has agreed on TLS 1.3 goes on without it (io/tls_records.c): then all of it that is left are
 * two keys. */
#pragma once

#include "io/held.h"
#include "io/tls.h"
#include "io/tls_key.h"

#include <openssl/ssl.h>

/* What has become of the peer's direction. */
enum tls_source { TLS_SOURCE_OPEN, TLS_SOURCE_ENDED, TLS_SOURCE_FAILED };

struct tls {
    SSL *ssl; /* NULL: the records are ours */
    struct tls_context *context;
    struct tls_identity *identity; /* NULL: none */
    const char *cipher_name;       /* static; as the two below from when it is up */
    struct str alpn;               /* static */
    unsigned long failure;         /* OpenSSL's code of the first one; 0: none, or the socket's */
    uint8_t source;                /* enum tls_source */
    bool up;
    bool is_server;
    bool is_resumed;
    bool asks; /* it has asked its client for a certificate */

    struct held *raw; /* what has come, and nobody has looked at; NULL: nothing */

    /* Of records that are ours; of a server's handshake the secrets of both keys, and how many records the
     * second has sealed. */
    struct tls_key receiving, sending;
    uint64_t said;        /* bytes of the handshake in those records */
    uint16_t text_most;   /* bytes of text that a record of ours may hold */
    struct held *text;    /* opened, but there was no room for it; NULL: nothing */
    struct held *sealed;  /* what the kernel had no room for; NULL: nothing */
    uint16_t sealed_text; /* bytes of text that are sent when it is */
    uint8_t nothings;     /* messages in turn that came to nothing */
    struct deadline rest; /* until more is opened for who asks for one key after another */
    struct stream *stream;
    bool update_due; /* the peer has asked for another key of ours */
};

/* Notes OpenSSL's code of a failure and errno, of which only the first count. Returns STREAM_FAILED. */
int tls_fail(struct stream *stream, unsigned long code, int error);

/* Frees OpenSSL's connection, which leaves its secrets in what it frees; here that is wiped. NULL is fine. */
void tls_free_ssl(SSL *ssl);

/* Frees all of TLS; the stream is a plain one then. */
void tls_leave(struct stream *stream);

/* Nothing more comes from the peer: what a recv then gives, 0 or STREAM_FAILED, with `readable` cleared. */
ssize_t tls_ended(struct stream *stream);

extern const struct stream_ops tls_openssl_ops, tls_records_ops;

/* One try to end the handshake: 0 when it has ended well, and then `ops` may be others; STREAM_AGAIN; or
 * STREAM_FAILED. Clears *flag where it waits, and sets *crossed if that is for an edge of the other
 * direction; `flag` NULL: that of the direction for which it waits. */
int tls_openssl_shake(struct stream *stream, bool *flag, bool *crossed);

/* Does OpenSSL, or what is held for it, have bytes of the peer's? */
bool tls_openssl_holds(const struct tls *tls);

/* Before the handshake of a server. */
void tls_records_init(struct stream *stream, struct loop *loop);

/* Takes the records of a server that is up from OpenSSL, which is then gone, where that is possible: in
 * TLS 1.3, with all secrets known and nothing half read. Else it does nothing. */
void tls_records_take_over(struct stream *stream);
