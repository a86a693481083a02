/* The code is canonical: codes of one length follow one another in the order of their symbols, and a longer
 * code is a larger number, once both are shifted to the left end of a word. Three tables follow from its
 * lengths. Invariant of decoding: `skip` bits of *p are done with, 0 to 7, and what was written is what the
 * bits before them say. */
#include "http/hpack_huffman.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

/* By symbol. */
static const struct {
    uint32_t code;
    uint32_t bits; /* of the code */
} codes[256] = {
    {0x1ff8, 13},    {0x7fffd8, 23},   {0xfffffe2, 28}, {0xfffffe3, 28}, {0xfffffe4, 28},  {0xfffffe5, 28},
    {0xfffffe6, 28}, {0xfffffe7, 28},  {0xfffffe8, 28}, {0xffffea, 24},  {0x3ffffffc, 30}, {0xfffffe9, 28},
    {0xfffffea, 28}, {0x3ffffffd, 30}, {0xfffffeb, 28}, {0xfffffec, 28}, {0xfffffed, 28},  {0xfffffee, 28},
    {0xfffffef, 28}, {0xffffff0, 28},  {0xffffff1, 28}, {0xffffff2, 28}, {0x3ffffffe, 30}, {0xffffff3, 28},
    {0xffffff4, 28}, {0xffffff5, 28},  {0xffffff6, 28}, {0xffffff7, 28}, {0xffffff8, 28},  {0xffffff9, 28},
    {0xffffffa, 28}, {0xffffffb, 28},  {0x14, 6},       {0x3f8, 10},     {0x3f9, 10},      {0xffa, 12},
    {0x1ff9, 13},    {0x15, 6},        {0xf8, 8},       {0x7fa, 11},     {0x3fa, 10},      {0x3fb, 10},
    {0xf9, 8},       {0x7fb, 11},      {0xfa, 8},       {0x16, 6},       {0x17, 6},        {0x18, 6},
    {0x0, 5},        {0x1, 5},         {0x2, 5},        {0x19, 6},       {0x1a, 6},        {0x1b, 6},
    {0x1c, 6},       {0x1d, 6},        {0x1e, 6},       {0x1f, 6},       {0x5c, 7},        {0xfb, 8},
    {0x7ffc, 15},    {0x20, 6},        {0xffb, 12},     {0x3fc, 10},     {0x1ffa, 13},     {0x21, 6},
    {0x5d, 7},       {0x5e, 7},        {0x5f, 7},       {0x60, 7},       {0x61, 7},        {0x62, 7},
    {0x63, 7},       {0x64, 7},        {0x65, 7},       {0x66, 7},       {0x67, 7},        {0x68, 7},
    {0x69, 7},       {0x6a, 7},        {0x6b, 7},       {0x6c, 7},       {0x6d, 7},        {0x6e, 7},
    {0x6f, 7},       {0x70, 7},        {0x71, 7},       {0x72, 7},       {0xfc, 8},        {0x73, 7},
    {0xfd, 8},       {0x1ffb, 13},     {0x7fff0, 19},   {0x1ffc, 13},    {0x3ffc, 14},     {0x22, 6},
    {0x7ffd, 15},    {0x3, 5},         {0x23, 6},       {0x4, 5},        {0x24, 6},        {0x5, 5},
    {0x25, 6},       {0x26, 6},        {0x27, 6},       {0x6, 5},        {0x74, 7},        {0x75, 7},
    {0x28, 6},       {0x29, 6},        {0x2a, 6},       {0x7, 5},        {0x2b, 6},        {0x76, 7},
    {0x2c, 6},       {0x8, 5},         {0x9, 5},        {0x2d, 6},       {0x77, 7},        {0x78, 7},
    {0x79, 7},       {0x7a, 7},        {0x7b, 7},       {0x7ffe, 15},    {0x7fc, 11},      {0x3ffd, 14},
    {0x1ffd, 13},    {0xffffffc, 28},  {0xfffe6, 20},   {0x3fffd2, 22},  {0xfffe7, 20},    {0xfffe8, 20},
    {0x3fffd3, 22},  {0x3fffd4, 22},   {0x3fffd5, 22},  {0x7fffd9, 23},  {0x3fffd6, 22},   {0x7fffda, 23},
    {0x7fffdb, 23},  {0x7fffdc, 23},   {0x7fffdd, 23},  {0x7fffde, 23},  {0xffffeb, 24},   {0x7fffdf, 23},
    {0xffffec, 24},  {0xffffed, 24},   {0x3fffd7, 22},  {0x7fffe0, 23},  {0xffffee, 24},   {0x7fffe1, 23},
    {0x7fffe2, 23},  {0x7fffe3, 23},   {0x7fffe4, 23},  {0x1fffdc, 21},  {0x3fffd8, 22},   {0x7fffe5, 23},
    {0x3fffd9, 22},  {0x7fffe6, 23},   {0x7fffe7, 23},  {0xffffef, 24},  {0x3fffda, 22},   {0x1fffdd, 21},
    {0xfffe9, 20},   {0x3fffdb, 22},   {0x3fffdc, 22},  {0x7fffe8, 23},  {0x7fffe9, 23},   {0x1fffde, 21},
    {0x7fffea, 23},  {0x3fffdd, 22},   {0x3fffde, 22},  {0xfffff0, 24},  {0x1fffdf, 21},   {0x3fffdf, 22},
    {0x7fffeb, 23},  {0x7fffec, 23},   {0x1fffe0, 21},  {0x1fffe1, 21},  {0x3fffe0, 22},   {0x1fffe2, 21},
    {0x7fffed, 23},  {0x3fffe1, 22},   {0x7fffee, 23},  {0x7fffef, 23},  {0xfffea, 20},    {0x3fffe2, 22},
    {0x3fffe3, 22},  {0x3fffe4, 22},   {0x7ffff0, 23},  {0x3fffe5, 22},  {0x3fffe6, 22},   {0x7ffff1, 23},
    {0x3ffffe0, 26}, {0x3ffffe1, 26},  {0xfffeb, 20},   {0x7fff1, 19},   {0x3fffe7, 22},   {0x7ffff2, 23},
    {0x3fffe8, 22},  {0x1ffffec, 25},  {0x3ffffe2, 26}, {0x3ffffe3, 26}, {0x3ffffe4, 26},  {0x7ffffde, 27},
    {0x7ffffdf, 27}, {0x3ffffe5, 26},  {0xfffff1, 24},  {0x1ffffed, 25}, {0x7fff2, 19},    {0x1fffe3, 21},
    {0x3ffffe6, 26}, {0x7ffffe0, 27},  {0x7ffffe1, 27}, {0x3ffffe7, 26}, {0x7ffffe2, 27},  {0xfffff2, 24},
    {0x1fffe4, 21},  {0x1fffe5, 21},   {0x3ffffe8, 26}, {0x3ffffe9, 26}, {0xffffffd, 28},  {0x7ffffe3, 27},
    {0x7ffffe4, 27}, {0x7ffffe5, 27},  {0xfffec, 20},   {0xfffff3, 24},  {0xfffed, 20},    {0x1fffe6, 21},
    {0x3fffe9, 22},  {0x1fffe7, 21},   {0x1fffe8, 21},  {0x7ffff3, 23},  {0x3fffea, 22},   {0x3fffeb, 22},
    {0x1ffffee, 25}, {0x1ffffef, 25},  {0xfffff4, 24},  {0xfffff5, 24},  {0x3ffffea, 26},  {0x7ffff4, 23},
    {0x3ffffeb, 26}, {0x7ffffe6, 27},  {0x3ffffec, 26}, {0x3ffffed, 26}, {0x7ffffe7, 27},  {0x7ffffe8, 27},
    {0x7ffffe9, 27}, {0x7ffffea, 27},  {0x7ffffeb, 27}, {0xffffffe, 28}, {0x7ffffec, 27},  {0x7ffffed, 27},
    {0x7ffffee, 27}, {0x7ffffef, 27},  {0x7fffff0, 27}, {0x3ffffee, 26},
};

