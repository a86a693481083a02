/* Entries are found by hashes: of a name, and of a field. A bucket holds the number of the entry that came
 * last; for fields each entry knows the one before it in its bucket. What is found is compared, so a number
 * that is out of date costs time and nothing else. Invariant: the table is what the peer's is behind the last
 * block. */
#include "http/hpack.h"
#include "http/hpack_huffman.h"

#include <endian.h>

_Static_assert(sizeof(struct hpack_encoder) <= 8704, "there is one in each connection");

/* Entries of a bucket that are looked at: who makes hashes collide gains nothing by it. */
#define STEPS_MAX 8
#define COOKIE 32 /* its index */
/* A cookie of as many bytes is too long to be guessed. */
#define COOKIE_GUESSED 20

/* Of the names in the static table the 7 high bits of the hash are all different with this factor. */
#define FACTOR 0x0a7766b3308d19f1U
#define BUCKET(hash) ((unsigned)((hash) >> 57))
#define TAG(hash) ((uint16_t)((hash) >> 41))

_Static_assert(HPACK_ENTRIES == 1 << (64 - 57), "a bucket's number is the 7 high bits");

/* The names of the static table. */
static const struct known {
    uint8_t index; /* of the first entry with this name; 0: none */
    uint8_t count; /* of entries, which follow one another */
    uint8_t how;   /* the least that it is encoded with: an hpack_how */
} knowns[HPACK_ENTRIES] = {
    [23] = {1, 1, HPACK_INDEX},   /* :authority */
    [65] = {2, 2, HPACK_INDEX},   /* :method */
    [59] = {4, 2, HPACK_ONCE},    /* :path */
    [10] = {6, 2, HPACK_INDEX},   /* :scheme */
    [121] = {8, 7, HPACK_INDEX},  /* :status */
    [127] = {15, 1, HPACK_INDEX}, /* accept-charset */
    [116] = {16, 1, HPACK_INDEX}, /* accept-encoding */
    [90] = {17, 1, HPACK_INDEX},  /* accept-language */
    [78] = {18, 1, HPACK_INDEX},  /* accept-ranges */
    [51] = {19, 1, HPACK_INDEX},  /* accept */
    [105] = {20, 1, HPACK_INDEX}, /* access-control-allow-origin */
    [72] = {21, 1, HPACK_ONCE},   /* age */
    [82] = {22, 1, HPACK_INDEX},  /* allow */
    [56] = {23, 1, HPACK_NEVER},  /* authorization */
    [18] = {24, 1, HPACK_INDEX},  /* cache-control */
    [41] = {25, 1, HPACK_INDEX},  /* content-disposition */
    [117] = {26, 1, HPACK_INDEX}, /* content-encoding */
    [26] = {27, 1, HPACK_INDEX},  /* content-language */
    [95] = {28, 1, HPACK_ONCE},   /* content-length */
    [5] = {29, 1, HPACK_INDEX},   /* content-location */
    [62] = {30, 1, HPACK_INDEX},  /* content-range */
    [8] = {31, 1, HPACK_INDEX},   /* content-type */
    [3] = {32, 1, HPACK_INDEX},   /* cookie */
    [55] = {33, 1, HPACK_INDEX},  /* date */
    [50] = {34, 1, HPACK_ONCE},   /* etag */
    [68] = {35, 1, HPACK_INDEX},  /* expect */
    [81] = {36, 1, HPACK_INDEX},  /* expires */
    [20] = {37, 1, HPACK_INDEX},  /* from */
    [14] = {38, 1, HPACK_INDEX},  /* host */
    [19] = {39, 1, HPACK_INDEX},  /* if-match */
    [84] = {40, 1, HPACK_ONCE},   /* if-modified-since */
    [92] = {41, 1, HPACK_ONCE},   /* if-none-match */
    [6] = {42, 1, HPACK_INDEX},   /* if-range */
    [21] = {43, 1, HPACK_INDEX},  /* if-unmodified-since */
    [70] = {44, 1, HPACK_INDEX},  /* last-modified */
    [83] = {45, 1, HPACK_INDEX},  /* link */
    [54] = {46, 1, HPACK_ONCE},   /* location */
    [93] = {47, 1, HPACK_INDEX},  /* max-forwards */
    [75] = {48, 1, HPACK_INDEX},  /* proxy-authenticate */
    [15] = {49, 1, HPACK_NEVER},  /* proxy-authorization */
    [125] = {50, 1, HPACK_INDEX}, /* range */
    [115] = {51, 1, HPACK_INDEX}, /* referer */
    [126] = {52, 1, HPACK_INDEX}, /* refresh */
    [31] = {53, 1, HPACK_INDEX},  /* retry-after */
    [35] = {54, 1, HPACK_INDEX},  /* server */
    [122] = {55, 1, HPACK_ONCE},  /* set-cookie */
    [103] = {56, 1, HPACK_INDEX}, /* strict-transport-security */
    [32] = {57, 1, HPACK_INDEX},  /* transfer-encoding */
    [118] = {58, 1, HPACK_INDEX}, /* user-agent */
    [67] = {59, 1, HPACK_INDEX},  /* vary */
    [85] = {60, 1, HPACK_INDEX},  /* via */
    [104] = {61, 1, HPACK_INDEX}, /* www-authenticate */
};

