/* Invariant: each behaves as its namesake of the C library. */
#include "plane/h2_memory.h"

#include <string.h>

static void *take(size_t size, void *buffers)
{
    return buffers_take_block(buffers, size);
}

static void give(void *block, void *buffers)
{
    if (block != NULL)
        buffers_give_block(buffers, block);
}

static void *take_zeroed(size_t count, size_t size, void *buffers)
{
    size_t total;
    void *block = __builtin_mul_overflow(count, size, &total) ? NULL : buffers_take_block(buffers, total);
    return block == NULL ? NULL : memset(block, 0, total);
}

static void *resize(void *block, size_t size, void *buffers)
{
    return block == NULL ? buffers_take_block(buffers, size) : buffers_resize_block(buffers, block, size);
}

nghttp2_mem h2_memory_of(struct buffers *buffers)
{
    return (nghttp2_mem){buffers, take, give, take_zeroed, resize};
}
