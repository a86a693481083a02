#include "io/held.h"

#include <stdlib.h>
#include <string.h>

struct held {
    size_t at, n; /* bytes[at] to bytes[n - 1] wait */
    unsigned char bytes[];
};

struct held *held_new(const void *bytes, size_t n)
{
    struct held *held = malloc(sizeof *held + n);
    if (held == NULL)
        return NULL;
    held->at = 0;
    held->n = n;
    memcpy(held->bytes, bytes, n);
    return held;
}

size_t held_count(const struct held *held)
{
    return held == NULL ? 0 : held->n - held->at;
}

const unsigned char *held_bytes(const struct held *held)
{
    return held->bytes + held->at;
}

size_t held_take(struct held **held, void *to, size_t room)
{
    size_t all = held_count(*held), n = room < all ? room : all;
    if (n > 0 && to != NULL)
        memcpy(to, held_bytes(*held), n);
    if (n > 0)
        (*held)->at += n;
    if (n == all) {
        held_free(*held);
        *held = NULL;
    }
    return n;
}

void held_free(struct held *held)
{
    if (held == NULL)
        return;
    explicit_bzero(held->bytes, held->n);
    free(held);
}
