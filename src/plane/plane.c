/* The role's main thread: hears the keeper and control, and publishes worlds. Invariant:
 * it touches no client and no worker's memory; workers are told by orders and tell by reports. */
#include "plane/plane.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/capabilities.h"
#include "io/confine.h"
#include "io/open_files.h"
#include "io/tls_memory.h"
#include "link/channel.h"
#include "link/counters.h"
#include "plane/contexts.h"
#include "plane/log_writer.h"
#include "plane/worker.h"
#include "plane/world.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REAP_MS 500 /* between looks at worlds that nobody may read any more */

struct plane {
    struct loop *loop;
    struct channel *keeper, *control; /* NULL: gone */
    struct mailbox *reports;
    struct publisher *publisher;
    struct crowd *crowd;
    struct rate *rate;
    struct counters *counters; /* NULL: not come yet */
    struct worker **workers;
    unsigned worker_count, running;
    unsigned generation; /* of the counters */
    uint64_t version, published_ns;
    struct world *ground;      /* the whole one that the next may amend; NULL: none has come */
    struct contexts *contexts; /* of the worlds to come; NULL: none have come */
    struct deadline reap;
    struct log_writer *log;   /* NULL: it could not be started */
    bool stopping, finishing; /* the keeper has said so; who finishes may be stopped yet */
    int status;
};

static void say_hello(struct plane *plane)
{
    struct message_hello hello = {
        .pid = (int32_t)getpid(), .workers = plane->worker_count, .version = plane->version};
    if (plane->control != NULL)
        channel_send(plane->control, MESSAGE_HELLO, &hello, sizeof hello, -1);
}

static void order(struct plane *plane, unsigned worker, const struct order *order)
{
    struct order *copy = mem_alloc(sizeof *copy);
    *copy = *order;
    worker_order(plane->workers[worker], copy);
}

static void order_all(struct plane *plane, const struct order *one)
{
    for (unsigned i = 0; i < plane->worker_count; i++)
        order(plane, i, one);
}

/* ---- what control says ---- */

static void end(struct plane *plane, int status)
{
    plane->status = status;
    order_all(plane, &(struct order){.type = ORDER_QUIT});
}

static bool use_counters(struct plane *plane, struct counters *counters)
{
    if (counters_workers(counters) < plane->worker_count) {
        log_error("the counters have room for %u workers, but %u run", counters_workers(counters),
                  plane->worker_count);
        counters_unmap(counters);
        return false;
    }
    counters_use(counters, plane->generation);
    plane->counters = counters;
    order_all(plane, &(struct order){.type = ORDER_COUNTERS, .counters = counters});
    return true;
}

/* Cells are in use from the first moment, so a mapping is taken once. Control has the same one, kept by the
 * keeper. Without it no world can be served: perhaps the next process gets it. */
static void take_counters(struct plane *plane, int fd)
{
    struct err err;
    struct counters *counters = plane->counters != NULL ? NULL : counters_map(fd, &err);
    channel_done_with(plane->control, fd);
    if (plane->counters != NULL)
        return;
    if (counters == NULL)
        log_error("the counters cannot be used: %s", err.text);
    if (counters == NULL || !use_counters(plane, counters))
        end(plane, 1);
}

static void take_listener(struct plane *plane, const struct message_listener *listener, bool passed, int fd)
{
    if (listener->worker >= plane->worker_count) {
        log_error("a listening socket for worker %u is not used: %u workers run", listener->worker,
                  plane->worker_count);
        close(fd);
        return;
    }
    order(plane, listener->worker,
          &(struct order){.type = ORDER_LISTENER, .id = listener->id, .fd = fd, .passed = passed});
}

/* Control has checked all of it; what it could not know leaves what is there. */
static void take_keyring(struct plane *plane, int fd)
{
    struct err err;
    struct contexts *contexts = contexts_new(fd, &err);
    channel_done_with(plane->control, fd);
    if (contexts == NULL) {
        log_error("the certificates cannot be used, those before them stay: %s", err.text);
        return;
    }
    for (unsigned i = 0; i < plane->worker_count; i++)
        order(plane, i, &(struct order){.type = ORDER_CONTEXTS, .contexts = contexts_ref(contexts)});
    contexts_free(plane->contexts);
    plane->contexts = contexts;
}

static void refuse(struct plane *plane, uint64_t version, const struct err *err)
{
    struct message_refused refused = {.version = version};
    snprintf(refused.sentence, sizeof refused.sentence, "%s", err->text);
    log_error("snapshot %llu is refused: %s", (unsigned long long)version, err->text);
    channel_send(plane->control, MESSAGE_REFUSED, &refused, sizeof refused, -1);
}

