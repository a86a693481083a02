/* Examples are those of RFC 7541 appendix C; nghttp2 is the other opinion. */
#include "http/hpack.h"
#include "http/hpack_huffman.h"

#include "unit.h"

#include <nghttp2/nghttp2.h>

#include <stdio.h>
#include <stdlib.h>

#define ROOM 65536

static struct hpack_decoder decoder;
static struct hpack_encoder encoder;
static char out[ROOM];
static uint32_t lengths[2];
static size_t room;
static size_t block_size;
static char block_bytes[ROOM];

static int start(void **state)
{
    (void)state;
    room = HPACK_TABLE;
    block_size = 0;
    memset(&decoder, 0xa5, sizeof decoder);
    memset(&encoder, 0xa5, sizeof encoder);
    hpack_decoder_start(&decoder);
    hpack_encoder_start(&encoder);
    return 0;
}

/* Bytes with a count in front. */
struct bytes {
    size_t n;
    uint8_t at[ROOM];
};

static const struct bytes *hex(const char *text)
{
    static struct bytes bytes;
    bytes.n = 0;
    while (*text != '\0') {
        unsigned byte;
        if (*text == ' ') {
            text++;
            continue;
        }
        assert_int_equal(sscanf(text, "%2x", &byte), 1);
        bytes.at[bytes.n++] = (uint8_t)byte;
        text += 2;
    }
    return &bytes;
}

/* The next field of a block at *at. It is read from memory that ends where it does, into memory of `room`. */
static enum hpack_result next(const uint8_t **at, const uint8_t *end)
{
    size_t n = (size_t)(end - *at);
    uint8_t *copy = malloc(n + 1);
    char *to = malloc(room);
    memcpy(copy, *at, n);
    const uint8_t *p = copy;
    enum hpack_result result = hpack_decode(&decoder, &p, copy + n, to, room, lengths);
    if (result == HPACK_FIELD)
        memcpy(out, to, lengths[0] + lengths[1]);
    if (result == HPACK_MORE || result == HPACK_BAD)
        assert_ptr_equal(p, copy);
    *at += p - copy;
    free(copy);
    free(to);
    return result;
}

/* The first result of a block that is no field. */
static enum hpack_result last(const char *text)
{
    const struct bytes *block = hex(text);
    const uint8_t *at = block->at, *end = at + block->n;
    enum hpack_result result;
    hpack_decode_block(&decoder);
    while ((result = next(&at, end)) == HPACK_FIELD)
        ;
    return result;
}

static void expect_field(const char *name, const char *value)
{
    assert_int_equal(lengths[0], strlen(name));
    assert_int_equal(lengths[1], strlen(value));
    assert_memory_equal(out, name, lengths[0]);
    assert_memory_equal(out + lengths[0], value, lengths[1]);
}

/* A block's fields, each "name", "value", up to NULL. */
#define expect_block(text, ...) expect_fields(text, (const char *const[]){__VA_ARGS__, NULL})
static void expect_fields(const char *text, const char *const *fields)
{
    const struct bytes *block = hex(text);
    const uint8_t *at = block->at, *end = at + block->n;
    hpack_decode_block(&decoder);
    for (; *fields != NULL; fields += 2) {
        assert_int_equal(next(&at, end), HPACK_FIELD);
        expect_field(fields[0], fields[1]);
    }
    assert_int_equal(next(&at, end), HPACK_END);
}

static void begin(void)
{
    block_size = (size_t)(hpack_encode_block(&encoder, block_bytes) - block_bytes);
    assert_true(block_size <= HPACK_BLOCK_MAX);
}

/* The field's bytes, in memory of what the header says is enough. */
static size_t encode(struct str name, struct str value, enum hpack_how how)
{
    char *to = malloc(name.n + value.n + HPACK_FIELD_MAX);
    size_t n = (size_t)(hpack_encode(&encoder, to, name, value, how) - to);
    assert_true(n <= name.n + value.n + HPACK_FIELD_MAX);
    memcpy(block_bytes + block_size, to, n);
    block_size += n;
    free(to);
    return n;
}

static size_t encode_text(const char *name, const char *value, enum hpack_how how)
{
    return encode(str_of(name), str_of(value), how);
}

static void expect_bytes(const char *text)
{
    const struct bytes *expected = hex(text);
    assert_int_equal(block_size, expected->n);
    assert_memory_equal(block_bytes, expected->at, block_size);
    block_size = 0;
}

