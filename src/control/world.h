/* world: what the proxy is to know: built from the registry, the config and the sockets, frozen, and sent
 * over the channel. Also answers a proxy that has come up.
 *
 * It is the whole world each time. But where few services are not any more as the last whole image says, that
 * image is sent again (a proxy that has it need not look at it), and with it one that amends it. */
#pragma once

#include "config/config.h"
#include "control/drain.h"
#include "control/finishing.h"
#include "control/health.h"
#include "control/pauses.h"
#include "control/secrets.h"
#include "control/sockets.h"
#include "deploy/registry.h"
#include "io/loop.h"
#include "link/channel.h"
#include "link/counters.h"

struct world;

struct world_options {
    struct loop *loop;
    int proxy_fd; /* channel; owned from now on */
    const struct registry *registry;
    struct sockets *sockets;
    struct drain *drain;
    const struct health *health;
    const struct pauses *pauses;
    const struct secrets *secrets;
    struct counters *counters;
    int counters_fd;             /* stays the caller's */
    struct finishing *finishing; /* told of each world too */
    unsigned generation;         /* of the counters: the proxy's */
    int32_t proxy_pid;           /* the proxy that runs already; 0: none */
    /* The proxy has published `version` at `ns` (monotonic; 0: before this process was there). */
    void (*published)(void *arg, uint64_t version, uint64_t ns);
    /* The proxy has a version that is not below what was sent to it, or the last one could not be made, or
     * not be used by it: the world must be sent with a higher one, after this pause. */
    void (*again)(void *arg, uint64_t pause_ms);
    /* A proxy begins, and the last world may be older than what is known: publish another one, which calls
     * world_publish. False: not now, and it gets the last one. */
    bool (*renew)(void *arg);
    void *arg;
};

/* Lives as long as the process. */
struct world *world_new(const struct world_options *options);

/* A version above all that were given out, that the registry names, or that the proxy has. */
uint64_t world_next(struct world *world);

/* The service (NULL: any of them, or the config) may not be any more as the world that was published last
 * says: to be called whenever what a world is made of changes, before the next one is. */
void world_stir(struct world *world, const struct config *config, const char *service);
/* Sends the world as it is now, numbered `version`. `decided_ns`: monotonic, when it was decided. Where that
 * cannot be done the old world stays for now: it is logged, and asked for again. */
void world_publish(struct world *world, const struct config *config, uint64_t version, uint64_t decided_ns);

/* Could a world of this config be published? Looks at the config alone: at no pool and no listener. */
bool world_allows(struct world *world, const struct config *config, struct err *err) MUST_CHECK;
/* What TLS needs from now on: sent at once, and to each proxy that comes up. The descriptor stays the
 * caller's; -1: nothing. */
void world_keyring(struct world *world, int fd);
/* Where access log lines go from now on; -1: nowhere. Owned. */
void world_access_log(struct world *world, int fd);

/* The keeper has started this proxy: nothing is sent until it has said hello. */
void world_proxy_started(struct world *world, int32_t pid);
/* It has ended; another may have said hello already. */
void world_proxy_ended(struct world *world, int32_t pid);

/* The version that the proxy has published last; 0: none yet. */
uint64_t world_published(const struct world *world);
/* The version that was made last; 0: none was. */
uint64_t world_made(const struct world *world);
/* 0: none runs, or it has not said hello. */
int32_t world_proxy_pid(const struct world *world);
/* Are clients answered? In an upgrade the proxy of the earlier program accepts until the first of this one
 * has said hello; from then on it only finishes. */
bool world_is_served(const struct world *world);
