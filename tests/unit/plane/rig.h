/* rig: the whole data plane on a thread of its own, with the test as its keeper, its control, its clients and
 * its instances. Test sockets block, at most RIG_SECONDS: every step waits for what it expects and for
 * nothing else. */
#pragma once

#include "link/counters.h"
#include "link/message.h"
#include "route/snapshot.h"

#define RIG_INSTANCES 3
#define RIG_SECONDS 10

struct rig;

/* What the next world says; change it, then rig_publish. */
struct rig_world {
    struct snapshot_settings settings;
    struct snapshot_rules rules;
    const char *path;                         /* prefix of the one service */
    const char *affinity_cookie, *pin_cookie; /* NULL: none */
    const char *canonical_host;               /* NULL: none */
    bool door_redirects;                      /* the listener sends everything to https */
    uint32_t instances;                       /* of the live pool: the first ones */
    bool drained[RIG_INSTANCES];
    uint32_t pool;     /* slot of the live pool, and its number; SNAPSHOT_NONE: none is live */
    uint32_t draining; /* slot and number of a pool that drains; SNAPSHOT_NONE: none */
    struct snapshot_drain drain;
    uint32_t candidate; /* slot and number of a pool that is staged; 0: none */
    uint32_t share;     /* of the new sessions for it, in millionths */
    bool warms;         /* it is about to take over */
    const char *canary_cookie;
    const char *preview_field, *preview_secret;
    bool door_is_staged;  /* the listener leads to the candidate */
    bool door_speaks_tls; /* by what rig_keyring has sent */
    bool listens;
    const struct address_prefix *trusted; /* one, or NULL */
};

/* Starts it with so many workers and publishes a first world: one service on any host, RIG_INSTANCES
 * instances that listen, round robin, generous times. */
struct rig *rig_start(unsigned workers);
/* The same with one worker, and with the first instance alone, which thus gets all requests. */
struct rig *rig_start_with_one(void);
/* Says stop, waits for the end, frees. Returns plane_main's status. */
int rig_stop(struct rig *rig);
/* The same in two steps, and the other end: the keeper vanishes. */
void rig_say_stop(struct rig *rig);
int rig_join(struct rig *rig);
int rig_lose_keeper(struct rig *rig);

struct rig_world *rig_world(struct rig *rig);
/* Publishes it and waits until every worker has taken its turn. Like control: as an amendment of the last
 * whole image, which is sent again before it, unless the path is another one. */
void rig_publish(struct rig *rig);
/* Sends it as an image that others amend, which is no world by itself; rig_publish then amends that. */
void rig_send_ground(struct rig *rig);
/* Sends an amendment of an image that was never sent; returns the sentence of the refusal. */
const char *rig_publish_baseless(struct rig *rig);
/* Sends bytes as a world; returns the sentence of the refusal. */
const char *rig_publish_bytes(struct rig *rig, const void *bytes, size_t size, bool sealed);
/* Asks who it is. */
struct message_hello rig_who(struct rig *rig);
/* Control goes away for good. */
void rig_lose_control(struct rig *rig);
/* Sends a sealed keyring, for the worlds that follow; fd stays the caller's. */
void rig_keyring(struct rig *rig, int fd);
/* Where the access log goes from now on; the rig keeps fd. */
void rig_log_to(struct rig *rig, int fd);

struct counters *rig_counters(struct rig *rig);
uint16_t rig_port(const struct rig *rig);

/* A client's connection. */
int rig_client(struct rig *rig);
/* Is a new client refused? */
bool rig_is_deaf(struct rig *rig);
/* The next connection to an instance. */
int rig_accept(struct rig *rig, unsigned instance);
/* Is there a connection to it that nobody has accepted? */
bool rig_is_called(struct rig *rig, unsigned instance);
/* The instance stops listening: connections to it are refused. */
void rig_refuse(struct rig *rig, unsigned instance);

/* The instance's host drops whoever begins a connection: none is made, and none is refused. Returns what
 * keeps it so until it is closed. */
int rig_choke(struct rig *rig, unsigned instance);

/* Sends a client's request. Returns the instance's side of the connection on which it has come, its head
 * read.
 */
int rig_ask(struct rig *rig, int client, const char *request);
/* The pool in slot 1 drains from now on, one in slot 2 is live. Requests have so many ms, all else has
 * `others_ms`. */
void rig_swap(struct rig *rig, uint64_t requests_ms, uint64_t others_ms);

/* Sends a text. */
void rig_say(int fd, const char *text);
/* Reads up to the end of a head, its empty line included; what follows stays unread. */
const char *rig_head(int fd);
/* Reads exactly so many bytes as text. */
const char *rig_bytes(int fd, size_t count);
/* Reads to the connection's end; *reset (may be NULL) tells whether it was a reset. */
const char *rig_rest(int fd, bool *reset);
/* The value of the field in the head, or NULL. */
const char *rig_field(const char *head, const char *name);
void rig_reset(int fd);

/* Waits until the condition holds, by looking again and again; fails the test after RIG_SECONDS. For numbers
 * in shared memory, which no event tells of. */
#define rig_until(condition)                                     \
    do {                                                         \
        uint64_t rig_end = clock_mono_ms() + RIG_SECONDS * 1000; \
        bool rig_met = (condition);                              \
        while (!rig_met && clock_mono_ms() < rig_end) {          \
            sched_yield();                                       \
            rig_met = (condition);                               \
        }                                                        \
        assert_true(rig_met);                                    \
    } while (0)
