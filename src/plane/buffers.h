/* buffers: the memory of a worker that comes and goes with requests. A buffer, in which bytes wait, belongs
 * to one inlet or outlet, or lies in a free list; idle connections own none. A block is a smaller one of the
 * same lists, for whatever lives as long as a stream of HTTP/2. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SCRATCH_SIZE 65536
#define BUFFERS_CLASSES 8
#define BUFFERS_FIRST 5 /* the first class of buffers; those before it are for blocks alone */

struct buffer {
    struct buffer *next; /* the free list's */
    uint32_t size;       /* bytes that fit */
    uint32_t class;      /* BUFFERS_CLASSES: of no class, freed when given back */
    _Alignas(max_align_t) char bytes[];
};

struct buffers {
    struct buffer *free[BUFFERS_CLASSES];
    uint32_t kept[BUFFERS_CLASSES]; /* in the free lists */
    uint64_t lent;                  /* taken and not given back */
    uint64_t bytes;                 /* of all that there are, lent or kept, with their heads */
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

/* A block of at least `size` bytes, aligned for anything, or NULL as above. More than a small buffer holds
 * comes from the heap, and goes back to it. */
void *buffers_take_block(struct buffers *buffers, size_t size);
/* The block with `size` bytes: itself, or another to which its bytes have moved. NULL: it stays as it is. */
void *buffers_resize_block(struct buffers *buffers, void *block, size_t size);
void buffers_give_block(struct buffers *buffers, void *block);
