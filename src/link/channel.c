/* A channel's two directions: one message read a turn of the loop, and a queue of what the kernel did not
 * take. Invariants: after a callback that may have closed the channel, the channel is not touched any more; a
 * message leaves the kernel only once its descriptor is ours. */
#include "link/channel.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAGIC 0x61777075U /* "upwa" */
#define PAYLOAD_MAX 1024  /* bytes */
#define SPARES 4          /* one is enough, unless another thread is quicker than the message */
#define AGAIN_MS 10       /* before what there was no memory or descriptor for is tried again */

/* In front of every payload. The first two words and MESSAGE_VERSION itself are the same in all protocols. */
struct frame {
    uint32_t magic;
    uint32_t protocol;
    uint32_t type;
    uint32_t size; /* of the payload */
};

/* A message as it goes over the socket. */
struct packet {
    struct frame frame;
    char payload[PAYLOAD_MAX] __attribute__((aligned(8)));
};

_Static_assert(PAYLOAD_MAX >= sizeof(struct message_refused) && PAYLOAD_MAX >= sizeof(struct message_name),
               "the largest messages fit");

struct queued {
    STAILQ_ENTRY(queued) next;
    int fd; /* its own; -1: none */
    size_t size;
    char bytes[];
};

struct channel {
    int fd;
    int spares[SPARES]; /* kept so that a descriptor can be received in a shortage */
    unsigned spare_count;
    struct event readable, writable;
    struct channel_callbacks callbacks;
    void *arg;
    STAILQ_HEAD(, queued) queue; /* while it is not empty writable is set, or again */
    struct deadline again;       /* set: the kernel was short of memory, though there may be room */
    struct deadline look;        /* set: there was a shortage; spares are made, and reading goes on */
    bool waits;                  /* a descriptor waits in the kernel, and that was said */
    bool lost;                   /* sending has failed for good: nothing is sent any more */
    struct err fault;            /* why, where the reader will not notice by itself; or empty */
};

bool channel_pair(int fds[2], struct err *err)
{
    if (FAULTY("channel.pair", EMFILE,
               socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds)) == 0)
        return true;
    return err_set(err, "cannot make a socket pair: %s", strerror(errno));
}

/* ---- sending ---- */

static void drop_first(struct channel *channel)
{
    struct queued *first = STAILQ_FIRST(&channel->queue);
    STAILQ_REMOVE_HEAD(&channel->queue, next);
    if (first->fd >= 0)
        close(first->fd);
    free(first);
}

static void drop_all(struct channel *channel)
{
    while (!STAILQ_EMPTY(&channel->queue))
        drop_first(channel);
    event_del(&channel->writable);
    deadline_clear(&channel->again);
}

/* The callback `closed` must not come from inside a send, so the reader's event brings it. Where the other
 * side has gone, the reader first gets what it had still sent, and then finds the end itself. */
static void lose(struct channel *channel, int error)
{
    channel->lost = true;
    drop_all(channel);
    if (error == EPIPE || error == ECONNRESET)
        return;
    err_set(&channel->fault, "cannot send to the other side of the channel: %s", strerror(error));
    event_active(&channel->readable, EV_READ, 0);
}

/* Returns 0 or errno. */
static int send_bytes(int socket, const void *bytes, size_t size, int fd)
{
    struct iovec part = {(void *)bytes, size};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        header.msg_control = &control;
        header.msg_controllen = sizeof control;
        control.head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    }
    ssize_t n;
    do
        n = FAULTY("channel.send", ENOMEM,
                   FAULTY("channel.full", EAGAIN, sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL)));
    while (n < 0 && errno == EINTR);
    return n < 0 ? errno : 0;
}

/* Nothing is wrong with the channel, and the same call may succeed soon: the kernel is short of memory, or
 * too many descriptors are under way. */
static bool is_shortage(int error)
{
    return error == ENOMEM || error == ENOBUFS || error == ETOOMANYREFS;
}

/* Sends what the kernel takes now. In a shortage the socket is writable, and would keep the loop busy. */
static void send_queued(struct channel *channel)
{
    struct queued *first;
    while ((first = STAILQ_FIRST(&channel->queue)) != NULL) {
        int error = send_bytes(channel->fd, first->bytes, first->size, first->fd);
        if (is_shortage(error)) {
            event_del(&channel->writable);
            deadline_set(&channel->again, AGAIN_MS);
            return;
        }
        if (error == EAGAIN)
            return;
        if (error != 0) {
            lose(channel, error);
            return;
        }
        drop_first(channel);
    }
    event_del(&channel->writable);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    send_queued(arg);
}

static void on_again(struct deadline *deadline)
{
    struct channel *channel = mem_container(deadline, struct channel, again);
    event_add(&channel->writable, NULL);
}

static void enqueue(struct channel *channel, const void *bytes, size_t size, int fd)
{
    int own = -1;
    if (fd >= 0 && (own = FAULTY("channel.dup", EMFILE, fcntl(fd, F_DUPFD_CLOEXEC, 0))) < 0) {
        lose(channel, errno);
        return;
    }
    struct queued *queued = mem_alloc(sizeof *queued + size);
    queued->fd = own;
    queued->size = size;
    memcpy(queued->bytes, bytes, size);
    STAILQ_INSERT_TAIL(&channel->queue, queued, next);
    if (!deadline_is_set(&channel->again))
        event_add(&channel->writable, NULL);
}

