/* stream: a connected byte stream on the data path. One raw event a connection, registered once,
 * edge-triggered for both directions; the flags remember what the kernel last said, so no call is made that
 * would say EAGAIN.
 *
 * What was accepted is registered late, or never: see stream_accept. */
#pragma once

#include "io/behalf.h"
#include "io/loop.h"

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Results of stream_recv and stream_send besides a count of bytes. */
enum {
    STREAM_AGAIN = -1, /* nothing now; `ready` will be called */
    STREAM_FAILED = -2 /* the connection is broken; stream->error has errno */
};

struct stream;
struct tls;

/* What differs between kinds of streams; each does what the function stream_* of its name promises. */
struct stream_ops {
    ssize_t (*recv)(struct stream *stream, void *bytes, size_t room);
    ssize_t (*send)(struct stream *stream, const struct iovec *parts, int count);
    void (*shut)(struct stream *stream);
    void (*close)(struct stream *stream, bool reset);
};

struct stream {
    struct loop_watch watch; /* first, so that the loop, which knows only this, brings it all near */
    void (*ready)(struct stream *stream);
    const struct stream_ops *ops;
    int fd;        /* owned; -1: closed */
    int error;     /* errno of the first failure */
    bool readable; /* recv may give something: data, end or error */
    bool writable; /* send may take something */
    bool hung_up;  /* the peer has sent its end, or the connection is gone (data may stand before it) */
    bool gone;     /* nothing that is sent would arrive: it was reset, or has ended both ways */
    bool unsure;   /* the last recv gave less than its room, and no edge will tell of more: see stream_recv */
    bool fresh;    /* not registered with the loop yet: see stream_accept */
    bool last;     /* the owner's: behind what is sent from now on comes only the end, by stream_shut or
                      stream_close, and at once, since what is sent may wait for it, to go in one packet */
    bool more;     /* the owner's: behind what is sent now comes more, and at once, so that it may wait for
                      this, to go in one packet */
    uint32_t awaited; /* see stream_await */
    /* For TLS, whose flags above say more than the kernel does. Plain streams leave them alone. */
    bool kernel_readable, kernel_writable;    /* what the kernel last said */
    bool recv_awaits_write, send_awaits_read; /* the one goes on at an edge of the other */
    bool limited;                             /* by: */
    uint32_t allowance;                       /* bytes that may still be read (tls_limit) */
    struct tls *tls;                          /* NULL: plain */
    void *virtual;                            /* of a stream without a descriptor: what its ops work on */
    struct loop *loop;
};

/* Takes over a connected (or connecting) non-blocking descriptor. `ready` is called when readable, writable
 * or hung_up has become true since; never from inside a stream_* call. It may close the stream, and free what
 * it stands in: nothing is touched after it. Returns false (fd closed) if the loop cannot watch it. */
bool stream_open(struct stream *stream, struct loop *loop, int fd, void (*ready)(struct stream *stream));

/* Takes over a descriptor that was just accepted, and does not register it: it is taken for readable and
 * writable, so it is to be read soon. A recv that says STREAM_AGAIN and a send that takes less than all
 * register it, so `ready` will be called as ever. But what comes behind a recv that gave less than its room
 * is told from stream_watch on and no sooner; until then `hung_up` is false, whatever the peer has sent. What
 * is to become TLS is registered first. */
void stream_accept(struct stream *stream, struct loop *loop, int fd, void (*ready)(struct stream *stream));

/* Registers it, if it is not yet: for whoever waits for the peer. `ready` will tell of what has come before,
 * too, since the kernel makes an edge of all that is true of a socket when it is registered. Returns false if
 * the loop cannot watch it. */
bool stream_watch(struct stream *stream);

/* Up to `room` bytes: > 0 a count, 0 the peer's end, STREAM_AGAIN, STREAM_FAILED. A count below `room` clears
 * `readable` unless the peer has hung up (then the next call gives the end), so no second call is needed to
 * learn of EAGAIN.
 * Of what is not registered nothing is told, also not what has come together with the data: who finds a
 * message incomplete after a short count calls once more (stream_may_give), and so has it registered, or
 * learns at once what else only a deadline would tell. `room` is not 0. */
