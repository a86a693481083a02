/* adopt: takes a config up, at the start and at each reload. Everything that can fail comes first: sockets,
 * names, the frozen world, the journal; then all of it holds at once. Runtime pools are not touched. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/places.h"
#include "control/conduct.h"
#include "control/sockaddr.h"
#include "control/warnings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A service that no journal knows, and the instances that the config names for it. */
struct newcomer {
    const struct config_service *service;
    struct record record; /* its first pool */
};

struct adoption {
    struct conductor *conductor;
    struct config *config;
    char *text;
    size_t text_size;
    struct newcomer *newcomers;
    size_t count;
    size_t resolved; /* newcomers whose names are resolved */
    struct resolve *resolve;
    struct record world;
    int access_log; /* opened; -1: none */
    size_t waiting; /* records on their way */
    int error;
    bool is_first;    /* at the start */
    json_t *warnings; /* NULL: at the start, or it is not taken up yet */
    struct asker asker;
    outcome_fn done;
    void *arg;
};

/* ---- ends ---- */

static void adoption_free(struct adoption *adoption)
{
    struct conductor *conductor = adoption->conductor;
    conductor->adoption = NULL;
    if (conductor->reload_due)
        loop_defer(conductor->options.loop, &conductor->reloading);
    else
        conductor->options.reloaded(conductor->options.arg);
    for (size_t i = 0; i < adoption->count; i++)
        record_free(&adoption->newcomers[i].record);
    record_free(&adoption->world);
    if (adoption->access_log >= 0)
        close(adoption->access_log);
    json_decref(adoption->warnings);
    free(adoption->newcomers);
    free(adoption->text);
    config_free(adoption->config);
    free(adoption);
}

static void give_slots_back(struct adoption *adoption)
{
    for (size_t i = 0; i < adoption->resolved; i++)
        slotting_take_back(adoption->conductor, adoption->newcomers[i].record.fresh, 0);
}

static void refuse_all(struct adoption *adoption, unsigned status, const char *reason)
{
    struct conductor *conductor = adoption->conductor;
    log_error("the config is not taken up: %s", reason);
    sockets_discard(conductor->options.sockets);
    conductor->options.refused(conductor->options.arg);
    give_slots_back(adoption);
    event_log_add(conductor->options.events, "config.refused", NULL, NULL,
                  view_cause(reason, &adoption->asker));
    refuse(adoption->done, adoption->arg, status, "%s", reason);
    adoption_free(adoption);
}

/* ---- the commit ---- */

static void apply_records(struct adoption *adoption)
{
    struct registry *registry = adoption->conductor->options.registry;
    struct err err;
    bool ok = registry_apply(registry, &adoption->world, NULL, &err);
    for (size_t i = 0; ok && i < adoption->resolved; i++)
        ok = registry_apply(registry, &adoption->newcomers[i].record, NULL, &err);
    if (!ok) {
        log_error("a record that was allowed is not: %s", err.text);
        abort();
    }
}

static void log_warnings(const json_t *warnings)
{
    size_t i;
    const json_t *warning;
    json_array_foreach (warnings, i, warning)
        log_warn("%s", json_string_value(warning));
}

/* It is told when the proxy has it, so that who hears of it finds it so. */
static void in_force(void *arg, const struct outcome *outcome)
{
    struct adoption *adoption = arg;
    json_t *more = view_cause(NULL, &adoption->asker);
    (void)outcome;
    log_info("the config is taken up anew");
    log_warnings(adoption->warnings);
    if (json_array_size(adoption->warnings) > 0)
        json_object_set(more, "warnings", adoption->warnings);
    event_log_add(adoption->conductor->options.events, "config.reloaded", NULL, NULL, more);
    answer(adoption->done, adoption->arg, 200,
           json_pack("{s:b, s:I, s:O}", "reloaded", true, "snapshot", (json_int_t)adoption->world.world,
                     "warnings", adoption->warnings));
    adoption_free(adoption);
}

/* The proxy starts only after this. */
static void begin_with(struct adoption *adoption)
{
    struct conductor *conductor = adoption->conductor;
    answer(adoption->done, adoption->arg, 200, json_object());
    adoption_free(adoption);
    effects_resume(conductor);
}

static void commit(struct adoption *adoption)
{
    struct conductor *conductor = adoption->conductor;
    if (!adoption->is_first)
        adoption->warnings = warnings_of(adoption->config, conductor->config, conductor->options.registry);
    config_free(conductor->config);
    conductor->config = adoption->config;
    world_stir(conductor->world, conductor->config, NULL);
    course_hold_on(conductor);
    adoption->config = NULL;
    sockets_commit(conductor->options.sockets);
    conductor->options.configured(conductor->options.arg, conductor->config,
                                  (struct str){adoption->text, adoption->text_size});
    sockets_settle(conductor->options.sockets);
    world_access_log(conductor->world, adoption->access_log);
    adoption->access_log = -1;
    conductor_publish(conductor, NULL, adoption->world.world, clock_mono_ns());
    if (adoption->is_first)
        begin_with(adoption);
    else
        answer_when_published(conductor, adoption->world.world, in_force, adoption, NULL);
}