/* By the next 8 bits: the symbol times 256, and the bits of its code. 0: the code is longer, which only those
 * that begin with 7 ones are. No symbol of 8 bits or fewer is 0. */
static const uint16_t shorts[256] = {
    0x3005, 0x3005, 0x3005, 0x3005, 0x3005, 0x3005, 0x3005, 0x3005, 0x3105, 0x3105, 0x3105, 0x3105, 0x3105,
    0x3105, 0x3105, 0x3105, 0x3205, 0x3205, 0x3205, 0x3205, 0x3205, 0x3205, 0x3205, 0x3205, 0x6105, 0x6105,
    0x6105, 0x6105, 0x6105, 0x6105, 0x6105, 0x6105, 0x6305, 0x6305, 0x6305, 0x6305, 0x6305, 0x6305, 0x6305,
    0x6305, 0x6505, 0x6505, 0x6505, 0x6505, 0x6505, 0x6505, 0x6505, 0x6505, 0x6905, 0x6905, 0x6905, 0x6905,
    0x6905, 0x6905, 0x6905, 0x6905, 0x6f05, 0x6f05, 0x6f05, 0x6f05, 0x6f05, 0x6f05, 0x6f05, 0x6f05, 0x7305,
    0x7305, 0x7305, 0x7305, 0x7305, 0x7305, 0x7305, 0x7305, 0x7405, 0x7405, 0x7405, 0x7405, 0x7405, 0x7405,
    0x7405, 0x7405, 0x2006, 0x2006, 0x2006, 0x2006, 0x2506, 0x2506, 0x2506, 0x2506, 0x2d06, 0x2d06, 0x2d06,
    0x2d06, 0x2e06, 0x2e06, 0x2e06, 0x2e06, 0x2f06, 0x2f06, 0x2f06, 0x2f06, 0x3306, 0x3306, 0x3306, 0x3306,
    0x3406, 0x3406, 0x3406, 0x3406, 0x3506, 0x3506, 0x3506, 0x3506, 0x3606, 0x3606, 0x3606, 0x3606, 0x3706,
    0x3706, 0x3706, 0x3706, 0x3806, 0x3806, 0x3806, 0x3806, 0x3906, 0x3906, 0x3906, 0x3906, 0x3d06, 0x3d06,
    0x3d06, 0x3d06, 0x4106, 0x4106, 0x4106, 0x4106, 0x5f06, 0x5f06, 0x5f06, 0x5f06, 0x6206, 0x6206, 0x6206,
    0x6206, 0x6406, 0x6406, 0x6406, 0x6406, 0x6606, 0x6606, 0x6606, 0x6606, 0x6706, 0x6706, 0x6706, 0x6706,
    0x6806, 0x6806, 0x6806, 0x6806, 0x6c06, 0x6c06, 0x6c06, 0x6c06, 0x6d06, 0x6d06, 0x6d06, 0x6d06, 0x6e06,
    0x6e06, 0x6e06, 0x6e06, 0x7006, 0x7006, 0x7006, 0x7006, 0x7206, 0x7206, 0x7206, 0x7206, 0x7506, 0x7506,
    0x7506, 0x7506, 0x3a07, 0x3a07, 0x4207, 0x4207, 0x4307, 0x4307, 0x4407, 0x4407, 0x4507, 0x4507, 0x4607,
    0x4607, 0x4707, 0x4707, 0x4807, 0x4807, 0x4907, 0x4907, 0x4a07, 0x4a07, 0x4b07, 0x4b07, 0x4c07, 0x4c07,
    0x4d07, 0x4d07, 0x4e07, 0x4e07, 0x4f07, 0x4f07, 0x5007, 0x5007, 0x5107, 0x5107, 0x5207, 0x5207, 0x5307,
    0x5307, 0x5407, 0x5407, 0x5507, 0x5507, 0x5607, 0x5607, 0x5707, 0x5707, 0x5907, 0x5907, 0x6a07, 0x6a07,
    0x6b07, 0x6b07, 0x7107, 0x7107, 0x7607, 0x7607, 0x7707, 0x7707, 0x7807, 0x7807, 0x7907, 0x7907, 0x7a07,
    0x7a07, 0x2608, 0x2a08, 0x2c08, 0x3b08, 0x5808, 0x5a08, 0,      0,
};

