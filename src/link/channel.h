/* channel: messages with descriptors between two of the three roles, over a SOCK_SEQPACKET socket pair.
 *
 * A message is whole or not there. Each carries the protocol's version; a message of another version is
 * answered with MESSAGE_VERSION and dropped, never misread. Sending never blocks: what the kernel does not
 * take is queued. A message whose descriptor this process has no room for is not lost: each channel keeps
 * some spare for it, and what needs more waits in the kernel, with all that was sent after it. */
#pragma once

#include "base/err.h"
#include "io/loop.h"
#include "link/message.h"

#include <stdbool.h>
#include <stddef.h>

struct channel;

/* Makes a pair of connected descriptors (close-on-exec). */
bool channel_pair(int fds[2], struct err *err) MUST_CHECK;

struct channel_callbacks {
    /* `message` is valid during the call. message->fd (or -1) is the callee's to keep or close. */
    void (*received)(void *arg, const struct message *message);
    /* The other side has gone, or spoke nonsense; `why` is a sentence. Called once. The channel may be closed
     * from here. */
    void (*closed)(void *arg, const char *why);
};

/* Watches fd (owned from now on) in the loop. Callbacks never come from inside channel_* calls. */
struct channel *channel_open(struct loop *loop, int fd, const struct channel_callbacks *callbacks, void *arg);
/* Closes; what is queued is lost. Allowed inside callbacks. NULL is fine. */
void channel_close(struct channel *channel);

/* Sends (copies) a message of `type` with `size` bytes of payload and, if fd >= 0, a duplicate of that
 * descriptor (fd stays the caller's). Queued if the kernel is full. */
void channel_send(struct channel *channel, enum message_type type, const void *payload, size_t size, int fd);
/* Closes a descriptor that came by this channel. Better than close(), which leaves it to whichever thread
 * wants one first: in a shortage its place is kept for the next message. */
void channel_done_with(struct channel *channel, int fd);
/* Sends all that is queued before it returns (blocking, at most wait_ms); for the moment before an exit. */
bool channel_flush(struct channel *channel, uint64_t wait_ms);
