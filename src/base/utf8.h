/* utf8: text of unknown origin made safe for JSON. */
#pragma once

#include "base/str.h"

/* A NUL-terminated copy (to be freed) of the last `most` bytes, at most, of `text` as valid UTF-8 (RFC 3629):
 * each byte that is part of no valid sequence, and each NUL, becomes U+FFFD. `cut`: text is the end of
 * something longer, so the rest of a sequence at its beginning is dropped instead. *size gets the copy's
 * length in bytes. */
char *utf8_tail(struct str text, size_t most, bool cut, size_t *size);

/* The longest beginning of valid UTF-8 `text` with at most `most` bytes that ends between two characters. */
struct str utf8_head(struct str text, size_t most);

/* For a sentence that quotes what somebody has given: the text, or so much of its beginning, and "...", that
 * the rest of the sentence has room. Returns out. */
#define UTF8_QUOTE_MAX 120
#define UTF8_QUOTE_SIZE (UTF8_QUOTE_MAX + sizeof "...")
char *utf8_quote(struct str text, char out[UTF8_QUOTE_SIZE]);
