/* places: the line on which each value was written, so that a fault that shows itself after reading can still
 * name it. A value is known by the address of its field. */
#pragma once

#include <stddef.h>

struct config_places;

struct config_places *places_new(void);
void places_free(struct config_places *places);

void places_add(struct config_places *places, const void *field, unsigned line);

/* The line on which the field was last written; `otherwise` where it was not. Looks through all of them: for
 * messages only. */
unsigned places_line(const struct config_places *places, const void *field, unsigned otherwise);
