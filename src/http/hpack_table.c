/* Invariant: the entries' texts follow one another in `bytes` without a gap, the newest one's ends at `fill`,
 * and `size` is the sum of what the `count` newest ones count for; it is not over `limit`. */
#include "http/hpack_table.h"

#define ROW(name, value)                                \
    {                                                   \
        name value, sizeof(name) - 1, sizeof(value) - 1 \
    }

const struct hpack_row hpack_rows[HPACK_STATIC + 1] = {
    ROW("", ""),
    ROW(":authority", ""),
    ROW(":method", "GET"),
    ROW(":method", "POST"),
    ROW(":path", "/"),
    ROW(":path", "/index.html"),
    ROW(":scheme", "http"),
    ROW(":scheme", "https"),
    ROW(":status", "200"),
    ROW(":status", "204"),
    ROW(":status", "206"),
    ROW(":status", "304"),
    ROW(":status", "400"),
    ROW(":status", "404"),
    ROW(":status", "500"),
    ROW("accept-charset", ""),
    ROW("accept-encoding", "gzip, deflate"),
    ROW("accept-language", ""),
    ROW("accept-ranges", ""),
    ROW("accept", ""),
    ROW("access-control-allow-origin", ""),
    ROW("age", ""),
    ROW("allow", ""),
    ROW("authorization", ""),
    ROW("cache-control", ""),
    ROW("content-disposition", ""),
    ROW("content-encoding", ""),
    ROW("content-language", ""),
    ROW("content-length", ""),
    ROW("content-location", ""),
    ROW("content-range", ""),
    ROW("content-type", ""),
    ROW("cookie", ""),
    ROW("date", ""),
    ROW("etag", ""),
    ROW("expect", ""),
    ROW("expires", ""),
    ROW("from", ""),
    ROW("host", ""),
    ROW("if-match", ""),
    ROW("if-modified-since", ""),
    ROW("if-none-match", ""),
    ROW("if-range", ""),
    ROW("if-unmodified-since", ""),
    ROW("last-modified", ""),
    ROW("link", ""),
    ROW("location", ""),
    ROW("max-forwards", ""),
    ROW("proxy-authenticate", ""),
    ROW("proxy-authorization", ""),
    ROW("range", ""),
    ROW("referer", ""),
    ROW("refresh", ""),
    ROW("retry-after", ""),
    ROW("server", ""),
    ROW("set-cookie", ""),
    ROW("strict-transport-security", ""),
    ROW("transfer-encoding", ""),
    ROW("user-agent", ""),
    ROW("vary", ""),
    ROW("via", ""),
    ROW("www-authenticate", ""),
};

_Static_assert(sizeof(struct hpack_row) % HPACK_WIDE == 0, "sixteens of a row end within it");

void hpack_table_start(struct hpack_table *table)
{
    table->limit = HPACK_TABLE;
    table->size = table->made = table->count = table->fill = 0;
}

static const struct hpack_entry *oldest(const struct hpack_table *table)
{
    return hpack_table_at(table, table->count - 1);
}

static void evict_to(struct hpack_table *table, uint32_t size)
{
    while (table->size > size) {
        const struct hpack_entry *entry = oldest(table);
        table->size -= HPACK_OVERHEAD + entry->name + entry->value;
        table->count--;
    }
}

void hpack_table_resize(struct hpack_table *table, uint32_t limit)
{
    table->limit = limit;
    evict_to(table, limit);
}

/* What is left of the texts goes to the front. */
static void move(struct hpack_table *table)
{
    uint16_t from = table->count > 0 ? oldest(table)->at : (uint16_t)table->fill;
    memmove(table->bytes, table->bytes + from, table->fill - from);
    table->fill -= from;
    for (uint32_t age = 0; age < table->count; age++) {
        struct hpack_entry *entry = &table->entries[(table->made - age) % HPACK_ENTRIES];
        entry->at = (uint16_t)(entry->at - from);
    }
}

char *hpack_table_add(struct hpack_table *table, size_t name, size_t value)
{
    if (name + value + HPACK_OVERHEAD > table->limit) {
        evict_to(table, 0);
        return NULL;
    }
    uint32_t text = (uint32_t)(name + value);
    evict_to(table, table->limit - HPACK_OVERHEAD - text);
    if (HPACK_BYTES - table->fill < text)
        move(table);
    table->entries[++table->made % HPACK_ENTRIES] =
        (struct hpack_entry){(uint16_t)table->fill, (uint16_t)name, (uint16_t)value};
    char *to = table->bytes + table->fill;
    table->size += HPACK_OVERHEAD + text;
    table->count++;
    table->fill += text;
    return to;
}
