#include "config/claims.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct claim {
    char *key;
    const char *owner; /* NULL: nobody's */
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

void claims_add(struct claims *claims, char *key, const char *owner, const void *field, unsigned line)
{
    if (claims->count == claims->room) {
        claims->room = claims->room == 0 ? 16 : claims->room * 2;
        claims->items = mem_resize(claims->items, claims->room, sizeof *claims->items);
    }
    claims->items[claims->count] = (struct claim){key, owner, field, line, claims->count};
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

/* The sentence about the second of two; `line` is the first's. */
static void refuse(const struct claim *first, const struct claim *second, unsigned line, const char *what,
                   const char *remedy, struct err *err)
{
    if (second->owner == NULL)
        err_set(err, "%s \"%s\" is already taken on line %u; %s", what, second->key, line, remedy);
    else if (strcmp(first->owner, second->owner) == 0)
        err_set(err, "%s \"%s\" of service \"%s\" stands twice, first on line %u; keep one of the two", what,
                second->key, second->owner, line);
    else
        err_set(err, "%s \"%s\" of service \"%s\" is already taken by service \"%s\" on line %u; %s", what,
                second->key, second->owner, first->owner, line, remedy);
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
    refuse(&worst[-1], worst, places_line(places, worst[-1].field, worst[-1].line), what, remedy, err);
    return err_prefix(err, "%s:%u", path, places_line(places, worst->field, worst->line));
}
