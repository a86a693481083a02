/* apply: the one door through which the registry changes. Each type of record has a check, which changes
 * nothing, and an act, which cannot fail once its check has passed. */
#include "base/mem.h"
#include "deploy/places.h"
#include "deploy/record.h"
#include "deploy/registry.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- a pool ---- */

/* A launch begins with none, and may end so. */
static bool may_be_empty(const struct pool *pool)
{
    return pool->state == POOL_RETIRED ||
           (pool->deployment != NULL && pool->deployment->state == DEPLOYMENT_LAUNCHING);
}

static bool check_pool(const struct registry *registry, const struct record *record, struct err *err)
{
    const struct pool *pool = record->fresh;
    struct str name;
    uint64_t number;
    if (!pool_name_parse(str_of(pool->name), &name, &number) || !str_equal(name, str_of(record->service)))
        return err_set(err, "\"%s\" is no name for a pool of service \"%s\"", pool->name, record->service);
    if (pool->instance_count == 0 && !may_be_empty(pool))
        return err_set(err, "pool %s has no instances", pool->name);
    const struct service *service = registry_service(registry, record->service);
    if (!pool_is_sound(pool, service, err))
        return false;
    if (service == NULL || TAILQ_EMPTY(&service->pools))
        return true;
    if (number <= service->last_number)
        return err_set(err, "pool %s is older than %s-%" PRIu64 ", which is there already", pool->name,
                       service->name, service->last_number);
    if (pool->state == POOL_LIVE && service->live != NULL)
        return err_set(err, "pool %s cannot be live, since %s is", pool->name, service->live->name);
    if (pool->state == POOL_ARMED && service->armed != NULL)
        return err_set(err, "pool %s cannot be armed, since %s is", pool->name, service->armed->name);
    if (pool->deployment != NULL && deployment_state_is_running(pool->deployment->state) &&
        service->running != NULL)
        return err_set(err, "deployment %s cannot run, since %s does", pool->name,
                       service->running->pool->name);
    return true;
}

static struct service *service_of(struct registry *registry, const char *name)
{
    struct service *service = registry_service(registry, name);
    if (service == NULL) {
        service = mem_zero(1, sizeof *service);
        service->name = mem_dup(name);
        TAILQ_INIT(&service->pools);
        HASH_ADD_KEYPTR(hh, registry->services, service->name, strlen(service->name), service);
    }
    return service;
}

/* When its state began, of a record that does not say so. */
static uint64_t last_moment_ns(const struct deployment *deployment)
{
    size_t count = deployment->timeline_count;
    return count == 0 ? deployment->created_ns : deployment->timeline[count - 1].time_ns;
}

static void act_pool(struct registry *registry, struct record *record)
{
    struct pool *pool = record->fresh;
    struct service *service = service_of(registry, record->service);
    struct str ignored;
    bool named = pool_name_parse(str_of(pool->name), &ignored, &pool->number);
    assert(named);
    record->fresh = NULL;
    pool->service = service;
    if (pool->deployment != NULL && pool->deployment->since_ns == 0)
        pool->deployment->since_ns = last_moment_ns(pool->deployment);
    service->last_number = pool->number;
    TAILQ_INSERT_TAIL(&service->pools, pool, of_service);
    HASH_ADD_KEYPTR(hh, registry->pools, pool->name, strlen(pool->name), pool);
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (pool->instances[i].id > registry->last_instance)
            registry->last_instance = pool->instances[i].id;
        if (pool->instances[i].state != INSTANCE_TORN_DOWN)
            places_enter(registry, pool, i);
    }
    if (pool->state == POOL_DRAINING)
        TAILQ_INSERT_TAIL(&registry->going, pool, of_going);
    if (pool->deployment != NULL && pool->deployment->state == DEPLOYMENT_DRAINING)
        TAILQ_INSERT_TAIL(&registry->finishing, pool->deployment, of_finishing);
    if (pool->state == POOL_LIVE) {
        pool->was_live = true;
        service->live = pool;
    }
    if (pool->state == POOL_ARMED)
        service->armed = pool;
    if (pool->deployment != NULL && deployment_state_is_running(pool->deployment->state))
        service->running = pool->deployment;
}

