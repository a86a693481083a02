/* str: text as pointer and length. A str owns nothing and needs no NUL; it lives as long as what it points
 * into. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n; /* bytes */
};

/* A str from a string literal. */
#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
/* For printf: "%.*s", STR_ARG(s) */
#define STR_ARG(s) (int)(s).n, (s).p

static inline struct str str_of(const char *text)
{
    return (struct str){text, strlen(text)};
}

static inline bool str_equal(struct str a, struct str b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

/* Are so many bytes the same, with ASCII letters of either case equal? Locale plays no part. */
bool str_same_letters(const char *a, const char *b, size_t count);

/* As str_equal, with ASCII letters of either case equal. */
static inline bool str_equal_nocase(struct str a, struct str b)
{
    return a.n == b.n && str_same_letters(a.p, b.p, a.n);
}

/* Are both the same text, or both NULL? */
bool str_is_same(const char *a, const char *b);

bool str_starts_with(struct str text, struct str prefix);
bool str_ends_with(struct str text, struct str suffix);

/* Without the white space (space, tab, CR, LF) at both ends. */
struct str str_trim(struct str text);

/* Takes off and returns what stands before the first `separator` in *rest (all of it where there is none);
 * *rest is what follows the separator. Returns false when *rest was used up (p == NULL). */
bool str_split(struct str *rest, char separator, struct str *part);

/* Reads a whole decimal number, digits only, no sign. False if it is empty, has another byte, or does not
 * fit. */
bool str_to_u64(struct str text, uint64_t *value);

/* A NUL-terminated copy, to be freed with free(). Never NULL. */
char *str_dup(struct str text);

/* Letters, insertions and swaps between two words: 0 for equal ones. For "did you mean". */
unsigned str_distance(struct str a, struct str b);

/* The one of `count` words that is nearest to `word`, or NULL where none is near: more than a third differs,
 * or more than three letters. */
const char *str_nearest(struct str word, const char *const *words, size_t count);
