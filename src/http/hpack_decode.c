/* A field is first read as it stands in the block, and only when all of it is there is it acted on.
 * Invariant: until then nothing of the decoder has changed. */
#include "http/hpack.h"
#include "http/hpack_huffman.h"

#include <assert.h>

#define INTEGER_MAX (1U << 28)
#define INTEGER_BYTES 5 /* besides the first one */

_Static_assert(sizeof(struct hpack_decoder) <= 7680, "there is one in each connection");

/* A string as it stands in the block (section 5.2). */
struct coded {
    const uint8_t *p;
    uint32_t n;
    bool huffman;
};

/* A field as it stands in the block (section 6). */
struct form {
    uint32_t index; /* 0: the name is a string */
    bool is_indexed;
    bool is_added;
    struct coded name, value;
};

/* Table size updates (section 6.3). Between two fields only the least and the last make a difference. */
struct resize {
    bool any;
    uint32_t least, last;
};

/* Bytes of a field in a table, name and value. */
struct text {
    const char *p; /* NULL: there is no such entry */
    uint32_t name, value;
};

void hpack_decoder_start(struct hpack_decoder *decoder)
{
    decoder->begun = false;
    hpack_table_start(&decoder->table);
}

void hpack_decode_block(struct hpack_decoder *decoder)
{
    decoder->begun = false;
}

static enum hpack_result read_long_integer(const uint8_t **at, const uint8_t *end, uint32_t *value)
{
    uint64_t sum = *value;
    for (unsigned shift = 0; shift < 7 * INTEGER_BYTES; shift += 7) {
        if (*at == end)
            return HPACK_MORE;
        uint8_t byte = *(*at)++;
        sum += (uint64_t)(byte & 0x7f) << shift;
        if (sum > INTEGER_MAX)
            return HPACK_BAD;
        if (byte < 0x80) {
            *value = (uint32_t)sum;
            return HPACK_FIELD;
        }
    }
    return HPACK_BAD;
}

/* Section 5.1. The first byte is there; `mask` is of those of its bits that are the integer's. */
static inline enum hpack_result read_integer(const uint8_t **at, const uint8_t *end, uint32_t mask,
                                             uint32_t *value)
{
    *value = *(*at)++ & mask;
    return *value < mask ? HPACK_FIELD : read_long_integer(at, end, value);
}

static inline enum hpack_result read_string(const uint8_t **at, const uint8_t *end, struct coded *string)
{
    if (*at == end)
        return HPACK_MORE;
    string->huffman = **at & 0x80;
    enum hpack_result result = read_integer(at, end, 0x7f, &string->n);
    if (result != HPACK_FIELD)
        return result;
    if ((size_t)(end - *at) < string->n)
        return HPACK_MORE;
    string->p = *at;
    *at += string->n;
    return HPACK_FIELD;
}

static enum hpack_result read_resizes(const struct hpack_decoder *decoder, const uint8_t **at,
                                      const uint8_t *end, struct resize *resize)
{
    while (*at < end && (**at & 0xe0) == 0x20) {
        if (decoder->begun)
            return HPACK_BAD;
        enum hpack_result result = read_integer(at, end, 0x1f, &resize->last);
        if (result != HPACK_FIELD)
            return result;
        if (resize->last > HPACK_TABLE)
            return HPACK_BAD;
        if (!resize->any || resize->last < resize->least)
            resize->least = resize->last;
        resize->any = true;
    }
    return HPACK_FIELD;
}

/* The first byte is there. */
static inline enum hpack_result read_form(const uint8_t **at, const uint8_t *end, struct form *form)
{
    uint8_t first = **at;
    form->is_indexed = first & 0x80;
    form->is_added = (first & 0xc0) == 0x40;
    uint32_t mask = form->is_indexed ? 0x7f : form->is_added ? 0x3f : 0x0f;
    enum hpack_result result = read_integer(at, end, mask, &form->index);
    if (form->is_indexed || result != HPACK_FIELD)
        return result;
    if (form->index == 0)
        result = read_string(at, end, &form->name);
    return result == HPACK_FIELD ? read_string(at, end, &form->value) : result;
}

/* Section 2.3.3. */
static inline struct text find(const struct hpack_table *table, uint32_t index)
{
    if (index <= HPACK_STATIC) {
        const struct hpack_row *row = &hpack_rows[index];
        return (struct text){index > 0 ? (const char *)row : NULL, row->name, row->value};
    }
    const struct hpack_entry *entry = hpack_table_at(table, index - HPACK_STATIC - 1);
    if (entry == NULL)
        return (struct text){NULL, 0, 0};
    return (struct text){table->bytes + entry->at, entry->name, entry->value};
}

