/* hpack_huffman: the code of RFC 7541 appendix B for strings (section 5.2). */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum hpack_huffman_result {
    HPACK_HUFFMAN_DONE,
    HPACK_HUFFMAN_FULL, /* `out` is full before the end; what comes behind it was not looked at */
    HPACK_HUFFMAN_BAD   /* EOS is in the string, or its end is not the first bits of EOS, 7 at most */
};

/* Decodes from `p` to `end` into *out, which moves behind what was written and is not taken beyond out_end.
 * Bytes between the two may be used as room to work in. */
enum hpack_huffman_result hpack_huffman_decode(const uint8_t *p, const uint8_t *end, char **out,
                                               char *out_end);

#define HPACK_HUFFMAN_SLACK 3 /* bytes behind the text's length that encoding may use to work in */

/* Writes the text's code to `out`, where `n` and HPACK_HUFFMAN_SLACK bytes have room. Returns its length;
 * what is not less than n says that the code is not shorter than the text, and that `out` holds nothing of
 * use. */
size_t hpack_huffman_encode(char *out, const char *text, size_t n);
