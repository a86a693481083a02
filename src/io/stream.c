/* Plain byte streams. Invariant: while a stream is open, a false flag means that the kernel owes an edge for
 * it; so nothing is asked of the kernel that would be answered with EAGAIN, and nothing is waited for in
 * vain. What is not registered yet is owed that edge by its registration, which tells all that is true then.
 */
#include "io/stream.h"

#include "base/fault.h"
#include "base/mem.h"
#include "io/direct.h"
#include "io/loopback.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define GATHER_MAX 2048 /* bytes */

/* The kernel's own 7200 s are long for who waits behind one that has vanished, and NATs forget much sooner.
 */
#define KEEP_ALIVE_IDLE_S 120
#define KEEP_ALIVE_INTERVAL_S 30
#define KEEP_ALIVE_PROBES 4

static ssize_t failed(struct stream *stream)
{
    if (stream->error == 0)
        stream->error = errno;
    return STREAM_FAILED;
}

ssize_t stream_received(struct stream *stream, ssize_t count, bool full)
{
    /* The end may have come together with the data, in one edge: then no other edge will tell. */
    stream->readable = count > 0 && (full || stream->hung_up);
    stream->unsure = count > 0 && !stream->readable && stream->fresh;
    /* A send that fails takes the error from the socket; what is left for recv only looks like an end. */
    if (count == 0 && stream->error == ECONNRESET)
        return STREAM_FAILED;
    if (count >= 0)
        return count;
    return errno == EAGAIN && stream_watch(stream) ? STREAM_AGAIN : failed(stream);
}

static inline ssize_t receive(struct stream *stream, void *bytes, size_t room, int flags)
{
    ssize_t count;
    do
        count = direct_recv(stream->fd, bytes, room, flags);
    while (count < 0 && errno == EINTR);
    return stream_received(stream, count, count == (ssize_t)room);
}

static ssize_t plain_recv(struct stream *stream, void *bytes, size_t room)
{
    return receive(stream, bytes, room, 0);
}

ssize_t stream_sent(struct stream *stream, ssize_t count, bool all)
{
    /* A short count means that the kernel is full; it then owes an edge as after EAGAIN. */
    stream->writable = all;
    if (all || ((count >= 0 || errno == EAGAIN) && stream_watch(stream)))
        return count >= 0 ? count : STREAM_AGAIN;
    /* Nothing tells of what broke the connection if it is not registered. What the peer has sent, and then
     * its end or the error, are there at once. */
    stream->readable = true;
    return failed(stream);
}

static void gather(char *to, const struct iovec *parts, int count)
{
    for (int i = 0; i < count; i++) {
        memcpy(to, parts[i].iov_base, parts[i].iov_len);
        to += parts[i].iov_len;
    }
}

int stream_send_flags(const struct stream *stream)
{
    return MSG_NOSIGNAL | (stream->last || stream->more ? MSG_MORE : 0);
}

static ssize_t send_bytes(struct stream *stream, const void *bytes, size_t count)
{
    ssize_t sent;
    assert(count > 0);
    do
        sent = direct_send(stream->fd, bytes, count, stream_send_flags(stream));
    while (sent < 0 && errno == EINTR);
    return stream_sent(stream, sent, sent == (ssize_t)count);
}

static ssize_t send_parts(struct stream *stream, const struct iovec *parts, int count, size_t total)
{
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
    ssize_t sent;
    do
        sent = direct_sendmsg(stream->fd, &message, stream_send_flags(stream));
    while (sent < 0 && errno == EINTR);
    return stream_sent(stream, sent, sent == (ssize_t)total);
}

/* One part goes by send, which costs the kernel less than sendmsg; so what is short is made one first. */
static ssize_t plain_send(struct stream *stream, const struct iovec *parts, int count)
{
    char gathered[GATHER_MAX];
    size_t total = 0;
    assert(count > 0 && count <= IOV_MAX);
    if (count == 1)
        return send_bytes(stream, parts[0].iov_base, parts[0].iov_len);
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    if (total > sizeof gathered)
        return send_parts(stream, parts, count, total);
    gather(gathered, parts, count);
    return send_bytes(stream, gathered, total);
}

static void plain_shut(struct stream *stream)
{
    shutdown(stream->fd, SHUT_WR);
    stream->last = false;
}

static void plain_close(struct stream *stream, bool reset)
{
    if (stream->fd < 0)
        return;
    if (!stream->fresh)
        loop_unwatch(stream->loop, &stream->watch, stream->fd);
    if (stream->last && !reset)
        plain_shut(stream); /* a close alone would drop what waits for the end, had anything come unread */
    if (reset)
        setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(stream->fd);
    stream->fd = -1;
    stream->readable = stream->writable = stream->unsure = false;
}

const struct stream_ops stream_plain = {plain_recv, plain_send, plain_shut, plain_close};

/* Each edge tells all that is true now, so most of it is no news. Nothing is touched after `ready`: it may
 * close the stream and free it. */