void channel_send(struct channel *channel, enum message_type type, const void *payload, size_t size, int fd)
{
    struct err err;
    struct packet packet;
    const struct message message = {type, payload, size, fd};
    if (!message_check(&message, &err)) {
        log_error("to be sent over a channel: %s", err.text);
        abort();
    }
    if (channel->lost)
        return;
    packet.frame = (struct frame){MAGIC, MESSAGE_PROTOCOL, type, (uint32_t)size};
    if (size > 0)
        memcpy(packet.payload, payload, size);
    fault_die("send.before", message_type_name(type));
    int error = EAGAIN;
    if (STAILQ_EMPTY(&channel->queue))
        error = send_bytes(channel->fd, &packet, offsetof(struct packet, payload) + size, fd);
    if (error == EAGAIN || is_shortage(error))
        enqueue(channel, &packet, offsetof(struct packet, payload) + size, fd);
    else if (error != 0)
        lose(channel, error);
    fault_die("send.after", message_type_name(type));
}

bool channel_flush(struct channel *channel, uint64_t wait_ms)
{
    uint64_t now = clock_mono_ms(), end = now + wait_ms;
    send_queued(channel);
    for (; !STAILQ_EMPTY(&channel->queue) && now < end; now = clock_mono_ms()) {
        struct pollfd room = {channel->fd, POLLOUT, 0};
        uint64_t left = end - now;
        poll(&room, 1, left < INT32_MAX ? (int)left : INT32_MAX);
        send_queued(channel);
    }
    return STAILQ_EMPTY(&channel->queue) && !channel->lost;
}

/* ---- receiving ---- */

static void stop_reading(struct channel *channel)
{
    event_del(&channel->readable);
    deadline_clear(&channel->look);
}

static void close_with(struct channel *channel, const char *why)
{
    channel->lost = true;
    drop_all(channel);
    stop_reading(channel);
    channel->callbacks.closed(channel->arg, why);
}