static void each_representation_is_read(void **state)
{
    (void)state;
    expect_block("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key",
                 "custom-header");
    expect_block("040c 2f73 616d 706c 652f 7061 7468", ":path", "/sample/path");
    expect_block("1008 7061 7373 776f 7264 0673 6563 7265 74", "password", "secret");
    expect_block("82", ":method", "GET");
    expect_block("be", "custom-key", "custom-header"); /* nothing was added since */
    assert_int_equal(decoder.table.count, 1);
    assert_int_equal(decoder.table.size, 55);
}

static void integers_are_those_of_the_examples(void **state)
{
    (void)state;
    assert_int_equal(last("2a"), HPACK_END);
    assert_int_equal(decoder.table.limit, 10);
    assert_int_equal(last("3f 9a0a"), HPACK_END);
    assert_int_equal(decoder.table.limit, 1337);
    assert_int_equal(last("3f 00"), HPACK_END);
    assert_int_equal(decoder.table.limit, 31);
}

#define REQUEST(scheme, ...) ":method", "GET", ":scheme", scheme, ":path", __VA_ARGS__

static void the_requests_of_the_examples_are_read(void **state)
{
    for (int huffman = 0; huffman < 2; huffman++) {
        start(state);
        expect_block(huffman ? "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"
                             : "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                     REQUEST("http", "/", ":authority", "www.example.com"));
        expect_block(huffman ? "8286 84be 5886 a8eb 1064 9cbf" : "8286 84be 5808 6e6f 2d63 6163 6865",
                     REQUEST("http", "/", ":authority", "www.example.com", "cache-control", "no-cache"));
        expect_block(
            huffman ? "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"
                    : "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            REQUEST("https", "/index.html", ":authority", "www.example.com", "custom-key", "custom-value"));
        assert_int_equal(decoder.table.size, 164);
        expect_block("be bf c0", "custom-key", "custom-value", "cache-control", "no-cache", ":authority",
                     "www.example.com");
    }
}

#define RESPONSE(status, date)                                                                    \
    ":status", status, "cache-control", "private", "date", "Mon, 21 Oct 2013 20:13:" date " GMT", \
        "location", "https://www.example.com"
#define COOKIE "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"

static void the_responses_of_the_examples_evict(void **state)
{
    for (int huffman = 0; huffman < 2; huffman++) {
        start(state);
        assert_int_equal(last("3fe1 01"), HPACK_END); /* 256 bytes */
        expect_block(huffman
                         ? "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6"
                           "2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3"
                         : "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133"
                           "2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70"
                           "6c65 2e63 6f6d",
                     RESPONSE("302", "21"));
        assert_int_equal(decoder.table.size, 222);
        expect_block(huffman ? "4883 640e ffc1 c0bf" : "4803 3330 37c1 c0bf", RESPONSE("307", "21"));
        assert_int_equal(decoder.table.size, 222);
        const char *plain = "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d"
                            "54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049"
                            "5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e"
                            "3d31";
        const char *coded = "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab"
                            "77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f"
                            "9587 3160 65c0 03ed 4ee5 b106 3d50 07";
        expect_block(huffman ? coded : plain, RESPONSE("200", "22"), "content-encoding", "gzip", "set-cookie",
                     COOKIE);
        assert_int_equal(decoder.table.size, 215);
        expect_block("be bf c0", "set-cookie", COOKIE, "content-encoding", "gzip", "date",
                     "Mon, 21 Oct 2013 20:13:22 GMT");
        assert_int_equal(last("c1"), HPACK_BAD);
    }
}

static void the_requests_of_the_examples_are_written(void **state)
{
    (void)state;
    for (int again = 0; again < 3; again++) {
        begin();
        encode_text(":method", "GET", HPACK_INDEX);
        encode_text(":scheme", again == 2 ? "https" : "http", HPACK_INDEX);
        encode_text(":path", again == 2 ? "/index.html" : "/", HPACK_INDEX);
        encode_text(":authority", "www.example.com", HPACK_INDEX);
        if (again == 1)
            encode_text("cache-control", "no-cache", HPACK_INDEX);
        if (again == 2)
            encode_text("custom-key", "custom-value", HPACK_INDEX);
        expect_bytes(again == 0   ? "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"
                     : again == 1 ? "8286 84be 5886 a8eb 1064 9cbf"
                                  : "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
    }
}

static void an_integer_has_a_limit(void **state)
{
    (void)state;
    assert_int_equal(last("00 7f 81ff ff7f 00"), HPACK_MORE); /* 2^28 */
    assert_int_equal(last("00 7f 82ff ff7f 00"), HPACK_BAD);
    assert_int_equal(last("00 7f ffff ffff 7f"), HPACK_BAD);
    assert_int_equal(last("00 7f 8080 8080 80"), HPACK_BAD);
    assert_int_equal(last("00 7f 8080 8080"), HPACK_MORE);
    assert_int_equal(last("ff 8080 8080 00"), HPACK_BAD); /* a good integer, and no entry */
    assert_int_equal(last("ff ffff ffff ffff ffff ffff"), HPACK_BAD);
    expect_block("8f 0f 8180 8080 00 01 61", "accept-charset", "", "accept-encoding", "a");
}

static void an_index_that_nothing_has_is_bad(void **state)
{
    (void)state;
    static const char *const blocks[] = {"80", "be", "ff 00", "7e 01 61", "0f 2f 01 61", "1f 2f 01 61"};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        start(state);
        assert_int_equal(last(blocks[i]), HPACK_BAD);
    }
    start(state);
    expect_block("40 01 61 01 62 be", "a", "b", "a", "b");
    assert_int_equal(last("bf"), HPACK_BAD);
}

static void a_field_that_is_not_whole_leaves_the_decoder_as_it_was(void **state)
{
    (void)state;
    static const char *const wholes[] = {
        "3f e1 01",                   /* 256 */
        "20 3f e1 1f 3f e1 01 82",    /* 0, 4096, 256 */
        "20 3f e1 1f 40 01 61 01 62", /* adds */
        "ff 00",
        "0f 2f 01 61",
        "10 83 9d 29 ad 02 78 79",
    };
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++) {
        start(state);
        expect_block("40 01 78 01 79 40 01 7a 01 79", "x", "y", "z", "y");
        hpack_decode_block(&decoder);
        const struct bytes *whole = hex(wholes[i]);
        const struct hpack_decoder before = decoder;
        for (size_t n = 1; n < whole->n; n++) {
            const uint8_t *at = whole->at;
            enum hpack_result result = next(&at, at + n);
            if (result == HPACK_MORE)
                assert_memory_equal(&decoder, &before, sizeof before);
            else
                assert_int_equal(result, HPACK_END);
            decoder = before;
        }
        const uint8_t *at = whole->at;
        hpack_decode_block(&decoder);
        assert_int_not_equal(next(&at, at + whole->n), HPACK_MORE);
    }
}

static void the_size_changes_only_in_front_of_a_block(void **state)
{
    (void)state;
    expect_block("20 3f e1 1f 3f 9a 0a 82", ":method", "GET");
    assert_int_equal(decoder.table.limit, 1337);
    assert_int_equal(last("82 20"), HPACK_BAD);
    start(state);
    assert_int_equal(last("00 01 61 01 62 20"), HPACK_BAD);
    start(state);
    assert_int_equal(last("3f e1 1f"), HPACK_END); /* 4096 */
    assert_int_equal(last("3f e2 1f"), HPACK_BAD);
}

static void a_smaller_size_evicts_even_if_it_grows_again(void **state)
{
    (void)state;
    expect_block("40 01 61 01 62 40 01 63 01 64", "a", "b", "c", "d");
    expect_block("3f 03 3f e1 1f be", "c", "d"); /* 34, where one of the two has room */
    assert_int_equal(last("bf"), HPACK_BAD);
    start(state);
    expect_block("40 01 61 01 62", "a", "b");
    assert_int_equal(last("20 3f e1 1f be"), HPACK_BAD);
}

/* A field "a: zzz" of so many z, added. */
static const struct bytes *long_field(size_t value)
{
    static struct bytes block;
    static const uint8_t start[] = {0x40, 1, 'a', 0x7f};
    memcpy(block.at, start, sizeof start);
    size_t rest = value - 127;
    block.n = sizeof start;
    for (; rest >= 128; rest >>= 7)
        block.at[block.n++] = (uint8_t)(rest | 0x80);
    block.at[block.n++] = (uint8_t)rest;
    memset(block.at + block.n, 'z', value);
    block.n += value;
    return &block;
}

static enum hpack_result take(const struct bytes *block)
{
    const uint8_t *at = block->at;
    hpack_decode_block(&decoder);
    enum hpack_result result = next(&at, block->at + block->n);
    if (result == HPACK_FIELD || result == HPACK_LONG)
        assert_ptr_equal(at, block->at + block->n);
    return result;
}

static void an_entry_that_is_larger_than_the_table_empties_it(void **state)
{
    (void)state;
    expect_block("40 01 61 01 62", "a", "b");
    assert_int_equal(take(long_field(4096 - 32 - 1)), HPACK_FIELD); /* as large as the table */
    assert_int_equal(decoder.table.count, 1);
    assert_int_equal(decoder.table.size, 4096);
    assert_int_equal(take(long_field(4096 - 32)), HPACK_FIELD);
    assert_int_equal(lengths[1], 4096 - 32);
    assert_int_equal(decoder.table.count, 0);
    assert_int_equal(last("be"), HPACK_BAD);
}

static void a_name_may_be_of_an_entry_that_its_field_evicts(void **state)
{
    (void)state;
    expect_block("3f 0b 40 03 61 62 63 01 78", "abc", "x"); /* 42 bytes: 36 are in use */
    expect_block("7e 02 79 7a be", "abc", "yz", "abc", "yz");
    assert_int_equal(decoder.table.count, 1);
}

static void entries_are_the_same_wherever_their_text_has_moved(void **state)
{
    (void)state;
    static const char *const indexed[] = {"be", "bf", "c0"};
    for (size_t i = 0; i < 60; i++) {
        struct bytes block = *long_field(1300);
        memset(block.at + block.n - 1300, 'A' + (int)i, 1300);
        assert_int_equal(take(&block), HPACK_FIELD);
        for (size_t k = 0; k < 3 && k <= i; k++) {
            assert_int_equal(take(hex(indexed[k])), HPACK_FIELD);
            assert_int_equal(lengths[1], 1300);
            for (size_t at = 1; at <= 1300; at++)
                assert_int_equal(out[at], 'A' + (int)(i - k));
        }
    }
}

static void a_string_that_does_not_fit_is_passed_over(void **state)
{
    (void)state;
    expect_block("40 01 61 01 62", "a", "b");
    struct bytes *block = (struct bytes *)long_field(4096);
    block->at[0] = 0x00; /* not added */
    assert_int_equal(take(block), HPACK_LONG);
    assert_int_equal(lengths[0], 1);
    assert_int_equal(lengths[1], 4096);
    assert_int_equal(decoder.table.count, 1);
    block->at[0] = 0x40;
    assert_int_equal(take(block), HPACK_LONG);
    assert_int_equal(decoder.table.count, 0);
    assert_int_equal(last("82"), HPACK_END); /* and it goes on */
    expect_block("40 01 61 01 62 be", "a", "b", "a", "b");
}

/* "a: " and so many times the byte, Huffman-coded. */
static const struct bytes *coded_field(char byte, size_t count)
{
    static struct bytes block;
    static char text[ROOM], code[ROOM];
    memset(text, byte, count);
    size_t n = hpack_huffman_encode(code, text, count);
    assert_true(n < count || byte == ';');
    if (byte == ';') { /* of 8 bits: not shorter, but one may write it */
        memset(code, 0xfb, count);
        n = count;
    }
    struct bytes *plain = (struct bytes *)long_field(n);
    plain->at[3] |= 0x80;
    memcpy(plain->at + plain->n - n, code, n);
    memcpy(&block, plain, sizeof block);
    return &block;
}

static void of_a_coded_string_the_true_length_counts(void **state)
{
    (void)state;
    for (size_t over = 0; over < 9; over++) {
        start(state);
        room = HPACK_TABLE + over / 3; /* 8 / 5 of the code is far more, and what is in it is as much */
        assert_int_equal(take(coded_field(';', room - 1)), HPACK_FIELD);
        assert_int_equal(lengths[1], room - 1);
        assert_int_equal(out[room - 1], ';');
        assert_int_equal(take(coded_field(';', 4063)), HPACK_FIELD);
        assert_int_equal(decoder.table.count, 1);
        assert_int_equal(take(coded_field('a', room)), HPACK_LONG);
        assert_in_range(lengths[1], room, room + 1);
        assert_int_equal(decoder.table.count, 0);
    }
}

static void a_code_that_ends_wrongly_is_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "00 01 61 84 ffff ffff",                /* EOS */
        "00 01 61 8a ffff fffc 6318 c631 8c63", /* EOS in a word, and "a" after it */
        "00 01 61 82 1fff",                     /* "a" and 11 ones */
        "00 01 61 81 ff",                       /* 8 ones */
        "00 01 61 81 18",                       /* "a" and 3 zeros */
        "00 01 61 81 1e",                       /* "a" and ones that are not all */
        "00 01 61 81 fe",                       /* the beginning of a longer code */
        "00 01 61 89 1c64 9c64 1c64 1c64 ff",   /* 8 ones behind a word */
        "00 81 ff 01 61",                       /* in a name */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        start(state);
        assert_int_equal(last(bad[i]), HPACK_BAD);
    }
    expect_block("00 01 61 81 1f 00 01 61 80", "a", "a", "a", "");
}

