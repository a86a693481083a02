/* A patient for each instance of a pool that is live or armed, or has passed its gate and may become live,
 * and whose service has checks: who lets a held one go on is to know how it is. Invariant: a patient has
 * either a check under way, or a place in the queue for one, or a deadline for its next; and none outlives
 * the call of health_watch that no longer finds its instance. */
#include "control/health.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/checkup.h"
#include "control/sockaddr.h"
#include "control/standing.h"
#include "link/upstream_contexts.h"

#include <stdlib.h>

#include <uthash.h>

#define AT_ONCE 256       /* checks under way: each needs a descriptor */
#define FIRST_MS 1000     /* the first checks after a start are spread over this long */
#define GATHER_MS 20      /* changes that come together make one world */
#define PUBLISH_MS 250    /* between two worlds */
#define JITTER_PERCENT 10 /* of the interval, so that checks do not gather */

struct patient {
    struct health *health;
    uint64_t id; /* of the instance */
    const struct pool *pool;
    const struct instance *instance;
    uint64_t interval_ms; /* as it was when its next check was set */
    struct pulse pulse;
    struct checkup *checkup; /* NULL: none is under way */
    bool queued;
    bool seen; /* by the health_watch that runs */
    struct deadline next;
    TAILQ_ENTRY(patient) entry; /* of the queue */
    LIST_ENTRY(patient) bed;    /* in its ward */
    UT_hash_handle hh;
};

/* The patients of a service, at least one. */
struct ward {
    char *service;
    LIST_HEAD(, patient) patients;
    UT_hash_handle hh;
};

struct health {
    struct health_options options;
    struct patient *patients;           /* by id */
    struct ward *wards;                 /* by service */
    struct upstream_contexts *contexts; /* NULL: there are none */
    TAILQ_HEAD(, patient) queue;
    unsigned under_way;
    bool is_started; /* health_watch has been called before */
    uint64_t since_ms;
    struct deadline publish;
    uint64_t published_ms;
};

/* ---- what is known, in the counters ---- */

static struct standing standing(const struct health *health, const struct instance *instance)
{
    return standing_of(health->options.counters, instance);
}

static void keep(const struct patient *patient, uint64_t since_ms)
{
    struct standing now = standing(patient->health, patient->instance);
    now.pulse = patient->pulse.state;
    now.since_ms = since_ms;
    standing_keep(patient->health->options.counters, patient->instance, &now);
}

static void moved(const struct health *health, const struct pool *pool)
{
    health->options.moved(health->options.arg, pool->service->name);
}

/* Nobody checks it any more. */
static void forget(const struct health *health, const struct pool *pool, const struct instance *instance)
{
    struct standing now = standing(health, instance);
    now.pulse = PULSE_UNKNOWN;
    standing_keep(health->options.counters, instance, &now);
    moved(health, pool);
}

bool health_is_down(const struct health *health, const struct instance *instance)
{
    return standing(health, instance).pulse == PULSE_DOWN;
}

bool health_is_held_out(const struct health *health, const struct instance *instance)
{
    return standing(health, instance).out;
}

uint64_t health_since_ms(const struct health *health, const struct instance *instance)
{
    return standing(health, instance).since_ms;
}

void health_enabled(struct health *health, const struct instance *instance)
{
    struct standing now = standing(health, instance);
    now.since_ms = clock_mono_ms();
    standing_keep(health->options.counters, instance, &now);
}

bool health_is_hopeless(const struct health *health, const struct pool *pool)
{
    bool rotates = false;
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        if (instance->state != INSTANCE_UP)
            continue;
        if (!health_is_down(health, instance))
            return false;
        rotates = true;
    }
    return rotates;
}

/* ---- telling ---- */

static void publish(struct deadline *deadline)
{
    struct health *health = mem_container(deadline, struct health, publish);
    if (health->options.publish(health->options.arg))
        health->published_ms = clock_mono_ms();
    else
        deadline_set(&health->publish, GATHER_MS);
}

void health_tell(struct health *health)
{
    uint64_t since_ms = clock_mono_ms() - health->published_ms;
    if (!deadline_is_set(&health->publish))
        deadline_set(&health->publish, since_ms + GATHER_MS < PUBLISH_MS ? PUBLISH_MS - since_ms : GATHER_MS);
}

static void announce(const struct patient *patient, const char *type, const char *reason)
{
    event_log_add(patient->health->options.events, type, patient->pool->service->name, patient->pool->name,
                  json_pack("{s:s, s:s, s:s}", "instance", patient->instance->address, "reason", reason, "by",
                            "check"));
}

/* Does it have no clients yet? */
static bool is_waiting(const struct pool *pool)
{
    return pool->state == POOL_STAGED && !deployment_state_is_canary(pool->deployment->state);
}

