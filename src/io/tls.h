/* tls: TLS over a plain stream that is open already, as server or as client. From then on the stream_*
 * functions give and take plain text, and promise all that io/stream.h says.
 *
 * An end is the peer's close_notify; a connection that ends without one was cut, by whomever, and fails with
 * ECONNRESET: what only its end would delimit is not complete. stream_shut and stream_close send ours. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "io/stream.h"
#include "io/tls_context.h"

/* Makes the stream, which is one of this loop, a server's; nothing has been read from it. It keeps its own
 * reference to the context. The handshake happens inside stream_recv, which gives STREAM_AGAIN until it has
 * ended; nothing is sent before. A handshake that fails is a STREAM_FAILED with EPROTO. False: no memory; the
 * stream stays as it is. */
bool tls_accept(struct stream *stream, struct loop *loop, struct tls_context *context) MUST_CHECK;

/* Makes the stream a client's; it may still be connecting. `name` is the server's: a DNS name (sent as SNI)
 * or an IP address as text; verified where the context verifies. NULL: neither sent nor compared. */
bool tls_connect(struct stream *stream, struct tls_context *context, const char *name) MUST_CHECK;

/* The peer's records may have about so many bytes in all, whatever they hold: then STREAM_FAILED with
 * EMSGSIZE. For who must not be kept busy: messages that come to nothing are read on and on, in one call, as
 * long as more of them are there. */
void tls_limit(struct stream *stream, uint32_t bytes);

/* Goes on with the handshake: 0 when it has ended well, STREAM_AGAIN (`ready` will be called), or
 * STREAM_FAILED. A client calls it until it is 0, then sends. Records that are not data (tickets after a
 * handshake) are taken inside stream_recv, which then gives STREAM_AGAIN. */
int tls_handshake(struct stream *stream);

/* What a later connection to the same server may resume, of the same context and name only: its certificate
 * is not looked at again. */
struct ssl_session_st;
/* Before the handshake; the session stays the caller's. One whose certificate was verified and is not valid
 * any more is not resumed: the handshake is a whole one. */
void tls_resume(struct stream *stream, struct ssl_session_st *session);
/* Of a stream that is up: the caller's own, or NULL where the server has given none. */
struct ssl_session_st *tls_session(const struct stream *stream);
void tls_session_free(struct ssl_session_st *session);

/* Is there TLS on this stream? */
static inline bool tls_is_on(const struct stream *stream)
{
    return stream->tls != NULL;
}

/* Has the handshake ended well? */
bool tls_is_up(const struct stream *stream);
/* Is TLS on, and has something come for it, but nothing been sent by it yet? */
bool tls_is_unanswered(const struct stream *stream);

/* What was agreed on, while the stream is open and up. ALPN: empty where nothing was. The others are static
 * texts, as "TLSv1.3" and "TLS_AES_128_GCM_SHA256". */
struct str tls_alpn(const struct stream *stream);
const char *tls_version(const struct stream *stream);
const char *tls_cipher(const struct stream *stream);
bool tls_is_resumed(const struct stream *stream);

/* Who a client has proved to be by its certificate. */
struct tls_identity {
    char *subject;        /* RFC 4514 text in ASCII; empty where it is over 4 KiB */
    char fingerprint[65]; /* SHA-256 of the certificate, in hexadecimal digits */
};
/* Does this server ask its clients for a certificate? */
bool tls_asks(const struct stream *stream);
/* NULL: it has shown no certificate. Lives until the stream is closed. */
const struct tls_identity *tls_identity(const struct stream *stream);

/* Why the handshake, or what came after it, has failed, as half a sentence for people: "certificate verify
 * failed: self-signed certificate". Returns false. */
bool tls_why(const struct stream *stream, struct err *err);
/* Has it failed because the peer's certificate is not believed? */
bool tls_is_unverified(const struct stream *stream);
/* Has the peer refused us, by an alert? In TLS 1.3 a client hears of that after its handshake. */
bool tls_is_refused(const struct stream *stream);