static void edge(struct loop_watch *watch, uint32_t events)
{
    struct stream *stream = mem_container(watch, struct stream, watch);
    bool gone = (events & (EPOLLERR | EPOLLHUP)) != 0;
    bool readable = gone || (events & (EPOLLIN | EPOLLRDHUP)) != 0;
    bool writable = gone || (events & EPOLLOUT) != 0;
    bool hung_up = gone || (events & EPOLLRDHUP) != 0;
    stream->gone |= gone;
    stream->kernel_readable |= readable;
    stream->kernel_writable |= writable;
    bool came_in = readable;
    readable |= writable && stream->recv_awaits_write;
    writable |= came_in && stream->send_awaits_read;
    bool news =
        (readable && !stream->readable) || (writable && !stream->writable) || (hung_up && !stream->hung_up);
    stream->readable |= readable;
    stream->writable |= writable;
    stream->hung_up |= hung_up;
    if (news)
        stream->ready(stream);
}

static void begin(struct stream *stream, struct loop *loop, int fd, void (*ready)(struct stream *stream))
{
    *stream = (struct stream){
        .ops = &stream_plain, .fd = fd, .loop = loop, .watch.ready = edge, .ready = ready, .fresh = true};
}

void stream_accept(struct stream *stream, struct loop *loop, int fd, void (*ready)(struct stream *stream))
{
    begin(stream, loop, fd, ready);
    stream->readable = stream->writable = true;
}

bool stream_watch(struct stream *stream)
{
    const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    if (stream->fresh && loop_watch(stream->loop, &stream->watch, stream->fd, events))
        stream->fresh = stream->unsure = false;
    return !stream->fresh;
}

bool stream_open(struct stream *stream, struct loop *loop, int fd, void (*ready)(struct stream *stream))
{
    begin(stream, loop, fd, ready);
    if (stream_watch(stream))
        return true;
    close(fd);
    stream->fd = -1;
    return false;
}

ssize_t stream_recv(struct stream *stream, void *bytes, size_t room)
{
    assert(room > 0);
    return stream->ops->recv(stream, bytes, room);
}

/* What was peeked at makes no edge again, but whatever comes behind it does. */
ssize_t stream_peek(struct stream *stream, void *bytes, size_t room)
{
    assert(room > 0 && stream->ops == &stream_plain);
    return receive(stream, bytes, room, MSG_PEEK);
}

void stream_look(struct stream *stream)
{
    char byte;
    assert(stream->ops == &stream_plain);
    stream->readable = direct_recv(stream->fd, &byte, 1, MSG_PEEK) >= 0 || errno != EAGAIN;
}

bool stream_has_come(const struct stream *stream)
{
    char byte;
    return direct_recv(stream->fd, &byte, 1, MSG_PEEK) > 0;
}

void stream_await(struct stream *stream, uint32_t bytes)
{
    int least = bytes > 0 ? (int)bytes : 1;
    assert(stream->ops == &stream_plain);
    if (stream->awaited != bytes &&
        setsockopt(stream->fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least) == 0)
        stream->awaited = bytes;
}

ssize_t stream_send(struct stream *stream, const struct iovec *parts, int count)
{
    return stream->ops->send(stream, parts, count);
}

void stream_acknowledge(const struct stream *stream)
{
    setsockopt(stream->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
}

static void probe(const struct stream *stream, int idle_s, int interval_s)
{
    setsockopt(stream->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(stream->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(stream->fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){KEEP_ALIVE_PROBES}, sizeof(int));
    setsockopt(stream->fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
}

void stream_keep_alive(const struct stream *stream)
{
    probe(stream, KEEP_ALIVE_IDLE_S, KEEP_ALIVE_INTERVAL_S);
}

/* The probes, of which some may be lost, fit into the time: with the first one that is not answered behind it
 * the kernel gives up. */
void stream_keep_watch(const struct stream *stream, unsigned seconds)
{
    int half = (int)seconds / 2;
    probe(stream, half, half / KEEP_ALIVE_PROBES);
    setsockopt(stream->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(unsigned){seconds * 1000}, sizeof(unsigned));
}

void stream_shut(struct stream *stream)
{
    stream->ops->shut(stream);
}

void stream_close(struct stream *stream, bool reset)
{
    stream->ops->close(stream, reset);
}

int stream_connect(const struct sockaddr *address, socklen_t length)
{
    return stream_connect_for(NULL, address, length);
}

int stream_connect_for(const struct behalf *behalf, const struct sockaddr *address, socklen_t length)
{
    int fd = FAULTY("stream.socket", EMFILE,
                    socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    loopback_unpace(fd, address);
    if (FAULTY("stream.connect", ENOBUFS, behalf_connect(behalf, fd, address, length)) == 0 ||
        errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int stream_connected(const struct stream *stream)
{
    int error = 0;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}) != 0)
        return errno;
    return error;
}
