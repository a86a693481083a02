/* Free lists by size class. Invariant: a list keeps at most its class's `most` buffers, so that a crowd that
 * has gone does not leave its memory behind. */
#include "plane/buffers.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Sizes are such that what is allocated, with its head, is a power of two. A head of HTTP and a slow client's
 * bytes fit the first class of buffers, what a socket gives at once the last. */
#define CLASS(bytes) ((bytes) - sizeof(struct buffer))
const uint32_t buffers_sizes[BUFFERS_CLASSES] = {
    CLASS(64),   CLASS(128),  CLASS(256),   CLASS(512),
    CLASS(1024), CLASS(2048), CLASS(16384), CLASS(SCRATCH_SIZE + 4096),
};
static const uint32_t most[BUFFERS_CLASSES] = {8192, 8192, 8192, 4096, 2048, 2048, 256, 64};

struct buffers *buffers_new(void)
{
    return mem_zero(1, sizeof(struct buffers));
}

void buffers_free(struct buffers *buffers)
{
    assert(buffers->lent == 0);
    for (unsigned i = 0; i < BUFFERS_CLASSES; i++) {
        struct buffer *next;
        for (struct buffer *buffer = buffers->free[i]; buffer != NULL; buffer = next) {
            next = buffer->next;
            free(buffer);
        }
    }
    free(buffers);
}

static struct buffer *make(struct buffers *buffers, uint32_t class, size_t size)
{
    if (size > UINT32_MAX)
        return NULL;
    struct buffer *buffer = malloc(sizeof *buffer + size);
    if (buffer == NULL)
        return NULL;
    *buffer = (struct buffer){.size = (uint32_t)size, .class = class};
    buffers->bytes += sizeof *buffer + size;
    return buffer;
}

static struct buffer *take(struct buffers *buffers, uint32_t class, size_t size)
{
    struct buffer *buffer = NULL;
    if (class == BUFFERS_CLASSES) {
        buffer = make(buffers, class, size);
    } else if ((buffer = buffers->free[class]) != NULL) {
        buffers->free[class] = buffer->next;
        __builtin_prefetch(buffer->next, 1); /* it has been out of use for longer, and is needed soon */
        buffers->kept[class]--;
    } else {
        buffer = make(buffers, class, buffers_sizes[class]);
    }
    buffers->lent += buffer != NULL;
    return buffer;
}

struct buffer *buffers_take(struct buffers *buffers, size_t size)
{
    uint32_t class = BUFFERS_FIRST;
    while (class < BUFFERS_CLASSES && size > buffers_sizes[class])
        class ++;
    return take(buffers, class, size);
}

void buffers_give(struct buffers *buffers, struct buffer *buffer)
{
    uint32_t class = buffer->class;
    assert(buffers->lent > 0);
    buffers->lent--;
    if (class == BUFFERS_CLASSES || buffers->kept[class] >= most[class]) {
        buffers->bytes -= sizeof *buffer + buffer->size;
        free(buffer);
        return;
    }
    buffer->next = buffers->free[class];
    buffers->free[class] = buffer;
    buffers->kept[class]++;
}

/* ---- blocks ---- */

/* The classes up to the first of buffers double. */
static uint32_t class_of_block(size_t size)
{
    if (size <= buffers_sizes[0])
        return 0;
    if (size > buffers_sizes[BUFFERS_FIRST])
        return BUFFERS_CLASSES;
    return 58 - (uint32_t)__builtin_clzll(size + sizeof(struct buffer) - 1);
}

static struct buffer *buffer_of(void *block)
{
    return mem_container(block, struct buffer, bytes);
}

void *buffers_take_block(struct buffers *buffers, size_t size)
{
    struct buffer *buffer = take(buffers, class_of_block(size), size);
    return buffer == NULL ? NULL : buffer->bytes;
}

void *buffers_resize_block(struct buffers *buffers, void *block, size_t size)
{
    struct buffer *buffer = buffer_of(block);
    if (size <= buffer->size)
        return block;
    void *larger = buffers_take_block(buffers, size);
    if (larger == NULL)
        return NULL;
    memcpy(larger, block, buffer->size);
    buffers_give(buffers, buffer);
    return larger;
}

void buffers_give_block(struct buffers *buffers, void *block)
{
    buffers_give(buffers, buffer_of(block));
}