/* ---- an event of a deployment ---- */

static struct pool *pool_of(const struct registry *registry, const struct record *record, struct err *err)
{
    struct pool *pool = registry_pool(registry, record->pool);
    if (pool == NULL)
        err_set(err, "there is no pool %s", record->pool);
    return pool;
}

static bool check_swap(const struct pool *pool, struct err *err)
{
    const struct pool *armed = pool->service->armed;
    if (!pool->deployment->gate_passed)
        return err_set(err, "deployment %s cannot go live: its gate has not passed", pool->name);
    if (armed != NULL)
        return err_set(err, "deployment %s cannot go live: pool %s is still armed", pool->name, armed->name);
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (pool->instances[i].state != INSTANCE_UP)
            return err_set(err, "deployment %s cannot go live: instance %s is not up", pool->name,
                           pool->instances[i].address);
    }
    return true;
}

static bool check_event(const struct registry *registry, const struct record *record, struct err *err)
{
    const struct pool *pool = pool_of(registry, record, err);
    if (pool == NULL)
        return false;
    const struct transition *row = pool_transition(pool, record->event);
    if (row == NULL)
        return err_set(err, "deployment %s is %s, where \"%s\" is not possible", pool->name,
                       pool->deployment == NULL ? "the first pool of its service"
                                                : deployment_state_name(pool->deployment->state),
                       deployment_event_name(record->event));
    if (record->event == EVENT_LAUNCHED && pool->instance_count == 0)
        return err_set(err, "deployment %s cannot go on: its launch has started no instance", pool->name);
    if (record->event == EVENT_CONFIRMED)
        return check_swap(pool, err);
    if ((row->pool == MOVE_RELEASE || row->pool == MOVE_BACK_OUT) &&
        (pool->service->live != pool || pool->service->armed == NULL))
        return err_set(err, "deployment %s is not live with an armed pool beside it", pool->name);
    if (record->event == EVENT_OLD_RETIRED && pool->deployment->replaces != NULL) {
        const struct pool *old = registry_pool(registry, pool->deployment->replaces);
        if (old != NULL && old->state != POOL_RETIRED)
            return err_set(err, "deployment %s is not done: %s is still %s", pool->name, old->name,
                           pool_state_names[old->state]);
    }
    return true;
}

static void set_text(char **text, const char *value)
{
    free(*text);
    *text = mem_dup(value);
}

/* `by`: the pool that has its clients now; NULL: it had none. */
static void leave(struct registry *registry, struct pool *pool, enum retire_reason reason,
                  const struct pool *by, const struct record *record)
{
    assert(pool->state != POOL_DRAINING);
    pool->state = POOL_DRAINING;
    TAILQ_INSERT_TAIL(&registry->going, pool, of_going);
    pool->reason = reason;
    pool->drain = record->drain;
    pool->going_since_ns = record_moment_ns(record);
    pool->going_since_world = record->world;
    set_text(&pool->replaced_by, by == NULL ? NULL : by->name);
}

static void retire(struct registry *registry, struct pool *pool)
{
    TAILQ_REMOVE(&registry->going, pool, of_going);
    pool->state = POOL_RETIRED;
}

static void go_live(struct registry *registry, struct pool *pool, const struct record *record, bool arm)
{
    struct service *service = pool->service;
    struct pool *old = service->live;
    set_text(&pool->deployment->replaces, old == NULL ? NULL : old->name);
    if (old != NULL && arm) {
        old->state = POOL_ARMED;
        service->armed = old;
    } else if (old != NULL) {
        leave(registry, old, RETIRE_REPLACED, pool, record);
    }
    pool->state = POOL_LIVE;
    pool->was_live = true;
    service->live = pool;
}

static void release_armed(struct registry *registry, struct pool *pool, const struct record *record)
{
    leave(registry, pool->service->armed, RETIRE_REPLACED, pool, record);
    pool->service->armed = NULL;
}

