/* conductor.c makes the conductor, and answers what others want to know of it. What it does is in steps,
 * stage, commands, adopt, course and effects. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/conduct.h"

#include <stdlib.h>

#define NS_PER_S 1000000000ULL
#define KEYS_LOOK_MS 3600000 /* between looks at the age of the key that signs cookies */
#define NEWS_AGAIN_MS 5

const struct config_service *conductor_settings(const struct conductor *conductor, const char *service)
{
    return conductor->config == NULL ? NULL : config_service(conductor->config, str_of(service));
}

/* Who looks at what instances and their clients do hears of a service (NULL: of all) that has changed. */
static void tell_watchers(struct conductor *conductor, const struct service *service)
{
    pauses_watch(conductor->pauses, service);
    trail_watch(conductor->trail, service);
    health_watch(conductor->health, service);
    ejections_watch(conductor->ejections, service);
    schedule_watch(conductor->schedule, service);
}

/* Who fails its uptests is out while another could serve, which the checks may have changed. */
static void ask_who_is_out(struct conductor *conductor)
{
    if (conductor->moved != NULL)
        schedule_watch(conductor->schedule, conductor->more_moved ? NULL : conductor->moved);
    conductor->moved = NULL;
    conductor->more_moved = false;
}

/* The one way to send a world. */
static void publish(struct conductor *conductor, uint64_t version, uint64_t decided_ns)
{
    ask_who_is_out(conductor);
    world_publish(conductor->world, conductor->config, version, decided_ns);
}

void conductor_publish(struct conductor *conductor, const struct service *service, uint64_t version,
                       uint64_t decided_ns)
{
    tell_watchers(conductor, service);
    publish(conductor, version, decided_ns);
}

/* ---- what the parts tell ---- */

static const struct config_service *on_settings(void *arg, const char *service)
{
    return conductor_settings(arg, service);
}

/* Where some clients come by TLS and some do not, the answer that is worth something is the one for TLS: apps
 * often send the others there, whatever their state. */
static bool on_https(void *arg, const struct config_service *service)
{
    const struct conductor *conductor = arg;
    bool https = service->redirect_https;
    for (size_t i = 0; i < conductor->config->listener_count; i++)
        https |= conductor->config->listeners[i].tls.line != 0;
    return https;
}

static void forget_event(struct step *step, bool used)
{
    (void)used;
    json_decref(step->data);
}

static void on_torn_down(void *arg, const char *pool_name, size_t instance, enum teardown_end end,
                         json_t *event)
{
    struct conductor *conductor = arg;
    const struct pool *pool = registry_pool(conductor->options.registry, pool_name);
    struct step *step = step_new(course_of(conductor, pool->service->name), RECORD_TORN_DOWN, pool_name);
    record_add_instance(&step->record, instance);
    step->record.end = end;
    step->data = event;
    step->release = forget_event;
    step_submit(step);
}

static void retired(struct step *step, bool used)
{
    (void)used;
    step->course->conductor->retiring--;
}

/* What a service that is not configured any more had as live serves nobody, and keeps no address from others'
 * ends. */
static bool counts(void *arg, const struct pool *pool)
{
    return pool->state == POOL_DRAINING || conductor_settings(arg, pool->service->name) != NULL;
}

static bool is_held(struct conductor *conductor, const struct instance *instance)
{
    return registry_shares_address(conductor->options.registry, instance, counts, conductor);
}

static bool on_held(void *arg, const char *pool, size_t instance)
{
    const struct conductor *conductor = arg;
    return is_held(arg, &registry_pool(conductor->options.registry, pool)->instances[instance]);
}