/* The number of a world alone is not worth an outage: a proxy that knows a higher one says so. */
static bool can_go_on(const struct adoption *adoption)
{
    return adoption->error == 0 || (adoption->is_first && adoption->resolved == 0);
}

static void on_durable(void *arg, struct record *record, int error)
{
    struct adoption *adoption = arg;
    (void)record;
    if (error != 0)
        adoption->error = error;
    if (--adoption->waiting > 0)
        return;
    char *reason = journal_failure(adoption->conductor->options.journal, adoption->error);
    if (can_go_on(adoption)) {
        if (adoption->error == 0)
            apply_records(adoption);
        else
            log_error("%s", reason);
        commit(adoption);
    } else {
        refuse_all(adoption, 507, reason);
    }
    free(reason);
}

/* A newcomer that somebody has staged meanwhile, or whose first pool is on its way to the journal: that one
 * comes first, and an older one must not follow it. */
static const struct config_service *find_staged(const struct adoption *adoption)
{
    struct conductor *conductor = adoption->conductor;
    for (size_t i = 0; i < adoption->resolved; i++) {
        const struct config_service *service = adoption->newcomers[i].service;
        const struct course *course = course_find(conductor, service->name);
        if (registry_has_pools(conductor->options.registry, service->name) ||
            (course != NULL && course->current != NULL))
            return service;
    }
    return NULL;
}

/* What ends the move of a pool in this state. */
static const char *end_of_move(enum pool_state state)
{
    switch (state) {
    case POOL_STAGED:
        return "wait for its deployment, or abort it";
    case POOL_ARMED:
        return "wait until the watch of what replaced it ends, or end that with promote or rollback";
    default:
        return "wait until it has drained";
    }
}

/* A service whose pools are on the move needs its settings. */
static bool keeps_what_moves(const struct adoption *adoption, struct err *err)
{
    struct conductor *conductor = adoption->conductor;
    const struct config *config = adoption->config;
    struct pool *pool, *next;
    if (adoption->is_first)
        return true;
    HASH_ITER(hh, conductor->options.registry->pools, pool, next)
    {
        const char *service = pool->service->name;
        bool moves = pool->state == POOL_STAGED || pool->state == POOL_ARMED || pool->state == POOL_DRAINING;
        if (moves && conductor_settings(conductor, service) != NULL &&
            config_service(config, str_of(service)) == NULL)
            return err_set(err, "%s: service \"%s\" cannot be removed while its pool %s is %s; %s",
                           config->path, service, pool->name, pool_state_names[pool->state],
                           end_of_move(pool->state));
    }
    return true;
}

/* Stopping is under way there, and what is asked for next is to stay. At the start there is no choice:
 * whoever tears down looks again. */
static bool check_going(const struct adoption *adoption, struct err *err)
{
    const struct registry *registry = adoption->conductor->options.registry;
    for (size_t i = 0; i < adoption->resolved && !adoption->is_first; i++) {
        const struct pool *fresh = adoption->newcomers[i].record.fresh, *pool;
        for (size_t k = 0; k < fresh->instance_count; k++) {
            const struct instance *going = registry_going(registry, &fresh->instances[k], &pool);
            if (going != NULL && going->state == INSTANCE_RETIRED)
                return err_set(
                    err,
                    "%s:%u: service \"%s\": \"%s\" is being torn down with pool %s; wait until that "
                    "is done, or use another address",
                    adoption->config->path, adoption->newcomers[i].service->line,
                    adoption->newcomers[i].service->name, fresh->instances[k].address, pool->name);
        }
    }
    return true;
}

/* The line on which the config asks for the socket with this address. */
static unsigned line_of_socket(const struct config *config, const char *address)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (strcmp(listener->text, address) == 0)
            return places_line(config->places, &listener->text, listener->line);
    }
    const struct config_admin *admin = &config->admin;
    const void *field = strcmp(admin->socket, address) == 0 ? &admin->socket : &admin->listen;
    return places_line(config->places, field, 1);
}

/* Is no instance of the pool where that config would have upswap listen, as it does not yet? */
static bool keeps_instances(const struct adoption *adoption, const struct pool *pool, struct err *err)
{
    const struct config *config = adoption->config;
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *instance = &pool->instances[i];
        const char *own =
            sockets_reached(adoption->conductor->options.sockets, instance->resolved, SOCKETS_NEW);
        if (own != NULL)
            return err_set(err,
                           "%s:%u: %s is where instance \"%s\" of pool %s is, which is %s: upswap would send "
                           "requests to itself; listen on another address, or deploy other instances first",
                           config->path, line_of_socket(config, own), own, instance->address, pool->name,
                           pool_state_names[pool->state]);
    }
    return true;
}

