/* held: bytes that wait for whoever takes them. */
#pragma once

#include <stddef.h>

struct held;

/* A copy of n bytes (1 or more). NULL: no memory. */
struct held *held_new(const void *bytes, size_t n);

/* How many there are; of NULL none. */
size_t held_count(const struct held *held);

/* All that are there. */
const unsigned char *held_bytes(const struct held *held);

/* Moves up to `room` of them to `to`, or, where that is NULL, nowhere. Returns how many. With the last one
 * goes what held them, and *held is NULL; NULL has none. */
size_t held_take(struct held **held, void *to, size_t room);

/* Wipes them. NULL is fine. */
void held_free(struct held *held);
