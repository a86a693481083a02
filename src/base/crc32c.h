/* crc32c: the checksum of journal records (Castagnoli polynomial, RFC 3720 section 12.1). */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The checksum of `count` bytes. "123456789" gives 0xe3069283. */
uint32_t crc32c(const void *bytes, size_t count);