static void eos_is_bad_where_the_room_is_nearly_full(void **state)
{
    (void)state;
    static const uint8_t eos[] = {0xff, 0xff, 0xff, 0xfc, 0x63, 0x18, 0xc6, 0x31, 0x8c, 0x63};
    struct bytes block = *coded_field('a', 4088); /* 7 bytes have room yet, and all bits are used */
    size_t n = 4088 * 5 / 8 + sizeof eos - 127;
    block.at[4] = (uint8_t)(n | 0x80);
    block.at[5] = (uint8_t)(n >> 7);
    memcpy(block.at + block.n, eos, sizeof eos);
    block.n += sizeof eos;
    assert_int_equal(take(&block), HPACK_BAD);
}

static void what_is_in_the_static_table_is_one_byte(void **state)
{
    (void)state;
    for (size_t i = 1; i <= HPACK_STATIC; i++) {
        const struct hpack_row *row = &hpack_rows[i];
        struct str name = {row->text, row->name}, value = {row->text + row->name, row->value};
        bool secret = i == 23 || i == 32 || i == 49;
        assert_int_equal(encode(name, value, HPACK_INDEX), secret ? 3 : 1);
        if (!secret)
            assert_int_equal((uint8_t)block_bytes[block_size - 1], 0x80 | i);
        block_size = 0;
    }
    assert_int_equal(encoder.table.count, 0);
}

