#include "base/crc32c.h"

uint32_t crc32c(const void *bytes, size_t count)
{
    const uint8_t *p = bytes;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < count; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0x82f63b78 & (0U - (crc & 1)));
    }
    return ~crc;
}
