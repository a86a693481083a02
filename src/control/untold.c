/* The registry knows what has changed, and the events, of which there may be many, what was told of it: they
 * are gone through once, for all services. */
#include "control/untold.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <uthash.h>

/* Whoever tells of an end does so as soon as its record is on disk. Where events go on for longer than this
 * behind it, it was told, in memory only as the file could not be written, or it is too late. */
#define NEWS_NS (UINT64_C(60) * 1000000000)

/* A change that may not have been told of. */
struct suspect {
    struct untold untold;
    bool reaches_back; /* the events do, to before it */
    UT_hash_handle hh;
};

/* An end that may not have been told of, and whose deployment the events have from its staging on. */
struct end {
    const struct pool *pool;
    const struct transition *row; /* what was to be told is in its `announce` */
    bool told[2];
    UT_hash_handle hh; /* by the pool's name; oldest first */
};

struct search {
    const struct registry *registry;
    struct suspect *suspects; /* by service */
    struct end *ends;
    struct str newest; /* line of a service: those of the daemon may be this control's own */
};

/* What a change by this deployment has done, if it is the last one. False: it was none, or all is over. */
static bool describe(const struct pool *pool, struct untold *untold)
{
    const struct deployment *deployment = pool->deployment;
    const struct service *service = pool->service;
    const struct pool *old;
    *untold = (struct untold){.service = service, .changed = pool->name};
    if (deployment_state_is_watched(deployment->state) || deployment->state == DEPLOYMENT_DRAINING) {
        TAILQ_FOREACH (old, &service->pools, of_service) {
            if (old->state == POOL_DRAINING && str_is_same(old->name, deployment->replaces))
                untold->leaves = old->name;
        }
        untold->live = pool->name;
        return true;
    }
    if (pool->state != POOL_DRAINING)
        return false;
    /* Taken back: a canary's share only, or all that it had. */
    bool was_swapped =
        deployment->timeline_count > 1 &&
        deployment_state_is_watched(deployment->timeline[deployment->timeline_count - 2].state);
    untold->live = was_swapped && service->live != NULL ? service->live->name : NULL;
    untold->leaves = pool->name;
    return true;
}

/* A canary's steps are told of when they are recorded. */
static const struct pool *last_changed(const struct service *service)
{
    const struct pool *pool;
    TAILQ_FOREACH_REVERSE(pool, &service->pools, pools, of_service)
    {
        if (pool->was_live && pool->deployment != NULL &&
            !deployment_state_is_canary(pool->deployment->state))
            return pool;
    }
    return NULL;
}

static struct suspect *suspects_of(const struct registry *registry)
{
    struct suspect *suspects = NULL;
    const struct service *service = registry->services;
    for (; service != NULL; service = service->hh.next) {
        struct untold untold;
        const struct pool *pool = last_changed(service);
        if (pool == NULL || !describe(pool, &untold))
            continue;
        struct suspect *suspect = mem_zero(1, sizeof *suspect);
        suspect->untold = untold;
        HASH_ADD_KEYPTR(hh, suspects, service->name, strlen(service->name), suspect);
    }
    return suspects;
}

static void compare(struct suspect *suspect, const char *type, const char *deployment, const char *live)
{
    struct untold *untold = &suspect->untold;
    bool is_its = str_is_same(deployment, untold->changed);
    suspect->reaches_back |= is_its && str_is_same(type, "deployment.staged");
    if (is_its && str_is_same(type, "swap.published") && str_is_same(live, untold->live))
        untold->live = NULL;
    if (str_is_same(type, "drain.started") && str_is_same(deployment, untold->leaves))
        untold->leaves = NULL;
}

/* ---- ends ---- */

/* The row that has led to its end. Of those between the same two states, which one it was shows in whether
 * somebody asked for it. */
static const struct transition *last_row(const struct deployment *deployment)
{
    size_t count, moments = deployment->timeline_count;
    const struct transition *rows = table_rows(&count);
    if (moments < 2 || !deployment_state_is_end(deployment->state))
        return NULL;
    const struct moment *before = &deployment->timeline[moments - 2], *last = before + 1;
    for (size_t i = 0; i < count; i++) {
        bool is_asked = rows[i].event == EVENT_ROLLED_BACK;
        bool may_be = last->by == NULL ? !is_asked : is_asked || rows[i].event == EVENT_ABORTED;
        if (rows[i].from == before->state && rows[i].to == last->state && may_be)
            return &rows[i];
    }
    return NULL;
}

