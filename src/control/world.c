/* world.c: the channel to the proxy. Invariants: `sent`, and `whole` where it amends that, is what a proxy
 * that comes up must get, and its version is never below one that any proxy has seen; and each service that
 * is not in `stirred` is as `whole` says. */
#include "control/world.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/world_spec.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define AGAIN_MS 1000   /* before what has failed is tried again */
#define STIRRED_MOST 32 /* services that one amendment names; with more, the whole world is made anew */

/* An image on its way. */
struct sent {
    int fd; /* sealed memfd; -1: nothing was published yet */
    struct message_world message;
};

struct world {
    struct world_options options;
    struct channel *channel;
    int access_log;
    int keyring;
    struct sent whole;              /* the last whole image */
    struct sent sent;               /* its descriptor is that of `whole` where it is that */
    const struct config *config;    /* that `whole` is of; its services count the same way */
    uint32_t stirred[STIRRED_MOST]; /* its services that may not be as `whole` says, ascending */
    size_t stirred_count;
    bool all_stirred;
    uint64_t highest; /* version given out, or seen at the proxy */
    uint64_t published;
    uint64_t told; /* listeners that the proxy has, a bit an id */
    int32_t proxy_pid;
    bool had_proxy; /* of this program; an earlier one accepts nobody any more */
    bool greeted; /* by the proxy that runs; nothing is sent before, since it would come without the counters
                   */
};

_Static_assert(SNAPSHOT_LISTENERS_MAX <= 64, "a bit a listener");

/* ---- to the proxy ---- */

static bool is_amendment(const struct world *world)
{
    return world->sent.fd != world->whole.fd;
}

static void send_world(struct world *world)
{
    const struct sent *sent = &world->sent, *whole = &world->whole;
    if (!world->greeted || sent->fd < 0)
        return;
    if (is_amendment(world))
        channel_send(world->channel, MESSAGE_GROUND, &whole->message, sizeof whole->message, whole->fd);
    channel_send(world->channel, MESSAGE_WORLD, &sent->message, sizeof sent->message, sent->fd);
}

/* To those that finish: they need no greeting, since they have all but the last world. */
static void tell_finishing(struct world *world, enum message_type type, const void *payload, size_t size,
                           int fd)
{
    if (fd >= 0)
        finishing_tell(world->options.finishing, type, payload, size, fd);
}

static void tell_finishing_world(struct world *world)
{
    const struct sent *sent = &world->sent, *whole = &world->whole;
    if (is_amendment(world))
        tell_finishing(world, MESSAGE_GROUND, &whole->message, sizeof whole->message, whole->fd);
    tell_finishing(world, MESSAGE_WORLD, &sent->message, sizeof sent->message, sent->fd);
}

static void send_listening(struct world *world, const struct listening *listening)
{
    unsigned workers = counters_workers(world->options.counters);
    bool passed = sockets_is_passed(world->options.sockets, listening);
    enum message_type type = passed ? MESSAGE_LISTENER_PASSED : MESSAGE_LISTENER;
    for (unsigned worker = 0; worker < workers; worker++) {
        struct message_listener message = {listening->id, worker};
        channel_send(world->channel, type, &message, sizeof message, listening->fds[worker]);
    }
}

/* Those that the proxy does not have yet. */
static void send_listeners(struct world *world)
{
    const struct sockets *sockets = world->options.sockets;
    uint64_t there = 0;
    if (!world->greeted)
        return;
    for (size_t i = 0; i < sockets_count(sockets); i++) {
        const struct listening *listening = sockets_at(sockets, i);
        uint64_t bit = (uint64_t)1 << listening->id;
        if (!sockets_is_complete(sockets, listening))
            continue;
        there |= bit;
        if ((world->told & bit) == 0)
            send_listening(world, listening);
    }
    world->told = there;
}

static void send_keyring(struct world *world)
{
    if (world->greeted && world->keyring >= 0)
        channel_send(world->channel, MESSAGE_KEYRING, NULL, 0, world->keyring);
}

void world_keyring(struct world *world, int fd)
{
    world->keyring = fd;
    send_keyring(world);
    tell_finishing(world, MESSAGE_KEYRING, NULL, 0, fd);
}

