/* Mapping what control has sealed. Invariant: no byte of a mapped world can change, so what was checked once
 * stays true. An amendment is small, and copied: its header must be told where its ground lies. */
#include "plane/world.h"

#include "base/fault.h"
#include "base/mem.h"

#include <assert.h>
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
    struct world *ground; /* a reference, and `image` is from malloc; NULL: it is whole, and mapped */
    struct upstream_contexts *contexts; /* a reference; NULL: none */
    dev_t device; /* with the inode: whose memory it is; not used again while that is mapped */
    ino_t inode;
    unsigned references;
};

/* Without these seals the sender could rewrite routes under a reader, or end it with SIGBUS. */
static bool is_sealed(int fd)
{
    int wanted = F_SEAL_WRITE | F_SEAL_SHRINK;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & wanted) == wanted;
}

static bool check_memory(int fd, uint64_t size, struct stat *found, struct err *err)
{
    if (!is_sealed(fd))
        return err_set(err, "the snapshot's memory is not sealed against writing and shrinking");
    if (fstat(fd, found) != 0 || size == 0 || (uint64_t)found->st_size < size)
        return err_set(err, "the snapshot has %lld bytes, but %llu were announced", (long long)found->st_size,
                       (unsigned long long)size);
    return true;
}

static bool map(struct world *world, int fd, struct err *err)
{
    world->image = fault_fails("world.map", ENOMEM)
                       ? MAP_FAILED
                       : mmap(NULL, world->size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (world->image == MAP_FAILED)
        return err_set(err, "the snapshot cannot be mapped: %s", strerror(errno));
    world->snapshot = snapshot_open(world->image, world->size, err);
    return world->snapshot != NULL;
}

static bool copy(struct world *world, int fd, struct world *ground, struct err *err)
{
    assert(world->size > 0);
    world->ground = world_ref(ground);
    world->image = fault_fails("world.copy", ENOMEM) ? NULL : malloc(world->size);
    if (world->image == NULL || pread(fd, world->image, world->size, 0) != (ssize_t)world->size)
        return err_set(err, "the snapshot cannot be read: %s", strerror(errno));
    world->snapshot = snapshot_amend(world->image, world->size, ground->snapshot, err);
    return world->snapshot != NULL;
}

/* What is read before it is checked decides no more than how it is to be checked. */
static bool take(struct world *world, int fd, struct world *ground, struct err *err)
{
    uint8_t begin[SNAPSHOT_BEGIN] = {0};
    if (pread(fd, begin, sizeof begin, 0) < 0 || snapshot_amends(begin) == 0)
        return map(world, fd, err);
    if (ground != NULL)
        return copy(world, fd, ground, err);
    return err_set(err, "the snapshot amends another that has not come");
}

struct world *world_open(int fd, const struct message_world *told, struct world *ground, struct err *err)
{
    struct stat found;
    if (!check_memory(fd, told->size, &found, err))
        return NULL;
    struct world *world = mem_alloc(sizeof *world);
    *world = (struct world){.image = MAP_FAILED,
                            .size = told->size,
                            .device = found.st_dev,
                            .inode = found.st_ino,
                            .references = 1};
    bool ok = take(world, fd, ground, err);
    if (ok && snapshot_version(world->snapshot) != told->version)
        ok =
            err_set(err, "the snapshot is of version %llu, but %llu was announced",
                    (unsigned long long)snapshot_version(world->snapshot), (unsigned long long)told->version);
    if (ok)
        return world;
    world_free(world);
    return NULL;
}

const struct snapshot *world_snapshot(const struct world *world)
{
    return world->snapshot;
}

struct world *world_ground(struct world *world)
{
    return world->ground == NULL ? world : world->ground;
}

bool world_is(const struct world *world, int fd)
{
    struct stat found;
    return world != NULL && fstat(fd, &found) == 0 && found.st_dev == world->device &&
           found.st_ino == world->inode;
}

void world_use(struct world *world, struct upstream_contexts *contexts)
{
    world->contexts = upstream_contexts_ref(contexts);
}

const struct upstream_contexts *world_contexts(const struct view *view)
{
    const struct world *world = view->arg;
    return world == NULL ? NULL : world->contexts;
}

struct world *world_ref(struct world *world)
{
    world->references++;
    return world;
}

void world_free(struct world *world)
{
    if (world == NULL || --world->references > 0)
        return;
    if (world->ground != NULL)
        free(world->image);
    else if (world->image != MAP_FAILED)
        munmap(world->image, world->size);
    world_free(world->ground);
    upstream_contexts_free(world->contexts);
    free(world);
}