void hpack_encoder_start(struct hpack_encoder *encoder)
{
    encoder->resized = false;
    encoder->limit = encoder->least = HPACK_TABLE;
    hpack_table_start(&encoder->table);
    memset(encoder->fields, 0, sizeof encoder->fields);
    memset(encoder->names, 0, sizeof encoder->names);
}

void hpack_encoder_resize(struct hpack_encoder *encoder, uint32_t size)
{
    encoder->limit = size < HPACK_TABLE ? size : HPACK_TABLE;
    if (encoder->limit < encoder->least)
        encoder->least = encoder->limit;
    encoder->resized = true;
}

/* Section 5.1. `mask` is of the first byte's bits that are the integer's, `first` what its others are. */
static inline char *write_integer(char *out, unsigned first, size_t mask, size_t value)
{
    if (value < mask) {
        *out++ = (char)(first | value);
        return out;
    }
    *out++ = (char)(first | mask);
    for (value -= mask; value >= 0x80; value >>= 7)
        *out++ = (char)(0x80 | (value & 0x7f));
    *out++ = (char)value;
    return out;
}

static char *write_resize(struct hpack_encoder *encoder, char *out, uint32_t limit)
{
    hpack_table_resize(&encoder->table, limit);
    return write_integer(out, 0x20, 0x1f, limit);
}

char *hpack_encode_block(struct hpack_encoder *encoder, char *out)
{
    if (!encoder->resized)
        return out;
    if (encoder->least < encoder->limit && encoder->least < encoder->table.limit)
        out = write_resize(encoder, out, encoder->least);
    if (encoder->limit != encoder->table.limit)
        out = write_resize(encoder, out, encoder->limit);
    encoder->resized = false;
    encoder->least = encoder->limit;
    return out;
}

static char *write_plain(char *out, struct str text)
{
    out = write_integer(out, 0, 0x7f, text.n);
    if (text.n > 0)
        memcpy(out, text.p, text.n);
    return out + text.n;
}

/* Section 5.2. The code is written where it goes if its length takes as many bytes as the text's does. */
static char *write_string(char *out, struct str text)
{
    char *start = write_integer(out, 0x80, 0x7f, text.n);
    size_t n = hpack_huffman_encode(start, text.p, text.n);
    if (n >= text.n)
        return write_plain(out, text);
    char *to = write_integer(out, 0x80, 0x7f, n);
    if (to != start)
        memmove(to, start, n);
    return to + n;
}

static inline uint64_t load_8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return le64toh(x);
}

static inline uint64_t load_4(const char *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return le32toh(x);
}

/* Up to 3 bytes. */
static inline uint64_t load_few(const char *p, size_t n)
{
    if (n == 0)
        return 0;
    return (uint8_t)p[0] | (uint64_t)(uint8_t)p[n / 2] << 8 | (uint64_t)(uint8_t)p[n - 1] << 16;
}

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

