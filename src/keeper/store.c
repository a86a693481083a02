/* A plain list: there are as many entries as listening sockets, and it is walked when a control starts. */
#include "keeper/store.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

struct entry {
    char *name;
    int fd;
    STAILQ_ENTRY(entry) next;
};

struct store {
    STAILQ_HEAD(, entry) entries;
    size_t count;
};

struct store *store_new(void)
{
    struct store *store = mem_zero(1, sizeof *store);
    STAILQ_INIT(&store->entries);
    return store;
}

static struct entry *find(const struct store *store, const char *name)
{
    struct entry *entry;
    STAILQ_FOREACH (entry, &store->entries, next) {
        if (strcmp(entry->name, name) == 0)
            return entry;
    }
    return NULL;
}

static void remove_entry(struct store *store, struct entry *entry)
{
    STAILQ_REMOVE(&store->entries, entry, entry, next);
    store->count--;
    close(entry->fd);
    free(entry->name);
    free(entry);
}

void store_free(struct store *store)
{
    while (!STAILQ_EMPTY(&store->entries))
        remove_entry(store, STAILQ_FIRST(&store->entries));
    free(store);
}

void store_put(struct store *store, const char *name, int fd)
{
    store_drop(store, name);
    struct entry *entry = mem_zero(1, sizeof *entry);
    entry->name = mem_dup(name);
    entry->fd = fd;
    STAILQ_INSERT_TAIL(&store->entries, entry, next);
    store->count++;
}

void store_drop(struct store *store, const char *name)
{
    struct entry *entry = find(store, name);
    if (entry != NULL)
        remove_entry(store, entry);
}

int store_get(const struct store *store, const char *name)
{
    const struct entry *entry = find(store, name);
    return entry == NULL ? -1 : entry->fd;
}

size_t store_count(const struct store *store)
{
    return store->count;
}

void store_each(const struct store *store, void (*each)(void *arg, const char *name, int fd), void *arg)
{
    const struct entry *entry;
    STAILQ_FOREACH (entry, &store->entries, next)
        each(arg, entry->name, entry->fd);
}