/* Codes of more than 8 bits, by their length. */
static const struct {
    uint32_t end; /* the first code that is longer, at the left end of a word */
    int bits;
    int to_symbol; /* from a code of this length to its place in long_symbols */
} longs[] = {
    {0xff400000, 10, -1016},      {0xffa00000, 11, -2037},       {0xffc00000, 12, -4082},
    {0xfff00000, 13, -8174},      {0xfff80000, 14, -16364},      {0xfffe0000, 15, -32746},
    {0xfffe6000, 19, -524251},    {0xfffee000, 20, -1048526},    {0xffff4800, 21, -2097084},
    {0xffffb000, 22, -4194213},   {0xffffea00, 23, -8388497},    {0xfffff600, 24, -16777094},
    {0xfffff800, 25, -33554300},  {0xfffffbc0, 26, -67108716},   {0xfffffe20, 27, -134217563},
    {0xfffffff0, 28, -268435276}, {0xfffffffc, 30, -1073741641},
};

static const uint8_t long_symbols[] = {
    33,  34,  40,  41,  63,  39,  43,  124, 35,  62,  0,   36,  64,  91,  93,  126, 94,  125, 60,  96,  123,
    92,  195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167, 172, 176, 177, 179, 209, 216, 217,
    227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186,
    187, 189, 190, 196, 198, 228, 232, 233, 1,   135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152,
    155, 157, 158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239, 9,   142, 144, 145, 148,
    159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219,
    238, 240, 242, 243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251,
    252, 253, 254, 2,   3,   4,   5,   6,   7,   8,   11,  12,  14,  15,  16,  17,  18,  19,  20,  21,  23,
    24,  25,  26,  27,  28,  29,  30,  31,  127, 220, 249, 10,  13,  22,
};

