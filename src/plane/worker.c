/* The thread: takes orders, follows the world, ends. Invariant: after the order for a world, and before the
 * version cell says so, everything that begins here begins in that world. */
#include "plane/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "plane/client.h"
#include "plane/contexts.h"
#include "plane/exchange.h"
#include "plane/h2_tools.h"
#include "plane/listeners.h"
#include "plane/log_writer.h"
#include "plane/mirror.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define COMPLAINT_MS 1000
#define STOP_GRACE_MS 1000
/* After an upgrade there is no haste, and the longer an idle client has, the rarer does its request meet our
 * close. */
#define FINISH_GRACE_MS 5000
#define FIRST_READ 32768 /* bytes: most messages come whole in one read */

struct worker_thread {
    struct worker worker;
    pthread_t thread;
};

static void report(struct worker *worker, const struct report *report)
{
    struct report *copy = mem_alloc(sizeof *copy);
    *copy = *report;
    mailbox_post(worker->options.reports, &copy->mail);
}

static void hand_on_log(void *arg, struct access_log_batch *batch)
{
    struct worker *worker = arg;
    log_writer_hand(worker->options.log, batch);
}

static void wake_other(void *arg, unsigned worker, uint32_t slot)
{
    report(arg, &(struct report){.type = REPORT_ROOM, .worker = worker, .slot = slot});
}

static void count_turn(void *arg)
{
    struct worker *worker = arg;
    if (worker->cells != NULL)
        counters_add(&worker->cells->turns, 1);
}

static void take_counters(struct worker *worker, struct counters *counters)
{
    unsigned index = worker->options.index;
    worker->counters = counters;
    worker->cells = counters_worker(counters, index);
    worker->balance.counters = counters;
    worker->vitals.counters = counters;
    worker->queue = queue_new(&(struct queue_options){.loop = worker->loop,
                                                      .counters = counters,
                                                      .worker = index,
                                                      .serve = attempt_serve,
                                                      .wake = wake_other,
                                                      .arg = worker});
    pause_init(&worker->pause, worker->loop, counters, index, mode_go);
    worker->conduits = conduits_new(crowd_conduit_limit(counters_workers(counters)));
    worker->upstreams = upstreams_new(worker->loop, counters, index, worker->buffers, &worker->balance);
}

/* Room for the largest heads that the limits allow. */
static void set_limits(struct worker *worker)
{
    const struct snapshot_settings *settings = worker->settings;
    worker->limits = (struct http_limits){.head = settings->head_max, .fields = settings->fields_max};
    worker->connections_max = settings->connections_max != 0
                                  ? settings->connections_max
                                  : crowd_derived_limit(counters_workers(worker->counters),
                                                        snapshot_listener_count(worker->snapshot));
    worker->head_most = settings->head_max < FIRST_READ ? FIRST_READ : settings->head_max + 1;
    worker->head_room = settings->head_max + HTTP_FORWARD_EXTRA + RANDOM_ID_SIZE + EXCHANGE_RULES_ROOM +
                        EXCHANGE_PAGE_ROOM + STICKY_LINES * STICKY_LINE_MAX;
    worker->head = mem_resize(worker->head, worker->head_room, 1);
    h2_tools_resize(worker->h2_tools, worker->head_room);
    worker->trailers = mem_resize(worker->trailers, settings->head_max + RELAY_END_MAX, 1);
    worker->tools = (struct relay_tools){.buffers = worker->buffers,
                                         .conduits = worker->conduits,
                                         .limits = &worker->limits,
                                         .fields = &worker->trailer_fields,
                                         .trailers = worker->trailers};
}

/* Contexts come before the world that they belong to. A listener that gives TLS up keeps what it has until
 * that world is there. */
static void settle_contexts(struct worker *worker, bool is_turn)
{
    if (worker->next_contexts == NULL ||
        (!is_turn && !contexts_suffice(worker->next_contexts, worker->snapshot)))
        return;
    contexts_free(worker->contexts);
    worker->contexts = worker->next_contexts;
    worker->next_contexts = NULL;
}

static void take_contexts(struct worker *worker, struct contexts *contexts)
{
    contexts_free(worker->next_contexts);
    worker->next_contexts = contexts;
    settle_contexts(worker, false);
}

