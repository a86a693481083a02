/* walk: makes records for the tests of the registry. */
#pragma once

#include "base/mem.h"
#include "deploy/record.h"

#include <stdio.h>
#include <stdlib.h>

/* A pool of `count` instances 10.0.0.N:80, N from `first` on. */
static inline struct pool *make_pool(const char *name, size_t count, unsigned first, bool deployed)
{
    struct pool *pool = pool_new(name, "v1", count);
    for (size_t i = 0; i < count; i++) {
        struct instance *instance = &pool->instances[i];
        instance->address = mem_printf("10.0.0.%u:80", first + (unsigned)i);
        instance->id = first + i;
        instance->slot = first + (uint32_t)i;
        instance->state = deployed ? INSTANCE_DOWN : INSTANCE_UP;
        instance->resolved = mem_dup(instance->address);
    }
    pool->state = deployed ? POOL_STAGED : POOL_LIVE;
    if (deployed) {
        struct deployment *deployment = pool_deploy(pool);
        deployment->created_ns = 1000000;
        deployment_mark(deployment, 1000000, "staged", NULL);
    }
    return pool;
}

static inline void pool_record(struct record *record, struct pool *pool)
{
    struct str service;
    uint64_t number;
    record_init(record, RECORD_POOL, NULL);
    record->time_ns = 2000000;
    record->fresh = pool;
    if (pool_name_parse(str_of(pool->name), &service, &number))
        record->service = str_dup(service);
}

static inline void event_record(struct record *record, const struct pool *pool, enum deployment_event event)
{
    record_init(record, RECORD_EVENT, pool->name);
    record->time_ns = 3000000;
    record->event = event;
    record->why = mem_dup("why not");
    const struct transition *row = pool->service == NULL ? NULL : pool_transition(pool, event);
    if (pool->service == NULL ? event == EVENT_CONFIRMED : row != NULL && transition_publishes(row)) {
        record->world = 7;
        record->drain = (struct drain_times){1, 2, 3, 4, 5, 0};
    }
}

/* An instance 10.0.0.N:80 that a launch has printed. */
static inline void added_record(struct record *record, const char *pool, unsigned number)
{
    record_init(record, RECORD_ADDED, pool);
    record->time_ns = 3500000;
    struct instance *added = record_added(record);
    added->address = mem_printf("10.0.0.%u:80", number);
    added->resolved = mem_dup(added->address);
    added->id = number;
    added->slot = number;
    added->pid = 4711;
    added->pid_start = 99;
    added->weight = 3;
}

static inline bool apply(struct registry *registry, struct record *record)
{
    struct err err;
    bool ok = registry_apply(registry, record, NULL, &err);
    record_free(record);
    return ok;
}

static inline bool add_pool(struct registry *registry, const char *name, size_t count, unsigned first,
                            bool deployed)
{
    struct record record;
    pool_record(&record, make_pool(name, count, first, deployed));
    return apply(registry, &record);
}

static inline bool happen(struct registry *registry, const char *pool, enum deployment_event event)
{
    struct record record;
    event_record(&record, registry_pool(registry, pool), event);
    return apply(registry, &record);
}

/* What can be told of a registry, as text: equal for equal registries. */
static inline char *registry_image(const struct registry *registry)
{
    char *image = mem_dup("");
    struct service *service, *next;
    HASH_ITER(hh, registry->services, service, next)
    {
        struct pool *pool;
        TAILQ_FOREACH (pool, &service->pools, of_service) {
            struct record record = {
                .type = RECORD_POOL, .time_ns = 1000000, .service = service->name, .fresh = pool};
            size_t size;
            char *line = record_encode(&record, &size);
            char *more = mem_printf("%s%s%s%s", image,
                                    service->live == pool    ? "live "
                                    : service->armed == pool ? "armed "
                                                             : "",
                                    service->running == pool->deployment ? "running " : "", line);
            free(line);
            free(image);
            image = more;
        }
    }
    return image;
}

/* Writes the pool as a compaction does, and lets another registry read it. */
static inline bool copy_pool(struct registry *to, struct pool *pool, struct err *err)
{
    struct record read, written = {.type = RECORD_POOL, .time_ns = 1000000, .fresh = pool};
    size_t size;
    written.service = pool->service->name;
    char *line = record_encode(&written, &size);
    bool ok = record_decode((struct str){line, size - 1}, &read, err) && registry_apply(to, &read, NULL, err);
    record_free(&read);
    free(line);
    return ok;
}

/* What a compaction of all pools gives when it is read. NULL: a line was refused. */
static inline struct registry *registry_again(const struct registry *registry, struct err *err)
{
    struct registry *again = registry_new();
    struct service *service, *next;
    struct pool *pool;
    bool ok = true;
    HASH_ITER(hh, registry->services, service, next)
    {
        TAILQ_FOREACH (pool, &service->pools, of_service)
            ok = ok && copy_pool(again, pool, err);
    }
    if (ok)
        return again;
    registry_free(again);
    return NULL;
}