/* Some of these names have the hash of the name that they begin like, or are the beginning of. */
static void a_name_that_is_like_one_of_the_static_table_is_another(void **state)
{
    (void)state;
    for (size_t i = 1; i <= HPACK_STATIC; i++) {
        for (size_t n = 0; n < sizeof hpack_rows[i].text; n++) {
            struct str name = {hpack_rows[i].text, n};
            encode(name, (struct str)STR("v"), HPACK_ONCE);
            const uint8_t *at = (const uint8_t *)block_bytes;
            assert_int_equal(next(&at, at + block_size), HPACK_FIELD);
            assert_int_equal(lengths[0], n);
            assert_memory_equal(out, name.p, n);
            block_size = 0;
        }
    }
}

static void a_name_has_its_index(void **state)
{
    (void)state;
    encode_text("server", "\x01", HPACK_INDEX);
    expect_bytes("76 01 01");
    encode_text("server", "\x01", HPACK_INDEX);
    expect_bytes("be");
    encode_text("server", "\x02", HPACK_ONCE);
    expect_bytes("0f 27 01 02");
    encode_text("\x01", "\x01", HPACK_INDEX);
    expect_bytes("40 01 01 01 01");
    encode_text("\x01", "\x02", HPACK_ONCE);
    expect_bytes("0f 2f 01 02");
    encode_text("\x01", "\x02", HPACK_NEVER);
    expect_bytes("1f 2f 01 02");
    encode_text("\x01", "\x02", HPACK_INDEX);
    expect_bytes("7e 01 02");
    encode_text(":status", "\x01", HPACK_INDEX);
    expect_bytes("48 01 01");
}