/* Those whose address somebody else holds are left alone, the others torn down: a record each. */
static void retire(struct conductor *conductor, struct pool *pool, const size_t *instances, size_t count,
                   bool forced, bool left)
{
    struct step *step = step_new(course_of(conductor, pool->service->name), RECORD_RETIRED, pool->name);
    step->record.forced = forced;
    step->record.left = left;
    step->release = retired;
    conductor->retiring++;
    for (size_t i = 0; i < count; i++) {
        const struct instance *instance = &pool->instances[instances[i]];
        if (is_held(conductor, instance) == left)
            record_add_instance(&step->record, instances[i]);
    }
    /* Without instances it is not allowed, and dropped. */
    step_submit(step);
}

static void announce_swap(struct conductor *conductor, const struct course *course, uint64_t ns)
{
    const struct pool *pool = registry_pool(conductor->options.registry, course->changed);
    bool is_back = strcmp(course->live, course->changed) != 0;
    const char *replaces = is_back ? course->changed : pool->deployment->replaces;
    uint64_t taken = ns > course->change_decided_ns ? ns - course->change_decided_ns : 0;
    uint64_t written = course->change_written_ns - course->change_decided_ns;
    log_info("%s: live since version %llu", course->live, (unsigned long long)course->change_version);
    event_log_add(conductor->options.events, "swap.published", course->service, course->changed,
                  json_pack("{s:I, s:I, s:I, s:s, s:s*}", "nanoseconds", (json_int_t)taken,
                            "written_nanoseconds", (json_int_t)written, "snapshot",
                            (json_int_t)course->change_version, "live", course->live, "replaces", replaces));
}

static void announce_change(struct conductor *conductor, struct course *course, uint64_t ns)
{
    if (course->live != NULL)
        announce_swap(conductor, course, ns);
    if (course->leaves != NULL) {
        const struct pool *pool = registry_pool(conductor->options.registry, course->leaves);
        event_log_add(conductor->options.events, "drain.started", course->service, course->leaves,
                      json_pack("{s:s*}", "by", pool->replaced_by));
    }
    course_forget_change(course);
}

static void on_drained(void *arg, struct pool *pool, const size_t *instances, size_t count, bool forced)
{
    struct conductor *conductor = arg;
    struct course *course = course_of(conductor, pool->service->name);
    /* The counters may say sooner than the proxy does that it is published. */
    if (str_is_same(course->leaves, pool->name))
        announce_change(conductor, course, clock_mono_ns());
    if (conductor->retiring > 0)
        return;
    conductor->retiring++;
    retire(conductor, pool, instances, count, forced, true);
    retire(conductor, pool, instances, count, forced, false);
    conductor->retiring--;
}

static void on_published(void *arg, uint64_t version, uint64_t ns)
{
    struct conductor *conductor = arg;
    struct course *course, *next;
    for (course = LIST_FIRST(&conductor->changing); course != NULL; course = next) {
        next = LIST_NEXT(course, of_changing);
        if (version >= course->change_version)
            announce_change(conductor, course, ns != 0 ? ns : clock_mono_ns());
    }
    answer_published(conductor, version);
    if (!conductor->serving) {
        conductor->serving = true;
        conductor->options.serving(conductor->options.arg);
    }
    if (conductor->config != NULL)
        effects_finish(conductor);
}

/* A number that a record has taken is published when the record is on disk: none may be given out and
 * published before it, or the proxy would refuse that world as an old one. A config that is being taken up
 * takes its own only when all names are looked up. */
static bool is_number_taken(const struct conductor *conductor)
{
    return conductor->numbered > 0 || adopt_is_numbered(conductor);
}

/* Of health, of pins, of keys; and of services whose watchers have been told. */
static bool on_news(void *arg)
{
    struct conductor *conductor = arg;
    if (conductor->config == NULL || is_number_taken(conductor))
        return false;
    publish(conductor, world_next(conductor->world), clock_mono_ns());
    return true;
}

/* Of instances of one service. */
static void on_moved(void *arg, const char *service)
{
    struct conductor *conductor = arg;
    world_stir(conductor->world, conductor->config, service);
}

static void on_checked(void *arg, const char *name)
{
    struct conductor *conductor = arg;
    const struct service *service = registry_service(conductor->options.registry, name);
    conductor->more_moved |= conductor->moved != NULL && conductor->moved != service;
    conductor->moved = service;
    on_moved(conductor, name);
}