static uint64_t load_8(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return be64toh(x);
}

#define EOS 65 /* more bits than there can be */

/* The symbol that the bits begin with, whose code is longer than 8. Returns the length of the code, or EOS.
 */
static unsigned long_symbol(uint64_t bits, char *symbol)
{
    uint32_t word = (uint32_t)(bits >> 32);
    for (size_t i = 0; i < sizeof longs / sizeof *longs; i++) {
        if (word < longs[i].end) {
            *symbol = (char)long_symbols[(int)(word >> (32 - longs[i].bits)) + longs[i].to_symbol];
            return (unsigned)longs[i].bits;
        }
    }
    return EOS;
}

#define GROUP 7 /* symbols of 8 bits that are in a word, however many of its first bits are skipped */

/* Where the first 0 is among GROUP bytes, or GROUP. */
static unsigned first_zero(const char *p)
{
    unsigned i = 0;
    while (i < GROUP && p[i] != 0)
        i++;
    return i;
}

struct input {
    const uint8_t *start, *p, *end;
    unsigned skip;
};

static inline void pass(struct input *in, unsigned bits)
{
    in->skip += bits;
    in->p += in->skip / 8;
    in->skip %= 8;
}

/* Whole words. A look at a long code passes nothing, so those behind it in a group see it again, and each
 * writes a 0. The one behind the last bit is what tells how many were passed. */
