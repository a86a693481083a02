/* digest: what a protocol asks to be hashed. */
#pragma once

#include "base/str.h"

#define DIGEST_SHA1_BASE64 28 /* bytes; no NUL */

/* SHA-1 of the two texts, one behind the other, in base64. Proves that a peer has read what was said, and is
 * no secret. */
void digest_sha1_base64(struct str first, struct str second, char out[DIGEST_SHA1_BASE64]);