/* Of any service. */
static bool on_unpin(void *arg)
{
    on_moved(arg, NULL);
    return on_news(arg);
}

static bool on_is_busy(void *arg, const char *service)
{
    const struct conductor *conductor = arg;
    const struct course *course = course_find(arg, service);
    const struct service *found = registry_service(conductor->options.registry, service);
    bool gates = course != NULL && course->gate != NULL;
    bool swaps = found != NULL && found->running != NULL && deployment_takes_over(found->running);
    return gates || swaps || watch_is_testing(conductor->watch, service);
}

static void on_testing(void *arg, const char *service)
{
    const struct conductor *conductor = arg;
    schedule_yield(conductor->schedule, service);
}

static void on_standing(void *arg)
{
    struct conductor *conductor = arg;
    health_tell(conductor->health);
}

static void tell_news(struct deadline *deadline)
{
    struct conductor *conductor = mem_container(deadline, struct conductor, news);
    if (!on_news(conductor))
        deadline_set(&conductor->news, NEWS_AGAIN_MS);
}

static void tell_soon(struct conductor *conductor)
{
    if (!deadline_is_set(&conductor->news))
        deadline_set(&conductor->news, 0);
}

void conductor_tell(struct conductor *conductor, const struct service *service)
{
    tell_watchers(conductor, service);
    tell_soon(conductor);
}

/* The proxy may have a world of a number that is not below that of the last one, nor perhaps of one that a
 * record has taken: the next is above both. */
static void on_again(void *arg, uint64_t pause_ms)
{
    struct conductor *conductor = arg;
    if (!deadline_is_set(&conductor->news))
        deadline_set(&conductor->news, pause_ms);
}

static void on_keys(struct deadline *deadline)
{
    struct conductor *conductor = mem_container(deadline, struct conductor, keys);
    if (secrets_turn(conductor->options.secrets, clock_steady_ns() / NS_PER_S))
        tell_soon(conductor);
    deadline_set(&conductor->keys, KEYS_LOOK_MS);
}

/* ---- its life ---- */

/* Those who look at what the proxy and the instances do. */
static void make_watchers(struct conductor *conductor)
{
    const struct conductor_options *options = &conductor->options;
    conductor->drain = drain_new(&(struct drain_options){
        .loop = options->loop,
        .registry = options->registry,
        .counters = options->counters,
        .drained = on_drained,
        .unpin = on_unpin,
        .arg = conductor,
    });
    conductor->health = health_new(&(struct health_options){
        .loop = options->loop,
        .registry = options->registry,
        .counters = options->counters,
        .events = options->events,
        .proxy = options->proxy,
        .settings = on_settings,
        .https = on_https,
        .moved = on_checked,
        .publish = on_news,
        .arg = conductor,
    });
    conductor->ejections = ejections_new(&(struct ejections_options){
        .loop = options->loop,
        .registry = options->registry,
        .counters = options->counters,
        .events = options->events,
        .settings = on_settings,
        .arg = conductor,
    });
}

/* What new pools are judged by. */
static void make_judges(struct conductor *conductor)
{
    const struct conductor_options *options = &conductor->options;
    conductor->trail = trail_new(&(struct trail_options){
        .loop = options->loop,
        .registry = options->registry,
        .counters = options->counters,
        .settings = on_settings,
        .arg = conductor,
    });
    conductor->watch = watch_new(&(struct watch_options){
        .loop = options->loop,
        .registry = options->registry,
        .counters = options->counters,
        .archive = options->archive,
        .trail = conductor->trail,
        .health = conductor->health,
        .ejections = conductor->ejections,
        .settings = on_settings,
        .testing = on_testing,
        .found = course_found,
        .arg = conductor,
    });
}