static void went_down(struct patient *patient, const char *why)
{
    const struct instance *instance = patient->instance;
    char *behind = sockaddr_behind_name(instance->address, instance->resolved);
    bool hopeless = health_is_hopeless(patient->health, patient->pool);
    char *reason =
        mem_printf("it%s %s%s%s", behind, why, hopeless ? "; no instance of the pool is up" : "",
                   hopeless && !is_waiting(patient->pool) ? ", so all are tried as if they were" : "");
    log_warn("%s: instance %s is down: %s", patient->pool->name, instance->address, reason);
    announce(patient, "instance.ejected", reason);
    free(reason);
    free(behind);
}

static void came_back(struct patient *patient)
{
    log_info("%s: instance %s is up again", patient->pool->name, patient->instance->address);
    announce(patient, "instance.restored", "its checks pass again");
}

/* ---- checking ---- */

static const struct config_health *settings_of(const struct health *health, const struct pool *pool)
{
    const struct config_service *settings =
        health->options.settings(health->options.arg, pool->service->name);
    return settings == NULL || settings->health.interval_ms == 0 ? NULL : &settings->health;
}

bool health_is_unsure(const struct health *health, const struct pool *pool)
{
    bool unsure = false;
    if (clock_mono_ms() - health->since_ms >= HEALTH_SETTLE_MS || settings_of(health, pool) == NULL)
        return false;
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        enum pulse_state pulse = standing(health, instance).pulse;
        if (instance->state != INSTANCE_UP)
            continue;
        if (pulse == PULSE_UP)
            return false;
        unsure |= pulse == PULSE_UNKNOWN;
    }
    return unsure;
}

static void take(struct patient *patient, bool passed, const char *why)
{
    const struct config_health *settings = settings_of(patient->health, patient->pool);
    enum pulse_state before = patient->pulse.state;
    bool changed = pulse_take(&patient->pulse, passed, settings->rise, settings->fall);
    if (before == patient->pulse.state)
        return;
    keep(patient, changed && passed ? clock_mono_ms() : 0);
    moved(patient->health, patient->pool);
    if (!changed)
        return;
    if (passed)
        came_back(patient);
    else
        went_down(patient, why);
    health_tell(patient->health);
}

static void begin_queued(struct health *health);

static void set_next(struct patient *patient)
{
    uint64_t width = patient->interval_ms * JITTER_PERCENT / 100;
    deadline_set(&patient->next, patient->interval_ms - width / 2 + arc4random_uniform((uint32_t)width + 1));
}

static void checked(void *arg, enum checkup_result result, const char *why)
{
    struct patient *patient = arg;
    struct health *health = patient->health;
    patient->checkup = NULL;
    health->under_way--;
    if (result != CHECKUP_UNDECIDED)
        take(patient, result == CHECKUP_PASSED, why);
    set_next(patient);
    begin_queued(health);
}

/* What the app takes for itself: where the others are sent to, or the first host without a wildcard, else
 * where it is. */
static const char *host_of(const struct config_service *service, const struct instance *instance)
{
    if (service->canonical_host != NULL)
        return service->canonical_host;
    for (size_t i = 0; i < service->hosts.count; i++) {
        if (service->hosts.items[i][0] != '*')
            return service->hosts.items[i];
    }
    return str_starts_with(str_of(instance->address), STR("unix:")) ? "localhost" : instance->address;
}

/* False: there is no context, or none of this config yet. */
static bool use_tls(const struct patient *patient, struct checkup_order *order)
{
    const struct upstream_context *context =
        upstream_contexts_find(patient->health->contexts, str_of(patient->pool->service->name));
    if (context == NULL || context->h2 != order->h2)
        return false;
    order->tls = context->tls;
    return upstream_context_name(context, str_of(patient->instance->address), &order->server_name);
}

static void check(struct patient *patient)
{
    struct health *health = patient->health;
    const struct config_service *service =
        health->options.settings(health->options.arg, patient->pool->service->name);
    struct checkup_order order = {.path = service->health.path,
                                  .behalf = health->options.proxy,
                                  .host = host_of(service, patient->instance),
                                  .https = health->options.https(health->options.arg, service),
                                  .h2 = service->upstream == CONFIG_UPSTREAM_H2,
                                  .proxy_protocol = (unsigned)service->proxy_protocol,
                                  .timeout_ms = service->health.timeout_ms,
                                  .done = checked,
                                  .arg = patient};
    if (service->tls.line != 0 && !use_tls(patient, &order)) {
        set_next(patient);
        return;
    }
    order.length = sockaddr_of(patient->instance->resolved, &order.address);
    health->under_way++;
    patient->checkup = checkup_start(health->options.loop, &order);
}

static void begin_queued(struct health *health)
{
    struct patient *patient;
    while (health->under_way < AT_ONCE && (patient = TAILQ_FIRST(&health->queue)) != NULL) {
        TAILQ_REMOVE(&health->queue, patient, entry);
        patient->queued = false;
        check(patient);
    }
}

static void is_due(struct deadline *deadline)
{
    struct patient *patient = mem_container(deadline, struct patient, next);
    patient->queued = true;
    TAILQ_INSERT_TAIL(&patient->health->queue, patient, entry);
    begin_queued(patient->health);
}