/* The version goes last, and with release: who reads it also sees what began in older worlds counted in. */
static void take_world(struct worker *worker)
{
    const struct view *view = publisher_turn(worker->options.publisher, worker->options.index);
    if (view->snapshot == worker->snapshot)
        return;
    worker->snapshot = view->snapshot;
    settle_contexts(worker, true);
    worker->settings = snapshot_settings(worker->snapshot);
    set_limits(worker);
    mirrors_turn(worker->mirrors);
    upstreams_turn(worker->upstreams, worker->snapshot);
    warms_turn(&worker->warms);
    drain_turn(worker);
    pause_turn(&worker->pause, worker->snapshot);
    listeners_turn(worker->listeners, worker->snapshot);
    __atomic_store_n(&worker->cells->version, snapshot_version(worker->snapshot), __ATOMIC_RELEASE);
}

static void end_if_done(struct worker *worker)
{
    if (worker->stopping && worker->client_count == 0)
        loop_stop(worker->loop);
}

static void stop(struct worker *worker, bool finish)
{
    struct client *next;
    bool goes_on = worker->stopping;
    worker->stopping = true;
    worker->finishing = finish;
    if (!finish)
        pause_stop(&worker->pause);
    if (goes_on) /* it has left off accepting, and what is in flight has its deadlines */
        return;
    worker->grace_ms = finish ? FINISH_GRACE_MS : STOP_GRACE_MS;
    finish ? listeners_leave(worker->listeners) : listeners_stop(worker->listeners);
    drain_stop(worker);
    mirrors_stop(worker->mirrors);
    warms_stop(&worker->warms);
    for (struct client *client = TAILQ_FIRST(&worker->clients); client != NULL; client = next) {
        next = TAILQ_NEXT(client, link);
        client_stop(client);
    }
    end_if_done(worker);
}

void worker_client_left(struct worker *worker)
{
    end_if_done(worker);
}

static void deliver(void *arg, struct mail *mail)
{
    struct worker *worker = arg;
    struct order *order = mem_container(mail, struct order, mail);
    if (worker->ended) {
        if (order->type == ORDER_LISTENER)
            close(order->fd);
        contexts_free(order->contexts);
        free(order);
        return;
    }
    switch (order->type) {
    case ORDER_COUNTERS:
        take_counters(worker, order->counters);
        break;
    case ORDER_LISTENER:
        listeners_add(worker->listeners, order->id, order->fd, order->passed);
        break;
    case ORDER_CONTEXTS:
        take_contexts(worker, order->contexts);
        break;
    case ORDER_WORLD:
        take_world(worker);
        break;
    case ORDER_QUEUE:
        queue_serve(worker->queue, order->id);
        break;
    case ORDER_STOP:
    case ORDER_FINISH:
        stop(worker, order->type == ORDER_FINISH);
        break;
    case ORDER_QUIT:
        loop_stop(worker->loop);
        break;
    }
    free(order);
}

/* What is still in flight is cut: the process ends. */
static void close_clients(struct worker *worker)
{
    struct client *client;
    worker->stopping = true;
    worker->finishing = false;
    while ((client = TAILQ_FIRST(&worker->clients)) != NULL) {
        if (client->exchange != NULL)
            exchange_end(client->exchange, &end_shutting_down);
        if (client->state != CLIENT_CLOSED)
            client_close(client, false);
    }
}

static void *run(void *arg)
{
    struct worker *worker = arg;
    loop_run(worker->loop);
    close_clients(worker);
    listeners_free(worker->listeners);
    mirrors_stop(worker->mirrors);
    warms_stop(&worker->warms);
    if (worker->upstreams != NULL)
        upstreams_free(worker->upstreams);
    if (worker->cells != NULL)
        __atomic_store_n(&worker->cells->version, COUNTERS_ENDED, __ATOMIC_RELEASE);
    access_log_free(worker->log);
    worker->ended = true;
    report(worker, &(struct report){.type = REPORT_ENDED});
    return NULL;
}

