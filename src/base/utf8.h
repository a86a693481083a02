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
