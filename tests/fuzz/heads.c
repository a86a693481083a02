/* The ways to feed a head. */
#include "heads.h"

#include "http/head.h"

#include <stdlib.h>

#define CUTS_MOST 64 /* of one input: each costs two parses */

static void compare(struct heads_outcome a, struct heads_outcome b)
{
    fuzz_check(a.result == b.result);
    if (a.result == HTTP_DONE)
        fuzz_check(a.length == b.length);
    if (a.result != HTTP_BAD)
        return;
    fuzz_check(a.fault.status == b.fault.status);
    fuzz_check(strcmp(a.fault.reason, b.fault.reason) == 0);
}

/* Pieces may leave a fault undetected until the head ends, but not longer. */
static void end_pieces(heads_parser *parse, void *into, const char *bytes, size_t count, size_t seen,
                       struct heads_outcome whole, struct heads_outcome part)
{
    if (part.result != HTTP_MORE || whole.result != HTTP_BAD) {
        compare(whole, part);
        return;
    }
    char *ended = malloc(count + 4);
    fuzz_check(ended != NULL);
    memcpy(ended, bytes, count);
    memcpy(ended + count, "\r\n\r\n", 4);
    compare(whole, parse(into, ended, count + 4, &seen));
    free(ended);
}

static void feed_bytewise(heads_parser *parse, void *into, const char *bytes, size_t count,
                          struct heads_outcome whole)
{
    struct heads_outcome part = {.result = HTTP_MORE};
    size_t seen = 0;
    for (size_t n = 1; n <= count && part.result == HTTP_MORE; n++)
        part = parse(into, bytes, n, &seen);
    end_pieces(parse, into, bytes, count, seen, whole, part);
}

static void feed_cut(heads_parser *parse, void *into, const char *bytes, size_t count,
                     struct heads_outcome whole)
{
    struct fuzz_dice dice = fuzz_dice(bytes, count);
    for (size_t i = 1; i < count && i <= CUTS_MOST; i++) {
        size_t first = count <= CUTS_MOST ? i : 1 + fuzz_below(&dice, count - 1), seen = 0;
        struct heads_outcome part = parse(into, bytes, first, &seen);
        if (part.result == HTTP_MORE)
            part = parse(into, bytes, count, &seen);
        end_pieces(parse, into, bytes, count, seen, whole, part);
    }
}

/* The end of the first empty line behind a line that is not empty. */
static size_t end_of_head(const char *bytes, size_t count)
{
    size_t start = 0;
    while (start + 2 <= count && memcmp(bytes + start, "\r\n", 2) == 0)
        start += 2;
    const char *end = memmem(bytes + start, count - start, "\r\n\r\n", 4);
    return end == NULL ? 0 : (size_t)(end - bytes) + 4;
}

static void check_end(heads_parser *parse, void *into, const char *bytes, size_t count, uint32_t length)
{
    fuzz_check(length <= count && length <= HEADS_HEAD_MAX);
    fuzz_check(length == end_of_head(bytes, count));
    for (size_t i = 0; i < length; i++)
        fuzz_check(bytes[i] != '\0' && (bytes[i] != '\n' || (i > 0 && bytes[i - 1] == '\r')));
    char *exact = fuzz_copy(bytes, length);
    size_t seen = 0;
    fuzz_check(parse(into, exact, length - 1, &seen).result == HTTP_MORE);
    seen = 0;
    struct heads_outcome alone = parse(into, exact, length, &seen);
    fuzz_check(alone.result == HTTP_DONE && alone.length == length);
    free(exact);
}

struct heads_outcome heads_parse(heads_parser *parse, void *into, const char *bytes, size_t count)
{
    size_t seen = 0;
    struct heads_outcome whole = parse(into, bytes, count, &seen);
    if (count == 0)
        return whole;
    feed_bytewise(parse, into, bytes, count, whole);
    feed_cut(parse, into, bytes, count, whole);
    if (whole.result == HTTP_DONE)
        check_end(parse, into, bytes, count, whole.length);
    seen = 0;
    return parse(into, bytes, count, &seen);
}

void heads_check_fields(const struct http_fields *fields, const char *bytes, size_t length)
{
    fuzz_check(fields->count <= HTTP_FIELDS_MAX);
    for (uint32_t i = 0; i < fields->count; i++) {
        struct str name = fields->at[i].name, value = fields->at[i].value;
        fuzz_check(fuzz_lies_in(name, bytes, length) && fuzz_lies_in(value, bytes, length));
        fuzz_check(is_all_class(name, CLASS_TOKEN));
        fuzz_check(value.n == 0 || is_all_class(value, CLASS_VALUE));
        fuzz_check(str_trim(value).n == value.n);
        fuzz_check(fields->present & HTTP_FIELD_BIT(fields->at[i].id));
    }
}