/* Returns whether all are there. */
static bool keep_spares(struct channel *channel)
{
    while (channel->spare_count < SPARES) {
        int fd = fcntl(channel->fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return false;
        channel->spares[channel->spare_count++] = fd;
    }
    return true;
}

/* Makes room for one descriptor. False: the spares have gone already. */
static bool give_spare(struct channel *channel)
{
    if (channel->spare_count == 0)
        return false;
    close(channel->spares[--channel->spare_count]);
    return true;
}

void channel_done_with(struct channel *channel, int fd)
{
    close(fd);
    keep_spares(channel);
}

static void on_look(struct deadline *deadline)
{
    struct channel *channel = mem_container(deadline, struct channel, look);
    if (!keep_spares(channel))
        deadline_set(&channel->look, AGAIN_MS);
    event_add(&channel->readable, NULL);
}

/* The kernel has what was sent, and the loop would not rest. */
static void look_later(struct channel *channel)
{
    event_del(&channel->readable);
    deadline_set(&channel->look, AGAIN_MS);
}

/* What came with a packet. */
struct delivery {
    int fds[2]; /* the padding of a control message for one descriptor leaves room for a second */
    unsigned count;
    int flags; /* MSG_TRUNC, MSG_CTRUNC */
};

/* The packet stays in the kernel, and what came with it there too: this process has its own of them. */
static ssize_t look_at(int socket, struct packet *packet, struct delivery *delivery)
{
    struct iovec part = {packet, sizeof *packet};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    *delivery = (struct delivery){.count = 0};
    ssize_t n;
    do
        n = FAULTY("channel.receive", ENOMEM,
                   recvmsg(socket, &header, MSG_DONTWAIT | MSG_PEEK | MSG_CMSG_CLOEXEC));
    while (n < 0 && errno == EINTR);
    struct cmsghdr *found = n < 0 ? NULL : CMSG_FIRSTHDR(&header);
    if (found != NULL && found->cmsg_level == SOL_SOCKET && found->cmsg_type == SCM_RIGHTS) {
        delivery->count = (unsigned)((found->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        assert(delivery->count <= 2);
        memcpy(delivery->fds, CMSG_DATA(found), delivery->count * sizeof(int));
    }
    delivery->flags = header.msg_flags;
    return n;
}

/* More descriptors than fit leave those that do. */
static bool had_no_room(const struct delivery *delivery)
{
    return (delivery->flags & MSG_CTRUNC) != 0 && delivery->count == 0;
}

static void drop_delivery(const struct delivery *delivery)
{
    for (unsigned i = 0; i < delivery->count; i++)
        close(delivery->fds[i]);
}

/* The packet that was looked at leaves the kernel. */
static bool consume(int socket)
{
    ssize_t n;
    char first; /* the rest of a packet goes with it */
    do
        n = recv(socket, &first, sizeof first, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n >= 0;
}

static void say_that_it_waits(struct channel *channel)
{
    if (!channel->waits)
        log_warn(
            "out of descriptors: what another process of the daemon sends waits until one is free; raise "
            "the limit of open files (LimitNOFILE, ulimit -n)");
    channel->waits = true;
}

/* One packet. Returns its bytes (0: the end), or -1 and errno (EMFILE: it waits in the kernel); -2 and a
 * sentence where it makes no sense. */
static ssize_t receive(struct channel *channel, struct packet *packet, int *fd, struct err *err)
{
    struct delivery delivery;
    ssize_t n = look_at(channel->fd, packet, &delivery);
    while (n >= 0 && had_no_room(&delivery) && give_spare(channel))
        n = look_at(channel->fd, packet, &delivery);
    if (n < 0)
        return -1;
    if (had_no_room(&delivery)) {
        say_that_it_waits(channel);
        errno = EMFILE;
        return -1;
    }
    channel->waits = false;
    if (!consume(channel->fd)) {
        drop_delivery(&delivery);
        return -1;
    }
    if (delivery.count > 1 || (delivery.flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        drop_delivery(&delivery);
        err_set(err, "a message %s",
                (delivery.flags & MSG_TRUNC) != 0 ? "that is too long" : "with more than one descriptor");
        return -2;
    }
    *fd = delivery.count == 1 ? delivery.fds[0] : -1;
    return n;
}

/* Someone who does not read needs no further answer. */
static void answer_version(struct channel *channel)
{
    const struct message_version version = {MESSAGE_PROTOCOL};
    if (STAILQ_EMPTY(&channel->queue))
        channel_send(channel, MESSAGE_VERSION, &version, sizeof version, -1);
}

/* Is it a message at all? The size is that of the whole packet. */
static bool check_frame(const struct packet *packet, size_t size, struct err *err)
{
    const size_t head = offsetof(struct packet, payload);
    if (size < head || packet->frame.magic != MAGIC || packet->frame.size != size - head)
        return err_set(err, "%zu bytes that are no message", size);
    return true;
}

/* Hands a packet on, answers or refuses it; the fd is passed on or closed. */
static void dispatch(struct channel *channel, const struct packet *packet, size_t size, int fd)
{
    struct err err;
    const struct message message = {packet->frame.type, packet->payload, packet->frame.size, fd};
    bool framed = check_frame(packet, size, &err);
    if (framed && packet->frame.protocol != MESSAGE_PROTOCOL && message.type != MESSAGE_VERSION) {
        if (fd >= 0)
            close(fd);
        answer_version(channel);
    } else if (framed && message_check(&message, &err)) {
        fault_die("receive.before", message_type_name(message.type));
        channel->callbacks.received(channel->arg, &message);
        fault_die("receive.after", message_type_name(packet->frame.type));
    } else {
        if (fd >= 0)
            close(fd);
        err_prefix(&err, "the other side of the channel sent nonsense");
        close_with(channel, err.text);
    }
}

static void on_readable(evutil_socket_t socket, short what, void *arg)
{
    (void)socket;
    (void)what;
    struct channel *channel = arg;
    struct packet packet;
    struct err err;
    int fd = -1;
    if (channel->fault.text[0] != '\0') {
        err = channel->fault;
        close_with(channel, err.text);
        return;
    }
    ssize_t n = receive(channel, &packet, &fd, &err);
    int error = errno;
    if (channel->spare_count < SPARES)
        deadline_set(&channel->look, AGAIN_MS); /* now, since the channel may be closed below */
    if (n > 0 || fd >= 0) {
        dispatch(channel, &packet, (size_t)n, fd);
    } else if (n == 0) {
        close_with(channel, "the other side of the channel has closed it");
    } else if (n == -2) {
        err_prefix(&err, "the other side of the channel sent nonsense");
        close_with(channel, err.text);
    } else if (error == EMFILE || is_shortage(error)) {
        look_later(channel);
    } else if (error != EAGAIN) {
        err_set(&err, "cannot read from the channel: %s", strerror(error));
        close_with(channel, err.text);
    }
}

struct channel *channel_open(struct loop *loop, int fd, const struct channel_callbacks *callbacks, void *arg)
{
    struct channel *channel = mem_zero(1, sizeof *channel);
    channel->fd = fd;
    channel->callbacks = *callbacks;
    channel->arg = arg;
    STAILQ_INIT(&channel->queue);
    deadline_init(&channel->again, loop, on_again);
    deadline_init(&channel->look, loop, on_look);
    keep_spares(channel);
    event_assign(&channel->readable, loop_base(loop), fd, EV_READ | EV_PERSIST, on_readable, channel);
    event_assign(&channel->writable, loop_base(loop), fd, EV_WRITE | EV_PERSIST, on_writable, channel);
    event_add(&channel->readable, NULL);
    return channel;
}

void channel_close(struct channel *channel)
{
    if (channel == NULL)
        return;
    drop_all(channel);
    stop_reading(channel);
    while (give_spare(channel))
        continue;
    close(channel->fd);
    free(channel);
}