static void what_seldom_comes_twice_is_not_indexed(void **state)
{
    (void)state;
    static const char *const names[] = {
        ":path",         "age",      "content-length", "etag", "if-modified-since",
        "if-none-match", "location", "set-cookie"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        encode_text(names[i], "1", HPACK_INDEX);
        assert_int_equal(block_bytes[0] & 0xf0, 0);
        block_size = 0;
    }
    assert_int_equal(encoder.table.count, 0);
}

static void what_is_random_gives_its_name_a_number_and_is_not_coded(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        encode_text("a-b", "aaaa", HPACK_ONCE);
        expect_bytes(i == 0 ? "40 03 61 2d 62 04 61616161" : "0f 2f 04 61616161");
        assert_int_equal(encoder.table.count, 1);
    }
    encode_text("server", "aaaa", HPACK_ONCE); /* it has one */
    expect_bytes("0f 27 04 61616161");
    assert_int_equal(encoder.table.count, 1);
}

static void a_secret_is_never_indexed(void **state)
{
    (void)state;
    static const char *const names[] = {"authorization", "proxy-authorization", "cookie"};
    for (enum hpack_how how = HPACK_INDEX; how <= HPACK_NEVER; how++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            encode_text(names[i], "nineteen bytes are.", how);
            assert_int_equal(block_bytes[0] & 0xf0, 0x10);
            block_size = 0;
        }
    }
    assert_int_equal(encoder.table.count, 0);
    encode_text("cookie", "these are many more bytes", HPACK_INDEX);
    assert_int_equal(block_bytes[0] & 0xc0, 0x40);
    block_size = 0;
    encode_text("x-secret", "s", HPACK_NEVER);
    encode_text(":method", "GET", HPACK_NEVER); /* not even where it is anyway */
    assert_int_equal(block_bytes[0], 0x10);
    assert_int_equal(block_bytes[block_size - 5], 0x12);
    assert_int_equal(encoder.table.count, 1);
}