/* From a table, whose rows and bytes have whole sixteens. No entry is longer than HPACK_TABLE less its
 * overhead, so `to`, which has room for HPACK_TABLE bytes, has room for whole sixteens as well. */
static inline void copy(char *to, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i += HPACK_WIDE)
        memcpy(to + i, from + i, HPACK_WIDE);
}

static inline enum hpack_result take_indexed(const struct hpack_table *table, uint32_t index, char *out,
                                             uint32_t lengths[2])
{
    struct text text = find(table, index);
    if (text.p == NULL)
        return HPACK_BAD;
    copy(out, text.p, text.name + text.value);
    lengths[0] = text.name;
    lengths[1] = text.value;
    return HPACK_FIELD;
}

/* Writes the string to *to, which moves behind it. */
static inline enum hpack_result take_string(const struct coded *string, char **to, char *end)
{
    if (string->huffman) {
        enum hpack_huffman_result result = hpack_huffman_decode(string->p, string->p + string->n, to, end);
        return result == HPACK_HUFFMAN_DONE   ? HPACK_FIELD
               : result == HPACK_HUFFMAN_FULL ? HPACK_LONG
                                              : HPACK_BAD;
    }
    if ((size_t)(end - *to) < string->n)
        return HPACK_LONG;
    memcpy(*to, string->p, string->n);
    *to += string->n;
    return HPACK_FIELD;
}

static uint32_t longest(const struct coded *string)
{
    return string->huffman ? (uint32_t)((uint64_t)string->n * 8 / 5) : string->n;
}

/* A field of more than HPACK_TABLE bytes empties the table (section 4.4). */
static enum hpack_result pass_over(struct hpack_table *table, const struct form *form, uint32_t lengths[2])
{
    lengths[0] = form->index > 0 ? find(table, form->index).name : longest(&form->name);
    lengths[1] = longest(&form->value);
    if (form->is_added)
        hpack_table_add(table, HPACK_TABLE, 0);
    return HPACK_LONG;
}

/* Section 6.2. The field is in `out` before it is added, so its name may be of an entry that it drives out.
 */
static inline enum hpack_result take_literal(struct hpack_table *table, const struct form *form, char *out,
                                             size_t room, uint32_t lengths[2])
{
    char *to = out, *end = out + room;
    enum hpack_result result = HPACK_FIELD;
    if (form->index > 0) {
        struct text text = find(table, form->index);
        if (text.p == NULL)
            return HPACK_BAD;
        copy(to, text.p, text.name);
        to += text.name;
    } else {
        result = take_string(&form->name, &to, end);
    }
    lengths[0] = (uint32_t)(to - out);
    if (result == HPACK_FIELD)
        result = take_string(&form->value, &to, end);
    if (result != HPACK_FIELD)
        return result == HPACK_LONG ? pass_over(table, form, lengths) : result;
    lengths[1] = (uint32_t)(to - out) - lengths[0];
    if (form->is_added) {
        char *added = hpack_table_add(table, lengths[0], lengths[1]);
        if (added != NULL)
            memcpy(added, out, (size_t)(to - out));
    }
    return HPACK_FIELD;
}

__attribute__((noinline)) static enum hpack_result decode_any(struct hpack_decoder *decoder,
                                                              const uint8_t **at, const uint8_t *end,
                                                              char *out, size_t room, uint32_t lengths[2])
{
    struct resize resize = {.any = false};
    struct form form = {.index = 0};
    const uint8_t *p = *at;
    enum hpack_result result = read_resizes(decoder, &p, end, &resize);
    bool is_end = p == end;
    if (result == HPACK_FIELD && !is_end)
        result = read_form(&p, end, &form);
    if (result != HPACK_FIELD)
        return result;
    if (resize.any) {
        hpack_table_resize(&decoder->table, resize.least);
        hpack_table_resize(&decoder->table, resize.last);
    }
    if (is_end)
        result = HPACK_END;
    else if (form.is_indexed)
        result = take_indexed(&decoder->table, form.index, out, lengths);
    else
        result = take_literal(&decoder->table, &form, out, room, lengths);
    if (result == HPACK_BAD)
        return HPACK_BAD;
    decoder->begun |= !is_end;
    *at = p;
    return result;
}

enum hpack_result hpack_decode(struct hpack_decoder *decoder, const uint8_t **at, const uint8_t *end,
                               char *out, size_t room, uint32_t lengths[2])
{
    assert(room >= HPACK_TABLE);
    const uint8_t *p = *at;
    if (p == end || *p < 0x80 || *p == 0xff)
        return decode_any(decoder, at, end, out, room, lengths);
    decoder->begun = true; /* what most fields of most blocks are: one byte, an index */
    enum hpack_result result = take_indexed(&decoder->table, *p & 0x7f, out, lengths);
    *at = p + (result == HPACK_FIELD);
    return result;
}
