/* Each field is two lengths and the bytes of both. Invariant: size is at the end of a whole field. */
#include "http/h2_block.h"

bool h2_block_add(struct h2_block *block, struct str name, struct str value)
{
    if (name.n > UINT32_MAX || value.n > UINT32_MAX ||
        block->room - block->size < h2_block_cost(name.n, value.n))
        return false;
    const uint32_t lengths[2] = {(uint32_t)name.n, (uint32_t)value.n};
    char *to = h2_block_open(block);
    if (name.n > 0)
        memcpy(to, name.p, name.n);
    if (value.n > 0)
        memcpy(to + name.n, value.p, value.n);
    h2_block_close(block, lengths);
    return true;
}