ssize_t stream_recv(struct stream *stream, void *bytes, size_t room);

/* As stream_recv, but the bytes stay: the next call gives them again, with what has come by then. Only before
 * anything else is read, and only of plain streams. */
ssize_t stream_peek(struct stream *stream, void *bytes, size_t room);

/* Where `readable` is not known, since a read has taken all that it was to take, or the stream is not
 * registered: sets it by whether there is anything, data or end. Only of plain streams. */
void stream_look(struct stream *stream);

/* Has a byte come that no recv has taken yet? Over TLS it may be none of a message. Only of streams with a
 * descriptor. */
bool stream_has_come(const struct stream *stream);

/* From now on no `ready` tells of fewer than so many bytes, only of the end or a failure (SO_RCVLOWAT,
 * socket(7)). 0: it tells of any, as of a new stream, and at once of what is there. What is not yet there
 * need not ever come, so who awaits more than it knows of sets a deadline. The kernel makes room for twice as
 * much, for as long as the connection lasts. Only of plain streams; over another protocol than TCP it changes
 * nothing. */
void stream_await(struct stream *stream, uint32_t bytes);

/* For whoever cannot go on without more: is a recv due before waiting for `ready`? */
static inline bool stream_may_give(const struct stream *stream)
{
    return stream->readable || stream->unsure;
}

/* Sends the parts, as much as the kernel takes: > 0 a count, STREAM_AGAIN, STREAM_FAILED. Less than all
 * clears `writable`. After STREAM_FAILED a recv is due, and no `ready` need come for it. Never raises
 * SIGPIPE. The parts are not all empty, and IOV_MAX at most. What is not taken is offered again: the next
 * call begins with the same bytes, and has no fewer (TLS has encrypted some of them already). */
ssize_t stream_send(struct stream *stream, const struct iovec *parts, int count);

/* What has come over an accepted connection is acknowledged now, not with the next bytes that go: for a peer
 * that may wait for that with the rest of what it has to say (RFC 896). Only of streams with a descriptor;
 * over another protocol than TCP it does nothing. */
void stream_acknowledge(const struct stream *stream);

/* From now on the kernel looks for a peer that is silent for two minutes, and the stream breaks two more
 * minutes later where it has vanished without a word (SO_KEEPALIVE, tcp(7)). Only of streams with a
 * descriptor; over another protocol than TCP it does nothing, as the next. */
void stream_keep_alive(const struct stream *stream);
/* The same in so many seconds, at least 8, of which the first half may pass in silence: the stream breaks too
 * where the peer's kernel takes nothing of what was sent for as long (TCP_USER_TIMEOUT, which also is what
 * ends the looking, however many TCP_KEEPCNT allows), also where it only has no room; so for who always
 * reads. */
void stream_keep_watch(const struct stream *stream, unsigned seconds);

/* Sends an end to the peer (SHUT_WR). */
void stream_shut(struct stream *stream);

/* Closes. `reset`: with RST (SO_LINGER 0), for a message that must not look complete. Safe to call twice. */
void stream_close(struct stream *stream, bool reset);

/* The operations of a plain stream, for what lies over one. */
extern const struct stream_ops stream_plain;

/* The flags of a send on its descriptor. */
int stream_send_flags(const struct stream *stream);

/* For other calls of the kernel's that read from a plain stream, or write to one: keep its flags by what such
 * a call has returned (errno is that call's), and turn that into a result as of stream_recv, or stream_send.
 * `full`: there may be more to read; `all`: everything was written. */
ssize_t stream_received(struct stream *stream, ssize_t count, bool full);
ssize_t stream_sent(struct stream *stream, ssize_t count, bool all);

/* Starts a connection to an IP address or a Unix socket: a non-blocking, close-on-exec, TCP_NODELAY
 * descriptor, not paced if that is of loopback (io/loopback.h), or -1 with errno. Writable means that it
 * ended; stream_connected tells how. */
int stream_connect(const struct sockaddr *address, socklen_t length);
/* The same with the rights of another process. */
int stream_connect_for(const struct behalf *behalf, const struct sockaddr *address, socklen_t length);
/* 0 when connected, else errno (SO_ERROR). */
int stream_connected(const struct stream *stream);
