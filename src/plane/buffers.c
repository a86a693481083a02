/* Free lists by size class. Invariant: a list keeps at most its class's `most` buffers, so that a crowd that
 * has gone does not leave its memory behind. */
#include "plane/buffers.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* Sizes are such that the block with its header is a power of two. A head and a slow client's bytes fit the
 * first class, what a socket gives at once the last. */
const uint32_t buffers_sizes[BUFFERS_CLASSES] = {
    2048 - sizeof(struct buffer),
    16384 - sizeof(struct buffer),
    SCRATCH_SIZE + 4096 - sizeof(struct buffer),
};
static const uint32_t most[BUFFERS_CLASSES] = {2048, 256, 64};

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

static struct buffer *make(uint32_t class, size_t size)
{
    if (size > UINT32_MAX)
        return NULL;
    struct buffer *buffer = malloc(sizeof *buffer + size);
    if (buffer != NULL)
        *buffer = (struct buffer){.size = (uint32_t)size, .class = class};
    return buffer;
}

struct buffer *buffers_take(struct buffers *buffers, size_t size)
{
    uint32_t class = 0;
    while (class < BUFFERS_CLASSES && size > buffers_sizes[class])
        class ++;
    struct buffer *buffer = NULL;
    if (class == BUFFERS_CLASSES) {
        buffer = make(class, size);
    } else if ((buffer = buffers->free[class]) != NULL) {
        buffers->free[class] = buffer->next;
        buffers->kept[class]--;
    } else {
        buffer = make(class, buffers_sizes[class]);
    }
    buffers->lent += buffer != NULL;
    return buffer;
}

void buffers_give(struct buffers *buffers, struct buffer *buffer)
{
    uint32_t class = buffer->class;
    assert(buffers->lent > 0);
    buffers->lent--;
    if (class == BUFFERS_CLASSES || buffers->kept[class] >= most[class]) {
        free(buffer);
        return;
    }
    buffer->next = buffers->free[class];
    buffers->free[class] = buffer;
    buffers->kept[class]++;
}