static void go_back(struct registry *registry, struct pool *pool, const struct record *record)
{
    struct service *service = pool->service;
    leave(registry, pool, RETIRE_ROLLED_BACK, service->armed, record);
    service->armed->state = POOL_LIVE;
    service->live = service->armed;
    service->armed = NULL;
}

static enum retire_reason reason_of(enum deployment_state end)
{
    switch (end) {
    case DEPLOYMENT_REJECTED:
        return RETIRE_REJECTED;
    case DEPLOYMENT_ROLLED_BACK:
        return RETIRE_ROLLED_BACK;
    default:
        return RETIRE_ABORTED;
    }
}

static void set_all(struct pool *pool, enum instance_state state)
{
    for (size_t i = 0; i < pool->instance_count; i++)
        pool->instances[i].state = state;
}

static void move_pool(struct registry *registry, struct pool *pool, const struct transition *row,
                      const struct record *record)
{
    switch (row->pool) {
    case MOVE_NONE:
        break;
    case MOVE_UP:
        set_all(pool, INSTANCE_UP);
        break;
    case MOVE_BACK:
        set_all(pool, INSTANCE_DOWN);
        break;
    case MOVE_SHARE:
        pool->deployment->canary.taken++;
        pool->was_live = true;
        break;
    case MOVE_LIVE:
    case MOVE_ARM:
        go_live(registry, pool, record, row->pool == MOVE_ARM);
        break;
    case MOVE_RELEASE:
        release_armed(registry, pool, record);
        break;
    case MOVE_BACK_OUT:
        go_back(registry, pool, record);
        break;
    case MOVE_OUT:
        leave(registry, pool, reason_of(row->to), pool->was_live ? pool->service->live : NULL, record);
        break;
    }
}

/* Is there a reason to be told for this state? */
static bool is_bad(enum deployment_state state)
{
    return state == DEPLOYMENT_DOUBTED || state == DEPLOYMENT_CANARY_DOUBTED ||
           (deployment_state_is_end(state) && state != DEPLOYMENT_DONE);
}

/* Does its state go on as it was? */
static bool goes_on(const struct record *record, const struct transition *row)
{
    return row->to == row->from && (record->event == EVENT_RESTARTED || record->event == EVENT_FLAWED);
}

/* What waits for days is restarted often: of restarts in a row the last one is told. */
static void mark(struct deployment *deployment, const struct record *record)
{
    size_t count = deployment->timeline_count;
    struct moment *last = count == 0 ? NULL : &deployment->timeline[count - 1];
    const char *by = record->asker.user;
    if (record->event == EVENT_RESTARTED && last != NULL && last->state == deployment->state &&
        str_is_same(last->why, record->why))
        last->time_ns = record->time_ns;
    else
        deployment_mark(deployment, record->time_ns, record->why, by[0] == '\0' ? NULL : by);
}

static void act_event(struct registry *registry, const struct record *record, const struct transition **taken)
{
    struct pool *pool = registry_pool(registry, record->pool);
    struct deployment *deployment = pool->deployment;
    const struct transition *row = pool_transition(pool, record->event);
    *taken = row;
    if (record->event == EVENT_SHADOW_PASSED ||
        (record->event == EVENT_GATE_PASSED && row->to != DEPLOYMENT_SHADOWING))
        deployment->gate_passed = true;
    move_pool(registry, pool, row, record);
    if (pool->state == POOL_DRAINING && pool->instance_count == 0)
        retire(registry, pool);
    if (deployment->state == DEPLOYMENT_DRAINING)
        TAILQ_REMOVE(&registry->finishing, deployment, of_finishing);
    if (row->to == DEPLOYMENT_DRAINING)
        TAILQ_INSERT_TAIL(&registry->finishing, deployment, of_finishing);
    deployment->state = row->to;
    if (!goes_on(record, row))
        deployment->since_ns = record_moment_ns(record);
    if (record->event == EVENT_FLAWED || !goes_on(record, row))
        set_text(&deployment->flaw, record->event == EVENT_FLAWED ? record->why : NULL);
    mark(deployment, record);
    if (is_bad(row->to) && row->to != row->from)
        set_text(&deployment->reason, record->why);
    else if (is_bad(row->from) && row->to != row->from)
        set_text(&deployment->reason, NULL);
    if (deployment_state_is_end(row->to))
        deployment->ended_ns = record->time_ns;
    if (!deployment_state_is_running(row->to) && pool->service->running == deployment)
        pool->service->running = NULL;
}