/* May requests be sent there, by that config? */
static bool is_sent_requests(const struct adoption *adoption, const struct pool *pool)
{
    return (pool->state == POOL_STAGED || pool->state == POOL_LIVE || pool->state == POOL_ARMED) &&
           config_service(adoption->config, str_of(pool->service->name)) != NULL;
}

/* At a start it is too late to choose: it goes on with what was live. */
static bool keeps_out_of_pools(const struct adoption *adoption, struct err *err)
{
    struct pool *pool, *next;
    if (adoption->is_first)
        return true;
    HASH_ITER(hh, adoption->conductor->options.registry->pools, pool, next)
    {
        if (is_sent_requests(adoption, pool) && !keeps_instances(adoption, pool, err))
            return false;
    }
    return true;
}

/* All in one turn of the loop, so that they are one write: all of them are on disk, or none. The world is
 * numbered here, since records come back in the order in which they are given, and versions may only grow. */
static void write_records(struct adoption *adoption)
{
    struct conductor *conductor = adoption->conductor;
    const struct config_service *staged = find_staged(adoption);
    struct err err;
    if (staged != NULL) {
        err_set(&err, "%s:%u: service \"%s\" is being staged for the first time; reload again",
                adoption->config->path, staged->line, staged->name);
        refuse_all(adoption, 409, err.text);
        return;
    }
    /* What has begun to move while names were looked up. */
    if (!check_going(adoption, &err) || !keeps_what_moves(adoption, &err) ||
        !keeps_out_of_pools(adoption, &err)) {
        refuse_all(adoption, 422, err.text);
        return;
    }
    adoption->world.world = world_next(conductor->world);
    adoption->waiting = 1 + adoption->resolved;
    journal_append(conductor->options.journal, &adoption->world, on_durable, adoption);
    for (size_t i = 0; i < adoption->resolved; i++)
        journal_append(conductor->options.journal, &adoption->newcomers[i].record, on_durable, adoption);
}

/* ---- first pools ---- */

/* Two names of one instance: each would be taken for the other's holder, and neither torn down. */
static bool check_twins(const struct pool *pool, struct err *err)
{
    for (size_t i = 0; i < pool->instance_count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(pool->instances[i].resolved, pool->instances[k].resolved) == 0)
                return err_set(err,
                               "instances \"%s\" and \"%s\" are one and the same; name each instance once",
                               pool->instances[k].address, pool->instances[i].address);
        }
    }
    return true;
}

static bool check_own(const struct adoption *adoption, const struct config_service *service,
                      const struct pool *pool, struct err *err)
{
    const struct config *config = adoption->config;
    for (size_t i = 0; i < pool->instance_count; i++) {
        const char *own = sockets_reached(adoption->conductor->options.sockets, pool->instances[i].resolved,
                                          SOCKETS_WANTED);
        if (own != NULL)
            return err_set(err,
                           "%s:%u: service \"%s\": instance \"%s\" is upswap itself, which listens on %s; "
                           "name the address where the app listens",
                           config->path,
                           places_line(config->places, &service->instances.items[i], service->line),
                           service->name, pool->instances[i].address, own);
    }
    return true;
}

/* Puts the place of the service before the sentence. Returns false. */
static bool at_service(const struct adoption *adoption, const struct config_service *service, struct err *err)
{
    return err_prefix(err, "%s:%u: service \"%s\"", adoption->config->path, service->line, service->name);
}

static bool make_first_pool(struct adoption *adoption, struct newcomer *newcomer,
                            const struct probe_target *targets, struct err *err)
{
    const struct config_service *service = newcomer->service;
    char *name = mem_printf("%s-0", service->name);
    struct pool *pool = pool_new(name, "", service->instances.count);
    free(name);
    pool->state = POOL_LIVE;
    pool->was_live = true;
    for (size_t i = 0; i < pool->instance_count; i++) {
        pool->instances[i].address = mem_dup(service->instances.items[i]);
        pool->instances[i].weight = service->weights[i];
        pool->instances[i].resolved = sockaddr_target(&targets[i].address);
        pool->instances[i].state = INSTANCE_UP;
    }
    bool is_fine = (check_twins(pool, err) || at_service(adoption, service, err)) &&
                   check_own(adoption, service, pool, err) &&
                   (slotting_give(adoption->conductor, pool, err) || at_service(adoption, service, err));
    if (!is_fine) {
        pool_free(pool);
        return false;
    }
    newcomer->record.fresh = pool;
    newcomer->record.service = mem_dup(service->name);
    return true;
}

static void resolve_next(struct adoption *adoption);

