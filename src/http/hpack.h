/* hpack: header fields of HTTP/2 as bytes of header blocks, and back (RFC 7541). A connection has one decoder
 * and one encoder; each block goes through them in the order of the connection. Nothing is allocated. */
#pragma once

#include "http/hpack_table.h"

/* Plain memory of the caller's. */
struct hpack_decoder {
    bool begun; /* a field of the block was read */
    struct hpack_table table;
};

void hpack_decoder_start(struct hpack_decoder *decoder);

enum hpack_result {
    HPACK_FIELD, /* a field was read */
    HPACK_LONG,  /* a field was read whose bytes do not fit: it is passed over, and the table is as it must be
                  */
    HPACK_MORE,  /* what is there is no whole field; nothing was read: come again with more behind it */
    HPACK_END,   /* nothing is there (at == end on a field's boundary) */
    HPACK_BAD    /* COMPRESSION_ERROR: neither block nor decoder can be used any more */
};

/* Begins a block: only in front of its first field may the table's size be changed (section 4.2). */
void hpack_decode_block(struct hpack_decoder *decoder);

/* Reads the next field of a block whose bytes begin at *at, which moves behind what was read (table size
 * updates are read on the way and never returned). Name and value are written to `out`, one behind the other,
 * and their lengths to lengths[0] and lengths[1]; bytes of `out` behind them may be written, too. With
 * HPACK_LONG the lengths are set (those of a Huffman-coded string to the most that they may be: coded length
 * * 8 / 5) and `out` holds nothing of use; the code of such a string is not looked at behind what fits.
 * `room` is HPACK_TABLE or more.
 *
 * An integer over 2^28, or of more than 5 bytes besides its first, is HPACK_BAD. With HPACK_MORE and
 * HPACK_BAD *at has not moved. A caller bounds what it keeps for HPACK_MORE. */
enum hpack_result hpack_decode(struct hpack_decoder *decoder, const uint8_t **at, const uint8_t *end,
                               char *out, size_t room, uint32_t lengths[2]);

enum hpack_how {
    HPACK_INDEX, /* comes again: into the table, if there is sense in it */
    HPACK_ONCE,  /* does not, and is random: in the table only where its name has no number there yet (6.2.2)
                  */
    HPACK_NEVER  /* must not be in any table (6.2.3) */
};

/* Plain memory of the caller's. Numbers of entries are kept modulo 65536. */
struct hpack_encoder {
    bool resized;   /* the next block tells of it */
    uint32_t least; /* that the limit was since the last block */
    uint32_t limit; /* that it is from the next block on */
    struct hpack_table table;
    struct hpack_link {
        uint16_t tag;   /* of the field's hash */
        uint16_t older; /* number of the entry that was the last in its bucket before */
    } links[HPACK_ENTRIES];
    uint16_t fields[HPACK_ENTRIES]; /* number of the last entry, by the hash of its name and value */
    uint16_t names[HPACK_ENTRIES];  /* the same by the hash of its name */
};

void hpack_encoder_start(struct hpack_encoder *encoder);

/* The peer's SETTINGS_HEADER_TABLE_SIZE (any uint32; more than HPACK_TABLE counts as HPACK_TABLE); the next
 * block tells of a change (section 4.2: also of the least size in between, if it was lowered and raised
 * between two blocks). */
void hpack_encoder_resize(struct hpack_encoder *encoder, uint32_t size);

#define HPACK_BLOCK_MAX 8  /* bytes that hpack_encode_block writes at most */
#define HPACK_FIELD_MAX 16 /* bytes that a field takes at most, besides those of its name and its value */

/* Begins a block at out. Returns where its first field goes. */
char *hpack_encode_block(struct hpack_encoder *encoder, char *out);

/* Writes a field, whose name is in small letters, to `out`, where name.n + value.n + HPACK_FIELD_MAX bytes
 * have room. Returns where the next goes. Whatever is asked, values that seldom come twice are not indexed,
 * nor are fields of more than 3/4 of the table; and secrets that may be guessed are HPACK_NEVER
 * (section 7.1.3): authorization, proxy-authorization, and a cookie of fewer than 20 bytes. */
char *hpack_encode(struct hpack_encoder *encoder, char *out, struct str name, struct str value,
                   enum hpack_how how);
