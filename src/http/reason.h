/* reason: the words of X-Upswap, and a sentence for each. The list for users is doc/x-upswap.md. */
#pragma once

#include <stddef.h>

struct http_reason {
    const char *word; /* small letters, digits and '-' */
    const char
        *statuses; /* the statuses that it goes with, such as "400 502"; empty: any that an instance gave */
    const char *sentence; /* for people; plain text that needs no escaping in HTML or JSON */
};

/* The i-th reason, in the order of the list, or NULL behind the last. */
const struct http_reason *http_reason_at(size_t i);

/* The reason with this word, or NULL. */
const struct http_reason *http_reason_find(const char *word);
