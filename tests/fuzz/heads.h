/* heads: what holds for every head of HTTP/1.1, whichever its parser. */
#pragma once

#include "fuzz.h"

#include "http/http.h"

#define HEADS_HEAD_MAX 1024
#define HEADS_FIELDS_MAX 24

/* What one parse came to; `length` is of a whole head. */
struct heads_outcome {
    enum http_result result;
    struct http_fault fault;
    uint32_t length;
};

/* `into` is a struct http_request or http_response. */
typedef struct heads_outcome heads_parser(void *into, const char *bytes, size_t count, size_t *seen);

/* Parses the bytes whole, byte by byte and cut in two: the outcome must be the same. A head that is accepted
 * must end at its first empty line, be incomplete without its last byte, and not depend on what follows it.
 * Returns the outcome of the whole, of which *into is filled. */
struct heads_outcome heads_parse(heads_parser *parse, void *into, const char *bytes, size_t count);

/* Every name and value must lie in the head's bytes, a name must be a token, a value of bytes that a value
 * may have, without white space at its ends. */
void heads_check_fields(const struct http_fields *fields, const char *bytes, size_t length);
