/* probe: does every instance accept a connection? Names are resolved on a thread of their own, once, when
 * staged. */
#pragma once

#include "base/err.h"
#include "io/behalf.h"
#include "io/loop.h"

#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

struct probe_target {
    const char *name;            /* HOST:PORT, for messages */
    unsigned proxy_protocol;     /* version of the header that says that this is only a check; 0: none */
    const struct behalf *behalf; /* who will connect later; NULL: this process. Outlives the probe */
    struct sockaddr_storage address;
    socklen_t length;
};

struct probe;

/* Connects to every target until each has accepted once, trying again (after 50 ms, then growing to 1 s)
 * until timeout_ms from now. timeout_ms 0: one try each, at most 2 s. `ready` (may be NULL) is called for
 * each that accepts, `done` once at the end, never from inside this call; `reason` names the first instance
 * that did not accept and why. The probe is freed after done. */
struct probe *probe_start(struct loop *loop, const struct probe_target *targets, size_t count,
                          uint64_t timeout_ms, void (*ready)(void *arg, size_t index),
                          void (*done)(void *arg, bool ok, const char *reason), void *arg);
/* The sentence about the first instance that did not accept when it was last tried; NULL: there is none. To
 * be freed. */
char *probe_why(const struct probe *probe);
/* Ends it without a callback. NULL is fine. */
void probe_cancel(struct probe *probe);

struct resolve;

/* Resolves HOST:PORT texts on a thread; IP addresses need none and still answer through done. `done` gets an
 * array of `count` targets (names as given; valid during the call), or NULL and a sentence. */
struct resolve *resolve_start(struct loop *loop, const char *const *names, size_t count,
                              void (*done)(void *arg, const struct probe_target *targets, const char *reason),
                              void *arg);
/* Ends it without a callback. NULL is fine. */
void resolve_cancel(struct resolve *resolve);
