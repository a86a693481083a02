/* message: what the three roles say to each other: one flat struct a type, no pointers. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_PROTOCOL 1
#define MESSAGE_NAME_MAX 320
#define MESSAGE_RELEASE_MAX 64 /* of a program's version, with its NUL */

enum message_type {
    MESSAGE_VERSION = 1, /* either way: "I speak protocol N", struct message_version */

    /* keeper -> control */
    MESSAGE_START,  /* the first one: struct message_start; then as many MESSAGE_STORED as it says, and a
                       MESSAGE_FINISHING for each proxy of an earlier program */
    MESSAGE_STORED, /* a descriptor that an earlier control stored, or the service manager passed:
                       struct message_name, fd */
    MESSAGE_RELOAD, /* SIGHUP: re-read the config */
    MESSAGE_REOPEN, /* SIGUSR1: open the access log again */
    MESSAGE_PROXY_STARTED, /* struct message_proxy: also after each restart */
    MESSAGE_STOP, /* keeper -> control and keeper -> proxy: SIGTERM: finish what is in flight and exit 0 */
    MESSAGE_FINISHING, /* a proxy of an earlier program is there: struct message_finishing, fd: the channel
                          to it */
    MESSAGE_FINISHED,  /* it has ended: struct message_finishing */
    MESSAGE_UPGRADING, /* the new program can take over, and does so now: struct message_release, its own */
    MESSAGE_UPGRADED,  /* it has: struct message_release, of the one before */
    MESSAGE_UPGRADE_REFUSED, /* there is no upgrade, all is as it was: struct message_sentence */
    MESSAGE_MAKE_WAY,        /* another control takes over: end, and leave everything as it is */

    /* keeper -> proxy */
    MESSAGE_FINISH, /* another proxy accepts: finish what is in flight and exit 0, the sockets stay open */

    /* control -> keeper */
    MESSAGE_STORE,   /* keep this descriptor under this name (replacing) across my death: struct message_name,
                        fd */
    MESSAGE_DROP,    /* forget and close it: struct message_name */
    MESSAGE_READY,   /* configured, journal read, sockets stored: the proxy may start: struct message_ready */
    MESSAGE_SERVING, /* the first snapshot is published: the service manager may know */
    MESSAGE_UPGRADE, /* take over by the program that is on disk now: MESSAGE_UPGRADING or _REFUSED follows */

    /* control -> proxy */
    MESSAGE_COUNTERS,   /* the counters' memory, fd; before anything else */
    MESSAGE_LISTENER,   /* a listening socket for one worker: struct message_listener, fd */
    MESSAGE_ACCESS_LOG, /* where access log lines go from now on: fd */
    MESSAGE_KEYRING,    /* what TLS needs (link/keyring.h), in force at once: fd: sealed memfd */
    MESSAGE_WORLD,      /* the world now: struct message_world, fd: sealed memfd with the image, whole or an
                           amendment */

    /* proxy -> control */
    MESSAGE_HELLO, /* a proxy has come up and knows nothing, or answers MESSAGE_WHO: struct message_hello */
    MESSAGE_PUBLISHED, /* struct message_published */
    MESSAGE_REFUSED,   /* the world could not be used, the old one stays: struct message_refused */

    /* control -> proxy */
    MESSAGE_WHO,             /* a control has come up: say hello */
    MESSAGE_LISTENER_PASSED, /* as MESSAGE_LISTENER, of a socket that the service manager holds as well: it is
                                not to be shut down */

    /* control -> proxy */
    MESSAGE_GROUND, /* the image that the world which follows amends, itself no world any more: struct
                       message_world, fd: sealed memfd; said each time, so that nobody need know who has it */

    /* control -> keeper */
    MESSAGE_RELOADED, /* no MESSAGE_RELOAD is to be done any more: struct message_reloaded */

    /* keeper -> control */
    MESSAGE_PROXY_ENDED, /* and none runs until MESSAGE_PROXY_STARTED: struct message_ended */

    MESSAGE_TYPES
};

struct message_version {
    uint32_t protocol;
};

struct message_start {
    uint32_t stored;     /* MESSAGE_STORED that follow */
    uint32_t restarts;   /* how often control has been started again; 0: the daemon starts */
    int32_t proxy_pid;   /* 0: none runs */
    uint32_t generation; /* of the counters: the proxy's */
    uint32_t finishing;  /* bit by bit: the generations of proxies of earlier programs that are still there */
};

/* Names of stored descriptors: "config", "state", "keyring", "counters", "listener N ADDRESS/WORKER",
 * "admin", "admin-tcp"; by the keeper itself "passed N NAME". */
struct message_name {
    char name[MESSAGE_NAME_MAX]; /* NUL-terminated */
};

struct message_ready {
    uint32_t workers;
    uint32_t change_user; /* bool: start the proxy as uid, gid */
    uint32_t uid, gid;
    uint32_t log_level;  /* enum log_level, for keeper and proxy */
    uint32_t log_format; /* enum log_format */
    uint32_t finish_ms;  /* what a proxy needs at the most to finish, once it is told to */
};

struct message_reloaded {
    uint32_t heard; /* so many MESSAGE_RELOAD, since this control was started */
};

struct message_finishing {
    int32_t pid;
    uint32_t generation; /* of the counters: its own */
};

struct message_release {
    char version[MESSAGE_RELEASE_MAX]; /* NUL-terminated */
};

struct message_sentence {
    char sentence[sizeof(struct err)]; /* NUL-terminated */
};

struct message_proxy {
    int32_t pid;
    uint32_t restarts; /* 0: the first one */
    int32_t status;    /* how the one before ended, as of waitpid */
};

struct message_listener {
    uint32_t id;     /* as in the snapshot */
    uint32_t worker; /* 0 to workers - 1 */
};

struct message_world {
    uint64_t version;
    uint64_t decided_ns; /* monotonic: when control decided on it */
    uint64_t size;       /* bytes of the image */
};

struct message_ended {
    int32_t pid;
};

struct message_hello {
    int32_t pid;
    uint32_t workers;
    uint64_t version; /* published; 0: none */
};

struct message_published {
    uint64_t version;
    uint64_t published_ns; /* monotonic: when the store was done */
};

struct message_refused {
    uint64_t version;
    char sentence[sizeof(struct err)];
};

/* A message as it is received. */
struct message {
    enum message_type type;
    const void *payload;
    size_t size; /* bytes of payload: for the types above, exactly the size of their struct */
    int fd;      /* -1: none came with it */
};

/* What the type is called in sentences: "world"; "unknown" for what is no type. */
const char *message_type_name(uint32_t type);

/* Is the message what its type says: its size, a descriptor where one belongs and nowhere else, texts that
 * end inside their array? */
bool message_check(const struct message *message, struct err *err) MUST_CHECK;
