/* h2_tools: heads and trailer sections of a stream's writer, made header blocks. What a worker needs for it
 * is lent for one step each. */
#pragma once

#include "http/h2_list.h"
#include "plane/h2_stream.h"

#define WEBSOCKET_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 section 1.3 */

struct h2_tools {
    struct http_request request;
    struct http_fields fields;
    struct h2_list list;
    char *block; /* room for a header block while it is read */
    size_t block_room;
    char *names; /* as struct h2_list wants it */
    char *text;  /* room for a head as HTTP/1.1 */
    size_t text_room;
};

struct h2_tools *h2_tools_new(void);
void h2_tools_free(struct h2_tools *tools);
#define H2_FIELD_ROOM (HPACK_TABLE + 2 * sizeof(uint32_t)) /* bytes that a block needs for its next field */

/* Heads have so many bytes from now on. */
void h2_tools_resize(struct h2_tools *tools, size_t head_max);

/* The whole response head, or request head, at the front of the bytes is written. Returns its length; 0: it
 * is not whole, not valid, or may not be sent any more. */
size_t h2_tools_respond(struct h2_stream *s, const char *bytes, size_t count);
size_t h2_tools_ask(struct h2_stream *s, const char *bytes, size_t count);
/* A trailer section, without its empty line, as a list; valid until the next step. NULL: it is not valid. */
const struct h2_list *h2_tools_trailers(struct h2_stream *s, struct str text);
