/* Header blocks: ours and nghttp2 read the same fields of a connection's blocks, keep the same table, and
 * refuse the same; what was read is the same when it was written and read again. The input is blocks, each a
 * byte that is its length and so many bytes; 255 takes 2 bytes more, the length of a longer one. The first
 * byte of the input is what the encoder's table is resized to between blocks, times 32. */
#include "fuzz.h"

#include "http/hpack.h"

#include <nghttp2/nghttp2.h>

#include <stdlib.h>

#define ROOM 131072 /* more than 8 / 5 of 65536, more than which nghttp2 refuses in a string */

struct peers {
    struct hpack_decoder decoder, again, tight;
    struct hpack_encoder encoder;
    nghttp2_hd_inflater *inflater;
};

/* A field as ours reads it. */
struct read {
    enum hpack_result result;
    uint32_t lengths[2];
    char *bytes;
};

static void check_equal(const struct read *a, struct str name, struct str value)
{
    fuzz_check(str_equal((struct str){a->bytes, a->lengths[0]}, name));
    fuzz_check(str_equal((struct str){a->bytes + a->lengths[0], a->lengths[1]}, value));
}

/* The next field as nghttp2 reads it. False: it refuses. *more: there was one. */
static bool inflate(struct peers *peers, const uint8_t **at, const uint8_t *end, nghttp2_nv *nv, bool *more)
{
    int flags = 0;
    do {
        ssize_t n = nghttp2_hd_inflate_hd2(peers->inflater, nv, &flags, *at, (size_t)(end - *at), 1);
        if (n < 0)
            return false;
        *at += n;
    } while (!(flags & (NGHTTP2_HD_INFLATE_EMIT | NGHTTP2_HD_INFLATE_FINAL)));
    *more = flags & NGHTTP2_HD_INFLATE_EMIT;
    return true;
}

static void check_same_table(const struct peers *peers)
{
    fuzz_check(nghttp2_hd_inflate_get_num_table_entries(peers->inflater) ==
               HPACK_STATIC + peers->decoder.table.count);
    fuzz_check(nghttp2_hd_inflate_get_dynamic_table_size(peers->inflater) == peers->decoder.table.size);
    fuzz_check(peers->decoder.table.size <= peers->decoder.table.limit);
}

/* With room for HPACK_TABLE bytes the field is the same, or too long, and the table is the same. */
static void check_tight(struct peers *peers, const uint8_t **at, const uint8_t *end, const struct read *field)
{
    struct read tight = {.bytes = malloc(HPACK_TABLE)};
    tight.result = hpack_decode(&peers->tight, at, end, tight.bytes, HPACK_TABLE, tight.lengths);
    if (field->result == HPACK_FIELD && field->lengths[0] + field->lengths[1] > HPACK_TABLE) {
        fuzz_check(tight.result == HPACK_LONG);
        fuzz_check(tight.lengths[0] >= field->lengths[0] && tight.lengths[1] >= field->lengths[1]);
    } else if (field->result == HPACK_BAD) {
        fuzz_check(tight.result == HPACK_BAD || tight.result == HPACK_LONG);
    } else {
        fuzz_check(tight.result == field->result);
    }
    if (tight.result == HPACK_FIELD)
        check_equal(field, (struct str){tight.bytes, tight.lengths[0]},
                    (struct str){tight.bytes + tight.lengths[0], tight.lengths[1]});
    fuzz_check(field->result == HPACK_BAD || (peers->tight.table.count == peers->decoder.table.count &&
                                              peers->tight.table.size == peers->decoder.table.size));
    free(tight.bytes);
}

/* Writes the field in a block of its own, and reads it. */
static void check_again(struct peers *peers, const struct read *field, enum hpack_how how)
{
    struct str name = {field->bytes, field->lengths[0]};
    struct str value = {field->bytes + name.n, field->lengths[1]};
    char begin[HPACK_BLOCK_MAX], *coded = malloc(name.n + value.n + HPACK_FIELD_MAX);
    struct read again = {.bytes = malloc(ROOM)};
    const uint8_t *at = (uint8_t *)begin, *end;
    hpack_decode_block(&peers->again);
    end = (uint8_t *)hpack_encode_block(&peers->encoder, begin);
    fuzz_check(hpack_decode(&peers->again, &at, end, again.bytes, ROOM, again.lengths) == HPACK_END);
    at = (uint8_t *)coded;
    end = (uint8_t *)hpack_encode(&peers->encoder, coded, name, value, how);
    fuzz_check((size_t)(end - at) <= name.n + value.n + HPACK_FIELD_MAX);
    fuzz_check(hpack_decode(&peers->again, &at, end, again.bytes, ROOM, again.lengths) == HPACK_FIELD);
    fuzz_check(at == end);
    check_equal(&again, name, value);
    fuzz_check(peers->encoder.table.count == peers->again.table.count);
    fuzz_check(peers->encoder.table.size == peers->again.table.size);
    free(again.bytes);
    free(coded);
}