/* ---- instances ---- */

static bool check_added(const struct registry *registry, const struct record *record, struct err *err)
{
    const struct pool *pool = pool_of(registry, record, err);
    const struct instance *added = record->added;
    if (pool == NULL)
        return false;
    if (pool->deployment == NULL || pool->deployment->state != DEPLOYMENT_LAUNCHING)
        return err_set(err, "pool %s takes no more instances: its launch is over", pool->name);
    if (added->state != INSTANCE_DOWN)
        return err_set(err, "instance %s cannot come to pool %s as one that is %s already", added->address,
                       pool->name, instance_state_names[added->state]);
    for (size_t i = 0; i < pool->instance_count; i++) {
        const struct instance *other = &pool->instances[i];
        if (strcmp(other->address, added->address) == 0 || strcmp(other->resolved, added->resolved) == 0)
            return err_set(err, "pool %s has the instance %s already; each is to be named once", pool->name,
                           other->address);
    }
    return true;
}

static void act_added(struct registry *registry, struct record *record)
{
    struct pool *pool = registry_pool(registry, record->pool);
    pool->instances = mem_resize(pool->instances, pool->instance_count + 1, sizeof *pool->instances);
    pool->instances[pool->instance_count++] = *record->added;
    places_enter(registry, pool, pool->instance_count - 1);
    if (record->added->id > registry->last_instance)
        registry->last_instance = record->added->id;
    record->added->address = record->added->resolved = NULL;
}

static bool is_serving(const struct record *record, size_t index)
{
    for (size_t i = 0; i < record->instance_count; i++) {
        if (record->instances[i] == index)
            return false;
    }
    return true;
}

/* What each named instance must be before, and becomes. */
static bool check_instances(const struct pool *pool, const struct record *record, enum pool_state pool_state,
                            unsigned allowed, struct err *err)
{
    if (pool->state != pool_state)
        return err_set(err, "pool %s is %s, not %s", pool->name, pool_state_names[pool->state],
                       pool_state_names[pool_state]);
    if (record->instance_count == 0)
        return err_set(err, "a record of pool %s names no instance", pool->name);
    for (size_t i = 0; i < record->instance_count; i++) {
        uint32_t index = record->instances[i];
        if (index >= pool->instance_count)
            return err_set(err, "pool %s has no instance number %" PRIu32, pool->name, index);
        const struct instance *instance = &pool->instances[index];
        if ((allowed >> instance->state & 1) == 0)
            return err_set(err, "instance %s of pool %s is %s already", instance->address, pool->name,
                           instance_state_names[instance->state]);
    }
    return true;
}

static bool check_rotated(const struct registry *registry, const struct record *record, struct err *err)
{
    const struct pool *pool = pool_of(registry, record, err);
    if (pool == NULL ||
        !check_instances(pool, record, POOL_LIVE, 1U << (record->out ? INSTANCE_UP : INSTANCE_DRAINED), err))
        return false;
    if (!record->out)
        return true;
    for (size_t i = 0; i < pool->instance_count; i++) {
        if (pool->instances[i].state == INSTANCE_UP && is_serving(record, i))
            return true;
    }
    return err_set(err, "instance %s is the last one of service \"%s\" in rotation; enable another one first",
                   pool->instances[record->instances[0]].address, pool->service->name);
}

static bool check_retired(const struct registry *registry, const struct record *record, struct err *err)
{
    const struct pool *pool = pool_of(registry, record, err);
    return pool != NULL &&
           check_instances(pool, record, POOL_DRAINING,
                           1U << INSTANCE_DOWN | 1U << INSTANCE_UP | 1U << INSTANCE_DRAINED, err);
}

