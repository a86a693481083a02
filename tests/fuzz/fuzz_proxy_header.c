/* The PROXY protocol: a header is whole at one byte and not before, what follows it does not matter, and its
 * ends survive being written in either version. */
#include "fuzz.h"

#include "base/address.h"
#include "http/proxy_header.h"

#include <stdlib.h>

static enum http_result read_exactly(struct proxy_header *header, const uint8_t *bytes, size_t count)
{
    char *copy = fuzz_copy(bytes, count);
    enum http_result result = proxy_header_read(header, copy, count);
    free(copy);
    return result;
}

/* Once something is certain it stays so, whatever comes. */
static void check_prefixes(const uint8_t *bytes, size_t count, enum http_result whole,
                           const struct proxy_header *header)
{
    struct proxy_header part;
    for (size_t n = 0; n < count; n++) {
        enum http_result result = read_exactly(&part, bytes, n);
        if (whole == HTTP_DONE)
            fuzz_check(result == (n < header->length ? HTTP_MORE : HTTP_DONE));
        else
            fuzz_check(result == HTTP_MORE || (result == HTTP_BAD && whole == HTTP_BAD));
        if (result == HTTP_DONE)
            fuzz_check(part.length == header->length && part.known == header->known);
    }
}

static void check_written(const struct proxy_ends *ends)
{
    for (unsigned version = 1; version <= 2; version++) {
        struct proxy_header again;
        char *out = malloc(PROXY_HEADER_ROOM);
        size_t size = proxy_header_write(version, ends, out);
        fuzz_check(size > 0 && size <= PROXY_HEADER_ROOM);
        fuzz_check(read_exactly(&again, (const uint8_t *)out, size) == HTTP_DONE);
        fuzz_check(again.length == size && again.known == (ends != NULL));
        if (ends != NULL)
            fuzz_check(memcmp(&again.ends, ends, sizeof *ends) == 0);
        free(out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct proxy_header header;
    enum http_result result = read_exactly(&header, bytes, count);
    check_prefixes(bytes, count < 600 ? count : 600, result, &header);
    check_written(NULL);
    if (result != HTTP_DONE)
        return 0;
    fuzz_check(header.length <= count && header.length <= PROXY_HEADER_MAX);
    if (header.known)
        check_written(&header.ends);
    return 0;
}
