/* Mapping what control has sealed. Invariant: no byte of a mapped world can change, so what was checked once
 * stays true. */
#include "plane/world.h"

#include "base/fault.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
    void *image;
    size_t size;
    const struct snapshot *snapshot;
    unsigned *mapped; /* NULL: not counted */
};

/* Without these seals the sender could rewrite routes under a reader, or end it with SIGBUS. */
static bool is_sealed(int fd)
{
    int wanted = F_SEAL_WRITE | F_SEAL_SHRINK;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & wanted) == wanted;
}

static void *map(int fd, uint64_t size, struct err *err)
{
    struct stat found;
    if (!is_sealed(fd)) {
        err_set(err, "the snapshot's memory is not sealed against writing and shrinking");
        return NULL;
    }
    if (fstat(fd, &found) != 0 || size == 0 || (uint64_t)found.st_size < size) {
        err_set(err, "the snapshot has %lld bytes, but %llu were announced", (long long)found.st_size,
                (unsigned long long)size);
        return NULL;
    }
    void *image = fault_fails("world.map", ENOMEM)
                      ? MAP_FAILED
                      : mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (image != MAP_FAILED)
        return image;
    err_set(err, "the snapshot cannot be mapped: %s", strerror(errno));
    return NULL;
}

struct world *world_open(int fd, const struct message_world *told, struct err *err)
{
    void *image = map(fd, told->size, err);
    if (image == NULL)
        return NULL;
    const struct snapshot *snapshot = snapshot_open(image, told->size, err);
    if (snapshot != NULL && snapshot_version(snapshot) != told->version) {
        err_set(err, "the snapshot is of version %llu, but %llu was announced",
                (unsigned long long)snapshot_version(snapshot), (unsigned long long)told->version);
        snapshot = NULL;
    }
    if (snapshot == NULL) {
        munmap(image, told->size);
        return NULL;
    }
    struct world *world = mem_alloc(sizeof *world);
    *world = (struct world){.image = image, .size = told->size, .snapshot = snapshot};
    return world;
}

const struct snapshot *world_snapshot(const struct world *world)
{
    return world->snapshot;
}

void world_count(struct world *world, unsigned *mapped)
{
    world->mapped = mapped;
    ++*mapped;
}

void world_free(struct world *world)
{
    if (world->mapped != NULL)
        --*world->mapped;
    munmap(world->image, world->size);
    free(world);
}
