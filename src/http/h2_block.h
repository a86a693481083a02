/* h2_block: a header block of HTTP/2 as one piece of bytes: name, value, name, value, in the order in which
 * they came. It is filled while the block is read and looked at when it is whole. */
#pragma once

#include "base/str.h"

#include <stdint.h>

struct h2_block {
    char *bytes; /* the caller's */
    size_t size; /* in use */
    size_t room;
};

/* Bytes that one field takes in a block. */
static inline size_t h2_block_cost(size_t name, size_t value)
{
    return 2 * sizeof(uint32_t) + name + value;
}

/* Where the name and then the value of the next field may be written, to be closed with their lengths. */
static inline char *h2_block_open(const struct h2_block *block)
{
    return block->bytes + block->size + 2 * sizeof(uint32_t);
}

static inline void h2_block_close(struct h2_block *block, const uint32_t lengths[2])
{
    memcpy(block->bytes + block->size, lengths, 2 * sizeof *lengths);
    block->size += h2_block_cost(lengths[0], lengths[1]);
}

/* Copies a field behind the others. False: there is no room, and nothing was copied. */
bool h2_block_add(struct h2_block *block, struct str name, struct str value);

/* The field at *at (0 for the first one), which moves behind it. False: there is none. */
static inline bool h2_block_next(const struct h2_block *block, size_t *at, struct str *name,
                                 struct str *value)
{
    uint32_t lengths[2];
    if (*at == block->size)
        return false;
    const char *p = block->bytes + *at;
    memcpy(lengths, p, sizeof lengths);
    p += sizeof lengths;
    *name = (struct str){p, lengths[0]};
    *value = (struct str){p + lengths[0], lengths[1]};
    *at += h2_block_cost(name->n, value->n);
    return true;
}