static bool check_torn_down(const struct registry *registry, const struct record *record, struct err *err)
{
    const struct pool *pool = pool_of(registry, record, err);
    if (pool != NULL && record->end == TEARDOWN_NONE)
        return err_set(err, "a teardown in pool %s has ended without saying how", pool->name);
    return pool != NULL && check_instances(pool, record, POOL_DRAINING, 1U << INSTANCE_RETIRED, err);
}

static void act_instances(struct registry *registry, const struct record *record)
{
    struct pool *pool = registry_pool(registry, record->pool);
    for (size_t i = 0; i < record->instance_count; i++) {
        struct instance *instance = &pool->instances[record->instances[i]];
        if (record->type == RECORD_ROTATED) {
            instance->state = record->out ? INSTANCE_DRAINED : INSTANCE_UP;
        } else if (record->type == RECORD_RETIRED) {
            instance->state = record->left ? INSTANCE_TORN_DOWN : INSTANCE_RETIRED;
            instance->end = record->left ? TEARDOWN_LEFT : TEARDOWN_NONE;
            instance->forced = record->forced;
        } else {
            instance->state = INSTANCE_TORN_DOWN;
            instance->end = record->end;
        }
        if (instance->state == INSTANCE_TORN_DOWN)
            places_leave(registry, pool, record->instances[i]);
    }
    bool all_gone = true;
    for (size_t i = 0; i < pool->instance_count; i++)
        all_gone &= pool->instances[i].state == INSTANCE_TORN_DOWN;
    if (all_gone)
        retire(registry, pool);
}

/* ---- modes ---- */

static bool check_mode(const struct registry *registry, const struct record *record, struct err *err)
{
    const struct service *service = registry_service(registry, record->service);
    enum mode_kind kind = service == NULL ? MODE_SERVING : service->mode.kind;
    return record->mode.kind != MODE_SERVING || kind != MODE_SERVING ||
           err_set(err, "service \"%s\" is served already", record->service);
}

static void act_mode(struct registry *registry, struct record *record)
{
    struct mode *mode = &service_of(registry, record->service)->mode;
    uint32_t slot = mode->slot;
    mode_free(mode);
    *mode = record->mode;
    if (mode->kind != MODE_PAUSED)
        mode->slot = slot;
    record->mode.message = record->mode.deployment = NULL;
    if (mode->since_ns == 0)
        mode->since_ns = record_moment_ns(record);
    mode->asker = record->asker;
}

/* ---- the door ---- */

bool registry_allows(const struct registry *registry, const struct record *record, struct err *err)
{
    switch (record->type) {
    case RECORD_POOL:
        return check_pool(registry, record, err);
    case RECORD_EVENT:
        return check_event(registry, record, err);
    case RECORD_ADDED:
        return check_added(registry, record, err);
    case RECORD_ROTATED:
        return check_rotated(registry, record, err);
    case RECORD_RETIRED:
        return check_retired(registry, record, err);
    case RECORD_TORN_DOWN:
        return check_torn_down(registry, record, err);
    case RECORD_MODE:
        return check_mode(registry, record, err);
    case RECORD_WORLD:
    case RECORD_TYPES:
        break;
    }
    return true;
}

bool registry_apply(struct registry *registry, struct record *record, const struct transition **row,
                    struct err *err)
{
    const struct transition *taken = NULL;
    if (!registry_allows(registry, record, err))
        return false;
    if (record->type == RECORD_POOL)
        act_pool(registry, record);
    else if (record->type == RECORD_EVENT)
        act_event(registry, record, &taken);
    else if (record->type == RECORD_ADDED)
        act_added(registry, record);
    else if (record->type == RECORD_MODE)
        act_mode(registry, record);
    else if (record->type != RECORD_WORLD)
        act_instances(registry, record);
    if (record->world > registry->world)
        registry->world = record->world;
    if (row != NULL)
        *row = taken;
    return true;
}
