/* hpack_table: what HPACK knows by a number: the static table (RFC 7541 appendix A) and the dynamic one
 * (section 2.3.2), whose entries are their name and their value in one piece. Nothing is allocated. */
#pragma once

#include "base/str.h"

#define HPACK_TABLE                                                                          \
    4096 /* bytes of a dynamic table at most, as RFC 7541 section 4.1 counts: the default of \
          * SETTINGS_HEADER_TABLE_SIZE, which upswap neither raises nor makes use of beyond */

#define HPACK_STATIC 61   /* entries of the static table */
#define HPACK_ENTRIES 128 /* a table holds no more: each counts for 32 bytes at least */
#define HPACK_OVERHEAD 32 /* bytes that an entry counts for besides its text, section 4.1 */
#define HPACK_BYTES 6400  /* of text, so that a table is seldom moved to the front */
#define HPACK_WIDE 16     /* bytes that are copied at once */

/* A row of the static table. Its text is the name and the value; sixteens from its start end within it. */
struct hpack_row {
    char text[30];
    uint8_t name, value; /* lengths */
};
extern const struct hpack_row hpack_rows[HPACK_STATIC + 1]; /* by index: [0] is none */

struct hpack_entry {
    uint16_t at;          /* in bytes */
    uint16_t name, value; /* lengths */
};

struct hpack_table {
    uint32_t limit; /* what the size may be at most */
    uint32_t size;  /* section 4.1 */
    uint32_t made;  /* entries since the start, which is the number of the newest one; it may wrap */
    uint32_t count; /* entries that are there */
    uint32_t fill;  /* where the text of the newest ends */
    struct hpack_entry entries[HPACK_ENTRIES]; /* by their number modulo HPACK_ENTRIES */
    char bytes[HPACK_BYTES + HPACK_WIDE];
};

void hpack_table_start(struct hpack_table *table);

/* Sets the limit, and evicts what goes beyond it (section 4.3). At most HPACK_TABLE. */
void hpack_table_resize(struct hpack_table *table, uint32_t limit);

/* Adds an entry with these lengths, and evicts what it drives out (section 4.4). Returns where its text is to
 * be written. NULL: it is larger than the table, which is empty now. */
char *hpack_table_add(struct hpack_table *table, size_t name, size_t value);

/* The entry that is `age` younger ones old: 0 is the newest. NULL: there is none. */
static inline const struct hpack_entry *hpack_table_at(const struct hpack_table *table, uint32_t age)
{
    return age < table->count ? &table->entries[(table->made - age) % HPACK_ENTRIES] : NULL;
}