/* With less than all of it the field is not there, and nothing has changed. */
static void check_cut(const struct peers *peers, const uint8_t *from, const uint8_t *to, char *out,
                      size_t cut)
{
    static struct hpack_decoder decoder;
    uint32_t lengths[2];
    uint8_t *copy = (uint8_t *)fuzz_copy(from, cut);
    const uint8_t *at = copy;
    decoder = peers->decoder;
    enum hpack_result result = hpack_decode(&decoder, &at, copy + cut, out, ROOM, lengths);
    fuzz_check(result == HPACK_END || (result == HPACK_MORE && at == copy) || from + cut == to);
    if (result == HPACK_MORE)
        fuzz_check(memcmp(&decoder, &peers->decoder, sizeof decoder) == 0);
    free(copy);
}

/* False: it was refused by both. */
static bool take_block(struct peers *peers, const uint8_t *block, const uint8_t *end, struct fuzz_dice *dice)
{
    const uint8_t *ours = block, *theirs = block, *tight = block;
    struct read field = {.bytes = malloc(ROOM)};
    hpack_decode_block(&peers->decoder);
    hpack_decode_block(&peers->tight);
    do {
        const uint8_t *from = ours, *to = ours;
        static struct hpack_decoder before;
        before = peers->decoder;
        field.result = hpack_decode(&peers->decoder, &ours, end, field.bytes, ROOM, field.lengths);
        if (field.result == HPACK_FIELD) {
            to = ours;
            struct hpack_decoder *after = (struct hpack_decoder *)fuzz_copy(&peers->decoder, sizeof before);
            char *out = malloc(ROOM);
            peers->decoder = before;
            check_cut(peers, from, to, out, fuzz_below(dice, (size_t)(to - from)));
            peers->decoder = *after;
            free(out);
            free(after);
        }
        fuzz_check(field.result != HPACK_LONG);
        nghttp2_nv nv;
        bool more = false, good = inflate(peers, &theirs, end, &nv, &more);
        fuzz_check(good == (field.result == HPACK_FIELD || field.result == HPACK_END));
        check_tight(peers, &tight, end, &field);
        fuzz_check(!good || more == (field.result == HPACK_FIELD));
        if (field.result == HPACK_FIELD) {
            check_equal(&field, (struct str){(char *)nv.name, nv.namelen},
                        (struct str){(char *)nv.value, nv.valuelen});
            fuzz_check(ours == theirs && ours == tight);
            check_same_table(peers);
            check_again(peers, &field, (enum hpack_how)fuzz_below(dice, 3));
        }
    } while (field.result == HPACK_FIELD);
    free(field.bytes);
    if (field.result != HPACK_END)
        return false;
    nghttp2_hd_inflate_end_headers(peers->inflater);
    check_same_table(peers);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static struct peers peers;
    struct fuzz_reader reader = {bytes, count};
    struct fuzz_dice dice = fuzz_dice(bytes, count);
    uint32_t size = fuzz_byte(&reader) * 32U;
    hpack_decoder_start(&peers.decoder);
    hpack_decoder_start(&peers.again);
    hpack_decoder_start(&peers.tight);
    hpack_encoder_start(&peers.encoder);
    fuzz_check(nghttp2_hd_inflate_new(&peers.inflater) == 0);
    bool good = true;
    while (good && reader.left > 0) {
        size_t n = fuzz_byte(&reader);
        if (n == 255) {
            n = fuzz_byte(&reader) * 256U;
            n += fuzz_byte(&reader);
        }
        struct str block = fuzz_take(&reader, n);
        uint8_t *copy = (uint8_t *)fuzz_copy(block.p, block.n);
        good = take_block(&peers, copy, copy + block.n, &dice);
        free(copy);
        hpack_encoder_resize(&peers.encoder, size);
        hpack_encoder_resize(&peers.encoder, (uint32_t)fuzz_below(&dice, 5000));
    }
    nghttp2_hd_inflate_del(peers.inflater);
    return 0;
}