static void prepare(struct worker *worker, const struct worker_options *options)
{
    worker->options = *options;
    worker->grace_ms = FINISH_GRACE_MS;
    worker->loop = loop_new();
    worker->orders = mailbox_new(worker->loop, deliver, worker);
    worker->buffers = buffers_new();
    worker->listeners = listeners_new(worker);
    worker->log = access_log_new(worker->loop, hand_on_log, worker);
    worker->h2_tools = h2_tools_new();
    random_seed(&worker->random);
    worker->mac = mac_new();
    worker->mirrors = mirrors_new(worker);
    warms_init(&worker->warms, worker);
    balance_init(&worker->balance, options->index, &worker->random);
    vitals_init(&worker->vitals, options->index, &worker->random);
    worker->balance.vitals = &worker->vitals;
    worker->budgets = mem_zero(COUNTERS_POOLS, sizeof *worker->budgets);
    worker->canaries = mem_zero(COUNTERS_POOLS, sizeof *worker->canaries);
    newcomers_init(&worker->newcomers, worker->loop);
    cork_init(&worker->cork, worker->loop);
    TAILQ_INIT(&worker->clients);
    TAILQ_INIT(&worker->exchanges);
    loop_on_turn(worker->loop, count_turn, worker);
}

/* Not before nobody posts any more: a late order is then still delivered, and dropped. */
static void release(struct worker *worker)
{
    mailbox_free(worker->orders);
    loop_free(worker->loop);
    exchange_free_spares(worker);
    mirrors_free(worker->mirrors);
    h2_tools_free(worker->h2_tools);
    pause_release(&worker->pause);
    if (worker->queue != NULL)
        queue_free(worker->queue);
    balance_free(&worker->balance);
    vitals_free(&worker->vitals);
    free(worker->budgets);
    free(worker->canaries);
    if (worker->conduits != NULL)
        conduits_free(worker->conduits);
    buffers_free(worker->buffers);
    mac_free(worker->mac);
    free(worker->head);
    free(worker->trailers);
    contexts_free(worker->contexts);
    contexts_free(worker->next_contexts);
    free(mem_container(worker, struct worker_thread, worker));
}

/* Signals are the main thread's. */
static int start_thread(struct worker_thread *thread)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread->thread, NULL, run, &thread->worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct worker *worker_start(const struct worker_options *options, struct err *err)
{
    struct worker_thread *thread = mem_zero(1, sizeof *thread);
    prepare(&thread->worker, options);
    int error = start_thread(thread);
    if (error == 0)
        return &thread->worker;
    err_set(err, "cannot start worker thread %u: %s; raise the limit of processes, or lower workers",
            options->index, strerror(error));
    listeners_free(thread->worker.listeners);
    access_log_free(thread->worker.log);
    thread->worker.ended = true;
    release(&thread->worker);
    return NULL;
}

void worker_order(struct worker *worker, struct order *order)
{
    mailbox_post(worker->orders, &order->mail);
}

void worker_join(struct worker *worker)
{
    pthread_join(mem_container(worker, struct worker_thread, worker)->thread, NULL);
    release(worker);
}

void worker_complain(struct worker *worker, struct str service, struct str instance, const char *why)
{
    uint64_t now = loop_ms(worker->loop);
    if (worker->complaint_ms != 0 && now - worker->complaint_ms < COMPLAINT_MS) {
        worker->complaints_held++;
        return;
    }
    if (worker->complaints_held > 0)
        log_warn("instance %.*s of %.*s %s (%u more such lines were held back)", STR_ARG(instance),
                 STR_ARG(service), why, worker->complaints_held);
    else
        log_warn("instance %.*s of %.*s %s", STR_ARG(instance), STR_ARG(service), why);
    worker->complaint_ms = now;
    worker->complaints_held = 0;
}

struct str worker_date(struct worker *worker)
{
    uint64_t now_ms = loop_ms(worker->loop);
    if (now_ms >= worker->date_until_ms) {
        uint64_t wall_ms = clock_wall_ns() / 1000000;
        http_date_write(wall_ms / 1000, worker->date);
        worker->date_until_ms = now_ms + 1000 - wall_ms % 1000;
    }
    return (struct str){worker->date, HTTP_DATE_SIZE - 1};
}
