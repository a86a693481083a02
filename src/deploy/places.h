/* places: which instances are at an address, so that nobody goes through all that there are to find out who
 * shares it. Part of the registry: apply keeps it as records change instances. */
#pragma once

#include "deploy/registry.h"

/* An instance at a place. */
struct tenant {
    const struct pool *pool;
    size_t index; /* of the instance in its pool */
    TAILQ_ENTRY(tenant) entry;
};

/* An address, as one or more instances have it. */
struct place {
    TAILQ_HEAD(tenants, tenant) tenants; /* at least one */
    UT_hash_handle hh;                   /* registry->places by address */
    char address[];
};

/* The pool's instance is at its address, as written and as resolved, and not torn down. */
void places_enter(struct registry *registry, const struct pool *pool, size_t index);
/* It is torn down, or dropped. Nothing happens to one that has left before. */
void places_leave(struct registry *registry, const struct pool *pool, size_t index);

/* One at either address of `instance`, other than itself, in a pool that counts. NULL: none. */
typedef bool places_counts(void *arg, const struct pool *pool);
const struct tenant *places_other(const struct registry *registry, const struct instance *instance,
                                  places_counts *counts, void *arg);
