/* keep: what the keeper's own files share, and nobody else includes. */
#pragma once

#include "io/loop.h"
#include "keeper/handover.h"
#include "keeper/keeper.h"
#include "keeper/role.h"
#include "keeper/store.h"
#include "link/channel.h"

#include <event2/event.h>
#include <sys/queue.h>

enum { CONTROL, PROXY, ROLES };
enum { SIGNALS = 6 };

struct keeper;
struct trial;

/* One of the two processes. */
struct role {
    struct keeper *keeper;
    const char *name;
    pid_t pid; /* 0: not running */
    struct channel *channel;
    int channel_fd; /* the channel's own */
    uint32_t starts;
    int32_t status; /* of its last end, as by waitpid */
    uint64_t started_ms;
    uint64_t pause_ms; /* before the next start */
    struct deadline restart;
    struct deadline overdue; /* set: its channel is closed, and it is to end */
    bool (*start)(struct keeper *keeper);
};

/* Both ends of the channel between control and a proxy: kept, so that a death closes nothing. */
struct pair {
    int control_end, proxy_end;
};

/* A proxy of an earlier program. */
struct elder {
    struct keeper *keeper;
    pid_t pid;
    struct channel *channel; /* NULL: closed */
    int channel_fd;
    uint32_t starts;
    struct pair pair;
    unsigned generation;
    bool finishes;           /* it is told to */
    struct deadline overdue; /* set then */
    LIST_ENTRY(elder) link;
};

/* How far an upgrade is. */
enum upgrade_phase {
    UPGRADE_NONE,
    UPGRADE_TRIAL,      /* the other program is asked whether it can take over */
    UPGRADE_MAKING_WAY, /* this is the other program; the control of the one before is to end */
    UPGRADE_STARTING,   /* the new control and the new proxy come up; the old proxy serves */
};

struct upgrade {
    enum upgrade_phase phase;
    struct trial *trial;
    int program;                       /* the other one; -1: none */
    char version[MESSAGE_RELEASE_MAX]; /* its version */
    struct deadline late;              /* for the new one to serve */
};

struct keeper {
    struct keeper_options options;
    int program;                          /* what runs here */
    char program_path[HANDOVER_PATH_MAX]; /* where an upgrade finds the next one */
    struct loop *loop;
    struct event *signals[SIGNALS];
    struct role roles[ROLES];
    struct pair pair;    /* between the two */
    unsigned generation; /* of the counters: the proxy's */
    LIST_HEAD(, elder) elders;
    struct upgrade upgrade;
    struct store *store;
    struct message_ready ready;
    bool is_ready;   /* control has been ready once: from now on its death is an accident */
    bool has_served; /* the same of the proxy */
    /* Signals that have asked for a reload while this control runs, or none does, and those of them that it
     * says are over. What is not is left to the next control, or to that of the next program. */
    uint32_t reloads, reloads_over;
    bool reload_is_told; /* the last one, to a control */
    bool reload_is_left; /* an earlier control has not come to its end already */
    bool stopping;
    uint64_t stop_ms; /* when that began */
    int exit_status;
};

/* ---- keeper.c ---- */

bool keeper_start_control(struct keeper *keeper);
/* A signal has asked for a reload, and nobody has said yet that it was done or refused. */
bool keeper_owes_reload(const struct keeper *keeper);
/* Starts a role now; where that cannot be done, again and again until it can. */
void keeper_start_role(struct keeper *keeper, int which);
/* To control, if it is there. */
void keeper_tell_control(struct keeper *keeper, enum message_type type, const void *payload, size_t size,
                         int fd);
/* Takes up a channel that a program before this one had to this role. */
void keeper_take_role(struct keeper *keeper, int which, const struct handover_role *from);
/* How a process has ended, for a sentence. */
#define KEEPER_HOW_MAX 160
void keeper_describe(int status, char out[KEEPER_HOW_MAX]);
/* The stop may be complete. */
void keeper_proxy_gone(struct keeper *keeper);

/* ---- elder.c ---- */

struct elder *elder_add(struct keeper *keeper, const struct handover_role *from);
/* To all of them. */
void elders_tell(struct keeper *keeper, enum message_type type);
/* Those that are not told yet are told that another accepts. */
void elders_finish(struct keeper *keeper);
/* Tells control of each. */
void elders_introduce(struct keeper *keeper);
/* Their generations, a bit each. */
uint32_t elders_generations(const struct keeper *keeper);
bool elders_have(const struct keeper *keeper, pid_t pid);
/* Takes the ends of those that have ended. */
void elders_reap(struct keeper *keeper);
void elders_kill(struct keeper *keeper);
void elders_close(struct keeper *keeper);

/* ---- upgrade.c ---- */

/* Before anything else; finds out where the next program will be looked for. */
void upgrade_init(struct keeper *keeper);
/* Somebody asks for an upgrade; whatever comes of it is told to control and the log. One that is refused
 * since another is under way may be told to the log alone. */
void upgrade_ask(struct keeper *keeper, bool by_signal);
/* This program was executed to take over, or to have back. False: it cannot. */
bool upgrade_take(struct keeper *keeper, struct err *err) MUST_CHECK;
/* A role has ended. True: that belongs to the upgrade, and is seen to. */
bool upgrade_role_ended(struct keeper *keeper, int which, const char *how);
/* The world is published by the proxy that was started last. */
void upgrade_serving(struct keeper *keeper);
/* The daemon stops, there is nothing to be upgraded any more. */
void upgrade_forget(struct keeper *keeper);