/* Those who make what was decided happen. */
static void make_doers(struct conductor *conductor)
{
    const struct conductor_options *options = &conductor->options;
    conductor->schedule = schedule_new(&(struct schedule_options){
        .loop = options->loop,
        .registry = options->registry,
        .counters = options->counters,
        .events = options->events,
        .ejections = conductor->ejections,
        .settings = on_settings,
        .is_busy = on_is_busy,
        .moved = on_moved,
        .changed = on_standing,
        .arg = conductor,
    });
    conductor->recent = recent_new(options->loop, options->registry, options->counters);
    conductor->pauses = pauses_new(&(struct pauses_options){
        .loop = options->loop,
        .registry = options->registry,
        .counters = options->counters,
        .over = modes_over,
        .arg = conductor,
    });
    conductor->world = world_new(&(struct world_options){
        .loop = options->loop,
        .proxy_fd = options->proxy_fd,
        .registry = options->registry,
        .sockets = options->sockets,
        .drain = conductor->drain,
        .health = conductor->health,
        .pauses = conductor->pauses,
        .secrets = options->secrets,
        .counters = options->counters,
        .counters_fd = options->counters_fd,
        .finishing = options->finishing,
        .generation = options->generation,
        .proxy_pid = options->proxy_pid,
        .published = on_published,
        .again = on_again,
        .renew = on_news,
        .arg = conductor,
    });
    conductor->teardown = teardown_new(&(struct teardown_options){
        .loop = options->loop,
        .events = options->events,
        .processes = conductor->processes,
        .settings = on_settings,
        .held = on_held,
        .ended = on_torn_down,
        .arg = conductor,
    });
}

static void run_reloading(struct loop_deferred *deferred)
{
    conductor_reload(mem_container(deferred, struct conductor, reloading), NULL, NULL, NULL);
}

struct conductor *conductor_new(const struct conductor_options *options)
{
    struct conductor *conductor = mem_zero(1, sizeof *conductor);
    conductor->options = *options;
    LIST_INIT(&conductor->waiting);
    LIST_INIT(&conductor->changing);
    conductor->processes = processes_new();
    conductor->pool_slots = slots_new(COUNTERS_POOLS);
    conductor->instance_slots = slots_new(COUNTERS_INSTANCES);
    slotting_restore(conductor);
    deadline_init(&conductor->news, options->loop, tell_news);
    deadline_init(&conductor->keys, options->loop, on_keys);
    conductor->reloading.run = run_reloading;
    deadline_set(&conductor->keys, KEYS_LOOK_MS);
    make_watchers(conductor);
    make_judges(conductor);
    make_doers(conductor);
    return conductor;
}

void conductor_begin(struct conductor *conductor, struct config *config, struct str text, outcome_fn done,
                     void *arg)
{
    /* What a proxy before this process still holds is not known: no slot is used again before the first world
     * of this one has come through. */
    uint64_t first = world_next(conductor->world);
    slots_distrust(conductor->pool_slots, first);
    slots_distrust(conductor->instance_slots, first);
    adopt(conductor, config, text, NULL, done, arg);
}

void conductor_stop(struct conductor *conductor)
{
    struct course *course, *next;
    conductor->stopping = true;
    schedule_stop(conductor->schedule);
    HASH_ITER(hh, conductor->courses, course, next)
    {
        course_stop(course);
    }
}

void conductor_proxy_started(struct conductor *conductor, int32_t pid)
{
    world_proxy_started(conductor->world, pid);
}

void conductor_proxy_ended(struct conductor *conductor, int32_t pid)
{
    world_proxy_ended(conductor->world, pid);
}

void conductor_keyring(struct conductor *conductor, int fd)
{
    world_keyring(conductor->world, fd);
    health_keyring(conductor->health, fd);
}

void conductor_reopen(struct conductor *conductor)
{
    struct err err;
    int fd;
    if (conductor->config == NULL)
        return;
    if (access_log_open(conductor->config, &fd, &err))
        world_access_log(conductor->world, fd);
    else
        log_error("%s", err.text);
}

/* ---- for others ---- */

