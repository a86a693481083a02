/* pools: services and pools in a registry, as control finds them, without the records that make them. */
#pragma once

#include "base/mem.h"
#include "deploy/registry.h"

#include <string.h>

/* Freed with the registry, as all here. */
static inline struct service *pools_service(struct registry *registry, const char *name)
{
    struct service *service = mem_zero(1, sizeof *service);
    service->name = mem_dup(name);
    TAILQ_INIT(&service->pools);
    HASH_ADD_KEYPTR(hh, registry->services, service->name, strlen(service->name), service);
    return service;
}

/* Two instances that are up, 10.0.SLOT.0:80 and 10.0.SLOT.1:80, in the slots behind the pool's ten. */
static inline struct pool *pools_add(struct registry *registry, struct service *service, const char *name,
                                     uint32_t slot)
{
    struct pool *pool = pool_new(name, "", 2);
    for (uint32_t i = 0; i < 2; i++) {
        pool->instances[i].address = mem_printf("10.0.%u.%u:80", slot, i);
        pool->instances[i].resolved = mem_dup(pool->instances[i].address);
        pool->instances[i].state = INSTANCE_UP;
        pool->instances[i].slot = slot * 10 + i;
    }
    pool->slot = slot;
    pool->service = service;
    TAILQ_INSERT_TAIL(&service->pools, pool, of_service);
    HASH_ADD_KEYPTR(hh, registry->pools, pool->name, strlen(pool->name), pool);
    return pool;
}
