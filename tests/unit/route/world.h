/* Small worlds for the tests of the room route. */
#pragma once

#include "route/snapshot.h"

#include "unit.h"

#include <stdlib.h>

#define WORLD_LIST 8

/* A service as a row of a test's table; lists end with NULL. */
struct world_service {
    const char *name;
    const char *hosts[WORLD_LIST];
    const char *paths[WORLD_LIST];
};

static inline size_t world_count(const char *const list[WORLD_LIST])
{
    size_t count = 0;
    while (count < WORLD_LIST && list[count] != NULL)
        count++;
    return count;
}

/* Freezes services without pools; the image, or NULL with the sentence. */
static inline void *world_freeze(const struct world_service *rows, size_t count, size_t *size,
                                 struct err *err)
{
    struct snapshot_service_spec *services = calloc(count + 1, sizeof *services);
    for (size_t i = 0; i < count; i++)
        services[i] = (struct snapshot_service_spec){
            .name = rows[i].name,
            .hosts = rows[i].hosts,
            .host_count = world_count(rows[i].hosts),
            .paths = rows[i].paths,
            .path_count = world_count(rows[i].paths),
            .live = SNAPSHOT_NONE,
        };
    struct snapshot_spec spec = {.version = 1, .services = services, .service_count = count};
    void *image = snapshot_freeze(&spec, size, err);
    free(services);
    return image;
}

/* The name of the service that takes the request, "" where none does. */
static inline struct str world_match(const struct snapshot *snapshot, const char *host, const char *path,
                                     uint32_t *prefix)
{
    const struct snapshot_service *service = snapshot_match(snapshot, str_of(host), str_of(path), prefix);
    return service == NULL ? STR("") : snapshot_service_name(snapshot, service);
}