const struct config *conductor_config(struct conductor *conductor)
{
    return conductor->config;
}

struct counters *conductor_counters(struct conductor *conductor)
{
    return conductor->options.counters;
}

const struct past *conductor_past(struct conductor *conductor)
{
    return &conductor->past;
}

uint64_t conductor_waiting(struct conductor *conductor, const struct service *service)
{
    return pauses_waiting(conductor->pauses, service);
}

const struct registry *conductor_registry(struct conductor *conductor)
{
    return conductor->options.registry;
}

const char *conductor_instance_state(struct conductor *conductor, const struct pool *pool,
                                     const struct instance *instance)
{
    if (instance->state == INSTANCE_UP && health_is_down(conductor->health, instance))
        return "down";
    if (instance->state == INSTANCE_UP && ejections_is_out(conductor->ejections, pool, instance))
        return "ejected";
    if (instance->state == INSTANCE_UP && health_is_held_out(conductor->health, instance))
        return "ejected";
    return instance_state_shown(instance->state);
}

struct schedule_tally conductor_scheduled(struct conductor *conductor, const char *service)
{
    return schedule_tally(conductor->schedule, service);
}

uint64_t conductor_snapshot_version(struct conductor *conductor)
{
    return world_published(conductor->world);
}

void conductor_listeners(struct conductor *conductor, const char *addresses[COUNTERS_LISTENERS])
{
    const struct sockets *sockets = conductor->options.sockets;
    memset(addresses, 0, COUNTERS_LISTENERS * sizeof *addresses);
    for (size_t i = 0; i < sockets_count(sockets); i++) {
        const struct listening *listening = sockets_at(sockets, i);
        addresses[listening->id] = listening->bound;
    }
}

int64_t conductor_certificates_end(struct conductor *conductor, unsigned listener)
{
    return credentials_end(conductor->options.credentials, listener);
}

uint64_t conductor_journal_failures(struct conductor *conductor)
{
    return journal_failures(conductor->options.journal);
}

bool conductor_live_instances(struct conductor *conductor, const char *name, const char ***instances,
                              size_t *count, const char **release)
{
    if (conductor_settings(conductor, name) == NULL)
        return false;
    const struct service *service = registry_service(conductor->options.registry, name);
    const struct pool *live = service == NULL ? NULL : service->live;
    *count = live == NULL ? 0 : live->instance_count;
    *release = live == NULL ? "" : live->release;
    *instances = mem_zero(*count, sizeof **instances);
    for (size_t i = 0; live != NULL && i < live->instance_count; i++)
        (*instances)[i] = live->instances[i].address;
    return true;
}

void conductor_no_service(struct conductor *conductor, const char *service, struct err *err)
{
    const struct config *config = conductor->config;
    const char **names = mem_zero(config->service_count, sizeof *names);
    for (size_t i = 0; i < config->service_count; i++)
        names[i] = config->services[i].name;
    const char *nearest = str_nearest(str_of(service), names, config->service_count);
    if (nearest != NULL)
        err_set(err, "no service \"%s\"; did you mean \"%s\"?", service, nearest);
    else
        err_set(err, "no service \"%s\"; `upswap status` lists those that there are", service);
    free(names);
}

void conductor_no_deployment(struct conductor *conductor, const char *deployment, struct err *err)
{
    const struct registry *registry = conductor->options.registry;
    const char **names = mem_zero(HASH_COUNT(registry->pools), sizeof *names);
    size_t count = 0;
    struct pool *pool, *next;
    HASH_ITER(hh, registry->pools, pool, next)
    {
        if (pool->deployment != NULL)
            names[count++] = pool->name;
    }
    const char *nearest = str_nearest(str_of(deployment), names, count);
    if (nearest != NULL)
        err_set(err, "no deployment \"%s\"; did you mean \"%s\"?", deployment, nearest);
    else
        err_set(err, "no deployment \"%s\"; `upswap history SERVICE` lists those that there are", deployment);
    free(names);
}
