/* teardown.c is a queue of orders. Invariant: an order leaves only by settle(), once, when the hook has
 * succeeded or its attempts are used up. */
#include "control/teardown.h"

#include "base/address.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "control/environment.h"
#include "io/child.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#define PAUSE_FIRST_MS 1000
#define PAUSE_MAX_MS 60000
#define KILL_AFTER_MS 2000
#define LINGER_MS 1000
#define OUTPUT_MAX 4096
#define OUTPUT_LIMIT ((uint64_t)16 << 20)

struct order {
    struct teardown *teardown;
    char *service, *release, *pool, *by, *address;
    enum retire_reason reason;
    bool forced;
    size_t instance; /* index in the pool */
    uint64_t id;     /* of the instance */
    int64_t pid;
    uint64_t attempt; /* attempts begun */
    uint64_t pause_ms;
    char *failure; /* of the last attempt; NULL: none failed */
    struct child *child;
    struct deadline retry;
    TAILQ_ENTRY(order) entry;
};

TAILQ_HEAD(orders, order);

struct teardown {
    struct teardown_options options;
    struct orders waiting, busy; /* busy: a hook runs; or between two attempts */
    unsigned running;
    struct loop_deferred turn;
    bool turning;
};

static void advance(struct teardown *teardown);

/* ---- ends ---- */

static void order_free(struct order *order)
{
    deadline_clear(&order->retry);
    free(order->service);
    free(order->release);
    free(order->pool);
    free(order->by);
    free(order->address);
    free(order->failure);
    free(order);
}

/* Signals the process where one was named. Returns what came of it, or NULL; to be freed. */
static char *send_signal(const struct order *order, const struct config_service *settings)
{
    struct err err;
    if (settings == NULL || settings->teardown.signal == 0 || order->pid == 0)
        return NULL;
    if (processes_signal(order->teardown->options.processes, order->id, settings->teardown.signal, &err))
        return mem_printf("sent to %" PRId64, order->pid);
    return mem_printf("not sent to %" PRId64 ": %s", order->pid, err.text);
}

static void settle(struct order *order, const struct config_service *settings)
{
    struct teardown *teardown = order->teardown;
    enum teardown_end end = order->failure == NULL ? TEARDOWN_DONE : TEARDOWN_FAILED;
    char *signal = send_signal(order, settings);
    json_t *event = json_pack("{s:s, s:I, s:s*, s:s*}", "instance", order->address, "attempts",
                              (json_int_t)order->attempt, "signal", signal, "reason", order->failure);
    const char *between = signal == NULL ? "" : "; signal ", *sent = signal == NULL ? "" : signal;
    if (order->failure == NULL)
        log_info("%s: instance %s is torn down%s%s", order->pool, order->address, between, sent);
    else
        log_warn("%s: the teardown of %s has failed: %s%s%s", order->pool, order->address, order->failure,
                 between, sent);
    free(signal);
    TAILQ_REMOVE(&teardown->busy, order, entry);
    processes_drop(teardown->options.processes, order->id);
    teardown->options.ended(teardown->options.arg, order->pool, order->instance, end, event);
    order_free(order);
}

/* ---- the hook ---- */

static char *describe(const struct child_result *result)
{
    struct str output = str_trim(result->output);
    char *how = !result->started      ? mem_dup("could not be started")
                : result->timed_out   ? mem_dup("took too long and was stopped")
                : result->signal != 0 ? mem_printf("was ended by signal %d", result->signal)
                                      : mem_printf("ended with status %d", result->exit_status);
    char *sentence = output.n == 0 ? mem_printf("the hook %s", how)
                                   : mem_printf("the hook %s: \"%.*s\"", how, STR_ARG(output));
    free(how);
    return sentence;
}

static void pause_or_settle(struct order *order, const struct config_service *settings)
{
    log_warn("%s: teardown of %s, attempt %" PRIu64 ": %s", order->pool, order->address, order->attempt,
             order->failure);
    if (settings == NULL || order->attempt >= settings->teardown.attempts) {
        settle(order, settings);
        return;
    }
    deadline_set(&order->retry, order->pause_ms);
    order->pause_ms = order->pause_ms * 2 < PAUSE_MAX_MS ? order->pause_ms * 2 : PAUSE_MAX_MS;
}

static const struct config_service *settings_of(const struct order *order)
{
    const struct teardown_options *options = &order->teardown->options;
    return options->settings(options->arg, order->service);
}

static void fail(struct order *order, char *failure)
{
    free(order->failure);
    order->failure = failure;
    pause_or_settle(order, settings_of(order));
}

static void hook_ended(void *arg, const struct child_result *result)
{
    struct order *order = arg;
    struct teardown *teardown = order->teardown;
    order->child = NULL;
    teardown->running--;
    if (result->started && result->exit_status == 0) {
        free(order->failure);
        order->failure = NULL;
        settle(order, settings_of(order));
    } else {
        size_t size;
        char *raw = describe(result);
        fail(order, utf8_tail(str_of(raw), OUTPUT_MAX, true, &size));
        free(raw);
    }
    advance(teardown);
}

