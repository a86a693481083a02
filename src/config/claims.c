#include "config/claims.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct claim {
    char *key;
    const void *field;
    unsigned line;
    size_t order;
};

struct claims {
    struct claim *items;
    size_t count, room;
};

struct claims *claims_new(void)
{
    return mem_zero(1, sizeof(struct claims));
}

void claims_free(struct claims *claims)
{
    for (size_t i = 0; i < claims->count; i++)
        free(claims->items[i].key);
    free(claims->items);
    free(claims);
}

void claims_add(struct claims *claims, char *key, const void *field, unsigned line)
{
    if (claims->count == claims->room) {
        claims->room = claims->room == 0 ? 16 : claims->room * 2;
        claims->items = mem_resize(claims->items, claims->room, sizeof *claims->items);
    }
    claims->items[claims->count] = (struct claim){key, field, line, claims->count};
    claims->count++;
}

static int by_key_then_order(const void *a, const void *b)
{
    const struct claim *left = a, *right = b;
    int keys = strcmp(left->key, right->key);
    if (keys != 0)
        return keys;
    return left->order < right->order ? -1 : left->order > right->order;
}

bool claims_check(struct claims *claims, const struct config_places *places, const char *path,
                  const char *what, const char *remedy, struct err *err)
{
    const struct claim *worst = NULL;
    if (claims->count > 1)
        qsort(claims->items, claims->count, sizeof *claims->items, by_key_then_order);
    for (size_t i = 1; i < claims->count; i++) {
        const struct claim *claim = &claims->items[i];
        if (strcmp(claim->key, claim[-1].key) == 0 && (worst == NULL || claim->order < worst->order))
            worst = claim;
    }
    if (worst == NULL)
        return true;
    return err_set(err, "%s:%u: %s \"%s\" is already taken on line %u; %s", path,
                   places_line(places, worst->field, worst->line), what, worst->key,
                   places_line(places, worst[-1].field, worst[-1].line), remedy);
}