static void tell_published(struct plane *plane)
{
    struct message_published published = {.version = plane->version, .published_ns = plane->published_ns};
    channel_send(plane->control, MESSAGE_PUBLISHED, &published, sizeof published, -1);
}

static void dispose(struct view *view)
{
    world_free(view->arg);
}

static void reap(struct deadline *deadline)
{
    struct plane *plane = mem_container(deadline, struct plane, reap);
    if (publisher_reap(plane->publisher))
        deadline_set(&plane->reap, REAP_MS);
}

/* Owns the reference. */
static void set_ground(struct plane *plane, struct world *ground)
{
    world_free(plane->ground);
    plane->ground = ground;
}

/* It is said before each world that amends it, so mostly it is there. Where it cannot be used, the world that
 * follows is refused. */
static void take_ground(struct plane *plane, const struct message_world *told, int fd)
{
    struct err err;
    bool is_there = world_is(plane->ground, fd);
    struct world *ground = is_there ? NULL : world_open(fd, told, NULL, &err);
    channel_done_with(plane->control, fd);
    if (ground != NULL)
        set_ground(plane, ground);
    else if (!is_there)
        log_error("snapshot %llu, which others amend, cannot be used: %s", (unsigned long long)told->version,
                  err.text);
}

/* Control may say again what it has said; an older world never comes back. */
static void take_world(struct plane *plane, const struct message_world *told, int fd)
{
    struct err err;
    if (told->version == plane->version && plane->version != 0) {
        channel_done_with(plane->control, fd);
        tell_published(plane);
        return;
    }
    if (plane->counters == NULL) {
        /* It was meant for the proxy before this one, which has died; our hello brings all anew. */
        channel_done_with(plane->control, fd);
        return;
    }
    struct world *world = NULL;
    if (told->version < plane->version)
        err_set(&err, "version %llu is published already", (unsigned long long)plane->version);
    else
        world = world_open(fd, told, plane->ground, &err);
    channel_done_with(plane->control, fd);
    if (world == NULL) {
        refuse(plane, told->version, &err);
        return;
    }
    clock_may_be_set();
    if (world_ground(world) == world)
        set_ground(plane, world_ref(world));
    world_use(world, contexts_upstreams(plane->contexts));
    plane->published_ns = publisher_publish(plane->publisher, world_snapshot(world), dispose, world);
    plane->version = told->version;
    order_all(plane, &(struct order){.type = ORDER_WORLD});
    tell_published(plane);
    if (!deadline_is_set(&plane->reap))
        deadline_set(&plane->reap, REAP_MS);
}

static void control_received(void *arg, const struct message *message)
{
    struct plane *plane = arg;
    switch (message->type) {
    case MESSAGE_COUNTERS:
        take_counters(plane, message->fd);
        return;
    case MESSAGE_LISTENER:
    case MESSAGE_LISTENER_PASSED:
        take_listener(plane, message->payload, message->type == MESSAGE_LISTENER_PASSED, message->fd);
        return;
    case MESSAGE_ACCESS_LOG:
        log_writer_use(plane->log, message->fd);
        return;
    case MESSAGE_KEYRING:
        take_keyring(plane, message->fd);
        return;
    case MESSAGE_GROUND:
        take_ground(plane, message->payload, message->fd);
        return;
    case MESSAGE_WORLD:
        take_world(plane, message->payload, message->fd);
        return;
    case MESSAGE_WHO:
        say_hello(plane);
        break;
    default:
        log_warn("control sent a message of type %d, which the proxy does not know", (int)message->type);
        break;
    }
    if (message->fd >= 0)
        close(message->fd);
}

/* The keeper gives the other end of this channel to each control, so its end is the keeper's, which tells by
 * its own channel. */
static void control_closed(void *arg, const char *why)
{
    struct plane *plane = arg;
    log_warn("the channel to control is gone: %s; traffic goes on as it is", why);
    channel_close(plane->control);
    plane->control = NULL;
}

/* ---- what the keeper says ---- */

static void keeper_received(void *arg, const struct message *message)
{
    struct plane *plane = arg;
    if (message->fd >= 0)
        close(message->fd);
    bool finish = message->type == MESSAGE_FINISH;
    if (!(finish || message->type == MESSAGE_STOP) || plane->stopping || (finish && plane->finishing))
        return;
    plane->finishing = finish;
    plane->stopping = !finish;
    log_info(finish ? "another proxy accepts now: finishing what is in flight"
                    : "stopping: finishing what is in flight");
    order_all(plane, &(struct order){.type = finish ? ORDER_FINISH : ORDER_STOP});
}

static void keeper_closed(void *arg, const char *why)
{
    struct plane *plane = arg;
    log_error("the keeper is gone: %s; ending", why);
    channel_close(plane->keeper);
    plane->keeper = NULL;
    end(plane, 1);
}

