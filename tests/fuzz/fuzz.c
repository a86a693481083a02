/* The small tools of the targets. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

void fuzz_fail(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, condition);
    abort();
}

char *fuzz_copy(const void *bytes, size_t count)
{
    char *copy = malloc(count);
    fuzz_check(copy != NULL || count == 0);
    if (count > 0)
        memcpy(copy, bytes, count);
    return copy;
}

bool fuzz_lies_in(struct str text, const char *bytes, size_t count)
{
    return text.n == 0 ||
           (text.p >= bytes && text.p <= bytes + count && text.n <= (size_t)(bytes + count - text.p));
}

/* FNV-1a for the seed, xorshift64* from there. */
struct fuzz_dice fuzz_dice(const void *bytes, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
    return (struct fuzz_dice){hash | 1};
}

size_t fuzz_below(struct fuzz_dice *dice, size_t limit)
{
    dice->state ^= dice->state >> 12;
    dice->state ^= dice->state << 25;
    dice->state ^= dice->state >> 27;
    return (size_t)((dice->state * 0x2545f4914f6cdd1d) >> 33) % limit;
}

uint8_t fuzz_byte(struct fuzz_reader *reader)
{
    if (reader->left == 0)
        return 0;
    reader->left--;
    return *reader->at++;
}

struct str fuzz_take(struct fuzz_reader *reader, size_t most)
{
    struct str taken = {(const char *)reader->at, most < reader->left ? most : reader->left};
    reader->at += taken.n;
    reader->left -= taken.n;
    return taken;
}