static void send_access_log(struct world *world)
{
    if (world->greeted && world->access_log >= 0)
        channel_send(world->channel, MESSAGE_ACCESS_LOG, NULL, 0, world->access_log);
}

void world_access_log(struct world *world, int fd)
{
    if (world->access_log >= 0)
        close(world->access_log);
    world->access_log = fd;
    send_access_log(world);
    tell_finishing(world, MESSAGE_ACCESS_LOG, NULL, 0, fd);
}

/* ---- from the proxy ---- */

static void published(struct world *world, uint64_t version, uint64_t ns)
{
    world->published = version;
    world->options.published(world->options.arg, version, ns);
}

/* A proxy that begins must not begin with what is known to be over, such as an instance that went down. */
static bool is_renewed(struct world *world)
{
    uint64_t before = world->sent.message.version;
    return before != 0 && world->options.renew(world->options.arg) && world->sent.message.version != before;
}

static void greeted(struct world *world, const struct message_hello *hello)
{
    log_info("the proxy (pid %d) says hello with version %" PRIu64, (int)hello->pid, hello->version);
    world->proxy_pid = hello->pid;
    world->had_proxy = true;
    world->greeted = true;
    counters_give(world->options.counters, world->options.generation, hello->pid);
    if (hello->version > world->highest)
        world->highest = hello->version;
    if (hello->version == 0)
        channel_send(world->channel, MESSAGE_COUNTERS, NULL, 0, world->options.counters_fd);
    world->told = 0; /* even an old one may have missed some, when the control before this one died */
    send_keyring(world);
    send_listeners(world);
    send_access_log(world);
    if (hello->version > 0)
        published(world, hello->version, 0);
    if (hello->version == 0 && is_renewed(world))
        return;
    if (hello->version < world->sent.message.version)
        send_world(world);
    else if (hello->version > 0) /* also where the first world is yet to come: it may be numbered already */
        world->options.again(world->options.arg, 0);
}

/* It may have been short of memory or descriptors. */
static void refused(struct world *world, const struct message_refused *refused)
{
    log_error("the proxy refuses version %" PRIu64 " and keeps the one before: %s", refused->version,
              refused->sentence);
    world->all_stirred = true;
    if (refused->version == world->sent.message.version)
        world->options.again(world->options.arg, AGAIN_MS);
}

static void received(void *arg, const struct message *message)
{
    struct world *world = arg;
    const struct message_published *done = message->payload;
    switch (message->type) {
    case MESSAGE_HELLO:
        greeted(world, message->payload);
        break;
    case MESSAGE_PUBLISHED:
        published(world, done->version, done->published_ns);
        break;
    case MESSAGE_REFUSED:
        refused(world, message->payload);
        break;
    default:
        log_error("the proxy sent message %d, which control does not know; it is ignored", message->type);
    }
    if (message->fd >= 0)
        close(message->fd);
}

/* The keeper holds both ends, so this is no proxy that died; without the channel this process is of no use.
 */
static void closed(void *arg, const char *why)
{
    (void)arg;
    log_error("the channel to the proxy is broken: %s; control ends, to be started again", why);
    _exit(1);
}

/* ---- making it ---- */

static bool put(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = FAULTY("world.write", ENOMEM, write(fd, bytes, size));
        if (n < 0)
            return false;
        bytes += n;
        size -= (size_t)n;
    }
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0;
}

