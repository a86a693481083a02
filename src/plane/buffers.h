/* buffers: the memory in which a worker's bytes wait. A buffer belongs to one inlet or outlet, or lies in a
 * free list; idle connections own none. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SCRATCH_SIZE 65536
#define BUFFERS_CLASSES 3

struct buffer {
    struct buffer *next; /* the free list's */
    uint32_t size;       /* bytes that fit */
    uint32_t class;      /* BUFFERS_CLASSES: of no class, freed when given back */
    char bytes[];
};

struct buffers {
    struct buffer *free[BUFFERS_CLASSES];
    uint32_t kept[BUFFERS_CLASSES]; /* in the free lists */
    uint64_t lent;                  /* taken and not given back */
    /* Where reads go first. What lies in it is valid until the next read of the worker: before that, it is
     * consumed or moved into a buffer. */
    char scratch[SCRATCH_SIZE];
};

/* Bytes that fit into a buffer of each class. */
extern const uint32_t buffers_sizes[BUFFERS_CLASSES];

struct buffers *buffers_new(void);
/* All must have been given back. */
void buffers_free(struct buffers *buffers);

/* A buffer of at least `size` bytes, or NULL where the machine has no memory left. */
struct buffer *buffers_take(struct buffers *buffers, size_t size);
void buffers_give(struct buffers *buffers, struct buffer *buffer);
