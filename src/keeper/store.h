/* store: descriptors kept under names for a control that may die: listening sockets, counters, the accepted
 * config. */
#pragma once

#include <stddef.h>

struct store;

struct store *store_new(void);
/* Closes what it holds. */
void store_free(struct store *store);

/* Keeps fd (owned from now on) under name, closing what was there under it. */
void store_put(struct store *store, const char *name, int fd);
/* Closes and forgets; an unknown name is fine. */
void store_drop(struct store *store, const char *name);

/* The descriptor (which stays the store's) under this name, or -1. */
int store_get(const struct store *store, const char *name);

size_t store_count(const struct store *store);
/* Calls `each` with every name and descriptor (which stays the store's), oldest first. */
void store_each(const struct store *store, void (*each)(void *arg, const char *name, int fd), void *arg);