/* ---- what workers report ---- */

static void reported(void *arg, struct mail *mail)
{
    struct plane *plane = arg;
    struct report *report = mem_container(mail, struct report, mail);
    switch (report->type) {
    case REPORT_ROOM:
        if (plane->running > 0) /* else the workers are gone */
            order(plane, report->worker, &(struct order){.type = ORDER_QUEUE, .id = report->slot});
        break;
    case REPORT_ENDED:
        if (--plane->running == 0)
            loop_stop(plane->loop);
        break;
    }
    free(report);
}

/* ---- the role ---- */

static bool start_threads(struct plane *plane, struct err *err)
{
    plane->log = log_writer_start(err);
    if (plane->log == NULL)
        return false;
    plane->workers = mem_zero(plane->worker_count, sizeof(struct worker *));
    for (unsigned i = 0; i < plane->worker_count; i++) {
        struct worker_options options = {.index = i,
                                         .publisher = plane->publisher,
                                         .crowd = plane->crowd,
                                         .rate = plane->rate,
                                         .log = plane->log,
                                         .reports = plane->reports};
        plane->workers[i] = worker_start(&options, err);
        if (plane->workers[i] == NULL)
            return false;
        plane->running++;
    }
    return true;
}

/* Before there are threads, which take over what holds for this one; and after all that is to be read from
 * files: OpenSSL's config, the time zone. */
static bool confine(struct confinement *confinement, struct err *err)
{
    if (!tls_memory_open())
        log_warn(
            "keys are in memory that may be written to swap: raise the limit of locked memory (ulimit -l)");
    tzset();
    if (capabilities_permitted() != 0)
        return err_set(err, "the proxy is capable of more than its user; it does not serve like that");
    return confine_files(confinement, err);
}

/* The last step before it hears anything. */
static bool confine_threads(struct confinement *confinement, struct err *err)
{
    char what[128];
    if (!confine_calls(confinement, err))
        return false;
    confine_describe(confinement, what);
    if (confinement->calls || !confine_has_filter())
        log_info("confined: no capabilities, %s", what);
    else
        log_warn("confined by less than there could be: no capabilities, %s", what);
    return true;
}

static bool begin(struct plane *plane, bool confined, struct err *err)
{
    struct confinement confinement;
    if (!confined)
        return start_threads(plane, err);
    return confine(&confinement, err) && start_threads(plane, err) && confine_threads(&confinement, err);
}

static void open_channels(struct plane *plane, const struct plane_options *options)
{
    static const struct channel_callbacks keeper = {keeper_received, keeper_closed};
    static const struct channel_callbacks control = {control_received, control_closed};
    plane->keeper = channel_open(plane->loop, options->keeper_fd, &keeper, plane);
    plane->control = channel_open(plane->loop, options->control_fd, &control, plane);
    say_hello(plane);
}

static void release(struct plane *plane)
{
    for (unsigned i = 0; i < plane->worker_count && plane->workers[i] != NULL; i++)
        worker_join(plane->workers[i]);
    free(plane->workers);
    if (plane->log != NULL)
        log_writer_end(plane->log);
    channel_close(plane->keeper);
    channel_close(plane->control);
    deadline_clear(&plane->reap);
    mailbox_free(plane->reports);
    publisher_free(plane->publisher);
    set_ground(plane, NULL);
    contexts_free(plane->contexts);
    crowd_free(plane->crowd);
    rate_free(plane->rate);
    if (plane->counters != NULL)
        counters_unmap(plane->counters);
    loop_free(plane->loop);
}

/* The access log may be a pipe; and what a terminal, or a service manager, sends to the whole group is the
 * keeper's to hear, which lets requests be finished. */
static void ignore_signals(void)
{
    static const int numbers[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        signal(numbers[i], SIG_IGN);
}

int plane_main(const struct plane_options *options)
{
    struct plane plane = {.worker_count = options->workers, .generation = options->generation};
    struct err err;
    ignore_signals();
    open_files_raise(); /* each client may need two */
    plane.loop = loop_new();
    plane.reports = mailbox_new(plane.loop, reported, &plane);
    plane.publisher = publisher_new(plane.worker_count);
    plane.crowd = crowd_new();
    plane.rate = rate_new();
    deadline_init(&plane.reap, plane.loop, reap);
    open_channels(&plane, options);
    if (!begin(&plane, options->confined, &err)) {
        log_error("%s", err.text);
        plane.worker_count = plane.running;
        end(&plane, 1);
    }
    if (plane.running > 0)
        loop_run(plane.loop);
    int status = plane.status;
    release(&plane);
    return status;
}
