/* pauses.c: by the steady clock, since a pause outlives a restart; and it is never longer than was asked. */
#include "control/pauses.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_MS 1000000

struct moment_of {
    struct pauses *pauses;
    char *service;
    uint64_t since_ns, length_ms; /* of the pause that it is the end of */
    uint64_t until_ms;
    struct deadline over;
    UT_hash_handle hh;
};

struct pauses {
    struct pauses_options options;
    struct moment_of *moments;
};

static void on_over(struct deadline *deadline)
{
    struct moment_of *moment = mem_container(deadline, struct moment_of, over);
    const struct pauses_options *options = &moment->pauses->options;
    const struct service *service = registry_service(options->registry, moment->service);
    if (service != NULL && service->mode.kind == MODE_PAUSED)
        options->over(options->arg, service);
}

static struct moment_of *find(const struct pauses *pauses, const char *service)
{
    struct moment_of *moment;
    HASH_FIND_STR(pauses->moments, service, moment);
    return moment;
}

static struct moment_of *make(struct pauses *pauses, const char *service)
{
    struct moment_of *moment = mem_zero(1, sizeof *moment);
    moment->pauses = pauses;
    moment->service = mem_dup(service);
    deadline_init(&moment->over, pauses->options.loop, on_over);
    HASH_ADD_KEYPTR(hh, pauses->moments, moment->service, strlen(moment->service), moment);
    return moment;
}

static void set(struct moment_of *moment, const struct mode *mode)
{
    uint64_t now_ns = clock_steady_ns();
    uint64_t passed_ms = now_ns > mode->since_ns ? (now_ns - mode->since_ns) / NS_PER_MS : 0;
    uint64_t left_ms = passed_ms < mode->length_ms ? mode->length_ms - passed_ms : 0;
    moment->since_ns = mode->since_ns;
    moment->length_ms = mode->length_ms;
    moment->until_ms = clock_mono_ms() + left_ms;
    deadline_set(&moment->over, left_ms);
}

static void drop(struct moment_of *moment)
{
    HASH_DEL(moment->pauses->moments, moment);
    deadline_clear(&moment->over);
    free(moment->service);
    free(moment);
}

static void watch(struct pauses *pauses, const struct service *service)
{
    const struct mode *mode = &service->mode;
    struct moment_of *moment = find(pauses, service->name);
    if (mode->kind != MODE_PAUSED) {
        if (moment != NULL)
            drop(moment);
        return;
    }
    if (moment == NULL)
        moment = make(pauses, service->name);
    if (moment->since_ns != mode->since_ns || moment->length_ms != mode->length_ms)
        set(moment, mode);
}

void pauses_watch(struct pauses *pauses, const struct service *service)
{
    if (service != NULL) {
        watch(pauses, service);
        return;
    }
    for (service = pauses->options.registry->services; service != NULL; service = service->hh.next)
        watch(pauses, service);
}

uint64_t pauses_until_ms(const struct pauses *pauses, const struct service *service)
{
    const struct moment_of *moment = find(pauses, service->name);
    return moment == NULL ? 0 : moment->until_ms;
}

/* ---- slots ---- */

static bool is_taken(const struct pauses *pauses, uint32_t slot, const struct service *by)
{
    const struct service *service = pauses->options.registry->services;
    for (; service != NULL; service = service->hh.next) {
        if (service != by && service->mode.kind == MODE_PAUSED && service->mode.slot == slot)
            return true;
    }
    return false;
}

uint32_t pauses_slot(const struct pauses *pauses, const struct service *service)
{
    uint32_t own = service == NULL ? 0 : service->mode.slot;
    if (own != 0 && !is_taken(pauses, own, service))
        return own;
    for (uint32_t slot = 1; slot < COUNTERS_PAUSES; slot++) {
        if (!is_taken(pauses, slot, service) &&
            counters_pause_sum(pauses->options.counters, slot).waiting == 0)
            return slot;
    }
    return 0;
}

uint64_t pauses_waiting(const struct pauses *pauses, const struct service *service)
{
    uint32_t slot = service->mode.slot;
    bool is_own = slot != 0 && !is_taken(pauses, slot, service);
    return is_own ? counters_pause_sum(pauses->options.counters, slot).waiting : 0;
}

struct pauses_rest pauses_rest(const struct pauses *pauses, const struct service *service, uint64_t version)
{
    struct counters *counters = pauses->options.counters;
    struct pauses_rest rest = {.begun = counters_version(counters) < version};
    const struct pool *pool;
    TAILQ_FOREACH (pool, &service->pools, of_service) {
        if (pool->state == POOL_RETIRED)
            continue;
        uint64_t requests = counters_pool_in_requests(counters, pool->slot);
        uint64_t in_flight = counters_pool_in_flight(counters, pool->slot);
        rest.requests += requests;
        rest.lasting += in_flight > requests ? in_flight - requests : 0;
    }
    return rest;
}

struct pauses *pauses_new(const struct pauses_options *options)
{
    struct pauses *pauses = mem_zero(1, sizeof *pauses);
    pauses->options = *options;
    return pauses;
}