/* ---- who is checked ---- */

static void dismiss(struct patient *patient)
{
    struct health *health = patient->health;
    if (patient->checkup != NULL) {
        checkup_cancel(patient->checkup);
        health->under_way--;
    }
    if (patient->queued)
        TAILQ_REMOVE(&health->queue, patient, entry);
    deadline_clear(&patient->next);
    HASH_DEL(health->patients, patient);
    LIST_REMOVE(patient, bed);
    free(patient);
}

static struct ward *ward_of(struct health *health, const char *service)
{
    struct ward *ward;
    HASH_FIND_STR(health->wards, service, ward);
    return ward;
}

static struct ward *open_ward(struct health *health, const char *service)
{
    struct ward *ward = mem_zero(1, sizeof *ward);
    ward->service = mem_dup(service);
    HASH_ADD_KEYPTR(hh, health->wards, ward->service, strlen(ward->service), ward);
    return ward;
}

static struct patient *admit(struct health *health, const struct pool *pool, const struct instance *instance)
{
    struct patient *patient = mem_zero(1, sizeof *patient);
    struct ward *ward = ward_of(health, pool->service->name);
    if (ward == NULL)
        ward = open_ward(health, pool->service->name);
    LIST_INSERT_HEAD(&ward->patients, patient, bed);
    patient->health = health;
    patient->id = instance->id;
    patient->instance = instance;
    patient->pulse.state = standing(health, instance).pulse;
    if (patient->pulse.state == PULSE_UNKNOWN && health->is_started)
        patient->pulse.state = PULSE_UP;
    keep(patient, health_since_ms(health, instance));
    deadline_init(&patient->next, health->options.loop, is_due);
    HASH_ADD(hh, health->patients, id, sizeof patient->id, patient);
    return patient;
}

/* The first check of an instance comes soon, that of a changed interval within it. */
static void look_after(struct health *health, const struct pool *pool, const struct instance *instance,
                       const struct config_health *settings)
{
    struct patient *patient;
    HASH_FIND(hh, health->patients, &instance->id, sizeof instance->id, patient);
    bool is_new = patient == NULL;
    if (is_new)
        patient = admit(health, pool, instance);
    patient->pool = pool;
    patient->instance = instance;
    patient->seen = true;
    if (patient->interval_ms == settings->interval_ms)
        return;
    patient->interval_ms = settings->interval_ms;
    if (patient->checkup != NULL || patient->queued)
        return;
    uint64_t width = is_new && patient->interval_ms > FIRST_MS ? FIRST_MS : patient->interval_ms;
    deadline_set(&patient->next, arc4random_uniform((uint32_t)width + 1));
}

static void look_after_pool(struct health *health, const struct pool *pool)
{
    const struct config_health *settings = settings_of(health, pool);
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        if (settings != NULL)
            look_after(health, pool, instance, settings);
        else if (standing(health, instance).pulse != PULSE_UNKNOWN)
            forget(health, pool, instance);
    }
}

static void look_after_service(struct health *health, const struct service *service)
{
    if (service->live != NULL)
        look_after_pool(health, service->live);
    if (service->armed != NULL)
        look_after_pool(health, service->armed);
    if (service->running != NULL && service->running->gate_passed)
        look_after_pool(health, service->running->pool);
}

/* Those stay that have just been seen. */
static void clear_ward(struct health *health, struct ward *ward)
{
    struct patient *patient, *next;
    for (patient = LIST_FIRST(&ward->patients); patient != NULL; patient = next) {
        next = LIST_NEXT(patient, bed);
        if (!patient->seen)
            dismiss(patient);
        else
            patient->seen = false;
    }
    if (!LIST_EMPTY(&ward->patients))
        return;
    HASH_DEL(health->wards, ward);
    free(ward->service);
    free(ward);
}

static void watch_all(struct health *health)
{
    const struct service *service = health->options.registry->services;
    struct ward *ward, *next;
    for (; service != NULL; service = service->hh.next)
        look_after_service(health, service);
    HASH_ITER(hh, health->wards, ward, next)
    {
        clear_ward(health, ward);
    }
    health->is_started = true;
}

void health_watch(struct health *health, const struct service *service)
{
    if (service == NULL) {
        watch_all(health);
        return;
    }
    look_after_service(health, service);
    struct ward *ward = ward_of(health, service->name);
    if (ward != NULL)
        clear_ward(health, ward);
}

void health_keyring(struct health *health, int fd)
{
    struct err err;
    struct upstream_contexts *contexts = upstream_contexts_new(fd, &err);
    if (contexts == NULL) {
        log_error("checks go on with the certificates before: %s", err.text);
        return;
    }
    upstream_contexts_free(health->contexts);
    health->contexts = contexts;
}

struct health *health_new(const struct health_options *options)
{
    struct health *health = mem_zero(1, sizeof *health);
    health->options = *options;
    health->since_ms = clock_mono_ms();
    TAILQ_INIT(&health->queue);
    deadline_init(&health->publish, options->loop, publish);
    return health;
}