static void a_large_field_does_not_drive_all_others_out(void **state)
{
    (void)state;
    static char large[3072];
    encode((struct str)STR("a"), (struct str){large, 3072 - 32 - 1}, HPACK_INDEX);
    assert_int_equal(encoder.table.count, 1);
    block_size = 0;
    encode((struct str)STR("b"), (struct str){large, 3072 - 32}, HPACK_INDEX);
    assert_int_equal(encoder.table.count, 1);
    assert_int_equal(block_bytes[0], 0);
    block_size = 0;
    hpack_encoder_resize(&encoder, 0);
    begin();
    encode_text("", "", HPACK_INDEX);
    expect_bytes("20 00 00 00");
}

static void a_string_is_coded_only_where_that_is_shorter(void **state)
{
    (void)state;
    encode_text("location", ";;", HPACK_INDEX); /* 2 bytes either way */
    expect_bytes("0f 1f 02 3b3b");
    encode_text("location", "aa", HPACK_INDEX);
    expect_bytes("0f 1f 02 6161");
    encode_text("location", "aaa", HPACK_INDEX);
    expect_bytes("0f 1f 82 18c7");
    static char many[1000];
    memset(many, 'a', sizeof many); /* the code has a length of fewer bytes */
    for (size_t n = 120; n < sizeof many; n++) {
        assert_int_equal(encode((struct str)STR("location"), (struct str){many, n}, HPACK_INDEX),
                         2 +
                             ((n * 5 + 7) / 8 < 127   ? 1
                              : (n * 5 + 7) / 8 < 255 ? 2
                                                      : 3) +
                             (n * 5 + 7) / 8);
        const uint8_t *at = (const uint8_t *)block_bytes;
        assert_int_equal(next(&at, at + block_size), HPACK_FIELD);
        assert_int_equal(lengths[1], n);
        assert_memory_equal(out + lengths[0], many, n);
        block_size = 0;
    }
}

static void the_next_block_tells_of_a_resize(void **state)
{
    (void)state;
    hpack_encoder_resize(&encoder, 4096);
    begin();
    expect_bytes("");
    hpack_encoder_resize(&encoder, UINT32_MAX);
    begin();
    expect_bytes("");
    hpack_encoder_resize(&encoder, 100);
    begin();
    expect_bytes("3f 45");
    begin();
    expect_bytes("");
    hpack_encoder_resize(&encoder, 50);
    hpack_encoder_resize(&encoder, 60);
    begin();
    expect_bytes("3f 13 3f 1d");
    hpack_encoder_resize(&encoder, 50);
    hpack_encoder_resize(&encoder, 60);
    begin();
    expect_bytes("3f 13 3f 1d");
    hpack_encoder_resize(&encoder, 5000);
    hpack_encoder_resize(&encoder, 70);
    begin();
    expect_bytes("3f 27");
    encode_text("\x01", "\x01", HPACK_INDEX);
    block_size = 0;
    hpack_encoder_resize(&encoder, 0);
    hpack_encoder_resize(&encoder, 70);
    begin();
    encode_text("\x01", "\x01", HPACK_INDEX); /* is not there any more */
    expect_bytes("20 3f 27 40 01 01 01 01");
}

static void what_is_in_the_table_is_found(void **state)
{
    (void)state;
    char name[] = "name-??", value[] = "the value ??";
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < 70; i++) {
            name[5] = value[10] = (char)('0' + i / 10);
            name[6] = value[11] = (char)('0' + i % 10);
            size_t n = encode_text(name, value, HPACK_INDEX);
            if (again == 1)
                assert_true(n == (i >= 5 ? 1U : 2U)); /* 65 of them are of one byte */
            block_size = 0;
        }
    }
    assert_int_equal(encoder.table.count, 70);
}

/* Numbers that look random and are the same each time. */
static uint64_t dice;
static size_t below(size_t limit)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (size_t)(dice >> 16) % limit;
}

#define FIELDS 12

struct fields {
    size_t count;
    nghttp2_nv at[FIELDS];
    char bytes[4 * 8192];
};

static void make_fields(struct fields *fields)
{
    static const char *const names[] = {":path", ":status",           "cookie", "date", "server",
                                        "x-a",   "x-long-name-of-it", ""};
    char *to = fields->bytes;
    fields->count = below(FIELDS + 1);
    for (size_t i = 0; i < fields->count; i++) {
        const char *name = names[below(8)];
        size_t value = below(20) == 0 ? below(2500) : below(40), mode = below(4);
        nghttp2_nv *nv = &fields->at[i];
        *nv = (nghttp2_nv){(uint8_t *)to, (uint8_t *)to, strlen(name), value, 0};
        memcpy(to, name, nv->namelen);
        to += nv->namelen;
        if (below(4) == 0 && nv->namelen > 1)
            to[-1] = (char)('a' + below(26));
        nv->value = (uint8_t *)to;
        for (size_t k = 0; k < value; k++)
            *to++ = (char)(mode == 0   ? (int)below(256)
                           : mode == 1 ? 'a' + (int)below(2)
                           : mode == 2 ? 'a' + (int)(k % 26)
                                       : ' ' + (int)below(95));
    }
}