static enum hpack_huffman_result decode_groups(struct input *in, char **out, const char *out_end)
{
    char *to = *out;
    while (in->end - in->p >= 8 && out_end - to > GROUP) {
        uint64_t bits = load_8(in->p) << in->skip | 1;
        unsigned row = 0;
#pragma GCC unroll 7
        for (unsigned i = 0; i < GROUP; i++) {
            row = shorts[bits >> 56];
            to[i] = (char)(row >> 8);
            bits <<= row & 63; /* 8 at most: what the processor makes of the low byte by itself */
        }
        pass(in, (unsigned)__builtin_ctzll(bits));
        if (__builtin_expect(row != 0, true)) {
            to += GROUP;
            continue;
        }
        to += first_zero(to);
        if (in->end - in->p < 8)
            break;
        unsigned n = long_symbol(load_8(in->p) << in->skip, to++);
        if (n == EOS)
            return HPACK_HUFFMAN_BAD;
        pass(in, n);
    }
    *out = to;
    return HPACK_HUFFMAN_DONE;
}

/* The bytes that are left, 7 at most, with ones behind the last. */
static uint64_t load_rest(const struct input *in)
{
    unsigned left = (unsigned)(in->end - in->p) * 8;
    uint64_t bits = 0, ones = UINT64_MAX >> left;
    if (in->end - in->start >= 8) /* those before go out at the left */
        return load_8(in->end - 8) << 1 << (63 - left) | ones;
    for (const uint8_t *p = in->p; p < in->end; p++)
        bits = bits << 8 | *p;
    return bits << 1 << (63 - left) | ones;
}

/* One by one, with a look at each bound. */
static enum hpack_huffman_result decode_rest(struct input *in, char **out, const char *out_end)
{
    char *to = *out;
    for (;;) {
        bool last = in->end - in->p < 8;
        uint64_t bits = (last ? load_rest(in) : load_8(in->p)) << in->skip;
        const unsigned all = (unsigned)(last ? in->end - in->p : 8) * 8 - in->skip;
        unsigned left = all;
        while (last || left >= 30) {
            unsigned row = shorts[bits >> 56], n = row & 15;
            char symbol = (char)(row >> 8);
            if (n == 0) {
                if (left < 8) {
                    *out = to;
                    return HPACK_HUFFMAN_DONE;
                }
                n = long_symbol(bits, &symbol);
            }
            if (n > left) /* or EOS */
                return HPACK_HUFFMAN_BAD;
            if (to == out_end)
                return HPACK_HUFFMAN_FULL;
            *to++ = symbol;
            bits <<= n;
            left -= n;
        }
        pass(in, all - left);
    }
}

enum hpack_huffman_result hpack_huffman_decode(const uint8_t *p, const uint8_t *end, char **out,
                                               char *out_end)
{
    struct input in = {p, p, end, 0};
    enum hpack_huffman_result result = decode_groups(&in, out, out_end);
    return result == HPACK_HUFFMAN_DONE ? decode_rest(&in, out, out_end) : result;
}

static void store_4(char *to, uint32_t x)
{
    x = htobe32(x);
    memcpy(to, &x, sizeof x);
}

size_t hpack_huffman_encode(char *out, const char *text, size_t n)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + n;
    char *to = out;
    uint64_t bits = 0;
    unsigned held = 0; /* bits that are not written yet: fewer than 32 */
    for (; p < end; p++) {
        bits = bits << codes[*p].bits | codes[*p].code;
        held += codes[*p].bits;
        if (held >= 32) {
            if ((size_t)(to - out) >= n)
                return n;
            held -= 32;
            store_4(to, (uint32_t)(bits >> held));
            to += 4;
        }
    }
    size_t size = (size_t)(to - out) + (held + 7) / 8;
    if (size < n && held > 0)
        store_4(to, (uint32_t)(bits << (32 - held)) | UINT32_MAX >> held);
    return size;
}