static struct environment *make_environment(const struct order *order)
{
    struct environment *environment = environment_new();
    environment_set(environment, "TEARDOWN_SERVICE", order->service);
    environment_set(environment, "TEARDOWN_RELEASE", order->release);
    environment_set(environment, "TEARDOWN_DEPLOYMENT", order->pool);
    environment_set(environment, "TEARDOWN_BY", order->by == NULL ? "" : order->by);
    environment_set(environment, "TEARDOWN_REASON", retire_reason_names[order->reason]);
    environment_set(environment, "TEARDOWN_DRAINED", order->forced ? "forced" : "clean");
    return environment;
}

/* command + host + port; the array is to be freed, its texts are not copied. */
static const char **make_argv(const struct config_list *command, const char *host, const char *port)
{
    const char **argv = mem_zero(command->count + 3, sizeof *argv);
    for (size_t i = 0; i < command->count; i++)
        argv[i] = command->items[i];
    argv[command->count] = host;
    argv[command->count + 1] = port;
    return argv;
}

static void run_hook(struct order *order, const struct config_teardown *settings)
{
    struct address address;
    struct err err;
    char port[8];
    if (!address_parse_instance(str_of(order->address), &address, &err))
        abort(); /* it was parsed when it was staged */
    snprintf(port, sizeof port, "%u", address.port);
    struct environment *environment = make_environment(order);
    if (address.kind == ADDRESS_UNIX)
        environment_set(environment, "TEARDOWN_SOCKET", address_path(&address));
    const char **argv = make_argv(&settings->command, address.host, port);
    struct child_spec spec = {.argv = argv,
                              .envp = environment_list(environment),
                              .timeout_ms = settings->timeout_ms,
                              .kill_after_ms = KILL_AFTER_MS,
                              .linger_ms = LINGER_MS,
                              .output_max = OUTPUT_MAX,
                              .output_limit = OUTPUT_LIMIT};
    order->attempt++;
    event_log_add(order->teardown->options.events, "teardown.started", order->service, order->pool,
                  json_pack("{s:s, s:I}", "instance", order->address, "attempt", (json_int_t)order->attempt));
    order->child = child_start(order->teardown->options.loop, &spec, hook_ended, order, &err);
    free(argv);
    environment_free(environment);
    if (order->child != NULL)
        order->teardown->running++;
    else
        fail(order, mem_dup(err.text));
}

/* Neither hook nor signal any more. */
static void give_up(struct order *order, char *why)
{
    free(order->failure);
    order->failure = why;
    settle(order, NULL);
}

static void begin(struct order *order)
{
    const struct teardown_options *options = &order->teardown->options;
    const struct config_service *settings = settings_of(order);
    if (options->held(options->arg, order->pool, order->instance))
        give_up(order, mem_dup("its address is another pool's by now, so it is left alone"));
    else if (settings == NULL)
        give_up(order, mem_printf("service \"%s\" is not configured any more, so nothing was called",
                                  order->service));
    else if (settings->teardown.command.count > 0)
        run_hook(order, &settings->teardown);
    else
        settle(order, settings);
}

/* ---- the queue ---- */

static void advance(struct teardown *teardown)
{
    struct order *order;
    while (teardown->running < TEARDOWN_PARALLEL && (order = TAILQ_FIRST(&teardown->waiting)) != NULL) {
        TAILQ_REMOVE(&teardown->waiting, order, entry);
        TAILQ_INSERT_TAIL(&teardown->busy, order, entry);
        begin(order);
    }
}

static void on_turn(struct loop_deferred *deferred)
{
    struct teardown *teardown = mem_container(deferred, struct teardown, turn);
    teardown->turning = false;
    advance(teardown);
}

static void wait_turn(struct order *order)
{
    struct teardown *teardown = order->teardown;
    TAILQ_INSERT_TAIL(&teardown->waiting, order, entry);
    if (!teardown->turning)
        loop_defer(teardown->options.loop, &teardown->turn);
    teardown->turning = true;
}

static void on_retry(struct deadline *deadline)
{
    struct order *order = mem_container(deadline, struct order, retry);
    TAILQ_REMOVE(&order->teardown->busy, order, entry);
    wait_turn(order);
}

void teardown_order(struct teardown *teardown, const struct pool *pool, size_t index)
{
    const struct instance *instance = &pool->instances[index];
    struct order *order = mem_alloc(sizeof *order);
    *order = (struct order){
        .teardown = teardown,
        .service = mem_dup(pool->service->name),
        .release = mem_dup(pool->release),
        .pool = mem_dup(pool->name),
        .by = mem_dup(pool->replaced_by),
        .address = mem_dup(instance->address),
        .reason = pool->reason,
        .forced = instance->forced,
        .instance = index,
        .id = instance->id,
        .pid = instance->pid,
        .pause_ms = PAUSE_FIRST_MS,
    };
    deadline_init(&order->retry, teardown->options.loop, on_retry);
    wait_turn(order);
}

struct teardown *teardown_new(const struct teardown_options *options)
{
    struct teardown *teardown = mem_zero(1, sizeof *teardown);
    teardown->options = *options;
    teardown->turn.run = on_turn;
    TAILQ_INIT(&teardown->waiting);
    TAILQ_INIT(&teardown->busy);
    return teardown;
}