/* A sealed memfd with the image, or -1. */
static int seal(const void *image, size_t size, struct err *err)
{
    int fd = FAULTY("world.memfd", EMFILE, memfd_create("upswap-world", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd >= 0 && put(fd, image, size))
        return fd;
    err_set(err, "no memory file of %zu bytes can be had: %s", size, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static void *freeze(const struct world_options *options, const struct config *config,
                    const struct world_extent *extent, uint64_t version, size_t *size, struct err *err)
{
    struct world_spec *made =
        world_spec_new(options->registry, config, options->sockets, options->drain, options->health,
                       options->pauses, options->secrets, extent, version);
    void *image = snapshot_freeze(world_spec_get(made), size, err);
    world_spec_free(made);
    return image;
}

bool world_allows(struct world *world, const struct config *config, struct err *err)
{
    static const struct world_extent whole = {.ground_version = 0};
    static const struct registry nothing;
    struct world_options options = world->options;
    size_t size;
    options.registry = &nothing;
    options.sockets = NULL;
    void *image = freeze(&options, config, &whole, 1, &size, err);
    bool allowed = image != NULL;
    free(image);
    return allowed;
}

static void stir(struct world *world, uint32_t service)
{
    size_t at = world->stirred_count;
    while (at > 0 && world->stirred[at - 1] >= service)
        at--;
    if (at < world->stirred_count && world->stirred[at] == service)
        return;
    if (world->stirred_count == STIRRED_MOST) {
        world->all_stirred = true;
        return;
    }
    memmove(world->stirred + at + 1, world->stirred + at,
            (world->stirred_count++ - at) * sizeof *world->stirred);
    world->stirred[at] = service;
}

void world_stir(struct world *world, const struct config *config, const char *service)
{
    const struct config_service *found =
        service == NULL || config == NULL ? NULL : config_service(config, str_of(service));
    if (service == NULL || config != world->config)
        world->all_stirred = true;
    else if (found != NULL) /* else it is in no world */
        stir(world, (uint32_t)(found - config->services));
}

static void forget_sent(struct world *world)
{
    if (is_amendment(world))
        close(world->sent.fd);
    world->sent.fd = world->whole.fd;
}

/* From now on only this one can be amended. */
static void set_whole(struct world *world, const struct config *config, const struct sent *sent)
{
    if (world->whole.fd >= 0)
        close(world->whole.fd);
    world->whole = *sent;
    world->config = config;
    world->all_stirred = false;
    world->stirred_count = 0;
}

void world_publish(struct world *world, const struct config *config, uint64_t version, uint64_t decided_ns)
{
    bool is_whole = world->all_stirred || config != world->config;
    struct world_extent extent = {.ground_version = is_whole ? 0 : world->whole.message.version,
                                  .amended = world->stirred,
                                  .count = world->stirred_count};
    struct err err;
    size_t size;
    void *image = freeze(&world->options, config, &extent, version, &size, &err);
    int fd = image == NULL ? -1 : seal(image, size, &err);
    free(image);
    if (fd < 0) {
        log_error("version %" PRIu64 " cannot be published, the one before stays for now: %s", version,
                  err.text);
        world->all_stirred = true;
        world->options.again(world->options.arg, AGAIN_MS);
        return;
    }
    forget_sent(world);
    world->sent = (struct sent){fd, {.version = version, .decided_ns = decided_ns, .size = size}};
    if (is_whole)
        set_whole(world, config, &world->sent);
    if (version > world->highest)
        world->highest = version;
    /* New listeners go before the world that names them. */
    send_listeners(world);
    send_world(world);
    tell_finishing_world(world);
}

uint64_t world_next(struct world *world)
{
    if (world->options.registry->world > world->highest)
        world->highest = world->options.registry->world;
    return ++world->highest;
}

void world_proxy_started(struct world *world, int32_t pid)
{
    if (pid != world->proxy_pid)
        world->greeted = false;
}

void world_proxy_ended(struct world *world, int32_t pid)
{
    if (pid != world->proxy_pid)
        return;
    world->proxy_pid = 0;
    world->greeted = false;
}

uint64_t world_published(const struct world *world)
{
    return world->published;
}

uint64_t world_made(const struct world *world)
{
    return world->sent.message.version;
}

int32_t world_proxy_pid(const struct world *world)
{
    return world->proxy_pid;
}

bool world_is_served(const struct world *world)
{
    const struct finishing *elders = world->options.finishing;
    return world->proxy_pid != 0 || (!world->had_proxy && elders != NULL && !finishing_is_empty(elders));
}

struct world *world_new(const struct world_options *options)
{
    static const struct channel_callbacks callbacks = {received, closed};
    struct world *world = mem_zero(1, sizeof *world);
    world->options = *options;
    world->access_log = world->keyring = -1;
    world->whole.fd = world->sent.fd = -1;
    world->all_stirred = true;
    world->proxy_pid = options->proxy_pid;
    world->had_proxy = options->proxy_pid != 0;
    world->highest = counters_newest(options->counters);
    world->channel = channel_open(options->loop, options->proxy_fd, &callbacks, world);
    if (options->proxy_pid != 0)
        channel_send(world->channel, MESSAGE_WHO, NULL, 0, -1);
    return world;
}