static void on_resolved(void *arg, const struct probe_target *targets, const char *reason)
{
    struct adoption *adoption = arg;
    struct newcomer *newcomer = &adoption->newcomers[adoption->resolved];
    struct err err;
    adoption->resolve = NULL;
    if (targets == NULL) {
        err_set(&err, "%s", reason);
        at_service(adoption, newcomer->service, &err);
    }
    if (targets != NULL && make_first_pool(adoption, newcomer, targets, &err)) {
        adoption->resolved++;
        resolve_next(adoption);
        return;
    }
    refuse_all(adoption, 422, err.text);
}

static void resolve_next(struct adoption *adoption)
{
    if (adoption->resolved == adoption->count) {
        write_records(adoption);
        return;
    }
    const struct config_list *instances = &adoption->newcomers[adoption->resolved].service->instances;
    adoption->resolve =
        resolve_start(adoption->conductor->options.loop, (const char *const *)instances->items,
                      instances->count, on_resolved, adoption);
}

static void find_newcomers(struct adoption *adoption)
{
    const struct config *config = adoption->config;
    adoption->newcomers = mem_zero(config->service_count, sizeof *adoption->newcomers);
    for (size_t i = 0; i < config->service_count; i++) {
        const struct config_service *service = &config->services[i];
        if (service->instances.count == 0 ||
            registry_has_pools(adoption->conductor->options.registry, service->name))
            continue;
        struct newcomer *newcomer = &adoption->newcomers[adoption->count++];
        newcomer->service = service;
        record_init(&newcomer->record, RECORD_POOL, NULL);
    }
}

/* ---- checks ---- */

static bool refuse_change(const struct config *config, const void *field, const char *key, struct err *err)
{
    return err_set(err, "%s:%u: \"%s\" cannot change while the daemon runs; put it back, or start anew",
                   config->path, places_line(config->places, field, 1), key);
}

static bool keeps_what_is_fixed(const struct config *old, const struct config *config, struct err *err)
{
    if (old->workers != config->workers)
        return refuse_change(config, &config->workers, "workers", err);
    if (!str_is_same(old->user, config->user))
        return refuse_change(config, &config->user, "user", err);
    if (!str_is_same(old->state_directory, config->state_directory))
        return refuse_change(config, &config->state_directory, "state_directory", err);
    return true;
}

/* A control that takes the place of another in a daemon that serves does not fail for want of a log: the
 * proxy has the one before, as long as it lives. */
static bool open_access_log(struct adoption *adoption, struct err *err)
{
    bool serves = adoption->is_first && adoption->conductor->options.has_served;
    if (access_log_open(adoption->config, &adoption->access_log, err))
        return true;
    if (serves)
        log_warn(
            "%s; until then nothing is written but what the proxy still has open: reload when it is done",
            err->text);
    return serves;
}

static bool check(struct adoption *adoption, struct err *err)
{
    struct conductor *conductor = adoption->conductor;
    if (conductor->config != NULL &&
        (!keeps_what_is_fixed(conductor->config, adoption->config, err) || !keeps_what_moves(adoption, err)))
        return false;
    return world_allows(conductor->world, adoption->config, err) &&
           conductor->options.acceptable(conductor->options.arg, adoption->config, err) &&
           open_access_log(adoption, err) &&
           sockets_prepare(conductor->options.sockets, adoption->config, err);
}

bool adopt_is_numbered(const struct conductor *conductor)
{
    return conductor->adoption != NULL && conductor->adoption->world.world > 0;
}

void adopt_make_way(struct conductor *conductor, const char *version)
{
    struct adoption *adoption = conductor->adoption;
    struct err err;
    if (adoption == NULL || adoption->is_first || adoption->done == NULL || adopt_is_numbered(conductor))
        return;
    resolve_cancel(adoption->resolve);
    err_set(&err, "version %s takes over before the reload is done; reload again when it serves", version);
    refuse_all(adoption, 409, err.text);
}

void adopt(struct conductor *conductor, struct config *config, struct str text, const struct asker *asker,
           outcome_fn done, void *arg)
{
    struct err err;
    struct adoption *adoption = mem_zero(1, sizeof *adoption);
    adoption->conductor = conductor;
    adoption->config = config;
    adoption->access_log = -1;
    adoption->text = str_dup(text);
    adoption->text_size = text.n;
    adoption->is_first = conductor->config == NULL;
    adoption->done = done;
    adoption->arg = arg;
    if (asker != NULL)
        adoption->asker = *asker;
    conductor->adoption = adoption;
    record_init(&adoption->world, RECORD_WORLD, NULL);
    record_set_why(&adoption->world, adoption->is_first ? "started" : "reloaded");
    find_newcomers(adoption);
    if (!check(adoption, &err)) {
        refuse_all(adoption, 422, err.text);
        return;
    }
    resolve_next(adoption);
}