static void expect_nv(const nghttp2_nv *nv, const char *name, size_t name_n, const char *value,
                      size_t value_n)
{
    assert_int_equal(nv->namelen, name_n);
    assert_int_equal(nv->valuelen, value_n);
    assert_memory_equal(nv->name, name, name_n);
    assert_memory_equal(nv->value, value, value_n);
}

static void inflate(nghttp2_hd_inflater *inflater, const struct fields *fields)
{
    const uint8_t *at = (const uint8_t *)block_bytes, *end = at + block_size;
    for (size_t i = 0;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, at, (size_t)(end - at), 1);
        assert_true(n >= 0);
        at += n;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            expect_nv(&fields->at[i++], (char *)nv.name, nv.namelen, (char *)nv.value, nv.valuelen);
        if (!(flags & NGHTTP2_HD_INFLATE_FINAL))
            continue;
        assert_int_equal(i, fields->count);
        break;
    }
    nghttp2_hd_inflate_end_headers(inflater);
}

static void nghttp2_reads_what_is_written(void **state)
{
    static struct fields fields;
    for (size_t connection = 1; connection < 60; connection++) {
        nghttp2_hd_inflater *inflater;
        dice = connection * 0x9e3779b97f4a7c15U;
        start(state);
        assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
        for (int block = 0; block < 200; block++) {
            for (size_t resizes = below(8); resizes > 5; resizes--) {
                size_t size = below(2) ? below(6000) : below(200);
                hpack_encoder_resize(&encoder, (uint32_t)size);
                assert_int_equal(nghttp2_hd_inflate_change_table_size(inflater, size), 0);
            }
            make_fields(&fields);
            begin();
            for (size_t i = 0; i < fields.count; i++)
                encode((struct str){(char *)fields.at[i].name, fields.at[i].namelen},
                       (struct str){(char *)fields.at[i].value, fields.at[i].valuelen},
                       below(6) > 0 ? HPACK_INDEX : (enum hpack_how)below(3));
            inflate(inflater, &fields);
            assert_int_equal(nghttp2_hd_inflate_get_num_table_entries(inflater) - HPACK_STATIC,
                             encoder.table.count);
            assert_int_equal(nghttp2_hd_inflate_get_dynamic_table_size(inflater), encoder.table.size);
        }
        nghttp2_hd_inflate_del(inflater);
    }
}

/* The block is there up to `cut` first, and then in whole. */
static void decode_cut(const struct bytes *block, const struct fields *fields, size_t cut)
{
    const uint8_t *at = block->at, *end = at + cut;
    size_t i = 0;
    hpack_decode_block(&decoder);
    for (;;) {
        enum hpack_result result = next(&at, end);
        if (result == HPACK_MORE || (result == HPACK_END && end != block->at + block->n)) {
            assert_ptr_not_equal(end, block->at + block->n);
            end = block->at + block->n;
            continue;
        }
        if (result == HPACK_END)
            break;
        assert_int_equal(result, HPACK_FIELD);
        assert_true(i < fields->count);
        expect_nv(&fields->at[i++], out, lengths[0], out + lengths[0], lengths[1]);
    }
    assert_int_equal(i, fields->count);
}

static void what_nghttp2_writes_is_read_wherever_it_is_cut(void **state)
{
    static struct fields fields;
    static struct bytes block;
    for (size_t connection = 1; connection < 40; connection++) {
        nghttp2_hd_deflater *deflater;
        dice = connection * 0x9e3779b97f4a7c15U;
        start(state);
        assert_int_equal(nghttp2_hd_deflate_new(&deflater, 4096), 0);
        for (int i = 0; i < 100; i++) {
            for (size_t resizes = below(8); resizes > 5; resizes--)
                nghttp2_hd_deflate_change_table_size(deflater, below(2) ? below(4097) : below(200));
            make_fields(&fields);
            for (size_t k = 0; k < fields.count; k++)
                fields.at[k].flags = below(6) == 0 ? NGHTTP2_NV_FLAG_NO_INDEX : 0;
            ssize_t n = nghttp2_hd_deflate_hd(deflater, block.at, sizeof block.at, fields.at, fields.count);
            assert_true(n >= 0);
            block.n = (size_t)n;
            const struct hpack_decoder before = decoder;
            size_t step = block.n > 400 ? block.n / 50 : 1;
            for (size_t cut = 0; cut < block.n; cut += step) {
                decoder = before;
                decode_cut(&block, &fields, cut);
            }
            decoder = before;
            decode_cut(&block, &fields, block.n);
            assert_int_equal(nghttp2_hd_deflate_get_num_table_entries(deflater) - HPACK_STATIC,
                             decoder.table.count);
        }
        nghttp2_hd_deflate_del(deflater);
    }
}