static void expect_end(struct search *search, const char *deployment)
{
    const struct pool *pool = deployment == NULL ? NULL : registry_pool(search->registry, deployment);
    const struct transition *row =
        pool == NULL || pool->deployment == NULL ? NULL : last_row(pool->deployment);
    if (row == NULL)
        return;
    struct end *end = mem_zero(1, sizeof *end);
    *end = (struct end){.pool = pool, .row = row};
    HASH_ADD_KEYPTR(hh, search->ends, pool->name, strlen(pool->name), end);
}

static void note_end(struct search *search, const char *type, const char *deployment)
{
    struct end *end = NULL;
    if (deployment != NULL)
        HASH_FIND_STR(search->ends, deployment, end);
    if (end == NULL && str_is_same(type, "deployment.staged"))
        expect_end(search, deployment);
    for (size_t i = 0; end != NULL && i < sizeof end->told / sizeof end->told[0]; i++)
        end->told[i] |= str_is_same(type, end->row->announce[i]);
}

/* Times of one form are in the order of their texts. */
static bool is_news(const struct end *end, const char *newest)
{
    char limit[CLOCK_TEXT_SIZE];
    clock_text(end->pool->deployment->ended_ns + NEWS_NS, limit);
    return newest != NULL && strcmp(newest, limit) <= 0;
}

static void tell_end(const struct end *end, const struct untold_listener *listener)
{
    for (size_t i = 0; i < sizeof end->told / sizeof end->told[0]; i++) {
        if (end->row->announce[i] != NULL && !end->told[i])
            listener->ended(listener->arg, end->pool, end->row->announce[i]);
    }
}

static const char *text_of(const json_t *event, const char *key)
{
    return json_string_value(json_object_get(event, key));
}

static void tell_ends(struct search *search, const struct untold_listener *listener)
{
    struct end *end, *next;
    json_t *event = json_loadb(search->newest.p, search->newest.n, 0, NULL);
    const char *newest = text_of(event, "time");
    HASH_ITER(hh, search->ends, end, next)
    {
        if (is_news(end, newest))
            tell_end(end, listener);
        HASH_DEL(search->ends, end);
        free(end);
    }
    json_decref(event);
}

/* ---- the events ---- */

static bool has(struct str line, const char *text)
{
    return memmem(line.p, line.n, text, strlen(text)) != NULL;
}

/* To look into all as JSON would take a second. */
static bool may_tell(struct str line)
{
    static const char *const types[] = {"\"deployment.", "\"gate.failed\"", "\"watch.failed\"",
                                        "\"swap.published\"", "\"drain.started\""};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (has(line, types[i]))
            return true;
    }
    return false;
}

static bool note(void *arg, uint64_t seq, struct str line)
{
    struct search *search = arg;
    struct suspect *suspect = NULL;
    (void)seq;
    if (has(line, "\"service\":"))
        search->newest = line;
    json_t *event = may_tell(line) ? json_loadb(line.p, line.n, 0, NULL) : NULL;
    const char *service = text_of(event, "service"), *type = text_of(event, "type"),
               *deployment = text_of(event, "deployment");
    if (service != NULL)
        HASH_FIND_STR(search->suspects, service, suspect);
    if (suspect != NULL)
        compare(suspect, type, deployment, text_of(event, "live"));
    note_end(search, type, deployment);
    json_decref(event);
    return true;
}

void untold_find(struct event_log *events, const struct registry *registry,
                 const struct untold_listener *listener)
{
    struct search search = {.registry = registry, .suspects = suspects_of(registry)};
    struct suspect *suspect, *next;
    event_log_read(events, 0, NULL, note, &search);
    HASH_ITER(hh, search.suspects, suspect, next)
    {
        if (suspect->reaches_back && (suspect->untold.live != NULL || suspect->untold.leaves != NULL))
            listener->changed(listener->arg, &suspect->untold);
        HASH_DEL(search.suspects, suspect);
        free(suspect);
    }
    tell_ends(&search, listener);
}