/* Of the length and both ends, 8 bytes each. */
static inline uint64_t name_hash(struct str name)
{
    uint64_t first, last = 0;
    if (name.n >= 8) {
        first = load_8(name.p);
        last = load_8(name.p + name.n - 8);
    } else if (name.n >= 4) {
        first = load_4(name.p);
        last = load_4(name.p + name.n - 4);
    } else {
        first = load_few(name.p, name.n);
    }
    return (first ^ rotate(last, 29) ^ name.n) * FACTOR;
}

/* Of every byte. */
static inline uint64_t field_hash(uint64_t hash, struct str value)
{
    const char *p = value.p, *end = p + value.n;
    hash = rotate(hash, 31) + value.n;
    if (value.n < 8)
        return (hash ^ (value.n >= 4 ? load_4(p) | load_4(end - 4) << 32 : load_few(p, value.n))) * FACTOR;
    for (; end - p > 16; p += 16)
        hash = rotate(((hash ^ load_8(p)) * FACTOR) ^ load_8(p + 8), 31);
    if (end - p > 8)
        hash = rotate((hash ^ load_8(p)) * FACTOR, 31);
    return (hash ^ load_8(end - 8)) * FACTOR;
}

static inline bool is_same(const char *a, const char *b, size_t n)
{
    if (n > 32)
        return memcmp(a, b, n) == 0;
    if (n >= 8) { /* the last eight may overlap those before */
        for (size_t i = 0; i + 8 < n; i += 8) {
            if (load_8(a + i) != load_8(b + i))
                return false;
        }
        return load_8(a + n - 8) == load_8(b + n - 8);
    }
    if (n >= 4)
        return load_4(a) == load_4(b) && load_4(a + n - 4) == load_4(b + n - 4);
    return load_few(a, n) == load_few(b, n);
}

static inline const struct known *find_known(uint64_t hash, struct str name)
{
    const struct known *known = &knowns[BUCKET(hash)];
    const struct hpack_row *row = &hpack_rows[known->index];
    return row->name == name.n && is_same(row->text, name.p, name.n) ? known : &knowns[0];
}

/* The index of the entry that has the value as well, or 0. */
static inline unsigned find_row(const struct known *known, struct str value)
{
    for (unsigned i = known->index; i < (unsigned)known->index + known->count; i++) {
        const struct hpack_row *row = &hpack_rows[i];
        if (row->value == value.n && is_same(row->text + row->name, value.p, value.n))
            return i;
    }
    return 0;
}

static inline uint32_t age_of(const struct hpack_table *table, uint16_t number)
{
    return (uint16_t)(table->made - number);
}

/* The index of the newest entry with this name, or 0. */
static unsigned find_name(const struct hpack_encoder *encoder, uint64_t hash, struct str name)
{
    const struct hpack_table *table = &encoder->table;
    uint32_t age = age_of(table, encoder->names[BUCKET(hash)]);
    const struct hpack_entry *entry = hpack_table_at(table, age);
    if (entry == NULL || entry->name != name.n || !is_same(table->bytes + entry->at, name.p, name.n))
        return 0;
    return HPACK_STATIC + 1 + age;
}

static inline bool holds(const struct hpack_table *table, const struct hpack_entry *entry, struct str name,
                         struct str value)
{
    const char *p = table->bytes + entry->at;
    return entry->name == name.n && entry->value == value.n && is_same(p, name.p, name.n) &&
           is_same(p + name.n, value.p, value.n);
}

/* The index of the entry that is this field, or 0. */
static inline unsigned find_field(const struct hpack_encoder *encoder, uint64_t hash, struct str name,
                                  struct str value)
{
    const struct hpack_table *table = &encoder->table;
    uint16_t number = encoder->fields[BUCKET(hash)];
    for (unsigned step = 0; step < STEPS_MAX; step++) {
        uint32_t age = age_of(table, number);
        const struct hpack_entry *entry = hpack_table_at(table, age);
        if (entry == NULL)
            break;
        const struct hpack_link *link = &encoder->links[number % HPACK_ENTRIES];
        if (link->tag == TAG(hash) && holds(table, entry, name, value))
            return HPACK_STATIC + 1 + age;
        number = link->older;
    }
    return 0;
}

