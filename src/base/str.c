#include "base/str.h"

#include "base/mem.h"

#include <stdlib.h>

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool str_same_letters(const char *a, const char *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (a[i] != b[i] && lower(a[i]) != lower(b[i]))
            return false;
    }
    return true;
}

bool str_is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool str_starts_with(struct str text, struct str prefix)
{
    return text.n >= prefix.n && memcmp(text.p, prefix.p, prefix.n) == 0;
}

bool str_ends_with(struct str text, struct str suffix)
{
    return text.n >= suffix.n && memcmp(text.p + text.n - suffix.n, suffix.p, suffix.n) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str text)
{
    while (text.n > 0 && is_space(text.p[0])) {
        text.p++;
        text.n--;
    }
    while (text.n > 0 && is_space(text.p[text.n - 1]))
        text.n--;
    return text;
}

bool str_split(struct str *rest, char separator, struct str *part)
{
    if (rest->p == NULL)
        return false;
    const char *at = rest->n > 0 ? memchr(rest->p, separator, rest->n) : NULL;
    if (at == NULL) {
        *part = *rest;
        *rest = (struct str){NULL, 0};
        return true;
    }
    size_t n = (size_t)(at - rest->p);
    *part = (struct str){rest->p, n};
    *rest = (struct str){at + 1, rest->n - n - 1};
    return true;
}

bool str_to_u64(struct str text, uint64_t *value)
{
    enum { SURE = 19 }; /* so many digits always fit */
    uint64_t sum = 0;
    if (text.n == 0)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = (unsigned)(unsigned char)text.p[i] - '0';
        if (digit > 9)
            return false;
        if (i < SURE)
            sum = sum * 10 + digit;
        else if (__builtin_mul_overflow(sum, 10U, &sum) || __builtin_add_overflow(sum, digit, &sum))
            return false;
    }
    *value = sum;
    return true;
}

char *str_dup(struct str text)
{
    char *copy = mem_alloc(text.n + 1);
    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    return copy;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

/* Optimal string alignment over three rows. */
unsigned str_distance(struct str a, struct str b)
{
    size_t width = b.n + 1;
    unsigned *rows = mem_zero(3 * width, sizeof *rows);
    unsigned *before = rows, *last = rows + width, *row = rows + 2 * width;
    for (size_t j = 0; j < width; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            unsigned differs = a.p[i - 1] != b.p[j - 1];
            row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + differs);
            bool swapped = i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1];
            if (swapped && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    unsigned distance = last[b.n];
    free(rows);
    return distance;
}

#define SLIPS_MAX 3 /* of one who knows the word and mistypes it */

const char *str_nearest(struct str word, const char *const *words, size_t count)
{
    const char *nearest = NULL;
    unsigned least = (unsigned)(word.n / 3 < SLIPS_MAX ? word.n / 3 + 1 : SLIPS_MAX) + 1;
    for (size_t i = 0; i < count; i++) {
        unsigned distance = str_distance(word, str_of(words[i]));
        if (distance < least) {
            least = distance;
            nearest = words[i];
        }
    }
    return nearest;
}