static void every_byte_has_the_code_that_nghttp2_gives_it(void **state)
{
    (void)state;
    nghttp2_hd_deflater *deflater;
    static char text[600];
    static struct bytes block;
    assert_int_equal(nghttp2_hd_deflate_new(&deflater, 0), 0);
    hpack_encoder_resize(&encoder, 0);
    room = ROOM;
    for (size_t byte = 0; byte < 256; byte++) {
        for (size_t front = 0; front < 16; front++) { /* at every bit of a byte */
            memset(text, byte % 2 ? '0' : '3', sizeof text);
            memset(text + front, (int)byte, 3);
            nghttp2_nv nv = {(uint8_t *)text, (uint8_t *)text, 0, 200 + front, NGHTTP2_NV_FLAG_NO_INDEX};
            ssize_t n = nghttp2_hd_deflate_hd(deflater, block.at, sizeof block.at, &nv, 1);
            block.n = (size_t)n;
            begin();
            encode((struct str){text, 0}, (struct str){text, nv.valuelen}, HPACK_INDEX);
            if (byte > 0 || front > 0)
                assert_int_equal(block_size, block.n);
            assert_memory_equal(block_bytes + block_size - 100, block.at + block.n - 100, 100);
            assert_int_equal(take(&block), HPACK_FIELD);
            assert_int_equal(lengths[1], nv.valuelen);
            assert_memory_equal(out, text, nv.valuelen);
        }
    }
    nghttp2_hd_deflate_del(deflater);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_representation_is_read, start),
        cmocka_unit_test_setup(integers_are_those_of_the_examples, start),
        cmocka_unit_test_setup(the_requests_of_the_examples_are_read, start),
        cmocka_unit_test_setup(the_responses_of_the_examples_evict, start),
        cmocka_unit_test_setup(the_requests_of_the_examples_are_written, start),
        cmocka_unit_test_setup(an_integer_has_a_limit, start),
        cmocka_unit_test_setup(an_index_that_nothing_has_is_bad, start),
        cmocka_unit_test_setup(a_field_that_is_not_whole_leaves_the_decoder_as_it_was, start),
        cmocka_unit_test_setup(the_size_changes_only_in_front_of_a_block, start),
        cmocka_unit_test_setup(a_smaller_size_evicts_even_if_it_grows_again, start),
        cmocka_unit_test_setup(an_entry_that_is_larger_than_the_table_empties_it, start),
        cmocka_unit_test_setup(a_name_may_be_of_an_entry_that_its_field_evicts, start),
        cmocka_unit_test_setup(entries_are_the_same_wherever_their_text_has_moved, start),
        cmocka_unit_test_setup(a_string_that_does_not_fit_is_passed_over, start),
        cmocka_unit_test_setup(of_a_coded_string_the_true_length_counts, start),
        cmocka_unit_test_setup(a_code_that_ends_wrongly_is_bad, start),
        cmocka_unit_test_setup(eos_is_bad_where_the_room_is_nearly_full, start),
        cmocka_unit_test_setup(what_is_in_the_static_table_is_one_byte, start),
        cmocka_unit_test_setup(a_name_that_is_like_one_of_the_static_table_is_another, start),
        cmocka_unit_test_setup(a_name_has_its_index, start),
        cmocka_unit_test_setup(what_seldom_comes_twice_is_not_indexed, start),
        cmocka_unit_test_setup(what_is_random_gives_its_name_a_number_and_is_not_coded, start),
        cmocka_unit_test_setup(a_secret_is_never_indexed, start),
        cmocka_unit_test_setup(a_large_field_does_not_drive_all_others_out, start),
        cmocka_unit_test_setup(a_string_is_coded_only_where_that_is_shorter, start),
        cmocka_unit_test_setup(the_next_block_tells_of_a_resize, start),
        cmocka_unit_test_setup(what_is_in_the_table_is_found, start),
        cmocka_unit_test_setup(nghttp2_reads_what_is_written, start),
        cmocka_unit_test_setup(what_nghttp2_writes_is_read_wherever_it_is_cut, start),
        cmocka_unit_test_setup(every_byte_has_the_code_that_nghttp2_gives_it, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