static inline enum hpack_how policy(const struct known *known, size_t value, enum hpack_how asked)
{
    if (known->index == COOKIE && value < COOKIE_GUESSED)
        return HPACK_NEVER;
    return known->how > asked ? (enum hpack_how)known->how : asked;
}

static bool is_small(const struct hpack_table *table, struct str name, struct str value)
{
    size_t most = table->limit / 4 * 3;
    return most >= HPACK_OVERHEAD && name.n <= most && value.n <= most &&
           name.n + value.n <= most - HPACK_OVERHEAD;
}

static void add(struct hpack_encoder *encoder, uint64_t of_name, uint64_t of_field, struct str name,
                struct str value)
{
    char *to = hpack_table_add(&encoder->table, name.n, value.n);
    if (to == NULL)
        return;
    if (name.n > 0)
        memcpy(to, name.p, name.n);
    if (value.n > 0)
        memcpy(to + name.n, value.p, value.n);
    uint16_t number = (uint16_t)encoder->table.made, *bucket = &encoder->fields[BUCKET(of_field)];
    encoder->links[number % HPACK_ENTRIES] = (struct hpack_link){TAG(of_field), *bucket};
    encoder->names[BUCKET(of_name)] = *bucket = number;
}

/* A field that no table has. */
struct literal {
    struct str name, value;
    enum hpack_how how;
    bool is_random;    /* so Huffman's code would save little */
    unsigned known;    /* the index of its name in the static table, or 0 */
    uint64_t of_name;  /* hashes: of the name */
    uint64_t of_field; /* and with the value, where it may be added */
};

/* Section 6.2. `index` is the name's, or 0. */
static char *write_literal(char *out, unsigned index, const struct literal *field, enum hpack_how how)
{
    static const struct {
        uint8_t first, mask;
    } forms[] = {[HPACK_INDEX] = {0x40, 0x3f}, [HPACK_ONCE] = {0, 0x0f}, [HPACK_NEVER] = {0x10, 0x0f}};
    out = write_integer(out, forms[how].first, forms[how].mask, index);
    if (index == 0)
        out = write_string(out, field->name);
    return field->is_random ? write_plain(out, field->value) : write_string(out, field->value);
}

__attribute__((noinline)) static char *encode_literal(struct hpack_encoder *encoder, char *out,
                                                      const struct literal *field)
{
    unsigned index = field->known > 0 ? field->known : find_name(encoder, field->of_name, field->name);
    /* A name without a number gets one, by an entry that may be of use for nothing else. */
    bool wanted = field->how == HPACK_INDEX || (field->is_random && index == 0);
    if (!wanted || !is_small(&encoder->table, field->name, field->value))
        return write_literal(out, index, field, field->how == HPACK_NEVER ? HPACK_NEVER : HPACK_ONCE);
    uint64_t of_field = field->of_field != 0 ? field->of_field : field_hash(field->of_name, field->value);
    add(encoder, field->of_name, of_field, field->name, field->value);
    return write_literal(out, index, field, HPACK_INDEX);
}

char *hpack_encode(struct hpack_encoder *encoder, char *out, struct str name, struct str value,
                   enum hpack_how how)
{
    struct literal field = {.name = name, .value = value, .of_name = name_hash(name)};
    const struct known *known = find_known(field.of_name, name);
    field.how = policy(known, value.n, how);
    unsigned index = field.how == HPACK_NEVER ? 0 : find_row(known, value);
    if (index == 0 && field.how == HPACK_INDEX) {
        field.of_field = field_hash(field.of_name, value);
        index = find_field(encoder, field.of_field, name, value);
    }
    if (index > 0)
        return write_integer(out, 0x80, 0x7f, index);
    field.is_random = how == HPACK_ONCE && field.how == HPACK_ONCE;
    field.known = known->index;
    return encode_literal(encoder, out, &field);
}
