#include "config/places.h"

#include "base/mem.h"

#include <stdlib.h>

struct place {
    const void *field;
    unsigned line;
};

struct config_places {
    struct place *items;
    size_t count, room;
};

struct config_places *places_new(void)
{
    return mem_zero(1, sizeof(struct config_places));
}

void places_free(struct config_places *places)
{
    if (places == NULL)
        return;
    free(places->items);
    free(places);
}

void places_add(struct config_places *places, const void *field, unsigned line)
{
    if (places->count == places->room) {
        places->room = places->room == 0 ? 64 : places->room * 2;
        places->items = mem_resize(places->items, places->room, sizeof *places->items);
    }
    places->items[places->count++] = (struct place){field, line};
}

unsigned places_line(const struct config_places *places, const void *field, unsigned otherwise)
{
    for (size_t i = places->count; i > 0; i--) {
        if (places->items[i - 1].field == field)
            return places->items[i - 1].line;
    }
    return otherwise;
}
